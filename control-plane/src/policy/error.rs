//! Why a policy was refused, line by line.

use std::fmt;
use std::sync::Arc;

use agent_primitives::suggest;

/// Most errors kept of one document. Compiling it ends soon after the next one.
pub const MAX_ERRORS: usize = 100;

/// One reason why a policy was refused.
///
/// Prints as one line, `file:line:column: message [code]; help`. Text taken from the document stands in backticks,
/// escaped and cut to 80 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    code: Code,
    message: String,
    file: Arc<str>,
    at: Mark,
    help: Option<String>,
}

impl PolicyError {
    /// The stable code, `AK0110` to `AK0139`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code.as_str()
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The document: a path, or the name the caller gave it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, counted from one; zero when the error is about the document as a whole.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.at.line
    }

    /// The column in characters, counted from one; zero when the error is about the document as a whole.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.at.column
    }

    /// What to do about it, if there is something to say.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.at != Mark::NOWHERE {
            write!(f, ":{}:{}", self.at.line, self.at.column)?;
        }
        write!(f, ": {} [{}]", self.message, self.code())?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl std::error::Error for PolicyError {}

/// Everything that is wrong with one policy, in the order of the document; at least one error.
///
/// Prints one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyErrors {
    errors: Vec<PolicyError>,
    left_out: usize,
}

impl PolicyErrors {
    /// The errors, at most [`MAX_ERRORS`].
    #[must_use]
    pub fn errors(&self) -> &[PolicyError] {
        &self.errors
    }

    /// How many more errors were found than are kept. If it is not zero, the document may hold even more.
    #[must_use]
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The stable code of the first error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.errors.first().map_or(Code::Unreadable.as_str(), PolicyError::code)
    }
}

impl PolicyErrors {
    /// The errors of several documents as those of one; `Ok` when there are none.
    pub(super) fn all(results: impl IntoIterator<Item = Result<(), Self>>) -> Result<(), Self> {
        let mut together: Option<Self> = None;
        for more in results.into_iter().filter_map(Result::err) {
            let Some(all) = &mut together else {
                together = Some(more);
                continue;
            };
            let room = MAX_ERRORS.saturating_sub(all.errors.len());
            all.left_out += more.left_out + more.errors.len().saturating_sub(room);
            all.errors.extend(more.errors.into_iter().take(room));
        }
        together.map_or(Ok(()), Err)
    }
}

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            let line_break = if index == 0 { "" } else { "\n" };
            write!(f, "{line_break}{error}")?;
        }
        if 0 < self.left_out { write!(f, "\nand at least {} more", self.left_out) } else { Ok(()) }
    }
}

impl std::error::Error for PolicyErrors {}

/// A place in a document, counted from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Mark {
    /// The document as a whole.
    pub(super) const NOWHERE: Self = Self { line: 0, column: 0 };

    /// The place of a byte of `text`.
    pub(super) fn of_offset(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line = before.rsplit('\n').next().unwrap_or(before);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX - 1) + 1;
        Self { line: count(before.matches('\n').count()), column: count(line.chars().count()) }
    }
}

/// The stable codes. Numbers are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Unreadable,
    TooLarge,
    UnknownField,
    UnknownWord,
    Syntax,
    DuplicateKey,
    Limit,
    NotData,
    NotOneDocument,
    Version,
    Missing,
    WrongType,
    Empty,
    BadName,
    DuplicateRule,
    Selector,
    AlwaysAllowed,
    BadPattern,
    BadRegex,
    BadOperand,
    BadSubject,
    UnknownTool,
    Misplaced,
    Layer,
    #[cfg_attr(
        not(any(feature = "cedar", feature = "rego")),
        expect(dead_code, reason = "codes keep their place")
    )]
    Engine,
    Unenforceable,
    Case,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "AK0110",
            Self::TooLarge => "AK0111",
            Self::UnknownField => "AK0112",
            Self::UnknownWord => "AK0113",
            Self::Syntax => "AK0114",
            Self::DuplicateKey => "AK0115",
            Self::Limit => "AK0116",
            Self::NotData => "AK0117",
            Self::NotOneDocument => "AK0118",
            Self::Version => "AK0119",
            Self::Missing => "AK0120",
            Self::WrongType => "AK0121",
            Self::Empty => "AK0122",
            Self::BadName => "AK0123",
            Self::DuplicateRule => "AK0124",
            Self::Selector => "AK0125",
            Self::AlwaysAllowed => "AK0126",
            Self::BadPattern => "AK0127",
            Self::BadRegex => "AK0128",
            Self::BadOperand => "AK0129",
            Self::BadSubject => "AK0130",
            Self::UnknownTool => "AK0131",
            Self::Misplaced => "AK0132",
            Self::Layer => "AK0136",
            Self::Engine => "AK0137",
            Self::Unenforceable => "AK0138",
            Self::Case => "AK0139",
        }
    }
}

/// Collects errors so that one reading of a document finds as many as it can.
#[derive(Debug)]
pub(super) struct Report {
    file: Arc<str>,
    errors: Vec<PolicyError>,
    left_out: usize,
}

impl Report {
    pub(super) fn new(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), errors: Vec::new(), left_out: 0 }
    }

    pub(super) fn add(&mut self, code: Code, at: Mark, message: impl Into<String>) {
        self.push(code, at, message.into(), None);
    }

    pub(super) fn add_help(
        &mut self,
        code: Code,
        at: Mark,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(code, at, message.into(), Some(help.into()));
    }

    /// Reports a word outside of a closed list, and the one that was probably meant.
    pub(super) fn unknown(&mut self, code: Code, at: Mark, what: &str, found: &str, known: &[&str]) {
        if self.is_full() {
            // Only counted: not worth a search.
            self.left_out += 1;
            return;
        }
        let help = match nearest(found, known) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("known: {}", known.join(", ")),
        };
        self.add_help(code, at, format!("unknown {what} {}", quoted(found)), help);
    }

    /// Whether more was found than is kept, so that looking for more is of no use.
    pub(super) fn is_full(&self) -> bool {
        0 < self.left_out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(super) fn absorb(&mut self, other: Self) {
        self.left_out += other.left_out;
        for error in other.errors {
            self.keep(error);
        }
    }

    /// The errors in the order of the document, or `value` if there are none.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, PolicyErrors> {
        if let (true, Some(value)) = (self.is_empty(), value) {
            return Ok(value);
        }
        if self.is_empty() {
            // A loader that gives up without saying why must still refuse.
            self.add(Code::Unreadable, Mark::NOWHERE, "the policy could not be read");
        }
        self.errors.sort_by_key(|error| error.at);
        Err(PolicyErrors { errors: self.errors, left_out: self.left_out })
    }

    fn push(&mut self, code: Code, at: Mark, message: String, help: Option<String>) {
        let file = Arc::clone(&self.file);
        self.keep(PolicyError { code, message, file, at, help });
    }

    fn keep(&mut self, error: PolicyError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        } else {
            self.left_out += 1;
        }
    }
}

/// Longest text from the document, in characters, that is shown or compared with known words.
const LONGEST: usize = 80;

/// The known word that was probably meant.
pub(super) fn nearest<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    // Comparing costs the product of the lengths.
    if found.len() <= LONGEST { suggest::nearest(found, known.iter().copied()) } else { None }
}

/// Text from the document, made fit for one line of a log.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for char in text.chars().take(LONGEST) {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            other => shown.extend(other.escape_debug()),
        }
    }
    if LONGEST < text.chars().count() {
        shown.push('…');
    }
    format!("`{shown}`")
}
