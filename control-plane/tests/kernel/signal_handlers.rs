//! Handlers of signals: when they run, in place of what, and what they cannot change.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use agent_control_plane::kernel::Raise;
use agent_control_plane::primitives::{Clock, Signal, SignalSet, Timer};
use agent_control_plane::signal::{HANDLER_DEADLINE, Notice};
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, FlightRecorder};
use serde_json::json;

use crate::host::{Host, POLICY};
use crate::signal_delivery::said;
use crate::signals::poll;

type Answer = Result<(), &'static str>;

fn done<T>(call: impl Future<Output = T>) -> T {
    let Poll::Ready(answer) = poll(pin!(call)) else { panic!("nothing is there to wait for") };
    answer
}

fn agent(host: &Host) -> AgentHandle {
    host.kernel.spawn(AgentSpec::new("a")).unwrap()
}

/// Counts what it is told.
fn counting(
    counter: &Arc<AtomicU64>,
) -> impl Fn(Notice) -> std::future::Ready<Answer> + Send + Sync + 'static {
    let counter = Arc::clone(counter);
    move |_notice| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(()))
    }
}

fn look(agent: &AgentHandle) -> Result<bytes::Bytes, CallError> {
    done(agent.read("/mem/working"))
}

#[test]
fn a_handler_takes_the_place_of_the_default_action() {
    for signal in
        [Signal::Stop, Signal::Int, Signal::Usr1, Signal::Usr2, Signal::Budget, Signal::Loop, Signal::Drift]
    {
        let (host, runs) = (Host::new(), Arc::default());
        let agent = agent(&host);
        done(agent.on_signal(signal, counting(&runs))).unwrap();
        assert_eq!(host.kernel.signal(agent.id(), signal, "hey"), Ok(Raise::Pending), "{signal}");
        assert_eq!(runs.load(Ordering::SeqCst), 0, "it runs where the agent passes the gate");
        assert!(look(&agent).is_ok(), "{signal}");
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(look(&agent).is_ok());
        assert_eq!(runs.load(Ordering::SeqCst), 1, "once");
        let line = |what: &str| format!("{signal} {what}");
        let expected = [
            "handler registered",
            "from the host (hey) waits",
            "from the host (hey) to handler",
            "handler done",
        ];
        assert_eq!(said(&host), expected.map(line));
    }
}

#[test]
fn a_handler_is_told_what_the_signal_says() {
    let host = Host::new();
    let (agent, told) = (agent(&host), Arc::new(Mutex::new(Vec::new())));
    let telling = Arc::clone(&told);
    let tell = move |notice: Notice| {
        telling.lock().unwrap().push((notice.signal, notice.from.to_string(), notice.reason));
        std::future::ready(Answer::Ok(()))
    };
    done(agent.on_signal(Signal::Drift, tell)).unwrap();
    host.kernel.signal(agent.id(), Signal::Drift, "first").unwrap();
    host.kernel.signal(agent.id(), Signal::Drift, "second").unwrap();
    look(&agent).unwrap();
    let first = (Signal::Drift, "the host".to_owned(), "first".to_owned());
    assert_eq!(*told.lock().unwrap(), [first]);
}

#[test]
fn the_unmaskable_have_no_handlers_and_asking_for_one_is_on_record() {
    for signal in [Signal::Kill, Signal::Policy, Signal::Trust] {
        let (host, runs) = (Host::new(), Arc::default());
        let agent = agent(&host);
        let error = done(agent.on_signal(signal, counting(&runs))).unwrap_err();
        assert_eq!(error.code(), "AK0907");
        assert_eq!(host.kinds("a"), ["spawn", "rejected"]);
        host.kernel.signal(agent.id(), signal, "now").unwrap();
        assert!(matches!(look(&agent), Err(CallError::Dead(_))));
        assert_eq!(runs.load(Ordering::SeqCst), 0);
    }
}

/// Fails, panics at once, panics later, and fails later.
fn bad(
    kind: usize,
) -> impl Fn(Notice) -> std::pin::Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync {
    move |_notice| match kind {
        0 => Box::pin(async { Err("it cannot") }),
        1 => panic!("at once"),
        _ => Box::pin(async { panic!("in its body") }),
    }
}

#[test]
fn a_handler_that_fails_or_panics_has_the_default_action_taken_after_it() {
    for (kind, step) in [(0, "failed"), (1, "panicked"), (2, "panicked")] {
        let host = Host::new();
        let agent = agent(&host);
        done(agent.on_signal(Signal::Int, bad(kind))).unwrap();
        done(agent.on_signal(Signal::Drift, bad(kind))).unwrap();
        host.kernel.signal(agent.id(), Signal::Int, "hey").unwrap();
        assert!(matches!(look(&agent), Err(CallError::Interrupted)));
        assert!(look(&agent).is_ok());
        host.kernel.signal(agent.id(), Signal::Drift, "hey").unwrap();
        assert!(poll(pin!(agent.read("/mem/working"))).is_pending());
        assert!(matches!(host.kernel.agent(agent.id()), Some(AgentState::Stopped { .. })));
        let said = said(&host);
        assert!(said.contains(&format!("SIGINT handler {step}")), "{said:?}");
        assert_eq!(said.last(), Some(&format!("SIGDRIFT handler {step}")));
    }
}

#[test]
fn a_handler_that_overruns_is_dropped_and_has_the_default_action_taken_after_it() {
    for late in [false, true] {
        let host = Host::new();
        let agent = agent(&host);
        let clock = host.clock.clone();
        let slow = move |_notice| {
            let clock = clock.clone();
            let wait = if late { HANDLER_DEADLINE * 2 } else { Duration::MAX };
            async move {
                clock.sleep_until(clock.monotonic().after(wait)).await;
                Answer::Ok(())
            }
        };
        done(agent.on_signal(Signal::Int, slow)).unwrap();
        host.kernel.signal(agent.id(), Signal::Int, "hey").unwrap();
        let mut call = pin!(agent.read("/mem/working"));
        assert!(poll(call.as_mut()).is_pending());
        // One that is done, but only after its time, has overrun too.
        host.clock.advance(if late { HANDLER_DEADLINE * 3 } else { HANDLER_DEADLINE });
        assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(CallError::Interrupted))));
        assert_eq!(said(&host).last().unwrap(), "SIGINT handler overran");
        assert_eq!(host.clock.sleepers(), 0, "it is gone");
    }
}

#[test]
fn a_handler_dropped_with_its_call_has_the_default_action_taken() {
    let host = Host::new();
    let agent = agent(&host);
    let hang = |_notice| std::future::pending::<Answer>();
    done(agent.on_signal(Signal::Drift, hang)).unwrap();
    host.kernel.signal(agent.id(), Signal::Drift, "hey").unwrap();
    {
        let mut call = pin!(agent.read("/mem/working"));
        assert!(poll(call.as_mut()).is_pending());
    }
    assert!(matches!(host.kernel.agent(agent.id()), Some(AgentState::Stopped { .. })));
    assert_eq!(said(&host).last().unwrap(), "SIGDRIFT handler abandoned");
}

/// Neither throwing, hanging, ending well nor being asked again buys time.
#[test]
fn no_handler_keeps_an_agent_alive_past_the_grace_period() {
    for kind in 0..4 {
        let host = Host::new();
        let agent = agent(&host);
        let handler = move |notice| -> std::pin::Pin<Box<dyn Future<Output = Answer> + Send>> {
            if kind < 3 { bad(kind)(notice) } else { Box::pin(std::future::pending()) }
        };
        done(agent.on_signal(Signal::Term, handler)).unwrap();
        host.kernel.signal(agent.id(), Signal::Term, "please").unwrap();
        let mut call = pin!(agent.exec("hang", json!({})));
        assert!(poll(call.as_mut()).is_pending());
        host.clock.advance(Duration::from_secs(9));
        host.kernel.signal(agent.id(), Signal::Term, "again").unwrap();
        assert!(poll(call.as_mut()).is_pending());
        host.clock.advance(Duration::from_secs(1));
        assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(CallError::Dead(_)))));
    }
}

#[test]
fn a_sigterm_handler_can_end_its_agent_in_order() {
    let host = Host::new();
    let agent = agent(&host);
    let own = agent.clone();
    let tidy = move |notice: Notice| {
        let own = own.clone();
        async move { own.exit(0, &notice.reason).await }
    };
    done(agent.on_signal(Signal::Term, tidy)).unwrap();
    host.kernel.signal(agent.id(), Signal::Term, "the night falls").unwrap();
    assert!(matches!(look(&agent), Err(CallError::Dead(_))));
    let Some(AgentState::Zombie(status)) = host.kernel.agent(agent.id()) else { panic!("it is gone") };
    assert_eq!(status.to_string(), "exited with 0: the night falls");
}

#[test]
fn cont_resumes_whatever_its_handler_does() {
    let (host, runs) = (Host::new(), Arc::default());
    let agent = agent(&host);
    done(agent.on_signal(Signal::Cont, counting(&runs))).unwrap();
    host.kernel.signal(agent.id(), Signal::Stop, "look").unwrap();
    let mut call = pin!(agent.read("/mem/working"));
    assert!(poll(call.as_mut()).is_pending());
    host.kernel.signal(agent.id(), Signal::Cont, "go on").unwrap();
    assert_eq!(host.kernel.agent(agent.id()), Some(AgentState::Ready));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Ok(_))));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

/// A rule that stops is neither handled nor undone by a handler, which does not even begin.
#[test]
fn a_handler_undoes_no_forced_stop() {
    let (host, runs) = (
        Host::with(
            &POLICY.replace(r#"targets: ["b"], signals: [SIGTERM]"#, r#"targets: ["*"]"#),
            FlightRecorder::memory().unwrap(),
        ),
        Arc::default(),
    );
    let agent = agent(&host);
    let own = agent.clone();
    let resume = move |_notice| {
        let own = own.clone();
        async move { own.signal("a", Signal::Cont, "me").await }
    };
    done(agent.on_signal(Signal::Stop, counting(&runs))).unwrap();
    done(agent.on_signal(Signal::Drift, resume)).unwrap();
    assert!(matches!(done(agent.exec("stops", json!({}))), Err(CallError::Denied(_))));
    host.kernel.signal(agent.id(), Signal::Drift, "hey").unwrap();
    let mut call = pin!(agent.read("/mem/working"));
    assert!(poll(call.as_mut()).is_pending());
    assert!(matches!(host.kernel.agent(agent.id()), Some(AgentState::Stopped { .. })));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

/// What a handler does is judged like anything its agent does.
#[test]
fn the_calls_of_a_handler_are_judged() {
    let host = Host::new();
    let agent = agent(&host);
    let own = agent.clone();
    let act = move |_notice| {
        let own = own.clone();
        async move { own.exec("ungranted", json!({})).await.map(drop) }
    };
    done(agent.on_signal(Signal::Int, act)).unwrap();
    host.kernel.signal(agent.id(), Signal::Int, "hey").unwrap();
    assert!(matches!(look(&agent), Err(CallError::Dead(_))));
    assert_eq!(host.runs(), 0);
    assert!(host.kinds("a").contains(&"refused".to_owned()));
}

/// The calls it makes pass the gate themselves, and start no other handler.
#[test]
fn one_handler_runs_at_a_time_and_one_that_raises_its_own_signal_ends_nobody() {
    let policy = POLICY.replace(r#"targets: ["b"], signals: [SIGTERM]"#, r#"targets: ["*"]"#);
    let (host, runs, deepest) = (
        Host::with(&policy, FlightRecorder::memory().unwrap()),
        Arc::<AtomicU64>::default(),
        Arc::<AtomicU64>::default(),
    );
    let agent = agent(&host);
    let (own, ran, most) = (agent.clone(), Arc::clone(&runs), Arc::clone(&deepest));
    let depth = Arc::<AtomicU64>::default();
    let again = move |_notice| {
        let (own, ran, most, depth) = (own.clone(), Arc::clone(&ran), Arc::clone(&most), Arc::clone(&depth));
        async move {
            ran.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(depth.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let raised = own.signal("a", Signal::Int, "again").await;
            depth.fetch_sub(1, Ordering::SeqCst);
            raised
        }
    };
    done(agent.on_signal(Signal::Int, again)).unwrap();
    host.kernel.signal(agent.id(), Signal::Int, "hey").unwrap();
    let mut call = pin!(agent.read("/mem/working"));
    let mut polls = 0;
    while poll(call.as_mut()).is_pending() {
        polls += 1;
        assert!(polls < 10, "the call goes on");
    }
    // Once coming in, once between decision and effect.
    assert_eq!((runs.load(Ordering::SeqCst), deepest.load(Ordering::SeqCst)), (2, 1));
}

#[test]
fn a_handler_runs_while_its_agent_awaits_another_signal() {
    let (host, runs) = (Host::new(), Arc::default());
    let agent = agent(&host);
    done(agent.on_signal(Signal::Int, counting(&runs))).unwrap();
    let mut wait = pin!(agent.await_signal(SignalSet::EMPTY.with(Signal::Term), Duration::from_secs(60)));
    assert!(poll(wait.as_mut()).is_pending());
    host.kernel.signal(agent.id(), Signal::Int, "hey").unwrap();
    assert!(poll(wait.as_mut()).is_pending());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_masked_signal_reaches_its_handler_when_it_is_unmasked() {
    let (host, runs) = (Host::new(), Arc::default());
    let agent = agent(&host);
    let int = SignalSet::EMPTY.with(Signal::Int);
    done(agent.on_signal(Signal::Int, counting(&runs))).unwrap();
    done(agent.mask(int, SignalSet::EMPTY)).unwrap();
    host.kernel.signal(agent.id(), Signal::Int, "hey").unwrap();
    look(&agent).unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 0);
    done(agent.mask(SignalSet::EMPTY, int)).unwrap();
    look(&agent).unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn what_waited_for_a_handler_that_is_taken_away_has_its_default_action_taken() {
    let (host, runs) = (Host::new(), Arc::default());
    let agent = agent(&host);
    done(agent.on_signal(Signal::Int, counting(&runs))).unwrap();
    done(agent.mask(SignalSet::EMPTY.with(Signal::Int), SignalSet::EMPTY)).unwrap();
    host.kernel.signal(agent.id(), Signal::Int, "hey").unwrap();
    done(agent.reset_signal(Signal::Int)).unwrap();
    done(agent.mask(SignalSet::EMPTY, SignalSet::EMPTY.with(Signal::Int))).unwrap();
    assert!(matches!(look(&agent), Err(CallError::Interrupted)));
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[test]
fn a_handler_that_holds_its_own_agent_goes_with_it() {
    let host = Host::new();
    let agent = agent(&host);
    let (own, held) = (agent.clone(), Arc::new(()));
    let weak = Arc::downgrade(&held);
    let handler = move |_notice| {
        let _both = (&own, &held);
        std::future::ready(Answer::Ok(()))
    };
    done(agent.on_signal(Signal::Int, handler)).unwrap();
    assert!(weak.upgrade().is_some());
    host.kernel.signal(agent.id(), Signal::Kill, "enough").unwrap();
    assert!(weak.upgrade().is_none());
    let after = done(agent.on_signal(Signal::Int, |_notice| std::future::ready(Answer::Ok(()))));
    assert!(matches!(after, Err(CallError::Dead(_))));
}

/// `SIGCONT` has resumed before its handler begins. What stops the agent while it runs is not undone by its failure.
#[test]
fn a_failing_handler_of_sigcont_undoes_no_later_stop() {
    let host = Host::new();
    let agent = agent(&host);
    let kernel = host.kernel.clone();
    let handler = move |_notice| {
        kernel.signal(&"a".parse().unwrap(), Signal::Stop, "look").unwrap();
        std::future::ready(Answer::Err("no"))
    };
    done(agent.on_signal(Signal::Cont, handler)).unwrap();
    let kid = host.kernel.spawn(AgentSpec::new("kid").parent(agent.id().clone())).unwrap();
    host.kernel.signal(agent.id(), Signal::Cont, "go on").unwrap();
    assert!(poll(pin!(agent.read("/mem/working"))).is_pending());
    for stopped in [&agent, &kid] {
        assert!(
            matches!(host.kernel.agent(stopped.id()), Some(AgentState::Stopped { .. })),
            "{}",
            stopped.id()
        );
    }
}

/// That it has a handler for `SIGCONT` keeps no agent stopped, and none of its children.
#[test]
fn what_a_parent_resumed_with_a_handler_resumes_below_it() {
    let (host, runs) = (Host::new(), Arc::default());
    let agent = agent(&host);
    done(agent.on_signal(Signal::Cont, counting(&runs))).unwrap();
    let kid = host.kernel.spawn(AgentSpec::new("kid").parent(agent.id().clone())).unwrap();
    host.kernel.signal(agent.id(), Signal::Stop, "look").unwrap();
    assert!(matches!(host.kernel.agent(kid.id()), Some(AgentState::Stopped { .. })));
    host.kernel.signal(agent.id(), Signal::Cont, "go on").unwrap();
    assert_eq!(host.kernel.agent(kid.id()), Some(AgentState::Ready));
}
