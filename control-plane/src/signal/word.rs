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

    #[cfg(test)]
    fn pending(self) -> SignalSet {
        set(self.0)
    }

    #[cfg(test)]
    fn masked(self) -> SignalSet {
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

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: SignalSet = SignalSet::EMPTY;

    fn only(signal: Signal) -> SignalSet {
        NONE.with(signal)
    }

    fn raise(word: &Word, signal: Signal) -> Raised {
        word.raise(signal, false).unwrap_or_else(|| word.post(signal, false))
    }

    #[test]
    fn after_close_nothing_enters_and_only_one_caller_closed_it() {
        let word = Word::default();
        assert_eq!(word.enter(false), Entry::Entered);
        assert!(word.close());
        assert!(!word.close());
        assert_eq!(word.enter(false), Entry::Closed);
        assert_eq!(raise(&word, Signal::Cont), Raised::Gone);
        assert_eq!(word.load().in_flight(), 1);
        word.leave();
        word.leave();
        assert_eq!(word.load().in_flight(), 0);
        assert!(word.load().closed());
    }

    #[test]
    fn stop_parks_and_cont_resumes_and_the_later_wins() {
        let word = Word::default();
        assert_eq!(raise(&word, Signal::Stop), Raised::Delivered);
        assert_eq!(raise(&word, Signal::Stop), Raised::Unchanged);
        assert_eq!(word.enter(false), Entry::Stopped);
        assert_eq!(raise(&word, Signal::Cont), Raised::Delivered);
        assert_eq!(word.enter(false), Entry::Entered);

        let _ = word.mask(only(Signal::Stop).with(Signal::Cont), NONE);
        assert_eq!(raise(&word, Signal::Stop), Raised::Pending);
        assert_eq!(raise(&word, Signal::Cont), Raised::Pending);
        assert_eq!(word.load().pending(), only(Signal::Cont));
    }

    #[test]
    fn a_masked_signal_waits_once_and_is_due_on_unmask() {
        let word = Word::default();
        assert!(word.mask(only(Signal::Stop), NONE).is_empty());
        assert_eq!(raise(&word, Signal::Stop), Raised::Pending);
        assert_eq!(raise(&word, Signal::Stop), Raised::Unchanged);
        assert_eq!(word.enter(false), Entry::Entered);
        assert_eq!(word.mask(NONE, only(Signal::Stop)), only(Signal::Stop));
        assert!(word.load().pending().is_empty());
        assert_eq!(word.enter(false), Entry::Stopped);
        assert!(word.mask(NONE, only(Signal::Stop)).is_empty());
    }

    #[test]
    fn a_forced_stop_cannot_be_held_back_nor_undone_by_what_was_raised_before() {
        let word = Word::default();
        let _ = word.mask(only(Signal::Stop).with(Signal::Cont), NONE);
        let _ = word.set_handled(Signal::Stop, true);
        assert_eq!(raise(&word, Signal::Cont), Raised::Pending);
        assert_eq!(word.stop(), Raised::Delivered);
        assert_eq!(word.enter(false), Entry::Stopped);
        assert!(word.mask(NONE, only(Signal::Cont)).is_empty());
        assert_eq!(word.enter(false), Entry::Stopped);
        // A call of its own that was under way when it was stopped.
        assert_eq!(word.raise(Signal::Cont, true), Some(Raised::Unchanged));
        assert_eq!(word.enter(false), Entry::Stopped);
        assert_eq!(raise(&word, Signal::Cont), Raised::Delivered);
        assert_eq!(word.enter(false), Entry::Entered);
    }

    #[test]
    fn the_unmaskable_never_enter_the_mask() {
        let word = Word::default();
        let _ = word.mask(SignalSet::UNMASKABLE, NONE);
        assert!(word.load().masked().is_empty());
    }

    #[test]
    fn an_interrupt_is_answered_once() {
        let word = Word::default();
        assert_eq!(raise(&word, Signal::Int), Raised::Delivered);
        assert_eq!(word.enter(false), Entry::Interrupted);
        assert_eq!(word.enter(false), Entry::Entered);
    }

    #[test]
    fn a_term_is_there_to_be_taken_masked_or_not() {
        for mask in [NONE, only(Signal::Term)] {
            let word = Word::default();
            let _ = word.mask(mask, NONE);
            assert_ne!(raise(&word, Signal::Term), Raised::Unchanged);
            assert!(word.load().awaited(only(Signal::Term)));
            assert_eq!(word.take(only(Signal::Term)), Some(Signal::Term));
            assert_eq!(word.take(only(Signal::Term)), None);
        }
    }

    #[test]
    fn a_term_that_is_unmasked_is_due_once_and_still_there_to_be_taken() {
        let word = Word::default();
        let _ = word.mask(only(Signal::Term), NONE);
        assert_eq!(raise(&word, Signal::Term), Raised::Pending);
        assert_eq!(word.mask(NONE, only(Signal::Term)), only(Signal::Term));
        let _ = word.mask(only(Signal::Term), NONE);
        assert!(word.mask(NONE, only(Signal::Term)).is_empty());
        assert_eq!(word.take(only(Signal::Term)), Some(Signal::Term));
    }

    #[test]
    fn calls_in_flight_have_a_bound_and_never_run_over() {
        let word = Word::default();
        for _ in 0..MAX_IN_FLIGHT {
            assert_eq!(word.enter(false), Entry::Entered);
        }
        assert_eq!(word.enter(false), Entry::Full);
        for _ in MAX_IN_FLIGHT..IN_FLIGHT_BITS {
            assert_eq!(word.enter(true), Entry::Entered);
        }
        assert_eq!(word.enter(true), Entry::Full);
        assert_eq!(word.load(), Seen(IN_FLIGHT_BITS << IN_FLIGHT_SHIFT));
    }

    #[test]
    fn a_handled_signal_waits_for_its_handler_and_one_runs_at_a_time() {
        let word = Word::default();
        for signal in [Signal::Int, Signal::Stop] {
            assert!(word.set_handled(signal, true).is_empty());
            assert_eq!(raise(&word, signal), Raised::Pending);
        }
        assert!(!word.load().awaited(only(Signal::Int)), "it is the handler's");
        assert_eq!(word.begin_handling(NONE), Some(Signal::Stop));
        assert_eq!(word.begin_handling(NONE), None);
        assert_eq!(word.enter(false), Entry::Entered);
        word.end_handling();
        assert_eq!(word.begin_handling(only(Signal::Int)), None);
        assert_eq!(word.begin_handling(NONE), Some(Signal::Int));
        word.end_handling();
        assert_eq!(word.begin_handling(NONE), None);
    }

    #[test]
    fn a_stopped_agent_handles_nothing_until_it_is_continued_which_no_handler_prevents() {
        let word = Word::default();
        let _ = word.set_handled(Signal::Usr1, true);
        let _ = word.set_handled(Signal::Cont, true);
        assert_eq!(raise(&word, Signal::Stop), Raised::Delivered);
        assert_eq!(raise(&word, Signal::Usr1), Raised::Pending);
        assert_eq!(word.begin_handling(NONE), None);
        assert_eq!(raise(&word, Signal::Cont), Raised::Pending);
        assert!(!word.load().stopped());
        assert_eq!(word.begin_handling(NONE), Some(Signal::Cont));
    }

    #[test]
    fn what_waited_for_a_handler_that_goes_has_its_default_action_taken() {
        let word = Word::default();
        let _ = word.set_handled(Signal::Loop, true);
        assert_eq!(raise(&word, Signal::Loop), Raised::Pending);
        assert_eq!(word.set_handled(Signal::Loop, false), only(Signal::Loop));
        assert!(word.load().stopped());
    }

    #[test]
    fn a_masked_signal_goes_to_its_handler_on_unmask() {
        let word = Word::default();
        let _ = word.set_handled(Signal::Int, true);
        let _ = word.mask(only(Signal::Int), NONE);
        assert_eq!(raise(&word, Signal::Int), Raised::Pending);
        assert_eq!(word.begin_handling(NONE), None);
        assert!(word.mask(NONE, only(Signal::Int)).is_empty());
        assert_eq!(word.begin_handling(NONE), Some(Signal::Int));
    }

    #[test]
    fn many_that_are_unmasked_act_in_the_order_of_delivery() {
        let word = Word::default();
        let both = only(Signal::Cont).with(Signal::Budget);
        let _ = word.mask(both, NONE);
        let _ = raise(&word, Signal::Budget);
        let _ = raise(&word, Signal::Cont);
        assert_eq!(word.mask(NONE, both), both);
        assert!(word.load().stopped(), "the lower number came first");
    }
}
