//! What the flight recorder writes down.
//!
//! An event is encoded with postcard: fixed field order, length-prefixed, no text between fields, so two different
//! events never share bytes. These bytes are what is hashed and stored; JSON is for export. Requests are kept whole
//! where policy read them (path, tool, arguments), so a decision can be recomputed; file contents are kept as digest.

mod request;

use agent_primitives::{Digest, LabelSet, TicketId, Timestamp, Verdict};
use agent_tool_registry::ArgumentRole;
use serde::{Deserialize, Serialize};

use super::delivery::{Delivery, HandlerStep};
use crate::budget::BudgetState;

pub use request::Request;

/// Version of the encoding; the first byte of every event.
pub const EVENT_VERSION: u8 = 3;

/// One event. Borrows from the request when written and from the record when read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event<'a> {
    /// [`EVENT_VERSION`].
    pub version: u8,
    /// Wall-clock time of the kernel's clock.
    pub time: Timestamp,
    /// The agent; empty when the host or the kernel itself acted.
    pub agent: &'a str,
    /// Which life of that name.
    pub generation: u64,
    /// Number of the call this belongs to, among those of this life of its agent; 0 when it belongs to none. Intent and
    /// outcome share it.
    pub call: u64,
    /// Digest of the event before it on the same chain, zero for the first: see the module `chain`.
    pub prev: Digest,
    /// What happened.
    #[serde(borrow)]
    pub body: Body<'a>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Body<'a> {
    /// The kernel started under this policy.
    Boot {
        /// Digest of the policy set, the first generation.
        policy: Digest,
        /// The documents of all its layers, as canonical JSON.
        document: &'a [u8],
    },
    /// An agent was created.
    Spawn {
        /// What the host said about it, as canonical JSON.
        facts: &'a [u8],
        /// Whose agent it is; empty when nobody said.
        tenant: &'a str,
        /// What is known of everything it starts out with.
        labels: LabelSet,
        /// Generation of the policy set it is spawned under.
        under: u64,
        /// The document of its task's policy, as canonical JSON; empty when it has none.
        task: &'a [u8],
        /// Whether what it is allowed to do is not done.
        dry_run: bool,
    },
    /// A call was allowed and is about to be carried out.
    Intent {
        /// The call.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision.
        #[serde(borrow)]
        decision: Decided<'a>,
        /// The approval that was taken for it, if the decision is to ask.
        ticket: Option<TicketId>,
    },
    /// A call was refused by policy; nothing was done.
    Refused {
        /// The call.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision.
        #[serde(borrow)]
        decision: Decided<'a>,
    },
    /// A call was refused before it was judged: malformed, or from an agent that may make none.
    Rejected {
        /// ABI number of the call.
        syscall: u8,
        /// What is known of it.
        what: &'a str,
        /// Stable code of the error.
        code: &'a str,
        /// The error.
        error: &'a str,
    },
    /// A question was answered; nothing was done.
    Question {
        /// The call asked about.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision it would get.
        #[serde(borrow)]
        decision: Decided<'a>,
    },
    /// A call that had an intent came to its end.
    Outcome {
        /// How.
        #[serde(borrow)]
        outcome: Outcome<'a>,
        /// How long it took, in microseconds of the monotonic clock.
        micros: u64,
    },
    /// A signal was raised. One that waits and is delivered later is a [`Body::Delivered`] then.
    Signal {
        /// Its number.
        signal: u8,
        /// Who raised it.
        #[serde(borrow)]
        from: Actor<'a>,
        /// Why.
        reason: &'a str,
        /// Whether its default action was taken; otherwise it waits, or found nothing to do.
        delivered: bool,
    },
    /// An agent ended.
    Exit {
        /// How, in words.
        status: &'a str,
    },
    /// The kernel could not keep a promise and takes no further calls.
    Panic {
        /// Which.
        reason: &'a str,
    },
    /// The kernel was shut down in order.
    Shutdown,
    /// The record was reopened and its last event cut off, because it was half-written or damaged.
    Recovered {
        /// Bytes that were cut off.
        dropped_bytes: u64,
    },
    /// Labels were taken off an agent.
    Declassified {
        /// Which.
        labels: LabelSet,
        /// Who said so.
        by: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// The host changed something about an agent.
    Host {
        /// What, in words.
        action: &'a str,
    },
    /// A call needs an approval and waits for one; nothing was done.
    Held {
        /// The call.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision.
        #[serde(borrow)]
        decision: Decided<'a>,
        /// The ticket it waits for.
        ticket: TicketId,
    },
    /// Something happened to an approval.
    Approval {
        /// The ticket.
        ticket: TicketId,
        /// What happened.
        step: ApprovalStep,
        /// The principal that did it; empty when none did.
        by: &'a str,
        /// Digest of the agent, the call and the policy that the ticket is bound to.
        binding: Digest,
        /// The scope of a grant, or why it was refused or revoked; empty when there is nothing to say.
        reason: &'a str,
    },
    /// A budget is at least 80 % used, or all of it.
    Budget {
        /// Whose.
        account: &'a str,
        /// Of what.
        resource: &'a str,
        /// How much is used.
        used: u64,
        /// How much there is.
        limit: u64,
        /// Whether nothing is left.
        exhausted: bool,
    },
    /// A call was refused as it had been before, from memory; nothing was done.
    Repeated {
        /// ABI number of the call.
        syscall: u8,
        /// What it was about.
        what: &'a str,
        /// Number of the same call that was refused first; its [`Body::Refused`] has the request and the decision.
        of: u64,
        /// Stable code of the refusal.
        code: &'a str,
    },
    /// Another policy set came into force.
    Reload {
        /// Its generation.
        generation: u64,
        /// Digest of the set.
        policy: Digest,
        /// The documents of all its layers, as canonical JSON.
        document: &'a [u8],
        /// Whether agents that were alive may do what it allows beyond the set before.
        forced: bool,
    },
    /// A signal that waited was delivered; that it was raised is a [`Body::Signal`] before.
    Delivered {
        /// Its number.
        signal: u8,
        /// To whom.
        to: Delivery,
        /// Who raised it.
        from: Actor<'a>,
        /// Why.
        reason: &'a str,
        /// When it was raised.
        raised: Timestamp,
        /// What the reason carries; joined to what the agent carries when it was told the reason.
        labels: LabelSet,
    },
    /// Something happened to the handler of a signal.
    Handler {
        /// The signal's number.
        signal: u8,
        /// What happened.
        step: HandlerStep,
        /// Why it failed; empty when there is nothing to say.
        reason: &'a str,
    },
    /// A call was judged for a host that carries it out elsewhere; nothing was done here. Everything the decision depends on
    /// besides the policy set is in here.
    Judged {
        /// The call.
        #[serde(borrow)]
        request: Request<'a>,
        /// The decision. The call may be made only if it allows and has no reason against it.
        #[serde(borrow)]
        decision: Decided<'a>,
        /// What the host said about the agent, as canonical JSON.
        facts: &'a [u8],
        /// Whose agent it is; empty when nobody said.
        tenant: &'a str,
        /// What the agent has done, in order; `None` when nobody said, and then it was not known to the decision.
        #[serde(borrow)]
        past: Option<Vec<Deed<'a>>>,
    },
    /// Something that no promise rests on is impaired.
    Impaired {
        /// What: a word of [`crate::kernel::Part`].
        part: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// What was impaired no longer is.
    Mended {
        /// What.
        part: &'a str,
    },
    /// The agent that was just created is the child of another.
    Child {
        /// Its parent.
        parent: &'a str,
        /// Which life of its parent.
        parent_generation: u64,
        /// The program that was started for it; empty when the host runs it.
        program: &'a str,
    },
    /// A checkpoint of the agent was taken.
    Checkpoint {
        /// Where it is kept in the agent's tree; empty when it was handed to the host alone.
        file: &'a str,
        /// Its digest.
        digest: Digest,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The diagnostics of the agent were taken.
    Diagnostics {
        /// Where they are kept in the agent's tree.
        file: &'a str,
        /// Their size in bytes.
        bytes: u64,
    },
    /// A checkpoint or diagnostics could not be taken.
    NotTaken {
        /// Number of the signal that asked for it.
        signal: u8,
        /// Why.
        error: &'a str,
    },
    /// The agent was given back what a checkpoint holds.
    Restored {
        /// Digest of the checkpoint: that of the [`Body::Checkpoint`] it was taken by.
        checkpoint: Digest,
        /// How many files were put back.
        files: u64,
        /// How many files that were open could not be opened again.
        lost: u64,
    },
    /// A program has ended: a tool, whose call came to the [`Body::Outcome`] after it, or the agent itself, as no call.
    Ran {
        /// Where it ran: a word of [`Level`](agent_tool_registry::Level).
        level: &'a str,
        /// What was in force there: words of [`Guarantee`](agent_tool_registry::Guarantee).
        #[serde(borrow)]
        guarantees: Vec<&'a str>,
        /// What it used.
        usage: Used,
    },
    /// An order that followed from a signal, or from the end of an agent, has taken hold on the programs that ran for it. Of
    /// one that was overtaken by another nothing is known.
    Ordered {
        /// What was ordered: a word of [`Order`](agent_tool_registry::executor::Order).
        order: &'a str,
        /// How it took hold.
        #[serde(borrow)]
        held: Vec<Hold<'a>>,
    },
}

/// What a program has used. `None` was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Used {
    /// Processor time of all its processes, in microseconds.
    pub cpu: Option<u64>,
    /// The most memory it had at once, in bytes.
    pub peak_memory: Option<u64>,
    /// The most processes and threads it had at once.
    pub peak_processes: Option<u32>,
    /// Fuel burnt.
    pub fuel: Option<u64>,
}

/// How an order took hold on some programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hold<'a> {
    /// Where they run: a word of [`Level`](agent_tool_registry::Level).
    pub level: &'a str,
    /// How it took hold: a word of [`Held`](agent_tool_registry::executor::Held).
    pub held: &'a str,
    /// How many they are.
    pub programs: u64,
}

/// Something that a host says an agent has done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deed<'a> {
    /// When.
    pub time: Timestamp,
    /// ABI number of the call.
    pub call: u8,
    /// The path, the tool or the receiver.
    pub object: &'a str,
    /// The arguments of a tool, as canonical JSON; empty for other calls.
    pub arguments: &'a [u8],
}

/// What can happen to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ApprovalStep {
    /// It was asked for.
    Asked,
    /// A principal agreed; others may have to.
    Granted,
    /// A principal said no.
    Refused,
    /// Its time ran out.
    Expired,
    /// It was withdrawn.
    Revoked,
    /// A call was let through on it.
    Used,
}

impl ApprovalStep {
    /// The step in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Used => "used",
        }
    }
}

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "there is nobody else")]
pub enum Actor<'a> {
    /// The program that embeds the kernel.
    Host,
    /// The kernel itself.
    Kernel,
    /// An agent.
    Agent(&'a str),
}

impl std::fmt::Display for Actor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host => f.write_str("the host"),
            Self::Kernel => f.write_str("the kernel"),
            Self::Agent(name) => write!(f, "agent {name}"),
        }
    }
}

/// A decision, as it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decided<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The rules that made it; empty when nothing matched, or when the call is always the agent's own business.
    #[serde(borrow)]
    pub rules: Vec<&'a str>,
    /// Digest of everything that decided: the layers in force, those the agent was spawned under, its task's.
    pub policy: Digest,
    /// Generation of the policy set in force.
    pub generation: u64,
    /// What was known of everything the agent had read when the decision was made.
    pub labels: LabelSet,
    /// What each argument of a tool call decides and what it carried, where that was found out; otherwise each is taken to
    /// have carried all that the agent did.
    #[serde(borrow)]
    pub arguments: Vec<(&'a str, ArgumentRole, LabelSet)>,
    /// Stable code of the refusal; `None` when the call was not refused. A call that the verdict allows is refused when
    /// a limit or budget leaves no room for it.
    pub reason: Option<&'a str>,
    /// What the host had put the kernel in; empty where the policy does not ask for it.
    pub mode: &'a str,
    /// How much of the budgets above the agent was used; empty where the policy does not ask for it.
    pub budgets: Vec<BudgetState>,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It did what it was asked.
    Done {
        /// Digest of what came back.
        result: Digest,
        /// Size of what came back, in bytes.
        bytes: u64,
        /// What it carries.
        labels: LabelSet,
    },
    /// It failed.
    Failed {
        /// Stable code.
        code: &'a str,
        /// The error.
        error: &'a str,
    },
    /// The agent was ended, or gave the call up, while it ran.
    Cancelled,
    /// It was not carried out: the agent is on a dry run.
    Simulated,
}

impl<'a> Event<'a> {
    /// Every kind of event, in the order of [`Body`].
    pub const KINDS: [&'static str; 31] = [
        "boot",
        "spawn",
        "intent",
        "refused",
        "rejected",
        "question",
        "outcome",
        "signal",
        "exit",
        "panic",
        "shutdown",
        "recovered",
        "declassified",
        "host",
        "held",
        "approval",
        "budget",
        "repeated",
        "reload",
        "delivered",
        "handler",
        "judged",
        "impaired",
        "mended",
        "child",
        "checkpoint",
        "diagnostics",
        "not_taken",
        "restored",
        "ran",
        "ordered",
    ];

    /// The event's kind in one word, as in [`Event::to_json`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.body {
            Body::Boot { .. } => "boot",
            Body::Spawn { .. } => "spawn",
            Body::Intent { .. } => "intent",
            Body::Refused { .. } => "refused",
            Body::Rejected { .. } => "rejected",
            Body::Question { .. } => "question",
            Body::Outcome { .. } => "outcome",
            Body::Signal { .. } => "signal",
            Body::Exit { .. } => "exit",
            Body::Panic { .. } => "panic",
            Body::Shutdown => "shutdown",
            Body::Recovered { .. } => "recovered",
            Body::Declassified { .. } => "declassified",
            Body::Host { .. } => "host",
            Body::Held { .. } => "held",
            Body::Approval { .. } => "approval",
            Body::Budget { .. } => "budget",
            Body::Repeated { .. } => "repeated",
            Body::Reload { .. } => "reload",
            Body::Delivered { .. } => "delivered",
            Body::Handler { .. } => "handler",
            Body::Judged { .. } => "judged",
            Body::Impaired { .. } => "impaired",
            Body::Mended { .. } => "mended",
            Body::Child { .. } => "child",
            Body::Checkpoint { .. } => "checkpoint",
            Body::Diagnostics { .. } => "diagnostics",
            Body::NotTaken { .. } => "not_taken",
            Body::Restored { .. } => "restored",
            Body::Ran { .. } => "ran",
            Body::Ordered { .. } => "ordered",
        }
    }

    /// The call and the decision on it, where the event is about one.
    #[must_use]
    pub fn judged(&self) -> Option<(&Request<'a>, &Decided<'a>)> {
        match &self.body {
            Body::Intent { request, decision, .. }
            | Body::Refused { request, decision }
            | Body::Held { request, decision, .. }
            | Body::Question { request, decision }
            | Body::Judged { request, decision, .. } => Some((request, decision)),
            _ => None,
        }
    }

    /// Whether it was only asked what a call would get.
    #[must_use]
    pub fn is_question(&self) -> bool {
        matches!(self.body, Body::Question { .. })
    }
}

#[cfg(test)]
mod pinned;
