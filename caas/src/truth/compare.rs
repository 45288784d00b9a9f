//! Which claims are about one thing.

use std::collections::{HashMap, HashSet};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::claim::{Claim, Kind, Said, Sentence};
use super::value::Value;

/// Claims of one kind that share a word: with how many of them one is compared, those of the best chunks first.
const MAX_BUCKET: usize = 32;

/// A sentence of a chunk.
pub(super) struct Placed {
    /// Which of the chunks.
    pub(super) chunk: usize,
    /// Which of the sentences that are kept.
    pub(super) text: String,
    /// What it is about: its own words, and those of what it lies beneath where it has too few.
    pub(super) subject: Vec<u32>,
    pub(super) sentence: Sentence,
}

/// The claims of all chunks, in order.
pub(super) struct Claims<'a> {
    pub(super) placed: &'a [Placed],
    /// The words of the last heading above each chunk.
    pub(super) headings: &'a [Vec<Option<Said>>],
    /// Whether two chunks lie beneath different headings of one document, side by side.
    pub(super) apart: &'a dyn Fn(usize, usize) -> bool,
}

/// A claim, and the sentence it is in.
type Of<'a> = (usize, &'a Claim);

/// What contradicts what.
pub(super) struct Pairs<'a> {
    pub(super) pairs: Vec<(Of<'a>, Of<'a>)>,
    /// Whether no bucket was too large to be looked at as a whole.
    pub(super) complete: bool,
    /// Pairs of which the subjects were compared.
    pub(super) compared: usize,
}

impl Claims<'_> {
    /// The pairs of claims that contradict each other, as places of sentences with their claims, and whether all were
    /// compared. Each pair once, the earlier first.
    pub(super) fn pairs(&self) -> Pairs<'_> {
        let claims: Vec<Of<'_>> = (0..)
            .zip(self.placed)
            .flat_map(|(at, placed)| placed.sentence.claims.iter().map(move |claim| (at, claim)))
            .collect();
        let mut buckets: HashMap<(Kind, Option<u32>), Vec<usize>> = HashMap::new();
        for (place, claim) in claims.iter().enumerate() {
            for word in self.words(*claim) {
                buckets.entry((claim.1.kind, word)).or_default().push(place);
            }
        }
        let mut complete = true;
        let mut seen = Seen::default();
        let mut agreed: HashSet<(usize, usize)> = HashSet::new();
        let mut disagreed: Vec<(usize, usize)> = Vec::new();
        for (place, claim) in claims.iter().enumerate() {
            for other in self.candidates(*claim, &buckets, &mut complete) {
                let pair = (place.min(other), place.max(other));
                let Some(second) = claims.get(other).filter(|_| place != other) else { continue };
                let agrees = claim.1.value.agrees(&second.1.value);
                let matters = agrees || claim.1.value.contradicts(&second.1.value);
                if !matters || !seen.insert(pair) || !self.comparable(*claim, *second) {
                    continue;
                }
                let (chunk, chunk_of_other) = (self.chunk(claim.0), self.chunk(second.0));
                if agrees {
                    agreed.insert((place, chunk_of_other));
                    agreed.insert((other, chunk));
                } else if chunk != chunk_of_other {
                    disagreed.push(pair);
                }
            }
        }
        disagreed.sort_unstable();
        let pairs = disagreed.into_iter().filter_map(|(one, other)| {
            let (first, second) = (*claims.get(one)?, *claims.get(other)?);
            // Two texts that both say both do not contradict each other. Nor does one that says and denies a thing contradict
            // one that denies it.
            let heard = |claim: usize, of: Of<'_>| agreed.contains(&(claim, self.chunk(of.0)));
            let says = |of: Of<'_>| matches!(of.1.kind, Kind::Said(_)) && of.1.value == Value::Flag(true);
            let both = (says(first) || heard(one, second)) && (says(second) || heard(other, first));
            (!both).then_some((first, second))
        });
        Pairs { pairs: pairs.collect(), complete, compared: seen.0.len() }
    }

    /// What a claim is found by. A key or a predicate is one word; else each word of the subject.
    fn words(&self, (at, claim): Of<'_>) -> Vec<Option<u32>> {
        match claim.kind {
            // Those that deny are few; those that do not are looked up by them, and never among each other.
            Kind::Said(_) => return vec![Some(u32::from(claim.value == Value::Flag(true)))],
            kind if is_keyed(kind) => return vec![None],
            _ => {}
        }
        let subject = self.placed.get(at).map_or(&[][..], |placed| &placed.subject);
        subject.iter().copied().map(Some).collect()
    }

    /// Claims that share a word. Of a subject of which half has to be shared, any half and one word hold one that is, so it
    /// is enough to look behind the rarest of them.
    fn candidates(
        &self,
        claim: Of<'_>,
        buckets: &HashMap<(Kind, Option<u32>), Vec<usize>>,
        complete: &mut bool,
    ) -> Vec<usize> {
        let words = match (claim.1.kind, &claim.1.value) {
            (Kind::Said(_), Value::Flag(true)) => Vec::new(),
            (Kind::Said(_), _) => vec![Some(0), Some(1)],
            _ => self.words(claim),
        };
        let mut behind: Vec<&Vec<usize>> =
            words.into_iter().filter_map(|word| buckets.get(&(claim.1.kind, word))).collect();
        behind.sort_by_key(|bucket| bucket.len());
        let enough = behind.len() / 2 + 1;
        let mut found = Vec::new();
        for bucket in behind.into_iter().take(enough) {
            *complete &= bucket.len() <= MAX_BUCKET;
            found.extend(bucket.iter().copied().take(MAX_BUCKET));
        }
        found
    }

    fn chunk(&self, at: usize) -> usize {
        self.placed.get(at).map_or(usize::MAX, |placed| placed.chunk)
    }

    /// Whether two claims of one kind are about one thing.
    fn comparable(&self, one: Of<'_>, other: Of<'_>) -> bool {
        let (Some(a), Some(b)) = (self.placed.get(one.0), self.placed.get(other.0)) else { return false };
        let (first, second) = (&a.sentence, &b.sentence);
        if first.statistic != second.statistic || first.advice != second.advice {
            return false;
        }
        let about_one = match one.1.kind {
            Kind::Said(_) => said_of_one(a, b),
            kind if is_keyed(kind) => true,
            _ => overlaps(&a.subject, &b.subject),
        };
        about_one && !self.apart(a, b)
    }

    /// Whether something in the sentences, or above them, says that they are about two things of one sort.
    fn apart(&self, a: &Placed, b: &Placed) -> bool {
        if (self.apart)(a.chunk, b.chunk) || contrast(&a.sentence.content, &b.sentence.content) {
            return true;
        }
        let heading = |placed: &Placed| self.headings.get(placed.chunk).map_or(&[][..], Vec::as_slice);
        contrast(heading(a), heading(b)) || places_differ(&a.sentence, &b.sentence)
    }
}

/// Pairs of claims. There are many, and nobody chooses their numbers, so they are hashed by one multiplication.
#[derive(Default)]
struct Seen(HashTable<u64>);

impl Seen {
    /// Whether the pair is new.
    fn insert(&mut self, (one, other): (usize, usize)) -> bool {
        // INVARIANT: claims are fewer than 2^32: chunks and their claims are bounded.
        let pair = (one as u64) << 32 | other as u64;
        let hash = |pair: &u64| {
            let product = pair.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            product ^ product >> 32
        };
        match self.0.entry(hash(&pair), |held| *held == pair, hash) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(pair);
                true
            }
        }
    }
}

const fn is_keyed(kind: Kind) -> bool {
    matches!(kind, Kind::Setting(key) if key != u32::MAX)
        || matches!(kind, Kind::Quantity(super::Dimension::Bare, key) if key != u32::MAX)
}

/// Half of the smaller subject, and two words at least.
fn overlaps(one: &[u32], other: &[u32]) -> bool {
    let shared = shared(one, other);
    2 <= shared && one.len().min(other.len()) <= 2 * shared
}

fn shared(one: &[u32], other: &[u32]) -> usize {
    one.iter().filter(|word| other.binary_search(word).is_ok()).count()
}

/// Whether a sentence that says something is not so and one that says it is are about one thing: everything behind the
/// negation is said, and half of what is before it.
fn said_of_one(a: &Placed, b: &Placed) -> bool {
    let (negated, said) = match (&a.sentence.negated, &b.sentence.negated) {
        (Some(one), Some(other)) => return one.1 == other.1,
        (Some(negated), None) => (negated, &b.sentence.words),
        (None, Some(negated)) => (negated, &a.sentence.words),
        (None, None) => return overlaps(&a.subject, &b.subject),
    };
    let (before, after) = negated;
    if !after.is_subset(said) {
        return false;
    }
    let shared = before.intersection(said).count();
    let fewer = before.len().min(said.len().saturating_sub(after.len()));
    if before.is_empty() { 2 <= after.len() } else { 1 <= shared && fewer <= 2 * shared }
}

/// Whether a word that both hold stands behind words that only one of them holds, as in `free plan` and `team plan`, or
/// before such names, as in `API v1` and `API v2`.
fn contrast(one: &[Option<Said>], other: &[Option<Said>]) -> bool {
    // Sentences are short, so looking through them costs less than a set of their words.
    let holds = |content: &[Option<Said>], id: u32| content.iter().flatten().any(|word| word.id == id);
    let beside =
        |content: &[Option<Said>], at: Option<usize>| at.and_then(|at| content.get(at).copied().flatten());
    let only = |a: Said, b: Said| a.id != b.id && !holds(other, a.id) && !holds(one, b.id);
    fn said(content: &[Option<Said>]) -> impl Iterator<Item = (usize, u32)> {
        content.iter().enumerate().filter_map(|(at, word)| Some((at, (*word)?.id)))
    }
    said(one).any(|(at, word)| {
        said(other).filter(|(_, other)| *other == word).any(|(there, _)| {
            let before = (beside(one, at.checked_sub(1)), beside(other, there.checked_sub(1)));
            let behind = (beside(one, Some(at + 1)), beside(other, Some(there + 1)));
            matches!(before, (Some(a), Some(b)) if only(a, b))
                || matches!(behind, (Some(a), Some(b)) if a.names && b.names && only(a, b))
        })
    })
}

/// Whether both name something behind the same preposition, and nothing that both speak of.
fn places_differ(a: &Sentence, b: &Sentence) -> bool {
    a.places.iter().any(|(place, _)| {
        let all_new = |one: &Sentence, other: &Sentence| {
            let mut there = one.places.iter().filter(|(known, _)| known == place).peekable();
            there.peek().is_some() && there.all(|(_, object)| !other.words.contains(object))
        };
        all_new(a, b) && all_new(b, a)
    })
}
