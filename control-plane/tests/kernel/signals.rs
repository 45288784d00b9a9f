//! Signals on task agents: stop, continue, terminate, kill, while nothing and while something is in flight.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::host::Host;
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::kernel::{Raise, Was};
use agent_control_plane::primitives::{AgentId, Signal, SignalSet};
use agent_control_plane::signal::Sender;
use agent_control_plane::{AgentSpec, AgentState, CallError, ExitStatus};
use serde_json::json;

pub(crate) fn id(name: &str) -> AgentId {
    name.parse().unwrap()
}

pub(crate) fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_stopped_agent_parks_and_continues_what_it_was_doing() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    assert_eq!(host.kernel.signal(&id("a"), Signal::Stop, "look"), Ok(Raise::Delivered));
    assert_eq!(host.kernel.signal(&id("a"), Signal::Stop, "look"), Ok(Raise::Unchanged));
    let mut call = pin!(agent.exec("echo", json!({"text": "late"})));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(
        (host.runs(), host.kernel.agent(&id("a"))),
        (0, Some(AgentState::Stopped { was: Was::Ready }))
    );
    assert_eq!(host.kernel.signal(&id("a"), Signal::Cont, "go on"), Ok(Raise::Delivered));
    let Poll::Ready(Ok(answer)) = poll(call.as_mut()) else { panic!("the call goes on") };
    assert_eq!(answer, "late");
}

#[test]
fn a_stopped_agent_cannot_continue_itself_nor_outlive_a_kill() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    host.kernel.signal(&id("a"), Signal::Stop, "look").unwrap();
    let mut call = pin!(agent.signal("a", Signal::Cont, "me"));
    assert!(poll(call.as_mut()).is_pending());
    host.kernel.signal(&id("a"), Signal::Kill, "enough").unwrap();
    let Poll::Ready(Err(CallError::Dead(status))) = poll(call.as_mut()) else {
        panic!("a kill reaches the parked")
    };
    assert!(matches!(status, ExitStatus::Signaled { signal: Signal::Kill, .. }));
}

#[test]
fn a_kill_drops_the_tool_in_flight_and_records_it_as_cancelled() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut call = pin!(agent.exec("hang", json!({})));
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!((host.runs(), host.kernel.agent(&id("a"))), (1, Some(AgentState::Running)));
    assert_eq!(host.kernel.signal(&id("a"), Signal::Kill, "enough"), Ok(Raise::Delivered));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(CallError::Dead(_)))));
    assert_eq!(host.clock.sleepers(), 0, "the tool's future is gone");
    assert_eq!(host.kinds("a"), ["spawn", "intent", "signal", "exit", "outcome"]);
    assert!(host.kernel.signal(&id("a"), Signal::Kill, "again").is_err());
}

#[test]
fn a_call_given_up_by_its_caller_is_recorded_as_cancelled() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    {
        let mut call = pin!(agent.exec("hang", json!({})));
        assert!(poll(call.as_mut()).is_pending());
    }
    assert_eq!(host.kinds("a"), ["spawn", "intent", "outcome"]);
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Ready));
}

#[test]
fn a_tool_is_dropped_at_its_deadline() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut call = pin!(agent.exec("hang", json!({})));
    assert!(poll(call.as_mut()).is_pending());
    host.clock.advance(Duration::from_secs(30));
    let Poll::Ready(Err(error)) = poll(call.as_mut()) else { panic!("the limit of the tool is 30 s") };
    assert_eq!(error.code(), "AK0520");
    assert_eq!(host.clock.sleepers(), 0);
}

#[test]
fn sigterm_becomes_sigkill_when_its_grace_is_over_masked_or_not() {
    for mask in [false, true] {
        let host = Host::new();
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let term = SignalSet::EMPTY.with(Signal::Term);
        if mask {
            assert!(matches!(poll(pin!(agent.mask(term, SignalSet::EMPTY))), Poll::Ready(Ok(()))));
        }
        host.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
        let mut call = pin!(agent.exec("hang", json!({})));
        assert!(poll(call.as_mut()).is_pending(), "it may finish what it does");
        host.clock.advance(Duration::from_secs(9));
        host.kernel.signal(&id("a"), Signal::Term, "again").unwrap();
        assert!(poll(call.as_mut()).is_pending());
        host.clock.advance(Duration::from_secs(1));
        assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(CallError::Dead(_)))));
        let Some(AgentState::Zombie(status)) = host.kernel.agent(&id("a")) else { panic!("it is gone") };
        assert_eq!(status.to_string(), "ended by SIGKILL: the grace period of SIGTERM is over");
    }
}

#[test]
fn an_idle_agent_is_found_dead_once_its_grace_is_over() {
    let host = Host::new();
    let _agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    host.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
    host.clock.advance(Duration::from_secs(60));
    assert!(matches!(host.kernel.agent(&id("a")), Some(AgentState::Zombie(_))));
}

#[test]
fn sigterm_can_be_awaited_and_answered_by_leaving() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let term = SignalSet::EMPTY.with(Signal::Term);
    let mut wait = pin!(agent.await_signal(term, Duration::from_secs(60)));
    assert!(poll(wait.as_mut()).is_pending());
    host.kernel.signal(&id("a"), Signal::Term, "please").unwrap();
    let Poll::Ready(Ok(notice)) = poll(wait.as_mut()) else { panic!("it is there") };
    assert_eq!((notice.signal, notice.from, &*notice.reason), (Signal::Term, Sender::Host, "please"));
    assert!(matches!(poll(pin!(agent.exit(0, "tidied up"))), Poll::Ready(Ok(()))));

    let other = host.kernel.spawn(AgentSpec::new("b")).unwrap();
    let mut wait = pin!(other.await_signal(term, Duration::from_secs(60)));
    assert!(poll(wait.as_mut()).is_pending());
    host.clock.advance(Duration::from_secs(60));
    assert!(matches!(poll(wait.as_mut()), Poll::Ready(Err(CallError::Timeout))));
}

#[test]
fn the_unmaskable_cannot_be_masked_or_awaited() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    for signal in [Signal::Kill, Signal::Policy, Signal::Trust] {
        let set = SignalSet::EMPTY.with(signal).with(Signal::Int);
        assert!(matches!(
            poll(pin!(agent.mask(set, SignalSet::EMPTY))),
            Poll::Ready(Err(CallError::Invalid(_)))
        ));
        let wait = agent.await_signal(set, Duration::from_secs(1));
        assert!(matches!(poll(pin!(wait)), Poll::Ready(Err(CallError::Invalid(_)))));
    }
    host.kernel.signal(&id("a"), Signal::Trust, "forged").unwrap();
    assert!(matches!(host.kernel.agent(&id("a")), Some(AgentState::Zombie(_))));
}

#[test]
fn an_interrupt_is_answered_once_and_a_masked_one_waits() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    host.kernel.signal(&id("a"), Signal::Int, "hey").unwrap();
    assert!(matches!(poll(pin!(agent.read("/mem/working"))), Poll::Ready(Err(CallError::Interrupted))));
    assert!(matches!(poll(pin!(agent.read("/mem/working"))), Poll::Ready(Ok(_))));

    let int = SignalSet::EMPTY.with(Signal::Int);
    assert!(matches!(poll(pin!(agent.mask(int, SignalSet::EMPTY))), Poll::Ready(Ok(()))));
    assert_eq!(host.kernel.signal(&id("a"), Signal::Int, "hey"), Ok(Raise::Pending));
    assert!(matches!(poll(pin!(agent.read("/mem/working"))), Poll::Ready(Ok(_))));
    assert!(matches!(poll(pin!(agent.mask(SignalSet::EMPTY, int))), Poll::Ready(Ok(()))));
    assert!(matches!(poll(pin!(agent.read("/mem/working"))), Poll::Ready(Err(CallError::Interrupted))));
}

#[test]
fn an_agent_signals_only_whom_its_policy_names() {
    let host = Host::new();
    let a = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let _b = host.kernel.spawn(AgentSpec::new("b")).unwrap();
    assert!(matches!(poll(pin!(a.signal("b", Signal::Term, "please"))), Poll::Ready(Ok(()))));
    assert!(matches!(poll(pin!(a.signal("b", Signal::Kill, "now"))), Poll::Ready(Err(CallError::Denied(_)))));
    assert!(matches!(host.kernel.agent(&id("a")), Some(AgentState::Zombie(_))), "that was a violation");
    assert_eq!(host.kernel.agent(&id("b")), Some(AgentState::Ready));
}

/// A caller that holds its call without polling it keeps nothing alive.
#[test]
fn a_kill_drops_the_service_of_a_call_that_nobody_polls() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut held = pin!(agent.exec("hang", json!({})));
    assert!(poll(held.as_mut()).is_pending());
    assert_ne!(host.clock.sleepers(), 0);
    host.kernel.signal(&id("a"), Signal::Kill, "enough").unwrap();
    assert_eq!(host.kinds("a"), ["spawn", "intent", "signal", "exit", "outcome"]);
    assert!(matches!(poll(held.as_mut()), Poll::Ready(Err(CallError::Dead(_)))));
    assert_eq!(host.clock.sleepers(), 0);
    assert_eq!(host.kinds("a").iter().filter(|kind| *kind == "outcome").count(), 1);
}

#[test]
fn a_rule_that_stops_is_not_held_back_by_a_mask() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let stop = SignalSet::EMPTY.with(Signal::Stop);
    assert!(matches!(poll(pin!(agent.mask(stop, SignalSet::EMPTY))), Poll::Ready(Ok(()))));
    assert!(matches!(poll(pin!(agent.exec("stops", json!({})))), Poll::Ready(Err(CallError::Denied(_)))));
    assert_eq!(host.kernel.agent(&id("a")), Some(AgentState::Stopped { was: Was::Ready }));
    assert!(poll(pin!(agent.read("/mem/working"))).is_pending());
}

#[test]
fn an_agent_with_every_place_taken_can_still_leave_and_parked_calls_are_bounded() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut calls: Vec<_> = (0..1024).map(|_| Box::pin(agent.exec("hang", json!({})))).collect();
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    assert!(matches!(poll(pin!(agent.exec("echo", json!({})))), Poll::Ready(Err(CallError::Invalid(_)))));
    assert!(matches!(poll(pin!(agent.exit(0, "enough"))), Poll::Ready(Ok(()))));

    let agent = host.kernel.spawn(AgentSpec::new("b")).unwrap();
    host.kernel.signal(&id("b"), Signal::Stop, "wait").unwrap();
    let mut calls: Vec<_> = (0..1024).map(|_| Box::pin(agent.read("/mem/working"))).collect();
    for call in &mut calls {
        assert!(poll(call.as_mut()).is_pending());
    }
    assert!(matches!(poll(pin!(agent.read("/mem/working"))), Poll::Ready(Err(CallError::Invalid(_)))));
    drop(calls);
    assert!(poll(pin!(agent.read("/mem/working"))).is_pending());
}

#[test]
fn a_deadline_that_has_passed_starts_nothing() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let call = |wait| Syscall::Exec {
        tool: "echo".into(),
        arguments: RawArguments::Value(json!({})),
        deadline: Some(wait),
    };
    assert!(matches!(poll(pin!(agent.syscall(call(Duration::ZERO)))), Poll::Ready(Err(CallError::Timeout))));
    host.kernel.signal(&id("a"), Signal::Stop, "wait").unwrap();
    let mut parked = pin!(agent.syscall(call(Duration::from_secs(1))));
    assert!(poll(parked.as_mut()).is_pending());
    host.clock.advance(Duration::from_secs(3600));
    host.kernel.signal(&id("a"), Signal::Cont, "go on").unwrap();
    assert!(matches!(poll(parked.as_mut()), Poll::Ready(Err(CallError::Timeout))));
    assert_eq!(host.runs(), 0);
}

/// After `signal(SIGKILL)` has returned no tool begins, however the threads interleave.
#[test]
fn nothing_begins_after_a_kill_has_returned() {
    for round in 0..200 {
        let host = Host::new();
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let killed = Arc::new(AtomicBool::new(false));
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| {
                let mut after_kill = 0u32;
                for _ in 0..10_000 {
                    let was_killed = killed.load(Ordering::SeqCst);
                    match poll(pin!(agent.exec("echo", json!({"text": "x"})))) {
                        Poll::Ready(Ok(_)) if was_killed => after_kill += 1,
                        Poll::Ready(Err(_)) => break,
                        _ => {}
                    }
                }
                after_kill
            });
            for _ in 0..(round % 50) * 20 {
                std::hint::spin_loop();
            }
            host.kernel.signal(&id("a"), Signal::Kill, "race").unwrap();
            let runs = host.runs();
            killed.store(true, Ordering::SeqCst);
            assert_eq!(caller.join().unwrap(), 0);
            // One call may have passed the second look at the gate before the kill; none after it.
            assert!(host.runs() <= runs + 1);
        });
    }
}
