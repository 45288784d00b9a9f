//! The shape of lines: whether a text is a program, whatever its language.

use super::{DocumentKind, Evidence};
use crate::model::{BlockKind, Format, Parsed};

/// Fewest lines of code that make a program.
const MIN_LINES: usize = 3;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Code,
    /// A mark that only comments of programs begin or end with.
    Frame,
    /// What is in a comment, or an item of a list: it is of the program if there is one around it.
    Comment,
    Prose,
    /// Too short, or nothing that tells.
    Neither,
}

/// The share of a text's lines that are built like lines of a program. Code that a text quotes is no program.
pub(super) fn evidence(parsed: &Parsed) -> Option<Evidence> {
    if matches!(
        parsed.format,
        Format::Json | Format::Yaml | Format::Toml | Format::Csv | Format::Log | Format::Html | Format::Pdf
    ) {
        return None;
    }
    let (mut code, mut frames, mut comments, mut prose) = (0usize, 0usize, 0usize, 0.0f32);
    let own =
        parsed.blocks.iter().filter(|block| parsed.format == Format::Text || block.kind != BlockKind::Code);
    for block in own {
        for line in parsed.text.get(block.range.clone()).unwrap_or_default().lines() {
            match shape(line) {
                Shape::Code => code += 1,
                Shape::Frame => frames += 1,
                Shape::Comment => comments += 1,
                // What is indented may be the documentation of what is around it.
                Shape::Prose if line.starts_with(['\t', ' ']) => prose += 0.5,
                Shape::Prose => prose += 1.0,
                Shape::Neither => {}
            }
        }
    }
    // A piece of a program may be the comment above an item, and nothing else.
    if code < MIN_LINES && (frames == 0 || code + frames + comments < 2 * MIN_LINES) {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "lines of a text")]
    let (lines, comments) = ((code + frames) as f32, comments.min((code + 4 * frames) * 8) as f32);
    let share = (lines + comments) / (lines + comments + prose);
    Some(Evidence {
        kind: DocumentKind::SourceCode,
        sign: "lines of code",
        count: code + frames,
        // A text that is half prose may be one or the other.
        weight: ((share - 0.25) / 0.75).clamp(0.0, 1.0),
    })
}

/// Words that begin a line which ends in a colon, in languages that indent.
const OPENERS: [&str; 14] = [
    "def", "class", "if", "elif", "else", "for", "while", "try", "except", "finally", "with", "async",
    "match", "case",
];
/// Operators that prose does not have.
const OPERATORS: [&str; 14] =
    [" = ", "==", "!=", "->", "=>", "::", "&&", "||", "+=", "-=", ":=", "()", " < ", ">>"];

fn shape(line: &str) -> Shape {
    let line = line.trim();
    let framed = ["//", "/*", "*/", "* @", "#!"].iter().any(|mark| line.starts_with(mark));
    if framed || line.ends_with("*/") {
        return Shape::Frame;
    }
    if line == "*" || line == "#" || line.starts_with("\"\"\"") || line.starts_with("'''") {
        return Shape::Comment;
    }
    // A heading or an item of Markdown, or a comment: its words decide nothing.
    if line.starts_with("# ") || line.starts_with("* ") || line.starts_with("- ") || line.starts_with('|') {
        return if line.starts_with("# ") || line.starts_with("* ") {
            Shape::Comment
        } else {
            Shape::Neither
        };
    }
    let (tokens, plain) = tokens(line);
    if tokens == 0 {
        return Shape::Neither;
    }
    let mostly_words = tokens * 7 <= plain * 10;
    if is_code(line, tokens, mostly_words) {
        Shape::Code
    } else if 4 <= tokens && mostly_words {
        Shape::Prose
    } else {
        Shape::Neither
    }
}

fn is_code(line: &str, tokens: usize, mostly_words: bool) -> bool {
    if line.chars().all(|char| "{}()[];,<>".contains(char)) {
        return true;
    }
    if ["@", "#[", "#include", "#define", "#if", "#endif"].iter().any(|start| line.starts_with(start))
        && !line.contains(". ")
        && tokens <= 12
    {
        return true;
    }
    let first = line.split(|char: char| !char.is_alphanumeric()).next().unwrap_or_default();
    match line.chars().next_back() {
        Some('{' | '}' | '[' | '(') => tokens <= 4 || !mostly_words,
        Some(';') => tokens <= 3 || !mostly_words || line.contains(" = ") || has_inner(line),
        Some(',' | ')') => !mostly_words && has_inner(line),
        Some(':') if OPENERS.contains(&first) => tokens <= 12,
        _ => !mostly_words && (has_inner(line) || OPERATORS.iter().any(|operator| line.contains(operator))),
    }
}

/// How many tokens a line has, and how many of them are words or numbers as prose has them.
fn tokens(line: &str) -> (usize, usize) {
    let (mut tokens, mut plain) = (0, 0);
    for token in line.split_whitespace() {
        tokens += 1;
        let core = token.trim_matches(|char: char| !char.is_alphanumeric());
        let edges = token.len() - core.len();
        let mut small = false;
        let mut hump = false;
        for char in core.chars() {
            hump |= small && char.is_uppercase();
            small = char.is_lowercase();
        }
        let even = core.chars().all(|char| char.is_alphanumeric() || "-'’.,/".contains(char));
        // A field of something, unless it is an abbreviation.
        let field = core.split_once('.').is_some_and(|(before, after)| {
            1 < before.len() && after.starts_with(|char: char| char.is_ascii_lowercase())
        });
        let even = even && !field;
        plain += usize::from(
            !core.is_empty() && even && !hump && edges <= 3 && !token.contains(['{', '}', '=', '<']),
        );
    }
    (tokens, plain)
}

/// A call, a field, an index, or a name of several words: `f(x)`, `a.b`, `a[i]`, `a_b`.
fn has_inner(line: &str) -> bool {
    let bytes = line.as_bytes();
    bytes.windows(2).any(|pair| match pair {
        [before, b'(' | b'['] => before.is_ascii_alphanumeric() || *before == b'_' || *before == b'>',
        [b'.', after] => after.is_ascii_lowercase(),
        [b'_', after] => after.is_ascii_alphanumeric(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_shapes() {
        for (line, expected) in [
            ("    return self.name", Shape::Code),
            ("def read(path):", Shape::Code),
            ("else:", Shape::Code),
            ("}", Shape::Code),
            ("let x = 3;", Shape::Code),
            ("public static void main(String[] args) {", Shape::Code),
            ("use std::io;", Shape::Code),
            ("@Override", Shape::Code),
            ("// says why", Shape::Frame),
            ("* the same", Shape::Comment),
            ("void Append(Column column) override;", Shape::Code),
            ("if the class is full, return while you can and try for another:", Shape::Prose),
            ("the Supplier shall deliver the Goods on the agreed date;", Shape::Prose),
            ("This is prose (with a note).", Shape::Prose),
            ("Smith, J. (2001) On libraries and their users, vol. 3, pp. 1-20", Shape::Prose),
            ("Summary", Shape::Neither),
        ] {
            assert_eq!(shape(line), expected, "{line}");
        }
    }
}
