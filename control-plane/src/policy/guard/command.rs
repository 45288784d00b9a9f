//! Text that is a shell command line.
//!
//! As a guard it is a grant: one simple command, of words that no shell would expand, whose program is listed. For the
//! hazards the same lexer reads leniently and cuts a text into the commands that a shell would run.

use super::super::budget::Budget;
use super::super::error::Report;
use super::super::fields::{self, Fields};
use super::super::source::Node;
use super::{Guard, Operand, Truth};

/// Longest command line in bytes that is looked at.
const MAX_COMMAND_BYTES: usize = 16 << 10;

/// The fields of the guard.
pub(in crate::policy) const FIELDS: [&str; 2] = ["programs", "arguments"];

/// One simple command of a listed program.
#[derive(Debug)]
pub(in crate::policy) struct CommandGuard {
    programs: Box<[Box<str>]>,
    /// What every argument must pass.
    arguments: Option<Guard>,
}

impl CommandGuard {
    pub(super) fn parse(node: &Node, budget: &mut Budget, report: &mut Report) -> Option<Self> {
        let guard = Fields::of(node, "`command`", &FIELDS, report)?;
        let programs = guard
            .require("programs", "`command`", report)
            .and_then(|entry| fields::texts(&entry.value, "`programs`", report));
        let arguments = match guard.get("arguments") {
            Some(entry) => Guard::parse(&entry.value, budget, report).map(Some),
            None => Some(None),
        };
        let programs: Box<[Box<str>]> = programs?.into_iter().map(|(text, _)| text.into()).collect();
        (!programs.is_empty()).then_some(Self { programs, arguments: arguments? })
    }

    /// Unknown if the text is not one simple command.
    pub(super) fn judge(&self, text: &str) -> Truth {
        let Some(words) = simple(text) else { return Truth::Unknown };
        let Some((program, arguments)) = words.split_first() else { return Truth::Unknown };
        let listed = Truth::from(self.programs.iter().any(|known| **known == **program));
        let pass = self
            .arguments
            .iter()
            .flat_map(|guard| arguments.iter().map(|argument| guard.judge(Operand::Text(argument))));
        Truth::all(std::iter::once(listed).chain(pass))
    }
}

/// The words of one simple command; `None` if a shell would do anything but cut it at blanks and strip quotes.
fn simple(text: &str) -> Option<Vec<String>> {
    if MAX_COMMAND_BYTES < text.len() || text.chars().any(|char| char.is_control() && char != '\t') {
        return None;
    }
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' => words.extend(word.take()),
            '\'' => {
                let (quoted, rest) = chars.as_str().split_once('\'')?;
                word.get_or_insert_default().push_str(quoted);
                chars = rest.chars();
            }
            '"' => {
                let (quoted, rest) = chars.as_str().split_once('"')?;
                if quoted.contains(['$', '`', '\\', '!']) {
                    return None;
                }
                word.get_or_insert_default().push_str(quoted);
                chars = rest.chars();
            }
            // Operators, expansions, patterns, comments, and whatever is no blank but may be taken for one.
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '\\' | '*' | '?' | '[' | ']' | '{'
            | '}' | '!' | '#' | '%' | '^' => return None,
            '~' | '=' if word.is_none() => return None,
            char if char.is_whitespace() => return None,
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    // An assignment in front of the program is no word of the command.
    let assigns = words.first().is_some_and(|first: &String| first.contains('='));
    (!words.is_empty() && !assigns).then_some(words)
}

/// A word as the shell would pass it on, expansions left as they are written.
pub(super) type Word = String;

/// Commands joined by operators; each command is its words, redirections included as words.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// In order; `true` if the command is piped into the next.
    commands: Vec<(Vec<Word>, bool)>,
}

impl Line {
    pub(super) fn commands(&self) -> impl Iterator<Item = &[Word]> {
        self.commands.iter().map(|(words, _)| words.as_slice())
    }

    /// Commands that are piped one into the other, each run of them.
    pub(super) fn pipelines(&self) -> impl Iterator<Item = Vec<&[Word]>> {
        let mut runs = vec![Vec::new()];
        for (words, piped) in &self.commands {
            if let Some(run) = runs.last_mut() {
                run.push(words.as_slice());
            }
            if !piped {
                runs.push(Vec::new());
            }
        }
        runs.into_iter().filter(|run| 1 < run.len())
    }
}

/// Cuts a text into lines of commands as leniently as it can: what is quoted wrongly is read as if the quote were a
/// letter.
pub(super) fn lines(text: &str) -> Vec<Line> {
    let spaced = text.replace("${IFS}", " ").replace("$IFS", " ").replace("\\\n", " ");
    spaced.lines().map(line).collect()
}

fn line(text: &str) -> Line {
    let mut line = Line::default();
    let (mut words, mut word) = (Vec::new(), Word::new());
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(char) = chars.next() {
        match char {
            '\'' | '"'
                if !before.is_alphanumeric()
                    || chars.clone().any(|next| next == char) && !word.is_empty() =>
            {
                quoted(char, &mut chars, &mut word);
            }
            '\\' => word.extend(chars.next()),
            '|' | ';' | '&' | '(' | ')' | '`' | '{' | '}' => {
                end_word(&mut word, &mut words);
                let doubled = chars.next_if_eq(&char).is_some();
                line.commands.push((std::mem::take(&mut words), char == '|' && !doubled));
            }
            '<' | '>' => {
                end_word(&mut word, &mut words);
            }
            char if char.is_whitespace() => end_word(&mut word, &mut words),
            char => word.push(char),
        }
        before = char;
    }
    end_word(&mut word, &mut words);
    line.commands.push((words, false));
    line.commands.retain(|(words, piped)| *piped || !words.is_empty());
    line
}

/// Up to the closing quote; without one, the quote is dropped and what follows is read on.
fn quoted(quote: char, chars: &mut std::iter::Peekable<std::str::Chars<'_>>, word: &mut Word) {
    if !chars.clone().any(|char| char == quote) {
        return;
    }
    for char in chars.by_ref().take_while(|char| *char != quote) {
        word.push(char);
    }
}

fn end_word(word: &mut Word, words: &mut Vec<Word>) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}
