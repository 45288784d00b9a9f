//! The bytes of every kind of event, pinned. A recording outlives the program that wrote it: a field that moves, a variant
//! in the middle, another number of a signal must not pass unseen. When the encoding changes on purpose, `EVENT_VERSION`
//! goes up and `testdata/events.txt` is written anew from what the test prints.

use std::fmt::Write as _;

use agent_primitives::Resource;
use agent_tool_registry::{Effect, EffectSet};

use super::*;
use crate::budget::Level;
use crate::vfs::OpenFlags;

fn labels(names: &[&str]) -> LabelSet {
    LabelSet::new(names.iter().map(|name| name.parse().unwrap())).unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of("agent-os test v1", text.as_bytes())
}

fn decision() -> Decided<'static> {
    Decided {
        verdict: Verdict::Ask,
        rules: vec!["r1", "r2"],
        policy: digest("policy"),
        generation: 300,
        labels: labels(&["secret"]),
        arguments: vec![
            ("to", ArgumentRole::Authority, LabelSet::EMPTY),
            ("text", ArgumentRole::Content, labels(&["secret"])),
            ("x", ArgumentRole::Undeclared, LabelSet::EMPTY),
        ],
        reason: Some("a code"),
        mode: "incident",
        budgets: vec![BudgetState { level: Level::Tenant, resource: Resource::Calls, limit: 5, used: 4 }],
    }
}

fn requests() -> Vec<Request<'static>> {
    let arguments = br#"{"a":1}"#;
    let (contract, effects) = (digest("contract"), EffectSet::from_iter([Effect::Read, Effect::Write]));
    vec![
        Request::Read {
            path: "/mem/a",
            descriptor: Some(3),
            offset: None,
            length: 4096,
            nonblock: true,
            query: Some(("blue whale", 5)),
        },
        Request::Write {
            path: "/mem/a",
            mode: "replace",
            descriptor: None,
            offset: Some(7),
            expected: Some(1 << 100),
            bytes: 3,
            digest: digest("bytes"),
            ttl: Some(60_000_000),
        },
        Request::Open {
            path: "/mem/a",
            flags: OpenFlags { read: true, create: true, ..OpenFlags::default() },
        },
        Request::Close { descriptor: 3 },
        Request::Exec { tool: "echo", contract, effects, arguments, deadline: Some(1_000_000) },
        Request::Signal { to: "b", signal: 15, reason: "done" },
        Request::Mask { block: 0x8000, unblock: 1 },
        Request::Await { set: 2, deadline: 5 },
        Request::Exit { code: -1, message: "bye" },
        Request::ExecRedacted {
            tool: "echo",
            contract,
            effects,
            arguments,
            digest: digest("arguments"),
            redacted: vec!["/a", "/b/0"],
            deadline: None,
        },
    ]
}

fn request() -> Request<'static> {
    Request::Close { descriptor: 3 }
}

fn outcomes() -> Vec<Outcome<'static>> {
    vec![
        Outcome::Done { result: digest("result"), bytes: 12, labels: labels(&["secret"]) },
        Outcome::Failed { code: "a code", error: "no such file" },
        Outcome::Cancelled,
        Outcome::Simulated,
    ]
}

/// One of each variant in its order, and more where what is in it has variants of its own.
fn bodies() -> Vec<Body<'static>> {
    let arguments = br#"{"a":1}"#;
    let (policy, document) = (digest("policy"), br#"{"v":1}"#.as_slice());
    let ticket = TicketId::from_bytes([7; 16]);
    let mut bodies = vec![
        Body::Boot { policy, document },
        Body::Spawn {
            facts: b"{}",
            tenant: "t",
            labels: labels(&["a", "b"]),
            under: 1,
            task: b"",
            dry_run: true,
        },
    ];
    let intents = requests().into_iter();
    bodies.extend(intents.map(|request| Body::Intent {
        request,
        decision: decision(),
        ticket: Some(ticket),
    }));
    bodies.extend([
        Body::Refused { request: request(), decision: decision() },
        Body::Rejected { syscall: 5, what: "exec", code: "a code", error: "no call" },
        Body::Question { request: request(), decision: decision() },
    ]);
    bodies.extend(outcomes().into_iter().map(|outcome| Body::Outcome { outcome, micros: 250 }));
    let from = [Actor::Host, Actor::Kernel, Actor::Agent("b")];
    bodies.extend(from.map(|from| Body::Signal { signal: 9, from, reason: "why", delivered: true }));
    bodies.extend([
        Body::Exit { status: "exit code 0" },
        Body::Panic { reason: "the disk" },
        Body::Shutdown,
        Body::Recovered { dropped_bytes: 1 << 40 },
        Body::Declassified { labels: labels(&["secret"]), by: "ann", reason: "public now" },
        Body::Host { action: "told" },
        Body::Held { request: request(), decision: decision(), ticket },
    ]);
    let steps = [
        ApprovalStep::Asked,
        ApprovalStep::Granted,
        ApprovalStep::Refused,
        ApprovalStep::Expired,
        ApprovalStep::Revoked,
        ApprovalStep::Used,
    ];
    let binding = digest("binding");
    bodies.extend(steps.map(|step| Body::Approval { ticket, step, by: "ann", binding, reason: "once" }));
    bodies.extend([
        Body::Budget { account: "tenant:t", resource: "calls", used: 4, limit: 5, exhausted: false },
        Body::Repeated { syscall: 5, what: "echo", of: 9, code: "a code" },
        Body::Reload { generation: 2, policy, document, forced: true },
    ]);
    let (labels, raised) = (labels(&["secret"]), Timestamp::from_micros(1));
    let delivered = |to| Body::Delivered {
        signal: 10,
        to,
        from: Actor::Agent("b"),
        reason: "why",
        raised,
        labels: labels.clone(),
    };
    bodies.extend([Delivery::Default, Delivery::Handler, Delivery::Awaited].map(delivered));
    let steps = [
        HandlerStep::Registered,
        HandlerStep::Removed,
        HandlerStep::Done,
        HandlerStep::Failed,
        HandlerStep::Panicked,
        HandlerStep::Overran,
        HandlerStep::Abandoned,
    ];
    bodies.extend(steps.map(|step| Body::Handler { signal: 10, step, reason: "why" }));
    let deed = Deed { time: raised, call: 5, object: "echo", arguments };
    let (request, decision, facts) = (request(), decision(), b"{}");
    bodies.push(Body::Judged { request, decision, facts, tenant: "t", past: Some(vec![deed]) });
    let digest = digest("checkpoint");
    bodies.extend([
        Body::Impaired { part: "approvals", reason: "the disk" },
        Body::Mended { part: "approvals" },
        Body::Child { parent: "w", parent_generation: 2, program: "clerk" },
        Body::Checkpoint { file: "/state/checkpoints/a.json", digest, bytes: 12 },
        Body::Diagnostics { file: "/state/diagnostics/a.json", bytes: 12 },
        Body::NotTaken { signal: 6, error: "no space" },
        Body::Restored { checkpoint: digest, files: 3, lost: 1 },
        Body::Ran {
            level: "process",
            guarantees: vec!["no_network", "hard_stop"],
            usage: Used { cpu: Some(250), peak_memory: Some(1 << 20), peak_processes: Some(2), fuel: None },
        },
        Body::Ordered { order: "stop", held: vec![Hold { level: "process", held: "hard", programs: 3 }] },
    ]);
    bodies
}

fn event(body: Body<'_>) -> Event<'_> {
    let time = Timestamp::from_micros(1_700_000_000_000_000);
    Event {
        version: EVENT_VERSION,
        time,
        agent: "w",
        generation: 3,
        call: 70_000,
        prev: digest("before"),
        body,
    }
}

#[test]
fn every_event_survives_its_encoding_and_its_bytes_are_pinned() {
    let mut lines = String::new();
    for body in bodies() {
        let event = event(body);
        let bytes = postcard::to_stdvec(&event).unwrap();
        assert_eq!(postcard::from_bytes::<Event<'_>>(&bytes).unwrap(), event);
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let _ = writeln!(lines, "{} {hex}", event.kind());
    }
    let pinned = include_str!("../../../testdata/events.txt");
    let changed = lines.lines().zip(pinned.lines()).find(|(found, wanted)| found != wanted);
    assert!(lines == pinned, "first change: {changed:?}\n{lines}");
}

/// How many variants `T` has: the first number that it does not know.
fn variants<'a, T: Deserialize<'a>>() -> usize {
    const NUMBERS: [[u8; 1]; 64] = {
        let mut numbers = [[0]; 64];
        let mut at = 0;
        while at < 64 {
            numbers[at] = [at as u8];
            at += 1;
        }
        numbers
    };
    let unknown = |number: &'static [u8; 1]| {
        matches!(postcard::from_bytes::<T>(number), Err(postcard::Error::SerdeDeCustom))
    };
    NUMBERS.iter().position(unknown).unwrap()
}

#[test]
fn no_kind_of_event_is_left_out() {
    let first_byte = |body: &Body<'_>| postcard::to_stdvec(body).unwrap()[0];
    let mut numbers: Vec<u8> = bodies().iter().map(first_byte).collect();
    numbers.dedup();
    assert_eq!(numbers, (0..numbers.len() as u8).collect::<Vec<_>>(), "in the order of their numbers");
    assert_eq!(
        numbers.len(),
        variants::<Body<'static>>(),
        "add the new body to `bodies` and its line to the pinned ones"
    );
    let mut kinds: Vec<&str> = bodies().into_iter().map(|body| event(body).kind()).collect();
    kinds.dedup();
    assert_eq!(kinds, Event::KINDS);
    assert_eq!(requests().len(), variants::<Request<'static>>(), "add the new request to `requests`");
    assert_eq!(outcomes().len(), variants::<Outcome<'static>>(), "add the new outcome to `outcomes`");
    let inner = [variants::<ApprovalStep>(), variants::<Delivery>(), variants::<HandlerStep>()];
    assert_eq!(inner, [6, 3, 7], "add the new step to `bodies`");
}

#[test]
fn the_chains_know_events_by_these_numbers() {
    let number = |kind: &str| {
        let all = bodies();
        let body = all.iter().find(|body| event((*body).clone()).kind() == kind).unwrap();
        postcard::to_stdvec(body).unwrap()[0]
    };
    assert_eq!([number("boot"), number("spawn"), number("recovered"), number("approval")], [0, 1, 11, 15]);
}
