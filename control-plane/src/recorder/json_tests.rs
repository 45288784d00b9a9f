//! Every event there is, written and read again, and on one line.

use agent_primitives::{Digest, LabelSet, TicketId, Timestamp, Verdict};
use agent_tool_registry::{ArgumentRole, EffectSet};
use serde::Deserialize;
use serde::de::value::Error;
use serde::de::{Deserializer, Visitor};

use super::super::export::{Format, export};
use super::super::{
    Actor, ApprovalStep, Deed, Delivery, EVENT_VERSION, FlightRecorder, HandlerStep, Hold, Source, Used,
};
use super::*;
use crate::vfs::OpenFlags;

/// A text that would begin a line of its own, end a string, or steer a terminal.
const NASTY: &str = "x\n{\"seq\":99}\u{2028}\r\u{1b}[31m\"";

fn requests() -> Vec<Request<'static>> {
    let digest = Digest::ZERO;
    vec![
        Request::Read {
            path: NASTY,
            descriptor: Some(3),
            offset: Some(1),
            length: 2,
            nonblock: true,
            query: Some((NASTY, 4)),
        },
        Request::Write {
            path: NASTY,
            mode: "append",
            descriptor: None,
            offset: None,
            expected: Some(u128::MAX),
            bytes: 1,
            digest,
            ttl: Some(7),
        },
        Request::Open { path: NASTY, flags: OpenFlags::default() },
        Request::Close { descriptor: 3 },
        Request::Exec {
            tool: NASTY,
            contract: digest,
            effects: EffectSet::default(),
            arguments: br#"{"text":"x\n{\"seq\":99}"}"#,
            deadline: Some(u64::MAX),
        },
        Request::Signal { to: NASTY, signal: 15, reason: NASTY },
        Request::Mask { block: 1, unblock: 2 },
        Request::Await { set: 1, deadline: 5 },
        Request::Exit { code: -1, message: NASTY },
        Request::ExecRedacted {
            tool: NASTY,
            contract: digest,
            effects: EffectSet::default(),
            arguments: b"not json\n",
            digest,
            redacted: vec!["/a", NASTY],
            deadline: None,
        },
    ]
}

fn decision() -> Decided<'static> {
    Decided {
        verdict: Verdict::Ask,
        rules: vec!["r1", NASTY],
        policy: Digest::ZERO,
        generation: 1,
        labels: LabelSet::EMPTY,
        arguments: vec![(NASTY, ArgumentRole::Content, LabelSet::EMPTY)],
        reason: Some("CODE"),
        mode: NASTY,
        budgets: Vec::new(),
    }
}

fn bodies() -> Vec<Body<'static>> {
    let (decision, ticket, labels) = (decision(), TicketId::from_bytes([7; 16]), LabelSet::EMPTY);
    let one = || requests().remove(0);
    let mut bodies = vec![
        Body::Boot { policy: Digest::ZERO, document: b"{}" },
        Body::Spawn {
            facts: b"{}",
            tenant: NASTY,
            labels: labels.clone(),
            under: 1,
            task: b"{}",
            dry_run: true,
        },
        Body::Refused { request: one(), decision: decision.clone() },
        Body::Rejected { syscall: 5, what: NASTY, code: "CODE", error: NASTY },
        Body::Question { request: one(), decision: decision.clone() },
        Body::Outcome {
            outcome: Outcome::Done { result: Digest::ZERO, bytes: 1, labels: labels.clone() },
            micros: 3,
        },
        Body::Outcome { outcome: Outcome::Failed { code: "CODE", error: NASTY }, micros: 3 },
        Body::Outcome { outcome: Outcome::Cancelled, micros: 3 },
        Body::Outcome { outcome: Outcome::Simulated, micros: 3 },
        Body::Signal { signal: 99, from: Actor::Agent(NASTY), reason: NASTY, delivered: true },
        Body::Exit { status: NASTY },
        Body::Panic { reason: NASTY },
        Body::Shutdown,
        Body::Recovered { dropped_bytes: 1 },
        Body::Declassified { labels: labels.clone(), by: NASTY, reason: NASTY },
        Body::Host { action: NASTY },
        Body::Held { request: one(), decision: decision.clone(), ticket },
        Body::Approval { ticket, step: ApprovalStep::Asked, by: NASTY, binding: Digest::ZERO, reason: NASTY },
        Body::Budget { account: NASTY, resource: NASTY, used: 1, limit: 2, exhausted: false },
        Body::Repeated { syscall: 5, what: NASTY, of: 3, code: "CODE" },
        Body::Reload { generation: 2, policy: Digest::ZERO, document: b"{}", forced: true },
        Body::Delivered {
            signal: 15,
            to: Delivery::Default,
            from: Actor::Host,
            reason: NASTY,
            raised: Timestamp::from_micros(1),
            labels,
        },
        Body::Handler { signal: 15, step: HandlerStep::Failed, reason: NASTY },
        Body::Impaired { part: NASTY, reason: NASTY },
        Body::Mended { part: NASTY },
        Body::Child { parent: NASTY, parent_generation: 1, program: NASTY },
        Body::Checkpoint { file: NASTY, digest: Digest::ZERO, bytes: 1 },
        Body::Diagnostics { file: NASTY, bytes: 1 },
        Body::NotTaken { signal: 6, error: NASTY },
        Body::Restored { checkpoint: Digest::ZERO, files: 2, lost: 3 },
        Body::Ran { level: NASTY, guarantees: vec![NASTY], usage: Used { cpu: Some(1), ..Used::default() } },
        Body::Ordered { order: NASTY, held: vec![Hold { level: NASTY, held: NASTY, programs: 1 }] },
        Body::Judged {
            request: one(),
            decision: decision.clone(),
            facts: b"{}",
            tenant: NASTY,
            past: Some(vec![Deed {
                time: Timestamp::from_micros(1),
                call: 5,
                object: NASTY,
                arguments: b"{}",
            }]),
        },
    ];
    bodies.extend(requests().into_iter().map(|request| Body::Intent {
        request,
        decision: decision.clone(),
        ticket: Some(ticket),
    }));
    bodies
}

fn event(body: Body<'static>) -> Event<'static> {
    let time = Timestamp::from_micros(1);
    Event { version: EVENT_VERSION, time, agent: "w", generation: 3, call: 7, prev: Digest::ZERO, body }
}

/// Asks a type which variants it has.
struct Variants<'v>(&'v mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Variants<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("only asking"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = variants;
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Which variant a value is, by the first byte of its encoding.
fn number(value: &impl serde::Serialize) -> usize {
    usize::from(postcard::to_stdvec(value).unwrap()[0])
}

fn assert_all<'de, T: Deserialize<'de>>(present: impl Iterator<Item = usize>) {
    let mut variants: &[&str] = &[];
    assert!(T::deserialize(Variants(&mut variants)).is_err());
    let present: std::collections::BTreeSet<usize> = present.collect();
    let missing: Vec<_> = (0..variants.len()).filter(|number| !present.contains(number)).collect();
    let missing: Vec<&str> = missing.into_iter().map(|number| variants[number]).collect();
    assert!(!variants.is_empty() && missing.is_empty(), "no example of {missing:?}");
}

#[test]
fn every_event_survives_its_encoding_and_exports_on_one_line() {
    let bodies = bodies();
    assert_all::<Body<'_>>(bodies.iter().map(number));
    assert_all::<Request<'_>>(requests().iter().map(number));
    for body in bodies {
        let event = event(body);
        let bytes = postcard::to_stdvec(&event).unwrap();
        assert_eq!(postcard::from_bytes::<Event<'_>>(&bytes).unwrap(), event);
        let line = event.to_json();
        let text = line.to_string();
        assert!(!text.contains(['\n', '\r', '\u{1b}']), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), line);
        assert_eq!((&line["kind"], &line["agent"]), (&event.kind().into(), &"w".into()));
    }
}

/// What the JSON schema of CloudEvents 1.0 demands of an event, and the rules of the text on names.
const CLOUD_EVENT: &str = r##"{
    "type": "object",
    "required": ["id", "source", "specversion", "type"],
    "properties": {
        "id": { "type": "string", "minLength": 1 },
        "source": { "type": "string", "format": "uri-reference", "minLength": 1 },
        "specversion": { "const": "1.0" },
        "type": { "type": "string", "minLength": 1 },
        "datacontenttype": { "type": "string", "minLength": 1 },
        "dataschema": { "type": "string", "format": "uri", "minLength": 1 },
        "subject": { "type": "string", "minLength": 1 },
        "time": { "type": "string", "format": "date-time", "minLength": 1 },
        "data_base64": false
    },
    "propertyNames": { "pattern": "^[a-z0-9]{1,20}$" }
}"##;

#[test]
fn every_event_is_a_cloud_event() {
    let recorder = FlightRecorder::memory().unwrap();
    for (number, body) in bodies().into_iter().enumerate() {
        let agent = if number % 2 == 0 { "w" } else { "" };
        let source = Source { agent, generation: 1, trail: None };
        recorder.append(Timestamp::from_micros(1), source, 7, body).unwrap();
    }
    let schema: Value = serde_json::from_str(CLOUD_EVENT).unwrap();
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let mut out = Vec::new();
    let format = Format::CloudEvents { source: "https://example.com/recorders/1".to_owned() };
    let written = export(recorder.events(0), &format, &mut out, |_| {}).unwrap();
    let lines: Vec<Value> = std::str::from_utf8(&out)
        .unwrap()
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((lines.len() as u64, written), (recorder.head().count, recorder.head().count));
    let mut ids = std::collections::BTreeSet::new();
    for line in &lines {
        let errors: Vec<String> = schema.iter_errors(line).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{line}: {errors:?}");
        assert!(ids.insert(line["id"].to_string()), "{line}");
        assert_eq!(line["type"], format!("agent-os.recorder.{}", line["data"]["kind"].as_str().unwrap()));
        assert_eq!(line.get("subject").is_some(), line["data"]["agent"] != "");
    }
    let mut broken = lines[0].clone();
    broken["time"] = "yesterday".into();
    assert!(!schema.is_valid(&broken), "formats are looked at");
}
