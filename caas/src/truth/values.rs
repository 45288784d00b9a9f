//! Values that a sentence gives: numbers with their units, versions, times, settings.

use super::claim::{Claim, Kind, NONE, Sentence, is_key, is_name, noun, unit_of};
use super::scan::{Form, Token};
use super::unit::{self, Dimension};
use super::value::{Bound, Value};
use super::words::{List, Lists, Words};

/// A sentence that is read: what it claims is added to it.
pub(super) struct Reader<'t, 's> {
    pub(super) tokens: &'t [Token],
    /// The lists that its words are in, together.
    pub(super) all: Lists,
    pub(super) words: &'s mut Words,
    pub(super) sentence: &'s mut Sentence,
    /// Where it negates.
    pub(super) negation: Option<usize>,
}

impl<'t> Reader<'t, '_> {
    pub(super) fn before(&self, at: usize, by: usize) -> Option<&'t Token> {
        self.tokens.get(at.checked_sub(by)?)
    }

    pub(super) fn claim(&mut self, kind: Kind, value: Value) {
        self.sentence.claims.push(Claim { kind, value });
    }

    /// The nearest word of content before a token: what happens then.
    fn happens(&mut self, at: usize) -> Option<u32> {
        let tokens = self.tokens.get(..at)?.iter().rev().take(6).filter(|token| token.is_word());
        let words = &mut *self.words;
        tokens.map(|token| words.know(&token.text)).find(|known| !known.stop).map(|known| known.id)
    }

    /// The claim of the value at a place, if there is one.
    pub(super) fn value(&mut self, at: usize) {
        let Some(token) = self.tokens.get(at) else { return };
        match &token.form {
            Form::Number(number) => self.number(at, *number, &token.text),
            Form::Word => {
                if let Some(number) = unit::spelled(&token.text) {
                    self.number(at, number, "");
                } else if let Some(seconds) = unit::period(&token.text) {
                    let period = Kind::Quantity(Dimension::Duration, self.words.know("every").id);
                    self.claim(period, Value::number(Dimension::Duration, seconds, Bound::Exact));
                } else {
                    self.setting(at, &token.text);
                }
            }
            // `v1` alone names one of several, as a number behind a name does.
            Form::Version(parts) if 1 < parts.len() => self.version(at, parts.clone()),
            Form::Date(days) => {
                if let Some(happens) = self.happens(at) {
                    self.claim(Kind::Date(happens), Value::Date(*days));
                }
            }
            Form::Quarter(quarter) if 4 * 1900 <= *quarter => {
                if let Some(happens) = self.happens(at) {
                    self.claim(Kind::Quarter(happens), Value::Quarter(*quarter));
                }
            }
            Form::Clock(minutes) => {
                if let Some(happens) = self.happens(at) {
                    self.claim(Kind::Clock(happens), Value::Clock(*minutes));
                }
            }
            Form::Port(port) => self.claim(Kind::Port, Value::Port(*port)),
            Form::Url => self.claim(Kind::Url, Value::Url(token.text.clone())),
            Form::Version(_) | Form::Quarter(_) | Form::Mark(_) => {}
        }
    }

    fn number(&mut self, at: usize, number: f64, text: &str) {
        let bound = self.bound(at);
        if self.before(at, 1).is_some_and(|before| before.is("port")) {
            if let Some(port) =
                u16::try_from(number as i64).ok().filter(|port| *port != 0 && number.fract() == 0.0)
            {
                self.claim(Kind::Port, Value::Port(port));
            }
            return;
        }
        let per = |from: usize| {
            let mark = self.tokens.get(from)?;
            let by = mark.is_mark('/') || (mark.is_word() && mark.is_of(List::Per));
            let of = self.tokens.get(from + 1).filter(|_| by)?;
            unit::unit(&of.text).filter(|(dimension, _)| *dimension == Dimension::Duration)
        };
        if let Some((dimension, factor)) = unit_of(self.tokens, at) {
            let (dimension, factor) = match (dimension, per(at + 2)) {
                (Dimension::Bytes, Some((_, seconds))) => (Dimension::Throughput, factor / seconds),
                _ => (dimension, factor),
            };
            let every = self.before(at, 1).is_some_and(|before| before.is("every"));
            let of = if every { self.words.know("every").id } else { NONE };
            return self
                .claim(Kind::Quantity(dimension, of), Value::number(dimension, number * factor, bound));
        }
        if self.names_version(at) {
            let parts = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>();
            if let Some(parts) = parts {
                self.version(at, parts);
            }
            return;
        }
        if let Some(noun) = noun(self.tokens, at) {
            let rate = per(noun + 1);
            let of = self.tokens.get(noun).map_or(NONE, |token| self.words.know(&token.text).id);
            let (dimension, value) = match rate {
                Some((_, seconds)) => (Dimension::Rate, number / seconds),
                None => (Dimension::Count, number),
            };
            return self.claim(Kind::Quantity(dimension, of), Value::number(dimension, value, bound));
        }
        self.bare(at, number, bound);
    }

    /// A number of nothing: behind a key, behind `is`, or behind `returns`.
    fn bare(&mut self, at: usize, number: f64, bound: Bound) {
        let Some(before) = self.before(at, 1) else { return };
        let of = if before.is_mark('=') || before.is_mark(':') {
            self.before(at, 2).filter(|key| is_key(&key.text))
        } else if before.is_of(List::Returns) {
            Some(before)
        } else if before.is_of(List::Equals) {
            None
        } else {
            return;
        };
        let of = of.map_or(NONE, |of| self.words.know(&of.text).id);
        self.claim(Kind::Quantity(Dimension::Bare, of), Value::number(Dimension::Bare, number, bound));
    }

    /// Whether the number is a version: behind `version`, behind a name, or with a name where versions are spoken of.
    fn names_version(&self, at: usize) -> bool {
        let Some(before) = self.before(at, 1).filter(|before| before.is_word()) else { return false };
        let spoken = self.all.hold(List::Version);
        before.is("version") || (is_name(self.tokens, at) && (spoken || (before.capital && 1 < at)))
    }

    fn version(&mut self, at: usize, parts: Vec<u32>) {
        let stem =
            |token: &Token| token.is_word() && (token.text.starts_with("support") && !token.is("supported"));
        let bound = match self.bound(at) {
            Bound::Exact if self.all.hold(List::Requires) => Bound::Least,
            bound => bound,
        };
        // What is supported, or tried, is one of several.
        let one_of_many = bound == Bound::Exact && self.tokens.iter().any(stem);
        if one_of_many || self.negation.is_some() {
            return;
        }
        let product = self.before(at, 1).filter(|token| token.is_word() && !token.is_of(List::Stop));
        let product = product.filter(|token| !token.is("version"));
        let product = product.map_or(NONE, |product| self.words.know(&product.text).id);
        if let Some(token) = self.tokens.get(at) {
            self.take_out(&token.text);
        }
        self.claim(Kind::Version(product), Value::Version(parts, bound));
    }

    /// Whether the value is a limit, and to which side.
    fn bound(&self, at: usize) -> Bound {
        let near = |from: usize, to: usize| -> Lists {
            let tokens = self.tokens.get(from..to.min(self.tokens.len())).unwrap_or_default();
            tokens.iter().filter(|token| token.is_word()).map(|token| token.lists).collect()
        };
        let start = at.saturating_sub(4);
        let before = near(start, at);
        let denied = self.negation.is_some_and(|negation| negation < at);
        if before.hold(List::Beyond) {
            return if denied { Bound::Most } else { Bound::Threshold };
        }
        if before.hold(List::Below) {
            return if denied { Bound::Least } else { Bound::Threshold };
        }
        let behind = near(at + 1, at + 4);
        let or_more = behind.hold(List::OrMore) && behind.hold(List::Joins);
        if before.hold(List::Least) || or_more || self.all.hold(List::Guarantees) {
            return Bound::Least;
        }
        let up_to = self.tokens.get(start..at).unwrap_or_default().windows(2);
        let up_to = up_to.into_iter().any(|pair| matches!(pair, [up, to] if up.is("up") && to.is("to")));
        if up_to || before.hold(List::Most) || self.all.hold(List::Limits) {
            return Bound::Most;
        }
        Bound::Exact
    }

    /// `key = value`, `key: value`, and `… is value` where the value is a name rather than a word of the language.
    fn setting(&mut self, at: usize, value: &str) {
        let named = value.contains(|char: char| char.is_ascii_digit()) && value.contains(['-', '_']);
        let Some(before) = self.before(at, 1) else { return };
        let marked = before.is_mark('=') || before.is_mark(':');
        let key = match self.before(at, 2).filter(|key| marked && is_key(&key.text)) {
            Some(key) => self.words.know(&key.text).id,
            None if named && (marked || before.is_of(List::IsOrTo)) => NONE,
            None => return,
        };
        self.take_out(value);
        self.claim(Kind::Setting(key), Value::Setting(value.to_owned()));
    }

    /// A value is not what a sentence is about.
    pub(super) fn take_out(&mut self, value: &str) {
        let id = self.words.know(value).id;
        self.sentence.words.remove(&id);
        for word in &mut self.sentence.content {
            if word.is_some_and(|word| word.id == id) {
                *word = None;
            }
        }
    }
}
