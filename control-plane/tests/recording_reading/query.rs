//! Queries to a live record and to one on disk.

use agent_control_plane::primitives::{Clock as _, Verdict};
use agent_control_plane::question::CallKind;
use agent_control_plane::recorder::{LEDGER_NAME, MAX_PAGE, Page, Query, Recording, Stored};
use agent_control_plane::{AgentSpec, FlightRecorder};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, WhenFull};
use serde_json::json;

use crate::host::{Host, POLICY};

fn kinds(page: &Page) -> Vec<String> {
    page.records.iter().map(|stored| stored.event().unwrap().kind().to_owned()).collect()
}

#[tokio::test]
async fn a_query_right_after_a_call_shows_it_live_and_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(POLICY, FlightRecorder::open(folder.path()).unwrap());
    let recorder = host.kernel.recorder();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let newest = Query::new().agent("a").limit(2);
    for round in 0..3 {
        let text = format!("round {round}");
        agent.exec("echo", json!({"text": text})).await.unwrap();
        let page = recorder.query(&newest).unwrap();
        assert_eq!(kinds(&page), ["outcome", "intent"]);
        assert_eq!(page.records[1].to_json().unwrap()["request"]["arguments"]["text"], text);
    }
    recorder.flush().unwrap();
    let recording = Recording::open(folder.path()).unwrap();
    let ids = |page: &Page| page.records.iter().map(Stored::seq).collect::<Vec<_>>();
    assert_eq!(ids(&recording.query(&newest).unwrap()), ids(&recorder.query(&newest).unwrap()));
    // The recording is read while it grows.
    agent.exec("soft", json!({"text": "x"})).await.unwrap_err();
    recorder.flush().unwrap();
    assert_eq!(kinds(&recording.query(&newest).unwrap()), ["refused", "outcome"]);
    drop(host);
    assert_eq!(kinds(&recording.query(&newest).unwrap()), ["refused", "outcome"]);
}

#[tokio::test]
async fn each_field_selects() {
    let host = Host::new();
    let first = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    first.exec("echo", json!({"text": "x"})).await.unwrap();
    host.clock.advance(std::time::Duration::from_secs(60));
    let later = host.clock.now();
    first.exec("soft", json!({"text": "x"})).await.unwrap_err();
    first.exec("soft", json!({"text": "x"})).await.unwrap_err();
    first.exec("no such tool", json!({})).await.unwrap_err();
    first.exit(0, "").await.unwrap();
    let second = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    second.write("/mem/working/x", "x").await.unwrap();

    let recorder = host.kernel.recorder();
    let select = |query: Query| kinds(&recorder.query(&query.oldest_first()).unwrap());
    assert_eq!(select(Query::new().tool("echo")), ["intent"]);
    assert_eq!(select(Query::new().verdict(Verdict::Deny)), ["refused"]);
    assert_eq!(select(Query::new().rule("soft")), ["refused"]);
    assert_eq!(select(Query::new().syscall(CallKind::Exec)), ["intent", "refused", "repeated", "rejected"]);
    assert_eq!(select(Query::new().kind("spawn").kind("boot")), ["boot", "spawn", "spawn"]);
    assert_eq!(select(Query::new().until(later)), ["boot", "spawn", "intent", "outcome"]);
    assert_eq!(select(Query::new().since(later).agent("a").kind("spawn")), ["spawn"]);
    assert_eq!(select(Query::new().agent("")), ["boot"]);
    assert_eq!(select(Query::new().agent("nobody")), Vec::<String>::new());
    let write = recorder.query(&Query::new().syscall(CallKind::Write)).unwrap().records.remove(0);
    let event = write.event().unwrap();
    let of_call = Query::new().agent("a").life(event.generation).call(event.call);
    assert_eq!(select(of_call), ["intent", "outcome"]);
    assert_eq!(select(Query::new().agent("a").life(event.generation)), ["spawn", "intent", "outcome"]);
}

/// The figure to reach is 200 us; a build without optimisation keeps it several times over, so a slow machine passes too.
#[tokio::test]
async fn a_hundred_of_nine_thousand_records_come_by_the_index_and_not_by_reading_all() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(POLICY, FlightRecorder::open(folder.path()).unwrap());
    let (often, seldom) = (AgentSpec::new("often"), AgentSpec::new("seldom"));
    let (often, seldom) = (host.kernel.spawn(often).unwrap(), host.kernel.spawn(seldom).unwrap());
    for number in 0..4500 {
        let agent = if number % 45 == 0 { &seldom } else { &often };
        agent.read("/policy/active.json").await.unwrap();
    }
    host.kernel.recorder().close().unwrap();
    let recording = Recording::open(folder.path()).unwrap();
    let query = Query::new().agent("seldom").limit(100);
    let timer = agent_control_plane::atr::TokioTimer::new();
    let clock: &dyn agent_control_plane::primitives::Clock = &timer;
    let mut took = Vec::new();
    for _ in 0..20 {
        let began = clock.monotonic();
        assert_eq!(recording.query(&query).unwrap().records.len(), 100);
        took.push(clock.monotonic().since(began));
    }
    println!("first query {:?}, then at best {:?}", took[0], took.iter().min().unwrap());
    let best = took.iter().min().unwrap();
    assert!(*best * 10 < took[0], "{took:?}");
    assert_eq!(recording.query(&Query::new().limit(usize::MAX)).unwrap().records.len(), 9003.min(MAX_PAGE));
}

/// Rows of records that the index no longer keeps are read again, while the store lets go of them.
#[test]
fn a_query_beside_a_store_that_lets_go_of_its_oldest_is_answered() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let limits = MemoryLimits { records: 1000, bytes: 128 << 20, when_full: WhenFull::DropOldest };
    let store = MemoryStore::new(LedgerId::new(LEDGER_NAME).unwrap(), limits);
    let host = Host::with(POLICY, FlightRecorder::on(Ledger::open(store, LedgerOptions::default()).unwrap()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (recorder, done) = (host.kernel.recorder().clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut asked = 0;
            while !done.load(Ordering::SeqCst) {
                for query in [Query::new().oldest_first().limit(MAX_PAGE), Query::new().limit(MAX_PAGE)] {
                    let page = recorder.query(&query).unwrap();
                    let seqs: Vec<u64> = page.records.iter().map(Stored::seq).collect();
                    assert!(seqs.is_sorted_by(|a, b| a < b) || seqs.is_sorted_by(|a, b| b < a), "{seqs:?}");
                }
                asked += 1;
            }
            asked
        });
        let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
        let text = "x".repeat(60_000);
        runtime.block_on(async {
            for _ in 0..1200 {
                agent.exec("echo", json!({"text": text})).await.unwrap();
            }
        });
        done.store(true, Ordering::SeqCst);
        assert_ne!(reading.join().unwrap(), 0);
    });
}
