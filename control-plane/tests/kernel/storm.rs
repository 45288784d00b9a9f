//! A tree of agents that call, write to each other, signal, stop, end and are started anew on many threads at once.
//! Nobody waits for anybody for good, and what is on record is whole.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::mpsc::sync_channel;
use std::task::{Context, Waker};
use std::time::Duration;

use agent_control_plane::kernel::{State, Widening};
use agent_control_plane::primitives::{AgentId, LabelSet, Resource, Signal, SignalSet};
use agent_control_plane::recorder::{Body, Outcome};
use agent_control_plane::{AgentHandle, AgentSpec, FlightRecorder, Policy};
use serde_json::json;

use crate::host::{Host, POLICY};

const RULES: &str = r#"
  - { id: mail, effect: allow, calls: [read, write, open], paths: ["/ipc/**"] }
  - { id: state, effect: allow, calls: [read], paths: ["/state/**"] }
  - { id: any, effect: allow, calls: [signal], targets: ["*"] }
"#;
const NAMES: [&str; 6] = ["a", "a::b", "a::c", "a::b::d", "x", "x::y"];
const SIGNALS: [Signal; 9] = [
    Signal::Stop,
    Signal::Cont,
    Signal::Cont,
    Signal::Int,
    Signal::Usr1,
    Signal::Usr2,
    Signal::Loop,
    Signal::Term,
    Signal::Kill,
];

/// Numbers that look random, from xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides).unwrap()
    }
}

/// Polls a call a few times and gives it up.
fn briefly<T>(call: impl Future<Output = T>) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..3 {
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let std::task::Poll::Ready(answer) = polled {
            return Some(answer);
        }
    }
    None
}

fn spawn(host: &Host, name: &str) -> Option<AgentHandle> {
    let (parent, own) = name.rsplit_once("::").map_or((None, name), |(parent, own)| (Some(parent), own));
    let spec = match parent {
        Some(parent) => AgentSpec::new(own).parent(parent.parse().unwrap()),
        None => AgentSpec::new(own),
    };
    host.kernel.spawn(spec).ok()
}

fn call(agent: &AgentHandle, dice: &mut Dice) {
    let peer = NAMES[dice.roll(6)];
    let set = SignalSet::EMPTY.with(SIGNALS[dice.roll(8)]);
    match dice.roll(12) {
        0..3 => drop(briefly(agent.exec("echo", json!({"text": "x"})))),
        3 => drop(briefly(agent.exec("hang", json!({})))),
        4 => drop(briefly(agent.exec("soft", json!({})))),
        5 => drop(briefly(agent.send(peer, "hello"))),
        6 => drop(briefly(agent.recv())),
        7 => drop(briefly(agent.signal(peer, SIGNALS[dice.roll(9)], "peer"))),
        8 => drop(briefly(agent.mask(set, SignalSet::EMPTY))),
        9 => drop(briefly(agent.mask(SignalSet::EMPTY, set))),
        10 => {
            let answer: Result<(), &str> = if dice.roll(2) == 0 { Ok(()) } else { Err("no") };
            drop(briefly(agent.on_signal(SIGNALS[dice.roll(8)], move |_| std::future::ready(answer))));
        }
        _ => drop(briefly(agent.await_signal(set, Duration::from_secs(9)))),
    }
}

fn host_does(host: &Host, dice: &mut Dice) {
    let name: AgentId = NAMES[dice.roll(6)].parse().unwrap();
    let kernel = &host.kernel;
    match dice.roll(12) {
        0..4 => drop(kernel.signal(&name, SIGNALS[dice.roll(8)], "host")),
        4 => drop(kernel.kill(&name, "host")),
        5 => drop(briefly(kernel.checkpoint(&name))),
        6 => drop(kernel.diagnose(&name)),
        7 => drop(kernel.agents()),
        8 => drop(kernel.declassify(&name, &LabelSet::EMPTY, "me", "why not")),
        9 => {
            let policy = Policy::from_yaml("test.yaml", &format!("{POLICY}{RULES}")).unwrap();
            kernel.reload(policy, Widening::Force).map(drop).unwrap_or_default();
        }
        10 => {
            let budget = agent_control_plane::budget::Budget::new().limit(Resource::Calls, 1 << 40);
            drop(kernel.set_budget(&agent_control_plane::budget::AccountId::Agent(name), &budget));
        }
        _ => host.clock.advance(Duration::from_millis(100)),
    }
}

fn storm(seed: u64, steps: usize, ends: impl Fn(&Host)) -> Host {
    let host = Host::with(&format!("{POLICY}{RULES}"), FlightRecorder::memory().unwrap());
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let host = &host;
            scope.spawn(move || {
                let mut dice = Dice(seed * 7919 + thread);
                let mut agents: Vec<AgentHandle> = Vec::new();
                for _ in 0..steps {
                    match dice.roll(4) {
                        0 => agents.extend(spawn(host, NAMES[dice.roll(6)])),
                        1 => host_does(host, &mut dice),
                        _ if agents.is_empty() => {}
                        _ => {
                            let which = dice.roll(agents.len() as u64);
                            call(&agents[which], &mut dice);
                        }
                    }
                    if 8 < agents.len() {
                        drop(agents.remove(dice.roll(8)));
                    }
                }
            });
        }
        ends(&host);
    });
    host
}

/// Every life begins with its spawn, ends once, and has an outcome for each intent; nothing set out after its end is done.
fn check(host: &Host, seed: u64) {
    let mut lives: BTreeMap<(String, u64), Vec<(u64, String)>> = BTreeMap::new();
    let mut done: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
    for stored in host.kernel.recorder().events(0).map(Result::unwrap) {
        let event = stored.event().unwrap();
        if !event.agent.is_empty() {
            let life = lives.entry((event.agent.to_owned(), event.generation)).or_default();
            if matches!(event.body, Body::Outcome { outcome: Outcome::Done { .. }, .. }) {
                done.entry((event.agent.to_owned(), event.generation)).or_default().push(event.call);
            }
            done.entry((event.agent.to_owned(), event.generation)).or_default();
            let told = matches!(event.body, Body::Intent { .. } | Body::Outcome { .. });
            life.push((if told { event.call } else { 0 }, event.kind().to_owned()));
        }
    }
    for (life, events) in &lives {
        assert_eq!(events[0].1, "spawn", "seed {seed}: {life:?}: {events:?}");
        let count = |kind: &str| events.iter().filter(|(_, other)| other == kind).count();
        assert_eq!((count("spawn"), count("exit")), (1, 1), "seed {seed}: {life:?}: {events:?}");
        let of = |kind: &str| {
            let mut calls: Vec<u64> =
                events.iter().filter(|(_, other)| other == kind).map(|(call, _)| *call).collect();
            calls.sort_unstable();
            calls
        };
        assert_eq!(of("intent"), of("outcome"), "seed {seed}: {life:?}");
        let exit = events.iter().position(|(_, kind)| kind == "exit").unwrap();
        let late = |call: &u64| events[exit..].iter().any(|(of, kind)| of == call && kind == "intent");
        assert!(!done[life].iter().any(late), "seed {seed}: {life:?}: {events:?}");
    }
    host.kernel.verify_record(|_| {}).unwrap();
}

/// Runs it beside a watch, so that threads that wait for each other fail the test.
fn watched(work: impl FnOnce() + Send + 'static) {
    let (done, waits) = sync_channel(1);
    let worker = std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    let waited = waits.recv_timeout(Duration::from_secs(120));
    assert_ne!(waited, Err(std::sync::mpsc::RecvTimeoutError::Timeout), "some threads wait for each other");
    worker.join().unwrap();
}

#[test]
fn a_storm_leaves_every_life_whole() {
    watched(|| {
        for seed in 1..=4 {
            let host = storm(seed, 1500, |_| {});
            host.kernel.kill_all("over");
            assert!(host.kernel.agents().is_empty());
            check(&host, seed);
        }
    });
}

#[test]
fn a_shutdown_in_a_storm_leaves_nobody_alive() {
    watched(|| {
        for seed in 1..=4 {
            let host = storm(seed, 1500, |host| {
                std::thread::yield_now();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let report = runtime.block_on(host.kernel.shutdown(Duration::ZERO));
                assert!(report.is_ok(), "{report:?}");
                assert!(host.kernel.agents().is_empty());
            });
            assert!(host.kernel.agents().is_empty());
            check(&host, seed);
        }
    });
}

#[test]
fn a_recorder_that_fails_in_a_storm_leaves_nobody_alive() {
    watched(|| {
        for seed in 1..=4 {
            let host = storm(seed, 1500, |host| {
                std::thread::yield_now();
                host.kernel.recorder().close().unwrap();
            });
            assert!(matches!(host.kernel.state(), State::Panicked(_)));
            assert!(host.kernel.agents().is_empty());
        }
    });
}
