//! Which size of model a message needs, decided by a table and nothing else.
//!
//! This saves money on greetings; it understands nothing. It sees words and lengths, says which rule it went by, and when
//! in doubt asks for the larger model. It gives no confidence, as nothing calibrates one.

mod rules;

pub use rules::{BadRules, Rules};

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

/// What answers a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// A fixed answer of the host's.
    Canned,
    /// A small model.
    Fast,
    /// A large model.
    Smart,
}

/// The rule that decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// The whole message is this phrase of the table.
    Canned(String),
    /// The message holds this word or phrase.
    Keyword(String),
    /// It is shorter than [`Rules::fast_below`].
    Short,
    /// None of them.
    Default,
}

/// What a message goes to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What answers.
    pub tier: Tier,
    /// Why.
    pub rule: Rule,
}

/// What the host knows of the moment at which a message arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// The agent has asked something: "ok" is an answer to it, and no small talk.
    pub awaiting_confirmation: bool,
    /// A tool was called and has not answered.
    pub tool_pending: bool,
}

/// Why a message goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There is nothing but white space in it.
    #[error("an empty message has no route")]
    EmptyQuery,
}

impl RouteError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::EmptyQuery => "AK0650",
        }
    }
}

/// A table made ready. To change the rules, make another.
///
/// ```
/// use caas_core::route::{Moment, Router, Rules, Tier};
///
/// let router = Router::new(Rules::default())?;
/// let now = Moment::default();
/// assert_eq!(router.route("got it 👍", now)?.tier, Tier::Canned);
/// assert_eq!(router.route("ok delete everything", now)?.tier, Tier::Fast);
/// assert_eq!(router.route("Summarize this", now)?.tier, Tier::Smart);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Router {
    canned: HashSet<String>,
    /// Words of each phrase, the phrase with the most words first.
    smart: Vec<Vec<String>>,
    fast_below: usize,
    /// A message with more bytes than this fits no canned phrase, and is not short.
    looked_at: usize,
}

/// Graphemes of scripts that put a word into one or two are counted as so many.
const DENSE: usize = 3;

impl Router {
    /// Makes rules ready.
    ///
    /// # Errors
    /// [`BadRules`].
    pub fn new(rules: Rules) -> Result<Self, BadRules> {
        rules.check()?;
        let canned: HashSet<String> = rules.canned.iter().map(|phrase| bare(phrase)).collect();
        let said = rules.smart.iter().map(|phrase| words(&folded(phrase)));
        let mut smart: Vec<Vec<String>> = said.filter(|phrase| !phrase.is_empty()).collect();
        smart.sort_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        Ok(Self { canned, smart, fast_below: rules.fast_below, looked_at: Rules::MAX_LOOKED_AT })
    }

    /// Where a message goes. Takes time linear in its length up to 16 KiB; what is longer is [`Tier::Smart`].
    ///
    /// # Errors
    /// [`RouteError::EmptyQuery`].
    pub fn route(&self, message: &str, moment: Moment) -> Result<Route, RouteError> {
        let message = message.trim();
        if message.is_empty() {
            return Err(RouteError::EmptyQuery);
        }
        if self.looked_at < message.len() {
            return Ok(Route { tier: Tier::Smart, rule: Rule::Default });
        }
        let busy = moment.awaiting_confirmation || moment.tool_pending;
        let whole = bare(message);
        if !busy && self.canned.contains(&whole) {
            return Ok(Route { tier: Tier::Canned, rule: Rule::Canned(whole) });
        }
        let said = words(&folded(message));
        let holds = |phrase: &&Vec<String>| said.windows(phrase.len()).any(|part| part == phrase.as_slice());
        if let Some(phrase) = self.smart.iter().find(holds) {
            return Ok(Route { tier: Tier::Smart, rule: Rule::Keyword(phrase.join(" ")) });
        }
        if length(message) < self.fast_below {
            return Ok(Route { tier: Tier::Fast, rule: Rule::Short });
        }
        Ok(Route { tier: Tier::Smart, rule: Rule::Default })
    }
}

fn folded(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).collect()
}

/// The text without what is around it: punctuation, emoji, blanks; inner runs of blanks become one.
fn bare(text: &str) -> String {
    let text = folded(text);
    let inner = text.trim_matches(|char: char| !char.is_alphanumeric());
    inner.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn words(folded: &str) -> Vec<String> {
    folded.unicode_words().map(str::to_owned).collect()
}

/// Graphemes, those of Han, kana and Hangul threefold.
fn length(text: &str) -> usize {
    text.graphemes(true).map(|grapheme| if grapheme.starts_with(is_dense) { DENSE } else { 1 }).sum()
}

const fn is_dense(char: char) -> bool {
    matches!(char,
        '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests;
