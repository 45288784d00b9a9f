//! What is in a context and what is not, and why.

use std::ops::Range;
use std::sync::Arc;

use agent_primitives::{Digest, LabelSet, Timestamp};

use super::fill::Filled;
use super::{AssembleError, Assembled, Layer, Order};
use crate::model::{ChunkId, DocumentId, Found, Path, Scores, Source};

/// Where a part is from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Origin {
    /// An item of the hot or the warm layer.
    Item {
        /// Its name.
        id: Arc<str>,
    },
    /// A chunk of a document.
    Chunk {
        /// The chunk.
        chunk: ChunkId,
        /// Its document.
        document: DocumentId,
        /// The digest of the document as it was indexed.
        version: Digest,
        /// The document's title.
        title: Arc<str>,
        /// What the chunk lies beneath.
        path: Path,
        /// Its bytes in the document's text.
        range: Range<usize>,
        /// Its page.
        page: Option<u32>,
        /// Where the document is from.
        source: Source,
        /// When the document was last changed.
        updated_at: Option<Timestamp>,
    },
}

impl Origin {
    pub(super) fn of(found: &Found) -> Self {
        let (chunk, metadata) = (&found.chunk, &found.metadata);
        Self::Chunk {
            chunk: chunk.id,
            document: found.document.clone(),
            version: found.version,
            title: Arc::clone(&found.title),
            path: Arc::clone(&chunk.path),
            range: chunk.range.clone(),
            page: chunk.page,
            source: metadata.source.clone(),
            updated_at: metadata.updated_at.or(metadata.created_at),
        }
    }

    /// What parts are sorted by in the order of documents.
    pub(super) fn position(&self) -> (Option<DocumentId>, usize) {
        match self {
            Self::Item { .. } => (None, 0),
            Self::Chunk { document, range, .. } => (Some(document.clone()), range.start),
        }
    }

    pub(super) const fn chunk(&self) -> Option<ChunkId> {
        match self {
            Self::Item { .. } => None,
            Self::Chunk { chunk, .. } => Some(*chunk),
        }
    }
}

/// Why a part is there.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Why {
    /// It is in the layer, with this priority.
    Priority(f64),
    /// It was found, at this place from 1, with these scores.
    Found(usize, Scores),
    /// It stands beside a chunk that was found.
    Neighbour(ChunkId),
}

/// A part of a context.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The number under which the text has it.
    pub number: usize,
    /// Its layer.
    pub layer: Layer,
    /// Where it is from.
    pub origin: Origin,
    /// Why it is there.
    pub why: Why,
    /// Its tokens, borders included.
    pub tokens: usize,
    /// Whether it is shorter than what it is from.
    pub cut: bool,
    /// What is known of its content.
    pub labels: LabelSet,
}

/// Why something is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There was no room for it.
    NoRoom,
    /// What is of low value had its share.
    LowValue,
    /// It is there already.
    Duplicate,
    /// It holds what marks the borders of this context.
    HoldsMark,
    /// What a note is about is not all there.
    Incomplete,
}

/// Something that is not in a context.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LeftOut {
    /// A part.
    Part(Origin, Reason),
    /// A note, by its place among those given.
    Note(usize, Reason),
}

/// The answer: receipts in the order of the text.
pub(super) fn assembled(
    filled: Filled,
    order: Order,
    text: String,
    tokens: usize,
    counter: &str,
) -> Result<Assembled, AssembleError> {
    let mut labels = LabelSet::EMPTY;
    let mut receipts = Vec::new();
    for (number, part) in (1..).zip(filled.in_order(order)) {
        labels = labels.join(&part.labels)?;
        receipts.push(Receipt {
            number,
            layer: part.layer,
            origin: part.origin.clone(),
            why: part.why.clone(),
            tokens: part.tokens,
            cut: part.cut,
            labels: part.labels.clone(),
        });
    }
    Ok(Assembled { text, tokens, counter: counter.to_owned(), receipts, left_out: filled.left_out, labels })
}
