//! The readings of a text, in order, within bounds.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::ControlFlow;

use super::decode::{self, Decoded, Runs};
use super::fold::{clean_within, folded, looks};
use super::spaced::{Spelt, spelt};

/// How far a text is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Layers of encoding taken off, one inside another.
    pub depth: usize,
    /// Bytes of readings per byte of text; [`Limits::SLACK`] come on top.
    pub expansion: usize,
}

impl Limits {
    /// Three layers, 16 bytes of readings for each byte.
    pub const DEFAULT: Self = Self { depth: 3, expansion: 16 };
    /// Bytes of readings that even the shortest text may have.
    pub const SLACK: usize = 4096;
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A text with more readings than could be looked at. Whoever decides by what a text holds has to treat this as an error,
/// not as "nothing found".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Incomplete {
    /// Still encoded below the last layer.
    #[error("the text is encoded more than {depth} layers deep")]
    Depth {
        /// [`Limits::depth`] in force.
        depth: usize,
    },
    /// The readings would take too much room.
    #[error("the readings of the text take more than {bytes} bytes")]
    Size {
        /// Bytes allowed for this text.
        bytes: usize,
    },
}

/// What was done to a layer of text to get a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Form {
    /// Nothing: as written, or as decoded.
    Plain,
    /// Compatibility forms undone and invisible characters removed, case and white space kept. For shapes that depend on
    /// case, such as keys. Not shown when equal to the plain form.
    Clean,
    /// See [`fold`](super::fold).
    Folded,
    /// See [`skeleton`](super::skeleton). Not shown when equal to the folded form.
    Skeleton,
    /// The skeleton, with a blank for every `+` between two words. Not shown when there is none.
    Spaced,
    /// The skeleton, words that were spelt letter by letter joined.
    Joined,
    /// Of words spelt letter by letter, the skeletons without any white space between them; nothing else of the text.
    Compact,
}

/// One reading of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View<'a> {
    /// The text as read.
    pub text: &'a str,
    /// How it is read.
    pub form: Form,
    /// How many layers of encoding were taken off.
    pub layer: usize,
}

/// Shows every reading of `text`, the nearest first, until `visit` breaks. The text itself is the first.
///
/// Time and space are linear in the text: no more than [`Limits::expansion`] bytes for each byte of it, and
/// [`Limits::SLACK`], are ever made.
///
/// # Errors
/// [`Incomplete`] if nothing broke off and there is more to read than `limits` allow.
pub fn each_view<B>(
    text: &str,
    limits: &Limits,
    mut visit: impl FnMut(View<'_>) -> ControlFlow<B>,
) -> Result<ControlFlow<B>, Incomplete> {
    let bytes = text.len().saturating_mul(limits.expansion).saturating_add(Limits::SLACK);
    let mut layers = Layers {
        pending: VecDeque::from([(Cow::Borrowed(text), 0)]),
        room: bytes,
        limits,
        runs: Runs::default(),
        deeper: false,
    };
    while let Some((text, layer)) = layers.pending.pop_front() {
        match layers.read(&text, layer, &mut |text, form| visit(View { text, form, layer })) {
            Some(ControlFlow::Continue(())) => {}
            Some(found) => return Ok(found),
            None => return Err(Incomplete::Size { bytes }),
        }
    }
    if layers.deeper { Err(Incomplete::Depth { depth: limits.depth }) } else { Ok(ControlFlow::Continue(())) }
}

struct Layers<'t, 'l> {
    pending: VecDeque<(Cow<'t, str>, usize)>,
    /// Bytes that may still be made.
    room: usize,
    limits: &'l Limits,
    runs: Runs,
    /// Whether something below the last layer was left unread.
    deeper: bool,
}

impl Layers<'_, '_> {
    /// Shows the forms of one layer and queues what it encodes. `None` when there is no room left.
    fn read<B>(
        &mut self,
        text: &str,
        layer: usize,
        visit: &mut dyn FnMut(&str, Form) -> ControlFlow<B>,
    ) -> Option<ControlFlow<B>> {
        let mut show = |text: &str, form| visit(text, form);
        if let found @ ControlFlow::Break(_) = show(text, Form::Plain) {
            return Some(found);
        }
        let clean = clean_within(text, self.room)?;
        if let Cow::Owned(clean) = &clean {
            self.take(clean)?;
            if let found @ ControlFlow::Break(_) = show(clean, Form::Clean) {
                return Some(found);
            }
        }
        let plain = self.made(folded(&clean, self.room))?;
        if let found @ ControlFlow::Break(_) = show(&plain, Form::Folded) {
            return Some(found);
        }
        if !clean.is_ascii() {
            let skeleton = self.made(looks(&clean, self.room))?;
            if skeleton != plain
                && let found @ ControlFlow::Break(_) = show(&skeleton, Form::Skeleton)
            {
                return Some(found);
            }
        }
        let spaced = decode::spaced(&clean).map(|text| (text, Form::Spaced));
        let spelt =
            spelt(&clean).map(|Spelt { joined, compact }| [(joined, Form::Joined), (compact, Form::Compact)]);
        for (text, form) in spaced.into_iter().chain(spelt.into_iter().flatten()) {
            let skeleton = self.made(looks(&text, self.room))?;
            if let found @ ControlFlow::Break(_) = show(&skeleton, form) {
                return Some(found);
            }
        }
        self.decode(text, &clean, layer).map(ControlFlow::Continue)
    }

    fn decode(&mut self, text: &str, clean: &str, layer: usize) -> Option<()> {
        let last = self.limits.depth <= layer;
        let unescaped = decode::unescape(clean);
        let hidden = decode::hidden(text);
        if last {
            let coded = unescaped.is_some_and(|unescaped| unescaped.coded);
            self.deeper |= coded || hidden.is_some() || self.runs.any_left(clean);
            return Some(());
        }
        let runs = match self.runs.decode(clean, self.room) {
            Decoded::Nothing => None,
            Decoded::Text(text) => Some(text),
            Decoded::TooLong => return None,
        };
        for text in [unescaped.map(|unescaped| unescaped.text), runs, hidden].into_iter().flatten() {
            self.take(&text)?;
            self.pending.push_back((Cow::Owned(text), layer + 1));
        }
        Some(())
    }

    fn made(&mut self, text: Option<String>) -> Option<String> {
        let text = text?;
        self.take(&text)?;
        Some(text)
    }

    fn take(&mut self, text: &str) -> Option<()> {
        self.room = self.room.checked_sub(text.len())?;
        Some(())
    }
}
