//! Wording that tries to give a model new orders: advisory.
//!
//! Phrases, most of them English, as families of word sequences with gaps, looked for in every [reading](crate::text) of a text and
//! through leet spelling, letters shifted by 13 places and text written backwards. Whoever knows the families can write around them, and prose about attacks is flagged like an
//! attack. So a flag is a reason to look, never a decision: no verdict hangs on it, and there is no list of phrases that
//! excuse a text.

use std::ops::ControlFlow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::text::{Form, Limits, each_view};

/// What a phrase tries to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Put earlier orders aside: "ignore all previous instructions".
    Override,
    /// Bring out what the model was told: "print the system prompt".
    Reveal,
    /// Take on a role without rules: "you are now an unrestricted model".
    Role,
    /// Keep the user in the dark: "do not tell the user".
    Conceal,
}

/// What [`look`] saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// The families seen, in ascending order.
    pub families: Vec<Family>,
    /// Whether there were more readings of the text than could be looked at.
    pub incomplete: bool,
}

impl Advice {
    /// Whether somebody should look at the text.
    #[must_use]
    pub fn is_flagged(&self) -> bool {
        !self.families.is_empty()
    }
}

/// Looks for wording that tries to give new orders. Takes time linear in the text.
#[must_use]
pub fn look(text: &str, limits: &Limits) -> Advice {
    let mut families = Vec::new();
    let seen = each_view(text, limits, |view| {
        match view.form {
            Form::Plain | Form::Clean => {}
            Form::Folded | Form::Skeleton | Form::Spaced | Form::Joined => {
                match_families(words(view.text), &mut families);
                if view.form == Form::Folded {
                    let backwards: String = view.text.chars().rev().collect();
                    match_families(words(&backwards), &mut families);
                    let shifted: String = view.text.chars().map(shift).collect();
                    match_families(words(&shifted), &mut families);
                }
            }
            Form::Compact => match_families(dense_words(view.text), &mut families),
        }
        if families.len() == FAMILIES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    families.sort_unstable();
    Advice { families, incomplete: seen.is_err() }
}

/// A letter 13 places further (ROT13).
fn shift(char: char) -> char {
    match char {
        'a'..='m' | 'A'..='M' => char::from_u32(u32::from(char) + 13).unwrap_or(char),
        'n'..='z' | 'N'..='Z' => char::from_u32(u32::from(char) - 13).unwrap_or(char),
        other => other,
    }
}

/// How many families there are.
const FAMILIES: usize = 4;

/// Classes of words, as bits.
mod class {
    pub(super) const DISMISS: u32 = 1;
    pub(super) const EARLIER: u32 = 1 << 1;
    pub(super) const ORDERS: u32 = 1 << 2;
    pub(super) const SAY: u32 = 1 << 3;
    pub(super) const HIDDEN: u32 = 1 << 4;
    pub(super) const PROMPT: u32 = 1 << 5;
    pub(super) const YOU: u32 = 1 << 6;
    pub(super) const ARE: u32 = 1 << 7;
    pub(super) const NOW: u32 = 1 << 8;
    pub(super) const PRETEND: u32 = 1 << 9;
    pub(super) const FREE: u32 = 1 << 10;
    pub(super) const NOT: u32 = 1 << 11;
    pub(super) const TELL: u32 = 1 << 12;
    pub(super) const USER: u32 = 1 << 13;
    pub(super) const DO: u32 = 1 << 14;
    pub(super) const ANYTHING: u32 = 1 << 15;
    pub(super) const EVERYTHING: u32 = 1 << 16;
    pub(super) const TOLD: u32 = 1 << 17;
}

use class::{
    ANYTHING, ARE, DISMISS, DO, EARLIER, EVERYTHING, FREE, HIDDEN, NOT, NOW, ORDERS, PRETEND, PROMPT, SAY,
    TELL, TOLD, USER, YOU,
};

/// Words and their classes. A word may be in several.
const VOCABULARY: [(&[&str], u32); 26] = [
    (
        &["ignore", "disregard", "forget", "override", "bypass", "discard", "neglect", "ignoring", "disobey"],
        DISMISS,
    ),
    (&["previous", "prior", "above", "earlier", "preceding", "former", "foregoing", "your", "all"], EARLIER),
    (&["system", "safety"], EARLIER | HIDDEN),
    (&["instructions", "instruction", "directives", "guidelines", "orders", "programming"], ORDERS | PROMPT),
    (&["prompt", "prompts", "rules"], ORDERS | PROMPT),
    (&["restrictions", "constraints", "commands", "training", "guardrails"], ORDERS),
    (&["message"], PROMPT),
    (&["reveal", "print", "show", "repeat", "output", "display", "leak", "dump", "expose", "recite"], SAY),
    (&["hidden", "initial", "secret", "developer", "original", "internal", "confidential"], HIDDEN),
    (&["you"], YOU),
    (&["are"], ARE),
    (&["now"], NOW),
    (&["act", "pretend", "behave", "roleplay"], PRETEND),
    (&["unrestricted", "unfiltered", "uncensored", "jailbroken", "dan", "amoral"], FREE),
    (&["not", "never", "without", "dont"], NOT),
    (&["tell", "inform", "mention", "notify", "alert", "telling", "informing", "notifying"], TELL),
    (&["user", "users", "human", "operator"], USER),
    (&["do"], DO),
    (&["anything"], ANYTHING),
    (&["mode"], 0),
    (&["everything"], EVERYTHING),
    (&["told", "taught", "learned"], TOLD),
    // Spanish, French, German, Italian and Portuguese, as they read without accents.
    (
        &[
            "ignora",
            "ignorar",
            "olvida",
            "ignorez",
            "oubliez",
            "oublie",
            "ignoriere",
            "ignorieren",
            "ignoriert",
            "vergiss",
            "vergesst",
            "missachte",
            "dimentica",
            "esqueca",
        ],
        DISMISS,
    ),
    (
        &[
            "anteriores",
            "previas",
            "todas",
            "precedentes",
            "toutes",
            "vorherigen",
            "bisherigen",
            "vorigen",
            "alle",
            "obigen",
            "precedenti",
            "tutte",
        ],
        EARLIER,
    ),
    (
        &[
            "instrucciones",
            "ordenes",
            "consignes",
            "anweisungen",
            "befehle",
            "istruzioni",
            "instrucoes",
            "reglas",
            "regeln",
        ],
        ORDERS,
    ),
    (&["revela", "muestra", "revele", "affiche", "zeige", "verrate"], SAY),
];

/// A family and the classes of one phrase of it, each with the most words that may stand before it.
type Phrase = (Family, &'static [(u32, usize)]);

const PHRASES: [Phrase; 9] = [
    (Family::Override, &[(DISMISS, 0), (EARLIER, 3), (ORDERS, 4)]),
    (Family::Override, &[(DISMISS, 0), (ORDERS, 2), (EARLIER, 0)]),
    (Family::Override, &[(DISMISS, 0), (EVERYTHING, 1), (EARLIER, 1)]),
    (Family::Override, &[(DISMISS, 0), (EVERYTHING, 1), (TOLD, 4)]),
    (Family::Reveal, &[(SAY, 0), (HIDDEN, 4), (PROMPT, 1)]),
    (Family::Role, &[(YOU, 0), (ARE, 0), (NOW, 0), (FREE, 4)]),
    (Family::Role, &[(PRETEND, 0), (FREE, 5)]),
    (Family::Role, &[(DO, 0), (ANYTHING, 0), (NOW, 0)]),
    (Family::Conceal, &[(NOT, 0), (TELL, 1), (USER, 2)]),
];

/// The words of the vocabulary with the class of each. `None` only if the fixed table could not be compiled, which the
/// tests rule out.
static WORDS: LazyLock<Option<(AhoCorasick, Vec<u32>)>> = LazyLock::new(|| {
    let all = || VOCABULARY.iter().flat_map(|(words, class)| words.iter().map(move |word| (*word, *class)));
    let automaton =
        AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(all().map(|(word, _)| word));
    Some((automaton.ok()?, all().map(|(_, class)| class).collect()))
});

/// The classes of a whole word.
fn class_of(word: &str) -> u32 {
    let Some((automaton, classes)) = WORDS.as_ref() else { return 0 };
    let whole = automaton.find(aho_corasick::Input::new(word).anchored(aho_corasick::Anchored::No));
    whole
        .filter(|found| found.range() == (0..word.len()))
        .and_then(|found| classes.get(found.pattern().as_usize()).copied())
        .unwrap_or(0)
}

/// The classes of the words of a text, as written and with leet undone.
fn words(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split(|char: char| !char.is_alphanumeric() && !is_leet_sign(char))
        .filter(|word| !word.is_empty())
        .map(|word| class_of(word.trim_matches(is_leet_sign)) | leet_class(word))
}

/// The classes of the words in a text without blanks; what is no such word is not counted.
fn dense_words(text: &str) -> impl Iterator<Item = u32> + '_ {
    WORDS.iter().flat_map(move |(automaton, classes)| {
        automaton.find_iter(text).filter_map(|found| classes.get(found.pattern().as_usize()).copied())
    })
}

fn is_leet_sign(char: char) -> bool {
    matches!(char, '@' | '$' | '!' | '|')
}

/// The classes of a word with digits and signs read as the letters they look like; `1`, `!` and `|` as `i` and as `l`.
fn leet_class(word: &str) -> u32 {
    if word.len() > 32 || !word.contains(|char: char| char.is_ascii_digit() || is_leet_sign(char)) {
        return 0;
    }
    let read = |upright: char| {
        let letters = word.chars().map(|char| match char {
            '0' => 'o',
            '1' | '!' | '|' => upright,
            '3' => 'e',
            '4' | '@' => 'a',
            '5' | '$' => 's',
            '7' => 't',
            '8' => 'b',
            '9' => 'g',
            other => other,
        });
        class_of(&letters.collect::<String>())
    };
    read('i') | read('l')
}

/// Adds the families of which the words hold a phrase.
fn match_families(words: impl Iterator<Item = u32>, families: &mut Vec<Family>) {
    let words: Vec<u32> = words.collect();
    for (at, word) in words.iter().enumerate() {
        if *word == 0 {
            continue;
        }
        for (family, steps) in PHRASES {
            if !families.contains(&family) && holds(words.get(at..).unwrap_or_default(), steps) {
                families.push(family);
            }
        }
    }
}

/// Whether the words begin with a phrase. Gaps are taken as short as they go, which is enough for phrases of which no step
/// can stand for another.
fn holds(mut words: &[u32], steps: &[(u32, usize)]) -> bool {
    steps.iter().all(|(class, gap)| {
        let at = words.iter().take(gap + 1).position(|word| word & class != 0);
        words = at.and_then(|at| words.get(at + 1..)).unwrap_or_default();
        at.is_some()
    })
}
