//! Following a record while it is written.

use std::future::Future as _;
use std::task::{Context, Poll, Waker};

use agent_control_plane::recorder::{Follow, LEDGER_NAME, LedgerError, RecordingError, Stored};
use agent_control_plane::{AgentSpec, FlightRecorder};
use emk::{Ledger, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, WhenFull};

use crate::host::{Host, POLICY};

fn poll(follow: &mut Follow) -> Poll<Option<Result<Stored, RecordingError>>> {
    let next = std::pin::pin!(follow.next());
    next.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_reader_gets_each_record_once_and_is_woken_by_the_next() {
    let host = Host::new();
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut follow = host.kernel.recorder().follow(0);
    let kinds = |stored: Stored| (stored.seq(), stored.event().unwrap().kind());
    assert_eq!(kinds(follow.next().await.unwrap().unwrap()), (0, "boot"));
    assert_eq!(kinds(follow.next().await.unwrap().unwrap()), (1, "spawn"));
    // Given up while it waits, any number of times, it loses nothing.
    for _ in 0..3 {
        assert!(poll(&mut follow).is_pending());
    }
    let (read, ()) = tokio::join!(follow.next(), async {
        tokio::task::yield_now().await;
        agent.read("/policy/active.json").await.unwrap();
    });
    assert_eq!(kinds(read.unwrap().unwrap()), (2, "intent"));
    assert_eq!(kinds(follow.try_next().unwrap().unwrap()), (3, "outcome"));
    assert!(follow.try_next().is_none());
    host.kernel.recorder().close().unwrap();
    assert!(follow.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_beside_writers_on_many_threads_miss_nothing_and_see_nothing_twice() {
    const CALLS: u64 = 200;
    let folder = tempfile::tempdir().unwrap();
    let host = Host::with(POLICY, FlightRecorder::open(folder.path()).unwrap());
    let recorder = host.kernel.recorder().clone();
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut follow = recorder.follow(0);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Some(stored) = follow.next().await {
                    seen.push(stored.unwrap().seq());
                }
                seen
            })
        })
        .collect();
    let writers: Vec<_> = (0..4)
        .map(|number| {
            let agent = host.kernel.spawn(AgentSpec::new(format!("w{number}"))).unwrap();
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    agent.read("/policy/active.json").await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    recorder.close().unwrap();
    // Seals stand between the events, and are none.
    let all: Vec<u64> = recorder.events(0).map(|stored| stored.unwrap().seq()).collect();
    assert_eq!(all.len() as u64, 1 + 4 + 4 * CALLS * 2);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), all);
    }
}

#[tokio::test]
async fn who_falls_behind_a_store_that_drops_is_told_once_where_it_goes_on() {
    let limits = MemoryLimits { records: 8, bytes: 1 << 20, when_full: WhenFull::DropOldest };
    let store = MemoryStore::new(LedgerId::new(LEDGER_NAME).unwrap(), limits);
    let host = Host::with(POLICY, FlightRecorder::on(Ledger::open(store, LedgerOptions::default()).unwrap()));
    let agent = host.kernel.spawn(AgentSpec::new("a")).unwrap();
    let mut follow = host.kernel.recorder().follow(0);
    for _ in 0..20 {
        agent.read("/policy/active.json").await.unwrap();
    }
    let lost = follow.next().await.unwrap().unwrap_err();
    assert!(matches!(lost, RecordingError::Ledger(LedgerError::Dropped { seq: 0, first: 34 })), "{lost}");
    let rest: Vec<u64> =
        std::iter::from_fn(|| follow.try_next()).map(|stored| stored.unwrap().seq()).collect();
    assert_eq!(rest, (34..42).collect::<Vec<_>>());
}
