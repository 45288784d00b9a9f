//! What one agent did lately, kept in memory for its own eyes.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use super::Event;
use super::chain::Chain;

/// Most events `/audit/events.jsonl` shows: the latest.
pub const TRAIL_EVENTS: usize = 256;
/// Most bytes of events kept for one agent; larger events are shown without their body.
pub const TRAIL_BYTES: usize = 256 << 10;
/// Largest single event that is kept whole.
const MAX_EVENT: usize = 16 << 10;

/// What numbers the lives of all agents, in the events of one.
const GENERATIONS: [&str; 3] = ["generation", "parent_generation", "of_generation"];

/// The latest events of one agent, as they were recorded. The record itself has all of them.
///
/// What numbers the whole record, sequence numbers and generations, is left out: from it an agent could tell what others
/// do.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    kept: Mutex<Kept>,
    /// Where the chain of this life ends.
    pub(super) chain: Chain,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Trail {
    /// Remembers an event that was appended.
    pub(super) fn push(&self, event: &[u8]) {
        let event: Box<[u8]> = if event.len() <= MAX_EVENT { event.into() } else { Box::default() };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += event.len();
        kept.events.push_back(event);
        while TRAIL_EVENTS < kept.events.len() || TRAIL_BYTES < kept.bytes {
            let Some(oldest) = kept.events.pop_front() else { break };
            kept.bytes = kept.bytes.saturating_sub(oldest.len());
        }
    }

    /// The events as JSON, one a line, oldest first.
    pub(crate) fn to_jsonl(&self) -> String {
        let mut text = String::new();
        for line in self.to_json() {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The events as JSON, oldest first.
    pub(crate) fn to_json(&self) -> Vec<serde_json::Value> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |bytes: &[u8]| {
            let mut line = match postcard::from_bytes::<Event<'_>>(bytes) {
                Ok(event) => event.to_json(),
                Err(_too_large) => serde_json::json!({"kind": "too large to show here"}),
            };
            if let serde_json::Value::Object(line) = &mut line {
                line.retain(|key, _| !GENERATIONS.contains(&key.as_str()));
            }
            line
        };
        kept.events.iter().map(|event| line(event)).collect()
    }
}
