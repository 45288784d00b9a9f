//! Signals: how an agent is stopped.
//!
//! Everything the gate has to know about an agent is one atomic word: is it closed, is it stopped, was it interrupted,
//! which signals wait, which are masked, how many calls are in flight. Raising a signal is one compare-and-set on that
//! word, so it never blocks and never allocates. The three unmaskable signals close the word before anything else
//! happens: after [`Word::close`] has returned, no call enters.

use std::sync::atomic::{AtomicU64, Ordering};

use agent_primitives::{Signal, SignalSet};

/// No call enters any more. Never cleared.
const CLOSED: u64 = 1 << 63;
/// Calls park at the gate.
const STOPPED: u64 = 1 << 62;
/// The next call answers `Interrupted`, once.
const INTERRUPTED: u64 = 1 << 61;
const PENDING_SHIFT: u32 = 0;
const MASKED_SHIFT: u32 = 16;
const IN_FLIGHT_SHIFT: u32 = 32;
const SET_BITS: u64 = 0xFFFF;

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
    /// Masked (or to be awaited): it waits in the mailbox.
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
        self.0 >> IN_FLIGHT_SHIFT & SET_BITS
    }

    pub(crate) fn pending(self) -> SignalSet {
        set(self.0, PENDING_SHIFT)
    }

    pub(crate) fn masked(self) -> SignalSet {
        set(self.0, MASKED_SHIFT)
    }
}

impl Word {
    pub(crate) fn load(&self) -> Seen {
        Seen(self.0.load(Ordering::SeqCst))
    }

    /// Lets one call in, if the agent may make one. `always` lets it in however many there are.
    pub(crate) fn enter(&self, always: bool) -> Entry {
        self.update(|word| {
            let seen = Seen(word);
            if seen.closed() {
                (word, Entry::Closed)
            } else if seen.stopped() {
                (word, Entry::Stopped)
            } else if word & INTERRUPTED != 0 {
                (word & !INTERRUPTED, Entry::Interrupted)
            } else if MAX_IN_FLIGHT <= seen.in_flight() && !always {
                (word, Entry::Full)
            } else {
                (word + (1 << IN_FLIGHT_SHIFT), Entry::Entered)
            }
        })
    }

    /// Ends a call that had entered.
    pub(crate) fn leave(&self) {
        self.update(|word| {
            (if Seen(word).in_flight() == 0 { word } else { word - (1 << IN_FLIGHT_SHIFT) }, ())
        });
    }

    /// Closes the gate. `true` for the one caller who closed it.
    pub(crate) fn close(&self) -> bool {
        self.0.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    /// Takes the default action of a maskable signal, or leaves it pending when it is masked.
    ///
    /// The unmaskable three never come here: they [`Word::close`].
    pub(crate) fn raise(&self, signal: Signal) -> Raised {
        self.update(|word| {
            let seen = Seen(word);
            if seen.closed() {
                return (word, Raised::Gone);
            }
            // SIGCONT discards a waiting SIGSTOP and the reverse, so that the later of the two wins.
            let word = match signal {
                Signal::Cont => with_pending(word, seen.pending().without(Signal::Stop)),
                Signal::Stop => with_pending(word, seen.pending().without(Signal::Cont)),
                _ => word,
            };
            let pending = Seen(word).pending();
            if seen.masked().contains(signal) {
                let raised = if pending.contains(signal) { Raised::Unchanged } else { Raised::Pending };
                return (with_pending(word, pending.with(signal)), raised);
            }
            act(word, signal)
        })
    }

    /// Stops the agent whatever its mask: what a rule demands is not for the agent to hold back.
    pub(crate) fn stop(&self) -> Raised {
        self.update(|word| if Seen(word).closed() { (word, Raised::Gone) } else { act(word, Signal::Stop) })
    }

    /// Blocks and unblocks maskable signals; returns those whose default action is due because they are unblocked now.
    pub(crate) fn mask(&self, block: SignalSet, unblock: SignalSet) -> SignalSet {
        self.update(|word| {
            let seen = Seen(word);
            let masked = seen.masked().union(block).minus(unblock).minus(SignalSet::UNMASKABLE);
            // SIGTERM stays: it is there to be awaited, its default action is the grace period that runs already.
            let due = seen.pending().minus(masked).without(Signal::Term);
            let word = word & !(SET_BITS << MASKED_SHIFT) | u64::from(masked.bits()) << MASKED_SHIFT;
            (with_pending(word, seen.pending().minus(due)), due)
        })
    }

    /// Takes the first pending signal of `wanted` out of the mailbox.
    pub(crate) fn take(&self, wanted: SignalSet) -> Option<Signal> {
        self.update(|word| {
            let pending = Seen(word).pending();
            match SignalSet::from_bits(pending.bits() & wanted.bits()).first() {
                Some(signal) => (with_pending(word, pending.without(signal)), Some(signal)),
                None => (word, None),
            }
        })
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

/// The default action of a maskable signal, as a change of the word.
fn act(word: u64, signal: Signal) -> (u64, Raised) {
    let next = match signal {
        Signal::Stop | Signal::Budget | Signal::Loop | Signal::Drift => word | STOPPED,
        Signal::Cont => word & !STOPPED,
        Signal::Int => word | INTERRUPTED,
        Signal::Term => with_pending(word, Seen(word).pending().with(Signal::Term)),
        // Closing signals never come here, and the two user signals change nothing in the word.
        Signal::Kill | Signal::Policy | Signal::Trust | Signal::Usr1 | Signal::Usr2 => word,
    };
    // The user signals always do something: see the kernel's checkpoints and diagnostics.
    let unchanged = next == word && !matches!(signal, Signal::Usr1 | Signal::Usr2);
    (next, if unchanged { Raised::Unchanged } else { Raised::Delivered })
}

fn set(word: u64, shift: u32) -> SignalSet {
    SignalSet::from_bits(u16::try_from(word >> shift & SET_BITS).unwrap_or(0))
}

fn with_pending(word: u64, pending: SignalSet) -> u64 {
    word & !(SET_BITS << PENDING_SHIFT) | u64::from(pending.bits()) << PENDING_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_close_nothing_enters_and_only_one_caller_closed_it() {
        let word = Word::default();
        assert_eq!(word.enter(false), Entry::Entered);
        assert!(word.close());
        assert!(!word.close());
        assert_eq!(word.enter(false), Entry::Closed);
        assert_eq!(word.raise(Signal::Cont), Raised::Gone);
        assert_eq!(word.load().in_flight(), 1);
        word.leave();
        word.leave();
        assert_eq!(word.load().in_flight(), 0);
        assert!(word.load().closed());
    }

    #[test]
    fn stop_parks_and_cont_resumes_and_the_later_wins() {
        let word = Word::default();
        assert_eq!(word.raise(Signal::Stop), Raised::Delivered);
        assert_eq!(word.raise(Signal::Stop), Raised::Unchanged);
        assert_eq!(word.enter(false), Entry::Stopped);
        assert_eq!(word.raise(Signal::Cont), Raised::Delivered);
        assert_eq!(word.enter(false), Entry::Entered);

        let both = [Signal::Stop, Signal::Cont].into_iter().collect();
        let _ = word.mask(both, SignalSet::EMPTY);
        assert_eq!(word.raise(Signal::Stop), Raised::Pending);
        assert_eq!(word.raise(Signal::Cont), Raised::Pending);
        assert_eq!(word.load().pending(), SignalSet::EMPTY.with(Signal::Cont));
    }

    #[test]
    fn a_masked_signal_waits_once_and_is_due_on_unmask() {
        let word = Word::default();
        let stop = SignalSet::EMPTY.with(Signal::Stop);
        assert!(word.mask(stop, SignalSet::EMPTY).is_empty());
        assert_eq!(word.raise(Signal::Stop), Raised::Pending);
        assert_eq!(word.raise(Signal::Stop), Raised::Unchanged);
        assert_eq!(word.enter(false), Entry::Entered);
        assert_eq!(word.mask(SignalSet::EMPTY, stop), stop);
        assert!(word.load().pending().is_empty());
    }

    #[test]
    fn a_forced_stop_cannot_be_held_back() {
        let word = Word::default();
        let _ = word.mask(SignalSet::EMPTY.with(Signal::Stop), SignalSet::EMPTY);
        assert_eq!(word.stop(), Raised::Delivered);
        assert_eq!(word.enter(false), Entry::Stopped);
    }

    #[test]
    fn the_unmaskable_never_enter_the_mask() {
        let word = Word::default();
        let _ = word.mask(SignalSet::UNMASKABLE, SignalSet::EMPTY);
        assert!(word.load().masked().is_empty());
    }

    #[test]
    fn an_interrupt_is_answered_once() {
        let word = Word::default();
        assert_eq!(word.raise(Signal::Int), Raised::Delivered);
        assert_eq!(word.enter(false), Entry::Interrupted);
        assert_eq!(word.enter(false), Entry::Entered);
    }

    #[test]
    fn a_term_is_there_to_be_taken_masked_or_not() {
        let word = Word::default();
        let term = SignalSet::EMPTY.with(Signal::Term);
        assert_eq!(word.raise(Signal::Term), Raised::Delivered);
        assert_eq!(word.take(term), Some(Signal::Term));
        assert_eq!(word.take(term), None);
    }

    #[test]
    fn calls_in_flight_have_a_bound() {
        let word = Word::default();
        for _ in 0..MAX_IN_FLIGHT {
            assert_eq!(word.enter(false), Entry::Entered);
        }
        assert_eq!(word.enter(false), Entry::Full);
        assert_eq!(word.enter(true), Entry::Entered);
    }
}
