//! What another policy would have said to what is on record.
//!
//! Every call of a recording that policy was asked about is judged again by a candidate, from what the record says of it:
//! the request, the agent's facts and tenant, the labels and the time it was judged with, the policy of its task. Nothing
//! is executed.
//!
//! What the record has not got cannot be judged: a call whose arguments were redacted, or one from before the record begins.
//! Such calls are counted and listed with the cause, never passed off as unchanged.
//!
//! A repetition that the kernel answered from memory was not judged, so it is not judged here either, nor by a shadow
//! candidate: both count the first refusal only. What an agent did while no policy looked back is on record, but its kernel
//! does not know it; after a reload to a policy that looks back, a simulation can know more than the kernel did.

mod asked;
mod lives;
mod sets;

use agent_primitives::Verdict;

pub(crate) use self::lives::{Judge, Judges, SHADOWS};
use super::{Decision, PolicySet};
use crate::question::CallKind;
use crate::recorder::{Decided, Event, RecordingError, Request, Stored};

/// Most verdicts that changed which are listed; more are only counted.
pub const MAX_FLIPS: usize = 100_000;

/// A recorded call to which the candidate gives another verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flip {
    /// Sequence number of the record.
    pub seq: u64,
    /// Who called.
    pub agent: String,
    /// The system call.
    pub call: CallKind,
    /// What it touched: a tool, a path, an agent.
    pub what: String,
    /// The verdict on record.
    pub from: Verdict,
    /// The first rule on record that made it; `None` when nothing matched.
    pub from_rule: Option<String>,
    /// The candidate's verdict.
    pub to: Verdict,
    /// The candidate's first rule.
    pub to_rule: Option<String>,
}

/// What a simulation came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Simulation {
    /// How many recorded decisions were made again.
    pub judged: u64,
    /// How many of them were questions that agents only asked.
    pub questions: u64,
    /// The verdicts that changed, in the order of the record; at most [`MAX_FLIPS`].
    pub flips: Vec<Flip>,
    /// How many more changed.
    pub left_out: u64,
    /// The calls that could not be judged again, in the order of the record; at most [`MAX_FLIPS`].
    pub not_judged: Vec<NotJudged>,
    /// How many more could not.
    pub not_judged_left_out: u64,
}

/// Why a recorded call was not judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// What policy looked at was redacted before it was recorded: of this call, or of an earlier one that counts.
    Redacted,
    /// The record begins after its agent was spawned, or after the policy came into force.
    Dropped,
    /// The policy on record does not load here: it has a layer of an engine that is not built in, or a pack of another
    /// version of this library.
    Policy,
    /// Its agent's past was looked at for a candidate beside the policy, so that the kernel knew more than the record tells.
    Shadow,
    /// Policy goes by a mode or a budget that the kernel did not record: its own policy did not ask for it, or it is a budget
    /// of an agent above the one that called.
    Unrecorded,
}

impl Cause {
    /// The cause in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Redacted => "redacted",
            Self::Dropped => "dropped",
            Self::Policy => "policy",
            Self::Shadow => "shadow",
            Self::Unrecorded => "unrecorded",
        }
    }
}

/// A recorded call that was not judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotJudged {
    /// Sequence number of the record.
    pub seq: u64,
    /// Why.
    pub cause: Cause,
}

/// Why there is no decision on a recorded call.
pub(crate) enum Stop {
    /// The record has not got what it takes.
    Not(Cause),
    /// The record says of the call what no agent could have asked.
    Bad(&'static str),
}

/// Judges everything in `events` again by `candidate`.
///
/// # Errors
/// A record that cannot be read, or one that says of a call what no agent could have asked.
pub fn run(
    events: impl IntoIterator<Item = Result<Stored, RecordingError>>,
    candidate: &PolicySet,
) -> Result<Simulation, RecordingError> {
    let (mut judge, mut simulation) = (Judge::new(Judges::One(candidate)), Simulation::default());
    for stored in events {
        let stored = stored?;
        let event = stored.event()?;
        let not = |reason: &str| RecordingError::NotAnEvent { seq: stored.seq(), reason: reason.to_owned() };
        if let Some((request, decision)) = event.judged() {
            match judge.again(&event, request, decision) {
                Ok(Some(again)) => {
                    simulation.questions += u64::from(event.is_question());
                    simulation.take(stored.seq(), &event, request, decision, &again);
                }
                Ok(None) => {}
                Err(Stop::Not(cause)) => simulation.pass_over(NotJudged { seq: stored.seq(), cause }),
                Err(Stop::Bad(reason)) => return Err(not(reason)),
            }
        }
        judge.fold(&event).map_err(not)?;
    }
    Ok(simulation)
}

impl Simulation {
    fn take(
        &mut self,
        seq: u64,
        event: &Event<'_>,
        request: &Request<'_>,
        before: &Decided<'_>,
        again: &Decision,
    ) {
        self.judged += 1;
        if again.verdict() == before.verdict {
            return;
        }
        if self.flips.len() == MAX_FLIPS {
            self.left_out += 1;
            return;
        }
        self.flips.push(Flip::of(seq, event, request, before, again));
    }

    fn pass_over(&mut self, call: NotJudged) {
        if self.not_judged.len() == MAX_FLIPS {
            self.not_judged_left_out += 1;
            return;
        }
        self.not_judged.push(call);
    }
}

impl Flip {
    /// What was recorded of a call beside what is said to it now.
    pub(crate) fn of(
        seq: u64,
        event: &Event<'_>,
        request: &Request<'_>,
        before: &Decided<'_>,
        again: &Decision,
    ) -> Self {
        Self {
            seq,
            agent: event.agent.to_owned(),
            call: request.call(),
            what: what(request).to_owned(),
            from: before.verdict,
            from_rule: before.rules.first().map(|rule| (*rule).to_owned()),
            to: again.verdict(),
            to_rule: again.deciding_rule().map(str::to_owned),
        }
    }
}

fn what<'r>(request: &Request<'r>) -> &'r str {
    match request {
        Request::Read { path, .. } | Request::Write { path, .. } | Request::Open { path, .. } => path,
        Request::Exec { tool, .. } | Request::ExecRedacted { tool, .. } => tool,
        Request::Signal { to, .. } => to,
        Request::Close { .. } | Request::Mask { .. } | Request::Await { .. } | Request::Exit { .. } => "",
    }
}
