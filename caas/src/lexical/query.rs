//! A question as words and phrases.

use std::collections::{BTreeMap, BTreeSet};

use super::{Analyzer, Tokens};

/// Most phrases of a question that count; the rest are words only.
const MAX_PHRASES: usize = 8;
/// Most words of a phrase that are compared.
const MAX_PHRASE_WORDS: usize = 32;

/// What is looked for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Question {
    /// Words with their weights. In order, so that sums are the same in every index.
    pub(super) words: BTreeMap<String, f64>,
    /// Words that stand together.
    pub(super) phrases: BTreeSet<Vec<String>>,
}

impl Question {
    /// Taken apart by each analyzer that chunks of the index were taken apart by. A word counts as often as it is asked
    /// for; one that two analyzers give counts once.
    pub(super) fn new(text: &str, analyzers: impl IntoIterator<Item = Analyzer>) -> Self {
        let mut question = Self::default();
        for analyzer in analyzers {
            let mut words: BTreeMap<&str, f64> = BTreeMap::new();
            let tokens = analyzer.analyze(text);
            for (word, _) in tokens.iter() {
                *words.entry(word).or_default() += 1.0;
            }
            for (word, weight) in words {
                let known = question.words.entry(word.to_owned()).or_default();
                *known = known.max(weight);
            }
            for quoted in quoted(text).take(MAX_PHRASES) {
                let phrase: Vec<String> = parts(&analyzer.analyze(quoted)).take(MAX_PHRASE_WORDS).collect();
                if 1 < phrase.len() {
                    question.phrases.insert(phrase);
                }
            }
        }
        question
    }
}

fn parts(tokens: &Tokens) -> impl Iterator<Item = String> {
    tokens.iter().filter(|(_, whole)| !whole).map(|(token, _)| token.to_owned())
}

/// What stands between double quotes of either form, or guillemets.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    const PAIRS: [(char, char); 3] = [('"', '"'), ('\u{201c}', '\u{201d}'), ('\u{ab}', '\u{bb}')];
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (start, open) = rest.char_indices().find(|(_, char)| PAIRS.iter().any(|(o, _)| o == char))?;
            let close = PAIRS.iter().find(|(o, _)| *o == open).map(|(_, close)| *close)?;
            let after = rest.get(start + open.len_utf8()..)?;
            match after.split_once(close) {
                Some((inner, beyond)) => {
                    rest = beyond;
                    return Some(inner);
                }
                None => rest = after,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_a_phrase_too() {
        let text = "why \"connection reset by peer\" and \u{201c}broken pipe\u{201d}, not \"this";
        let question = Question::new(text, [Analyzer::English]);
        let phrases: Vec<String> = question.phrases.iter().map(|phrase| phrase.join(" ")).collect();
        assert_eq!(phrases, ["broken pipe", "connect reset peer"]);
        assert!(question.words.contains_key("peer") && question.words.contains_key("not"));
        assert!(Question::new("\"word\"", [Analyzer::English]).phrases.is_empty());
    }

    #[test]
    fn words_of_both_analyzers_count_once() {
        let question = Question::new("data dataBase data", [Analyzer::English, Analyzer::Code]);
        let words: Vec<(&str, f64)> =
            question.words.iter().map(|(word, weight)| (word.as_str(), *weight)).collect();
        assert_eq!(words, [("base", 1.0), ("data", 3.0), ("databas", 1.0), ("database", 1.0)]);
    }
}
