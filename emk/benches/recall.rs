//! What recall costs at 100 000 episodes: `cargo bench -p emk --bench recall [-- EPISODES]`. With more there are no vectors,
//! and nothing beside it.
//!
//! Texts are drawn from 30 000 words by Zipf's law, 25 words an episode, 20 episodes a session; questions are words of an
//! episode that is there. Beside it the crate `bm25`, which is what one would put into a program for search in memory, over
//! the same texts. Figures are of one thread, in time of its processor: a machine that is busy with something else makes
//! nothing look slower.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use agent_primitives::failure::FailureType;
use agent_primitives::{SystemClock, Timestamp};
use emk::episode::{Episode, Failure, Outcome};
use emk::memory::{EpisodicMemory, MemoryOptions};
use emk::recall::{Filter, Query, Recall};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore};

type Failed = Box<dyn Error + Send + Sync>;

const WORDS: usize = 30_000;
const QUESTIONS: usize = 1000;
const DIMENSIONS: usize = 384;

fn main() -> Result<(), Failed> {
    let wanted = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count: usize = wanted.unwrap_or(100_000);
    let mut random = Random(7);
    let vocabulary: Vec<String> = (0..WORDS).map(word).collect();
    let texts: Vec<String> = (0..count).map(|_| text(&mut random, &vocabulary)).collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    println!("{count} episodes, {:.1} MB of text\n", bytes as f64 / 1e6);
    let episodes: Vec<Episode> =
        texts.iter().enumerate().map(|(place, text)| episode(place, text)).collect::<Result<_, _>>()?;
    let questions: Vec<String> = (0..QUESTIONS).map(|_| question(&mut random, &texts)).collect();
    let recall = ours(&remembered(&episodes)?, &questions)?;
    if count <= 100_000 {
        dense(&recall, count, &mut random)?;
        // What is held stays until the end, so that nobody is given memory that somebody else has paid for.
        peer(&texts, bytes, &questions)?;
    }
    drop((recall, episodes));
    Ok(())
}

/// The episodes in a ledger in memory. Who asks for them gets them from there.
fn remembered(episodes: &[Episode]) -> Result<EpisodicMemory, Failed> {
    let limits = MemoryLimits { bytes: 8 << 30, records: 1 << 24, ..MemoryLimits::default() };
    let store = MemoryStore::new(LedgerId::new("bench")?, limits);
    let ledger = Ledger::open(store, LedgerOptions::default())?;
    let memory = EpisodicMemory::open(ledger, MemoryOptions::default(), Arc::new(SystemClock::new()))?;
    let watch = Watch::new();
    for episode in episodes {
        memory.append(episode)?;
    }
    println!(
        "{:<44} {:>8.0} episodes/s",
        "emk append",
        episodes.len() as f64 / watch.elapsed().as_secs_f64()
    );
    Ok(memory)
}

fn ours(memory: &EpisodicMemory, questions: &[String]) -> Result<Recall, Failed> {
    let (before, watch) = (resident(), Watch::new());
    let clock = Arc::new(SystemClock::new());
    let again = EpisodicMemory::open(memory.ledger().clone(), MemoryOptions::default(), clock)?;
    let (took, grown) = (watch.elapsed(), resident().saturating_sub(before));
    println!(
        "{:<44} {:>8.0} episodes/s, {:.0} bytes each",
        "emk open",
        again.len() as f64 / took.as_secs_f64(),
        grown as f64 / again.len().max(1) as f64
    );
    drop(again);
    let watch = Watch::new();
    let mut read = 0usize;
    for found in memory.episodes(0) {
        black_box(found?);
        read += 1;
    }
    println!(
        "{:<44} {:>8.0} episodes/s",
        "emk read, without an index",
        read as f64 / watch.elapsed().as_secs_f64()
    );
    let before = resident();
    let recall = Recall::new(memory.clone(), Arc::new(SystemClock::new()));
    let watch = Watch::new();
    recall.follow(|_| {})?;
    let (took, grown) = (watch.elapsed(), resident().saturating_sub(before));
    let size = recall.size();
    // Goals, tags, reasons and agents are text too.
    built("emk recall, from the ledger", memory.len(), took, grown, usize::try_from(size.text_bytes)?);
    println!(
        "{:<44} {:>8.2} of the text, as the types tell",
        "",
        size.index_bytes as f64 / size.text_bytes as f64
    );
    let ask = |query: Query| -> Result<usize, Failed> { Ok(recall.search(&query)?.len()) };
    let rare = Filter::outcome(Outcome::Success);
    let agent = Filter { agents: vec!["agent-3".parse()?], ..Filter::default() };
    measured("emk recall, ten best", questions, |text| ask(Query::new(text)))?;
    measured("emk recall, ten successes among failures", questions, |text| {
        ask(Query::new(text).filter(rare.clone()))
    })?;
    measured(
        "emk recall, one agent of eight",
        questions,
        |text| ask(Query::new(text).filter(agent.clone())),
    )?;
    measured("emk read one, anywhere", questions, |text| {
        // As good as any number.
        let seq = text.bytes().fold(7u64, |seq, byte| seq.wrapping_mul(31).wrapping_add(byte.into()));
        Ok(usize::from(memory.get(seq % memory.len() as u64)?.is_some()))
    })?;
    measured("emk recall, diverse", questions, |text| {
        ask(Query { diversity: Some(0.7), ..Query::new(text) })
    })?;
    measured("emk newest ten failures", questions, |_| Ok(recall.failures(10, &Filter::default())?.len()))?;
    measured("emk advice", questions, |text| {
        let advice = recall.advise("keep the service up", text, &Filter::default())?;
        Ok(usize::try_from(advice.odds.attempts)?)
    })?;
    Ok(recall)
}

fn dense(recall: &Recall, count: usize, random: &mut Random) -> Result<(), Failed> {
    let vector = |random: &mut Random| -> Vec<f32> {
        (0..DIMENSIONS).map(|_| (random.next() % 2000) as f32 / 1000.0 - 1.0).collect()
    };
    for seq in 0..count as u64 {
        recall.set_vector(seq, "random", &vector(random))?;
    }
    let questions: Vec<Vec<f32>> = (0..50).map(|_| vector(random)).collect();
    measured(&format!("emk recall, {DIMENSIONS} dimensions, exact"), &questions, |asked| {
        let query = Query::new("").vector("random", asked.clone());
        Ok(recall.search(&query)?.len())
    })
}

fn peer(texts: &[String], bytes: usize, questions: &[String]) -> Result<(), Failed> {
    let before = resident();
    let watch = Watch::new();
    let documents = (0u64..).zip(texts).map(|(seq, text)| bm25::Document::new(seq, text.as_str()));
    let mean = bytes as f32 / texts.len().max(1) as f32 / 6.0;
    let mut engine = bm25::SearchEngineBuilder::<u64>::with_avgdl(mean).build();
    documents.for_each(|document| engine.upsert(document));
    built("bm25 2.3", texts.len(), watch.elapsed(), resident().saturating_sub(before), bytes);
    let few = questions.get(..100).unwrap_or(questions);
    measured("bm25 2.3, ten best", few, |text| Ok(engine.search(text, 10).len()))
}

fn built(name: &str, count: usize, took: Duration, resident: u64, bytes: usize) {
    println!(
        "{name:<44} {:>8.0} episodes/s, memory {:.2} of the text ({:.1} MB)",
        count as f64 / took.as_secs_f64(),
        resident as f64 / bytes as f64,
        resident as f64 / 1e6
    );
}

fn measured<Q>(
    name: &str,
    questions: &[Q],
    mut ask: impl FnMut(&Q) -> Result<usize, Failed>,
) -> Result<(), Failed> {
    let mut took = Vec::with_capacity(questions.len());
    for question in questions.iter().take(20) {
        black_box(ask(question)?);
    }
    let mut found = 0;
    for question in questions {
        let watch = Watch::new();
        found += black_box(ask(question)?);
        took.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
    let mean = found as f64 / questions.len().max(1) as f64;
    println!("{name:<44} p50 {:>8.3} ms, p99 {:>8.3} ms, {mean:.1} found", at(0.5), at(0.99));
    Ok(())
}

fn episode(place: usize, text: &str) -> Result<Episode, Failed> {
    let time = Timestamp::from_micros(1_700_000_000_000_000 + place as i64 * 60_000_000);
    let builder = Episode::builder(format!("agent-{}", place % 8).parse()?, time)
        .session(format!("session-{}", place / 20).parse()?)
        .goal("keep the service up")
        .action(text)
        .tags([format!("tag-{}", place % 50)]);
    // One in a thousand went well.
    Ok(if place.is_multiple_of(1000) {
        builder.outcome(Outcome::Success).build()?
    } else {
        builder.failure(Failure { kind: FailureType::Timeout, reason: "no answer".to_owned() }).build()?
    })
}

/// A word of two to four syllables for a number; different for each.
fn word(number: usize) -> String {
    let syllables =
        ["ba", "ke", "do", "fi", "gu", "la", "me", "no", "pi", "ru", "sa", "te", "vo", "wi", "zu", "xa"];
    let mut rest = number + 16;
    let mut word = String::new();
    while rest != 0 {
        word.push_str(syllables.get(rest % 16).copied().unwrap_or_default());
        rest /= 16;
    }
    word
}

fn text(random: &mut Random, vocabulary: &[String]) -> String {
    let words = (0..25).filter_map(|_| vocabulary.get(random.zipf(vocabulary.len())));
    words.map(String::as_str).collect::<Vec<_>>().join(" ")
}

/// Two to nine words of a text.
fn question(random: &mut Random, texts: &[String]) -> String {
    let text = texts.get(random.next() as usize % texts.len()).map_or("", String::as_str);
    let count = 2 + random.next() as usize % 8;
    let words: Vec<&str> = text.split(' ').collect();
    let chosen = (0..count).filter_map(|_| words.get(random.next() as usize % words.len()));
    chosen.copied().collect::<Vec<_>>().join(" ")
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 1
    }

    /// A rank from 0, each about as frequent as one through its place.
    fn zipf(&mut self, count: usize) -> usize {
        let uniform = self.next() as f64 / (1u64 << 63) as f64;
        ((count as f64 + 1.0).powf(uniform) - 1.0) as usize
    }
}

/// Time of the processor that this thread has used.
struct Watch(Duration);

impl Watch {
    fn new() -> Self {
        Self(used())
    }

    fn elapsed(&self) -> Duration {
        used().saturating_sub(self.0)
    }
}

fn used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |number: i64| u64::try_from(number).unwrap_or_default();
    Duration::from_secs(part(time.tv_sec)) + Duration::from_nanos(part(time.tv_nsec))
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
