//! The state word, step by step. What holds when its steps interleave is in `control-plane/loom`.

use agent_primitives::{Signal, SignalSet};

use super::word::{Entry, MAX_IN_FLIGHT, Raised, Word};

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
    assert_eq!(word.take(only(Signal::Stop)), None);
    assert_eq!(word.take(only(Signal::Cont)), Some(Signal::Cont));
}

#[test]
fn a_masked_signal_waits_once_and_is_due_on_unmask() {
    let word = Word::default();
    assert!(word.mask(only(Signal::Stop), NONE).is_empty());
    assert_eq!(raise(&word, Signal::Stop), Raised::Pending);
    assert_eq!(raise(&word, Signal::Stop), Raised::Unchanged);
    assert_eq!(word.enter(false), Entry::Entered);
    assert_eq!(word.mask(NONE, only(Signal::Stop)), only(Signal::Stop));
    assert!(!word.load().awaited(only(Signal::Stop)));
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
    assert_eq!(word.load(), Word::default().load());
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
    let most = u64::from(u16::MAX);
    for _ in MAX_IN_FLIGHT..most {
        assert_eq!(word.enter(true), Entry::Entered);
    }
    assert_eq!(word.enter(true), Entry::Full);
    assert_eq!(word.load().in_flight(), most);
    for _ in 0..most {
        word.leave();
    }
    assert_eq!(word.load(), Word::default().load(), "no other bit was touched");
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
