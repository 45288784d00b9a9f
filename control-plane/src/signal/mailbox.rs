//! The mailbox: one letter for each signal that waits.
//!
//! The state word says which signals wait, the mailbox what each says. A letter is put and taken in the same step as the
//! bit, under one lock that is held for nothing else, so nobody takes a signal twice or without its letter. Neither a call
//! at the gate nor a kill ever asks for the lock.

use agent_primitives::{Signal, SignalSet};

use super::sync::{Mutex, MutexGuard, PoisonError};
use super::word::{Raised, Word};

/// Places for letters: one for each number a signal can have.
const SLOTS: usize = 16;

/// The letters of one agent. Allocated with the first one.
#[derive(Debug)]
pub(crate) struct Mailbox<L>(Mutex<Letters<L>>);

#[derive(Debug)]
struct Letters<L>(Option<Box<[Option<L>; SLOTS]>>);

/// Signals whose default action has been taken now, in that order, and what they say.
pub(crate) type Due<L> = Vec<(Signal, Option<L>)>;

impl<L> Default for Mailbox<L> {
    fn default() -> Self {
        Self(Mutex::new(Letters(None)))
    }
}

impl<L: Clone> Mailbox<L> {
    /// Raises a maskable signal. `letter` is written only if the signal has to wait for somebody; of two for the same signal
    /// the first is kept.
    pub(crate) fn raise(
        &self,
        word: &Word,
        signal: Signal,
        from_self: bool,
        letter: impl FnOnce() -> L,
    ) -> Raised {
        if let Some(raised) = word.raise(signal, from_self) {
            return raised;
        }
        let letter = letter();
        let mut letters = self.lock();
        let raised = word.post(signal, from_self);
        if raised == Raised::Pending || (signal == Signal::Term && raised == Raised::Delivered) {
            letters.put(signal, letter);
        }
        raised
    }

    /// Changes the mask: see [`Word::mask`].
    pub(crate) fn mask(&self, word: &Word, block: SignalSet, unblock: SignalSet) -> Due<L> {
        let mut letters = self.lock();
        let due = word.mask(block, unblock);
        letters.due(due)
    }

    /// Says whether a signal has a handler: see [`Word::set_handled`].
    pub(crate) fn set_handled(&self, word: &Word, signal: Signal, handled: bool) -> Due<L> {
        let mut letters = self.lock();
        let due = word.set_handled(signal, handled);
        letters.due(due)
    }

    /// Takes the first of these signals that is there to be awaited.
    pub(crate) fn take(&self, word: &Word, wanted: SignalSet) -> Option<(Signal, Option<L>)> {
        let mut letters = self.lock();
        let signal = word.take(wanted)?;
        Some((signal, letters.take(signal)))
    }

    /// Takes the first signal whose handler may begin: see [`Word::begin_handling`].
    pub(crate) fn begin_handling(&self, word: &Word, except: SignalSet) -> Option<(Signal, Option<L>)> {
        let mut letters = self.lock();
        let signal = word.begin_handling(except)?;
        Some((signal, letters.take(signal)))
    }

    /// Takes the default action of a signal whose handler was of no use.
    pub(crate) fn fall_back(&self, word: &Word, signal: Signal, letter: L) -> Raised {
        let mut letters = self.lock();
        let raised = match signal {
            // It resumed the agent when it was raised; what has stopped it since was later.
            Signal::Cont => Raised::Unchanged,
            _ => word.act(signal),
        };
        if signal == Signal::Term && raised == Raised::Delivered {
            letters.put(signal, letter);
        }
        raised
    }

    fn lock(&self) -> MutexGuard<'_, Letters<L>> {
        // INVARIANT: a letter is put and taken by one assignment, so a poisoned lock still guards whole letters.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Clone> Letters<L> {
    fn slot(&mut self, signal: Signal) -> Option<&mut Option<L>> {
        self.0.as_mut()?.get_mut(usize::from(signal.number()))
    }

    fn put(&mut self, signal: Signal, letter: L) {
        let _ = self.0.get_or_insert_with(|| Box::new([const { None }; SLOTS]));
        if let Some(slot) = self.slot(signal) {
            *slot = Some(letter);
        }
    }

    fn take(&mut self, signal: Signal) -> Option<L> {
        self.slot(signal)?.take()
    }

    fn due(&mut self, due: SignalSet) -> Due<L> {
        let mut letter = |signal| match signal {
            // Still there for whoever awaits it.
            Signal::Term => self.slot(signal)?.clone(),
            _ => self.take(signal),
        };
        due.iter().map(|signal| (signal, letter(signal))).collect()
    }
}
