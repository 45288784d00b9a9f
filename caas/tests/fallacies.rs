//! The seven fallacies of retrieval: for each, the naive way fails and this crate does not.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use agent_primitives::{LabelSet, ManualClock, SeededIds, TenantId, Timestamp};
use caas_core::assemble::{Assembler, Caps, Item, Options, Request, Triad};
use caas_core::chunk::{ChunkSizes, StructureChunker};
use caas_core::conversation::{Conversation, Limits as WindowLimits, Message};
use caas_core::decay::Decay;
use caas_core::guard::{
    Allowance, Attempt, AuditKey, AuditSink, Guard, GuardError, Outcome, Reader, Release,
};
use caas_core::index::{Document, Index, IndexOptions, Query};
use caas_core::ingest::{Declared, Limits, Parser};
use caas_core::lexical::{MemoryBm25, Parameters};
use caas_core::route::{Moment, Router, Rules, Tier as Size};
use caas_core::tokens::TokenCounter;
use caas_core::truth::{Policy, conflicts, notes};
use caas_core::{Classification, Found, Metadata, Parsed, Source, SourceKind, Tier};

const NOW: &str = "2026-06-01T00:00:00Z";

/// A token is four bytes, rounded up.
#[derive(Debug)]
struct Quarters;

impl TokenCounter for Quarters {
    fn name(&self) -> &str {
        "bytes/4"
    }

    fn count(&self, text: &str) -> usize {
        text.len().div_ceil(4)
    }
}

/// Waits for a future on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn parsed(markdown: &str) -> Parsed {
    let parser = Parser::new(Limits::DEFAULT).unwrap();
    parser.parse(markdown.as_bytes(), &Declared::named("page.md")).unwrap().parsed
}

fn document(name: &str, kind: SourceKind, updated: &str, markdown: &str) -> Document {
    let mut metadata = Metadata::new(Source::of(kind), Classification::Public);
    metadata.updated_at = Some(updated.parse().unwrap());
    Document { id: name.parse().unwrap(), parsed: parsed(markdown), metadata }
}

fn chunker() -> StructureChunker {
    StructureChunker::new(ChunkSizes { target: 24, most: 60 }, Arc::new(Quarters)).unwrap()
}

fn index(options: IndexOptions) -> Index {
    let lexical = Arc::new(MemoryBm25::new(Parameters::default()).unwrap());
    Index::new(options, Arc::new(chunker()), lexical, Arc::new(ManualClock::at(NOW.parse().unwrap())))
        .unwrap()
}

fn filled(options: IndexOptions, documents: Vec<Document>) -> Index {
    let index = index(options);
    wait(index.put_batch(documents)).unwrap();
    index
}

fn search(index: &Index, text: &str) -> Vec<Found> {
    wait(index.search(&Query::new(text, 20))).unwrap().hits
}

const MANUAL: &str = "# Falcon\n\nFalcon is the billing service, and this manual is about all of its settings.\n\n\
    ## Timeouts\n\nThe default is 30 seconds, and it can be set for each of the clients.\n\n\
    # Heron\n\nHeron is the search service, and this manual is about all of its settings.\n\n\
    ## Timeouts\n\nThe default is 45 seconds, and it can be set for each of the clients.\n";

/// 1, structure. Pieces of equal size part headings from what they head, and weigh a title like a remark.
#[test]
fn chunks_are_not_flat() {
    let flat: Vec<&str> =
        (0..MANUAL.len()).step_by(96).filter_map(|at| MANUAL.get(at..(at + 96).min(MANUAL.len()))).collect();
    let keeps = |text: &str, name: &str| text.contains("## Timeouts") && text.contains(name);
    assert!(
        !flat.iter().any(|text| keeps(text, "30 seconds, and it can be set for each of the clients.")),
        "{flat:?}"
    );

    let chunks = chunker().cut(&"manual".parse().unwrap(), &parsed(MANUAL)).unwrap();
    let whole = chunks.iter().find(|chunk| chunk.text.contains("30 seconds")).unwrap();
    assert!(
        whole.text.trim_start().starts_with("## Timeouts") && whole.text.contains("of the clients."),
        "{}",
        whole.text
    );
    let (tier, range) = whole.tiers.first().unwrap();
    assert_eq!((*tier, whole.text.get(range.clone()).unwrap().trim()), (Tier::High, "## Timeouts"));
    assert!(whole.tiers.iter().any(|(tier, _)| *tier == Tier::Medium));
}

/// 2, metadata. A chunk cut from what it lies beneath has lost its subject.
#[test]
fn chunks_remember_what_they_lie_beneath() {
    let index = filled(
        IndexOptions { collapse: false, ..IndexOptions::default() },
        vec![document("manual", SourceKind::OfficialDocs, NOW, MANUAL)],
    );
    for (question, answer, other) in [
        ("heron timeouts default", "45 seconds", "30 seconds"),
        ("falcon timeouts default", "30 seconds", "45 seconds"),
    ] {
        let hits = search(&index, question);
        let naive = |text: &str| {
            let words: Vec<String> =
                text.split(|char: char| !char.is_alphanumeric()).map(str::to_lowercase).collect();
            question.split(' ').filter(|word| words.contains(&(*word).to_owned())).count()
        };
        let with = |answer: &str| hits.iter().find(|hit| hit.chunk.text.contains(answer)).unwrap();
        assert_eq!(
            naive(&with(answer).chunk.text),
            naive(&with(other).chunk.text),
            "their texts alone do not tell"
        );
        assert!(with(answer).rank < with(other).rank, "{question}");
    }
}

/// 3, time. An old procedure matches as well as the one that took its place, or better.
#[test]
fn the_old_does_not_pass_for_the_new() {
    let documents = || {
        vec![
            document(
                "old",
                SourceKind::Runbook,
                "2023-01-01T00:00:00Z",
                "Restart the broker: drain it, then stop it.\n",
            ),
            document(
                "rest",
                SourceKind::Runbook,
                NOW,
                "The broker has a page of its own, and is no matter of this one.\n",
            ),
            document(
                "new",
                SourceKind::Runbook,
                "2026-05-20T00:00:00Z",
                "Restart the broker: ask the console to drain it.\n",
            ),
        ]
    };
    let best = |decay: Decay| {
        let index = filled(IndexOptions { decay, collapse: false, ..IndexOptions::default() }, documents());
        search(&index, "restart broker").first().unwrap().document.to_string()
    };
    assert_eq!(best(Decay::NONE), "old");
    assert_eq!(best(Decay::usual()), "new");
}

fn assembler() -> Assembler {
    Assembler::new(Arc::new(Quarters), Arc::new(SeededIds::new(1)), Options::default()).unwrap()
}

/// 4, priority. In one pool what was found displaces what goes on now.
#[test]
fn what_goes_on_now_is_not_displaced() {
    let now = "The customer is on the phone and wants to cancel.";
    let pages: Vec<Document> = (0..40)
        .map(|page| {
            let text = format!("Cancel a contract, page {page}: {}\n", format!("clause{page} ").repeat(12));
            document(&format!("page{page}"), SourceKind::Wiki, NOW, &text)
        })
        .collect();
    let found = search(
        &filled(IndexOptions { collapse: false, ..IndexOptions::default() }, pages),
        "cancel contract",
    );
    let budget = 400;
    let mut pool: String = found.iter().map(|hit| hit.chunk.text.to_string()).collect();
    pool.push_str(now);
    pool.truncate(budget * 4);
    assert!(!pool.contains(now), "one pool has no room for it");

    let mut triad = Triad::new(Caps::default()).unwrap();
    let item = Item {
        id: "call".into(),
        text: now.into(),
        priority: 5.0,
        at: NOW.parse().unwrap(),
        labels: LabelSet::EMPTY,
    };
    triad.heat(item).unwrap();
    let request = Request { budget, triad: &triad, found: &found, notes: &[], neighbours: None };
    let assembled = assembler().assemble(&request).unwrap();
    assert!(assembled.text.contains(now) && assembled.text.contains("clause"));
    assert!(assembled.tokens <= budget && Quarters.count(&assembled.text) == assembled.tokens);
}

/// 5, source. What is written and what is seen disagree, and only one is shown.
#[test]
fn both_sides_of_a_conflict_are_shown() {
    let official = "The API accepts up to 100 concurrent requests for each key.\n";
    let seen = "Load test: the API accepts at most 50 concurrent requests.\n";
    assert!(
        !["actually", "really", "however", "fails", "bug"].iter().any(|word| seen.contains(word)),
        "no word gives it away"
    );
    let index = filled(
        IndexOptions::default(),
        vec![
            document("reference", SourceKind::OfficialDocs, "2024-06-01T00:00:00Z", official),
            document("load-test", SourceKind::PracticalLogs, "2026-05-31T00:00:00Z", seen),
        ],
    );
    let found = search(&index, "concurrent requests");
    assert_eq!(found.len(), 2);
    let now: Timestamp = NOW.parse().unwrap();
    let notes = notes(&conflicts(&found).found, Policy::Both, now);
    let triad = Triad::default();
    let request = Request { budget: 1000, triad: &triad, found: &found, notes: &notes, neighbours: None };
    let assembled = assembler().assemble(&request).unwrap();
    let note = assembled.text.lines().find(|line| line.starts_with("Note: ")).unwrap();
    for part in [
        "at most 100 (\"reference\", official_docs, 730 days old)",
        "at most 50 (\"load-test\", practical_logs, 1 days old)",
        "high",
    ] {
        assert!(note.contains(part), "{note}");
    }
    assert!(assembled.text.contains(official.trim()) && assembled.text.contains(seen.trim()));
}

/// 6, conversation. A summary has no room for the one number that matters.
#[test]
fn what_left_the_window_is_not_paraphrased() {
    let report = "We tried again after lunch, as you had asked us to do, and db.example.com:5432 answered with error code 500.";
    let summary: String = report.chars().take(60).collect();
    assert!(!summary.contains("500"));

    let limits =
        WindowLimits { tokens: 800, turns: 4, facts: 200, per_message: 4, pin_first_question: false };
    let mut conversation = Conversation::new(limits, Arc::new(Quarters)).unwrap();
    conversation.push(Message::user(report)).unwrap();
    for turn in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"] {
        conversation.push(Message::user(&format!("And {turn} more of the same, please."))).unwrap();
        conversation.push(Message::assistant("Done.")).unwrap();
    }
    let view = conversation.view();
    assert!(!view.messages.iter().any(|message| message.text() == report), "it has left");
    let facts = view.facts.join("\n");
    assert!(facts.contains("error code 500") && facts.contains("db.example.com:5432"), "{facts}");
    assert!(view.messages.iter().any(|message| message.text() == "And ten more of the same, please."));
    assert!(view.tokens <= limits.tokens);
}

#[derive(Debug, Default)]
struct Records(Mutex<Vec<Attempt>>);

impl AuditSink for Records {
    fn record(&self, attempt: &Attempt) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.0.lock().map_err(|_| "poisoned")?.push(attempt.clone());
        Ok(())
    }
}

/// 7, trust. Whoever stands between sees everything, and what is left out afterwards leaves gaps that tell of it.
#[test]
fn what_is_not_for_a_reader_is_not_even_found() {
    let documents = || -> Vec<Document> {
        let secret = (0..3).map(|page| {
            let text = format!("salary salary salary of the board, page {page}\n");
            let mut document = document(&format!("board{page}"), SourceKind::Wiki, NOW, &text);
            document.metadata.classification = Classification::Secret;
            document
        });
        let open = document(
            "bands",
            SourceKind::Wiki,
            NOW,
            "The salary bands of everybody are in this table of the handbook.\n",
        );
        secret.chain([open]).collect()
    };
    let options = || IndexOptions { collapse: false, ..IndexOptions::default() };
    let query = Query::new("salary", 2);
    let through = wait(filled(options(), documents()).search(&query)).unwrap().hits;
    let after: Vec<&Found> =
        through.iter().filter(|hit| hit.metadata.classification == Classification::Public).collect();
    assert!(after.is_empty() && through.len() == 2, "filtered afterwards, what may be read is not found");

    let records = Arc::new(Records::default());
    let timer = Arc::new(ManualClock::at(NOW.parse().unwrap()));
    let (acme, hr): (TenantId, _) = ("acme".parse().unwrap(), "hr".parse().unwrap());
    let allowance = Allowance {
        readers: ["staff".to_owned()].into(),
        rate: "100/min".parse().unwrap(),
        chunks: 10,
        bytes: 10_000,
        release: Release::usual(),
    };
    let guard = Guard::new(AuditKey::new([1; 32]), Arc::<Records>::clone(&records), timer)
        .guard(acme.clone(), "hr".parse().unwrap(), index(options()), allowance)
        .unwrap();
    wait(guard.put(&acme, &hr, documents())).unwrap();
    let staff =
        |tenant: &str| Reader::new(tenant.parse().unwrap(), "bob").unwrap().in_group("staff").unwrap();
    let hits = wait(guard.search(&staff("acme"), &hr, query.clone())).unwrap().hits;
    assert_eq!(hits.iter().map(|hit| hit.document.as_str()).collect::<Vec<_>>(), ["bands"]);
    let refused = wait(guard.search(&staff("rival"), &hr, query));
    assert!(matches!(refused, Err(GuardError::Denied(_))));
    let outcomes: Vec<bool> = records
        .0
        .lock()
        .unwrap()
        .iter()
        .map(|attempt| matches!(attempt.outcome, Outcome::Answered { .. }))
        .collect();
    assert_eq!(outcomes, [true, false], "each attempt is on record");
}

/// Not one of the seven, and made of the same mistake: a word within a word decides.
#[test]
fn a_route_goes_by_whole_words() {
    let router = Router::new(Rules::default()).unwrap();
    let message = "ok delete everything";
    assert!(message.contains("hi"), "the naive way finds a greeting");
    assert_ne!(router.route(message, Moment::default()).unwrap().tier, Size::Canned);
}
