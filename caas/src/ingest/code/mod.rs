//! Source code: each item with its signature, and what is no item.

#[cfg(feature = "grammars")]
mod grammar;
#[cfg(feature = "grammars")]
mod kinds;
#[cfg(feature = "grammars")]
mod read;
#[cfg(feature = "grammars")]
mod walk;

use super::draft::{Draft, Gaps};
use super::{IngestError, Limits, plain};
use crate::model::{Block, BlockKind, Language};

/// The blocks of a program, and the part of it that its grammar has read, 0 to 1.
///
/// Without the feature of its language, and for a program that its grammar gives up on, blank lines part the blocks, and the part
/// that was read is none.
pub(super) fn parse(
    text: &str,
    language: Language,
    limits: &Limits,
) -> Result<(Vec<Block>, f32), IngestError> {
    let (mut blocks, quality) = match by_grammar(text, language, limits)? {
        Some(read) => read,
        None => (by_lines(text, limits)?, 0.0),
    };
    for block in &mut blocks {
        block.language = Some(language);
    }
    Ok((blocks, quality))
}

#[cfg(feature = "grammars")]
fn by_grammar(
    text: &str,
    language: Language,
    limits: &Limits,
) -> Result<Option<(Vec<Block>, f32)>, IngestError> {
    let kinds = kinds::Kinds::of(language);
    let Some(read) = read::read(text, language, kinds) else { return Ok(None) };
    let marks = walk::marks(text, &read.tree, kinds, limits)?;
    let mut draft = Draft::new(text, Gaps::Block(BlockKind::Body), limits);
    let ends = marks.iter().skip(1).map(|mark| mark.start).chain([text.len()]);
    for (mark, end) in marks.iter().zip(ends) {
        draft.push(mark.kind, mark.start..end, &mark.path)?;
    }
    Ok(Some((draft.finish()?, read.quality)))
}

#[cfg(not(feature = "grammars"))]
#[expect(clippy::unnecessary_wraps, reason = "grammars can fail")]
const fn by_grammar(_: &str, _: Language, _: &Limits) -> Result<Option<(Vec<Block>, f32)>, IngestError> {
    Ok(None)
}

fn by_lines(text: &str, limits: &Limits) -> Result<Vec<Block>, IngestError> {
    let mut draft = Draft::new(text, Gaps::Block(BlockKind::Body), limits);
    for range in plain::paragraphs(text) {
        draft.push(BlockKind::Body, range, &[].into())?;
    }
    draft.finish()
}

#[cfg(test)]
mod tests;
