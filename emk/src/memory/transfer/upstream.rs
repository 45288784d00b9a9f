//! Reading the older form: one episode a line, with its outcome in the metadata.

use std::io::BufRead;

use agent_primitives::json::{self, Limits};
use agent_primitives::{AgentId, BadTimestamp, FailureType, Timestamp};
use serde_json::{Map, Value};

use super::super::{EpisodicMemory, MemoryError, PROGRESS_EVERY};
use super::{ImportError, LineError, Lines};
use crate::LedgerError;
use crate::episode::{
    Episode, EpisodeBuilder, Failure, MAX_METADATA_BYTES, MAX_METADATA_DEPTH, MAX_TEXT_BYTES, Outcome,
};

/// Where in the metadata the id is kept that an episode had there.
pub const LEGACY_ID: &str = "legacy_id";

const FIELDS: [&str; 7] = ["goal", "action", "result", "reflection", "timestamp", "metadata", "episode_id"];
const LIMITS: Limits =
    Limits { bytes: 64 * MAX_TEXT_BYTES, depth: MAX_METADATA_DEPTH + 1, nodes: MAX_METADATA_BYTES };

/// One line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Line {
    /// The episode.
    pub episode: Episode,
    /// The id that it had, if any; kept in the metadata under [`LEGACY_ID`].
    pub legacy_id: Option<String>,
}

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Episodes that are new.
    pub episodes: u64,
    /// Lines whose episode was there already.
    pub duplicates: u64,
}

/// Reads one line as an episode of `agent`. A time needs an offset, as its writers stated one; where no time is stated it
/// is `unstated`.
///
/// The outcome is a failure where the metadata say `is_failure: true`, a success where they say `false`, and unknown
/// where they say nothing; the metadata are kept whole.
///
/// # Errors
/// `Syntax`, `MissingField`, `InvalidField`, or why it is no episode.
pub fn read_line(line: &[u8], agent: &AgentId, unstated: Timestamp) -> Result<Line, LineError> {
    let syntax = |message: String| LineError::Syntax { message };
    let value = json::parse(line, &LIMITS).map_err(|error| syntax(error.to_string()))?;
    let Value::Object(object) = value else { return Err(syntax("it is another value".to_owned())) };
    if let Some(other) = object.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        let field = other.chars().take(64).collect();
        return Err(LineError::InvalidField { field, reason: "it is not known here".to_owned() });
    }
    let text = |field: &str| match object.get(field) {
        None => Err(LineError::missing(field)),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(LineError::invalid(field, "it is no text")),
    };
    let (goal, action) = (text("goal")?, text("action")?);
    let (result, reflection) = (text("result")?, text("reflection")?);
    let time = match object.get("timestamp") {
        None | Some(Value::Null) => unstated,
        Some(Value::String(text)) => {
            text.parse().map_err(|error: BadTimestamp| LineError::invalid("timestamp", error))?
        }
        Some(_) => return Err(LineError::invalid("timestamp", "it is no text")),
    };
    let mut metadata = match object.get("metadata") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(metadata)) => metadata.clone(),
        Some(_) => return Err(LineError::invalid("metadata", "it is no object")),
    };
    let legacy_id = match object.get("episode_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(LineError::invalid("episode_id", "it is no text")),
    };
    let builder = Episode::builder(agent.clone(), time);
    let builder =
        outcome(builder.goal(goal).action(action).result(result).reflection(reflection), &metadata)?;
    if let Some(id) = &legacy_id {
        let kept = metadata.insert(LEGACY_ID.to_owned(), Value::String(id.clone()));
        if kept.is_some_and(|kept| kept != id.as_str()) {
            return Err(LineError::invalid("metadata.legacy_id", "it says something else than `episode_id`"));
        }
    }
    Ok(Line { episode: builder.metadata(metadata).build()?, legacy_id })
}

fn outcome(builder: EpisodeBuilder, metadata: &Map<String, Value>) -> Result<EpisodeBuilder, LineError> {
    let reason = match metadata.get("failure_reason") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(reason)) => reason.clone(),
        Some(_) => return Err(LineError::invalid("metadata.failure_reason", "it is no text")),
    };
    match metadata.get("is_failure") {
        None | Some(Value::Null) => Ok(builder),
        Some(Value::Bool(true)) => Ok(builder.failure(Failure { kind: FailureType::Unknown, reason })),
        Some(Value::Bool(false)) => Ok(builder.outcome(Outcome::Success)),
        Some(_) => Err(LineError::invalid("metadata.is_failure", "it is neither true nor false")),
    }
}

impl EpisodicMemory {
    /// Imports lines of the older form as episodes of `agent`: see [`read_line`]. Strict: the first line that cannot be used
    /// ends it. An episode that is there already is counted and passed over, so an import that failed can be repeated once
    /// the line is mended. `progress` hears the number of lines. Blocks until all is durable.
    ///
    /// # Errors
    /// The first line that cannot be used, with its number; episodes before it stay.
    pub fn import_upstream(
        &self,
        input: impl BufRead,
        agent: &AgentId,
        unstated: Timestamp,
        mut progress: impl FnMut(u64),
    ) -> Result<Imported, ImportError> {
        let mut lines = Lines::new(input);
        let mut imported = Imported::default();
        loop {
            let step = lines.next().and_then(|line| match line {
                // Writers of this form end a file with an empty line or two.
                Some(line) if line.trim_ascii().is_empty() => Ok(true),
                Some(line) => self.import_line(line, agent, unstated, &mut imported).map(|()| true),
                None => Ok(false),
            });
            match step {
                Ok(true) if lines.number.is_multiple_of(PROGRESS_EVERY) => progress(lines.number),
                Ok(true) => {}
                Ok(false) => break,
                Err(cause) => {
                    return Err(ImportError { line: lines.number, imported: imported.episodes, cause });
                }
            }
        }
        progress(lines.number - 1);
        let failed = |error: LedgerError| ImportError {
            line: lines.number,
            imported: imported.episodes,
            cause: error.into(),
        };
        self.ledger().flush().map_err(failed)?;
        Ok(imported)
    }

    fn import_line(
        &self,
        line: &[u8],
        agent: &AgentId,
        unstated: Timestamp,
        imported: &mut Imported,
    ) -> Result<(), LineError> {
        let episode = read_line(line, agent, unstated)?.episode;
        let mut appended = self.append(&episode);
        if let Err(MemoryError::Ledger(LedgerError::Full { .. })) = appended {
            self.ledger().flush()?;
            appended = self.append(&episode);
        }
        match appended {
            Ok(_) => imported.episodes += 1,
            Err(MemoryError::Duplicate { .. }) => imported.duplicates += 1,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}
