//! The frame of a measuring binary: arguments, standard input, standard output, exit codes.

use std::error::Error;
use std::io::{Read, Write};
use std::process::ExitCode;

use crate::report::{Report, Row};
use crate::workload::{InvalidWorkload, MAX_DOCUMENT_BYTES, Workload};
use crate::{Operation, measure, naive};

/// Wrong arguments or wrong input: the caller's mistake.
const EXIT_USAGE: u8 = 2;
/// A peer could not be measured.
const EXIT_FAILED: u8 = 1;

/// Reads a workload from standard input, measures it, prints the report on standard output.
///
/// `--help` prints `help`. The exit code is 0 with a whole report on standard output, 2 for wrong arguments or input, 1 if a peer could not
/// be measured; the reason then stands on standard error and nothing on standard output.
pub fn run(help: &str, peers: impl FnOnce(&Workload) -> Result<Vec<Row>, Box<dyn Error>>) -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [] => {}
        [only] if only == "--help" || only == "-h" => return print(help.as_bytes()),
        [first, ..] => {
            progress(&format!("error: unexpected argument `{}`; see --help", first.display()));
            return ExitCode::from(EXIT_USAGE);
        }
    }
    let workload = match read() {
        Ok(workload) => workload,
        Err(error) => {
            progress(&format!("error: {error}"));
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if cfg!(debug_assertions) {
        progress("this is a debug build: the verdicts count, the times do not");
    }
    match peers(&workload).and_then(|peers| Ok(serde_json::to_vec_pretty(&Report { peers })?)) {
        Ok(report) => print(&report),
        Err(error) => {
            progress(&format!("error: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// Measures one operation and says on standard error what came out, the agreement with [`naive::allows`] included.
///
/// # Errors
/// Those of [`measure()`].
pub fn row(
    workload: &Workload,
    name: &str,
    what: &str,
    note: &str,
    operation: &mut impl Operation,
) -> Result<Row, Box<dyn Error>> {
    progress(&format!(
        "{name}, {what}: {} rules, {} requests",
        workload.rules.len(),
        workload.requests.len()
    ));
    let row = Row::new(name, what, measure(operation, workload.requests.len(), workload.rounds)?, note);
    let differing = |verdict: bool| {
        let pairs = workload.requests.iter().zip(&row.verdicts);
        pairs
            .filter(|(request, given)| {
                **given == verdict && naive::allows(&workload.rules, request) != verdict
            })
            .count()
    };
    progress(&format!(
        "    mean {:.0} ns, p50 {} ns, p99 {} ns; wrongly allowed {}, wrongly denied {}",
        row.mean_ns,
        row.p50_ns,
        row.p99_ns,
        differing(true),
        differing(false)
    ));
    Ok(row)
}

/// Tells the person who waits; a closed standard error is not a reason to stop.
pub fn progress(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn print(text: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: standard output: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn read() -> Result<Workload, Box<dyn Error>> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut text)?;
    if MAX_DOCUMENT_BYTES < text.len() as u64 {
        let found = text.len() as u64;
        let most = MAX_DOCUMENT_BYTES;
        return Err(
            InvalidWorkload::OutOfBounds { what: "bytes of input, at least", found, least: 1, most }.into()
        );
    }
    Ok(Workload::parse(&text)?)
}
