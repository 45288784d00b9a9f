//! Export: the records of a recording as lines of JSON, one after the other, in bounded memory.

use std::fmt;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::{RecordingError, Stored};

/// Where the events of an export come from unless the host says otherwise: a relative URI reference.
pub const DEFAULT_SOURCE: &str = "/agent-os/flight-recorder";
/// What the types of CloudEvents begin with; the kind of the event follows.
pub const TYPE_PREFIX: &str = "agent-os.recorder.";
/// `progress` hears every so many records.
pub const PROGRESS_EVERY: u64 = 4096;

/// What an export is written in, one record a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// The event with its sequence number and hash, as [`Stored::to_json`] has it.
    Jsonl,
    /// A CloudEvent (1.0) in structured mode, whose `data` is that event.
    CloudEvents {
        /// Its `source`: a URI reference that tells this recording from others. Together with `id`, which is the sequence
        /// number and the hash, it is unique.
        source: String,
    },
}

impl Format {
    /// CloudEvents from [`DEFAULT_SOURCE`].
    #[must_use]
    pub fn cloud_events() -> Self {
        Self::CloudEvents { source: DEFAULT_SOURCE.to_owned() }
    }
}

/// Why an export stopped.
#[derive(Debug)]
#[non_exhaustive]
pub enum ExportError {
    /// A record cannot be read.
    Recording(RecordingError),
    /// What was exported cannot be written.
    Write(io::Error),
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recording(error) => error.fmt(f),
            Self::Write(error) => write!(f, "cannot write the export: {error}"),
        }
    }
}

impl std::error::Error for ExportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Recording(error) => Some(error),
            Self::Write(error) => Some(error),
        }
    }
}

/// Writes records to `out` and returns how many; `progress` hears the number so far now and then. What was written before an
/// error stays written.
///
/// # Errors
/// A record that cannot be read, or an `out` that cannot be written.
pub fn export(
    events: impl IntoIterator<Item = Result<Stored, RecordingError>>,
    format: &Format,
    mut out: impl Write,
    mut progress: impl FnMut(u64),
) -> Result<u64, ExportError> {
    let mut written = 0;
    for stored in events {
        let stored = stored.map_err(ExportError::Recording)?;
        let line = match format {
            Format::Jsonl => stored.to_json(),
            Format::CloudEvents { source } => stored.to_cloud_event(source),
        };
        let line = line.map_err(ExportError::Recording)?;
        writeln!(out, "{line}").map_err(ExportError::Write)?;
        written += 1;
        if written % PROGRESS_EVERY == 0 {
            progress(written);
        }
    }
    out.flush().map_err(ExportError::Write)?;
    Ok(written)
}

impl Stored {
    /// The record as a CloudEvent 1.0 in the JSON format. Its `subject` is the agent, and left out where the kernel or the
    /// host acted; `sequence` is the sequence number in twenty digits, so that it sorts as text.
    ///
    /// # Errors
    /// As [`Stored::event`].
    pub fn to_cloud_event(&self, source: &str) -> Result<Value, RecordingError> {
        let data = self.to_json()?;
        let event = self.event()?;
        let mut cloud = json!({
            "specversion": "1.0",
            "id": format!("{}-{}", self.seq(), self.hash()),
            "source": source,
            "type": format!("{TYPE_PREFIX}{}", event.kind()),
            "time": event.time.to_string(),
            "datacontenttype": "application/json",
            "sequence": format!("{:020}", self.seq()),
            "data": data,
        });
        if let (Value::Object(cloud), false) = (&mut cloud, event.agent.is_empty()) {
            cloud.insert("subject".to_owned(), event.agent.into());
        }
        Ok(cloud)
    }
}
