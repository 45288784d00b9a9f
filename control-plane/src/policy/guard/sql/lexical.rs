//! Refuses what two databases would cut into different tokens, and what would overflow the stack.

use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace};

use super::Grammar;

/// Longest text in bytes that is looked at.
const MAX_SQL_BYTES: usize = 64 << 10;
/// Longest chain of operators on any way from the root of the tree to a leaf. A chain becomes a tree as deep as it is
/// long, and trees are walked and dropped recursively.
const MAX_SQL_CHAIN: usize = 160;

/// The tokens of `text`; `None` if it does not have one reading.
pub(super) fn tokens(text: &str, grammar: Grammar) -> Option<Vec<TokenWithSpan>> {
    if MAX_SQL_BYTES < text.len() || !plain_characters(text) {
        return None;
    }
    // Whether a backslash escapes the quote behind it is a setting of the server.
    if grammar == Grammar::MySql && text.contains('\\') {
        return None;
    }
    let tokens = Tokenizer::new(grammar.dialect(), text).tokenize_with_location().ok()?;
    let understood = tokens.iter().all(|token| match &token.token {
        Token::Whitespace(space) => plain_space(space, grammar),
        Token::Word(word) if word.quote_style.is_none() => {
            word.value.is_ascii() && !word.value.starts_with('@')
        }
        other => grammar != Grammar::Generic || common(other),
    });
    (understood && longest_chain(&tokens) <= MAX_SQL_CHAIN).then_some(tokens)
}

/// The tokens of `text` as a detector reads it, whether or not all databases cut it so; `None` if it is too long, too deep
/// or no sequence of tokens.
pub(in crate::policy::guard) fn lenient(text: &str) -> Option<Vec<TokenWithSpan>> {
    if MAX_SQL_BYTES < text.len() {
        return None;
    }
    let tokens = Tokenizer::new(Grammar::Generic.dialect(), text).tokenize_with_location().ok()?;
    (longest_chain(&tokens) <= MAX_SQL_CHAIN).then_some(tokens)
}

/// Blanks are those of ASCII, and there is no control character but tab and line ends. A lone carriage return ends a
/// comment for some and not for others.
fn plain_characters(text: &str) -> bool {
    let lone_return = text.replace("\r\n", "\n").contains('\r');
    let strange =
        |char: char| (char.is_control() || char.is_whitespace()) && !matches!(char, ' ' | '\t' | '\n' | '\r');
    !lone_return && !text.chars().any(strange)
}

/// Comments that every database skips alike. `/*!` and `/*+` are executed or obeyed by some, nesting is counted by
/// some, and `--` without a blank is two minus signs for some.
fn plain_space(space: &Whitespace, grammar: Grammar) -> bool {
    match space {
        Whitespace::MultiLineComment(comment) => {
            let obeyed = ["!", "M!", "+"].iter().any(|mark| comment.starts_with(mark));
            !obeyed && !comment.contains("/*") && !comment.contains("*/")
        }
        Whitespace::SingleLineComment { comment, prefix } => {
            let blank_follows = comment.is_empty() || comment.starts_with([' ', '\t', '\n', '\r']);
            (prefix == "--" && blank_follows) || (prefix == "#" && grammar == Grammar::MySql)
        }
        Whitespace::Space | Whitespace::Newline | Whitespace::Tab => true,
    }
}

/// Tokens that mean the same everywhere, besides blanks and unquoted words.
fn common(token: &Token) -> bool {
    match token {
        Token::SingleQuotedString(text) => !text.contains('\\'),
        Token::Word(word) => {
            let plain = |char: char| char.is_alphanumeric() || matches!(char, '_' | ' ' | '-' | '$');
            matches!(word.quote_style, Some('"' | '`')) && word.value.chars().all(plain)
        }
        Token::EOF
        | Token::Number(..)
        | Token::Comma
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Plus
        | Token::Minus
        | Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::Colon
        | Token::DoubleColon
        | Token::SemiColon
        | Token::Placeholder(_) => true,
        _ => false,
    }
}

/// An upper bound for the chains in the tree, from the tokens alone: each one that is not a leaf, a bracket or a comma
/// may put a level on top of what stands before it, up to the comma or bracket that begins the item.
fn longest_chain(tokens: &[TokenWithSpan]) -> usize {
    let mut outer = Vec::new();
    let mut level = Level::default();
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => outer.push(std::mem::take(&mut level)),
            Token::RParen | Token::RBracket | Token::RBrace => {
                let inner = level.longest();
                level = outer.pop().unwrap_or_default();
                level.inner = level.inner.max(inner);
            }
            Token::Comma => level = Level { finished: level.longest(), ..Level::default() },
            other if deepens(other) => level.run += 1,
            _ => {}
        }
    }
    // Brackets that were left open do not parse, but their chains would be walked before that shows.
    outer.iter().map(Level::longest).sum::<usize>() + level.longest()
}

/// What is known of the tokens between a pair of brackets.
#[derive(Default)]
struct Level {
    /// Operators since the last comma.
    run: usize,
    /// The longest chain inside the brackets since the last comma.
    inner: usize,
    /// The longest chain before the last comma.
    finished: usize,
}

impl Level {
    fn longest(&self) -> usize {
        self.finished.max(self.run + self.inner)
    }
}

fn deepens(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword != sqlparser::keywords::Keyword::NoKeyword,
        Token::Whitespace(_) | Token::Period | Token::Number(..) | Token::SingleQuotedString(_) => false,
        _ => true,
    }
}
