//! What must hold in every order.

use agent_primitives::{Signal, SignalSet};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::mailbox::Mailbox;
use crate::word::{Entry, Raised, Word};

const NONE: SignalSet = SignalSet::EMPTY;

fn only(signal: Signal) -> SignalSet {
    NONE.with(signal)
}

/// An agent's word and mailbox. A letter is the number of the raise.
#[derive(Default)]
struct Agent {
    word: Word,
    mailbox: Mailbox<u8>,
}

impl Agent {
    fn raise(&self, signal: Signal, letter: u8) -> Raised {
        self.mailbox.raise(&self.word, signal, false, || letter)
    }

    fn mask(&self, block: SignalSet, unblock: SignalSet) -> Vec<(Signal, Option<u8>)> {
        self.mailbox.mask(&self.word, block, unblock)
    }
}

/// Runs the steps beside each other, in every order, and hands on what each came to.
fn race<A: 'static, B: 'static>(
    agent: &Arc<Agent>,
    a: impl FnOnce(&Agent) -> A + 'static,
    b: impl FnOnce(&Agent) -> B + 'static,
) -> (A, B) {
    let other = Arc::clone(agent);
    let thread = thread::spawn(move || a(&other));
    let b = b(agent);
    (thread.join().unwrap(), b)
}

#[test]
fn after_a_close_has_returned_nothing_enters() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        let closed = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&closed);
        let entered = move |agent: &Agent| {
            let before = seen.load(Ordering::SeqCst);
            let entry = agent.word.enter(false);
            assert!(before == 0 || entry == Entry::Closed, "{entry:?}");
            (entry == Entry::Entered).then(|| agent.word.leave());
        };
        race(&agent, entered, move |agent| {
            assert!(agent.word.close());
            closed.store(1, Ordering::SeqCst);
        });
        assert_eq!(agent.word.load().in_flight(), 0);
        assert_eq!(agent.word.enter(true), Entry::Closed);
    });
}

#[test]
fn of_many_who_close_exactly_one_did() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        let other = Arc::clone(&agent);
        let third = thread::spawn(move || other.word.close());
        let (a, b) = race(&agent, |agent| agent.word.close(), |agent| agent.word.close());
        let c = third.join().unwrap();
        assert_eq!([a, b, c].into_iter().filter(|closed| *closed).count(), 1);
    });
}

#[test]
fn calls_that_come_and_go_are_counted_right() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        let come = |agent: &Agent| agent.word.enter(false) == Entry::Entered;
        let come_and_go = |agent: &Agent| {
            if agent.word.enter(false) == Entry::Entered {
                agent.word.leave();
            }
        };
        let other = Arc::clone(&agent);
        let stop = thread::spawn(move || other.raise(Signal::Stop, 0));
        let (entered, ()) = race(&agent, come, come_and_go);
        assert_eq!(stop.join().unwrap(), Raised::Delivered);
        assert_eq!(agent.word.load().in_flight(), u64::from(entered));
        assert!(agent.word.load().stopped());
    });
}

#[test]
fn a_pending_signal_is_taken_once_and_with_its_letter() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        let int = only(Signal::Int);
        assert!(agent.mask(int, NONE).is_empty());
        let take = move |agent: &Agent| agent.mailbox.take(&agent.word, int);
        let other = Arc::clone(&agent);
        let raise = thread::spawn(move || other.raise(Signal::Int, 7));
        let (a, b) = race(&agent, take, take);
        assert_eq!(raise.join().unwrap(), Raised::Pending);
        let taken: Vec<_> = [a, b, take(&agent)].into_iter().flatten().collect();
        assert_eq!(taken, [(Signal::Int, Some(7))]);
    });
}

#[test]
fn two_raises_of_one_signal_are_one_signal_with_one_of_their_letters() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        assert!(agent.mask(only(Signal::Int), NONE).is_empty());
        let (a, b) = race(&agent, |agent| agent.raise(Signal::Int, 1), |agent| agent.raise(Signal::Int, 2));
        let first = if a == Raised::Pending { 1 } else { 2 };
        assert_eq!([a, b].into_iter().filter(|raised| *raised == Raised::Pending).count(), 1);
        assert_eq!(agent.mailbox.take(&agent.word, only(Signal::Int)), Some((Signal::Int, Some(first))));
        assert_eq!(agent.mailbox.take(&agent.word, only(Signal::Int)), None);
    });
}

#[test]
fn stop_and_cont_leave_one_of_two_states() {
    loom::model(|| {
        for (mask, handled) in [(NONE, false), (only(Signal::Stop).with(Signal::Cont), false), (NONE, true)] {
            let agent = Arc::new(Agent::default());
            assert!(agent.mask(mask, NONE).is_empty());
            if handled {
                assert!(agent.mailbox.set_handled(&agent.word, Signal::Cont, true).is_empty());
            }
            let stop = |agent: &Agent| agent.raise(Signal::Stop, 1);
            let cont = |agent: &Agent| agent.raise(Signal::Cont, 2);
            let _ = race(&agent, stop, cont);
            let seen = agent.word.load();
            if !mask.is_empty() {
                // The later one waits, and the other was discarded.
                assert_ne!(seen.awaited(only(Signal::Stop)), seen.awaited(only(Signal::Cont)));
                assert!(!seen.stopped());
            } else if handled {
                assert_ne!(seen.stopped(), seen.handler_due(), "stopped, or continued with the handler due");
            }
        }
    });
}

#[test]
fn a_raise_beside_an_unmask_is_delivered_once() {
    for signal in [Signal::Stop, Signal::Int, Signal::Budget] {
        loom::model(move || {
            let agent = Arc::new(Agent::default());
            assert!(agent.mask(only(signal), NONE).is_empty());
            let (raised, due) = race(
                &agent,
                move |agent| agent.raise(signal, 7),
                move |agent| agent.mask(NONE, only(signal)),
            );
            match raised {
                Raised::Delivered => assert!(due.is_empty()),
                Raised::Pending => assert_eq!(due, [(signal, Some(7))]),
                other => panic!("{other:?}"),
            }
            let gate = agent.word.enter(false);
            let parked = if signal == Signal::Int { Entry::Interrupted } else { Entry::Stopped };
            assert_eq!(gate, parked);
            assert!(agent.mask(only(signal), only(signal)).is_empty());
            assert_eq!(agent.mailbox.take(&agent.word, only(signal)), None);
        });
    }
}

#[test]
fn of_two_who_unmask_one_delivers() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        assert!(agent.mask(only(Signal::Loop), NONE).is_empty());
        assert_eq!(agent.raise(Signal::Loop, 7), Raised::Pending);
        let unmask = |agent: &Agent| agent.mask(NONE, only(Signal::Loop));
        let (a, b) = race(&agent, unmask, unmask);
        assert_eq!([a, b].concat(), [(Signal::Loop, Some(7))]);
    });
}

#[test]
fn a_handled_signal_is_handled_once_and_one_handler_runs_at_a_time() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        for signal in [Signal::Int, Signal::Usr1] {
            assert!(agent.mailbox.set_handled(&agent.word, signal, true).is_empty());
        }
        let running = Arc::new(AtomicUsize::new(0));
        let handle = |running: Arc<AtomicUsize>| {
            move |agent: &Agent| {
                let (signal, letter) = agent.mailbox.begin_handling(&agent.word, NONE)?;
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                running.fetch_sub(1, Ordering::SeqCst);
                agent.word.end_handling();
                Some((signal, letter?))
            }
        };
        assert_eq!(agent.raise(Signal::Int, 1), Raised::Pending);
        assert_eq!(agent.raise(Signal::Usr1, 2), Raised::Pending);
        let (a, b) = race(&agent, handle(Arc::clone(&running)), handle(Arc::clone(&running)));
        let rest = [handle(Arc::clone(&running))(&agent), handle(running)(&agent)];
        let mut handled: Vec<_> = [a, b].into_iter().chain(rest).flatten().collect();
        handled.sort_unstable();
        assert_eq!(handled, [(Signal::Int, 1), (Signal::Usr1, 2)]);
    });
}

#[test]
fn a_signal_whose_handler_goes_is_handled_or_acts_by_default_never_both() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        assert!(agent.mailbox.set_handled(&agent.word, Signal::Loop, true).is_empty());
        assert_eq!(agent.raise(Signal::Loop, 7), Raised::Pending);
        let (begun, due) = race(
            &agent,
            |agent| agent.mailbox.begin_handling(&agent.word, NONE),
            |agent| agent.mailbox.set_handled(&agent.word, Signal::Loop, false),
        );
        let delivered: Vec<_> = begun.into_iter().chain(due).collect();
        assert_eq!(delivered, [(Signal::Loop, Some(7))]);
    });
}

#[test]
fn a_term_whose_handler_failed_is_awaited_once_with_its_letter() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        let term = only(Signal::Term);
        assert!(agent.mailbox.set_handled(&agent.word, Signal::Term, true).is_empty());
        assert_eq!(agent.raise(Signal::Term, 7), Raised::Pending);
        let fail = |agent: &Agent| {
            let (signal, letter) = agent.mailbox.begin_handling(&agent.word, NONE).unwrap();
            assert_eq!(agent.mailbox.fall_back(&agent.word, signal, letter.unwrap()), Raised::Delivered);
            agent.word.end_handling();
        };
        let take = move |agent: &Agent| agent.mailbox.take(&agent.word, term);
        let ((), taken) = race(&agent, fail, take);
        let taken: Vec<_> = taken.into_iter().chain(take(&agent)).collect();
        assert_eq!(taken, [(Signal::Term, Some(7))]);
        assert!(!agent.word.load().closed());
    });
}

/// Whatever the agent's own calls do beside it: they were under way when it was stopped.
#[test]
fn nothing_an_agent_does_undoes_a_forced_stop() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        let cont = only(Signal::Cont);
        assert!(agent.mask(cont, NONE).is_empty());
        assert_eq!(agent.raise(Signal::Cont, 1), Raised::Pending);
        let own = |agent: &Agent| {
            let _ = agent.mask(NONE, only(Signal::Cont));
            let _ = agent.mailbox.raise(&agent.word, Signal::Cont, true, || 2);
        };
        let (raised, ()) = race(&agent, |agent| agent.word.stop(), own);
        assert_eq!(raised, Raised::Delivered);
        assert_eq!(agent.word.enter(false), Entry::Stopped);
    });
}

#[test]
fn what_is_raised_beside_a_kill_is_gone_or_without_effect() {
    loom::model(|| {
        let agent = Arc::new(Agent::default());
        let (closed, _) = race(&agent, |agent| agent.word.close(), |agent| agent.raise(Signal::Cont, 1));
        assert!(closed);
        assert_eq!(agent.raise(Signal::Stop, 2), Raised::Gone);
        assert_eq!(agent.word.enter(true), Entry::Closed);
    });
}
