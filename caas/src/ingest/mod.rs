//! From bytes to blocks: what a document is written in, its text, and what each part of it is.
//!
//! [`Parser::parse`] reads one document, [`Folder`] the files of a directory. Every bound is in [`Limits`], and whatever is
//! over one is an error: a text is never cut in silence.

mod code;
mod csv;
mod decode;
mod draft;
mod error;
mod folder;
mod format;
mod html;
mod json;
mod limits;
mod log;
mod markdown;
#[cfg(feature = "pdf")]
mod pdf;
mod plain;
mod raw_html;
mod records;
mod removals;
mod toml;
mod yaml;

use std::panic::{AssertUnwindSafe, catch_unwind};

use agent_primitives::Digest;

pub use decode::Offsets;
pub use error::IngestError;
pub use folder::{
    Changes, Failed, Folder, FolderDocument, Found, Ignored, Known, Progress, Report, Stamp, Survey,
};
pub use format::{Declared, detect_format};
pub use limits::Limits;

use crate::model::{Format, Language, Parsed};

/// Domain of [`Ingested::digest`].
const TEXT_DOMAIN: &str = "agent-os caas text v1";

/// A document that was read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ingested {
    /// Its text and what the parts of it are.
    pub parsed: Parsed,
    /// Digest of the text. Documents that say the same have the same, whatever they are written in.
    pub digest: Digest,
    /// The encoding it was in, by its name in the WHATWG standard; `None` for a PDF.
    pub encoding: Option<&'static str>,
    /// Where its text is in its source; `None` for HTML and PDF, whose text is made from a tree and from drawing instructions.
    pub offsets: Option<Offsets>,
}

/// Reads documents. Clones share the threads that are counted as stuck.
#[derive(Clone, Debug)]
pub struct Parser {
    limits: Limits,
    #[cfg(feature = "pdf")]
    workers: pdf::Workers,
}

impl Parser {
    /// A parser that keeps to `limits`.
    ///
    /// # Errors
    /// [`IngestError::BadLimits`].
    pub fn new(limits: Limits) -> Result<Self, IngestError> {
        limits.check()?;
        Ok(Self {
            limits,
            #[cfg(feature = "pdf")]
            workers: pdf::Workers::default(),
        })
    }

    /// The bounds it keeps to.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Reads one document. Blocks the thread: for as long as [`Limits::time`] for a PDF, and for a second or so at most for a
    /// text of the largest size. Parsers that panic are caught.
    ///
    /// ```
    /// use caas_core::ingest::{Declared, Limits, Parser};
    ///
    /// let parser = Parser::new(Limits::DEFAULT)?;
    /// let read = parser.parse(b"# Refunds\n\nWithin 30 days.\n", &Declared::named("refunds.md"))?;
    /// assert_eq!(read.parsed.title.as_deref(), Some("Refunds"));
    /// assert_eq!(read.parsed.blocks.len(), 2);
    /// # Ok::<(), caas_core::ingest::IngestError>(())
    /// ```
    ///
    /// # Errors
    /// Every variant of [`IngestError`] but those of files; nothing of the document is returned then.
    pub fn parse(&self, raw: &[u8], declared: &Declared<'_>) -> Result<Ingested, IngestError> {
        if self.limits.raw < raw.len() {
            return Err(IngestError::TooLarge { what: "bytes of source", limit: self.limits.raw });
        }
        let known = format::by_bytes(raw, declared)?;
        if let Some((Format::Pdf, _)) = known {
            let parsed = self.pdf(raw)?;
            return Ok(Ingested { digest: digest(&parsed), parsed, encoding: None, offsets: None });
        }
        let limits = self.limits;
        let read = catch_unwind(AssertUnwindSafe(|| read(raw, known, declared, &limits)));
        read.unwrap_or_else(|panic| {
            let format = known.map_or(Format::Text, |(format, _)| format);
            Err(IngestError::Crashed { format, why: said(panic.as_ref()) })
        })
    }

    #[cfg(feature = "pdf")]
    fn pdf(&self, raw: &[u8]) -> Result<Parsed, IngestError> {
        self.workers.parse(raw, &self.limits)
    }

    #[cfg(not(feature = "pdf"))]
    #[expect(clippy::unused_self, reason = "the parser of PDF has state")]
    const fn pdf(&self, _: &[u8]) -> Result<Parsed, IngestError> {
        Err(IngestError::Unsupported { what: "a PDF", why: "the feature `pdf` is off" })
    }
}

fn read(
    raw: &[u8],
    known: Option<(Format, Option<Language>)>,
    declared: &Declared<'_>,
    limits: &Limits,
) -> Result<Ingested, IngestError> {
    let decoded = decode::decode(raw, limits)?;
    let (format, language) = match known {
        Some(known) => known,
        None => format::by_content(&decoded.text, declared, limits)?,
    };
    let (mut parsed, offsets) = if format == Format::Html {
        (html::parse(&decoded.text, limits)?, None)
    } else {
        limits.text(decoded.text.len())?;
        let (parsed, offsets) = text(decoded.text, decoded.offsets, format, language, limits)?;
        (parsed, Some(offsets))
    };
    parsed.replaced = decoded.replaced;
    Ok(Ingested { digest: digest(&parsed), parsed, encoding: Some(decoded.encoding), offsets })
}

/// The formats whose text is their source.
fn text(
    text: String,
    offsets: Offsets,
    format: Format,
    language: Option<Language>,
    limits: &Limits,
) -> Result<(Parsed, Offsets), IngestError> {
    let mut parsed = Parsed {
        format,
        language: None,
        title: None,
        text,
        blocks: Vec::new(),
        removed: Vec::new(),
        attributes: std::collections::BTreeMap::new(),
        pages: None,
        replaced: 0,
        quality: 1.0,
    };
    let mut offsets = offsets;
    match (format, language) {
        (Format::Markdown, _) => {
            let unseen = markdown::unseen(&parsed.text);
            if !unseen.cuts.is_empty() {
                offsets = offsets.without(&unseen.cuts);
                parsed.text = without(&parsed.text, &unseen.cuts);
            }
            if parsed.text.trim().is_empty() {
                return Err(IngestError::Empty);
            }
            let document = markdown::parse(&parsed.text, limits)?;
            let named = unseen.attributes.get("title").and_then(serde_json::Value::as_str).map(str::to_owned);
            parsed.title = named.or(document.title);
            parsed.blocks = document.blocks;
            (parsed.removed, parsed.attributes) = (unseen.removed, unseen.attributes);
        }
        (Format::Code, Some(language)) => {
            parsed.language = Some(language);
            (parsed.blocks, parsed.quality) = code::parse(&parsed.text, language, limits)?;
        }
        (Format::Json, _) => (parsed.blocks, parsed.quality) = json::parse(&parsed.text, limits)?,
        (Format::Yaml, _) => (parsed.blocks, parsed.quality) = yaml::parse(&parsed.text, limits)?,
        (Format::Toml, _) => (parsed.blocks, parsed.quality) = toml::parse(&parsed.text, limits)?,
        (Format::Csv, _) => (parsed.blocks, parsed.quality) = csv::parse(&parsed.text, limits)?,
        (Format::Log, _) => parsed.blocks = log::parse(&parsed.text, limits)?,
        _ => parsed.blocks = plain::parse(&parsed.text, limits)?,
    }
    Ok((parsed, offsets))
}

/// A text without some ranges of it, in ascending order.
fn without(text: &str, cuts: &[std::ops::Range<usize>]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for cut in cuts {
        out.push_str(text.get(at..cut.start).unwrap_or_default());
        at = at.max(cut.end);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

fn digest(parsed: &Parsed) -> Digest {
    Digest::of(TEXT_DOMAIN, parsed.text.as_bytes())
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
    error::shortened(&said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default())
}
