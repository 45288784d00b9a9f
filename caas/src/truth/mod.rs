//! Where texts disagree: what is written against what was seen, the old against the new.
//!
//! A *claim* is a value that a sentence gives to what it is about: a number with a unit or of things counted, a limit, a
//! version, a date, a time of day, a port, an address, a setting, whether something is on, needed or allowed, or is so at
//! all. Two claims of one kind conflict where their subjects share half of their words and their values cannot both hold.
//! Units are made equal first. All chunks that were found are compared, whichever documents they are of.
//!
//! This is arithmetic over words. It understands nothing.
//!
//! - It sees `100 concurrent requests` against `50 concurrent requests`, `30 seconds` against `1 min`, `does not support TLS
//!   1.3` against `supports TLS 1.3`, `max_connections = 200` against `max_connections: 100`. It reads English sentences.
//! - It does not see what two texts say in different words (`retained` and `kept`, `admins only` and `any member`), who or
//!   what does something (`gzip` and `zstd`), pronouns, irony, or a sentence that only another makes clear.
//! - Words beside a shared word (`free plan`, `team plan`), behind one preposition (`in staging`, `in production`) and
//!   headings side by side in one document tell subjects apart. Where they do not, two subjects may pass for one.
//! - Sentences that ask, suppose, doubt or tell what used to be claim nothing.
//!
//! So a conflict is a reason to look, and that there is none proves nothing. `caas/testdata/conflicts.jsonl` says on a
//! hundred pairs how often it is right.
//!
//! Truth looks at what a search has answered, so it never knows of what its asker may not read.

mod claim;
mod compare;
mod denial;
mod note;
mod scan;
mod unit;
mod value;
mod values;
mod words;

use agent_primitives::Timestamp;

pub use note::{Policy, notes};
pub use unit::Dimension;
pub use value::{Bound, Value};

use crate::model::{ChunkId, DocumentId, Found, SourceKind};
use claim::{Claim, Kind, Sentence};
use compare::{Claims, Line, Pairs, Placed};
use words::Words;

/// Most chunks that are looked at, the best first.
pub const MAX_CHUNKS: usize = 4096;
/// Most bytes of a chunk that are looked at.
pub const MAX_TEXT: usize = 64 * 1024;
/// Most claims of a chunk.
pub const MAX_CLAIMS: usize = 64;
/// Most conflicts that are answered, those that weigh most first.
pub const MAX_CONFLICTS: usize = 256;
/// Longest excerpt of a claim, in characters.
const MAX_EXCERPT: usize = 240;

/// How much a conflict weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Less than a tenth.
    Low,
    /// A tenth and more.
    Medium,
    /// Half and more, or no matter of size.
    High,
}

impl Severity {
    fn of(size: f64, high: f64, medium: f64) -> Self {
        if high <= size {
            Self::High
        } else if medium <= size {
            Self::Medium
        } else {
            Self::Low
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// One of the two that disagree.
#[derive(Clone, Debug, PartialEq)]
pub struct Side {
    /// What is claimed.
    pub value: Value,
    /// The sentence, its first 240 characters.
    pub excerpt: String,
    /// The chunk it is in.
    pub chunk: ChunkId,
    /// The document.
    pub document: DocumentId,
    /// The document's title.
    pub title: std::sync::Arc<str>,
    /// What kind of source that is.
    pub source: SourceKind,
    /// When the document was last changed.
    pub updated_at: Option<Timestamp>,
}

/// Two claims that cannot both hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// Words that both are about, in the order of their first use.
    pub topic: Vec<String>,
    /// The one that was found at the better rank.
    pub one: Side,
    /// The other.
    pub other: Side,
    /// How much it weighs.
    pub severity: Severity,
    /// How far the numbers are apart, as a part of the larger; `None` where it is no matter of size.
    pub gap: Option<f64>,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflicts {
    /// The conflicts, those that weigh most first.
    pub found: Vec<Conflict>,
    /// Whether everything was looked at and compared. `false` where a bound of this module was met.
    pub complete: bool,
    /// Pairs of claims that were compared: at most so many for each claim, however many there are.
    pub compared: usize,
}

/// The conflicts among what was found. Takes time linear in the text and the claims; equal input gives equal output.
#[must_use]
pub fn conflicts(found: &[Found]) -> Conflicts {
    let mut reading =
        Reading { words: Words::new(), placed: Vec::new(), complete: found.len() <= MAX_CHUNKS };
    let found = found.get(..MAX_CHUNKS).unwrap_or(found);
    let mut headings = Vec::with_capacity(found.len());
    for (place, found) in found.iter().enumerate() {
        headings.push(reading.heading(found.chunk.path.last().map_or("", |heading| heading)));
        reading.chunk(place, found);
    }
    reading.say_what_is_denied();
    let Reading { words, placed, mut complete } = reading;
    let apart = |one: usize, other: usize| {
        found.get(one).zip(found.get(other)).is_some_and(|(a, b)| are_siblings(a, b))
    };
    let claims = Claims { placed: &placed, headings: &headings, apart: &apart };
    let Pairs { mut pairs, complete: compared_all, compared } = claims.pairs();
    complete &= compared_all;
    pairs.sort_by_cached_key(|((_, first), (_, second))| {
        std::cmp::Reverse(weight(&first.value, &second.value))
    });
    let mut seen = std::collections::BTreeSet::new();
    let mut conflicts = Vec::new();
    for ((one, first), (other, second)) in pairs {
        let (Some(a), Some(b)) = (placed.get(one), placed.get(other)) else { continue };
        let (Some(of_one), Some(of_other)) = (found.get(a.chunk), found.get(b.chunk)) else { continue };
        if conflicts.len() == MAX_CONFLICTS {
            complete = false;
            break;
        }
        let conflict = conflict(&words, (a, first, of_one), (b, second, of_other));
        let same = (
            (conflict.one.document.clone(), conflict.one.value.shown()),
            (conflict.other.document.clone(), conflict.other.value.shown()),
            conflict.topic.clone(),
        );
        if seen.insert(same) {
            conflicts.push(conflict);
        }
    }
    Conflicts { found: conflicts, complete, compared }
}

/// What conflicts are ordered by: their severity, then the gap in millionths; what is no matter of size is as far apart as
/// can be.
fn weight(one: &Value, other: &Value) -> (Severity, u64) {
    // A gap is 0 to 2, so the number fits.
    (one.severity(other), (one.gap(other).unwrap_or(1.0) * 1e6) as u64)
}

/// Whether two chunks are of one document and beneath different headings side by side.
fn are_siblings(a: &Found, b: &Found) -> bool {
    let (one, other) = (&a.chunk.path, &b.chunk.path);
    let above = |path: &crate::model::Path| path.split_last().map(|(_, above)| above.to_vec());
    a.document == b.document && one != other && above(one) == above(other)
}

fn conflict(
    words: &Words,
    (a, first, one): (&Placed, &Claim, &Found),
    (b, second, other): (&Placed, &Claim, &Found),
) -> Conflict {
    let mut topic: Vec<u32> = Vec::new();
    for word in a.line.words().chain(a.subject.iter().copied()) {
        if b.subject.binary_search(&word).is_ok() && !topic.contains(&word) {
            topic.push(word);
        }
    }
    if let (Kind::Setting(key), true) = (first.kind, topic.is_empty()) {
        topic.push(key);
    }
    Conflict {
        topic: topic.into_iter().map(|word| words.name(word).to_owned()).collect(),
        severity: first.value.severity(&second.value),
        gap: first.value.gap(&second.value),
        one: side(a, first, one),
        other: side(b, second, other),
    }
}

fn side(placed: &Placed, claim: &Claim, found: &Found) -> Side {
    Side {
        value: claim.value.clone(),
        excerpt: placed.text.clone(),
        chunk: found.chunk.id,
        document: found.document.clone(),
        title: std::sync::Arc::clone(&found.title),
        source: found.metadata.source.kind,
        updated_at: found.metadata.updated_at.or(found.metadata.created_at),
    }
}

/// What was read so far.
struct Reading {
    words: Words,
    placed: Vec<Placed>,
    complete: bool,
}

impl Reading {
    fn heading(&mut self, text: &str) -> Line {
        let (tokens, _) = scan::tokens(text);
        Line::new(claim::read(&tokens, false, &mut self.words).content)
    }

    fn chunk(&mut self, place: usize, found: &Found) {
        let text = &*found.chunk.text;
        let end = (0..=MAX_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        self.complete &= end == text.len();
        let (mut claims, mut above) = (0, None);
        for (text, question) in scan::sentences(text.get(..end).unwrap_or_default()) {
            let (tokens, whole) = scan::tokens(text);
            if tokens.is_empty() {
                continue;
            }
            self.complete &= whole;
            let mut sentence = claim::read(&tokens, question, &mut self.words);
            if MAX_CLAIMS < claims + sentence.claims.len() {
                self.complete = false;
                sentence.claims.truncate(MAX_CLAIMS - claims);
            }
            claims += sentence.claims.len();
            if sentence.claims.is_empty() && !sentence.plain {
                continue;
            }
            let mut subject: Vec<u32> = sentence.words.iter().copied().collect();
            if subject.len() < 2 && !sentence.claims.is_empty() {
                subject.extend(above.get_or_insert_with(|| self.above(found)).iter().copied());
                subject.sort_unstable();
                subject.dedup();
            }
            let end = text.char_indices().nth(MAX_EXCERPT).map_or(text.len(), |(end, _)| end);
            let text = text.get(..end).unwrap_or(text).to_owned();
            let line = Line::new(std::mem::take(&mut sentence.content));
            self.placed.push(Placed { chunk: place, text, subject, line, sentence });
        }
    }

    /// The words of what a chunk lies beneath: its heading, or else its title.
    fn above(&mut self, found: &Found) -> Vec<u32> {
        let above = found.chunk.path.last().unwrap_or(&found.title);
        self.heading(above).words().collect()
    }

    /// What some sentence denies, others say without a number or a word for it: that they say it is a claim, too.
    fn say_what_is_denied(&mut self) {
        let of = |claim: &Claim| match claim.kind {
            Kind::Said(word) => Some(word),
            _ => None,
        };
        let denied: std::collections::BTreeSet<u32> =
            self.placed.iter().flat_map(|placed| &placed.sentence.claims).filter_map(of).collect();
        for Sentence { words, claims, plain, .. } in self.placed.iter_mut().map(|placed| &mut placed.sentence)
        {
            if *plain {
                let said = words.iter().filter(|word| denied.contains(word));
                claims.extend(said.map(|word| Claim { kind: Kind::Said(*word), value: Value::Flag(true) }));
            }
        }
        self.placed.retain(|placed| !placed.sentence.claims.is_empty());
    }
}

#[cfg(test)]
mod tests;
