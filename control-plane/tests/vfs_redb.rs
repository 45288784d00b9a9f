//! What a redb store keeps when its process does not end well.
#![cfg(all(feature = "redb", unix))]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agent_control_plane::vfs::{
    MemoryBackend, Page, Quota, Redb, RedbError, RelPath, Usage, VfsError, Write, WriteMode,
};
use agent_primitives::{Clock, LabelSet, ManualClock, Timestamp};
use bytes::Bytes;

const ROOMY: Quota = Quota { bytes: 1 << 30, files: 1 << 20 };
const DATABASE: &str = "VFS_REDB_TEST_DATABASE";

fn write(mode: WriteMode, data: &[u8], labels: &[&str]) -> Write {
    let labels = LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap();
    Write::new(mode, Bytes::copy_from_slice(data), labels, ROOMY)
}

fn path(text: &str) -> RelPath<'_> {
    RelPath::parse(text).unwrap()
}

#[tokio::test]
async fn everything_of_a_file_outlives_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    let clock = ManualClock::at(Timestamp::from_micros(1_000_000));
    let open = || Redb::open(&file).unwrap().clock(Arc::new(clock.clone()));
    let end = Some(Timestamp::from_micros(clock.now().as_micros() + 5_000_000));
    let store = open();
    let kept = store.write(path("a/b"), write(WriteMode::Replace, b"kept", &["pii"])).await.unwrap();
    store.write(path("a/c"), write(WriteMode::Replace, b"brief", &[]).expiring(end)).await.unwrap();
    assert!(matches!(Redb::open(&file), Err(RedbError::InUse { .. })));
    drop(store);

    let store = open();
    let content = store.read(path("a/b"), 0, 100).await.unwrap();
    assert_eq!(
        (content.bytes.as_ref(), content.version, &content.labels),
        (&b"kept"[..], kept.version, &kept.labels)
    );
    assert_eq!(store.stat(path("a/c")).await.unwrap().expires, end);
    assert_eq!(store.usage(), Ok(Usage { bytes: 9, files: 2 }));
    drop(store);

    clock.advance(Duration::from_secs(5));
    let store = open();
    assert_eq!(store.stat(path("a/c")).await, Err(VfsError::NotFound));
    assert_eq!(store.usage(), Ok(Usage { bytes: 4, files: 1 }));
    let again = store.write(path("a/b"), write(WriteMode::Replace, b"kept", &["pii"])).await.unwrap();
    assert_ne!(again.version, kept.version);
}

#[test]
fn what_is_no_database_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("db");
    std::fs::write(&file, b"something else entirely").unwrap();
    let error = Redb::open(&file).unwrap_err();
    assert!(matches!(error, RedbError::Open { .. }), "{error}");
    assert_eq!(error.code(), "AK0423");
    assert_eq!(std::fs::read(&file).unwrap(), b"something else entirely");
}

/// Not a test of its own: what the test below starts, and kills.
#[test]
fn child_that_is_killed() {
    let Some(file) = std::env::var_os(DATABASE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let store = Redb::open(file).unwrap();
        for number in 0_u32.. {
            let name = format!("d{}/{number}", number % 5);
            store.write(path(&name), write(WriteMode::CreateNew, name.as_bytes(), &["pii"])).await.unwrap();
            store.write(path("log"), write(WriteMode::Append, b"x", &[])).await.unwrap();
            println!("\nwritten {number}");
            std::io::stdout().flush().unwrap();
        }
    });
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 1..=3_u32 {
        let database = folder.path().join(format!("db{round}"));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_is_killed", "--nocapture"])
            .env(DATABASE, &database)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let answered = lines.filter_map(|line| line.strip_prefix("written ")?.parse::<u32>().ok());
        let last = answered.take_while(|number| *number < round * 7).last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let store = Redb::open(&database).unwrap();
        for number in 0..=last {
            let name = format!("d{}/{number}", number % 5);
            let content = store.read(path(&name), 0, 100).await.unwrap();
            assert_eq!(content.bytes, name.as_bytes());
            assert_eq!(content.labels.len(), 1);
        }
        // What is there is whole: counts, directories and contents agree.
        let (mut bytes, mut files) = (0, 0);
        for folder in store.list(path(""), Page::new(None, 100)).await.unwrap().entries {
            let below = match folder.stat.version {
                Some(_) => vec![folder],
                None => store.list(path(&folder.name), Page::new(None, 1000)).await.unwrap().entries,
            };
            files += below.len() as u64;
            bytes += below.iter().map(|entry| entry.stat.size).sum::<u64>();
        }
        assert_eq!(store.usage(), Ok(Usage { bytes, files }));
        store.write(path("log"), write(WriteMode::Append, b"x", &[])).await.unwrap();
        total += last;
    }
    assert!(total > 30, "the children had done something: {total}");
}
