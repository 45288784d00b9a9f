//! The shared golden cases of `testdata/golden.json`: every implementation of the format has to agree on them.
//!
//! `GOLDEN_CASES=FILE` runs another file of the same form; cases of other crates are counted and left alone.

mod memory;
mod recall;

use std::collections::BTreeSet;

use agent_primitives::search::{Bm25, Parameters, tokenise};
use agent_primitives::{Digest, json};
use serde_json::Value;

use crate::merkle::{Accumulator, Blake3, Tree, verify_inclusion};
use crate::store::frame;
use crate::store::scan::{Damage, FrameScanner};
use crate::{ChainVerifier, EntryKind, Finding, Head, LedgerId, Record, VerifyError, VerifyReport, chain};

/// The operations that tests here run, and no other.
const OPS: [&[&str]; 3] = [
    &[
        "genesis",
        "chain_hashes",
        "ledger_verify",
        "merkle_root",
        "inclusion_proof",
        "frame_encode",
        "segment_recover",
        "tokenise",
        "bm25_scores",
    ],
    memory::OPS,
    recall::OPS,
];

/// Every case of this crate, and how many there are of others.
fn all_cases() -> (Vec<Value>, usize) {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/golden.json").into();
    let path = std::env::var_os("GOLDEN_CASES").unwrap_or(shipped);
    let mut file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let Value::Array(all) = file["cases"].take() else { panic!("an object with `cases`") };
    let (ours, foreign): (Vec<_>, Vec<_>) = all.into_iter().partition(|case| case["crate"] == "emk");
    (ours, foreign.len())
}

fn cases(op: &str) -> Vec<Value> {
    assert!(OPS.iter().any(|ops| ops.contains(&op)), "{op} is not in the list of what is run");
    let cases: Vec<Value> = all_cases().0.into_iter().filter(|case| case["op"] == op).collect();
    let is_shipped = std::env::var_os("GOLDEN_CASES").is_none();
    assert!(!is_shipped || !cases.is_empty(), "no case for {op}");
    cases
}

/// Whether two numbers are the same within the tolerance of the case.
fn close(case: &Value, found: f64, expected: &Value) -> bool {
    let tolerance = case["tol"].as_f64().unwrap_or(0.0);
    expected.as_f64().is_some_and(|expected| (found - expected).abs() <= tolerance)
}

#[test]
fn every_case_of_this_crate_is_run() {
    let (ours, foreign) = all_cases();
    let known: BTreeSet<&str> = OPS.iter().flat_map(|ops| ops.iter().copied()).collect();
    let unknown: BTreeSet<&str> =
        ours.iter().filter_map(|case| case["op"].as_str()).filter(|op| !known.contains(op)).collect();
    println!("golden: {} cases of emk, {foreign} of other crates left alone", ours.len());
    assert!(!ours.is_empty() && unknown.is_empty(), "not run: {unknown:?}");
}

#[test]
fn tokens() {
    for case in cases("tokenise") {
        let found = tokenise(case["input"]["text"].as_str().unwrap());
        assert_eq!(Value::from(found), case["expect"]["tokens"], "{}", case["id"]);
    }
}

#[test]
fn bm25_scores() {
    for case in cases("bm25_scores") {
        let input = &case["input"];
        let words = |list: &Value| -> Vec<String> { serde_json::from_value(list.clone()).unwrap() };
        let number = |field: &str| input[field].as_f64().unwrap();
        let mut index = Bm25::new(Parameters { k1: number("k1"), b: number("b") }).unwrap();
        for doc in input["docs"].as_array().unwrap() {
            index.push(&words(doc)).unwrap();
        }
        let query = words(&input["query"]);
        let expected = case["expect"]["scores"].as_array().unwrap();
        let scores = index.scores(&query);
        let same = scores.iter().zip(expected).all(|(found, expected)| close(&case, *found, expected));
        assert!(scores.len() == expected.len() && same, "{}: {scores:?}", case["id"]);
        let ranking: Vec<usize> = index.search(&query, index.len()).iter().map(|hit| hit.seq).collect();
        assert_eq!(Value::from(ranking), case["expect"]["ranking"], "{}", case["id"]);
    }
}

fn ledger(input: &Value) -> LedgerId {
    LedgerId::new(input["ledger_id"].as_str().unwrap()).unwrap()
}

fn genesis(input: &Value) -> Head {
    Head { count: 0, hash: chain::genesis(&ledger(input)) }
}

fn digest(value: &Value) -> Digest {
    value.as_str().unwrap().parse().unwrap()
}

fn kind(value: &Value) -> EntryKind {
    EntryKind::from_number(u8::try_from(value.as_u64().unwrap()).unwrap()).unwrap()
}

fn unhex(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn genesis_hashes() {
    for case in cases("genesis") {
        assert_eq!(genesis(&case["input"]).hash, digest(&case["expect"]["hash"]), "{}", case["id"]);
    }
}

#[test]
fn entry_hashes() {
    for case in cases("chain_hashes") {
        let input = &case["input"];
        let mut head = genesis(input).hash;
        let contents = input["content_ids"].as_array().unwrap();
        let kinds = input["kinds"].as_array().unwrap();
        let hashes = (0u64..).zip(contents.iter().zip(kinds)).map(|(seq, (content, number))| {
            head = chain::entry_hash(&head, seq, kind(number), &digest(content));
            Value::from(head.to_string())
        });
        assert_eq!(Value::from_iter(hashes), case["expect"]["entry_hashes"], "{}", case["id"]);
        assert_eq!(head, digest(&case["expect"]["head"]), "{}", case["id"]);
    }
}

fn canonical(body: &Value) -> Vec<u8> {
    json::canonical(body).unwrap()
}

fn verify(input: &Value) -> Result<VerifyReport, VerifyError> {
    let expected = &input["expected_head"];
    let expected = expected
        .as_object()
        .map(|head| Head { count: head["count"].as_u64().unwrap(), hash: digest(&head["hash"]) });
    let mut verifier = ChainVerifier::new(genesis(input), expected);
    for entry in input["log"].as_array().unwrap() {
        let (seq, kind) = (entry["seq"].as_u64().unwrap(), kind(&entry["kind"]));
        let (content_id, hash) = (digest(&entry["content_id"]), digest(&entry["entry_hash"]));
        match &entry["episode"] {
            Value::Null => verifier.check_redacted(seq, kind, &content_id, hash)?,
            episode => {
                let body = &canonical(episode);
                verifier.check(&Record { seq, kind, content_id, hash, body, erased: false })?;
            }
        }
    }
    verifier.finish()
}

#[test]
fn verification() {
    for case in cases("ledger_verify") {
        let found = match verify(&case["input"]) {
            Ok(report) => {
                serde_json::json!({"ok": true, "entries": report.entries, "redacted": report.redacted})
            }
            Err(error) => {
                let name = match error.finding {
                    Finding::SequenceGap { .. } => "SequenceGap",
                    Finding::ContentMismatch => "ContentMismatch",
                    Finding::ChainBroken => "ChainBroken",
                    Finding::Truncated { .. } => "Truncated",
                    Finding::HeadMismatch => "HeadMismatch",
                    other => panic!("{}: {other}", case["id"]),
                };
                serde_json::json!({"ok": false, "error": name, "at": error.seq})
            }
        };
        assert_eq!(found, case["expect"], "{}", case["id"]);
    }
}

fn tree(input: &Value) -> (Vec<Digest>, Tree) {
    let hashes: Vec<Digest> = input["entry_hashes"].as_array().unwrap().iter().map(digest).collect();
    let mut tree = Tree::new();
    hashes.iter().for_each(|hash| tree.push(hash.as_bytes()));
    (hashes, tree)
}

#[test]
fn merkle_roots() {
    for case in cases("merkle_root") {
        let (hashes, tree) = tree(&case["input"]);
        let mut growing = Accumulator::<Blake3>::new();
        hashes.iter().for_each(|hash| growing.push(hash.as_bytes()));
        let root = digest(&case["expect"]["root"]);
        assert_eq!((tree.root(tree.size()), growing.root()), (Some(root), root), "{}", case["id"]);
    }
}

#[test]
fn inclusion_proofs() {
    for case in cases("inclusion_proof") {
        let (hashes, tree) = tree(&case["input"]);
        let (index, size) = (case["input"]["index"].as_u64().unwrap(), tree.size());
        let path = tree.inclusion(index, size).unwrap();
        let shown: Vec<String> = path.iter().map(Digest::to_string).collect();
        assert_eq!(Value::from(shown), case["expect"]["proof"], "{}", case["id"]);
        let leaf = hashes[usize::try_from(index).unwrap()];
        let root = tree.root(size).unwrap();
        assert_eq!(verify_inclusion::<Blake3>(leaf.as_bytes(), index, size, &path, &root), Ok(()));
    }
}

#[test]
fn frames() {
    for case in cases("frame_encode") {
        let payload = unhex(&case["input"]["payload_hex"]);
        let mut out = Vec::new();
        frame::encode(&mut out, |out| out.extend_from_slice(&payload));
        assert_eq!(out, unhex(&case["expect"]["frame_hex"]), "{}", case["id"]);
        let (_, crc) = frame::frame_header(&out).unwrap();
        assert_eq!(Value::from(crc), case["expect"]["crc32c"], "{}", case["id"]);
    }
}

#[test]
fn recovery() {
    for case in cases("segment_recover") {
        let bytes = unhex(&case["input"]["segment_hex"]);
        let mut scanner = FrameScanner::new(bytes.as_slice(), bytes.len() as u64);
        let mut records = 0;
        let action = loop {
            match scanner.next_payload() {
                Ok(Some(_)) => records += 1,
                Ok(None) => break "clean",
                Err(Damage::Torn { .. }) => break "truncate_tail",
                Err(Damage::Corrupt { .. }) => break "corrupt",
                Err(other) => panic!("{}: {other:?}", case["id"]),
            }
        };
        let found =
            serde_json::json!({"records": records, "valid_bytes": scanner.offset(), "action": action});
        assert_eq!(found, case["expect"], "{}", case["id"]);
    }
}
