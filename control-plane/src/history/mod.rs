//! What one agent has done in its life so far: what conditions on the past are judged by.
//!
//! A deed is a call that policy allowed and whose intent was recorded, whatever came of it afterwards: a tool that failed,
//! or that was cancelled, has been called. Opening a file for writing, appending or creating is a deed of `open` and one of
//! `write`, as it is judged as both. Closing, asking, exiting and an agent's own mask and mailbox are no deeds.
//!
//! The structure is bounded and exact within its bounds. Where a bound makes an answer inexact, there is none: `None` means
//! that it is not known, and a condition treats that as an error.

mod amount;

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::Timestamp;
use serde_json::Value;

pub(crate) use self::amount::Amount;
use crate::question::{CallKind, Object, Question};
use crate::recorder::{Body, Event, Request};

/// Most deeds kept one by one, for counts and sums over a window; the oldest go first.
pub const MAX_DEEDS: usize = 4096;
/// Most bytes of numbers kept with these deeds, and of names that are kept nowhere else.
pub const MAX_DEED_BYTES: usize = 256 << 10;
/// Most pairs of call and object that are remembered for life. Further ones are not, and whatever depends on them is not
/// known from then on.
pub const MAX_OBJECTS: usize = 1024;
/// Most bytes in the names of these objects.
pub const MAX_OBJECT_BYTES: usize = 128 << 10;
/// Most numeric arguments kept of one tool call: the first by name.
pub const MAX_NUMBERS: usize = 8;
/// Longest name of an argument whose number is kept, in bytes.
pub const MAX_NUMBER_NAME: usize = 64;

/// What one agent has done. The empty history owns no memory.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// When the latest deed happened that was not looked at.
    unseen: Option<Timestamp>,
    kept: Option<Box<Kept>>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    /// The latest deeds, in the order they were done.
    deeds: VecDeque<Deed>,
    /// Time of the latest deed that is no longer in `deeds`.
    forgotten: Option<Timestamp>,
    deed_bytes: usize,
    /// Every pair of call and object, in ascending order.
    objects: Vec<Known>,
    /// Time of the latest deed that found no room in `objects`.
    strangers: Option<Timestamp>,
    object_bytes: usize,
}

/// One call.
#[derive(Clone, Debug)]
struct Deed {
    call: CallKind,
    time: Timestamp,
    object: Arc<str>,
    numbers: Box<[(Box<str>, Amount)]>,
    /// What it counts for in `deed_bytes`.
    bytes: usize,
}

/// All calls of one kind on one object.
#[derive(Clone, Debug)]
struct Known {
    call: CallKind,
    object: Arc<str>,
    times: u64,
    /// The latest of them.
    last: Timestamp,
}

impl History {
    /// Nothing was done yet.
    pub const EMPTY: Self = Self { unseen: None, kept: None };

    /// Takes in one deed, done at `time`.
    pub fn note(&mut self, deed: &Question<'_>, time: Timestamp) {
        let (object, arguments) = match deed.object {
            Object::File(path) => (path.as_str(), None),
            Object::Tool { id, arguments } => (id.as_str(), Some(arguments)),
            Object::Agent { id, .. } => (id.as_str(), None),
        };
        self.add(deed.call, object, arguments, time);
    }

    /// Something was done at `time` that is not looked at, because nobody asks. Whoever asks later about a time in which
    /// it lies is told that it is not known.
    pub fn pass_over(&mut self, time: Timestamp) {
        self.unseen = self.unseen.max(Some(time));
    }

    /// Takes in one event of a recording. Given the events of one agent in order, with those of others left out, this
    /// makes the history of its latest life as the kernel had it when it judged under a policy that looks back.
    pub fn observe(&mut self, event: &Event<'_>) {
        let request = match &event.body {
            Body::Spawn { .. } => {
                *self = Self::EMPTY;
                return;
            }
            Body::Intent { request, .. } => request,
            _ => return,
        };
        let time = event.time;
        match request {
            Request::Read { path, .. } => self.add(CallKind::Read, path, None, time),
            Request::Write { path, .. } => self.add(CallKind::Write, path, None, time),
            Request::Open { path, flags } => {
                self.add(CallKind::Open, path, None, time);
                if flags.writes() {
                    self.add(CallKind::Write, path, None, time);
                }
            }
            Request::Exec { tool, arguments, .. } | Request::ExecRedacted { tool, arguments, .. } => {
                let arguments: Option<Value> = serde_json::from_slice(arguments).ok();
                self.add(CallKind::Exec, tool, arguments.as_ref(), time);
            }
            Request::Signal { to, .. } => self.add(CallKind::Signal, to, None, time),
            Request::Close { .. } | Request::Mask { .. } | Request::Await { .. } | Request::Exit { .. } => {}
        }
    }

    /// Whether the agent has done what `which` selects by call and object: ever, or later than `after`. `None`: unknown.
    #[must_use]
    pub fn has_done(&self, after: Option<Timestamp>, which: impl Fn(CallKind, &str) -> bool) -> Option<bool> {
        let objects = self.kept.iter().flat_map(|kept| &kept.objects);
        let mut recent = objects.filter(|known| after.is_none_or(|after| after < known.last));
        if recent.any(|known| which(known.call, &known.object)) {
            return Some(true);
        }
        let strangers = self.kept.as_ref().and_then(|kept| kept.strangers);
        self.knows_all(strangers, after).then_some(false)
    }

    /// How often the agent has done what `which` selects: in all its life, or later than `after`. `None`: unknown.
    #[must_use]
    pub fn count(&self, after: Option<Timestamp>, which: impl Fn(CallKind, &str) -> bool) -> Option<u64> {
        let Some(after) = after else {
            let strangers = self.kept.as_ref().and_then(|kept| kept.strangers);
            let objects = self.kept.iter().flat_map(|kept| &kept.objects);
            let times = objects.filter(|known| which(known.call, &known.object)).map(|known| known.times);
            return self.knows_all(strangers, None).then(|| times.fold(0, u64::saturating_add));
        };
        let mut count = 0_u64;
        for _ in self.deeds(Some(after))?.filter(|deed| which(deed.call, &deed.object)) {
            count = count.saturating_add(1);
        }
        Some(count)
    }

    /// What the argument `name` of the tool calls that `which` selects adds up to. `None`: unknown, also when one of
    /// these calls has no such argument, or has one that is no number.
    pub(crate) fn sum(
        &self,
        after: Option<Timestamp>,
        name: &str,
        which: impl Fn(CallKind, &str) -> bool,
    ) -> Option<Amount> {
        let mut sum = Amount::default();
        for deed in self.deeds(after)?.filter(|deed| which(deed.call, &deed.object)) {
            let number = deed.numbers.iter().find(|(known, _)| **known == *name);
            sum = sum.checked_add(number?.1)?;
        }
        Some(sum)
    }

    /// The deeds later than `after`, or all of them; `None` if some of these are not there any more.
    fn deeds(&self, after: Option<Timestamp>) -> Option<impl Iterator<Item = &Deed>> {
        let forgotten = self.kept.as_ref().and_then(|kept| kept.forgotten);
        let recent = move |deed: &&Deed| after.is_none_or(|after| after < deed.time);
        self.knows_all(forgotten, after).then(|| self.kept.iter().flat_map(|kept| &kept.deeds).filter(recent))
    }

    /// Whether nothing later than `after` is missing, if the latest that was lost happened at `lost`.
    fn knows_all(&self, lost: Option<Timestamp>, after: Option<Timestamp>) -> bool {
        match (self.unseen.max(lost), after) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(lost), Some(after)) => lost <= after,
        }
    }

    /// Takes in a deed as a recording has it.
    pub(crate) fn add(&mut self, call: CallKind, object: &str, arguments: Option<&Value>, time: Timestamp) {
        let kept = self.kept.get_or_insert_default();
        let (object, shared) = kept.remember(call, object, time);
        let numbers = arguments.map(numbers).unwrap_or_default();
        let named: usize = numbers.iter().map(|(name, _)| name.len() + size_of::<(Box<str>, Amount)>()).sum();
        let bytes = if shared { named } else { named.saturating_add(object.len()) };
        kept.push(Deed { call, time, object, numbers, bytes });
    }
}

impl Kept {
    /// Counts a call on an object. The name, and whether `objects` keeps it.
    fn remember(&mut self, call: CallKind, object: &str, time: Timestamp) -> (Arc<str>, bool) {
        let place = self.objects.binary_search_by(|known| (known.call, &*known.object).cmp(&(call, object)));
        let at = match place {
            Ok(at) => {
                if let Some(known) = self.objects.get_mut(at) {
                    known.times = known.times.saturating_add(1);
                    known.last = known.last.max(time);
                    return (Arc::clone(&known.object), true);
                }
                at
            }
            Err(at) => at,
        };
        let name: Arc<str> = object.into();
        let bytes = self.object_bytes.saturating_add(name.len());
        if MAX_OBJECTS <= self.objects.len() || MAX_OBJECT_BYTES < bytes {
            self.strangers = self.strangers.max(Some(time));
            return (name, false);
        }
        self.object_bytes = bytes;
        self.objects.insert(at, Known { call, object: Arc::clone(&name), times: 1, last: time });
        (name, true)
    }

    fn push(&mut self, deed: Deed) {
        self.deed_bytes = self.deed_bytes.saturating_add(deed.bytes);
        self.deeds.push_back(deed);
        while MAX_DEEDS < self.deeds.len() || MAX_DEED_BYTES < self.deed_bytes {
            let Some(oldest) = self.deeds.pop_front() else { break };
            self.deed_bytes = self.deed_bytes.saturating_sub(oldest.bytes);
            self.forgotten = self.forgotten.max(Some(oldest.time));
        }
    }
}

/// When a window of this length began that ends at `now`. What happened at that very moment lies outside.
pub(crate) fn window(now: Timestamp, length: Duration) -> Timestamp {
    let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(now.as_micros().saturating_sub(length))
}

/// The numbers among the arguments of a call.
fn numbers(arguments: &Value) -> Box<[(Box<str>, Amount)]> {
    let entries = arguments.as_object().into_iter().flatten();
    let numbers = entries.filter(|(name, _)| name.len() <= MAX_NUMBER_NAME).filter_map(|(name, value)| {
        let Value::Number(number) = value else { return None };
        Some((name.as_str().into(), Amount::of(number)?))
    });
    numbers.take(MAX_NUMBERS).collect()
}

#[cfg(test)]
mod tests;
