//! Judging for hosts that carry calls out elsewhere: nothing of the agent is held here, so everything a decision depends on
//! comes with the question, and is recorded with the answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_primitives::json::{self, Value};
use agent_primitives::{AgentId, LabelSet, Signal, TenantId, Timestamp, ToolId, Verdict};
use serde_json::Map;

use super::border::{self, Speaker};
use super::policies::Footing;
use super::{Inner, Kernel, MAX_FACTS};
use crate::budget::{AccountId, BudgetState, NoRoom};
use crate::call::Syscall;
use crate::denial::{Denial, Reason};
use crate::error::{CallError, InvalidCall};
use crate::flow::Argument;
use crate::history::History;
use crate::mode::Mode;
use crate::observe::spans;
use crate::policy::permit::Judged;
use crate::policy::request::Request;
use crate::policy::{Decision, Standing};
use crate::question::{CallKind, Caller, Object, Question};
use crate::recorder::{self, Body, Recorded, Source};
use crate::vfs::VfsPath;

/// Most deeds that a context may bring.
pub const MAX_PAST: usize = 1024;

/// Everything a decision about an agent depends on that this kernel does not hold. What is not said is not known, and a
/// policy that looks at it denies.
#[derive(Clone, Debug)]
pub struct JudgeContext {
    agent: String,
    tenant: Option<TenantId>,
    facts: Map<String, Value>,
    labels: LabelSet,
    arguments: Option<BTreeMap<String, LabelSet>>,
    mode: Option<Mode>,
    past: Option<Vec<Deed>>,
    budgets: Option<Vec<BudgetState>>,
}

/// Something the agent has done: a call that was allowed and begun.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "whoever says what was done says all of it")]
pub struct Deed {
    /// When.
    pub time: Timestamp,
    /// Which call: `read`, `write`, `open`, `exec` or `signal`.
    pub call: CallKind,
    /// The path, the tool or the receiver.
    pub object: String,
    /// The arguments of a tool; nothing for other calls.
    pub arguments: Value,
}

impl JudgeContext {
    /// An agent of this name, of whom nothing else is known. It carries no labels, so say those it does.
    #[must_use]
    pub fn new(agent: impl Into<String>) -> Self {
        Self {
            agent: agent.into(),
            tenant: None,
            facts: Map::new(),
            labels: LabelSet::EMPTY,
            arguments: None,
            mode: None,
            past: None,
            budgets: None,
        }
    }

    /// Whose agent it is.
    #[must_use]
    pub fn tenant(mut self, tenant: TenantId) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// A fact that policies read as `context.<key>`.
    #[must_use]
    pub fn fact(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.facts.insert(key.into(), value.into());
        self
    }

    /// What is known of everything the agent has read.
    #[must_use]
    pub fn labels(mut self, labels: LabelSet) -> Self {
        self.labels = labels;
        self
    }

    /// What each argument carries. One that is left out carries all that the agent does, as all do where this is not said.
    #[must_use]
    pub fn arguments(mut self, arguments: BTreeMap<String, LabelSet>) -> Self {
        self.arguments = Some(arguments);
        self
    }

    /// The mode to judge in; this kernel's own unless said.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// All that the agent has done in its life, in order; at most [`MAX_PAST`] deeds. Without it a condition on the past is
    /// not met where a rule allows, and is met where it asks or denies.
    #[must_use]
    pub fn past(mut self, past: impl IntoIterator<Item = Deed>) -> Self {
        self.past = Some(past.into_iter().take(MAX_PAST + 1).collect());
        self
    }

    /// How much of the budgets above the agent is used, for conditions on them. They are not booked on here.
    #[must_use]
    pub fn budgets(mut self, budgets: impl IntoIterator<Item = BudgetState>) -> Self {
        self.budgets = Some(budgets.into_iter().take(MAX_BUDGETS + 1).collect());
        self
    }
}

/// Most bytes of all arguments of these deeds.
const MAX_PAST_BYTES: usize = 256 << 10;

/// Most states of budgets that a context may bring: four levels of every resource, and room.
const MAX_BUDGETS: usize = 256;

/// What a call that is carried out elsewhere may do, on record already.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Judgement {
    /// What the policy said.
    pub decision: Decision,
    /// Why the call is not to be made; `None` only when it may be. A verdict to ask is a refusal here: whoever can ask a
    /// human may do so, and this kernel issues no ticket for it.
    pub denial: Option<Denial>,
    /// Sequence number of the record.
    pub seq: u64,
    /// Number of the call, by which the record knows it.
    pub call: u64,
}

impl Judgement {
    /// Whether the call may be made.
    #[must_use]
    pub fn allows(&self) -> bool {
        self.denial.is_none()
    }
}

/// A context that was found sound, and the parts of it that go on record.
struct Sound<'a> {
    said: &'a JudgeContext,
    agent: AgentId,
    facts: Vec<u8>,
    history: History,
    /// The arguments of each deed, in canonical form.
    arguments: Vec<Vec<u8>>,
}

impl Kernel {
    /// Judges a call that is carried out elsewhere, by the policy set in force, and records the decision before it is
    /// answered; of a call with side effects, durably. Nothing of the agent is kept, so hosts that scale out need not send
    /// it to the same kernel twice.
    ///
    /// The call is about a path, a tool of this kernel or a signal. What a policy looks at and the context does not bring
    /// counts against the call; so do limits and budgets, because nothing is counted here.
    ///
    /// # Errors
    /// A call or context that is malformed, one that only an agent of this kernel can make, or a kernel that takes no
    /// calls. Whoever gets an error must not make the call.
    ///
    /// # Cancel safety
    /// Dropped while it waits for the disk, the decision stays on record.
    pub async fn judge(&self, call: Syscall, context: &JudgeContext) -> Result<Judgement, CallError> {
        let inner = &self.inner;
        inner.running()?;
        let (number, now) = (inner.next_number(), inner.timer.now());
        let (syscall, what) = (call.kind().number(), border::describe(&call));
        let parsed = context.sound().and_then(|sound| {
            let request = border::request(inner, Speaker { id: &sound.agent, files: None }, call)?;
            Ok((sound, request))
        });
        let (sound, request) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                let (code, text) = (error.code(), error.to_string());
                let body = Body::Rejected { syscall, what: &what, code, error: &text };
                inner.append_at(now, Source::KERNEL, number, body)?;
                return Err(error.into());
            }
        };
        let span = inner.guarding(&sound.agent, 0, number, &request);
        let ruled = span.in_scope(|| inner.judge_alone(&sound, number, now, request));
        match &ruled {
            Ok((judged, _)) => spans::judged(&span, judged, false),
            Err(error) => spans::not_judged(&span, error),
        }
        drop(span);
        let (judged, recorded) = ruled?;
        if judged.has_side_effects() {
            inner.durable(&recorded).await?;
        }
        let (seq, denial) = (recorded.seq(), judged.denial());
        Ok(Judgement { denial, decision: judged.decision().clone(), seq, call: number })
    }
}

impl Inner {
    /// Judges a request by itself and writes that down.
    fn judge_alone(
        &self,
        sound: &Sound<'_>,
        call: u64,
        now: Timestamp,
        mut request: Request,
    ) -> Result<(Judged, Recorded), CallError> {
        let said = sound.said;
        let footing = Footing::new(&self.policies, None);
        let era = footing.era();
        let standing = footing.standing(&era);
        let own = self.mode();
        let caller = Caller::new(&sound.agent, &said.facts)
            .of_tenant(said.tenant.as_ref())
            .having_read(&said.labels)
            .having_done(&sound.history)
            .in_mode(said.mode.as_ref().unwrap_or(&own).as_str())
            .with_budgets(said.budgets.as_deref().unwrap_or_default())
            .at(now);
        self.carry_as_said(said, &mut request);
        let mut judged = Judged::by(&standing, &caller, request);
        self.compare(&footing, call, &caller, &judged);
        if let Some(what) = self.unaccountable(sound, &standing, &caller, &judged) {
            judged.crowd_out(NoRoom { reason: Reason::Unaccountable { what }, rule: None });
        }
        let past =
            said.past.as_ref().map(|past| past.iter().zip(&sound.arguments).map(Deed::as_event).collect());
        let tenant = said.tenant.as_ref().map_or("", TenantId::as_str);
        let body = judged.as_judged_alone(&caller, tenant, &sound.facts, past);
        let source = Source { agent: sound.agent.as_str(), generation: 0, trail: None };
        let recorded = self.append_at(now, source, call, body)?;
        Ok((judged, recorded))
    }

    /// Gives the arguments of a tool call what the host says they carry.
    fn carry_as_said(&self, said: &JudgeContext, request: &mut Request) {
        let Some(run) = request.tool_call() else { return };
        run.spoken_under(&said.labels);
        let Some(labels) = said.arguments.as_ref() else { return };
        let contract = Arc::clone(run.contract());
        let Some(arguments) = run.arguments().value().as_object() else { return };
        let carries = |name: &str| labels.get(name).unwrap_or(&said.labels).clone();
        let mut carried: Vec<Argument> =
            arguments.keys().map(|name| Argument::new(name, contract.role(name), carries(name))).collect();
        carried.sort_by(|one, other| one.name.cmp(&other.name));
        run.carry(carried);
    }

    /// What a decision could not take into account, if it would have had to.
    fn unaccountable(
        &self,
        sound: &Sound<'_>,
        standing: &Standing<'_>,
        caller: &Caller<'_>,
        judged: &Judged,
    ) -> Option<&'static str> {
        let verdict = judged.decision().verdict();
        if verdict == Verdict::Deny {
            // Whether it is for want of the past that it is denied: with an empty one it would not be.
            let known = caller.having_done(&History::EMPTY);
            let other = judged.as_judged_by(standing, &known)?;
            let wants_past = sound.said.past.is_none() && other.verdict() != Verdict::Deny;
            return wants_past.then_some("the policy looks at the agent's past, and the context brings none");
        }
        if judged.limits().next().is_some() {
            return Some("a rule limits it, and a call that is judged without its agent is not counted");
        }
        let above = [
            Some(AccountId::Kernel),
            sound.said.tenant.clone().map(AccountId::Tenant),
            Some(AccountId::Agent(sound.agent.clone())),
        ];
        let limited = above.into_iter().flatten().any(|account| self.accounts.limits(&account));
        limited.then_some("a budget limits it, and a call that is judged without its agent is not booked")
    }
}

impl JudgeContext {
    /// Checks what the host says, which decisions and their record rely on.
    fn sound(&self) -> Result<Sound<'_>, InvalidCall> {
        let wrong = |reason: String| InvalidCall::Context { reason };
        let agent = self.agent.parse::<AgentId>();
        let agent = agent.map_err(|bad| wrong(format!("its agent has no name: {bad}")))?;
        let facts = json::canonical(&Value::Object(self.facts.clone()));
        let facts = facts.map_err(|bad| wrong(format!("its facts cannot be recorded: {bad}")))?;
        if MAX_FACTS < facts.len() {
            return Err(wrong(format!("its facts have more than {MAX_FACTS} bytes")));
        }
        if self.past.as_ref().is_some_and(|past| MAX_PAST < past.len()) {
            return Err(wrong(format!("it brings more than {MAX_PAST} deeds")));
        }
        if self.budgets.as_ref().is_some_and(|budgets| MAX_BUDGETS < budgets.len()) {
            return Err(wrong(format!("it brings more than {MAX_BUDGETS} states of budgets")));
        }
        let mut history = History::default();
        let mut arguments = Vec::new();
        match &self.past {
            // Unknown at all times: no condition on the past gets an answer.
            None => history.pass_over(Timestamp::from_micros(i64::MAX)),
            Some(past) => {
                for deed in past {
                    arguments.push(deed.take_part_in(&mut history).map_err(wrong)?);
                }
            }
        }
        if MAX_PAST_BYTES < arguments.iter().map(Vec::len).sum() {
            return Err(wrong(format!("the arguments of its deeds have more than {MAX_PAST_BYTES} bytes")));
        }
        Ok(Sound { said: self, agent, facts, history, arguments })
    }
}

impl Deed {
    /// Adds it to a history, and returns its arguments as they are recorded.
    fn take_part_in(&self, history: &mut History) -> Result<Vec<u8>, String> {
        let bad = |what: &dyn std::fmt::Display| {
            format!("`{}` is no {} it can have done: {what}", cut(&self.object), self.call)
        };
        match self.call {
            CallKind::Read | CallKind::Write | CallKind::Open => {
                let path = VfsPath::parse(&self.object).map_err(|error| bad(&error))?;
                history.note(&Question::new(self.call, Object::File(&path)), self.time);
            }
            CallKind::Exec => {
                let id: ToolId = self.object.parse().map_err(|error| bad(&error))?;
                let object = Object::Tool { id: &id, arguments: &self.arguments };
                history.note(&Question::new(self.call, object), self.time);
                return json::canonical(&self.arguments).map_err(|error| bad(&error));
            }
            CallKind::Signal => {
                let id: AgentId = self.object.parse().map_err(|error| bad(&error))?;
                // Conditions tell receivers apart, not signals.
                let object = Object::Agent { id: &id, signal: Signal::Term };
                history.note(&Question::new(self.call, object), self.time);
            }
            CallKind::Close | CallKind::CheckPolicy | CallKind::Exit => {
                return Err(bad(&"only calls on paths, tools and signals are deeds"));
            }
        }
        Ok(Vec::new())
    }

    fn as_event<'a>((deed, arguments): (&'a Self, &'a Vec<u8>)) -> recorder::Deed<'a> {
        recorder::Deed { time: deed.time, call: deed.call.number(), object: &deed.object, arguments }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(128).collect()
}
