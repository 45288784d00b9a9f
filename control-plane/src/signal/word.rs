//! The state word: everything the gate has to know about an agent, in one atomic.
//!
//! Is it closed, stopped, interrupted; which signals wait, which are masked, which have a handler; does a handler run; how
//! many calls are in flight. Every change is one compare-and-set. After [`Word::close`] has returned no call enters.

use agent_primitives::{Signal, SignalSet};

use super::sync::{AtomicU64, Ordering};

/// No call enters any more. Never cleared.
const CLOSED: u64 = 1 << 63;
/// Calls park at the gate.
const STOPPED: u64 = 1 << 62;
/// The next call answers `Interrupted`, once.
const INTERRUPTED: u64 = 1 << 61;
/// A `SIGTERM` was delivered and nobody has awaited it yet.
const TERMINATING: u64 = 1 << 60;
/// A handler runs; no other begins.
const HANDLING: u64 = 1 << 59;

/// Sets of signals have thirteen bits each: bit = number.
const SET_BITS: u64 = 0x1FFF;
const MASKED_SHIFT: u32 = 13;
const HANDLED_SHIFT: u32 = 26;
const IN_FLIGHT_SHIFT: u32 = 39;
const IN_FLIGHT_BITS: u64 = 0xFFFF;
const ONE_IN_FLIGHT: u64 = 1 << IN_FLIGHT_SHIFT;

/// Most calls one agent may have in flight; one more is refused.
pub const MAX_IN_FLIGHT: u64 = 1024;

/// The state word of one agent.
#[derive(Debug, Default)]
pub(crate) struct Word(AtomicU64);

/// What the gate says to a call that wants in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Entry {
    /// The call is in; whoever got this must [`Word::leave`].
    Entered,
    /// Stopped: wait for a change and ask again.
    Stopped,
    /// A `SIGINT` was delivered; this call answers so, the next one enters.
    Interrupted,
    /// Too many calls in flight.
    Full,
    /// Closed for good.
    Closed,
}

/// What raising a signal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Raised {
    /// Its default action has been taken.
    Delivered,
    /// It waits in the mailbox: for an unmask, for whoever awaits it, or for its handler.
    Pending,
    /// Nothing to do: already so, or already waiting.
    Unchanged,
    /// The agent is gone.
    Gone,
}

/// The word at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Seen {
    pub(crate) const fn closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    pub(crate) const fn stopped(self) -> bool {
        self.0 & STOPPED != 0
    }

    pub(crate) const fn in_flight(self) -> u64 {
        self.0 >> IN_FLIGHT_SHIFT & IN_FLIGHT_BITS
    }

    /// Whether a signal waits for its handler and the handler may begin.
    pub(crate) const fn handler_due(self) -> bool {
        due_to_handlers(self.0) != 0
    }

    /// Whether one of these signals is there for whoever awaits it.
    pub(crate) const fn awaited(self, wanted: SignalSet) -> bool {
        due_to_awaiting(self.0, wanted) != 0
    }

    pub(crate) fn pending(self) -> SignalSet {
        set(self.0)
    }

    pub(crate) fn masked(self) -> SignalSet {
        set(self.0 >> MASKED_SHIFT)
    }
}

impl Word {
    pub(crate) fn load(&self) -> Seen {
        Seen(self.0.load(Ordering::SeqCst))
    }

    /// Lets one call in, if the agent may make one. `always` lets it in however many there are.
    pub(crate) fn enter(&self, always: bool) -> Entry {
        self.update(|word| {
            let limit = if always { IN_FLIGHT_BITS } else { MAX_IN_FLIGHT };
            if word & CLOSED != 0 {
                (word, Entry::Closed)
            } else if word & STOPPED != 0 {
                (word, Entry::Stopped)
            } else if word & INTERRUPTED != 0 {
                (word & !INTERRUPTED, Entry::Interrupted)
            } else if limit <= Seen(word).in_flight() {
                (word, Entry::Full)
            } else {
                (word + ONE_IN_FLIGHT, Entry::Entered)
            }
        })
    }

    /// Ends a call that had entered.
    pub(crate) fn leave(&self) {
        self.update(|word| (if Seen(word).in_flight() == 0 { word } else { word - ONE_IN_FLIGHT }, ()));
    }

    /// Closes the gate. `true` for the one caller who closed it.
    pub(crate) fn close(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    /// Takes the default action of a maskable signal. `None` when the signal would have to wait, which takes a letter: then
    /// nothing has changed, and the mailbox is to [`Word::post`] it.
    ///
    /// The unmaskable three never come here: they [`Word::close`]. An agent that raises a signal against itself, `from_self`,
    /// was running when it made that call; if it has been stopped since, its `SIGCONT` does not undo that.
    pub(crate) fn raise(&self, signal: Signal, from_self: bool) -> Option<Raised> {
        self.update(|word| {
            let held_back = bit(signal) << MASKED_SHIFT | bit(signal) << HANDLED_SHIFT;
            if signal == Signal::Term || word & held_back != 0 {
                return (word, None);
            }
            let (next, raised) = arrive(word, signal, from_self);
            (next, Some(raised))
        })
    }

    /// Raises a signal, leaving it pending if it has to wait.
    ///
    /// INVARIANT: pending bits are set under the mailbox's lock only, together with the letter.
    pub(super) fn post(&self, signal: Signal, from_self: bool) -> Raised {
        self.update(|word| arrive(word, signal, from_self))
    }

    /// Stops the agent whatever it masks or handles: what a rule demands is not for the agent to hold back.
    pub(crate) fn stop(&self) -> Raised {
        self.act(Signal::Stop)
    }

    /// Takes the default action of a maskable signal, whatever the agent masks or handles.
    pub(super) fn act(&self, signal: Signal) -> Raised {
        self.update(|word| {
            if word & CLOSED != 0 {
                return (word, Raised::Gone);
            }
            let next = act(word, signal);
            (next, if next == word { Raised::Unchanged } else { Raised::Delivered })
        })
    }

    /// Blocks and unblocks maskable signals. Those that wait and are held back no longer have their default action taken,
    /// and are returned.
    pub(super) fn mask(&self, block: SignalSet, unblock: SignalSet) -> SignalSet {
        self.update(|word| {
            let masked = set(word >> MASKED_SHIFT).union(block).minus(unblock).minus(SignalSet::UNMASKABLE);
            release(word & !(SET_BITS << MASKED_SHIFT) | bits(masked) << MASKED_SHIFT)
        })
    }

    /// Says whether a maskable signal has a handler. What waited for the handler is returned as by [`Word::mask`].
    pub(super) fn set_handled(&self, signal: Signal, handled: bool) -> SignalSet {
        let bit = bit(signal) << HANDLED_SHIFT;
        self.update(|word| release(if handled { word | bit } else { word & !bit }))
    }

    /// Takes the first of these signals that is there to be awaited.
    pub(super) fn take(&self, wanted: SignalSet) -> Option<Signal> {
        self.update(|word| match set(due_to_awaiting(word, wanted)).first() {
            None => (word, None),
            Some(Signal::Term) => (word & !bit(Signal::Term) & !TERMINATING, Some(Signal::Term)),
            Some(signal) => (word & !bit(signal), Some(signal)),
        })
    }

    /// Takes the first signal that waits for its handler, except these, if the handler may begin. Whoever got one must
    /// [`Word::end_handling`].
    pub(super) fn begin_handling(&self, except: SignalSet) -> Option<Signal> {
        self.update(|word| match set(due_to_handlers(word)).minus(except).first() {
            None => (word, None),
            Some(signal) => (word & !bit(signal) | HANDLING, Some(signal)),
        })
    }

    /// Lets the next handler begin.
    pub(crate) fn end_handling(&self) {
        self.0.fetch_and(!HANDLING, Ordering::SeqCst);
    }

    fn update<T>(&self, mut step: impl FnMut(u64) -> (u64, T)) -> T {
        let mut word = self.0.load(Ordering::SeqCst);
        loop {
            let (next, answer) = step(word);
            match self.0.compare_exchange_weak(word, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return answer,
                Err(now) => word = now,
            }
        }
    }
}

/// What a signal that is raised changes.
fn arrive(word: u64, signal: Signal, from_self: bool) -> (u64, Raised) {
    if word & CLOSED != 0 {
        return (word, Raised::Gone);
    }
    // SIGCONT discards a waiting SIGSTOP and the reverse, so that the later of the two wins.
    let next = match signal {
        Signal::Cont => word & !bit(Signal::Stop),
        Signal::Stop => word & !bit(Signal::Cont),
        _ => word,
    };
    let (next, raised) = if word & bit(signal) << MASKED_SHIFT != 0 {
        (next | bit(signal), Raised::Pending)
    } else if word & bit(signal) << HANDLED_SHIFT != 0 {
        (wait_for_handler(next, signal), Raised::Pending)
    } else {
        (act(next, signal), Raised::Delivered)
    };
    let next = if from_self { next | word & STOPPED } else { next };
    // What the two user signals do is not in the word.
    let elsewhere = matches!(signal, Signal::Usr1 | Signal::Usr2) && raised == Raised::Delivered;
    (next, if next == word && !elsewhere { Raised::Unchanged } else { raised })
}

/// Leaves an unmasked signal to its handler. That SIGCONT resumes is not for the handler to prevent.
fn wait_for_handler(word: u64, signal: Signal) -> u64 {
    let word = if signal == Signal::Cont { word & !STOPPED } else { word };
    word | bit(signal)
}

/// The default action of a maskable signal, as a change of the word. Whatever stops discards a SIGCONT raised before.
const fn act(word: u64, signal: Signal) -> u64 {
    match signal {
        Signal::Stop | Signal::Budget | Signal::Loop | Signal::Drift => (word | STOPPED) & !bit(Signal::Cont),
        Signal::Cont => word & !STOPPED,
        Signal::Int => word | INTERRUPTED,
        Signal::Term => word | TERMINATING,
        // Closing signals never come here, and what the two user signals do is not in the word.
        Signal::Kill | Signal::Policy | Signal::Trust | Signal::Usr1 | Signal::Usr2 => word,
    }
}

/// Takes the default action of every signal that waits though neither mask nor handler holds it back, in the order of
/// delivery.
fn release(word: u64) -> (u64, SignalSet) {
    if word & CLOSED != 0 {
        return (word, SignalSet::EMPTY);
    }
    let free = word & !(word >> MASKED_SHIFT) & SET_BITS;
    let handled = free & word >> HANDLED_SHIFT;
    let due = set(free & !handled);
    let word = word & !bits(due);
    // Unmasked now, and handled: it resumes as if it were raised now.
    let word = if handled & bit(Signal::Cont) != 0 { wait_for_handler(word, Signal::Cont) } else { word };
    (due.iter().fold(word, act), due)
}

/// Signals whose handler may begin: none while the agent is stopped or another handler runs.
const fn due_to_handlers(word: u64) -> u64 {
    if word & (CLOSED | STOPPED | HANDLING) != 0 {
        return 0;
    }
    word & !(word >> MASKED_SHIFT) & word >> HANDLED_SHIFT & SET_BITS
}

/// Signals that are there for whoever awaits these: masked ones that wait, and a SIGTERM that was delivered.
const fn due_to_awaiting(word: u64, wanted: SignalSet) -> u64 {
    let delivered = if word & TERMINATING != 0 { bit(Signal::Term) } else { 0 };
    (word & word >> MASKED_SHIFT | delivered) & bits(wanted) & SET_BITS
}

const fn bit(signal: Signal) -> u64 {
    1 << signal.number()
}

const fn bits(set: SignalSet) -> u64 {
    set.bits() as u64
}

fn set(bits: u64) -> SignalSet {
    SignalSet::from_bits(u16::try_from(bits & SET_BITS).unwrap_or(0))
}
