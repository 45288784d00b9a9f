//! What others need for the same rules and requests, in the same run. They live in a package of their own, which cargo
//! builds and runs.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent_os_benches::peers::{Differences, Report, Row, Task};
use agent_os_benches::statistics::{Figure, Stopwatch};
use agent_os_benches::table::{Table, rate, ratio, time};
use agent_os_benches::workload::ToolCalls;
use agent_os_benches::{naive, workload};
use anyhow::{Context as _, bail, ensure};

use crate::options::Options;
use crate::{RULES, decision, governed, print, progress};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/Cargo.toml");
/// Differing requests that are shown of each peer.
const SHOWN: usize = 3;

/// What an operation of a peer is held against: it decides, or it carries a call through.
#[derive(Clone, Copy, Debug)]
struct Ours {
    decision: Figure,
    governed: Figure,
}

impl Ours {
    fn beside(&self, row: &Row) -> (&'static str, &Figure) {
        if row.what.contains("govern") {
            ("governed call", &self.governed)
        } else {
            ("decision", &self.decision)
        }
    }
}

pub(crate) fn run(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    print("\n## Peers\n")?;
    match compare(watch, options) {
        Ok(()) => Ok(()),
        Err(error) => {
            let mut table = Table::new(["peers", "p50", "p99", "mean", "per second"]);
            table.row([
                format!("not run: {error:#}"),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
            ]);
            print(table)?;
            bail!("the peers were not run; `--no-peers` leaves them out")
        }
    }
}

fn compare(watch: &Stopwatch, options: &Options) -> anyhow::Result<()> {
    let target = target_folder()?;
    build(&target)?;
    let mut notes = true;
    for (rules, rounds) in RULES.into_iter().zip([400, 100, 20]) {
        progress(&format!("  {rules} rules"));
        let workload = ToolCalls::new(rules);
        let ours = Ours {
            decision: decision::tool_calls(watch, options, &workload)?,
            governed: governed::whole_mix(watch, options, &workload)?,
        };
        let rounds = u32::try_from(options.scaled(rounds))?;
        let report = ask(&target, &Task::new(&workload, rounds))?;
        ensure!(!report.peers.is_empty(), "the report holds no peer");
        print(times(rules, &ours, &report))?;
        print(verdicts(&workload, &report, notes)?)?;
        // They say nearly the same each time.
        notes = false;
    }
    Ok(())
}

fn times(rules: usize, ours: &Ours, report: &Report) -> Table {
    let mut table = Table::new([
        &format!("{rules} rules"),
        "p50",
        "p99",
        "mean",
        "per second",
        "ours / theirs, p50",
        "ours / theirs, mean",
    ]);
    let dash = || "-".to_owned();
    for (name, figure) in [("ours, decision", &ours.decision), ("ours, governed call", &ours.governed)] {
        let [p50, p99] = [figure.p50, figure.p99].map(|nanos| time(nanos as f64));
        table.row([name.to_owned(), p50, p99, time(figure.mean), rate(figure.per_second()), dash(), dash()]);
    }
    for row in &report.peers {
        let (beside, figure) = ours.beside(row);
        table.row([
            format!("{}, {} (against our {beside})", row.name, row.what),
            time(row.p50_ns),
            time(row.p99_ns),
            time(row.mean_ns),
            rate(row.throughput_per_s),
            ratio(figure.p50 as f64, row.p50_ns),
            ratio(figure.mean, row.mean_ns),
        ]);
    }
    table
}

/// What each peer answered, request by request, held against ours and against the naive evaluator, with the peers' own
/// notes if asked for.
fn verdicts(workload: &ToolCalls, report: &Report, notes: bool) -> anyhow::Result<String> {
    let naive: Vec<bool> =
        workload.requests.iter().map(|request| naive::allows(&workload.rules, request)).collect();
    let ours = decision::verdicts(workload)?;
    let differ = |expected: &[bool], given: &[bool]| {
        Differences::between(expected, given).context("the report does not answer each request once")
    };
    let mut lines = Vec::new();
    let own = differ(&naive, &ours)?;
    lines.push(format!("verdicts that differ from the naive evaluator, of {}:", naive.len()));
    lines.push(format!("- ours: {}", own.count()));
    for row in &report.peers {
        let found = differ(&naive, &row.verdicts)?;
        let (allowed, denied) = (found.wrongly_allowed.len(), found.wrongly_denied.len());
        let from_ours = differ(&ours, &row.verdicts)?.count();
        lines.push(format!(
            "- {}, {}: {} ({allowed} wrongly allowed, {denied} wrongly denied; {from_ours} differ from ours)",
            row.name,
            row.what,
            found.count()
        ));
        let shown = |positions: &[usize], verdict: &str| -> Vec<String> {
            let requests =
                positions.iter().take(SHOWN).filter_map(|at| Some((at, workload.requests.get(*at)?)));
            requests.map(|(at, request)| format!("  - wrongly {verdict}: {}", show(*at, request))).collect()
        };
        lines.extend(shown(&found.wrongly_allowed, "allowed"));
        lines.extend(shown(&found.wrongly_denied, "denied"));
        if notes {
            lines.push(format!("  - note: {}", row.note));
        }
    }
    ensure!(own.count() == 0, "{} verdicts of ours are wrong", own.count());
    Ok(lines.join("\n") + "\n")
}

fn show(position: usize, request: &workload::Request) -> String {
    let arguments = serde_json::to_string(&request.arguments).unwrap_or_default();
    format!("request {position}, `{}` {arguments}", request.tool)
}

/// Cargo's folder for the peers, beside our own.
fn target_folder() -> anyhow::Result<PathBuf> {
    // The binary lies in `<target folder>/<profile>/deps`.
    let binary = std::env::current_exe()?;
    let target = binary.ancestors().nth(3).context("this binary lies in no target folder")?;
    Ok(target.join("peers"))
}

fn build(target: &Path) -> anyhow::Result<()> {
    ensure!(Path::new(MANIFEST).is_file(), "there is no `{MANIFEST}`");
    progress("  building the peers; the first time takes minutes");
    let status = cargo("build", target).status().context("cargo could not be started")?;
    ensure!(status.success(), "the peers could not be built: {status}; the reason stands on standard error");
    Ok(())
}

/// Runs the peers on one task. Their progress goes to standard error.
fn ask(target: &Path, task: &Task<'_>) -> anyhow::Result<Report> {
    let task = serde_json::to_vec(task)?;
    let mut command = cargo("run", target);
    let child = command.arg("--quiet").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.context("cargo could not be started")?;
    // The peers read all of their input before they write, so neither side waits for the other.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(&task));
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "the peers failed: {}; the reason stands on standard error",
        output.status
    );
    written.transpose().context("the peers did not read their task")?;
    serde_json::from_slice(&output.stdout).context("the peers' report cannot be read")
}

fn cargo(command: &str, target: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.args([command, "--release", "--locked", "--manifest-path", MANIFEST, "--target-dir"]).arg(target);
    cargo
}
