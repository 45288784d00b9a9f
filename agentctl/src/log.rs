//! `agentctl log`: show and verify recordings.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_control_plane::FlightRecorder;
use agent_control_plane::recorder::{
    FileAnchor, Head, LedgerError, PublicKey, Recording, RecordingError, Stored, Trust, VerifyReport,
};
use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use crate::VERIFICATION_FAILED;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the events of a recording, oldest first
    Show {
        /// The folder of the recording
        recording: PathBuf,
        /// Only the events of this agent
        #[arg(long)]
        agent: Option<String>,
        /// Start at this sequence number
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Recompute every hash of a recording; exits with 5 and names the record when one does not hold
    Verify {
        /// The folder of the recording
        recording: PathBuf,
        /// Number of records and hash of the last one, kept elsewhere: without it a cut-off tail or a rewritten
        /// recording cannot be told from a shorter one
        #[arg(long, value_name = "COUNT:HASH")]
        head: Option<Head>,
        /// The public key that its seals have to be signed with: without one, a recording written anew as a whole does
        /// not show
        #[arg(long, value_name = "HEX")]
        key: Option<PublicKey>,
        /// A file of checkpoints that it was anchored in, kept elsewhere
        #[arg(long, value_name = "FILE")]
        anchor: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people
    Table,
    /// One JSON object a line
    Jsonl,
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show { recording, agent, from, output } => {
            found(show(&recording, agent.as_deref(), from, output))
        }
        Command::Verify { recording, head, key, anchor } => {
            let trust = head.into_iter().fold(Trust::default(), Trust::head);
            let trust = key.into_iter().fold(trust, Trust::key);
            let trust = match &anchor {
                Some(file) => trust.anchored(FileAnchor::read(file)?),
                None => trust,
            };
            let report = match verify(&recording, &trust) {
                Ok(report) => report,
                Err(error) => return found(Err(error.into())),
            };
            writeln!(std::io::stdout(), "verified: {}", summary(&report))?;
            if key.is_some() {
                writeln!(std::io::stdout(), "signed: the first {} records", report.sealed)?;
            }
            if head.is_none() && anchor.is_none() {
                writeln!(
                    std::io::stderr(),
                    "no --head or --anchor given: a tail that was cut off cleanly would not show"
                )?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Tells a recording that does not hold from any other failure: 5 and the finding with its code.
pub(crate) fn found(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    match result.as_ref().err().and_then(|error| error.downcast_ref::<RecordingError>()) {
        Some(error) if error.is_finding() => {
            writeln!(std::io::stderr(), "agentctl: {error} [{}]", error.code())?;
            Ok(ExitCode::from(VERIFICATION_FAILED))
        }
        _ => result,
    }
}

/// Verifies a recording, telling about progress on long ones.
pub(crate) fn verify(folder: &Path, trust: &Trust) -> Result<VerifyReport, RecordingError> {
    /// A line of progress every so many records.
    const STEP: u64 = 1_000_000;
    let progress = |done| {
        if done % STEP == 0 && done != 0 {
            let _ = writeln!(std::io::stderr(), "{done} records so far");
        }
    };
    let anchored = trust.anchored.iter().map(|checkpoint| checkpoint.size);
    let known = anchored.chain(trust.head.map(|head| head.count)).max().unwrap_or(0);
    match Recording::open(folder) {
        // Where a head is known there was a recording: that there is none any more is a finding.
        Err(RecordingError::Ledger(LedgerError::NotALedger { .. })) if known != 0 => {
            Err(RecordingError::Gone { expected: known })
        }
        recording => recording?.verify_against(trust, progress),
    }
}

/// What was verified, on one line.
pub(crate) fn summary(report: &VerifyReport) -> String {
    let VerifyReport { entries, segments, head, .. } = report;
    let files = if *segments == 1 { "file" } else { "files" };
    format!("{entries} records in {segments} {files}, head {head}")
}

fn show(folder: &Path, agent: Option<&str>, from: u64, output: Output) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for stored in Recording::open(folder)?.events(from)? {
        let stored = stored?;
        let event = stored.event()?;
        if agent.is_some_and(|agent| agent != event.agent) {
            continue;
        }
        match output {
            Output::Table => writeln!(out, "{}", line(&stored)?)?,
            Output::Jsonl => writeln!(out, "{}", stored.to_json()?)?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Longest text of an event shown in a column, in characters.
const WIDTH: usize = 120;

/// One event in columns: number, agent, what, verdict, why.
fn line(stored: &Stored) -> Result<String, RecordingError> {
    let event = stored.to_json()?;
    // Everything an agent can have a say in is cut and cleaned, so that no event can pass for another one.
    let text = |key: &str| cut(event.get(key).and_then(Value::as_str).unwrap_or_default(), WIDTH);
    let agent = if text("agent").is_empty() { "-".to_owned() } else { text("agent") };
    let what = match text("kind").as_str() {
        "intent" | "refused" | "question" => {
            let request = event.get("request").cloned().unwrap_or_default();
            let rules: Vec<&str> = event
                .get("rules")
                .and_then(Value::as_array)
                .map(|rules| rules.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let rules = if rules.is_empty() { "no rule".to_owned() } else { rules.join(", ") };
            // What policy allows and a limit refuses must not look as if it had been done.
            let limited = text("kind") == "refused" && text("verdict") == "allow";
            let verdict = if limited { "limit".to_owned() } else { text("verdict") };
            let why = if limited { format!("{rules}; {}", text("reason")) } else { rules };
            format!("{verdict:<6} {:<7} {}  [{why}]", text("syscall"), brief(&request))
        }
        "outcome" => {
            let detail = match text("outcome").as_str() {
                "done" => format!("{} bytes", event.get("bytes").unwrap_or(&Value::Null)),
                "failed" => format!("{} {}", text("code"), text("error")),
                _ => String::new(),
            };
            let micros = event.get("micros").unwrap_or(&Value::Null);
            format!("       {:<7} {detail} in {micros} us", text("outcome"))
        }
        "rejected" => {
            format!("reject {:<7} {}  [{}] {}", text("syscall"), text("what"), text("code"), text("error"))
        }
        "repeated" => {
            let first = event.get("repeats").unwrap_or(&Value::Null);
            format!("deny   {:<7} {}  [{}] as call {first} was", text("syscall"), text("what"), text("code"))
        }
        "signal" => format!("{} from {}: {}", text("signal"), text("from"), text("reason")),
        "exit" => format!("exit   {}", text("status")),
        "boot" => format!("boot   policy {}", cut(&text("policy"), 16)),
        "reload" => format!("reload policy {}", cut(&text("policy"), 16)),
        "spawn" => format!("spawn  facts {}", event.get("facts").map(shorten).unwrap_or_default()),
        "host" => format!("host   {}", text("action")),
        "budget" => {
            let number = |key: &str| event.get(key).cloned().unwrap_or_default();
            let (used, limit) = (number("used"), number("limit"));
            format!("budget {} of {}: {used} of {limit} used", text("resource"), text("account"))
        }
        "recovered" => {
            format!("recovered, {} bytes cut off", event.get("dropped_bytes").unwrap_or(&Value::Null))
        }
        "panic" => format!("PANIC  {}", text("reason")),
        other => other.to_owned(),
    };
    Ok(format!("{:>5}  {agent:<10} {what}", stored.seq()))
}

/// A request on one short line: what is long in it is cut, leaf by leaf, so that no part hides another.
fn brief(request: &Value) -> String {
    let full = match (request.get("tool"), request.get("path")) {
        (Some(tool), _) => {
            let arguments = request.get("arguments").map(shorten).unwrap_or_default();
            format!("{} {arguments}", tool.as_str().unwrap_or_default())
        }
        (None, Some(path)) => path.as_str().unwrap_or_default().to_owned(),
        (None, None) => shorten(request).to_string(),
    };
    cut(&full, WIDTH)
}

/// The value with every text in it cut to a few words.
fn shorten(value: &Value) -> Value {
    const LEAF: usize = 28;
    match value {
        Value::String(text) => cut(text, LEAF).into(),
        Value::Array(items) => items.iter().map(shorten).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), shorten(value))).collect(),
        other => other.clone(),
    }
}

/// The first characters of a text, with an ellipsis where it goes on. What would steer the terminal, or show in another
/// order than it stands, is replaced.
pub(crate) fn cut(text: &str, width: usize) -> String {
    let steers = |char: char| {
        char.is_control()
            || matches!(char, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E0FFF}')
    };
    let clean = |char: char| if steers(char) { '\u{FFFD}' } else { char };
    let mut shown: String = text.chars().take(width).map(clean).collect();
    if text.chars().nth(width).is_some() {
        shown.push('…');
    }
    shown
}

/// Prints the events of a live kernel as they are added.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    next: u64,
}

impl Follower {
    pub(crate) fn print_new(
        &mut self,
        recorder: &FlightRecorder,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        for stored in recorder.events(self.next) {
            let stored = stored?;
            self.next = stored.seq() + 1;
            writeln!(out, "{}", line(&stored)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_an_agent_can_pass_for_another_line_or_steer_the_terminal() {
        let forged = cut("routine\n   12  admin  allow\u{1b}[31m \u{202e}tni", WIDTH);
        assert!(!forged.contains(['\n', '\u{1b}', '\u{202e}']), "{forged:?}");
        assert_eq!(cut("abcdef", 3), "abc…");
    }
}
