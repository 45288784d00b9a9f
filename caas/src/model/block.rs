//! A document as it was read: its text, and what each part of it is.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::words;

words! {
    /// What a document is written in.
    Format, "format",
    /// Plain text.
    Text = "text",
    /// CommonMark with tables and front matter.
    Markdown = "markdown",
    /// HTML.
    Html = "html",
    /// PDF.
    Pdf = "pdf",
    /// Source code.
    Code = "code",
    /// JSON, or JSON lines.
    Json = "json",
    /// YAML.
    Yaml = "yaml",
    /// TOML.
    Toml = "toml",
    /// Comma separated values.
    Csv = "csv",
    /// Lines with a time or a level.
    Log = "log",
}

words! {
    /// A programming language.
    Language, "language",
    /// C.
    C = "c",
    /// C++.
    Cpp = "cpp",
    /// Go.
    Go = "go",
    /// Java.
    Java = "java",
    /// JavaScript.
    JavaScript = "javascript",
    /// Python.
    Python = "python",
    /// Rust.
    Rust = "rust",
    /// TypeScript.
    TypeScript = "typescript",
}

/// The headings above a part of a text, or the items around a part of a program, outermost first. The title of the
/// document is not in it.
pub type Path = Arc<[Arc<str>]>;

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BlockKind {
    /// The title of the document.
    Title,
    /// A heading, with its level from 1.
    Heading(u8),
    /// Running text.
    Paragraph,
    /// An entry of a list.
    ListItem,
    /// Quoted text.
    Quote,
    /// A whole table, or rows of one.
    Table,
    /// Code inside of a text.
    Code,
    /// The lines that name and type an item of a program, with its comments and attributes.
    Signature,
    /// The rest of an item of a program.
    Body,
    /// A comment of a program that belongs to no item.
    Comment,
    /// What a program imports.
    Imports,
    /// Copyright and licence.
    Licence,
    /// Navigation, a table of contents.
    Navigation,
    /// What is at the top or the bottom of most pages.
    Repeated,
    /// A record of a file of data, or a line of a log.
    Record,
}

/// How much the words of a block tell what the document is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// Licences, navigation, imports, repeated lines.
    Low,
    /// Running text and code.
    Medium,
    /// Titles, headings, signatures.
    High,
}

impl BlockKind {
    /// The tier of the kind. It follows from what a block is, never from the words in it.
    #[must_use]
    pub const fn tier(self) -> Tier {
        match self {
            Self::Title | Self::Heading(_) | Self::Signature => Tier::High,
            Self::Imports | Self::Licence | Self::Navigation | Self::Repeated => Tier::Low,
            Self::Paragraph
            | Self::ListItem
            | Self::Quote
            | Self::Table
            | Self::Code
            | Self::Body
            | Self::Comment
            | Self::Record => Tier::Medium,
        }
    }
}

/// A part of a document that is one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Bytes of [`Parsed::text`], on the borders of characters.
    pub range: Range<usize>,
    /// What it lies beneath, at its first byte. A heading is not beneath itself.
    pub path: Path,
    /// Its page, from 1, where the format has pages.
    pub page: Option<u32>,
    /// The language, where it is code.
    pub language: Option<Language>,
}

/// Why something of the source is not in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RemovedKind {
    /// Scripts and styles.
    Script,
    /// A comment of the format.
    Comment,
    /// Text that a reader would not see: a way to say something to a model alone.
    Hidden,
}

/// Something of the source that is not in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Why.
    pub kind: RemovedKind,
    /// What it said, at most its first kilobyte.
    pub text: String,
    /// Its whole length in bytes.
    pub bytes: usize,
}

/// A document as it was read.
///
/// INVARIANT: the blocks are in ascending order, do not overlap, and cover every byte of `text` that is not white space.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What it was read as.
    pub format: Format,
    /// The language of a program.
    pub language: Option<Language>,
    /// The title that the document gives itself.
    pub title: Option<String>,
    /// The text: UTF-8 with `\n` line ends and no markup that a reader would not see.
    pub text: String,
    /// What its parts are.
    pub blocks: Vec<Block>,
    /// What of the source is not in the text.
    pub removed: Vec<Removed>,
    /// What the document says of itself in front matter or properties.
    pub attributes: BTreeMap<String, Value>,
    /// Pages, where the format has them.
    pub pages: Option<u32>,
    /// Characters that could not be decoded and were replaced.
    pub replaced: usize,
    /// The part of the text that followed the grammar of its format, 0 to 1.
    pub quality: f32,
}
