//! Source code.

use super::draft::{Draft, Gaps};
use super::{IngestError, Limits, plain};
use crate::model::{Block, BlockKind, Language};

/// The blocks of a program, and the part of it that its grammar has read, 0 to 1.
///
/// No grammar is built in yet: blank lines part the blocks, and the part that was read is none.
pub(super) fn parse(
    text: &str,
    language: Language,
    limits: &Limits,
) -> Result<(Vec<Block>, f32), IngestError> {
    let mut draft = Draft::new(text, Gaps::Block(BlockKind::Body), limits);
    for range in plain::paragraphs(text) {
        draft.push(BlockKind::Body, range, &[].into())?;
    }
    let mut blocks = draft.finish()?;
    for block in &mut blocks {
        block.language = Some(language);
    }
    Ok((blocks, 0.0))
}
