//! How errors are worded.

use std::fmt;

use agent_primitives::{TicketId, ToolId};

use super::ArgumentError;
use crate::isolation::GuaranteeSet;

/// The text of `shown` on one line, cut after `max_chars` characters.
pub(crate) fn one_line(shown: impl fmt::Display, max_chars: usize) -> String {
    let text = shown.to_string();
    let mut rest = text.chars().map(|symbol| if symbol.is_control() { ' ' } else { symbol });
    let mut line: String = rest.by_ref().take(max_chars).collect();
    if rest.next().is_some() {
        line.push('…');
    }
    line
}

/// The end of the message of [`ToolError::ApprovalRequired`](super::ToolError::ApprovalRequired).
pub(super) struct Ticketed(pub(super) Option<TicketId>);

impl fmt::Display for Ticketed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ticket) => write!(f, ", under ticket `{ticket}`"),
            None => f.write_str(", and nobody can be asked"),
        }
    }
}

/// The end of the message of [`ToolError::IsolationUnavailable`](super::ToolError::IsolationUnavailable).
pub(super) struct Missing(pub(super) GuaranteeSet);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": not guaranteed is {}", self.0) }
    }
}

/// Names of tools, in the order given.
pub(super) struct Names<'a>(pub(super) &'a [ToolId]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.0.iter().enumerate() {
            write!(f, "{}`{id}`", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// What is wrong with arguments, each with its place.
pub(super) struct List<'a>(pub(super) &'a [ArgumentError]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index != 0 {
                f.write_str("; ")?;
            }
            if !error.pointer.is_empty() {
                write!(f, "`{}`: ", error.pointer)?;
            }
            f.write_str(&error.message)?;
        }
        Ok(())
    }
}
