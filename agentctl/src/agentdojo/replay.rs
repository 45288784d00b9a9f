//! One session through the kernel: tools answer with what was recorded, and every call is made as an agent makes it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_control_plane::approval::{Approvals, Principal, Scope};
use agent_control_plane::atr::{Effect, Registry};
use agent_control_plane::call::{RawArguments, Reply, Syscall};
use agent_control_plane::flow::{Provenance as Tracing, Source, Sources};
use agent_control_plane::kernel::OnAsk;
use agent_control_plane::primitives::{Clock as _, LabelSet, SystemClock};
use agent_control_plane::{AgentHandle, AgentSpec, CallError, Kernel, Policy};
use anyhow::Context as _;
use serde_json::Value;

use super::data::{Call, Provenance, Suite, Tool, Trust, UserTask};

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
            let labels: &[&str] = match tool.output_trust {
                Trust::Trusted => &[],
                Trust::Service => &["service"],
                Trust::ThirdParty => &["untrusted"],
            };
            registry
                .tool(&tool.name)
                .description(&tool.description)
                .effects(effects(&tool.effect)?.iter().copied())
                .authority(&tool.authority_args)
                .content(&tool.content_args)
                .output_labels(labels)
                .run_raw(tool.parameters.clone(), move |_context, _arguments| {
                    let answer = std::mem::take(&mut *tape.lock().unwrap_or_else(PoisonError::into_inner));
                    async move { Ok(answer) }
                })?;
        }
        Ok(Self { registry: registry.build(), tape, clock: SystemClock::new() })
    }
}

/// What a tool of this kind does to the world.
fn effects(kind: &str) -> anyhow::Result<&'static [Effect]> {
    Ok(match kind {
        "read" => &[Effect::Read],
        "write" | "account" | "membership" => &[Effect::Write],
        "delete" => &[Effect::Delete],
        "egress" => &[Effect::Network, Effect::Message],
        "pay" => &[Effect::Money],
        other => anyhow::bail!("a tool has the effect `{other}`, which is not known"),
    })
}

/// What became of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Carried out without a human.
    Allowed,
    /// Carried out after the user had agreed.
    Granted,
    /// Held for a human who never agreed.
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
    kernel: Kernel,
    agent: AgentHandle,
    user: Principal,
    /// Under which number the record has each call that the user's task made so far; none where it was not carried out.
    numbers: Vec<Option<u64>>,
    finished: Finished,
}

impl<'a> Session<'a> {
    /// A kernel of its own for each session, so that nothing carries over. The only text the host vouches for is what the
    /// user asked.
    pub(crate) fn start(
        tools: &'a Tools,
        policy: &Policy,
        task: &UserTask,
        tracing: super::Tracing,
    ) -> anyhow::Result<Self> {
        let kernel = Kernel::builder()
            .policy(policy.clone())
            .tools(tools.registry.clone())
            .approvals(Approvals::new())
            .build()?;
        let provenance = match tracing {
            super::Tracing::Declared => Tracing::Declared,
            super::Tracing::Traced => Tracing::Traced,
            super::Tracing::Coarse => Tracing::Coarse,
        };
        let spec = AgentSpec::new("assistant").provenance(provenance).on_ask(OnAsk::Return);
        let agent = kernel.spawn(spec)?;
        kernel.tell(agent.id(), &task.prompt, &LabelSet::EMPTY)?;
        let finished = Finished { user: Vec::new(), attack: Vec::new(), verdicts: Vec::new() };
        Ok(Self { tools, kernel, agent, user: "user".parse()?, numbers: Vec::new(), finished })
    }

    /// The next call of the user's own task. What needs the user's consent gets it.
    pub(crate) async fn call(&mut self, call: &Call) -> anyhow::Result<()> {
        let sources = self.sources(call);
        let (fate, number) = self.make(call, sources, true).await?;
        self.finished.user.push(fate);
        self.numbers.push(number);
        Ok(())
    }

    /// A call that the attacker speaks up for, through the output of the user's latest call. The user does not agree to it.
    pub(crate) async fn attack(&mut self, call: &Call) -> anyhow::Result<()> {
        let exposed = self.numbers.last().copied().flatten().unwrap_or(u64::MAX);
        let names = call.args.as_object().into_iter().flat_map(|arguments| arguments.keys());
        let sources =
            names.fold(Sources::new(), |sources, name| sources.argument(name, [Source::Call(exposed)]));
        let (fate, _) = self.make(call, sources, false).await?;
        self.finished.attack.push(fate);
        Ok(())
    }

    /// The next call of the user's own task, with the attacker's values in it. The user, who would see them, does not agree.
    pub(crate) async fn taken_over(&mut self, call: &Call) -> anyhow::Result<()> {
        let sources = self.sources(call);
        let (fate, number) = self.make(call, sources, false).await?;
        self.finished.attack.push(fate);
        self.numbers.push(number);
        Ok(())
    }

    /// What the recorded session says each argument was made from.
    fn sources(&self, call: &Call) -> Sources {
        let names = call.args.as_object().into_iter().flat_map(|arguments| arguments.keys());
        // Without a word about it, an argument is the assistant's own choice.
        let own_choice = |name: &String| !call.arg_provenance.keys().any(|part| argument_of(part) == name);
        let sources = names
            .filter(|name| own_choice(name))
            .fold(Sources::new(), |sources, name| sources.argument(name, [Source::Constant]));
        call.arg_provenance.iter().fold(sources, |sources, (part, provenance)| {
            sources.argument(argument_of(part), self.made_from(call, part, *provenance))
        })
    }

    fn made_from(&self, call: &Call, part: &str, provenance: Provenance) -> Vec<Source> {
        if matches!(provenance, Provenance::Prompt | Provenance::DerivedPrompt | Provenance::Planner) {
            return vec![Source::Constant];
        }
        // A call that was not carried out has no number; what is made from it carries everything.
        let number =
            |index: usize| Source::Call(self.numbers.get(index).copied().flatten().unwrap_or(u64::MAX));
        match call.arg_from_outputs.get(part) {
            Some(calls) if !calls.is_empty() => calls.iter().map(|index| number(*index)).collect(),
            _ => (0..self.numbers.len()).map(number).collect(),
        }
    }

    /// Makes a call; `agrees` says what the user does when asked.
    async fn make(
        &mut self,
        call: &Call,
        sources: Sources,
        agrees: bool,
    ) -> anyhow::Result<(Fate, Option<u64>)> {
        let exec = || Syscall::Exec {
            tool: call.function.clone(),
            arguments: RawArguments::Sourced(RawArguments::Value(call.args.clone()).into(), sources.clone()),
            deadline: None,
        };
        // The verdict alone, asked for as any agent may.
        let question = exec();
        let asked_at = self.tools.clock.monotonic();
        let asked = self.agent.check(question).await;
        if asked.is_ok() {
            self.finished.verdicts.push(self.tools.clock.monotonic().since(asked_at));
        }
        self.load(call);
        match self.agent.syscall(exec()).await {
            Err(CallError::Held { ticket, .. }) if agrees => {
                let granted = self.kernel.approve(ticket, &self.user, Scope::Once);
                granted.context("the user cannot agree")?;
                self.load(call);
                done(self.agent.syscall(exec()).await, Fate::Granted)
            }
            Err(CallError::Held { .. }) => Ok((Fate::Asked, None)),
            answer => done(answer, Fate::Allowed),
        }
    }

    fn load(&self, call: &Call) {
        *self.tools.tape.lock().unwrap_or_else(PoisonError::into_inner) = call.output.clone();
    }

    pub(crate) fn finish(self) -> Finished {
        self.finished
    }
}

fn done(answer: Result<Reply, CallError>, fate: Fate) -> anyhow::Result<(Fate, Option<u64>)> {
    match answer {
        Ok(Reply::Output { call, .. }) => Ok((fate, Some(call))),
        Err(CallError::Denied(_) | CallError::Dead(_) | CallError::Invalid(_)) => Ok((Fate::Refused, None)),
        Ok(other) => anyhow::bail!("a tool call answered {other:?}"),
        Err(error) => Err(error.into()),
    }
}

/// The argument that a part belongs to: `participants` for `participants[0]`, `participants.0` and `/participants/0`.
pub(crate) fn argument_of(part: &str) -> &str {
    part.trim_start_matches('/').split(['.', '[', '/']).next().unwrap_or(part)
}
