//! Sentences as words, numbers and marks.

use super::unit;
use super::words::{List, Lists};

/// Most tokens of a sentence that are looked at.
pub(super) const MAX_TOKENS: usize = 96;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    Word,
    Number(f64),
    Version(Vec<u32>),
    /// Days since 1970-01-01.
    Date(i64),
    /// A quarter of a year, counted from year 0.
    Quarter(i64),
    /// Minutes since midnight.
    Clock(u32),
    Url,
    /// A host and the port on it.
    Port(u16),
    Mark(char),
}

/// A token: its text in lower case, whether it began with a capital, what it is, and the lists that it is in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) capital: bool,
    pub(super) form: Form,
    pub(super) lists: Lists,
}

impl Token {
    fn new(text: &str, form: Form) -> Self {
        let lower = if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_lowercase() };
        let lists = Lists::of(&lower);
        Self { capital: text.starts_with(char::is_uppercase), text: lower, form, lists }
    }

    const fn mark(mark: char) -> Self {
        Self { text: String::new(), capital: false, form: Form::Mark(mark), lists: Lists::NONE }
    }

    /// Whether it is in a list.
    pub(super) const fn is_of(&self, list: List) -> bool {
        self.lists.hold(list)
    }

    pub(super) const fn is_word(&self) -> bool {
        matches!(self.form, Form::Word)
    }

    pub(super) fn is(&self, word: &str) -> bool {
        self.text == word
    }

    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.form == Form::Mark(mark)
    }
}

/// The sentences of a text: a line ends one, and so does a full stop, a question or exclamation mark or a semicolon before
/// a blank. A mark of its own says that one was a question.
pub(super) fn sentences(text: &str) -> impl Iterator<Item = (&str, bool)> {
    text.split('\n').flat_map(|line| {
        let mut rest = line;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut chars = rest.char_indices().peekable();
            while let Some((at, char)) = chars.next() {
                let ends = matches!(char, '.' | '?' | '!' | ';' | '。' | '？' | '！');
                let behind = chars.peek().is_none_or(|(_, next)| next.is_whitespace() || !char.is_ascii());
                if ends && behind {
                    let (sentence, after) = rest.split_at(at + char.len_utf8());
                    rest = after;
                    return Some((sentence.trim(), matches!(char, '?' | '？')));
                }
            }
            let sentence = std::mem::take(&mut rest);
            Some((sentence.trim(), false))
        })
    })
}

/// The tokens of a sentence, and whether it has no more than are looked at.
pub(super) fn tokens(sentence: &str) -> (Vec<Token>, bool) {
    let mut tokens = Vec::new();
    for piece in sentence.split_whitespace() {
        if MAX_TOKENS <= tokens.len() {
            return (dates(tokens), false);
        }
        pieces(piece, &mut tokens);
    }
    (dates(tokens), true)
}

/// One piece between blanks: what stands around it becomes marks.
fn pieces(piece: &str, out: &mut Vec<Token>) {
    let inner = piece.trim_start_matches(|char: char| {
        !char.is_alphanumeric() && !matches!(char, '#' | '%' | '/' | '=' | '-')
    });
    if inner.len() < piece.len() {
        out.push(Token::mark('('));
    }
    let core =
        inner.trim_end_matches(|char: char| !char.is_alphanumeric() && !matches!(char, '%' | '=' | '/'));
    let tail = inner.get(core.len()..).unwrap_or_default();
    if core == "=" || core == "/" {
        out.push(Token::mark(core.chars().next().unwrap_or('=')));
    } else if let Some(equals) = core.find('=').filter(|_| !core.contains("://")) {
        let (key, value) = core.split_at(equals);
        word(key, out);
        out.push(Token::mark('='));
        word(value.trim_start_matches('='), out);
    } else {
        word(core, out);
    }
    for mark in tail.chars().take(2) {
        let mark = if mark.is_ascii_punctuation() && matches!(mark, ':' | ',') { mark } else { ')' };
        out.push(Token::mark(mark));
    }
}

fn word(text: &str, out: &mut Vec<Token>) {
    let text = text.trim_matches(|char: char| matches!(char, '`' | '"' | '\''));
    if !text.chars().any(|char| char.is_alphanumeric() || char == '%') {
        return;
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        out.push(Token::new(text.trim_end_matches('/'), Form::Url));
    } else if let Some(form) = in_digits(text) {
        out.push(Token::new(text, form));
    } else if let Some((value, suffix)) = number(text) {
        out.push(Token::new(text.get(..text.len() - suffix.len()).unwrap_or(text), Form::Number(value)));
        match suffix.split_once('/') {
            Some((unit, per)) => per_word(unit, per, out),
            None if suffix.is_empty() => {}
            None => out.push(Token::new(suffix, Form::Word)),
        }
    } else if let Some((of, per)) =
        text.split_once('/').filter(|(_, per)| unit::unit(&per.to_lowercase()).is_some())
    {
        per_word(of, per, out);
    } else if text.contains('-') && text.chars().all(|char| char.is_alphabetic() || char == '-') {
        out.extend(text.split('-').filter(|part| !part.is_empty()).map(|part| Token::new(part, Form::Word)));
    } else {
        out.push(Token::new(text.trim_start_matches('/'), Form::Word));
    }
}

/// What is written with digits, other than a number.
fn in_digits(text: &str) -> Option<Form> {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    date(text).or_else(|| clock(text)).or_else(|| port(text)).or_else(|| version(text))
}

fn per_word(of: &str, per: &str, out: &mut Vec<Token>) {
    if !of.is_empty() {
        out.push(Token::new(of, Form::Word));
    }
    out.push(Token::mark('/'));
    out.push(Token::new(per, Form::Word));
}

/// A number at the beginning, with what stands right behind it: `1,000`, `1.5`, `30s`, `10k`, `99.9%`.
fn number(text: &str) -> Option<(f64, &str)> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let end = unsigned
        .find(|char: char| !char.is_ascii_digit() && !matches!(char, '.' | ','))
        .unwrap_or(unsigned.len());
    let (digits, suffix) = unsigned.split_at(end);
    let plain: String = digits.chars().filter(|char| *char != ',').collect();
    let grouped =
        digits.split('.').next().unwrap_or_default().split(',').skip(1).all(|group| group.len() == 3);
    if !plain.starts_with(|char: char| char.is_ascii_digit()) || 18 < plain.len() || !grouped {
        return None;
    }
    let (factor, suffix) = match suffix {
        "k" | "K" => (1e3, ""),
        "M" => (1e6, ""),
        suffix => (1.0, suffix),
    };
    let known = suffix.is_empty() || suffix.starts_with('/') || {
        let unit = suffix.split('/').next().unwrap_or_default().to_lowercase();
        unit::unit(&unit).is_some()
    };
    let value: f64 = plain.parse().ok().filter(|value: &f64| value.is_finite())?;
    let signed = if unsigned.len() < text.len() { -value } else { value };
    known.then_some((signed * factor, suffix))
}

/// `v1`, `v2.3`, `1.2.3`.
fn version(text: &str) -> Option<Form> {
    let digits = text.strip_prefix(['v', 'V']);
    let parts = digits
        .unwrap_or(text)
        .split('.')
        .map(|part| part.parse::<u32>().ok())
        .collect::<Option<Vec<u32>>>()?;
    (digits.is_some() || 3 <= parts.len())
        .then_some(Form::Version(parts))
        .filter(|_| text.split('.').count() <= 4)
}

fn date(text: &str) -> Option<Form> {
    if let Some(quarter) = text.strip_prefix(['q', 'Q']).and_then(|rest| rest.parse::<i64>().ok()) {
        return (1..=4).contains(&quarter).then_some(Form::Quarter(quarter));
    }
    let mut parts = text.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        // With a time of day behind it, it says when a line was written, and is no claim.
        let is_time = year.len() == 4 && month.len() == 2 && day.get(2..3) == Some("T");
        return is_time.then_some(Form::Mark('t'));
    }
    unit::days(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).map(Form::Date)
}

fn clock(text: &str) -> Option<Form> {
    let (hours, minutes) = text.split_once(':')?;
    if minutes.len() != 2 || hours.is_empty() || 2 < hours.len() {
        return None;
    }
    let (hours, minutes): (u32, u32) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(Form::Clock(hours * 60 + minutes))
}

fn port(text: &str) -> Option<Form> {
    let (host, port) = text.rsplit_once(':')?;
    let host_like = host.starts_with(char::is_alphabetic) && !host.contains(['/', ':', '=']);
    let port: u16 = port.parse().ok()?;
    (host_like && port != 0 && (host.contains('.') || host == "localhost")).then_some(Form::Port(port))
}

/// Puts together dates of several words: `12 May 2024`, `May 12, 2024`, `Q3 2026`.
fn dates(tokens: Vec<Token>) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut rest = tokens;
    while let Some((at, form, used)) = (0..rest.len()).find_map(|at| {
        let (form, used) = long_date(rest.get(at..)?)?;
        Some((at, form, used))
    }) {
        let behind = rest.split_off(at + used);
        rest.truncate(at);
        out.append(&mut rest);
        out.push(Token::new("", form));
        rest = behind;
    }
    out.append(&mut rest);
    out
}

fn long_date(tokens: &[Token]) -> Option<(Form, usize)> {
    let whole = |token: &Token| match token.form {
        Form::Number(value) if value.fract() == 0.0 && (0.0..=2999.0).contains(&value) => Some(value as i64),
        _ => None,
    };
    let first = tokens.first()?;
    if let Form::Quarter(quarter) = first.form {
        let year = whole(tokens.get(1)?).filter(|year| 1900 <= *year)?;
        return Some((Form::Quarter(year * 4 + quarter - 1), 2));
    }
    let second = tokens.get(1)?;
    if whole(first).is_none() && whole(second).is_none() {
        return None;
    }
    let (month, day) = match (unit::month(&first.text), unit::month(&second.text)) {
        (Some(month), _) => (month, whole(second)?),
        (None, Some(month)) => (month, whole(first)?),
        (None, None) => return None,
    };
    let comma = usize::from(tokens.get(2)?.is_mark(','));
    let year = whole(tokens.get(2 + comma)?)?;
    let days = unit::days(year, month, u8::try_from(day).ok()?)?;
    Some((Form::Date(days), 3 + comma))
}
