//! Detectors for what nobody should make a tool do on a text's word.
//!
//! Each looks at one text on its own, whatever tool it goes to and whatever key it stands under, in every reading that
//! [`agent_primitives::text`] finds and in a few more. They are detectors: they miss what they do not know and
//! take some harmless text for harm. So they belong into rules that deny, beside rules that grant.

mod address;
mod code;
mod orders;
mod path;
mod shell;
mod sql;
mod words;

use std::ops::ControlFlow;

use agent_primitives::text::{Form, Limits, each_view};

use super::super::error::Report;
use super::super::fields;
use super::super::source::{Node, Tree};
use super::leaves::Leaves;
use super::{Operand, Truth};

/// Longest text in bytes that is looked at; there is more to judge in a longer one than the time a decision may take.
const MAX_HAZARD_BYTES: usize = 64 << 10;

/// What a detector looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Hazard {
    Sql,
    Shell,
    Code,
    Path,
    Url,
    Orders,
}

impl Hazard {
    pub(in crate::policy) const NAMES: [(&'static str, Self); 6] = [
        ("sql", Self::Sql),
        ("shell", Self::Shell),
        ("code", Self::Code),
        ("path", Self::Path),
        ("url", Self::Url),
        ("orders", Self::Orders),
    ];

    fn found(self, text: &str) -> bool {
        match self {
            Self::Sql => sql::in_text(text),
            Self::Shell => shell::in_text(text),
            Self::Code => code::in_text(text),
            Self::Path => path::in_text(text),
            Self::Url => address::in_text(text),
            // What stands in a literal is data.
            Self::Orders => !sql::is_statement(text) && orders::in_text(text),
        }
    }
}

/// Some detectors.
#[derive(Debug)]
pub(in crate::policy) struct HazardGuard {
    hazards: Box<[Hazard]>,
}

impl HazardGuard {
    /// `any`, or a list of hazards.
    pub(super) fn parse(node: &Node, report: &mut Report) -> Option<Self> {
        if matches!(&node.tree, Tree::Text(word) if word == "any") {
            return Some(Self { hazards: Hazard::NAMES.map(|(_, hazard)| hazard).into() });
        }
        let nodes = fields::some_list(node, "`hazard`", report)?;
        let word = |node| fields::word(node, "hazard", &Hazard::NAMES, report);
        let hazards: Vec<Option<Hazard>> = nodes.iter().map(word).collect();
        Some(Self { hazards: hazards.into_iter().collect::<Option<Vec<_>>>()?.into() })
    }

    /// Whether any text of the value holds such harm; unknown if there is too much to look at.
    pub(super) fn judge(&self, operand: Operand<'_>) -> Truth {
        Leaves::of(operand).map_or(Truth::Unknown, |leaves| leaves.any(|text| self.judge_text(text)))
    }

    fn judge_text(&self, text: &str) -> Truth {
        if MAX_HAZARD_BYTES < text.len() {
            return Truth::Unknown;
        }
        let seen = each_view(text, &Limits::DEFAULT, |view| {
            let dangerous = match view.form {
                Form::Compact => false,
                Form::Plain | Form::Clean => self.found(view.text) || self.in_quotes(view.text),
                _ => self.found(view.text) || disguised(view.text).any(|text| self.found_in_disguise(&text)),
            };
            if dangerous { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match seen {
            Ok(seen) => seen.is_break().into(),
            Err(_) => Truth::Unknown,
        }
    }

    fn found(&self, text: &str) -> bool {
        self.hazards.iter().any(|hazard| hazard.found(text))
    }

    /// Text turned around or shifted gives nonsense mostly, in which short marks of shells and paths turn up by chance.
    fn found_in_disguise(&self, text: &str) -> bool {
        self.hazards.iter().any(|hazard| match hazard {
            Hazard::Sql | Hazard::Orders | Hazard::Shell => hazard.found(text),
            Hazard::Code | Hazard::Path | Hazard::Url => false,
        })
    }

    /// What stands in quotes is an argument of its own, except in SQL, where it is data.
    fn in_quotes(&self, text: &str) -> bool {
        !sql::is_statement(text) && quoted(text).into_iter().any(|inner| self.found(inner))
    }
}

/// Most quoted parts of one text that are looked at.
const MAX_QUOTED: usize = 256;

/// What stands between two equal quotes, of which the first does not follow a letter.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for quote in ['"', '\'', '`'] {
        let mut rest = text;
        let mut before = ' ';
        while let Some(at) = rest.find(quote) {
            let (front, tail) = rest.split_at_checked(at).unwrap_or((rest, ""));
            before = front.chars().next_back().unwrap_or(before);
            let after = tail.strip_prefix(quote).unwrap_or_default();
            if before.is_alphanumeric() {
                (rest, before) = (after, quote);
                continue;
            }
            let Some((inner, left)) = after.split_once(quote) else { break };
            if 2 < inner.len() && found.len() < MAX_QUOTED {
                found.push(inner);
            }
            (rest, before) = (left, quote);
        }
    }
    found
}

/// What stands for a letter in leet.
const LEET: [char; 10] = ['0', '1', '!', '3', '4', '@', '5', '$', '7', '8'];

/// Readings that only detectors try: turned around, shifted by thirteen letters, digits for letters.
fn disguised(text: &str) -> impl Iterator<Item = String> {
    let rotate = |char: char| match char {
        'a'..='m' | 'A'..='M' => char::from_u32(u32::from(char) + 13).unwrap_or(char),
        'n'..='z' | 'N'..='Z' => char::from_u32(u32::from(char) - 13).unwrap_or(char),
        other => other,
    };
    let leet = |char: char| match char {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        '8' => 'b',
        other => other,
    };
    let shifted = [text.chars().rev().collect(), text.chars().map(rotate).collect()];
    let digits = text.contains(LEET).then(|| text.chars().map(leet).collect());
    shifted.into_iter().chain(digits)
}
