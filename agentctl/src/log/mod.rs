//! `agentctl log`: look into recordings, verify them, and make their decisions again.
//!
//! Exit codes: 0 when all is well; 1 when a replay does not come out as recorded, or anything else fails; 2 for wrong usage;
//! 5 for a recording that does not hold.

mod export;
mod follow;
mod line;
mod query;
mod replay;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agent_control_plane::recorder::{
    Checkpoint, FileAnchor, Head, LedgerError, PublicKey, Recording, RecordingError, Trust, VerifyReport,
};
use clap::{Subcommand, ValueEnum};

pub(crate) use self::follow::Follower;
pub(crate) use self::line::cut;
use self::line::line;
use crate::VERIFICATION_FAILED;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print the events of a recording, oldest first
    Show {
        /// The folder of the recording
        recording: PathBuf,
        #[command(flatten)]
        selection: query::Selection,
        /// Start at this sequence number
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Ask a recording for some of its events, newest first
    ///
    /// Prints a page of them, and on standard error where the next one begins.
    #[command(after_help = query::EXAMPLES)]
    Query(query::Options),
    /// Print events as they are added to a recording that another process writes
    #[command(after_help = "Examples:\n  agentctl log follow recording --agent reviewer --verdict deny\n  \
                            agentctl log follow recording --from 0 --output jsonl")]
    Follow(follow::Options),
    /// Write a recording to standard output for other programs, one event a line
    #[command(
        after_help = "Examples:\n  agentctl log export recording > events.jsonl\n  agentctl log export recording \
                            --format cloudevents --source https://example.com/hosts/7"
    )]
    Export(export::Options),
    /// Make every decision of a recording again, without executing anything; exits with 1 when one comes out otherwise
    ///
    /// By the policies in the recording, every decision has to come out byte for byte. By another policy, the verdicts are
    /// compared. What cannot be made again, because the record has not got what it takes, is listed with its cause.
    #[command(
        after_help = "Examples:\n  agentctl log replay recording\n  agentctl log replay recording --policy \
                            next.yaml --output json"
    )]
    Replay(replay::Options),
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
        /// How to print
        #[arg(long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns for people
    Table,
    /// One JSON object with a version
    Json,
    /// One JSON object a line
    Jsonl,
}

pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Show { recording, selection, from, output } => {
            found(show(&recording, &selection, from, output))
        }
        Command::Query(options) => found(query::run(&options)),
        Command::Follow(options) => found(crate::runtime()?.block_on(follow::run(options))),
        Command::Export(options) => found(export::run(&options)),
        Command::Replay(options) => found(replay::run(&options)),
        Command::Verify { recording, head, key, anchor, output } => {
            let trust = head.into_iter().fold(Trust::default(), Trust::head);
            let trust = key.into_iter().fold(trust, Trust::key);
            let trust = match &anchor {
                Some(file) => trust.anchored(checkpoints(file)?),
                None => trust,
            };
            match verify(&recording, &trust) {
                Ok(report) => {
                    tell(&report, output, key.is_some())?;
                    if head.is_none() && anchor.is_none() {
                        writeln!(
                            std::io::stderr(),
                            "no --head or --anchor given: a tail that was cut off cleanly would not show"
                        )?;
                    }
                    Ok(ExitCode::SUCCESS)
                }
                Err(error) => found(Err(error.into())),
            }
        }
    }
}

/// The checkpoints in an anchor. One without any would let everything pass.
fn checkpoints(anchor: &Path) -> anyhow::Result<Vec<Checkpoint>> {
    let kept = FileAnchor::read(anchor)?;
    anyhow::ensure!(!kept.is_empty(), "the anchor `{}` holds no checkpoint", anchor.display());
    Ok(kept)
}

fn tell(report: &VerifyReport, output: Output, signed: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match output {
        Output::Table => {
            writeln!(out, "verified: {}", summary(report))?;
            if signed {
                writeln!(out, "signed: the first {} records", report.sealed)?;
            }
        }
        Output::Json | Output::Jsonl => writeln!(out, "{}", verified(report, signed))?,
    }
    Ok(())
}

fn verified(report: &VerifyReport, signed: bool) -> serde_json::Value {
    serde_json::json!({ "version": 1, "verified": true, "records": report.entries, "segments": report.segments,
        "head": report.head.to_string(), "sealed": report.sealed, "signed": signed })
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
        Err(RecordingError::Ledger(error)) if known != 0 && is_nothing(&error) => {
            Err(RecordingError::Gone { expected: known })
        }
        recording => recording?.verify_against(trust, progress),
    }
}

/// Whether there is no recording in a folder, or no folder.
fn is_nothing(error: &LedgerError) -> bool {
    match error {
        LedgerError::NotALedger { .. } => true,
        LedgerError::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

/// What was verified, on one line.
pub(crate) fn summary(report: &VerifyReport) -> String {
    let VerifyReport { entries, segments, head, .. } = report;
    let files = if *segments == 1 { "file" } else { "files" };
    format!("{entries} records in {segments} {files}, head {head}")
}

fn show(folder: &Path, selection: &query::Selection, from: u64, output: Output) -> anyhow::Result<ExitCode> {
    let selected = selection.query()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for stored in Recording::open(folder)?.events(from)? {
        let stored = stored?;
        if !selected.matches(&stored.event()?) {
            continue;
        }
        match output {
            Output::Table => writeln!(out, "{}", line(&stored)?)?,
            Output::Json | Output::Jsonl => writeln!(out, "{}", stored.to_json()?)?,
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
