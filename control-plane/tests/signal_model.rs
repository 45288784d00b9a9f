//! Random signals, masks, handlers and calls against one agent, and against the simplest thing that says what must come of
//! them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_control_plane::atr::{CallContext, Effect, Limits, Registry, ToolError};
use agent_control_plane::kernel::{LOOP_AT, Raise};
use agent_control_plane::primitives::{ManualClock, Signal, SignalSet};
use agent_control_plane::recorder::{Body, Delivery};
use agent_control_plane::signal::HANDLER_DEADLINE;
use agent_control_plane::{AgentHandle, AgentSpec, AgentState, CallError, Kernel, Policy};
use proptest::prelude::*;
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
name: model
rules:
  - { id: hang, effect: allow, calls: [exec], tools: ["hang"] }
  - { id: stops, effect: deny, calls: [exec], tools: ["stops"], on_violation: stop }
  - { id: memory, effect: allow, calls: [read], paths: ["/mem/**"] }
"#;
const GRACE: Duration = Duration::from_secs(5);
const NONE: SignalSet = SignalSet::EMPTY;

#[derive(Clone, Copy, Debug)]
enum Handler {
    Works,
    Fails,
    Panics,
    Hangs,
}

#[derive(Clone, Copy, Debug)]
enum Asks {
    Read,
    /// A tool that never answers.
    Hang,
    /// A tool whose rule stops the agent.
    Stops,
    Await(SignalSet, Duration),
    Mask(SignalSet, SignalSet),
    Handle(Signal, Option<Handler>),
    Exit,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Raise(Signal),
    Call(Asks),
    /// The caller gives a call up.
    Drop(prop::sample::Index),
    Pass(Duration),
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Done,
    Told(Signal),
    Denied,
    Interrupted,
    Timeout,
    Dead,
    Other,
}

/// How far a call has come. `handled`: the handlers due at this pass of the gate have run.
#[derive(Clone, Copy, Debug)]
enum At {
    Gate { handled: bool },
    Checkpoint { handled: bool },
    Tool,
    Awaiting { deadline: Duration, handled: bool },
}

#[derive(Clone, Debug)]
struct Call {
    asks: Asks,
    at: At,
    /// The handler it runs, until when, and those it ran at this pass.
    handling: Option<(Signal, Duration)>,
    ran: SignalSet,
}

/// One agent.
#[derive(Default)]
struct Model {
    now: Duration,
    closed: bool,
    stopped: bool,
    interrupted: bool,
    /// A `SIGTERM` that nobody has awaited.
    terminating: bool,
    grace: Option<Duration>,
    pending: SignalSet,
    masked: SignalSet,
    handlers: BTreeMap<Signal, Handler>,
    handling: bool,
    refusals: usize,
    raised: usize,
    delivered: [usize; 3],
}

impl Model {
    fn enforce_grace(&mut self) {
        self.closed |= self.grace.is_some_and(|ends| ends <= self.now);
    }

    fn act(&mut self, signal: Signal) {
        match signal {
            Signal::Stop | Signal::Budget | Signal::Loop | Signal::Drift => {
                self.stopped = true;
                self.pending = self.pending.without(Signal::Cont);
            }
            Signal::Cont => self.stopped = false,
            Signal::Int => self.interrupted = true,
            Signal::Term => self.terminating = true,
            Signal::Usr1 | Signal::Usr2 => {}
            Signal::Kill | Signal::Policy | Signal::Trust => self.closed = true,
        }
    }

    /// `None`: an error, that nobody is there.
    fn raise(&mut self, signal: Signal) -> Option<Raise> {
        self.enforce_grace();
        if self.closed {
            return None;
        }
        let state = |model: &Self| (model.stopped, model.interrupted, model.terminating, model.pending);
        let before = state(self);
        match signal {
            Signal::Cont => self.pending = self.pending.without(Signal::Stop),
            Signal::Stop => self.pending = self.pending.without(Signal::Cont),
            Signal::Term if self.grace.is_none() => self.grace = Some(self.now + GRACE),
            _ => {}
        }
        let handled = self.handlers.contains_key(&signal);
        let waits = self.masked.contains(signal) || handled;
        if waits {
            self.pending = self.pending.with(signal);
        }
        if signal == Signal::Cont && handled && !self.masked.contains(signal) {
            self.stopped = false;
        }
        if !waits {
            self.act(signal);
        }
        self.raised += 1;
        // The two user signals leave a file each time.
        let leaves_a_file = !waits && matches!(signal, Signal::Usr1 | Signal::Usr2);
        if before == state(self) && signal.maskable() && !leaves_a_file {
            return Some(Raise::Unchanged);
        }
        Some(if waits { Raise::Pending } else { Raise::Delivered })
    }

    /// Delivers what nothing holds back any more.
    fn release(&mut self) {
        if self.pending.contains(Signal::Cont)
            && !self.masked.contains(Signal::Cont)
            && self.handlers.contains_key(&Signal::Cont)
        {
            self.stopped = false;
        }
        let free = |signal: &Signal| !self.masked.contains(*signal) && !self.handlers.contains_key(signal);
        let due: SignalSet = self.pending.iter().filter(free).collect();
        self.pending = self.pending.minus(due);
        due.iter().for_each(|signal| self.act(signal));
        self.delivered[0] += due.iter().count();
    }

    fn due(&self, except: SignalSet) -> Option<Signal> {
        if self.closed || self.stopped || self.handling {
            return None;
        }
        let waits = |signal: &Signal| !self.masked.contains(*signal) && self.handlers.contains_key(signal);
        self.pending.minus(except).iter().find(waits)
    }

    fn take(&mut self, wanted: SignalSet) -> Option<Signal> {
        let there = |signal: &Signal| {
            let masked = self.pending.contains(*signal) && self.masked.contains(*signal);
            wanted.contains(*signal) && (masked || (*signal == Signal::Term && self.terminating))
        };
        let signal = Signal::ALL.into_iter().find(there)?;
        self.pending = self.pending.without(signal);
        self.terminating &= signal != Signal::Term;
        self.delivered[2] += 1;
        Some(signal)
    }

    fn end_handling(&mut self, signal: Signal, well: bool) {
        // SIGCONT resumed before its handler began, and what stopped the agent since was later.
        if !well && !self.closed && signal != Signal::Cont {
            self.act(signal);
        }
        self.handling = false;
    }

    /// Goes on with handlers; `false` while one of them takes its time.
    fn handle(&mut self, call: &mut Call) -> bool {
        if let Some((signal, until)) = call.handling {
            self.enforce_grace();
            if !self.closed && self.now < until {
                return false;
            }
            call.handling = None;
            self.end_handling(signal, false);
        }
        while let Some(signal) = self.due(call.ran) {
            call.ran = call.ran.with(signal);
            self.pending = self.pending.without(signal);
            self.handling = true;
            self.delivered[1] += 1;
            match self.handlers.get(&signal).copied().unwrap_or(Handler::Works) {
                Handler::Works => self.end_handling(signal, true),
                Handler::Fails | Handler::Panics => self.end_handling(signal, false),
                Handler::Hangs => {
                    call.handling = Some((signal, self.now + HANDLER_DEADLINE));
                    return false;
                }
            }
        }
        call.ran = NONE;
        true
    }

    /// Polls a call once.
    fn poll(&mut self, call: &mut Call) -> Option<End> {
        loop {
            if call.handling.is_some() || !call.ran.is_empty() {
                if !self.handle(call) {
                    return None;
                }
                if self.due(NONE).is_some() {
                    // One that was raised again while another ran: the call lets others have their turn.
                    return None;
                }
            }
            self.enforce_grace();
            if self.closed {
                return Some(End::Dead);
            }
            let handled = match &mut call.at {
                At::Tool => return None,
                At::Gate { handled } | At::Checkpoint { handled } | At::Awaiting { handled, .. } => handled,
            };
            if self.stopped {
                *handled = false;
                return None;
            }
            if !*handled && self.due(NONE).is_some() {
                *handled = true;
                if !self.handle(call) {
                    return None;
                }
                if self.due(NONE).is_some() {
                    return None;
                }
                continue;
            }
            match call.at {
                At::Tool => return None,
                At::Gate { .. } => {
                    if self.interrupted {
                        self.interrupted = false;
                        return Some(End::Interrupted);
                    }
                    call.at = At::Checkpoint { handled: false };
                    match call.asks {
                        Asks::Stops => return Some(self.refuse()),
                        Asks::Handle(signal, handler) => return Some(self.set_handler(signal, handler)),
                        _ => {}
                    }
                }
                At::Checkpoint { .. } => match call.asks {
                    Asks::Hang => call.at = At::Tool,
                    Asks::Await(_, wait) => {
                        call.at = At::Awaiting { deadline: self.now + wait, handled: false };
                    }
                    Asks::Mask(block, unblock) => {
                        self.masked = self.masked.union(block).minus(unblock);
                        self.release();
                        return Some(End::Done);
                    }
                    Asks::Exit => {
                        self.closed = true;
                        return Some(End::Done);
                    }
                    Asks::Read | Asks::Stops | Asks::Handle(..) => return Some(End::Done),
                },
                At::Awaiting { deadline, .. } => {
                    let Asks::Await(set, _) = call.asks else { panic!("{call:?}") };
                    if let Some(signal) = self.take(set) {
                        return Some(End::Told(signal));
                    }
                    call.at = At::Awaiting { deadline, handled: false };
                    return (deadline <= self.now).then_some(End::Timeout);
                }
            }
        }
    }

    fn refuse(&mut self) -> End {
        self.act(Signal::Stop);
        self.raised += 1;
        self.refusals += 1;
        if self.refusals.is_multiple_of(LOOP_AT) {
            let _ = self.raise(Signal::Loop);
        }
        End::Denied
    }

    fn set_handler(&mut self, signal: Signal, handler: Option<Handler>) -> End {
        match handler {
            Some(handler) => {
                self.handlers.insert(signal, handler);
            }
            None => {
                self.handlers.remove(&signal);
            }
        }
        self.release();
        End::Done
    }

    fn give_up(&mut self, call: &Call) {
        if let Some((signal, _)) = call.handling {
            self.end_handling(signal, false);
        }
    }

    fn state(&mut self, calls: &[Call]) -> &'static str {
        self.enforce_grace();
        let in_flight = calls.iter().any(|call| !matches!(call.at, At::Gate { .. }));
        match (self.closed, self.stopped, in_flight) {
            (true, ..) => "zombie",
            (_, true, _) => "stopped",
            (_, _, true) => "running",
            _ => "ready",
        }
    }
}

type Under = Pin<Box<dyn Future<Output = End>>>;

fn end(result: Result<End, CallError>) -> End {
    match result {
        Ok(end) => end,
        Err(CallError::Denied(_)) => End::Denied,
        Err(CallError::Interrupted) => End::Interrupted,
        Err(CallError::Timeout) => End::Timeout,
        Err(CallError::Dead(_)) => End::Dead,
        Err(_) => End::Other,
    }
}

fn make(agent: AgentHandle, asks: Asks) -> Under {
    Box::pin(async move {
        let run = move |handler: Handler| async move {
            match handler {
                Handler::Works => Ok(()),
                Handler::Fails => Err("it cannot"),
                Handler::Panics => panic!("it panics"),
                Handler::Hangs => std::future::pending().await,
            }
        };
        end(match asks {
            Asks::Read => agent.read("/mem/working").await.map(|_| End::Done),
            Asks::Hang => agent.exec("hang", json!({})).await.map(|_| End::Done),
            Asks::Stops => agent.exec("stops", json!({})).await.map(|_| End::Done),
            Asks::Await(set, wait) => {
                agent.await_signal(set, wait).await.map(|notice| End::Told(notice.signal))
            }
            Asks::Mask(block, unblock) => agent.mask(block, unblock).await.map(|()| End::Done),
            Asks::Handle(signal, Some(handler)) => {
                agent.on_signal(signal, move |_| run(handler)).await.map(|()| End::Done)
            }
            Asks::Handle(signal, None) => agent.reset_signal(signal).await.map(|()| End::Done),
            Asks::Exit => agent.exit(0, "").await.map(|()| End::Done),
        })
    })
}

fn tools() -> Registry {
    let mut tools = Registry::builder();
    for name in ["hang", "stops"] {
        let never =
            |_context: CallContext, _arguments: Value| std::future::pending::<Result<Value, ToolError>>();
        let tool = tools.tool(name).description("Never answers").effects([Effect::Write]);
        let limits = Limits { deadline: Duration::from_secs(3600), ..Limits::DEFAULT };
        tool.limits(limits).run_raw(json!({"type": "object"}), never).unwrap();
    }
    tools.build()
}

/// Half of them are the two that undo each other.
fn signals() -> impl Strategy<Value = Signal> {
    let two = prop::sample::select(vec![Signal::Stop, Signal::Cont]);
    prop_oneof![two, prop::sample::select(Signal::ALL.to_vec())]
}

fn maskable() -> impl Strategy<Value = Signal> {
    signals().prop_filter("unmaskable", |signal| signal.maskable())
}

fn sets() -> impl Strategy<Value = SignalSet> {
    prop::collection::vec(maskable(), 0..4).prop_map(|signals| signals.into_iter().collect())
}

fn steps() -> impl Strategy<Value = Step> {
    let handler = prop::sample::select(vec![Handler::Works, Handler::Fails, Handler::Panics, Handler::Hangs]);
    let millis = prop::sample::select(vec![300u64, 1000, 4000]).prop_map(Duration::from_millis);
    // Mostly those that leave the agent alive, or nothing else would be seen.
    let raised = prop_oneof![30 => maskable(), 1 => signals()];
    prop_oneof![
        8 => raised.prop_map(Step::Raise),
        4 => Just(Step::Call(Asks::Read)),
        2 => Just(Step::Call(Asks::Hang)),
        1 => Just(Step::Call(Asks::Stops)),
        3 => (sets(), millis.clone()).prop_map(|(set, wait)| Step::Call(Asks::Await(set, wait))),
        4 => (sets(), sets()).prop_map(|(block, unblock)| Step::Call(Asks::Mask(block, unblock))),
        4 => (maskable(), prop::option::weighted(0.8, handler))
            .prop_map(|(signal, handler)| Step::Call(Asks::Handle(signal, handler))),
        1 => any::<prop::sample::Index>().prop_map(Step::Drop),
        2 => millis.prop_map(Step::Pass),
    ]
    .boxed()
}

/// Most cases end with every call's end; some by the agent's own.
fn runs() -> impl Strategy<Value = Vec<Step>> {
    (prop::collection::vec(steps(), 1..40), prop::option::weighted(0.3, Just(Step::Call(Asks::Exit))))
        .prop_map(|(steps, exit)| steps.into_iter().chain(exit).collect())
}

/// The kernel and the model, side by side.
struct Pair {
    kernel: Kernel,
    agent: AgentHandle,
    clock: ManualClock,
    model: Model,
    calls: Vec<Call>,
    under: Vec<Under>,
}

impl Pair {
    fn new() -> Self {
        let clock = ManualClock::default();
        let kernel = Kernel::builder()
            .policy(Policy::from_yaml("model.yaml", POLICY).unwrap())
            .tools(tools())
            .timer(Arc::new(clock.clone()))
            .grace(GRACE)
            .build()
            .unwrap();
        let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
        Self { kernel, agent, clock, model: Model::default(), calls: Vec::new(), under: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Raise(signal) => {
                let raised = self.kernel.signal(self.agent.id(), signal, "model").ok();
                assert_eq!(raised, self.model.raise(signal), "{signal}");
            }
            Step::Call(asks) => {
                let at = At::Gate { handled: false };
                self.calls.push(Call { asks, at, handling: None, ran: NONE });
                self.under.push(make(self.agent.clone(), asks));
            }
            Step::Drop(which) if !self.calls.is_empty() => {
                let which = which.index(self.calls.len());
                self.model.give_up(&self.calls.remove(which));
                drop(self.under.remove(which));
            }
            Step::Drop(_) => {}
            Step::Pass(time) => {
                self.clock.advance(time);
                self.model.now += time;
            }
        }
        self.compare_states();
        self.poll_all();
        self.compare_states();
    }

    fn compare_states(&mut self) {
        let state = match self.kernel.agent(self.agent.id()).unwrap() {
            AgentState::Ready => "ready",
            AgentState::Running => "running",
            AgentState::Stopped { .. } => "stopped",
            AgentState::Zombie(_) => "zombie",
            other => panic!("{other:?}"),
        };
        assert_eq!(state, self.model.state(&self.calls));
    }

    /// Polls every call once, oldest first.
    fn poll_all(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let mut at = 0;
        while let (Some(call), Some(under)) = (self.calls.get_mut(at), self.under.get_mut(at)) {
            let expected = self.model.poll(call);
            let found = match under.as_mut().poll(&mut context) {
                Poll::Ready(end) => Some(end),
                Poll::Pending => None,
            };
            assert_eq!(found, expected, "{call:?}");
            if found.is_some() {
                self.calls.remove(at);
                drop(self.under.remove(at));
            } else {
                at += 1;
            }
        }
    }

    /// Every raise and every delivery is on record, once.
    fn compare_records(&self) {
        let (mut raised, mut delivered) = (0, [0; 3]);
        for stored in self.kernel.recorder().events(0).map(Result::unwrap) {
            match stored.event().unwrap().body {
                Body::Signal { reason, .. } if !reason.starts_with("the grace period") => raised += 1,
                Body::Delivered { to: Delivery::Default, .. } => delivered[0] += 1,
                Body::Delivered { to: Delivery::Handler, .. } => delivered[1] += 1,
                Body::Delivered { to: Delivery::Awaited, .. } => delivered[2] += 1,
                _ => {}
            }
        }
        assert_eq!((raised, delivered), (self.model.raised, self.model.delivered));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn signals_do_to_an_agent_what_the_model_says(steps in runs()) {
        let mut pair = Pair::new();
        for step in steps {
            pair.take(step);
        }
        pair.compare_records();
    }
}
