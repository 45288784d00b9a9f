//! What a chunk lies beneath, and what its document holds, in a few words.

use std::sync::Arc;

use super::ChunkSizes;
use crate::model::{BlockKind, Parsed, Path};
use crate::tokens::TokenCounter;

/// Longest step of a path, in characters.
const MAX_STEP: usize = 120;

/// A path that is short: each step on one line and at most 120 characters, the middle left out, and then steps cut, where all of them
/// are more than [`ChunkSizes::MAX_TRAIL`] tokens.
pub(super) fn path(path: &Path, counter: &dyn TokenCounter) -> Path {
    let short = |step: &Arc<str>| -> Arc<str> {
        let line = step.split_whitespace().collect::<Vec<_>>().join(" ");
        if line == **step && line.chars().count() <= MAX_STEP {
            return Arc::clone(step);
        }
        match line.char_indices().nth(MAX_STEP - 1) {
            Some((end, last)) if end + last.len_utf8() < line.len() => {
                format!("{}…", line.get(..end).unwrap_or_default()).into()
            }
            _ => line.into(),
        }
    };
    // Each is counted once: data may be hundreds of levels deep, and every chunk of it has a path.
    let counted = |step: Arc<str>| (counter.count(&step), step);
    let mut steps: Vec<(usize, Arc<str>)> = path.iter().map(short).map(counted).collect();
    let tokens = |steps: &[(usize, Arc<str>)]| steps.iter().map(|(tokens, _)| tokens).sum::<usize>();
    while 2 < steps.len() && ChunkSizes::MAX_TRAIL < tokens(&steps) {
        let middle = steps.len() / 2;
        // One mark stands for all that were left out.
        if steps.get(middle).is_some_and(|(_, step)| &**step == "…") {
            steps.remove(if middle + 1 < steps.len() - 1 { middle + 1 } else { middle - 1 });
        } else if let Some(step) = steps.get_mut(middle) {
            *step = counted("…".into());
        }
    }
    // Two long steps can still be too much, in scripts with a token or more for each character.
    while ChunkSizes::MAX_TRAIL < tokens(&steps) {
        let Some(longest) = steps.iter_mut().max_by_key(|(_, step)| step.len()) else { break };
        let half = longest.1.chars().count() / 2;
        if half < 2 {
            break;
        }
        *longest = counted(longest.1.chars().take(half - 1).chain(['…']).collect::<String>().into());
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

/// The first lines of the outermost signatures of a program, as many as fit.
pub(super) fn outline(parsed: &Parsed, counter: &dyn TokenCounter) -> Option<Arc<str>> {
    let mut outline = String::new();
    let mut tokens = 0;
    for (place, block) in parsed.blocks.iter().enumerate() {
        if block.kind != BlockKind::Signature || !block.path.is_empty() {
            continue;
        }
        let text = parsed.text.get(block.range.clone()).unwrap_or_default();
        // What is in the item has its name. Where nothing is in it, a comment or an attribute may stand before the signature
        // itself, which is last.
        let inside = parsed.blocks.get(place + 1).and_then(|next| next.path.first());
        let last = || text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        let line = inside.map_or_else(last, AsRef::as_ref);
        let count = counter.count(line) + 1;
        if ChunkSizes::MAX_OUTLINE < tokens + count {
            break;
        }
        tokens += count;
        outline.push_str(line);
        outline.push('\n');
    }
    (!outline.is_empty()).then(|| outline.into())
}
