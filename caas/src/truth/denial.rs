//! What a sentence says is on or off, needed or not, allowed or not, and what it denies.

use super::claim::{Family, Kind, is_unit};
use super::scan::{Form, Token};
use super::value::Value;
use super::values::Reader;
use super::words::{List, Words};

impl Reader<'_, '_> {
    /// Words that are the opposite of each other: one claim of each family at most, the one by default first.
    pub(super) fn states(&mut self) {
        let mut found: Vec<(Family, bool, bool, &Token)> = Vec::new();
        for (at, token) in self.tokens.iter().enumerate().filter(|(_, token)| token.is_word()) {
            let next = self.tokens.get(at + 1);
            let by_default = next.is_some_and(|next| next.is("by"))
                && self.tokens.get(at + 2).is_some_and(|default| default.is("default"));
            let Some((family, says)) = family(&token.text) else { continue };
            let switch = token.is_of(List::Switches);
            let is = self.before(at, 1).is_some_and(|before| before.is_of(List::Is));
            if switch && !by_default && !(is && next.is_none_or(|next| !next.is_word())) {
                continue;
            }
            let denied = self.negation.is_some_and(|negation| negation < at && at - negation <= 3);
            found.push((family, says != denied, by_default, token));
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
            self.take_out(&word.text);
        }
    }

    /// What the sentence says is not so.
    pub(super) fn negation(&mut self) {
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
        let compares = |token: &Token| token.is_of(List::Compares) || family(&token.text).is_some();
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
