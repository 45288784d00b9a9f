//! PDF: the text of its pages, as far as it has one.

mod font;
mod layout;
mod page;
mod workers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use lopdf::{DecompressError, Document, Error, LoadOptions, Object};
use serde_json::Value;
pub(super) use workers::Workers;

use super::draft::{Draft, Gaps};
use super::error::shortened;
use super::removals::Removals;
use super::{IngestError, Limits};
use crate::model::{Format, Parsed, RemovedKind};
use page::Pages;

/// A stream of a small file may still become this large: the ratio of a few hundred bytes says nothing.
const FREE: usize = 64 << 10;
/// Most bytes that one stream may become, however large the file: its instructions take ten times as much memory.
const MAX_STREAM: usize = 16 << 20;

/// How the text of a PDF is bounded while it is made.
pub(super) struct Budget<'l> {
    pub(super) limits: &'l Limits,
    pub(super) given_up: &'l AtomicBool,
    /// Bytes that one stream may become.
    pub(super) stream: usize,
    /// Bytes that all of them may still become.
    pub(super) left: usize,
}

impl Budget<'_> {
    /// Books what a stream became.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), IngestError> {
        self.check()?;
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.bomb()),
        }
    }

    /// Ends the work of a thread that nobody waits for.
    pub(super) fn check(&self) -> Result<(), IngestError> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(IngestError::Timeout { limit: self.limits.time });
        }
        Ok(())
    }

    pub(super) fn most(&self) -> usize {
        self.stream.min(self.left)
    }

    pub(super) const fn bomb(&self) -> IngestError {
        IngestError::TooLarge { what: "times its size when decompressed", limit: self.limits.ratio }
    }
}

/// Reads a PDF. Runs on a thread of [`Workers`].
fn read(raw: &[u8], limits: &Limits, given_up: &AtomicBool) -> Result<Parsed, IngestError> {
    let total = raw.len().saturating_mul(limits.ratio).max(FREE);
    let mut budget = Budget { limits, given_up, stream: total.min(MAX_STREAM), left: total };
    let options = LoadOptions::with_max_decompressed_size(budget.stream);
    let document = Document::load_mem_with_options(raw, options).map_err(|error| refused(&error, &budget))?;
    if document.is_encrypted() && !document.was_encrypted() {
        return Err(IngestError::Encrypted);
    }
    let numbers = document.get_pages();
    let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    if count == 0 {
        return Err(IngestError::Malformed { format: Format::Pdf, why: "it has no pages".to_owned() });
    }
    let mut pages = Pages::new(&document);
    for (number, id) in numbers {
        pages.read(number, id, &mut budget)?;
    }
    let read = pages.finish();
    let layout = layout::arrange(&read.pages, limits)?;
    if layout.text.trim().is_empty() {
        return Err(IngestError::NoText { pages: count });
    }
    let mut draft = Draft::new(&layout.text, Gaps::Block(crate::model::BlockKind::Paragraph), limits);
    for span in layout.spans {
        if let Some(block) = draft.push(span.kind, span.range, &span.path)? {
            block.page = Some(span.page);
        }
    }
    let blocks = draft.finish()?;
    let mut removals = Removals::default();
    for hidden in &read.hidden {
        removals.add(RemovedKind::Hidden, hidden);
    }
    let (title, mut attributes) = properties(&document);
    if 0 < read.blank {
        attributes.insert("pages_without_text".to_owned(), read.blank.into());
    }
    Ok(Parsed {
        format: Format::Pdf,
        language: None,
        title,
        blocks,
        text: layout.text,
        removed: removals.into_list(),
        attributes,
        pages: Some(count),
        replaced: read.replaced,
        quality: read.quality,
    })
}

/// What an error of the library is to us.
pub(super) fn refused(error: &Error, budget: &Budget<'_>) -> IngestError {
    match error {
        Error::Decompress(
            DecompressError::MemoryLimitExceeded { .. } | DecompressError::TooManyFilters { .. },
        ) => budget.bomb(),
        Error::InvalidPassword | Error::Decryption(_) | Error::UnsupportedSecurityHandler(_) => {
            IngestError::Encrypted
        }
        _ => IngestError::Malformed { format: Format::Pdf, why: shortened(error) },
    }
}

/// What a PDF says of itself.
fn properties(document: &Document) -> (Option<String>, BTreeMap<String, Value>) {
    let mut said = BTreeMap::new();
    let info = document.trailer.get(b"Info").and_then(|info| document.dereference(info));
    if let Ok((_, Object::Dictionary(info))) = info {
        for (key, name) in [
            ("Title", "title"),
            ("Author", "author"),
            ("Subject", "subject"),
            ("Keywords", "keywords"),
            ("CreationDate", "created"),
        ] {
            let value = info.get_deref(key.as_bytes(), document).and_then(lopdf::decode_text_string);
            if let Ok(value) = value {
                let value: String =
                    value.trim().chars().filter(|char| !char.is_control()).take(1024).collect();
                if !value.is_empty() {
                    said.insert(name.to_owned(), Value::String(value));
                }
            }
        }
    }
    let title = said.remove("title").and_then(|title| title.as_str().map(str::to_owned));
    (title, said)
}
