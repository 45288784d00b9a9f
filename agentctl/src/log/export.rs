//! A recording for other programs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use agent_control_plane::recorder::Recording;
use agent_control_plane::recorder::export::{self, DEFAULT_SOURCE, ExportError};
use clap::{Args, ValueEnum};

#[derive(Args)]
pub(crate) struct Options {
    /// The folder of the recording
    recording: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// The `source` of CloudEvents: a URI that tells this recording from others
    #[arg(long, value_name = "URI", default_value = DEFAULT_SOURCE, value_parser = uri)]
    source: String,
    /// Start at this sequence number
    #[arg(long, default_value_t = 0)]
    from: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// The events, with sequence number and hash
    Jsonl,
    /// CloudEvents 1.0 in structured mode
    #[value(name = "cloudevents")]
    CloudEvents,
}

/// A source of CloudEvents is never empty. Of what a URI is made of, this knows only what would never be part of one.
fn uri(text: &str) -> Result<String, String> {
    let strange = |char: char| {
        !char.is_ascii_graphic() || matches!(char, '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
    };
    if text.is_empty() || text.contains(strange) {
        return Err("it is no URI".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    /// A line of progress every so many records.
    const STEP: u64 = 1 << 20;
    let format = match options.format {
        Format::Jsonl => export::Format::Jsonl,
        Format::CloudEvents => export::Format::CloudEvents { source: options.source.clone() },
    };
    let progress = |done: u64| {
        if done.is_multiple_of(STEP) {
            let _ = writeln!(std::io::stderr(), "{done} records so far");
        }
    };
    let events = Recording::open(&options.recording)?.events(options.from)?;
    let out = std::io::BufWriter::new(std::io::stdout().lock());
    match export::export(events, &format, out, progress) {
        Ok(_written) => Ok(ExitCode::SUCCESS),
        Err(ExportError::Write(error)) => Err(error.into()),
        Err(ExportError::Recording(error)) => Err(error.into()),
        Err(other) => Err(other.into()),
    }
}
