//! Lines of JSON, out and in.

use emk::memory::EpisodicMemory;
use emk::memory::sleep::{Medoid, SleepPolicy};
use emk::memory::transfer::import_ledger;
use emk::{EntryKind, Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, Sealing};

use crate::{
    assert_same, at, clock, days, episode, id, ledger_in, ledger_in_memory, memory, open, put, success,
};

/// A memory with everything in it that a ledger can have.
fn filled(ledger: Ledger) -> EpisodicMemory {
    let kept = open(ledger);
    put(&kept, success(1, "call the billing api \"quoted\" ünïcode"));
    put(&kept, success(2, "call the billing api twice \"quoted\" ünïcode"));
    let gone = put(&kept, episode(3, "erased later"));
    let hidden = put(&kept, episode(4, "hidden later"));
    kept.ledger().append(EntryKind::Event, b"\x00\xff no JSON").unwrap();
    kept.apply(&kept.plan(&SleepPolicy::default(), at(900), |_| {}).unwrap(), &Medoid, |_| {}).unwrap();
    kept.redact(gone, "asked to").unwrap();
    kept.quarantine(hidden, "poisoned").unwrap();
    kept
}

/// A ledger with a seal after every third record.
fn sealed() -> Ledger {
    let sealing = Sealing::new(clock()).every(3, days(1));
    let store = MemoryStore::new(id(), MemoryLimits::default());
    Ledger::open_sealed(store, LedgerOptions::default(), sealing).unwrap()
}

fn exported(memory: &EpisodicMemory) -> String {
    let mut out = Vec::new();
    let exported = memory.export(&mut out, |_| {}).unwrap();
    assert_eq!(exported.head, memory.ledger().head());
    String::from_utf8(out).unwrap()
}

#[test]
fn an_import_has_the_head_of_what_was_exported() {
    let kept = filled(sealed());
    assert!(kept.ledger().read(0).any(|entry| entry.unwrap().kind == EntryKind::Checkpoint));
    let text = exported(&kept);
    let dir = tempfile::tempdir().unwrap();
    for ledger in [ledger_in_memory(), ledger_in(dir.path())] {
        let mut heard = Vec::new();
        let imported = import_ledger(&ledger, text.as_bytes(), |count| heard.push(count)).unwrap();
        assert_eq!((imported.head, imported.erased), (kept.ledger().head(), 1));
        assert_eq!(heard.last(), Some(&imported.records));
        let copy = open(ledger);
        assert_same(&kept, &copy);
        assert_eq!(exported(&copy), text);
        copy.verify(Some(kept.ledger().head()), |_| {}).unwrap();
    }
}

#[test]
fn every_change_to_an_export_is_found_with_its_line() {
    let text = exported(&filled(ledger_in_memory()));
    let lines: Vec<&str> = text.lines().collect();
    let without = |index: usize| [&lines[..index], &lines[index + 1..]].concat().join("\n");
    let changed = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let last = lines.len() as u64;
    let cases = [
        (String::new(), 1, "ends early"),
        (without(0), 1, "`body` cannot be used: it is not known here"),
        (without(2), 3, "`seq` cannot be used: the next record is 1"),
        (without(lines.len() - 1), last, "ends early"),
        (changed("quoted", "forged"), last, "lead to the head"),
        (changed("\"seq\":1", "\"seq\":1,\"more\":1"), 3, "`more` cannot be used"),
        (changed("\"kind\":\"episode\"", "\"kind\":\"event\""), last, "lead to the head"),
        (changed("\"importance\":50", "\"importance\":101"), 2, "an importance lies within"),
        (changed("\"erased\":true", "\"erased\":false"), 4, "`erased` cannot be used"),
        (changed("\"ledger\":\"agent-1\"", "\"ledger\":\"agent-2\""), 1, "`ledger` cannot be used"),
        (changed("\"emk_export\":1", "\"emk_export\":2"), 1, "`emk_export` cannot be used"),
        (changed("{\"body\"", "{\"body\":"), 2, "no object of JSON"),
        (format!("{text}{{}}\n"), last + 1, "more lines follow"),
        (text.trim_end().to_owned() + " x", last, "no object of JSON"),
    ];
    for (text, line, expected) in cases {
        let error = import_ledger(&ledger_in_memory(), text.as_bytes(), |_| {}).unwrap_err();
        assert!(error.line == line && error.to_string().contains(expected), "{error}, not {line} {expected}");
        assert!(error.imported <= line, "{error}");
    }
    let sealing = import_ledger(&sealed(), text.as_bytes(), |_| {}).unwrap_err();
    assert!(sealing.line == 1 && sealing.to_string().contains("seal itself"), "{sealing}");
    let full = ledger_in_memory();
    full.append(EntryKind::Event, b"x").unwrap();
    assert_eq!(import_ledger(&full, text.as_bytes(), |_| {}).unwrap_err().code(), "AK0729");
    let name = LedgerId::new("another").unwrap();
    let other =
        Ledger::open(MemoryStore::new(name, MemoryLimits::default()), LedgerOptions::default()).unwrap();
    assert_eq!(import_ledger(&other, text.as_bytes(), |_| {}).unwrap_err().line, 1);
}

#[test]
fn lines_of_the_older_form_are_read_strictly() {
    let line = |rest: &str| format!(r#"{{"goal":"g","action":"a","result":"r","reflection":"x"{rest}}}"#);
    let text = [
        line(""),
        line(r#","episode_id":"abc","timestamp":"2026-01-21T21:49:00+01:00""#),
        line(r#","metadata":{"is_failure":true,"failure_reason":"silent","k":[1]}"#),
        line(""),
        String::new(),
    ]
    .join("\n");
    let kept = memory();
    let agent = "agent-1".parse().unwrap();
    let mut heard = Vec::new();
    let imported = kept.import_upstream(text.as_bytes(), &agent, at(5), |count| heard.push(count)).unwrap();
    assert_eq!((imported.episodes, imported.duplicates, heard), (3, 1, vec![4]));
    let second = kept.get(1).unwrap().unwrap();
    assert_eq!(second.metadata()["legacy_id"], "abc");
    assert_eq!(second.timestamp().to_string(), "2026-01-21T20:49:00.000000Z");
    let third = kept.get(2).unwrap().unwrap();
    assert_eq!(third.failure().unwrap().reason, "silent");
    assert_eq!(third.metadata()["k"], serde_json::json!([1]));
    for (bad, expected) in [
        ("{", "no object of JSON"),
        ("[]", "no object of JSON"),
        (r#"{"goal":"g"}"#, "`action` is missing"),
        (&line(r#","goal":"h""#), "appears twice"),
        (&line(r#","extra":1"#), "`extra` cannot be used"),
        (&line(r#","timestamp":"yesterday""#), "`timestamp` cannot be used"),
        (&line(r#","timestamp":5"#), "`timestamp` cannot be used"),
        (&line(r#","timestamp":"2026-01-21T20:49:00""#), "the timestamp has no offset"),
        (&line(r#","metadata":[]"#), "`metadata` cannot be used"),
        (&line(r#","metadata":{"is_failure":"false"}"#), "`metadata.is_failure` cannot be used"),
        (&line(r#","metadata":{"failure_reason":1}"#), "`metadata.failure_reason` cannot be used"),
        (&line(r#","episode_id":1"#), "`episode_id` cannot be used"),
        (&line("").replace("\"g\"", "1"), "`goal` cannot be used"),
        (&line("").replace("\"g\"", "\"\"").replace("\"a\"", "\" \""), "needs a goal or an action"),
    ] {
        let text = format!("{}\n{bad}\n{}\n", line(r#","episode_id":"one more""#), line(""));
        let kept = memory();
        let error = kept.import_upstream(text.as_bytes(), &agent, at(5), |_| {}).unwrap_err();
        assert!(error.line == 2 && error.imported == 1 && error.to_string().contains(expected), "{error}");
        assert_eq!(kept.len(), 1);
    }
}

#[test]
fn a_line_without_end_is_not_read_into_memory() {
    let endless = std::io::BufReader::new(std::io::repeat(b'x'));
    let error = memory().import_upstream(endless, &"a".parse().unwrap(), at(5), |_| {}).unwrap_err();
    assert_eq!((error.line, error.code()), (1, "AK0729"));
}
