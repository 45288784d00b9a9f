//! Which claims are about one thing.

use std::collections::{BTreeSet, HashMap};

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
    /// Its own words where they stand.
    pub(super) line: Line,
    pub(super) sentence: Sentence,
}

/// The claims of all chunks, in order.
pub(super) struct Claims<'a> {
    pub(super) placed: &'a [Placed],
    /// The last heading above each chunk.
    pub(super) headings: &'a [Line],
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
        let chosen: Vec<Buckets<'_>> =
            claims.iter().map(|claim| self.chosen(*claim, &buckets, &mut complete)).collect();
        let mut compared = 0;
        let mut agreed: BTreeSet<(usize, usize)> = BTreeSet::new();
        let mut disagreed: Vec<(usize, usize)> = Vec::new();
        for (place, (claim, from)) in claims.iter().zip(&chosen).enumerate() {
            for other in candidates(from).into_iter().filter(|other| *other != place) {
                // An earlier one that finds this one has compared them in its turn.
                if other < place && chosen.get(other).is_some_and(|from| holds(from, place)) {
                    continue;
                }
                let Some(second) = claims.get(other) else { continue };
                let agrees = claim.1.value.agrees(&second.1.value);
                if !agrees && !claim.1.value.differs(&second.1.value) {
                    continue;
                }
                compared += 1;
                if !self.comparable(*claim, *second) {
                    continue;
                }
                let (chunk, chunk_of_other) = (self.chunk(claim.0), self.chunk(second.0));
                if agrees {
                    agreed.insert((place, chunk_of_other));
                    agreed.insert((other, chunk));
                } else if chunk != chunk_of_other {
                    disagreed.push((place.min(other), place.max(other)));
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
        Pairs { pairs: pairs.collect(), complete, compared }
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

    /// Where claims are that share a word. Of a subject of which half has to be shared, any half and one word hold one that
    /// is, so it is enough to look behind the rarest of them.
    fn chosen<'b>(
        &self,
        claim: Of<'_>,
        buckets: &'b HashMap<(Kind, Option<u32>), Vec<usize>>,
        complete: &mut bool,
    ) -> Buckets<'b> {
        let words = match (claim.1.kind, &claim.1.value) {
            (Kind::Said(_), Value::Flag(true)) => Vec::new(),
            (Kind::Said(_), _) => vec![Some(0), Some(1)],
            _ => self.words(claim),
        };
        let mut behind: Vec<&[usize]> = words
            .into_iter()
            .filter_map(|word| buckets.get(&(claim.1.kind, word)))
            .map(Vec::as_slice)
            .collect();
        behind.sort_by_key(|bucket| bucket.len());
        behind.truncate(behind.len() / 2 + 1);
        for bucket in &mut behind {
            *complete &= bucket.len() <= MAX_BUCKET;
            *bucket = bucket.get(..MAX_BUCKET).unwrap_or(bucket);
        }
        behind.into()
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
        let headings = || self.headings.get(a.chunk).zip(self.headings.get(b.chunk));
        (self.apart)(a.chunk, b.chunk)
            || contrast(&a.line, &b.line)
            || headings().is_some_and(|(one, other)| contrast(one, other))
            || places_differ(&a.sentence, &b.sentence)
    }
}

/// The claims behind some words, of each word ascending and no more than are compared.
type Buckets<'b> = Box<[&'b [usize]]>;

/// Each claim once.
fn candidates(from: &Buckets<'_>) -> Vec<usize> {
    let mut found: Vec<usize> = from.iter().flat_map(|bucket| bucket.iter().copied()).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn holds(from: &Buckets<'_>, claim: usize) -> bool {
    from.iter().any(|bucket| bucket.binary_search(&claim).is_ok())
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

/// What a sentence or a heading is about, word by word, with the places of the words.
#[derive(Default)]
pub(super) struct Line {
    /// `None` for what is no word, or says nothing.
    said: Vec<Option<Said>>,
    /// The words with where they stand, ascending.
    places: Vec<(u32, usize)>,
}

impl Line {
    pub(super) fn new(said: Vec<Option<Said>>) -> Self {
        let places = said.iter().enumerate().filter_map(|(at, word)| Some(((*word)?.id, at)));
        let mut places: Vec<(u32, usize)> = places.collect();
        places.sort_unstable();
        Self { said, places }
    }

    /// Its words in order.
    pub(super) fn words(&self) -> impl Iterator<Item = u32> {
        self.said.iter().flatten().map(|word| word.id)
    }

    fn at(&self, place: Option<usize>) -> Option<Said> {
        self.said.get(place?).copied().flatten()
    }

    fn holds(&self, word: Said) -> bool {
        self.places.binary_search_by_key(&word.id, |(id, _)| *id).is_ok()
    }

    /// Whether something is so of any two places where both have the same word.
    fn any_shared(&self, other: &Self, is_so: impl Fn(usize, usize) -> bool) -> bool {
        let (mut mine, mut theirs) = (&*self.places, &*other.places);
        while let (Some(((word, at), after)), Some(((found, _), behind))) =
            (mine.split_first(), theirs.split_first())
        {
            if found < word {
                theirs = behind;
                continue;
            }
            let same = theirs.iter().take_while(|(found, _)| found == word);
            if same.into_iter().any(|(_, there)| is_so(*at, *there)) {
                return true;
            }
            mine = after;
        }
        false
    }
}

/// Whether a word that both hold stands behind words that only one of them holds, as in `free plan` and `team plan`, or
/// before such names, as in `API v1` and `API v2`.
fn contrast(one: &Line, other: &Line) -> bool {
    let only = |a: Said, b: Said| a.id != b.id && !other.holds(a) && !one.holds(b);
    one.any_shared(other, |at, there| {
        let before = (one.at(at.checked_sub(1)), other.at(there.checked_sub(1)));
        let behind = (one.at(Some(at + 1)), other.at(Some(there + 1)));
        matches!(before, (Some(a), Some(b)) if only(a, b))
            || matches!(behind, (Some(a), Some(b)) if a.names && b.names && only(a, b))
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
