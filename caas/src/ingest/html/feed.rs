//! A page on its way to the parser, in pieces small enough to look at what comes of each.
//!
//! The parser compares each attribute of a tag with all before it. Whether a `<` begins a tag depends on scripts, comments and
//! all else before it, so only the parser knows; but it hands over nothing while it is inside of a tag. The attributes are
//! counted from each `<` for as long as it is silent.

use std::cell::Cell;

use html5ever::ParseOpts;
use html5ever::interface::TokenizerResult;
use html5ever::tendril::StrTendril;
use html5ever::tokenizer::{BufferQueue, Token, TokenSink, TokenSinkResult, Tokenizer};
use html5ever::tree_builder::{TreeBuilder, TreeSink};

use super::super::IngestError;

/// Most attributes of one element.
const MAX_ATTRIBUTES: usize = 1024;
/// Most bytes of a piece.
const STEP: usize = 4096;

/// Parses a page; `check` looks at what was built after each piece.
pub(super) fn parse<S: TreeSink>(
    page: &str,
    sink: S,
    options: ParseOpts,
    check: impl Fn(&S) -> Result<(), IngestError>,
) -> Result<S::Output, IngestError> {
    let builder = TreeBuilder::new(sink, options.tree_builder);
    let tokenizer = Tokenizer::new(Heard { builder, spoke: Cell::new(false) }, options.tokenizer);
    let input = BufferQueue::default();
    let mut tag: Option<Tag> = None;
    for piece in pieces(page) {
        tokenizer.sink.spoke.set(false);
        input.push_back(StrTendril::from(piece));
        // It stops at the end of each script, which nobody runs here.
        while !matches!(tokenizer.feed(&input), TokenizerResult::Done) {}
        check(&tokenizer.sink.builder.sink)?;
        if tokenizer.sink.spoke.get() {
            tag = None;
        }
        match &mut tag {
            Some(tag) => tag.read(piece)?,
            None if piece == "<" => tag = Some(Tag { at: At::Start, attributes: 0 }),
            None => {}
        }
    }
    tokenizer.end();
    check(&tokenizer.sink.builder.sink)?;
    Ok(tokenizer.sink.builder.sink.finish())
}

/// The pieces of a page, each `<` by itself: the text before it has been handed over when what follows it is read.
fn pieces(page: &str) -> impl Iterator<Item = &str> {
    let mut rest = page;
    std::iter::from_fn(move || {
        let most = (STEP.min(rest.len())..rest.len()).find(|at| rest.is_char_boundary(*at));
        let (head, _) = rest.split_at_checked(most.unwrap_or(rest.len()))?;
        let end = if head.starts_with('<') { 1 } else { head.find('<').unwrap_or(head.len()) };
        let (piece, after) = rest.split_at_checked(end)?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Notes whether the tokenizer handed anything over. Errors are told inside of tags too.
struct Heard<S: TreeSink> {
    builder: TreeBuilder<S::Handle, S>,
    spoke: Cell<bool>,
}

impl<S: TreeSink> TokenSink for Heard<S> {
    type Handle = S::Handle;

    fn process_token(&self, token: Token, line: u64) -> TokenSinkResult<S::Handle> {
        if !matches!(token, Token::ParseError(_)) {
            self.spoke.set(true);
        }
        self.builder.process_token(token, line)
    }

    fn end(&self) {
        self.builder.end();
    }

    fn adjusted_current_node_present_but_not_in_html_namespace(&self) -> bool {
        self.builder.adjusted_current_node_present_but_not_in_html_namespace()
    }
}

/// A tag that has not ended, from behind its `<`.
struct Tag {
    at: At,
    attributes: usize,
}

/// Where in a tag, by the states of the tokenizer in the HTML standard.
#[derive(Clone, Copy)]
enum At {
    Start,
    /// It is a comment, or another thing without attributes.
    NoTag,
    Name,
    BeforeAttribute,
    Attribute,
    AfterAttribute,
    BeforeValue,
    Value,
    Quoted(u8),
}

impl Tag {
    fn read(&mut self, piece: &str) -> Result<(), IngestError> {
        let mut bytes = piece.as_bytes();
        if let At::Start = self.at {
            bytes = bytes.strip_prefix(b"/").unwrap_or(bytes);
            self.at = if bytes.first().is_some_and(u8::is_ascii_alphabetic) { At::Name } else { At::NoTag };
        }
        if let At::NoTag = self.at {
            return Ok(());
        }
        bytes.iter().for_each(|byte| self.step(*byte));
        if MAX_ATTRIBUTES < self.attributes {
            return Err(IngestError::TooLarge { what: "attributes of an element", limit: MAX_ATTRIBUTES });
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) {
        let blank = byte.is_ascii_whitespace();
        self.at = match (self.at, byte) {
            (At::Quoted(quote), _) if byte == quote => At::BeforeAttribute,
            (at @ (At::Quoted(_) | At::Start | At::NoTag), _) => at,
            (At::BeforeValue, b'"' | b'\'') => At::Quoted(byte),
            (At::BeforeValue, _) if blank => At::BeforeValue,
            (At::BeforeValue | At::Value, _) if !blank => At::Value,
            (At::Attribute | At::AfterAttribute, b'=') => At::BeforeValue,
            (At::Attribute | At::AfterAttribute, _) if blank => At::AfterAttribute,
            (_, b'/') => At::BeforeAttribute,
            (_, _) if blank => At::BeforeAttribute,
            (at @ (At::Name | At::Attribute), _) => at,
            _ => {
                self.attributes += 1;
                At::Attribute
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_counted_as_the_standard_has_them() {
        for (tag, attributes) in [
            ("p a b=c d = 'e f' g=\"h > i\"j/k /l", 7),
            ("/p a b", 2),
            ("p =\" a b", 3),
            ("p a=b/c d", 2),
            ("p a==' b", 2),
            ("!-- a b c", 0),
            ("? a b c", 0),
        ] {
            let mut open = Tag { at: At::Start, attributes: 0 };
            open.read(tag).unwrap();
            assert_eq!(open.attributes, attributes, "{tag}");
        }
    }
}
