//! What must not be stored is nowhere in what is stored.

use std::path::Path;

use agent_control_plane::atr::{Arguments, Effect, Registry, ToolError};
use agent_control_plane::call::{RawArguments, Syscall};
use agent_control_plane::policy::simulate::{self, Cause};
use agent_control_plane::recorder::redact::{Kind, MAX_PLACES};
use agent_control_plane::recorder::{Body, Recording, Redaction, Request, replay_recorded};
use agent_control_plane::{AgentSpec, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};

use crate::host::Host;

/// A kernel with one tool, which takes whatever it is given.
fn open_minded(recorder: FlightRecorder) -> Kernel {
    let mut tools = Registry::builder();
    tools
        .tool("note")
        .description("Takes anything")
        .effects([Effect::Write])
        .run_raw(json!({"type": "object", "additionalProperties": true}), |_, _| async {
            Ok::<_, ToolError>(Value::Null)
        })
        .unwrap();
    let policy = Policy::from_yaml("p.yaml", POLICY).unwrap();
    Kernel::builder().policy(policy).tools(tools.build()).recorder(recorder).build().unwrap()
}

const POLICY: &str = r#"
version: 1
name: redacted
on_violation: deny
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["*"] }
  - { id: soft, effect: deny, calls: [exec], tools: ["s?ft"] }
  - { id: files, effect: allow, calls: [read, write, open], paths: ["/**"] }
"#;

const CARD: &str = "4111111111111111";
const PHRASE: &str = "correct horse battery staple";

fn bytes(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    files.flatten().collect()
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

fn recorder(folder: &Path, redaction: Redaction) -> FlightRecorder {
    FlightRecorder::open(folder).unwrap().redacting(redaction)
}

/// The arguments on record of one tool, and where something was taken out of them.
fn kept(folder: &Path, of: &str) -> Vec<(Value, Vec<String>)> {
    let events = Recording::open(folder).unwrap().events(0).unwrap().map(Result::unwrap);
    events
        .filter_map(|stored| match stored.event().unwrap().judged()?.0 {
            Request::ExecRedacted { tool, arguments, redacted, .. } if *tool == of => {
                let places = redacted.iter().map(|place| (*place).to_owned()).collect();
                Some((serde_json::from_slice(arguments).unwrap(), places))
            }
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_place_that_is_redacted_is_nowhere_in_the_files_and_its_digest_is() {
    let folder = tempfile::tempdir().unwrap();
    let redaction = Redaction::new().argument("e*", "/text").unwrap().argument("fails", "/text").unwrap();
    let redaction = redaction.argument("soft", "").unwrap();
    let host = Host::with(POLICY, recorder(folder.path(), redaction));
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    assert_eq!(agent.exec("echo", json!({"text": PHRASE})).await.unwrap(), PHRASE, "the tool gets all of it");
    for _ in 0..6 {
        drop(agent.exec("fails", json!({"text": PHRASE})).await);
        // Refused before it was judged; the error says what it found.
        drop(agent.exec("fails", json!({"text": [PHRASE]})).await);
        drop(host.kernel.signal(agent.id(), agent_control_plane::primitives::Signal::Cont, "go on"));
    }
    drop(agent.exec("soft", json!({"text": PHRASE})).await);
    let exec = |tool: &str| {
        let arguments = RawArguments::Value(json!({"text": PHRASE}));
        Syscall::Exec { tool: tool.to_owned(), arguments, deadline: None }
    };
    drop(agent.check(exec("echo")).await);
    let trail = agent.read("/audit/events.jsonl").await.unwrap();
    assert!(!holds(&trail, PHRASE), "the agent's own trail is the same");
    assert!(holds(&trail, "ExecRedacted") || holds(&trail, "[REDACTED]"));
    host.kernel.recorder().close().unwrap();

    assert!(!holds(&bytes(folder.path()), PHRASE));
    let echoed = (json!({"text": "[REDACTED]"}), vec!["/text".to_owned()]);
    assert_eq!(kept(folder.path(), "echo"), [echoed.clone(), echoed], "the call, and the question about it");
    assert_eq!(kept(folder.path(), "soft"), [(json!("[REDACTED]"), vec![String::new()])]);
    let events = Recording::open(folder.path()).unwrap().events(0).unwrap().map(Result::unwrap);
    let digests: Vec<_> = events
        .filter_map(|stored| match stored.event().unwrap().body {
            Body::Intent { request: Request::ExecRedacted { tool: "echo", digest, .. }, .. } => Some(digest),
            _ => None,
        })
        .collect();
    assert_eq!(digests, [Arguments::from_value(json!({"text": PHRASE})).unwrap().digest()]);
}

#[tokio::test]
async fn what_detectors_know_is_taken_out_of_arguments_paths_and_texts() {
    let folder = tempfile::tempdir().unwrap();
    let redaction = Redaction::new().secrets().detect([Kind::Card, Kind::Key, Kind::Jwt]);
    let kernel = open_minded(recorder(folder.path(), redaction));
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    let key = "sk-abcdefghij0123456789abcd";
    let encoded = "NDExMTExMTExMTExMTExMQ==";
    for arguments in [
        json!({"text": format!("pay with {CARD} now")}),
        json!({"text": "x", "deep": [{"password": PHRASE, "n": 7}]}),
        json!({"text": "x", "number": 4_111_111_111_111_111_u64}),
        json!({"text": encoded}),
        json!({"text": "x", "map": {CARD: "as a key"}}),
        json!({"text": "x", key: "at the top"}),
        json!({"text": "nothing to see"}),
    ] {
        agent.exec("note", arguments).await.unwrap();
    }
    drop(agent.read(&format!("/mem/working/{key}")).await);
    drop(agent.exec(&format!("tool {CARD}"), json!({})).await);
    kernel.signal(agent.id(), agent_control_plane::primitives::Signal::Cont, CARD).unwrap();
    drop(agent.exit(0, &format!("goodbye {key}")).await);
    kernel.recorder().close().unwrap();

    let bytes = bytes(folder.path());
    for secret in [CARD, key, PHRASE, encoded, "as a key", "at the top"] {
        assert!(!holds(&bytes, secret), "{secret} is in the files");
    }
    assert!(holds(&bytes, "nothing to see") && holds(&bytes, "pay with [REDACTED] now"));
    let kept = kept(folder.path(), "note");
    let places: Vec<_> = kept.iter().map(|(_, places)| places.join(" ")).collect();
    assert_eq!(places, ["/text", "/deep/0/password", "/number", "/text", "/map", ""]);
    assert_eq!(kept[1].0, json!({"text": "x", "deep": [{"password": "[REDACTED]", "n": 7}]}));

    // What cannot be made again is said to be so, call by call.
    let events = || Recording::open(folder.path()).unwrap().events(0).unwrap();
    let replay = replay_recorded(events()).unwrap();
    assert_eq!(replay.not_judged_by[&Cause::Redacted], 7, "six calls, and the path");
    assert!(replay.changed.is_empty() && !replay.is_exact());
    let simulation = simulate::run(events(), &kernel.policy()).unwrap();
    assert_eq!((simulation.judged, simulation.flips.len(), simulation.not_judged.len()), (1, 0, 7));
}

/// Adds up what may have been taken out.
const SUMS: &str = r#"
version: 1
name: sums
on_violation: deny
rules:
  - { id: tools, effect: allow, calls: [exec], tools: ["*"] }
  - { id: files, effect: allow, calls: [read], paths: ["/**"] }
  - { id: much, effect: deny, calls: [exec], tools: ["*"], when: { sum: { of: args.n, tools: ["*"], gt: 100 } } }
"#;

#[tokio::test]
async fn a_past_with_a_number_taken_out_is_not_judged_by_and_one_with_a_text_is() {
    let by = Policy::from_yaml("p.yaml", SUMS).unwrap().into();
    let key = "key sk-abcdefghij0123456789";
    for (rules, not_judged) in [
        (Redaction::new().argument("note", "/n").unwrap(), 2),
        (Redaction::new().argument("note", "").unwrap(), 2),
        (Redaction::new().secrets(), 1),
    ] {
        let kernel = open_minded(FlightRecorder::memory().unwrap().redacting(rules.clone()));
        let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
        agent.exec("note", json!({"text": key, "n": 90})).await.unwrap();
        drop(agent.read("/policy/active.json").await);
        let simulation = simulate::run(kernel.recorder().events(0), &by).unwrap();
        assert_eq!(simulation.not_judged.len(), not_judged, "{rules:?}: {simulation:?}");
    }
}

#[tokio::test]
async fn a_recorder_without_rules_keeps_everything() {
    let kernel = open_minded(FlightRecorder::memory().unwrap());
    let agent = kernel.spawn(AgentSpec::new("a")).unwrap();
    agent.exec("note", json!({"text": CARD, "password": PHRASE})).await.unwrap();
    let kept = kernel.recorder().events(0).map(Result::unwrap).any(|stored| {
        matches!(stored.event().unwrap().body, Body::Intent { request: Request::Exec { arguments, .. }, .. }
            if holds(arguments, CARD) && holds(arguments, PHRASE))
    });
    assert!(kept);
}

#[test]
fn a_rule_that_is_none_is_refused() {
    let place = |tools: &str, at: &str| Redaction::new().argument(tools, at).unwrap_err().code();
    assert_eq!((place("[", "/a"), place("a", "text")), ("AK0850", "AK0851"));
    let full = (0..MAX_PLACES).try_fold(Redaction::new(), |rules, n| rules.argument("t", &format!("/{n}")));
    assert_eq!(full.unwrap().argument("t", "/x").unwrap_err().code(), "AK0852");
}
