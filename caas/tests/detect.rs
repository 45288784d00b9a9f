//! What kind of document a text is.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::Write as _;
use std::path::{Path, PathBuf};

use caas_core::Format;
use caas_core::detect::{Detection, DocumentKind, MIN_CONFIDENCE, detect};
use caas_core::ingest::{Declared, Limits, Parser};
use serde_json::Value;

fn seen(text: &str, declared: Declared<'_>) -> Detection {
    detect(&Parser::new(Limits::DEFAULT).unwrap().parse(text.as_bytes(), &declared).unwrap().parsed)
}

/// A folder of the public sets, which are nobody's to commit; `None`, and a word about it, where it is not there. Whoever
/// names a folder means it to be there.
fn set(name: &str) -> Option<Vec<Value>> {
    let named = std::env::var("AGENT_OS_DATA");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join(named.as_deref().unwrap_or("../../shared/data"));
    let file: PathBuf = data.join("retrieval").join(name).join("corpus.jsonl");
    let there = file.exists();
    assert!(there || named.is_err(), "`{}` is not there", file.display());
    if !there {
        let _ = writeln!(std::io::stderr(), "not run: `{}` is not there", file.display());
        return None;
    }
    let text = std::fs::read_to_string(file).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn counts(documents: &[Value]) -> std::collections::BTreeMap<DocumentKind, usize> {
    let mut counts = std::collections::BTreeMap::new();
    for document in documents {
        let (title, text) = (document["title"].as_str().unwrap(), document["text"].as_str().unwrap());
        let kind = seen(&format!("{title}\n\n{text}"), Declared::format(Format::Text)).kind;
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// Abstracts about libraries: none is a program or a contract, though all their words are in both.
#[test]
fn prose_is_no_program_and_no_contract() {
    let Some(documents) = set("cisi") else { return };
    let counts = counts(&documents);
    assert_eq!(counts.get(&DocumentKind::SourceCode), None, "{counts:?}");
    let legal = counts.get(&DocumentKind::LegalContract).copied().unwrap_or(0);
    assert!(legal * 100 <= documents.len(), "{counts:?}");
}

#[test]
fn pieces_of_programs_without_their_names_are_programs() {
    let Some(documents) = set("codebase_chunks") else { return };
    let counts = counts(&documents);
    let code = counts.get(&DocumentKind::SourceCode).copied().unwrap_or(0);
    assert!(documents.len() * 9 <= code * 10, "{counts:?}");
    assert_eq!(counts.get(&DocumentKind::LegalContract), None, "{counts:?}");
}

const CONTRACT: &str = "SUPPLY AGREEMENT\n\nThis Agreement is made between ACME Ltd (the \"Supplier\") and Bolt GmbH (the \"Buyer\").\n\n\
1. DEFINITIONS\n\n1.1 \"Goods\" means the goods listed in Schedule A.\n\n1.2 \"Term\" means three years.\n\n\
2. SUPPLY\n\n2.1 The Supplier shall deliver the Goods on time.\n\n(a) Risk passes on delivery;\n\n(b) title passes on payment.\n\n\
By: ____________________\nName: ____________________\n";

const PAPER: &str = "# Ranking\n\n## Abstract\n\nWe rank [1].\n\n## Introduction\n\nOthers ranked too (Smith, 2001) [2, 3].\n\n\
## Results\n\nIt works [4].\n\n## References\n\n[1] A. Author, A long title of a paper, Journal, 1999.\n[2] B. Author, Another long title, 2000.\n\
[3] C. Author, A third long title, 2001.\n";

const API: &str = "# Users\n\n`GET /users/{id}`\n\nReturns a user.\n\n| Name | Type | Description |\n|---|---|---|\n| id | string | which |\n\n\
### POST /users\n\nMakes a user.\n\n```\nDELETE /users/{id}\n```\n";

const TUTORIAL: &str = "# Your first service\n\n## Prerequisites\n\nA shell.\n\n## Step 1: install\n\n```\n$ make install\n$ make test\n```\n\n\
## Step 2: run\n\n```\n$ run\n```\n\n## Next steps\n\nRead on.\n";

const MANUAL: &str = "# tool\n\nDoes a thing.\n\n## Installation\n\n```\nmake\n```\n\n## Usage\n\n```\ntool FILE\n```\n\n\
## Configuration\n\n| Key | Default |\n|---|---|\n| size | 3 |\n";

#[test]
fn kinds_are_told_by_how_a_text_is_built() {
    use DocumentKind as K;
    for (text, name, kind) in [
        (CONTRACT, "a.txt", K::LegalContract),
        (PAPER, "a.md", K::ResearchPaper),
        (API, "a.md", K::ApiDocumentation),
        (TUTORIAL, "a.md", K::Tutorial),
        (MANUAL, "a.md", K::TechnicalDocumentation),
        ("fn main() {}\n", "a.rs", K::SourceCode),
        ("for all in the class, return while you may; if not, try else.", "a.txt", K::Unknown),
        ("The definition of terms, obligations and liability shall be governed by law.", "a.txt", K::Unknown),
        ("{\"a\": [1, 2, 3]}", "a.json", K::Unknown),
    ] {
        let detection = seen(text, Declared::named(name));
        assert_eq!(detection.kind, kind, "{detection:#?}");
        assert!((0.0..=1.0).contains(&detection.confidence));
        assert_eq!(detection.kind == K::Unknown, detection.confidence < MIN_CONFIDENCE);
        assert_eq!(detection, seen(text, Declared::named(name)));
    }
    let page = format!(
        "<meta property=og:type content=article><meta name=author content=A><meta name=date content=2026-01-01><p>{}",
        "Some words of a story. ".repeat(100)
    );
    assert_eq!(seen(&page, Declared::named("a.html")).kind, K::Article);
}

#[test]
fn evidence_is_named_and_in_order() {
    let detection = seen(CONTRACT, Declared::named("a.txt"));
    assert!(detection.evidence.is_sorted_by(|one, other| other.weight <= one.weight));
    let signs: Vec<&str> = detection.evidence.iter().map(|one| one.sign).collect();
    assert!(signs.contains(&"terms that it defines") && signs.contains(&"numbered clauses"), "{signs:?}");
}
