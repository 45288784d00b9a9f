//! PDF: the text of its pages, as far as it has one.

mod font;
mod layout;
mod objects;
mod page;
mod workers;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use lopdf::{DecompressError, Document, Error, Object};
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
/// Most bytes that one stream may become, however large the file: its instructions take forty times as much memory. A page
/// with more is left out, and counted.
const MAX_STREAM: usize = 8 << 20;

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
    fn spend(&mut self, bytes: usize) -> Result<(), IngestError> {
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

    /// What a stream became, if it is no larger than one may be; `None` then. An error if nothing is left of all that may be
    /// spent.
    pub(super) fn stream(
        &mut self,
        decompress: impl FnOnce(usize) -> lopdf::Result<Vec<u8>>,
    ) -> Result<Option<Vec<u8>>, IngestError> {
        self.check()?;
        match decompress(self.stream.min(self.left)) {
            Ok(content) => {
                self.spend(content.len())?;
                Ok(Some(content))
            }
            Err(error) if is_too_large(&error) && self.stream < self.left => {
                self.spend(self.stream)?;
                Ok(None)
            }
            Err(error) => Err(refused(&error, self)),
        }
    }

    const fn bomb(&self) -> IngestError {
        IngestError::TooLarge { what: "times its size when decompressed", limit: self.limits.ratio }
    }
}

/// Reads a PDF. Runs on a thread of [`Workers`].
fn read(raw: &[u8], limits: &Limits, given_up: &AtomicBool) -> Result<Parsed, IngestError> {
    let total = raw.len().saturating_mul(limits.ratio).max(FREE);
    let mut budget = Budget { limits, given_up, stream: total.min(MAX_STREAM), left: total };
    let document = objects::open(raw, &mut budget)?;
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
    for (name, pages) in [("pages_without_text", read.blank), ("pages_left_out", read.left_out)] {
        if 0 < pages {
            attributes.insert(name.to_owned(), pages.into());
        }
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

const fn is_too_large(error: &Error) -> bool {
    matches!(
        error,
        Error::Decompress(
            DecompressError::MemoryLimitExceeded { .. } | DecompressError::TooManyFilters { .. }
        )
    )
}

/// What an error of the library is to us.
fn refused(error: &Error, budget: &Budget<'_>) -> IngestError {
    match error {
        error if is_too_large(error) => budget.bomb(),
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
