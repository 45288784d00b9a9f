//! Replay: every decision of a recording made again, without anything being executed.
//!
//! Under the policies on record each decision has to come out byte for byte as it was recorded: the verdict, the rules that
//! made it, the digest and generation of the policy, and why the call was refused. Under another policy, what comes out is
//! the list of verdicts that change.
//!
//! What went into a decision besides policy and request is on record, and taken from there: the labels, the time, the mode,
//! the budgets. What a replay cannot make anew it takes from the record too, and counts: whether a limit left room, which
//! depends on a clock that is not recorded, and what came of asking a human. What the record has not got is
//! [not judged](Replay::not_judged), with the cause. A repetition that was answered from memory is held against the refusal
//! it repeats.

use std::collections::{BTreeMap, HashMap, VecDeque};

use agent_primitives::Verdict;

use super::{Body, Decided, Event, RecordingError, Request, Stored};
use crate::denial::Reason;
use crate::policy::simulate::{Cause, Flip, Judge, Judges, NotJudged, Stop};
use crate::policy::{Decision, PolicySet};

/// Most decisions that are listed in each list of a [`Replay`]; more are only counted.
pub const MAX_LISTED: usize = 100_000;
/// Refusals that are remembered for the repetitions of them.
const MAX_REFUSED: usize = 65_536;

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// How many decisions are on record.
    pub decisions: u64,
    /// How many of them came out byte for byte as recorded.
    pub identical: u64,
    /// How many came out with the verdict on record, under a policy that is not the one on record.
    pub same_verdict: u64,
    /// The decisions that came out otherwise: with another verdict or, under the policy on record, with any other byte. In
    /// the order of the record, at most [`MAX_LISTED`].
    pub changed: Vec<Flip>,
    /// How many more changed.
    pub changed_left_out: u64,
    /// The decisions that could not be made again, at most [`MAX_LISTED`].
    pub not_judged: Vec<NotJudged>,
    /// How many could not be made again, by cause.
    pub not_judged_by: BTreeMap<Cause, u64>,
    /// Of the decisions made again, how many depended on something that was taken from the record as it is.
    pub taken: BTreeMap<Taken, u64>,
    /// Refusals that were repeated from memory, and are as the refusal they repeat.
    pub repeated: u64,
}

/// What a decision made again was not asked about, because only its own moment knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Taken {
    /// That a limit or a budget left no room.
    Limit,
    /// That a human had consented, or why no consent was there.
    Consent,
}

impl Taken {
    /// What it is in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Consent => "consent",
        }
    }
}

impl Replay {
    /// Whether every decision was made again and none changed.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.changed.is_empty() && self.not_judged_by.is_empty()
    }

    fn change(&mut self, flip: Flip) {
        if self.changed.len() == MAX_LISTED {
            self.changed_left_out += 1;
        } else {
            self.changed.push(flip);
        }
    }

    fn pass_over(&mut self, seq: u64, cause: Cause) {
        *self.not_judged_by.entry(cause).or_default() += 1;
        if self.not_judged.len() < MAX_LISTED {
            self.not_judged.push(NotJudged { seq, cause });
        }
    }
}

/// Makes every decision of a recording again by one policy, whatever was in force.
///
/// Decisions made under that very policy have to come out byte for byte; of others the verdicts are compared.
///
/// # Errors
/// A record that cannot be read, or one that says of a call what no agent could have asked.
pub fn replay(
    events: impl IntoIterator<Item = Result<Stored, RecordingError>>,
    policy: &PolicySet,
) -> Result<Replay, RecordingError> {
    Replaying::new(Judges::One(policy)).run(events)
}

/// Makes every decision of a recording again by the policies that the record says were in force. All of it has to come out
/// byte for byte.
///
/// # Errors
/// As [`replay`].
pub fn replay_recorded(
    events: impl IntoIterator<Item = Result<Stored, RecordingError>>,
) -> Result<Replay, RecordingError> {
    Replaying::new(Judges::Recorded).run(events)
}

struct Replaying<'s> {
    judge: Judge<'s>,
    /// Whether what judges is what the record says did.
    by_record: bool,
    refused: Refused,
    replay: Replay,
}

impl<'s> Replaying<'s> {
    fn new(judges: Judges<'s>) -> Self {
        let by_record = matches!(judges, Judges::Recorded);
        let (refused, replay) = (Refused::default(), Replay::default());
        Self { judge: Judge::new(judges), by_record, refused, replay }
    }

    fn run(
        mut self,
        events: impl IntoIterator<Item = Result<Stored, RecordingError>>,
    ) -> Result<Replay, RecordingError> {
        for stored in events {
            let stored = stored?;
            let (seq, event) = (stored.seq(), stored.event()?);
            let not = |reason: &str| RecordingError::NotAnEvent { seq, reason: reason.to_owned() };
            if let Some((request, before)) = event.judged() {
                self.replay.decisions += 1;
                match self.again(&event, request, before) {
                    Ok(again) => self.compare(seq, &event, request, before, &again),
                    Err(Stop::Not(cause)) => self.replay.pass_over(seq, cause),
                    Err(Stop::Bad(reason)) => return Err(not(reason)),
                }
            }
            self.recall(seq, &event).map_err(not)?;
            self.judge.fold(&event).map_err(not)?;
        }
        Ok(self.replay)
    }

    fn again(
        &self,
        event: &Event<'_>,
        request: &Request<'_>,
        before: &Decided<'_>,
    ) -> Result<Decision, Stop> {
        match self.judge.again(event, request, before)? {
            Some(again) => Ok(again),
            None => self.judge.own_business(event, before).map_err(Stop::Not),
        }
    }

    fn compare(
        &mut self,
        seq: u64,
        event: &Event<'_>,
        request: &Request<'_>,
        before: &Decided<'_>,
        again: &Decision,
    ) {
        if !self.by_record && again.policy_digest() != before.policy {
            if again.verdict() == before.verdict {
                self.replay.same_verdict += 1;
            } else {
                self.replay.change(Flip::of(seq, event, request, before, again));
            }
            return;
        }
        let (reason, taken) = reason(event, again, before);
        let decided = Decided {
            verdict: again.verdict(),
            rules: again.rules().collect(),
            policy: again.policy_digest(),
            generation: again.generation(),
            labels: before.labels.clone(),
            arguments: before.arguments.clone(),
            reason,
            mode: before.mode,
            budgets: before.budgets.clone(),
        };
        if let Some(taken) = taken {
            *self.replay.taken.entry(taken).or_default() += 1;
        }
        // The bytes, not the values: what counts is what was hashed.
        match (postcard::to_stdvec(&decided), postcard::to_stdvec(before)) {
            (Ok(again), Ok(before)) if again == before => self.replay.identical += 1,
            _ => self.replay.change(Flip::of(seq, event, request, before, again)),
        }
    }

    /// Holds a refusal from memory against the one it repeats.
    fn recall(&mut self, seq: u64, event: &Event<'_>) -> Result<(), &'static str> {
        match &event.body {
            Body::Boot { .. } => self.refused = Refused::default(),
            Body::Refused { decision, .. } if decision.verdict == Verdict::Deny => {
                self.refused.add(event, decision.reason.unwrap_or_default());
            }
            Body::Repeated { of, code, .. } => match self.refused.get(event, *of) {
                None => self.replay.pass_over(seq, Cause::Dropped),
                Some(reason) if reason == *code => self.replay.repeated += 1,
                Some(_) => return Err("it repeats a refusal that was another"),
            },
            _ => {}
        }
        Ok(())
    }
}

/// Why a call is refused that was decided like this, and what of that is taken from the record.
fn reason<'e>(event: &Event<'e>, again: &Decision, before: &Decided<'e>) -> (Option<&'e str>, Option<Taken>) {
    let class = before.reason.and_then(class);
    match (&event.body, again.verdict()) {
        // Nothing is counted of a call that is judged without its agent, and nobody is asked.
        (Body::Judged { .. }, _) if class == Some(Taken::Limit) => (before.reason, class),
        (Body::Judged { .. }, Verdict::Ask) => (Some(Reason::NoApprover.code()), None),
        (Body::Refused { .. } | Body::Judged { .. }, Verdict::Deny) if again.is_withheld() => {
            (Some(Reason::Withheld.code()), None)
        }
        (Body::Refused { .. } | Body::Judged { .. }, Verdict::Deny) if again.rule_count() == 0 => {
            (Some(Reason::Unmatched.code()), None)
        }
        (Body::Refused { .. } | Body::Judged { .. }, Verdict::Deny) => (Some(Reason::Rule.code()), None),
        (Body::Refused { .. }, Verdict::Allow) if class == Some(Taken::Limit) => (before.reason, class),
        (Body::Refused { .. }, Verdict::Ask) if class.is_some() => (before.reason, class),
        (Body::Intent { ticket: Some(_), .. }, Verdict::Ask) => (None, Some(Taken::Consent)),
        // An ask that was let through without a ticket, or an allow that was refused for no reason: no such bytes.
        (Body::Intent { .. }, Verdict::Ask | Verdict::Deny) => (Some(Reason::NoApprover.code()), None),
        (Body::Refused { .. }, Verdict::Allow | Verdict::Ask) => (None, None),
        _ => (None, None),
    }
}

/// What kind of refusal a code is that does not follow from the policy alone.
fn class(code: &str) -> Option<Taken> {
    match code.get(..4) {
        Some("AK02") => Some(Taken::Consent),
        Some("AK03") => Some(Taken::Limit),
        _ => None,
    }
}

/// A call: its agent, the life of that, and its number there.
type Call = (String, u64, u64);

/// The reasons of the latest refusals.
#[derive(Default)]
struct Refused {
    by_call: HashMap<Call, String>,
    order: VecDeque<Call>,
}

impl Refused {
    fn add(&mut self, event: &Event<'_>, reason: &str) {
        let call = (event.agent.to_owned(), event.generation, event.call);
        self.by_call.insert(call.clone(), reason.to_owned());
        self.order.push_back(call);
        if MAX_REFUSED < self.order.len()
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_call.remove(&oldest);
        }
    }

    /// Why an earlier call of the agent in an event was refused.
    fn get(&self, event: &Event<'_>, call: u64) -> Option<&str> {
        self.by_call.get(&(event.agent.to_owned(), event.generation, call)).map(String::as_str)
    }
}
