//! What a sentence claims: a subject, and a value of it.

use std::collections::BTreeSet;

use super::scan::{Form, Token};
use super::unit::{self, Dimension};
use super::value::{Bound, Value};
use super::words::{Words, listed, negates};

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
const NONE: u32 = u32::MAX;

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
    let has = |list: &str| tokens.iter().any(|token| token.is_word() && listed(list, &token.text));
    let past = has("previously formerly")
        || (has("was were") && has("until before"))
        || tokens.windows(2).any(|pair| matches!(pair, [used, to] if used.is("used") && to.is("to")));
    let supposed = tokens
        .iter()
        .find(|token| token.is_word())
        .is_some_and(|first| listed("if suppose assuming imagine", &first.text));
    if question || past || supposed || has("maybe perhaps probably guess") {
        return sentence;
    }
    content(tokens, words, &mut sentence);
    sentence.advice = has("recommend recommends recommended suggest suggested ideally");
    sentence.statistic = tokens.iter().find_map(|token| statistic(&token.text)).map(str::to_owned);
    let negation = tokens.iter().position(|token| token.is_word() && negates(&token.text));
    sentence.plain = negation.is_none();
    let until = tokens.iter().position(|token| token.is_word() && token.is("if")).unwrap_or(tokens.len());
    let mut reader = Reader { tokens, words, sentence: &mut sentence, negation };
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
fn is_unit(tokens: &[Token], at: usize) -> bool {
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
                let pointed = listed("last this next", &token.text)
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
    token.is_some_and(|token| {
        token.is_mark('=')
            || token.is_mark(':')
            || listed("is are was were has have must should can may", &token.text)
    })
}

/// Whether a number names one of several, as in `worker 4`, `error 500` and `Android 8`.
fn is_name(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|before| tokens.get(before)) else { return false };
    before.is_word()
        && !super::words::is_stop(&before.text)
        && !listed("port return returns returned version include includes equals", &before.text)
        && !is_key(&before.text)
        && unit_of(tokens, at).is_none()
        && noun(tokens, at).is_none()
}

fn unit_of(tokens: &[Token], at: usize) -> Option<(Dimension, f64)> {
    tokens.get(at + 1).filter(|next| next.is_word()).and_then(|next| unit::unit(&next.text))
}

/// What a number counts: the next word in the plural, with one word between at most.
fn noun(tokens: &[Token], at: usize) -> Option<usize> {
    let word =
        |at: usize| tokens.get(at).filter(|token| token.is_word() && !super::words::is_stop(&token.text));
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
fn is_key(word: &str) -> bool {
    word.contains('_') || word.split('.').filter(|part| !part.is_empty()).count() > 1
}

struct Reader<'a> {
    tokens: &'a [Token],
    words: &'a mut Words,
    sentence: &'a mut Sentence,
    negation: Option<usize>,
}

impl Reader<'_> {
    fn token(&self, at: Option<usize>) -> Option<&Token> {
        at.and_then(|at| self.tokens.get(at))
    }

    fn before(&self, at: usize, by: usize) -> Option<&Token> {
        self.token(at.checked_sub(by))
    }

    fn claim(&mut self, kind: Kind, value: Value) {
        self.sentence.claims.push(Claim { kind, value });
    }

    /// The nearest word of content before a token: what happens then.
    fn happens(&mut self, at: usize) -> Option<u32> {
        let tokens = self.tokens.get(..at)?.iter().rev().take(6).filter(|token| token.is_word());
        let words = &mut *self.words;
        tokens.map(|token| words.know(&token.text)).find(|known| !known.stop).map(|known| known.id)
    }

    /// The claim of the value at a place, if there is one.
    fn value(&mut self, at: usize) {
        let Some(token) = self.tokens.get(at).cloned() else { return };
        match token.form {
            Form::Number(number) => self.number(at, number, &token.text),
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
            Form::Version(parts) if 1 < parts.len() => self.version(at, parts),
            Form::Date(days) => {
                if let Some(happens) = self.happens(at) {
                    self.claim(Kind::Date(happens), Value::Date(days));
                }
            }
            Form::Quarter(quarter) if 4 * 1900 <= quarter => {
                if let Some(happens) = self.happens(at) {
                    self.claim(Kind::Quarter(happens), Value::Quarter(quarter));
                }
            }
            Form::Clock(minutes) => {
                if let Some(happens) = self.happens(at) {
                    self.claim(Kind::Clock(happens), Value::Clock(minutes));
                }
            }
            Form::Port(port) => self.claim(Kind::Port, Value::Port(port)),
            Form::Url => self.claim(Kind::Url, Value::Url(token.text)),
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
            let mark = self.token(Some(from))?;
            let by = mark.is_mark('/') || (mark.is_word() && listed("per a an every", &mark.text));
            let of = self.token(Some(from + 1)).filter(|_| by)?;
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
        let Some(before) = self.before(at, 1).cloned() else { return };
        let of = if before.is_mark('=') || before.is_mark(':') {
            self.before(at, 2).filter(|key| is_key(&key.text)).map(|key| key.text.clone())
        } else if listed("return returns returned", &before.text) {
            Some(before.text)
        } else if listed("is are equals", &before.text) {
            None
        } else {
            return;
        };
        let of = of.map_or(NONE, |of| self.words.know(&of).id);
        self.claim(Kind::Quantity(Dimension::Bare, of), Value::number(Dimension::Bare, number, bound));
    }

    /// Whether the number is a version: behind `version`, behind a name, or with a name where versions are spoken of.
    fn names_version(&self, at: usize) -> bool {
        let Some(before) = self.before(at, 1).filter(|before| before.is_word()) else { return false };
        let spoken =
            self.tokens.iter().any(|token| token.is_word() && listed("version versions", &token.text));
        before.is("version") || (is_name(self.tokens, at) && (spoken || (before.capital && 1 < at)))
    }

    fn version(&mut self, at: usize, parts: Vec<u32>) {
        let stem =
            |token: &Token| token.is_word() && (token.text.starts_with("support") && !token.is("supported"));
        let bound = match self.bound(at) {
            Bound::Exact if self.has("require requires required needs need") => Bound::Least,
            bound => bound,
        };
        // What is supported, or tried, is one of several.
        let one_of_many = bound == Bound::Exact && self.tokens.iter().any(stem);
        if one_of_many || self.negation.is_some() {
            return;
        }
        let product =
            self.before(at, 1).filter(|token| token.is_word() && !super::words::is_stop(&token.text));
        let product = product.filter(|token| !token.is("version")).map(|token| token.text.clone());
        let product = product.map_or(NONE, |product| self.words.know(&product).id);
        if let Some(text) = self.tokens.get(at).map(|token| token.text.clone()) {
            self.take_out(&text);
        }
        self.claim(Kind::Version(product), Value::Version(parts, bound));
    }

    fn has(&self, list: &str) -> bool {
        self.tokens.iter().any(|token| token.is_word() && listed(list, &token.text))
    }

    /// Whether the value is a limit, and to which side.
    fn bound(&self, at: usize) -> Bound {
        let near = |list: &str, from: usize, to: usize| {
            let tokens = self.tokens.get(from..to.min(self.tokens.len())).unwrap_or_default();
            tokens.iter().any(|token| token.is_word() && listed(list, &token.text))
        };
        let start = at.saturating_sub(4);
        let denied = self.negation.is_some_and(|negation| negation < at);
        if near("exceed exceeds above over", start, at)
            || near("more longer larger greater higher", start, at)
        {
            return if denied { Bound::Most } else { Bound::Threshold };
        }
        if near("below fewer less under", start, at) {
            return if denied { Bound::Least } else { Bound::Threshold };
        }
        let or_more =
            near("newer later higher more greater above", at + 1, at + 4) && near("or and", at + 1, at + 4);
        if near("least", start, at) || or_more || self.has("minimum min guarantee guarantees guaranteed") {
            return Bound::Least;
        }
        let up_to = self.tokens.get(start..at).unwrap_or_default().windows(2);
        let up_to = up_to.into_iter().any(|pair| matches!(pair, [up, to] if up.is("up") && to.is("to")));
        if up_to || near("most within", start, at) || self.has("maximum max limit limited") {
            return Bound::Most;
        }
        Bound::Exact
    }

    /// `key = value`, `key: value`, and `… is value` where the value is a name rather than a word of the language.
    fn setting(&mut self, at: usize, value: &str) {
        let named = value.contains(|char: char| char.is_ascii_digit()) && value.contains(['-', '_']);
        let before = self.before(at, 1).cloned();
        let Some(before) = before else { return };
        let marked = before.is_mark('=') || before.is_mark(':');
        let key = self.before(at, 2).filter(|key| marked && is_key(&key.text)).map(|key| key.text.clone());
        let key = match key {
            Some(key) => self.words.know(&key).id,
            None if named && (marked || listed("is are to", &before.text)) => NONE,
            None => return,
        };
        self.take_out(value);
        self.claim(Kind::Setting(key), Value::Setting(value.to_owned()));
    }

    /// A value is not what a sentence is about.
    fn take_out(&mut self, value: &str) {
        let id = self.words.know(value).id;
        self.sentence.words.remove(&id);
        for word in &mut self.sentence.content {
            if word.is_some_and(|word| word.id == id) {
                *word = None;
            }
        }
    }

    /// Words that are the opposite of each other: one claim of each family at most, the one by default first.
    fn states(&mut self) {
        let mut found: Vec<(Family, bool, bool, String)> = Vec::new();
        for (at, token) in self.tokens.iter().enumerate().filter(|(_, token)| token.is_word()) {
            let next = self.tokens.get(at + 1);
            let by_default = next.is_some_and(|next| next.is("by"))
                && self.tokens.get(at + 2).is_some_and(|default| default.is("default"));
            let Some((family, says)) = family(&token.text) else { continue };
            let switch = listed("on off", &token.text);
            let is = self.before(at, 1).is_some_and(|before| listed("is are", &before.text));
            if switch && !by_default && !(is && next.is_none_or(|next| !next.is_word())) {
                continue;
            }
            let denied = self.negation.is_some_and(|negation| negation < at && at - negation <= 3);
            found.push((family, says != denied, by_default, token.text.clone()));
        }
        for family in [Family::Enabled, Family::Needed, Family::Allowed] {
            let of = || found.iter().filter(|(of, ..)| *of == family);
            if let Some((_, says, ..)) =
                of().find(|(_, _, by_default, _)| *by_default).or_else(|| of().next())
            {
                self.claim(Kind::State(family), Value::Flag(*says));
            }
        }
        for (.., word) in &found {
            self.take_out(word);
        }
    }

    /// What the sentence says is not so.
    fn negation(&mut self) {
        let Some(at) = self.negation else { return };
        let set = |tokens: &[Token], words: &mut Words| -> Vec<u32> {
            let said = tokens.iter().enumerate().filter(|(place, token)| {
                matches!(token.form, Form::Word | Form::Version(_) | Form::Number(_))
                    && !is_unit(tokens, *place)
            });
            let known: Vec<_> = said.map(|(_, token)| words.know(&token.text)).collect();
            known.into_iter().filter(|known| !known.stop).map(|known| known.id).collect()
        };
        let behind = self.tokens.get(at + 1..).unwrap_or_default();
        let end = behind.iter().position(|token| matches!(token.form, Form::Mark(_))).unwrap_or(behind.len());
        let behind = behind.get(..end).unwrap_or_default();
        let compares = |token: &Token| {
            listed("exceed more longer larger less fewer below above over under", &token.text)
                || family(&token.text).is_some()
        };
        if behind.iter().take(3).any(compares) {
            return;
        }
        let after = set(behind, self.words);
        let before = set(self.tokens.get(..at).unwrap_or_default(), self.words);
        if let Some(first) = after.first().copied() {
            self.claim(Kind::Said(first), Value::Flag(false));
            self.sentence.negated = Some((before.into_iter().collect(), after.into_iter().collect()));
        }
    }
}

fn family(word: &str) -> Option<(Family, bool)> {
    Some(match word {
        "enabled" | "on" => (Family::Enabled, true),
        "disabled" | "off" => (Family::Enabled, false),
        "required" | "mandatory" | "compulsory" => (Family::Needed, true),
        "optional" => (Family::Needed, false),
        "allowed" | "permitted" => (Family::Allowed, true),
        "forbidden" | "prohibited" => (Family::Allowed, false),
        _ => return None,
    })
}
