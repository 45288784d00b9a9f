//! Words: BM25 of each document and of each session as a whole, with neighbours lending to each other.

use std::collections::HashMap;

use agent_primitives::search::Parameters;

use super::mask::Mask;
use super::postings::Postings;
use super::top::Top;
use super::words::Words;

/// What the document before lends to one, and what the one after does. With the weight of the session these are the
/// reference figures of the specification; recall on LoCoMo moves by less than a point around them.
const FROM_PREVIOUS: f64 = 0.4;
const FROM_NEXT: f64 = 0.2;
/// What the session as a whole counts beside the document.
const SESSION: f64 = 0.8;

/// "No document" among the links.
const NONE: u32 = u32::MAX;

/// An inverted index that grows at its end. Documents are numbered from 0 in the order in which they came; sessions are
/// numbered by the caller, from 0 without gaps.
#[derive(Debug)]
pub(super) struct Lexical {
    parameters: Parameters,
    pub(super) words: Words,
    /// By the number of the word.
    postings: Vec<Postings>,
    /// Of each document: its tokens.
    lengths: Vec<u32>,
    /// Its session.
    session_of: Vec<u32>,
    /// The one before it in the session, or [`NONE`].
    previous: Vec<u32>,
    sessions: Vec<Session>,
    tokens: u64,
    /// Documents that were not forgotten.
    live: u32,
    live_sessions: u32,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    tokens: u32,
    /// Documents not forgotten.
    live: u32,
    last: u32,
}

impl Session {
    const EMPTY: Self = Self { tokens: 0, live: 0, last: NONE };
}

/// What rarity and length are seen against: the documents that may be looked at, and no others. Whoever may not see a
/// document could tell from a score what is in it.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    documents: u32,
    sessions: u32,
    tokens: u64,
}

/// How a document came to its score.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    /// BM25 of the document alone.
    pub(super) own: f64,
    /// With its neighbours, as a share of the best.
    pub(super) smoothed: f64,
    /// BM25 of its session, as a share of the best.
    pub(super) session: f64,
    /// `smoothed + 0.8 * session`.
    pub(super) total: f64,
}

/// What one search needs, kept from one to the next so that no search pays for fresh memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    own: Vec<f64>,
    smoothed: Vec<f64>,
    sessions: Vec<f64>,
    counts: Vec<Count>,
    touched: Vec<u32>,
    /// What of each session may be looked at, where not all may.
    seen: Vec<Session>,
}

/// How often a session says the word at hand.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// Which word this is about; what was counted for another one is void.
    word: u32,
    count: u32,
}

impl Lexical {
    pub(super) fn new(parameters: Parameters) -> Self {
        Self {
            parameters,
            words: Words::new(),
            postings: Vec::new(),
            lengths: Vec::new(),
            session_of: Vec::new(),
            previous: Vec::new(),
            sessions: Vec::new(),
            tokens: 0,
            live: 0,
            live_sessions: 0,
        }
    }

    /// Adds the next document, by the numbers of its words. A session not seen before has the next number. Returns how many
    /// distinct words there are among the first `first` ones.
    pub(super) fn push(&mut self, words: &[u32], first: usize, session: u32) -> usize {
        // INVARIANT: who calls bounds documents and their texts far below these.
        let document = u32::try_from(self.lengths.len()).unwrap_or(NONE);
        let length = u32::try_from(words.len()).unwrap_or(u32::MAX);
        while self.postings.len() < self.words.len() {
            push_tight(&mut self.postings, Postings::default());
        }
        let mut distinct = 0;
        for (place, word) in words.iter().enumerate() {
            let is_new = self.postings.get_mut(*word as usize).is_some_and(|list| list.add(document));
            distinct += usize::from(is_new && place < first);
        }
        if self.sessions.len() <= session as usize {
            push_tight(&mut self.sessions, Session::EMPTY);
        }
        let mut previous = NONE;
        if let Some(session) = self.sessions.get_mut(session as usize) {
            self.live_sessions += u32::from(session.live == 0);
            previous = session.last;
            session.last = document;
            session.live += 1;
            session.tokens = session.tokens.saturating_add(length);
        }
        push_tight(&mut self.lengths, length);
        push_tight(&mut self.session_of, session);
        push_tight(&mut self.previous, previous);
        self.tokens += u64::from(length);
        self.live += 1;
        distinct
    }

    /// Takes every word of a document out. It keeps its number and its place between its neighbours, with nothing to lend.
    /// Walks the whole index. INVARIANT: nobody forgets a document twice.
    pub(super) fn forget(&mut self, document: u32) {
        for list in &mut self.postings {
            if let Some(rest) = list.without(document) {
                *list = rest;
            }
        }
        if self.postings.iter().any(Postings::is_empty) {
            let held = |word: u32| self.postings.get(word as usize).is_some_and(|list| !list.is_empty());
            self.words = self.words.only(held);
            self.postings.retain(|list| !list.is_empty());
        }
        let place = document as usize;
        let Some((length, session)) = self.lengths.get_mut(place).zip(self.session_of.get(place)) else {
            return;
        };
        let length = std::mem::take(length);
        self.tokens -= u64::from(length);
        self.live -= 1;
        if let Some(session) = self.sessions.get_mut(*session as usize) {
            session.tokens = session.tokens.saturating_sub(length);
            session.live -= 1;
            self.live_sessions -= u32::from(session.live == 0);
        }
    }

    /// The best `k` documents among those that pass, best first, ties by lower number. What does not pass counts for nothing:
    /// scores are those of an index without it, in which its neighbours are neighbours of each other.
    pub(super) fn search<T: AsRef<str>>(
        &self,
        query: &[T],
        k: usize,
        mask: &Mask,
        scratch: &mut Scratch,
    ) -> Vec<(u32, Score)> {
        scratch.clear(self.lengths.len(), self.sessions.len());
        let seen = self.seen(mask, scratch);
        for (word, (token, times)) in (1u32..).zip(counted(query)) {
            if let Some(list) = self.postings_of(token) {
                self.add_word(list, word, f64::from(times), seen, mask, scratch);
            }
        }
        self.best(k, mask, scratch)
    }

    fn postings_of(&self, token: &str) -> Option<&Postings> {
        self.postings.get(self.words.find(token)? as usize)
    }

    fn seen(&self, mask: &Mask, scratch: &mut Scratch) -> Seen {
        let Mask::Some(_) = mask else {
            return Seen { documents: self.live, sessions: self.live_sessions, tokens: self.tokens };
        };
        scratch.seen.clear();
        scratch.seen.resize(self.sessions.len(), Session::EMPTY);
        let mut seen = Seen::default();
        mask.each(self.lengths.len(), |place| {
            let (Some(length), Some(session)) = (self.lengths.get(place), self.session_of.get(place)) else {
                return;
            };
            if let Some(session) = scratch.seen.get_mut(*session as usize) {
                seen.sessions += u32::from(session.live == 0);
                session.live += 1;
                session.tokens = session.tokens.saturating_add(*length);
            }
            seen.documents += 1;
            seen.tokens += u64::from(*length);
        });
        seen
    }

    fn add_word(
        &self,
        list: &Postings,
        word: u32,
        times: f64,
        seen: Seen,
        mask: &Mask,
        scratch: &mut Scratch,
    ) {
        let passing = || list.iter().filter(|(document, _)| mask.passes(*document as usize));
        let holders = match mask {
            Mask::All => f64::from(list.holders()),
            Mask::Some(_) => passing().count() as f64,
        };
        let documents = Weights::new(self.parameters, f64::from(seen.documents), seen.tokens);
        let idf = times * documents.idf(holders);
        scratch.touched.clear();
        for (document, count) in passing() {
            let place = document as usize;
            let (Some(own), Some(length), Some(session)) =
                (scratch.own.get_mut(place), self.lengths.get(place), self.session_of.get(place))
            else {
                continue;
            };
            *own += idf * documents.saturated(count, *length);
            if let Some(tally) = scratch.counts.get_mut(*session as usize) {
                if tally.word != word {
                    *tally = Count { word, count: 0 };
                    scratch.touched.push(*session);
                }
                tally.count += count;
            }
        }
        let sessions = Weights::new(self.parameters, f64::from(seen.sessions), seen.tokens);
        let idf = times * sessions.idf(scratch.touched.len() as f64);
        let held = match mask {
            Mask::All => &self.sessions,
            Mask::Some(_) => &scratch.seen,
        };
        for session in &scratch.touched {
            let place = *session as usize;
            let (Some(score), Some(tally), Some(entry)) =
                (scratch.sessions.get_mut(place), scratch.counts.get(place), held.get(place))
            else {
                continue;
            };
            *score += idf * sessions.saturated(tally.count, entry.tokens);
        }
    }

    /// Walks every document twice, and once more those that pass, so what is done for each is little.
    fn best(&self, k: usize, mask: &Mask, scratch: &mut Scratch) -> Vec<(u32, Score)> {
        self.smooth(mask, scratch);
        let Scratch { own, smoothed, sessions, .. } = scratch;
        let (most, most_of_session) = (greatest_of(smoothed, mask), greatest(sessions));
        let inverse = share(1.0, most);
        let mut top = Top::new(k);
        // Below this nothing is wanted. A product with an inverse may differ from a quotient in its last bits.
        let mut floor = 0.0;
        let mut look = |place: usize, smoothed: f64, session: u32| {
            let session = sessions.get(session as usize).copied().unwrap_or_default();
            let about = smoothed * inverse + SESSION * share(session, most_of_session);
            if about <= floor * (1.0 - 1e-9) {
                return;
            }
            let (smoothed, session) = (share(smoothed, most), share(session, most_of_session));
            let own = own.get(place).copied().unwrap_or_default();
            let total = smoothed + SESSION * session;
            top.push(total, place as u32, Score { own, smoothed, session, total });
            floor = top.floor();
        };
        if matches!(mask, Mask::All) {
            let scores = smoothed.iter().zip(&self.session_of).enumerate();
            scores.for_each(|(place, (smoothed, session))| look(place, *smoothed, *session));
        } else {
            mask.each(smoothed.len(), |place| {
                if let (Some(smoothed), Some(session)) = (smoothed.get(place), self.session_of.get(place)) {
                    look(place, *smoothed, *session);
                }
            });
        }
        top.into_sorted()
    }

    /// Lets neighbours lend to each other. What does not pass lends nothing, and is not written.
    fn smooth(&self, mask: &Mask, scratch: &mut Scratch) {
        let Scratch { own, smoothed, seen, .. } = scratch;
        // INVARIANT: the one before has a lower place, so what it is lent comes on top of what it was given in its turn.
        let mut lend = |place: usize, previous: u32| {
            let Some(score) = own.get(place) else { return };
            let previous = previous as usize;
            let mut here = *score;
            if let (Some(before), Some(lent)) = (own.get(previous), smoothed.get_mut(previous)) {
                here += FROM_PREVIOUS * before;
                *lent += FROM_NEXT * score;
            }
            if let Some(smoothed) = smoothed.get_mut(place) {
                *smoothed = here;
            }
        };
        if let Mask::All = mask {
            self.previous.iter().enumerate().for_each(|(place, previous)| lend(place, *previous));
            return;
        }
        mask.each(own.len(), |place| {
            let session = self.session_of.get(place).and_then(|session| seen.get_mut(*session as usize));
            let Some(session) = session else { return };
            lend(place, std::mem::replace(&mut session.last, place as u32));
        });
    }

    /// The session of each document.
    pub(super) fn session_of(&self) -> &[u32] {
        &self.session_of
    }

    /// How many of some words each document holds.
    pub(super) fn overlaps<T: AsRef<str>>(&self, words: &[T]) -> Vec<u32> {
        let mut held = vec![0u32; self.lengths.len()];
        for (token, _) in counted(words) {
            for (document, _) in self.postings_of(token).into_iter().flat_map(Postings::iter) {
                if let Some(held) = held.get_mut(document as usize) {
                    *held += 1;
                }
            }
        }
        held
    }

    /// Bytes on the heap, as far as the types tell.
    pub(super) fn heap_bytes(&self) -> usize {
        let lists: usize = self.postings.iter().map(Postings::heap_bytes).sum();
        self.words.heap_bytes()
            + self.postings.capacity() * size_of::<Postings>()
            + lists
            + (self.lengths.capacity() + self.session_of.capacity() + self.previous.capacity()) * 4
            + self.sessions.capacity() * size_of::<Session>()
    }
}

impl Scratch {
    fn clear(&mut self, documents: usize, sessions: usize) {
        for (scores, length) in [(&mut self.own, documents), (&mut self.sessions, sessions)] {
            scores.clear();
            scores.resize(length, 0.0);
        }
        // Written before it is read.
        self.smoothed.resize(documents, 0.0);
        self.counts.clear();
        self.counts.resize(sessions, Count::default());
    }
}

/// The parts of BM25 that a collection has: `idf = ln(1 + (N - df + 0.5) / (df + 0.5))`, and
/// `tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))` (Robertson and Zaragoza 2009, with Lucene's idf).
struct Weights {
    documents: f64,
    gain: f64,
    /// `k1 * (1 - b)`.
    fixed: f64,
    /// `k1 * b / mean length`.
    by_length: f64,
}

impl Weights {
    fn new(Parameters { k1, b }: Parameters, documents: f64, tokens: u64) -> Self {
        let mean = (tokens as f64 / documents.max(1.0)).max(f64::MIN_POSITIVE);
        Self { documents, gain: k1 + 1.0, fixed: k1 * (1.0 - b), by_length: k1 * b / mean }
    }

    fn idf(&self, holders: f64) -> f64 {
        ((self.documents - holders + 0.5) / (holders + 0.5)).ln_1p()
    }

    fn saturated(&self, count: u32, length: u32) -> f64 {
        let count = f64::from(count);
        count * self.gain / (count + self.fixed + self.by_length * f64::from(length))
    }
}

/// In eight lanes, so that no comparison waits for the one before.
fn greatest(scores: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let rest = scores.chunks_exact(8).remainder().iter().copied().fold(0.0, f64::max);
    for scores in scores.chunks_exact(8) {
        for (lane, score) in lanes.iter_mut().zip(scores) {
            *lane = if *lane < *score { *score } else { *lane };
        }
    }
    lanes.into_iter().fold(rest, f64::max)
}

/// The greatest score of what passes.
fn greatest_of(scores: &[f64], mask: &Mask) -> f64 {
    if matches!(mask, Mask::All) {
        return greatest(scores);
    }
    let mut most = 0.0;
    mask.each(scores.len(), |place| most = scores.get(place).copied().unwrap_or_default().max(most));
    most
}

/// Adds to a list that never shrinks, with an eighth of it to spare at most.
pub(super) fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + 16);
    }
    list.push(item);
}

fn share(part: f64, most: f64) -> f64 {
    if 0.0 < most { part / most } else { 0.0 }
}

/// Each word with how often it stands there, in the order in which they first do: sums of fractions depend on it.
fn counted<T: AsRef<str>>(tokens: &[T]) -> Vec<(&str, u32)> {
    let mut words: Vec<(&str, u32)> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for token in tokens.iter().map(AsRef::as_ref) {
        let place = *places.entry(token).or_insert(words.len());
        match words.get_mut(place) {
            Some((_, times)) => *times += 1,
            None => words.push((token, 1)),
        }
    }
    words
}
