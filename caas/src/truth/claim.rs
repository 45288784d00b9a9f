//! What a sentence claims: a subject, and a value of it.

use std::collections::BTreeSet;

use super::scan::{Form, Token};
use super::unit::{self, Dimension};
use super::value::Value;
use super::values::Reader;
use super::words::{List, Lists, Words, negates};

/// What is compared with what: claims of different kinds never are. Numbers are words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Of what is counted, where things are.
    Quantity(Dimension, u32),
    /// Of a product.
    Version(u32),
    /// Behind a word: what happens then.
    Date(u32),
    Quarter(u32),
    Clock(u32),
    Port,
    Url,
    /// Of a key.
    Setting(u32),
    State(Family),
    /// Whether it is so, of what follows a negation.
    Said(u32),
}

/// Words that are the opposite of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Family {
    Enabled,
    Needed,
    Allowed,
}

/// Stands where no word is needed.
pub(super) const NONE: u32 = u32::MAX;

/// A value that a sentence gives.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) kind: Kind,
    pub(super) value: Value,
}

/// A word of what a sentence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) id: u32,
    /// Whether it is the name of something, and no verb, as far as can be seen: it has a capital or a digit, or `is` or the
    /// like comes next.
    pub(super) names: bool,
}

/// What a sentence is about, and what it claims.
#[derive(Clone, Debug, Default)]
pub(super) struct Sentence {
    /// Its words in order; `None` for what is none, or says nothing.
    pub(super) content: Vec<Option<Said>>,
    /// The same as a set.
    pub(super) words: BTreeSet<u32>,
    /// Behind which preposition stands what.
    pub(super) places: Vec<(u32, u32)>,
    /// Which statistic a number is: an average is no maximum.
    pub(super) statistic: Option<String>,
    /// Whether it only recommends.
    pub(super) advice: bool,
    pub(super) claims: Vec<Claim>,
    /// Of one that negates: the words before the negation and those behind.
    pub(super) negated: Option<(BTreeSet<u32>, BTreeSet<u32>)>,
    /// Whether what it says is said without any doubt or negation.
    pub(super) plain: bool,
}

/// Reads a sentence. One that asks, supposes, doubts or tells what used to be claims nothing.
pub(super) fn read(tokens: &[Token], question: bool, words: &mut Words) -> Sentence {
    let mut sentence = Sentence::default();
    let all: Lists = tokens.iter().filter(|token| token.is_word()).map(|token| token.lists).collect();
    let past = all.hold(List::Formerly)
        || (all.hold(List::Was) && all.hold(List::Until))
        || tokens.windows(2).any(|pair| matches!(pair, [used, to] if used.is("used") && to.is("to")));
    let first = tokens.iter().find(|token| token.is_word());
    let supposed = first.is_some_and(|first| first.is_of(List::Supposes));
    if question || past || supposed || all.hold(List::Doubts) {
        return sentence;
    }
    content(tokens, words, &mut sentence);
    sentence.advice = all.hold(List::Advises);
    sentence.statistic = tokens.iter().find_map(|token| statistic(&token.text)).map(str::to_owned);
    let negation = tokens.iter().position(|token| token.is_word() && negates(&token.text));
    sentence.plain = negation.is_none();
    let until = tokens.iter().position(|token| token.is_word() && token.is("if")).unwrap_or(tokens.len());
    let mut reader = Reader { tokens, all, words, sentence: &mut sentence, negation };
    for at in 0..until {
        reader.value(at);
    }
    reader.states();
    reader.negation();
    sentence
}

fn statistic(word: &str) -> Option<&str> {
    match word {
        "average" | "avg" | "mean" => Some("mean"),
        "median" | "p50" => Some("p50"),
        "p75" | "p90" | "p95" | "p99" | "p999" | "peak" | "total" => Some(word),
        _ => None,
    }
}

/// Whether the token is the unit of the number before it.
pub(super) fn is_unit(tokens: &[Token], at: usize) -> bool {
    let number = at.checked_sub(1).and_then(|before| tokens.get(before));
    number.is_some_and(is_number) && tokens.get(at).is_some_and(|token| unit::unit(&token.text).is_some())
}

fn is_number(token: &Token) -> bool {
    matches!(token.form, Form::Number(_)) || (token.is_word() && unit::spelled(&token.text).is_some())
}

/// What the sentence is about: its words without values, units and what says nothing.
fn content(tokens: &[Token], words: &mut Words, sentence: &mut Sentence) {
    let mut place = None;
    for (at, token) in tokens.iter().enumerate() {
        let mut said = None;
        match &token.form {
            Form::Word if is_number(token) || is_unit(tokens, at) || statistic(&token.text).is_some() => {}
            Form::Word => {
                let known = words.know(&token.text);
                let pointed = token.is_of(List::Points)
                    && tokens.get(at + 1).is_some_and(|next| unit::unit(&next.text).is_some());
                if known.place {
                    place = Some(known.id);
                } else if !known.stop || pointed {
                    said = Some(known.id);
                }
            }
            Form::Version(_) => said = Some(words.know(&token.text).id),
            Form::Number(_) if is_name(tokens, at) => said = Some(words.know(&token.text).id),
            Form::Mark(':' | '(') => continue,
            Form::Mark(_) => place = None,
            _ => {}
        }
        if let Some(word) = said {
            if let Some(place) = place.take() {
                sentence.places.push((place, word));
            }
            sentence.words.insert(word);
        }
        let names = token.capital
            || token.text.contains(|char: char| char.is_ascii_digit())
            || is_copula(tokens.get(at + 1));
        sentence.content.push(said.map(|id| Said { id, names }));
    }
}

/// Whether a token ties what is before it to a value.
fn is_copula(token: Option<&Token>) -> bool {
    token.is_some_and(|token| token.is_mark('=') || token.is_mark(':') || token.is_of(List::Ties))
}

/// Whether a number names one of several, as in `worker 4`, `error 500` and `Android 8`.
pub(super) fn is_name(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|before| tokens.get(before)) else { return false };
    before.is_word()
        && !before.is_of(List::Stop)
        && !before.is_of(List::NoName)
        && !is_key(&before.text)
        && unit_of(tokens, at).is_none()
        && noun(tokens, at).is_none()
}

pub(super) fn unit_of(tokens: &[Token], at: usize) -> Option<(Dimension, f64)> {
    tokens.get(at + 1).filter(|next| next.is_word()).and_then(|next| unit::unit(&next.text))
}

/// What a number counts: the next word in the plural, with one word between at most.
pub(super) fn noun(tokens: &[Token], at: usize) -> Option<usize> {
    let word = |at: usize| tokens.get(at).filter(|token| token.is_word() && !token.is_of(List::Stop));
    let plural = |token: &&Token| {
        let text = &token.text;
        3 < text.len() && text.ends_with('s') && !["ss", "us", "is"].iter().any(|end| text.ends_with(end))
    };
    if word(at + 1)?.text.is_empty() {
        return None;
    }
    (at + 1..=at + 2).find(|at| word(*at).filter(plural).is_some())
}

/// Whether a word is the name of a setting rather than of the language.
pub(super) fn is_key(word: &str) -> bool {
    word.contains('_') || word.split('.').filter(|part| !part.is_empty()).count() > 1
}
