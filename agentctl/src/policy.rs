//! `agentctl policy`: check, test and simulate policies. Nothing here runs an agent.
//!
//! Exit codes: 0 when all is well; 1 when a policy or a test file does not load, a test fails, or a simulation changes a
//! verdict; 2 for wrong usage; 5 for a recording that does not hold.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_control_plane::policy::simulate::{self, Simulation};
use agent_control_plane::policy::test::{self, Report};
use agent_control_plane::policy::{PolicyErrors, PolicySet, security_md};
use agent_control_plane::recorder::Recording;
use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::{FAILURE, log};

/// Longest text of a recording shown in a column, in characters.
const WIDTH: usize = 80;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Load policies and tell everything that is wrong with them; exits with 1 when there is something
    Check {
        /// Policies, folders of layers, or security files (`.md`)
        #[arg(required = true)]
        policies: Vec<PathBuf>,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Ask a policy the questions of test files and compare its answers; exits with 1 when one is not as expected
    Test {
        /// A test file, or a folder whose `*.test.toml` are run
        tests: PathBuf,
        /// The policy, or a folder of layers
        #[arg(long)]
        policy: PathBuf,
        /// List how many tests each rule decides; a rule that decides none then counts as a failure
        #[arg(long)]
        coverage: bool,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Judge the calls of a recording again by another policy; exits with 1 when a verdict changes
    Simulate {
        /// The folder of the recording
        recording: PathBuf,
        /// The policy, or a folder of layers
        #[arg(long)]
        policy: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines for people
    Table,
    /// One JSON object
    Json,
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { policies, output } => check(&policies, output),
        Command::Test { tests, policy, coverage, output } => run_tests(&tests, &policy, coverage, output),
        Command::Simulate { recording, policy, output } => {
            log::found(simulate_recording(&recording, &policy, output))
        }
    }
}

pub(crate) fn code(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::from(FAILURE) }
}

/// Reads a policy, whatever form it has.
pub(crate) fn load(path: &Path) -> anyhow::Result<Result<PolicySet, PolicyErrors>> {
    if path.extension().is_some_and(|extension| extension == "md") {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        return Ok(security_md::load(&path.display().to_string(), &text).map(PolicySet::from));
    }
    Ok(PolicySet::load(path))
}

fn check(policies: &[PathBuf], output: Output) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let (mut lines, mut well) = (Vec::new(), true);
    for path in policies {
        // The tools are the host's, and unknown here.
        let loaded = load(path)?.and_then(|set| set.check_layers().map(|()| set));
        match &loaded {
            Ok(set) if output == Output::Table => {
                let rules: usize = set.policies().map(|policy| policy.rules().len()).sum();
                let layers = set.policies().count();
                writeln!(out, "{}: ok, {rules} rules in {layers} layers, {}", path.display(), set.digest())?;
            }
            Ok(_) => {}
            Err(errors) => {
                well = false;
                if output == Output::Table {
                    writeln!(std::io::stderr(), "{errors}")?;
                }
            }
        }
        lines.push(checked(path, &loaded));
    }
    if output == Output::Json {
        writeln!(out, "{}", json!({ "version": 1, "policies": lines }))?;
    }
    Ok(code(well))
}

fn checked(path: &Path, loaded: &Result<PolicySet, PolicyErrors>) -> Value {
    match loaded {
        Ok(set) => {
            json!({ "policy": path.display().to_string(), "digest": set.digest().to_string(), "errors": [] })
        }
        Err(errors) => {
            let error = |error: &agent_control_plane::policy::PolicyError| {
                json!({ "code": error.code(), "file": error.file(), "line": error.line(), "column": error.column(),
                    "message": error.message(), "help": error.help() })
            };
            let listed: Vec<Value> = errors.errors().iter().map(error).collect();
            json!({ "policy": path.display().to_string(), "errors": listed, "left_out": errors.left_out() })
        }
    }
}

fn run_tests(tests: &Path, policy: &Path, coverage: bool, output: Output) -> anyhow::Result<ExitCode> {
    let set = load(policy)?.context("the policy does not load")?;
    let mut report = Report::default();
    for file in test_files(tests)? {
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        report = report.join(test::run(&set, &file.display().to_string(), &text)?);
    }
    let uncovered = report.uncovered().count();
    let mut out = std::io::stdout().lock();
    match output {
        Output::Json => writeln!(out, "{}", test_json(&report))?,
        Output::Table => {
            for failure in &report.failed {
                writeln!(out, "{}:{}: {}: {}", failure.file, failure.line, failure.name, failure.message)?;
            }
            if coverage {
                for rule in &report.coverage {
                    writeln!(out, "{:>6}  {}/{}", rule.tests, rule.policy, rule.rule)?;
                }
            }
            let covered = report.coverage.len() - uncovered;
            let (passed, failed, rules) = (report.passed, report.failed.len(), report.coverage.len());
            writeln!(out, "{passed} passed, {failed} failed, {covered} of {rules} rules decide a test")?;
        }
    }
    Ok(code(report.failed.is_empty() && !(coverage && 0 < uncovered)))
}

/// The files to run. No file at all is an error: it would pass for success.
fn test_files(tests: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !tests.is_dir() {
        return Ok(vec![tests.to_owned()]);
    }
    let entries = std::fs::read_dir(tests).with_context(|| format!("cannot list `{}`", tests.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(".test.toml")) {
            files.push(path);
        }
    }
    files.sort();
    anyhow::ensure!(!files.is_empty(), "`{}` holds no `*.test.toml`", tests.display());
    Ok(files)
}

fn test_json(report: &Report) -> Value {
    let failure = |failure: &test::Failure| json!({ "file": failure.file, "line": failure.line, "name": failure.name, "message": failure.message });
    let rule =
        |rule: &test::Coverage| json!({ "policy": rule.policy, "rule": rule.rule, "tests": rule.tests });
    json!({
        "version": 1,
        "passed": report.passed,
        "failed": report.failed.iter().map(failure).collect::<Vec<_>>(),
        "coverage": report.coverage.iter().map(rule).collect::<Vec<_>>(),
    })
}

fn simulate_recording(recording: &Path, policy: &Path, output: Output) -> anyhow::Result<ExitCode> {
    let set = load(policy)?.context("the policy does not load")?;
    let recording = Recording::open(recording)?;
    // A record that somebody changed says nothing about what was asked.
    recording.verify(None, |_| {})?;
    let simulation = simulate::run(recording.events(0)?, &set)?;
    let not_judged = simulation.not_judged.len() as u64 + simulation.not_judged_left_out;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match output {
        Output::Json => writeln!(out, "{}", simulation_json(&simulation))?,
        Output::Table => {
            for flip in &simulation.flips {
                let rule = |rule: &Option<String>| log::cut(rule.as_deref().unwrap_or("no rule"), WIDTH);
                let (from, to) = (rule(&flip.from_rule), rule(&flip.to_rule));
                let (agent, what) = (log::cut(&flip.agent, WIDTH), log::cut(&flip.what, WIDTH));
                writeln!(
                    out,
                    "{:>5}  {agent:<10} {:<7} {what}  {} [{from}] -> {} [{to}]",
                    flip.seq, flip.call, flip.from, flip.to
                )?;
            }
            let changed = simulation.flips.len() as u64 + simulation.left_out;
            writeln!(out, "{} decisions made again, {changed} changed", simulation.judged)?;
            if 0 < not_judged {
                let what = "could not be made again: the record has not got what it takes";
                writeln!(std::io::stderr(), "{not_judged} {what}")?;
            }
        }
    }
    out.flush()?;
    Ok(code(simulation.flips.is_empty() && not_judged == 0))
}

fn simulation_json(simulation: &Simulation) -> Value {
    let flip = |flip: &simulate::Flip| {
        json!({ "seq": flip.seq, "agent": flip.agent, "call": flip.call.name(), "what": flip.what,
            "from": flip.from, "from_rule": flip.from_rule, "to": flip.to, "to_rule": flip.to_rule })
    };
    json!({
        "version": 1,
        "judged": simulation.judged,
        "questions": simulation.questions,
        "flips": simulation.flips.iter().map(flip).collect::<Vec<_>>(),
        "left_out": simulation.left_out,
        "not_judged": simulation.not_judged.iter()
            .map(|call| json!({ "seq": call.seq, "cause": call.cause.name() })).collect::<Vec<_>>(),
        "not_judged_left_out": simulation.not_judged_left_out,
    })
}
