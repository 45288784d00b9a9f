//! The adversarial cases, through the public API.
//!
//! Reads `testdata/bypass.jsonl`, or the file named by `BYPASS_CASES`, and the further ones in `testdata/`, and prints passed, failed and waiting by id:
//!
//! ```text
//! cargo test -p agent-control-plane --test bypass -- --nocapture
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness may fail loudly"
)]

#[path = "bypass/adapter.rs"]
mod adapter;
#[path = "bypass/call.rs"]
mod call;
#[path = "bypass/case.rs"]
mod case;
#[path = "bypass/clock.rs"]
mod clock;
#[path = "bypass/fixture.rs"]
mod fixture;
#[path = "bypass/group.rs"]
mod group;
#[path = "bypass/handler.rs"]
mod handler;
#[path = "bypass/host.rs"]
mod host;
#[path = "bypass/invariant.rs"]
mod invariant;
#[path = "bypass/life.rs"]
mod life;
#[path = "bypass/policy.rs"]
mod policy;
#[path = "bypass/record.rs"]
mod record;
#[path = "bypass/run.rs"]
mod run;
#[path = "bypass/scan.rs"]
mod scan;
#[path = "bypass/tamper.rs"]
mod tamper;
#[path = "bypass/waiting.rs"]
mod waiting;

use std::collections::BTreeMap;
use std::fmt;

use case::Case;

#[test]
fn every_case_the_road_covers_holds() {
    let path = std::env::var("BYPASS_CASES")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bypass.jsonl").to_owned());
    let report = run_file(&path);
    println!("{report}");
    report.assert_held();
    assert!(report.waiting.is_empty(), "a case waits");
}

#[test]
fn every_further_case_holds() {
    let report = run_file(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bypass-more.jsonl"));
    println!("{report}");
    report.assert_held();
    assert!(report.waiting.is_empty(), "a case waits");
}

#[test]
fn every_case_about_messages_and_adapters_holds() {
    let report = run_file(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bypass-messages.jsonl"));
    println!("{report}");
    report.assert_held();
    assert!(report.waiting.is_empty(), "a case waits");
}

/// What came of the cases of one file, by id.
#[derive(Default)]
struct Report {
    path: String,
    passed: Vec<String>,
    failed: Vec<String>,
    waiting: BTreeMap<String, Vec<String>>,
}

fn run_file(path: &str) -> Report {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("`{path}`: {error}"));
    let mut report = Report { path: path.to_owned(), ..Report::default() };
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let case: Case = match serde_json::from_str(line) {
            Ok(case) => case,
            Err(error) => {
                report.failed.push(format!("line {}: {error}", number + 1));
                continue;
            }
        };
        if let Some(part) = waiting::waits_for(&case) {
            report.waiting.entry(part).or_default().push(case.id);
            continue;
        }
        match run::run(&case) {
            Ok(()) => report.passed.push(case.id),
            Err(reason) => report.failed.push(format!("{} ({}): {reason}", case.id, case.area)),
        }
    }
    report
}

impl Report {
    fn assert_held(&self) {
        assert!(self.failed.is_empty(), "{} cases failed:\n{}", self.failed.len(), self.failed.join("\n"));
        assert!(!self.passed.is_empty(), "`{}` holds no case that was run", self.path);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "`{}`", self.path)?;
        writeln!(f, "passed {}: {}", self.passed.len(), self.passed.join(" "))?;
        writeln!(f, "failed {}:", self.failed.len())?;
        for failure in &self.failed {
            writeln!(f, "  {failure}")?;
        }
        writeln!(f, "waiting {}:", self.waiting.values().map(Vec::len).sum::<usize>())?;
        for (part, ids) in &self.waiting {
            writeln!(f, "  for {part}: {}", ids.join(" "))?;
        }
        Ok(())
    }
}
