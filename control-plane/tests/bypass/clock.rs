//! A clock whose wall time somebody sets, as an operator or a time server does. Monotonic time only goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use agent_control_plane::primitives::clock::Sleep;
use agent_control_plane::primitives::{Clock, ManualClock, Monotonic, Timer, Timestamp};

use crate::case::Step;

/// By how much time goes on.
const FORWARD: [&str; 6] = ["advance_s", "advance_ms", "advance", "ms", "s", "seconds"];
/// By how much the wall's time is put back.
const BACK: [&str; 6] = ["back_s", "back_ms", "back", "rewind_s", "rewind", "minus_s"];
/// What the wall's time is put to.
const SET: [&str; 6] = ["set", "to", "at", "now", "wall", "time"];

#[derive(Clone, Debug, Default)]
pub(crate) struct WallClock {
    time: ManualClock,
    /// What the wall's time differs by from what went by, in microseconds.
    skew: Arc<AtomicI64>,
}

/// What a step of the clock does.
pub(crate) enum Change {
    Forward(Duration),
    /// By microseconds.
    Skew(i64),
    Set(Timestamp),
}

impl Change {
    /// `None` for what says nothing about time.
    pub(crate) fn of(step: &Step) -> Option<Self> {
        let micros = |key: &str| {
            let number = step.fields.get(key)?.as_f64()?;
            let unit = if key.ends_with("ms") { 1e3 } else { 1e6 };
            Some((number * unit).clamp(-9e15, 9e15) as i64)
        };
        if let Some(key) = step.first(&FORWARD) {
            return Some(match micros(key)? {
                back @ ..0 => Self::Skew(back),
                forward => Self::Forward(Duration::from_micros(forward.unsigned_abs())),
            });
        }
        if let Some(key) = step.first(&BACK) {
            return Some(Self::Skew(micros(key)?.saturating_abs().saturating_neg()));
        }
        let key = step.first(&SET)?;
        match step.value(key).as_str() {
            Some(text) => text.parse().ok().map(Self::Set),
            None => micros(key).map(|at| Self::Set(Timestamp::from_micros(at))),
        }
    }
}

impl WallClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.time.advance(by);
    }

    pub(crate) fn sleepers(&self) -> usize {
        self.time.sleepers()
    }

    pub(crate) fn change(&self, change: &Change) {
        match change {
            Change::Forward(by) => self.advance(*by),
            Change::Skew(by) => drop(self.skew.fetch_add(*by, Ordering::SeqCst)),
            Change::Set(at) => {
                let skew = at.as_micros().saturating_sub(self.time.now().as_micros());
                self.skew.store(skew, Ordering::SeqCst);
            }
        }
    }
}

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let skew = self.skew.load(Ordering::SeqCst);
        Timestamp::from_micros(self.time.now().as_micros().saturating_add(skew))
    }

    fn monotonic(&self) -> Monotonic {
        self.time.monotonic()
    }
}

impl Timer for WallClock {
    fn sleep_until(&self, deadline: Monotonic) -> Sleep {
        self.time.sleep_until(deadline)
    }
}
