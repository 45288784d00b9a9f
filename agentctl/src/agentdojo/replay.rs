//! One session through the kernel: tools answer with what was recorded, and every call is made as an agent makes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_control_plane::atr::{Effect, Registry};
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::primitives::{Clock as _, SystemClock, Verdict};
use agent_control_plane::{AgentHandle, AgentSpec, CallError, Kernel, Policy};
use serde_json::Value;

use super::data::{Call, Suite, Tool};

/// What the next tool call answers.
type Tape = Arc<Mutex<Value>>;

/// The tools as a host would register them: those of every suite, since one host serves them all. Where two suites have a
/// tool of the same name, the session's own suite decides what it is.
pub(crate) struct Tools {
    registry: Registry,
    tape: Tape,
    clock: SystemClock,
}

impl Tools {
    pub(crate) fn of(suite: &Suite, all: &[Suite]) -> anyhow::Result<Self> {
        let tape = Tape::default();
        let mut registry = Registry::builder();
        let others =
            all.iter().flat_map(|other| &other.tools).filter(|(name, _)| !suite.tools.contains_key(*name));
        let tools: BTreeMap<&String, &Tool> = others.chain(&suite.tools).collect();
        for tool in tools.into_values() {
            let tape = Arc::clone(&tape);
            let effect = if tool.effect == "read" { Effect::Read } else { Effect::Write };
            registry.tool(&tool.name).description(&tool.description).effects([effect]).run_raw(
                tool.parameters.clone(),
                move |_context, _arguments| {
                    let answer = std::mem::take(&mut *tape.lock().unwrap_or_else(PoisonError::into_inner));
                    async move { Ok(answer) }
                },
            )?;
        }
        Ok(Self { registry: registry.build(), tape, clock: SystemClock::new() })
    }
}

/// What became of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Carried out.
    Allowed,
    /// Would need a human.
    Asked,
    /// Refused, malformed, or made by an agent that had been ended.
    Refused,
}

/// What became of a session.
pub(crate) struct Finished {
    /// The user's own calls.
    pub(crate) user: Vec<Fate>,
    /// The attacker's calls, in order.
    pub(crate) attack: Vec<Fate>,
    /// How long each verdict took.
    pub(crate) verdicts: Vec<Duration>,
}

/// A session under way.
pub(crate) struct Session<'a> {
    tools: &'a Tools,
    agent: AgentHandle,
    attacking: bool,
    finished: Finished,
}

impl<'a> Session<'a> {
    /// A kernel of its own for each session, so that nothing carries over.
    pub(crate) fn start(tools: &'a Tools, policy: &Policy) -> anyhow::Result<Self> {
        let kernel = Kernel::builder().policy(policy.clone()).tools(tools.registry.clone()).build()?;
        let agent = kernel.spawn(AgentSpec::new("assistant"))?;
        let finished = Finished { user: Vec::new(), attack: Vec::new(), verdicts: Vec::new() };
        Ok(Self { tools, agent, attacking: false, finished })
    }

    pub(crate) fn attack_begins(&mut self) {
        self.attacking = true;
    }

    pub(crate) fn attack_ends(&mut self) {
        self.attacking = false;
    }

    pub(crate) async fn call(&mut self, call: &Call) -> anyhow::Result<()> {
        let exec = || Syscall::Exec {
            tool: call.function.clone(),
            arguments: RawArguments::Value(call.args.clone()),
            deadline: None,
        };
        // The verdict alone, asked for as any agent may.
        let asked_at = self.tools.clock.monotonic();
        let asked = self.agent.check(exec()).await;
        if asked.is_ok() {
            self.finished.verdicts.push(self.tools.clock.monotonic().since(asked_at));
        }
        *self.tools.tape.lock().unwrap_or_else(PoisonError::into_inner) = call.output.clone();
        let fate = match self.agent.syscall(exec()).await {
            Ok(_) => Fate::Allowed,
            Err(CallError::Denied(denial)) if denial.verdict() == Verdict::Ask => Fate::Asked,
            Err(CallError::Denied(_) | CallError::Dead(_) | CallError::Invalid(_)) => Fate::Refused,
            Err(error) => return Err(error.into()),
        };
        let fates = if self.attacking { &mut self.finished.attack } else { &mut self.finished.user };
        fates.push(fate);
        Ok(())
    }

    pub(crate) fn finish(self) -> Finished {
        self.finished
    }
}
