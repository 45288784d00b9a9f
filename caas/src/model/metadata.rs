//! What the host says of a document: where it is from, when it was true, and who may read it.

use std::collections::{BTreeMap, BTreeSet};

use agent_primitives::{LabelSet, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BadModel, DocumentId, words};

words! {
    /// What kind of source a document is from. The host declares it.
    SourceKind, "kind of source",
    /// What those who make a thing say about it.
    OfficialDocs = "official_docs",
    /// What was observed when it ran.
    PracticalLogs = "practical_logs",
    /// What people wrote to each other.
    TeamChat = "team_chat",
    /// Comments in code.
    CodeComments = "code_comments",
    /// Tickets and issues.
    Ticket = "ticket",
    /// What to do when something happens.
    Runbook = "runbook",
    /// A wiki.
    Wiki = "wiki",
    /// Minutes.
    MeetingNotes = "meeting_notes",
    /// Nobody said.
    Unknown = "unknown",
}

words! {
    /// Who a document is meant for, from everybody to few. Whoever reads through a [`Guard`](crate::guard::Guard) needs at least the
    /// same clearance; an index by itself asks nobody.
    Classification, "classification",
    /// Everybody.
    Public = "public",
    /// Everybody of the house.
    Internal = "internal",
    /// Those who need it.
    Confidential = "confidential",
    /// Those who are named.
    Secret = "secret",
}

/// Where a document is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What kind of source.
    pub kind: SourceKind,
    /// Its name, for people.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it can be looked up.
    #[serde(default)]
    pub url: Option<String>,
}

impl Source {
    /// A source of a kind, without name and address.
    #[must_use]
    pub const fn of(kind: SourceKind) -> Self {
        Self { kind, name: None, url: None }
    }
}

/// Who may read a document, clearance aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Readers {
    /// Everyone who may read the collection.
    Everyone,
    /// Those who are, or belong to, one of these; nobody where there is none.
    Only(BTreeSet<String>),
}

/// What the host says of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// The title; the document's own is used where there is none.
    #[serde(default)]
    pub title: Option<String>,
    /// Where it is from.
    pub source: Source,
    /// When it was written.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// When it was last changed. Its age is counted from here, never from when it was ingested.
    #[serde(default)]
    pub updated_at: Option<Timestamp>,
    /// From when on it holds; always, where there is none.
    #[serde(default)]
    pub valid_from: Option<Timestamp>,
    /// Until when it holds, exclusive; for ever, where there is none.
    #[serde(default)]
    pub valid_to: Option<Timestamp>,
    /// The documents whose place it takes.
    #[serde(default)]
    pub supersedes: Vec<DocumentId>,
    /// What is known of its content. Whoever reads a chunk gets them with it.
    #[serde(default)]
    pub labels: LabelSet,
    /// Who it is meant for.
    pub classification: Classification,
    /// Who may read it.
    pub readers: Readers,
    /// Whatever else searches are filtered by.
    #[serde(default)]
    pub attributes: BTreeMap<String, Value>,
}

impl Metadata {
    /// Most documents that one supersedes.
    pub const MAX_SUPERSEDED: usize = 64;
    /// Most readers that are named.
    pub const MAX_READERS: usize = 1024;
    /// Most attributes.
    pub const MAX_ATTRIBUTES: usize = 64;

    /// Nothing but a source and a classification; everyone of the collection may read it.
    #[must_use]
    pub const fn new(source: Source, classification: Classification) -> Self {
        Self {
            title: None,
            source,
            created_at: None,
            updated_at: None,
            valid_from: None,
            valid_to: None,
            supersedes: Vec::new(),
            labels: LabelSet::EMPTY,
            classification,
            readers: Readers::Everyone,
            attributes: BTreeMap::new(),
        }
    }

    /// Whether it can be the metadata of `document`.
    ///
    /// # Errors
    /// `EmptyValidity`, `SupersedesItself`, `TooMany`.
    pub fn check(&self, document: &DocumentId) -> Result<(), BadModel> {
        if self.valid_from.zip(self.valid_to).is_some_and(|(from, to)| to <= from) {
            return Err(BadModel::EmptyValidity);
        }
        if self.supersedes.contains(document) {
            return Err(BadModel::SupersedesItself(document.clone()));
        }
        let readers = match &self.readers {
            Readers::Everyone => 0,
            Readers::Only(readers) => readers.len(),
        };
        for (what, count, limit) in [
            ("superseded documents", self.supersedes.len(), Self::MAX_SUPERSEDED),
            ("readers", readers, Self::MAX_READERS),
            ("attributes", self.attributes.len(), Self::MAX_ATTRIBUTES),
        ] {
            if limit < count {
                return Err(BadModel::TooMany { what, limit });
            }
        }
        Ok(())
    }
}
