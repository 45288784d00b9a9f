//! What each signal does by default, what it says, and what the record says of it.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use agent_control_plane::kernel::Raise;
use agent_control_plane::primitives::{Label, LabelSet, Signal, SignalSet};
use agent_control_plane::recorder::Body;
use agent_control_plane::signal::{MAX_REASON, Sender};
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, FlightRecorder};
use serde_json::json;

use crate::host::Host;
use crate::signals::{id, poll};

/// Lets `a` signal everybody whatever it likes.
const FREE: &str = r#"
version: 1
name: free
rules:
  - { id: all, effect: allow, calls: [signal], targets: ["*"] }
  - { id: memory, effect: allow, calls: [read, write], paths: ["/mem/**"] }
"#;

fn only(signal: Signal) -> SignalSet {
    SignalSet::EMPTY.with(signal)
}

fn mask(agent: &AgentHandle, block: SignalSet, unblock: SignalSet) {
    assert!(matches!(poll(pin!(agent.mask(block, unblock))), Poll::Ready(Ok(()))));
}

/// What the record says of signals, one word an event.
pub(crate) fn said(host: &Host) -> Vec<String> {
    let events = host.kernel.recorder().events(0).map(Result::unwrap);
    let word = |body: &Body<'_>| match body {
        Body::Signal { signal, from, reason, delivered } => {
            let name = Signal::from_number(*signal).unwrap();
            Some(format!("{name} from {from} ({reason}) {}", if *delivered { "delivered" } else { "waits" }))
        }
        Body::Delivered { signal, to, from, reason, .. } => {
            let name = Signal::from_number(*signal).unwrap();
            Some(format!("{name} from {from} ({reason}) to {}", to.name()))
        }
        Body::Handler { signal, step, .. } => {
            Some(format!("{} handler {}", Signal::from_number(*signal).unwrap(), step.name()))
        }
        _ => None,
    };
    events.filter_map(|stored| word(&stored.event().unwrap().body)).collect()
}

/// What an agent does after a signal: its next call, or its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Stopped,
    Goes,
    Interrupted,
    Gone,
}

fn after(host: &Host, agent: &AgentHandle) -> After {
    match host.kernel.agent(agent.id()) {
        Some(AgentState::Stopped { .. }) => return After::Stopped,
        Some(AgentState::Zombie(_)) => return After::Gone,
        _ => {}
    }
    match poll(pin!(agent.read("/mem/working"))) {
        Poll::Ready(Ok(_)) => After::Goes,
        Poll::Ready(Err(CallError::Interrupted)) => After::Interrupted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_twelve_signals_do_what_their_table_says() {
    let table = [
        (Signal::Stop, true, After::Stopped),
        (Signal::Cont, true, After::Goes),
        (Signal::Int, true, After::Interrupted),
        (Signal::Kill, false, After::Gone),
        (Signal::Term, true, After::Goes),
        (Signal::Policy, false, After::Gone),
        (Signal::Trust, false, After::Gone),
        (Signal::Budget, true, After::Stopped),
        (Signal::Loop, true, After::Stopped),
        (Signal::Drift, true, After::Stopped),
    ];
    // What the other two do is somebody else's to say.
    assert_eq!(table.len() + 2, Signal::ALL.len());
    for (signal, maskable, default) in table {
        assert_eq!(signal.maskable(), maskable);
        let host = Host::new();
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let raised = if signal == Signal::Cont { Raise::Unchanged } else { Raise::Delivered };
        assert_eq!(host.kernel.signal(agent.id(), signal, "test"), Ok(raised), "{signal}");
        let word = if raised == Raise::Delivered { "delivered" } else { "waits" };
        assert_eq!(said(&host), [format!("{signal} from the host (test) {word}")]);
        assert_eq!(after(&host, &agent), default, "{signal}");
        if !maskable {
            continue;
        }

        let host = Host::new();
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        mask(&agent, only(signal), SignalSet::EMPTY);
        assert_eq!(host.kernel.signal(agent.id(), signal, "first"), Ok(Raise::Pending), "{signal}");
        assert_eq!(host.kernel.signal(agent.id(), signal, "second"), Ok(Raise::Unchanged), "{signal}");
        assert_eq!(after(&host, &agent), After::Goes, "{signal} waits");
        mask(&agent, SignalSet::EMPTY, only(signal));
        assert_eq!(after(&host, &agent), default, "{signal} is delivered");
        let waits = |reason: &str| format!("{signal} from the host ({reason}) waits");
        let delivered = format!("{signal} from the host (first) to default");
        assert_eq!(said(&host), [waits("first"), waits("second"), delivered], "once");
    }
}

#[test]
fn a_signal_that_is_awaited_says_who_raised_it_and_why_and_when() {
    let host = Host::with(FREE, FlightRecorder::memory().unwrap());
    let a = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let b = host.kernel.spawn(AgentSpec::new("b")).unwrap();
    let drift = only(Signal::Drift);
    mask(&b, drift, SignalSet::EMPTY);
    host.clock.advance(Duration::from_secs(7));
    assert!(matches!(poll(pin!(a.signal("b", Signal::Drift, "look at this"))), Poll::Ready(Ok(()))));
    host.clock.advance(Duration::from_secs(7));
    let Poll::Ready(Ok(notice)) = poll(pin!(b.await_signal(drift, Duration::from_secs(1)))) else {
        panic!("it is there")
    };
    assert_eq!((notice.signal, notice.from), (Signal::Drift, Sender::Agent(id("a"))));
    assert_eq!((&*notice.reason, notice.raised.as_micros()), ("look at this", 7_000_000));
    let wait = |reason: &str, word: &str| format!("SIGDRIFT from agent a ({reason}) {word}");
    assert_eq!(said(&host), [wait("look at this", "waits"), wait("look at this", "to awaited")]);
    let mut again = pin!(b.await_signal(drift, Duration::from_secs(1)));
    assert!(poll(again.as_mut()).is_pending(), "it is taken");
    mask(&b, SignalSet::EMPTY, drift);
    assert_eq!(after(&host, &b), After::Goes, "and not delivered again");
}

/// The reason may say what its sender has read.
#[test]
fn who_is_told_a_reason_carries_what_the_sender_did() {
    let host = Host::with(FREE, FlightRecorder::memory().unwrap());
    let secret = LabelSet::new(["secret".parse::<Label>().unwrap()]).unwrap();
    let a = host.kernel.spawn(AgentSpec::new("a").labels(secret.clone())).unwrap();
    let b = host.kernel.spawn(AgentSpec::new("b")).unwrap();
    mask(&b, only(Signal::Int), SignalSet::EMPTY);
    assert!(matches!(poll(pin!(a.signal("b", Signal::Int, "the code is 4711"))), Poll::Ready(Ok(()))));
    assert_eq!(host.kernel.labels(b.id()), Some(LabelSet::EMPTY), "nobody has read it");
    let Poll::Ready(Ok(notice)) = poll(pin!(b.await_signal(only(Signal::Int), Duration::from_secs(1))))
    else {
        panic!("it is there")
    };
    assert_eq!((notice.labels, host.kernel.labels(b.id())), (secret.clone(), Some(secret)));
}

#[test]
fn a_reason_is_kept_up_to_its_bound() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    mask(&agent, only(Signal::Int), SignalSet::EMPTY);
    host.kernel.signal(agent.id(), Signal::Int, &"x".repeat(1 << 20)).unwrap();
    let wait = agent.await_signal(only(Signal::Int), Duration::from_secs(1));
    let Poll::Ready(Ok(notice)) = poll(pin!(wait)) else { panic!("it is there") };
    assert_eq!(notice.reason.len(), MAX_REASON);
    host.kernel.signal(agent.id(), Signal::Kill, &"x".repeat(1 << 20)).unwrap();
    for stored in host.kernel.recorder().events(0).map(Result::unwrap) {
        if let Body::Signal { reason, .. } = stored.event().unwrap().body {
            assert_eq!(reason.len(), MAX_REASON);
        }
    }
}

#[test]
fn several_that_are_unmasked_together_are_delivered_in_ascending_number() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let all: SignalSet = [Signal::Loop, Signal::Cont, Signal::Int, Signal::Term].into_iter().collect();
    mask(&agent, all, SignalSet::EMPTY);
    for signal in [Signal::Loop, Signal::Int, Signal::Term, Signal::Cont] {
        assert_eq!(host.kernel.signal(agent.id(), signal, "many"), Ok(Raise::Pending));
    }
    mask(&agent, SignalSet::EMPTY, all);
    let line = |signal: Signal| format!("{signal} from the host (many) to default");
    let order = [Signal::Cont, Signal::Int, Signal::Term, Signal::Loop].map(line);
    assert_eq!(said(&host)[4..], order);
    assert!(matches!(host.kernel.agent(agent.id()), Some(AgentState::Stopped { .. })));
}

/// A call under way when a rule stopped its agent does not undo that by unmasking what was raised before.
#[test]
fn a_cont_raised_before_a_forced_stop_is_worth_nothing_after_it() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    mask(&agent, only(Signal::Cont), SignalSet::EMPTY);
    assert_eq!(host.kernel.signal(agent.id(), Signal::Cont, "early"), Ok(Raise::Pending));
    assert!(matches!(poll(pin!(agent.exec("stops", json!({})))), Poll::Ready(Err(CallError::Denied(_)))));
    let mut unmask = pin!(agent.mask(SignalSet::EMPTY, only(Signal::Cont)));
    assert!(poll(unmask.as_mut()).is_pending());
    assert!(matches!(host.kernel.agent(agent.id()), Some(AgentState::Stopped { .. })));
}

#[test]
fn who_awaits_is_parked_while_stopped() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut wait = pin!(agent.await_signal(only(Signal::Term), Duration::from_secs(60)));
    assert!(poll(wait.as_mut()).is_pending());
    host.kernel.signal(agent.id(), Signal::Stop, "look").unwrap();
    host.kernel.signal(agent.id(), Signal::Term, "please").unwrap();
    assert!(poll(wait.as_mut()).is_pending());
    host.kernel.signal(agent.id(), Signal::Cont, "go on").unwrap();
    assert!(matches!(poll(wait.as_mut()), Poll::Ready(Ok(notice)) if notice.signal == Signal::Term));
}
