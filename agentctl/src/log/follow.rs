//! Following a record: of a kernel in this process, or of another one by its files.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use agent_control_plane::FlightRecorder;
use agent_control_plane::atr::TokioTimer;
use agent_control_plane::primitives::{Clock as _, Timer as _};
use agent_control_plane::recorder::{Body, Query, Recording};
use clap::Args;

use super::Output;
use super::line::line;
use super::query::Selection;

#[derive(Args)]
pub(crate) struct Options {
    /// The folder of the recording
    recording: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// Start at this sequence number; without it, at what is added from now on
    #[arg(long)]
    from: Option<u64>,
    /// How often to look at the files, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(10..))]
    interval: u64,
    /// End when the kernel that records was shut down in order
    #[arg(long)]
    until_shutdown: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Prints events as they reach the files, until it is interrupted.
pub(super) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let recording = Recording::open(&options.recording)?;
    let selected = options.selection.query()?;
    let newest =
        |page: &[agent_control_plane::recorder::Stored]| page.first().map_or(0, |last| last.seq() + 1);
    let mut next = match options.from {
        Some(from) => from,
        None => newest(&recording.query(&Query::new().limit(1))?.records),
    };
    let timer = TokioTimer::new();
    let mut out = std::io::stdout().lock();
    loop {
        let page = recording.query(&Query::new().oldest_first().page(next).limit(1024))?;
        for stored in &page.records {
            let event = stored.event()?;
            next = stored.seq() + 1;
            if selected.matches(&event) {
                match options.output {
                    Output::Table => writeln!(out, "{}", line(stored)?)?,
                    Output::Json | Output::Jsonl => writeln!(out, "{}", stored.to_json()?)?,
                }
            }
            if options.until_shutdown && matches!(event.body, Body::Shutdown) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        out.flush()?;
        if page.records.is_empty() {
            timer.sleep_until(timer.monotonic().after(Duration::from_millis(options.interval))).await;
        }
    }
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
