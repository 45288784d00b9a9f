//! The parts of a chunk that are weighed apart.

use crate::{Chunk, Tier};

use super::analyze::Stems;
use super::{Analyzer, LexicalDocument, LexicalError, Tokens};

/// A part of a chunk that has a weight of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The title of the document.
    Title,
    /// What the chunk lies beneath.
    Path,
    /// The signatures around it.
    Outline,
    /// Text of [`Tier::High`].
    High,
    /// Text of [`Tier::Medium`].
    Medium,
    /// Text of [`Tier::Low`].
    Low,
}

/// How many fields there are.
pub(super) const FIELDS: usize = 6;
/// How many lengths a chunk has: one for its text, whatever the tiers, and one for each other field.
pub(super) const GROUPS: usize = 4;

impl Field {
    /// Every one, in order.
    pub const ALL: [Self; FIELDS] =
        [Self::Title, Self::Path, Self::Outline, Self::High, Self::Medium, Self::Low];

    /// The length that a count in it is seen against.
    pub(super) const fn group(self) -> usize {
        match self {
            Self::Title => 0,
            Self::Path => 1,
            Self::Outline => 2,
            Self::High | Self::Medium | Self::Low => 3,
        }
    }

    const fn of(tier: Tier) -> Self {
        match tier {
            Tier::High => Self::High,
            Tier::Medium => Self::Medium,
            Tier::Low => Self::Low,
        }
    }
}

/// Longest text of one field of a chunk, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// Most tokens of a chunk.
const MAX_TOKENS: usize = 1 << 16;

impl LexicalDocument<'_> {
    /// What is to be kept of stems while all these are taken apart.
    pub(super) fn stems(documents: &[Self]) -> Stems {
        let chunks = documents.iter().flat_map(|document| document.chunks);
        Stems::for_bytes(chunks.map(|chunk| chunk.text.len()).sum())
    }
}

/// A chunk by its tokens.
pub(super) struct AnalyzedChunk {
    pub(super) analyzer: Analyzer,
    pub(super) fields: [Tokens; FIELDS],
}

impl AnalyzedChunk {
    pub(super) fn new(
        document: &LexicalDocument<'_>,
        chunk: &Chunk,
        stems: &mut Stems,
    ) -> Result<Self, LexicalError> {
        let analyzer = Analyzer::of(chunk.language);
        let mut fields: [Tokens; FIELDS] = Default::default();
        for (field, tokens) in Field::ALL.into_iter().zip(&mut fields) {
            let text = text_of(field, document, chunk)?;
            if MAX_BYTES < text.len() {
                return Err(LexicalError::TooLarge { what: "bytes of a field", limit: MAX_BYTES });
            }
            *tokens = analyzer.analyze_with(&text, stems);
        }
        if MAX_TOKENS < fields.iter().map(Tokens::len).sum() {
            return Err(LexicalError::TooLarge { what: "tokens of a chunk", limit: MAX_TOKENS });
        }
        Ok(Self { analyzer, fields })
    }

    pub(super) fn lengths(&self) -> [u32; GROUPS] {
        let mut lengths = [0; GROUPS];
        for (field, tokens) in Field::ALL.into_iter().zip(&self.fields) {
            if let Some(length) = lengths.get_mut(field.group()) {
                // Fits: a chunk has no more than `MAX_TOKENS`.
                *length += u32::try_from(tokens.parts()).unwrap_or(u32::MAX);
            }
        }
        lengths
    }
}

/// Parts are set apart by a line end, so that no word and no phrase reaches over the border.
fn text_of<'t>(
    field: Field,
    document: &'t LexicalDocument<'_>,
    chunk: &'t Chunk,
) -> Result<std::borrow::Cow<'t, str>, LexicalError> {
    Ok(match field {
        Field::Title => document.title.into(),
        Field::Path => chunk.path.join("\n").into(),
        Field::Outline => chunk.outline.as_deref().unwrap_or_default().into(),
        Field::High | Field::Medium | Field::Low => {
            let mut text = String::new();
            for (tier, range) in &chunk.tiers {
                if Field::of(*tier) == field {
                    let part = chunk.text.get(range.clone()).ok_or(LexicalError::BadChunk {
                        chunk: chunk.id,
                        why: "a tier is no part of its text",
                    })?;
                    text.push_str(part);
                    text.push('\n');
                }
            }
            text.into()
        }
    })
}
