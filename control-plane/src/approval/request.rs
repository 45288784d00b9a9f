//! What a human is asked, and where the answer stands.

use agent_primitives::ticket::{Grant, Terms, TicketState};
use agent_primitives::{AgentId, LabelSet, TenantId, Ticket, TicketId, Timestamp};
use serde::{Deserialize, Serialize};

/// Most bytes of a call that are shown to an approver; more is cut, and says so at the front.
pub const MAX_SHOWN: usize = 16 << 10;

/// A ticket and what it is about, fit to be shown to a human: no control or formatting character is in any text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub(crate) ticket: Ticket,
    pub(crate) what: String,
    pub(crate) rules: Vec<String>,
    pub(crate) tenant: Option<TenantId>,
    pub(crate) labels: LabelSet,
    /// Which life of the agent asked.
    pub(crate) generation: u64,
}

impl Request {
    /// Names the ticket.
    #[must_use]
    pub fn id(&self) -> TicketId {
        self.ticket.id()
    }

    /// The ticket, with the digest it is bound to.
    #[must_use]
    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The agent that asks.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        self.ticket.requester()
    }

    /// Which life of the agent asked.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whose agent it is, if the host said so.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// What would be done, in one line: the call with its arguments, escaped, at most [`MAX_SHOWN`] bytes of them.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The rules that ask, the first eight of them.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        &self.rules
    }

    /// What was known of everything the agent had read when it asked.
    #[must_use]
    pub fn labels(&self) -> &LabelSet {
        &self.labels
    }

    /// Whose consent it takes, and how much they may consent to.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        self.ticket.terms()
    }

    /// When it was asked for.
    #[must_use]
    pub fn asked(&self) -> Timestamp {
        self.ticket.asked()
    }

    /// From when on no answer counts.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.ticket.expires()
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> TicketState {
        self.ticket.state()
    }

    /// Who has agreed so far.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        self.ticket.grants()
    }
}

/// Text made fit for one line: every character that does not print as itself is escaped, as `\u{…}`. Quotes and
/// backslashes stay, so that JSON reads as JSON, in which no `\u{` can stand by itself.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_SHOWN));
    for (at, char) in text.char_indices() {
        if MAX_SHOWN <= at {
            return format!("(cut to {at} of {} bytes) {shown}", text.len());
        }
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            other => shown.extend(other.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_deceive_a_reader_is_escaped_and_what_is_cut_says_so() {
        let cases = [
            (r#"tool `pay` {"to":"bob"}"#, r#"tool `pay` {"to":"bob"}"#),
            ("a\nb\u{1b}[2Jc\t", r"a\nb\u{1b}[2Jc\t"),
            ("pay \u{202e}oof\u{200b}", r"pay \u{202e}oof\u{200b}"),
            ("e\u{301}\u{fe0f}", r"e\u{301}\u{fe0f}"),
        ];
        for (text, shown) in cases {
            assert_eq!(printable(text), shown);
        }
        let long = printable(&"x".repeat(MAX_SHOWN + 7));
        assert!(long.starts_with("(cut to 16384 of 16391 bytes) xxx"));
    }
}
