//! Recall on LoCoMo: `cargo bench -p emk --bench locomo -- FILE`.
//!
//! FILE is a list of conversations as in `locomo10.json` (Maharana et al. 2024, CC BY-NC 4.0). One episode is one turn; a
//! question is answered if a turn that its evidence names is among the first. Evidence is strict: no neighbours are added.
//! Exits with 1 where a gate is missed, with 2 where the file cannot be read.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

use agent_primitives::search::{Bm25, Parameters, tokenise};
use agent_primitives::{SystemClock, Timestamp};
use emk::episode::Episode;
use emk::memory::{EpisodicMemory, MemoryOptions};
use emk::recall::{Query, Recall};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore};
use serde::Deserialize;
use serde_json::{Map, Value};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    // `cargo bench` adds an argument of its own.
    let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with("--")) else {
        eprintln!("usage: cargo bench -p emk --bench locomo -- FILE");
        return ExitCode::from(2);
    };
    match read(&path).and_then(|conversations| report(&conversations)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Deserialize)]
struct Sample {
    sample_id: String,
    conversation: BTreeMap<String, Value>,
    qa: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    question: String,
    #[serde(default)]
    evidence: Vec<String>,
    category: u32,
}

#[derive(Deserialize)]
struct Turn {
    speaker: String,
    dia_id: String,
    text: String,
    blip_caption: Option<String>,
}

struct Conversation {
    turns: Vec<Spoken>,
    questions: Vec<Asked>,
}

struct Spoken {
    episode: Episode,
    /// The same as one text, for the baseline.
    text: String,
}

struct Asked {
    text: String,
    category: u32,
    /// Places of the turns that answer it.
    gold: BTreeSet<usize>,
}

fn read(path: &str) -> Result<Vec<Conversation>, Failure> {
    let samples: Vec<Sample> = serde_json::from_slice(&std::fs::read(path)?)?;
    samples.into_iter().map(conversation).collect()
}

fn conversation(sample: Sample) -> Result<Conversation, Failure> {
    let (mut turns, mut places) = (Vec::new(), BTreeMap::new());
    for number in 1.. {
        let Some(date) = sample.conversation.get(&format!("session_{number}_date_time")) else { break };
        let date = date.as_str().unwrap_or_default();
        let Some(session) = sample.conversation.get(&format!("session_{number}")) else { continue };
        for turn in Vec::<Turn>::deserialize(session)? {
            places.insert(turn.dia_id.clone(), turns.len());
            let caption = turn.blip_caption.unwrap_or_default();
            // A turn that is a picture alone is the picture's caption.
            let (action, result) = if turn.text.trim().is_empty() {
                (caption.as_str(), "")
            } else {
                (turn.text.as_str(), caption.as_str())
            };
            // One that says nothing at all has its place, and no word to be found by.
            let action = if action.trim().is_empty() { "-" } else { action };
            // Its id is not searched; with it, a turn that repeats another is an episode of its own.
            let id = Map::from_iter([("dia_id".to_owned(), Value::from(turn.dia_id))]);
            let episode = Episode::builder(name(&turn.speaker).parse()?, time(date)?)
                .session(name(&format!("{}.session_{number}", sample.sample_id)).parse()?)
                .action(action)
                .result(result)
                .metadata(id)
                .build()?;
            let text = format!("{date} {} {} {caption}", turn.speaker, turn.text);
            turns.push(Spoken { episode, text });
        }
    }
    let asked = |question: Question| {
        let gold: BTreeSet<usize> = question
            .evidence
            .iter()
            .flat_map(|text| ids(text))
            .filter_map(|id| places.get(&id).copied())
            .collect();
        (!gold.is_empty()).then_some(Asked { text: question.question, category: question.category, gold })
    };
    let questions = sample.qa.into_iter().filter_map(asked).collect();
    Ok(Conversation { turns, questions })
}

/// A name as an identifier.
fn name(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_ascii_alphanumeric() || ".-_".contains(char) { char } else { '-' })
        .collect()
}

/// Every `D(\d+):0*(\d+)` in a text, as the ids of turns are written.
fn ids(text: &str) -> Vec<String> {
    let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let after_d = text.match_indices('D').filter_map(|(at, _)| text.get(at + 1..));
    let pairs = after_d.filter_map(|rest| {
        let session = number(rest);
        let turn = number(rest.get(session.len()..)?.strip_prefix(':')?);
        let turn: u32 = turn.parse().ok()?;
        (!session.is_empty()).then(|| format!("D{session}:{turn}"))
    });
    pairs.collect()
}

/// `1:56 pm on 8 May, 2023`, taken for UTC.
fn time(text: &str) -> Result<Timestamp, Failure> {
    let parse = || {
        let (clock, date) = text.split_once(" on ")?;
        let (hour, rest) = clock.split_once(':')?;
        let (minute, half) = rest.split_once(' ')?;
        let hour: u32 = hour.parse().ok()?;
        let hour = hour % 12 + if half.eq_ignore_ascii_case("pm") { 12 } else { 0 };
        let mut words = date.split([' ', ',']).filter(|word| !word.is_empty());
        let (day, month, year) = (words.next()?, words.next()?, words.next()?);
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = 1 + months.iter().position(|name| month.starts_with(name))?;
        format!("{year}-{month:02}-{day:0>2}T{hour:02}:{minute}:00Z").parse().ok()
    };
    parse().ok_or_else(|| format!("`{text}` is no time").into())
}

/// The place of the first turn of the evidence in each answer, from 1, and how many are among the first five.
struct Outcome {
    category: u32,
    first: Option<usize>,
    share_of_five: f64,
}

impl Outcome {
    fn of(asked: &Asked, offset: usize, ranked: &[usize]) -> Self {
        let is_gold =
            |place: &usize| place.checked_sub(offset).is_some_and(|place| asked.gold.contains(&place));
        let in_five = ranked.iter().take(5).filter(|place| is_gold(place)).count();
        Self {
            category: asked.category,
            first: ranked.iter().position(is_gold).map(|place| place + 1),
            share_of_five: in_five as f64 / asked.gold.len() as f64,
        }
    }
}

/// Everything that is asked about some conversations in one ledger. How deep an answer goes decides how exact the mean
/// reciprocal rank is.
const DEPTH: usize = 1000;

fn recalled(conversations: &[&Conversation]) -> Result<Vec<Outcome>, Failure> {
    let clock = Arc::new(SystemClock::new());
    let store = MemoryStore::new(LedgerId::new("locomo")?, MemoryLimits::default());
    let ledger = Ledger::open(store, LedgerOptions::default())?;
    let memory = EpisodicMemory::open(ledger, MemoryOptions::default(), clock.clone())?;
    for turn in conversations.iter().flat_map(|conversation| &conversation.turns) {
        memory.append(&turn.episode)?;
    }
    let recall = Recall::new(memory, clock);
    outcomes(conversations, |text| {
        let hits = recall.search(&Query::new(text).limit(DEPTH))?;
        Ok(hits.iter().filter_map(|hit| usize::try_from(hit.seq).ok()).collect())
    })
}

fn baseline(conversations: &[&Conversation]) -> Result<Vec<Outcome>, Failure> {
    let mut index = Bm25::new(Parameters::DEFAULT)?;
    for turn in conversations.iter().flat_map(|conversation| &conversation.turns) {
        index.push(&tokenise(&turn.text))?;
    }
    outcomes(conversations, |text| {
        Ok(index.search(&tokenise(text), DEPTH).into_iter().map(|hit| hit.seq).collect())
    })
}

fn outcomes(
    conversations: &[&Conversation],
    answer: impl Fn(&str) -> Result<Vec<usize>, Failure>,
) -> Result<Vec<Outcome>, Failure> {
    let (mut all, mut offset) = (Vec::new(), 0);
    for conversation in conversations {
        for asked in &conversation.questions {
            all.push(Outcome::of(asked, offset, &answer(&asked.text)?));
        }
        offset += conversation.turns.len();
    }
    Ok(all)
}

/// Shares in per cent.
struct Figures {
    n: usize,
    any: [f64; 4],
    share_of_five: f64,
    mrr: f64,
}

impl Figures {
    fn of<'o>(outcomes: impl Iterator<Item = &'o Outcome>) -> Self {
        let outcomes: Vec<&Outcome> = outcomes.collect();
        let n = outcomes.len();
        let mean = |sum: f64| sum / n.max(1) as f64;
        let within =
            |k| outcomes.iter().filter(|outcome| outcome.first.is_some_and(|first| first <= k)).count();
        Self {
            n,
            any: [1, 5, 10, 20].map(|k| 100.0 * mean(within(k) as f64)),
            share_of_five: 100.0 * mean(outcomes.iter().map(|outcome| outcome.share_of_five).sum()),
            mrr: mean(
                outcomes.iter().filter_map(|outcome| outcome.first).map(|first| 1.0 / first as f64).sum(),
            ),
        }
    }

    fn print(&self, name: &str) {
        let [one, five, ten, twenty] = self.any;
        println!(
            "{name:<46} {:>5} {one:>6.1} {five:>6.1} {ten:>6.1} {twenty:>6.1} {:>7.1} {:>6.3}",
            self.n, self.share_of_five, self.mrr
        );
    }
}

const CATEGORIES: [(u32, &str); 5] =
    [(1, "multi-hop"), (2, "temporal"), (3, "open-domain"), (4, "single-hop"), (5, "adversarial")];

fn report(conversations: &[Conversation]) -> Result<bool, Failure> {
    let turns: usize = conversations.iter().map(|conversation| conversation.turns.len()).sum();
    println!("{} conversations, {turns} turns\n", conversations.len());
    println!(
        "{:<46} {:>5} {:>6} {:>6} {:>6} {:>6} {:>7} {:>6}",
        "system", "n", "any@1", "any@5", "any@10", "any@20", "frac@5", "MRR"
    );
    let alone = |system: fn(&[&Conversation]) -> Result<Vec<Outcome>, Failure>| {
        let each: Result<Vec<_>, _> = conversations.iter().map(|one| system(&[one])).collect();
        each.map(|each| each.into_iter().flatten().collect::<Vec<Outcome>>())
    };
    let together: Vec<&Conversation> = conversations.iter().collect();
    let plain = [alone(baseline)?, baseline(&together)?];
    let ours = [alone(recalled)?, recalled(&together)?];
    for ([alone, together], name) in [(&plain, "plain BM25"), (&ours, "emk recall")] {
        for (outcomes, place) in [(alone, "index for each"), (together, "one ledger")] {
            let no_adversary = |outcome: &&Outcome| outcome.category != 5;
            Figures::of(outcomes.iter()).print(&format!("{name}, {place}"));
            Figures::of(outcomes.iter().filter(no_adversary))
                .print(&format!("{name}, {place}, without category 5"));
        }
    }
    println!();
    let [alone, together] = &ours;
    for (category, name) in CATEGORIES {
        let of = |outcome: &&Outcome| outcome.category == category;
        Figures::of(alone.iter().filter(of)).print(&format!("emk recall, category {category}, {name}"));
    }
    println!();
    let (alone, together) = (Figures::of(alone.iter()), Figures::of(together.iter()));
    let gates = [
        ("any@5, index for each", alone.any[1], 70.0),
        ("any@10, index for each", alone.any[2], 80.0),
        ("MRR, index for each", alone.mrr, 0.52),
        ("any@10, one ledger", together.any[2], 78.0),
    ];
    for (name, found, gate) in gates {
        let verdict = if gate <= found { "reached" } else { "MISSED" };
        println!("gate {name:<24} {found:>7.3} at least {gate:>6.2}: {verdict}");
    }
    Ok(gates.iter().all(|(_, found, gate)| gate <= found))
}
