//! How fast the files of a folder are read: `cargo bench -p caas-core --features pdf --bench ingest -- DIR [MOST FILES]`.
//!
//! One line for each format: files, megabytes of source, megabytes a second, the slowest file, and how many were refused, by
//! code. Every document is held to the law that blocks tile the text, and its kind is told.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench tells what it found")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::{Clock, SystemClock};
use caas_core::detect::detect;
use caas_core::ingest::{Folder, Limits, Parser};

#[path = "../fuzz/laws.rs"]
mod laws;

#[derive(Default)]
struct Row {
    files: usize,
    bytes: u64,
    took: Duration,
    detecting: Duration,
    slowest: (Duration, String),
    kinds: BTreeMap<&'static str, usize>,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let Some(path) = arguments.next() else {
        println!("not run: name a folder of documents");
        return ExitCode::SUCCESS;
    };
    let most = arguments.next().and_then(|most| most.parse().ok()).unwrap_or(usize::MAX);
    let clock = Arc::new(SystemClock::new());
    let folder = Parser::new(Limits::DEFAULT)
        .and_then(|parser| Folder::open(Path::new(&path), parser, Arc::clone(&clock) as Arc<dyn Clock>));
    let folder = match folder {
        Ok(folder) => folder,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let survey = folder.survey();
    // Every so many files, so that all of the folder is seen.
    let every = survey.files.len().div_ceil(most).max(1);
    let (mut rows, mut refused) = (BTreeMap::<String, Row>::new(), BTreeMap::<String, usize>::new());
    for found in survey.files.iter().step_by(every) {
        let start = clock.monotonic();
        let read = folder.read(found);
        let took = clock.monotonic().since(start);
        let format = match &read {
            Ok(document) => document.ingested.parsed.format.to_string(),
            Err(error) => {
                let extension = found.id.as_str().rsplit_once('.').map_or("", |(_, extension)| extension);
                *refused.entry(format!("{} {extension}: {error}", error.code())).or_default() += 1;
                "refused".to_owned()
            }
        };
        let row = rows.entry(format).or_default();
        row.files += 1;
        row.bytes += found.size;
        row.took += took;
        if row.slowest.0 < took {
            row.slowest = (took, found.id.to_string());
        }
        if let Ok(document) = read {
            laws::tiled(&document.ingested);
            let start = clock.monotonic();
            let kind = detect(&document.ingested.parsed).kind;
            row.detecting += clock.monotonic().since(start);
            *row.kinds.entry(kind.as_str()).or_default() += 1;
        }
    }
    print(&rows, &refused);
    ExitCode::SUCCESS
}

fn print(rows: &BTreeMap<String, Row>, refused: &BTreeMap<String, usize>) {
    println!("format    files      MB    MB/s  detect MB/s  slowest");
    for (format, row) in rows {
        #[expect(clippy::cast_precision_loss, reason = "megabytes")]
        let megabytes = row.bytes as f64 / 1e6;
        let rate = |took: Duration| megabytes / took.as_secs_f64().max(1e-9);
        println!(
            "{format:<8} {:>6} {megabytes:>7.1} {:>7.1} {:>12.1}  {:.1?} {}  {:?}",
            row.files,
            rate(row.took),
            rate(row.detecting),
            row.slowest.0,
            row.slowest.1,
            row.kinds
        );
    }
    let mut refused: Vec<_> = refused.iter().collect();
    refused.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (error, count) in refused.iter().take(20) {
        println!("refused {count}: {error}");
    }
}
