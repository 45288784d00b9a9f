//! Seals: when they are made, what they show, and what an anchor adds.
#![expect(clippy::unwrap_in_result, reason = "a test may fail loudly")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_primitives::ManualClock;
use emk::anchor::{Anchor, AnchorError, FileAnchor, LedgerAnchor};
use emk::memory::transfer::{LineError, import_ledger};
use emk::store::LedgerStore;
use emk::{
    Checkpoint, Durability, Entry, EntryKind, Finding, Ledger, LedgerOptions, MAX_UNANCHORED, MemoryLimits,
    MemoryStore, PublicKey, Seal, Sealing, SegmentReader, SegmentStore, SigningKey, Trust, VerifyReport,
};
use serde_json::json;

use crate::{SMALL, id, options};

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn clock() -> Arc<ManualClock> {
    Arc::default()
}

fn sealing(clock: &Arc<ManualClock>) -> Sealing {
    Sealing::new(Arc::clone(clock) as _).every(4, Duration::from_secs(600))
}

fn on_disk(dir: &tempfile::TempDir, sealing: Sealing) -> Ledger {
    let store = SegmentStore::open(dir.path(), id(), SMALL).unwrap();
    Ledger::open_sealed(store, options(Durability::Always), sealing).unwrap()
}

fn in_memory(sealing: Sealing) -> Ledger {
    let store = MemoryStore::new(id(), MemoryLimits::default());
    Ledger::open_sealed(store, LedgerOptions::default(), sealing).unwrap()
}

/// Puts records into an empty ledger as they are, seals too, which nobody appends otherwise.
fn copy<'b>(ledger: &Ledger, records: impl IntoIterator<Item = (EntryKind, &'b [u8])>) {
    let mut lines = json!({"emk_export": 1, "ledger": ledger.id().as_str()}).to_string();
    for (seq, (kind, body)) in records.into_iter().enumerate() {
        let hex: String = body.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect();
        lines += &format!("\n{}", json!({"body_hex": hex, "kind": kind.as_str(), "seq": seq}));
    }
    // Without its last line an import fails, and the records before it stay.
    let ended = import_ledger(ledger, lines.as_bytes(), |_| {}).unwrap_err();
    assert!(matches!(ended.cause, LineError::EndsEarly), "{ended}");
}

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap()
}

fn parts(entry: &Entry) -> (EntryKind, &[u8]) {
    (entry.kind, &entry.body)
}

/// Appends records, each durable before the next.
fn append(ledger: &Ledger, count: u8) {
    for number in 0..count {
        let seq = ledger.append(EntryKind::Event, &[number]).unwrap().seq;
        ledger.durable_blocking(seq).unwrap();
    }
}

fn seals(ledger: &Ledger) -> Vec<(u64, Seal)> {
    let entries = ledger.read(0).map(Result::unwrap);
    let seals = entries.filter(|entry| entry.kind == EntryKind::Checkpoint);
    seals.map(|entry| (entry.seq, Seal::from_body(&entry.body).unwrap())).collect()
}

fn trust(keys: &[PublicKey], anchored: &[Checkpoint]) -> Trust {
    let mut trust = Trust::default();
    trust.keys = keys.to_vec();
    trust.anchored = anchored.to_vec();
    trust
}

fn verify(dir: &tempfile::TempDir, trust: &Trust) -> Result<VerifyReport, emk::VerifyError> {
    SegmentReader::open(dir.path()).unwrap().verify_against(trust, |_| Ok(()), |_| {})
}

/// An anchor that keeps what it is given, or fails while it is told to.
#[derive(Clone, Default)]
struct Remembers(Arc<Mutex<(Vec<Checkpoint>, Option<&'static str>)>>);

impl Remembers {
    fn kept(&self) -> Vec<Checkpoint> {
        self.0.lock().unwrap().0.clone()
    }

    fn fail(&self, with: Option<&'static str>) {
        self.0.lock().unwrap().1 = with;
    }
}

impl Anchor for Remembers {
    fn name(&self) -> &str {
        "remembers"
    }

    fn keep(&mut self, checkpoint: &Checkpoint) -> Result<(), AnchorError> {
        let mut kept = self.0.lock().unwrap();
        match kept.1 {
            Some("panic") => {
                drop(kept);
                panic!("the anchor's own fault")
            }
            Some(failure) => Err(AnchorError::Failed(failure.to_owned())),
            None => {
                kept.0.push(checkpoint.clone());
                Ok(())
            }
        }
    }
}

#[test]
fn a_ledger_seals_itself_after_so_many_records_and_when_it_is_closed() {
    for on_disk_too in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let ledger =
            if on_disk_too { on_disk(&dir, sealing(&clock())) } else { in_memory(sealing(&clock())) };
        append(&ledger, 10);
        ledger.close().unwrap();
        let seals = seals(&ledger);
        let sizes: Vec<u64> = seals.iter().map(|(_, seal)| seal.checkpoint.size).collect();
        // Where a thread writes, the next record may come before the seal of those before it.
        assert!(3 <= sizes.len() && sizes.windows(2).all(|pair| pair[0] < pair[1]), "{sizes:?}");
        let last = &seals.last().unwrap();
        assert_eq!(last.0 + 1, ledger.head().count, "the last record is a seal");
        assert_eq!(last.1.checkpoint.size, last.0, "of everything before it");
        let report = ledger.verify(None, None, |_| {}).unwrap();
        assert_eq!((report.checkpoints, report.sealed), (sizes.len() as u64, last.0));
        // Closing again, or sealing a closed ledger, adds nothing and waits for nothing.
        ledger.seal().unwrap();
        ledger.close().unwrap();
        assert_eq!(ledger.head().count, last.0 + 1);
    }
}

#[test]
fn a_ledger_seals_itself_when_time_has_passed() {
    let clock = clock();
    let ledger = in_memory(Sealing::new(Arc::clone(&clock) as _));
    append(&ledger, 3);
    assert_eq!(seals(&ledger).len(), 0);
    clock.advance(Duration::from_secs(599));
    append(&ledger, 1);
    assert_eq!(seals(&ledger).len(), 0);
    clock.advance(Duration::from_secs(1));
    append(&ledger, 1);
    assert_eq!(seals(&ledger).len(), 1);
    // A seal alone is nothing to seal.
    clock.advance(Duration::from_secs(6000));
    ledger.seal().unwrap();
    assert_eq!(seals(&ledger).len(), 1);
}

#[test]
fn a_seal_is_of_durable_records_and_says_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let remembers = Remembers::default();
    let ledger = on_disk(&dir, sealing(&clock()).key(key()).anchor(remembers.clone()).unwrap());
    append(&ledger, 9);
    ledger.seal().unwrap();
    let seals: Vec<Checkpoint> = seals(&ledger).into_iter().map(|(_, seal)| seal.checkpoint).collect();
    assert_eq!(remembers.kept(), seals);
    let hashes: Vec<_> = ledger.read(0).map(|entry| entry.unwrap().hash).collect();
    for checkpoint in &seals {
        checkpoint.verify(&key().public()).unwrap();
        let last = hashes[usize::try_from(checkpoint.size).unwrap() - 1];
        assert_eq!(checkpoint.head, last);
        assert_eq!(Checkpoint::from_json(checkpoint.to_json().as_bytes()).as_ref(), Ok(checkpoint));
    }
    assert_eq!(ledger.seals().unwrap().checkpoint.as_ref(), seals.last());
}

#[test]
fn seals_go_on_where_the_process_before_ended() {
    let dir = tempfile::tempdir().unwrap();
    let mut sealed = 0;
    for round in 0..4 {
        // The second time around nothing was sealed at the end: the last records come from a crash.
        let ledger = on_disk(&dir, sealing(&clock()).key(key()));
        assert_eq!(ledger.seals().unwrap().checkpoint.map_or(0, |last| last.size), sealed, "round {round}");
        append(&ledger, 7);
        ledger.close().unwrap();
        sealed = ledger.seals().unwrap().checkpoint.unwrap().size;
        let plain =
            Ledger::open(SegmentStore::open(dir.path(), id(), SMALL).unwrap(), options(Durability::Always));
        let plain = plain.unwrap();
        append(&plain, 3);
        plain.close().unwrap();
    }
    let ledger = on_disk(&dir, sealing(&clock()).key(key()));
    ledger.seal().unwrap();
    let report = ledger.verify(None, None, |_| {}).unwrap();
    assert_eq!(report.sealed + 1, report.entries);
    ledger.close().unwrap();
    let report = verify(&dir, &trust(&[key().public()], &[])).unwrap();
    assert_eq!(report.sealed + 1, report.entries);
}

#[test]
fn a_ledger_that_never_sealed_itself_is_sealed_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let plain = Ledger::open(SegmentStore::open(dir.path(), id(), SMALL).unwrap(), options(Durability::Os));
    let plain = plain.unwrap();
    for number in 0..1500u16 {
        plain.append(EntryKind::Event, &number.to_le_bytes()).unwrap();
    }
    plain.close().unwrap();
    let ledger = on_disk(&dir, sealing(&clock()));
    ledger.seal().unwrap();
    assert_eq!(ledger.seals().unwrap().checkpoint.unwrap().size, 1500);
    ledger.verify(None, None, |_| {}).unwrap();
}

#[test]
fn nothing_is_sealed_on_top_of_a_seal_that_does_not_hold() {
    let mut store = MemoryStore::new(id(), MemoryLimits::default());
    let reader = store.reader();
    assert_eq!(store.sync().map(|()| reader.base().count).unwrap(), 0);
    let ledger = Ledger::open(store, LedgerOptions::default()).unwrap();
    append(&ledger, 2);
    assert_eq!(ledger.append(EntryKind::Checkpoint, b"{}").unwrap_err().code(), "AK0820");
    ledger.verify(None, None, |_| {}).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let disk =
        Ledger::open(SegmentStore::open(dir.path(), id(), SMALL).unwrap(), options(Durability::Os)).unwrap();
    copy(&disk, [(EntryKind::Event, &b"0"[..]), (EntryKind::Event, b"1"), (EntryKind::Checkpoint, b"{}")]);
    disk.close().unwrap();
    let store = SegmentStore::open(dir.path(), id(), SMALL).unwrap();
    let refused = Ledger::open_sealed(store, LedgerOptions::default(), sealing(&clock())).unwrap_err();
    assert_eq!(refused.code(), "AK0817");
    let error = verify(&dir, &Trust::default()).unwrap_err();
    assert_eq!((error.code(), error.seq), ("AK0830", 2));
    assert!(error.place.is_some());
}

#[test]
fn an_anchor_that_fails_is_asked_again_and_shows_meanwhile() {
    let (remembers, clock) = (Remembers::default(), clock());
    let ledger = in_memory(sealing(&clock).anchor(remembers.clone()).unwrap());
    append(&ledger, 4);
    assert_eq!((ledger.seals().unwrap().unanchored(), remembers.kept().len()), (0, 1));
    for (round, failure) in ["no route to host", "panic"].into_iter().enumerate() {
        remembers.fail(Some(failure));
        append(&ledger, 4);
        let status = ledger.seals().unwrap();
        assert_eq!(status.unanchored(), round as u64 + 1);
        assert!(status.last_error().is_some());
        assert_eq!(status.anchors[0].size, 4);
    }
    remembers.fail(None);
    append(&ledger, 4);
    let status = ledger.seals().unwrap();
    assert_eq!((status.unanchored(), status.last_error()), (0, None));
    let sizes: Vec<u64> = remembers.kept().iter().map(|kept| kept.size).collect();
    assert_eq!(sizes.len(), 4);
    assert!(sizes.is_sorted());
}

#[test]
fn what_an_anchor_missed_before_the_process_ended_comes_when_the_ledger_is_opened() {
    let (dir, remembers) = (tempfile::tempdir().unwrap(), Remembers::default());
    let open = || on_disk(&dir, sealing(&clock()).anchor(remembers.clone()).unwrap());
    remembers.fail(Some("no route to host"));
    let ledger = open();
    append(&ledger, 9);
    ledger.close().unwrap();
    let last = ledger.seals().unwrap().checkpoint.unwrap();
    let again = open();
    let status = again.seals().unwrap();
    assert_eq!((status.unanchored(), status.last_error().is_some()), (1, true));
    again.close().unwrap();
    remembers.fail(None);
    let again = open();
    let status = again.seals().unwrap();
    assert_eq!((status.unanchored(), status.anchors[0].size, status.last_error()), (0, last.size, None));
    assert_eq!(remembers.kept(), [last]);
}

#[test]
fn an_anchor_file_has_each_checkpoint_once_however_often_the_ledger_is_opened() {
    let (dir, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = folder.path().join("anchor.jsonl");
    let open = || on_disk(&dir, sealing(&clock()).anchor(FileAnchor::open(&path).unwrap()).unwrap());
    for round in 1..4 {
        let ledger = open();
        assert_eq!(ledger.seals().unwrap().unanchored(), 0);
        append(&ledger, 1);
        ledger.close().unwrap();
        open().close().unwrap();
        assert_eq!(FileAnchor::read(&path).unwrap().len(), round);
    }
    // Somebody empties it between two lives.
    std::fs::write(&path, b"").unwrap();
    open().close().unwrap();
    assert_eq!(FileAnchor::read(&path).unwrap().len(), 1);
}

#[test]
fn what_waits_for_an_anchor_is_bounded() {
    let remembers = Remembers::default();
    remembers.fail(Some("full"));
    let ledger = in_memory(Sealing::new(clock()).every(1, Duration::MAX).anchor(remembers.clone()).unwrap());
    for _ in 0..MAX_UNANCHORED + 5 {
        ledger.append(EntryKind::Event, b"x").unwrap();
    }
    let anchor = &ledger.seals().unwrap().anchors[0];
    assert_eq!((anchor.waiting, anchor.given_up), (MAX_UNANCHORED as u64, 5));
    remembers.fail(None);
    ledger.append(EntryKind::Event, b"x").unwrap();
    assert_eq!(ledger.seals().unwrap().unanchored(), 0);
    assert_eq!(
        remembers.kept().last().map(|kept| kept.size),
        ledger.seals().unwrap().checkpoint.map(|last| last.size)
    );
}

#[test]
fn a_ledger_has_a_bounded_number_of_anchors() {
    let mut sealing = sealing(&clock());
    for _ in 0..emk::MAX_ANCHORS {
        sealing = sealing.anchor(Remembers::default()).unwrap();
    }
    assert_eq!(sealing.anchor(Remembers::default()).unwrap_err().code(), "AK0818");
}

#[test]
fn an_anchor_file_survives_a_crash_in_the_middle_of_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("anchor.jsonl");
    let ledger = in_memory(sealing(&clock()).anchor(FileAnchor::open(&path).unwrap()).unwrap());
    append(&ledger, 12);
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(FileAnchor::read(&path).unwrap().len(), 3);
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let lines = whole[..cut].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(FileAnchor::read(&path).unwrap().len(), lines);
        let mut anchor = FileAnchor::open(&path).unwrap();
        anchor.keep(&ledger.seals().unwrap().checkpoint.unwrap()).unwrap();
        assert_eq!(FileAnchor::read(&path).unwrap().len(), lines + 1, "cut at {cut}");
    }
    std::fs::write(&path, b"{\"size\": 3}\n").unwrap();
    assert_eq!(FileAnchor::open(&path).unwrap_err().code(), "AK0845");
}

#[test]
fn an_anchor_file_takes_nothing_from_another_that_writes_there_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("anchor.jsonl");
    let (mut one, mut other) = (FileAnchor::open(&path).unwrap(), FileAnchor::open(&path).unwrap());
    let ledger = in_memory(sealing(&clock()));
    append(&ledger, 4);
    let checkpoint = ledger.seals().unwrap().checkpoint.unwrap();
    for kept in 0..3 {
        one.keep(&checkpoint).unwrap();
        other.keep(&checkpoint).unwrap();
        assert_eq!(FileAnchor::read(&path).unwrap().len(), 2 * (kept + 1));
    }
}

/// Who can delete an anchor must not make a ledger believe that it is anchored.
#[cfg(unix)]
#[test]
fn an_anchor_file_that_is_deleted_keeps_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("anchor.jsonl");
    let ledger = in_memory(sealing(&clock()).anchor(FileAnchor::open(&path).unwrap()).unwrap());
    append(&ledger, 4);
    assert_eq!(ledger.seals().unwrap().unanchored(), 0);
    std::fs::remove_file(&path).unwrap();
    append(&ledger, 4);
    let status = ledger.seals().unwrap();
    assert!(status.unanchored() != 0 && status.last_error().is_some(), "{status:?}");
}

#[test]
fn another_ledger_is_an_anchor() {
    let other = Ledger::open(
        MemoryStore::new(emk::LedgerId::new("notary").unwrap(), MemoryLimits::default()),
        LedgerOptions::default(),
    )
    .unwrap();
    other.append(EntryKind::Event, b"something else").unwrap();
    let ledger = in_memory(sealing(&clock()).anchor(LedgerAnchor::new(other.clone())).unwrap());
    append(&ledger, 8);
    let kept = LedgerAnchor::read(&other, &id()).unwrap();
    assert_eq!(kept.iter().map(|kept| kept.size).collect::<Vec<_>>(), [4, 9]);
    let report = ledger.verify_against(None, &trust(&[], &kept), |_| Ok(()), |_| {}).unwrap();
    assert_eq!(report.sealed, 9);
}

/// Somebody with access to the files writes a ledger of their own: `honest` first, then something else.
fn forge(dir: &tempfile::TempDir, keep: usize, then: &[&[u8]], key: Option<SigningKey>) {
    let old: Vec<_> =
        SegmentReader::open(dir.path()).unwrap().entries(0).unwrap().map(Result::unwrap).take(keep).collect();
    for name in crate::segments(dir.path()) {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let store = SegmentStore::open(dir.path(), id(), SMALL).unwrap();
    let ledger = Ledger::open(store, options(Durability::Os)).unwrap();
    copy(&ledger, old.iter().map(parts).chain(then.iter().map(|body| (EntryKind::Event, *body))));
    ledger.close().unwrap();
    if let Some(key) = key {
        on_disk(dir, sealing(&clock()).key(key)).close().unwrap();
    }
}

#[test]
fn what_a_forger_does_is_found_with_a_key_or_an_anchor() {
    let honest = || {
        let (dir, anchor) = (tempfile::tempdir().unwrap(), Remembers::default());
        let ledger = on_disk(&dir, sealing(&clock()).key(key()).anchor(anchor.clone()).unwrap());
        append(&ledger, 10);
        ledger.close().unwrap();
        (dir, anchor.kept(), ledger.head())
    };
    let with_key = |keys: &[PublicKey]| trust(keys, &[]);
    let mine = [key().public()];
    let (dir, anchored, head) = honest();
    let report = verify(&dir, &trust(&mine, &anchored)).unwrap();
    assert_eq!((report.head, report.sealed + 1), (head, report.entries));

    // All of it rewritten, sealed by nobody or by the forger.
    for (forger, unsigned) in [(None, "AK0838"), (Some(SigningKey::from_bytes(&[8; 32])), "AK0833")] {
        let (dir, anchored, _) = honest();
        forge(&dir, 0, &[b"all", b"is", b"well", b"here", b"!"], forger);
        verify(&dir, &Trust::default()).unwrap();
        assert_eq!(verify(&dir, &with_key(&mine)).unwrap_err().code(), unsigned);
        assert_eq!(verify(&dir, &trust(&[], &anchored)).unwrap_err().code(), "AK0837");
    }
    // The end cut off behind a seal: no key shows that, an anchor does.
    let (dir, anchored, _) = honest();
    let to_first_seal = |dir: &tempfile::TempDir| {
        let mut entries = SegmentReader::open(dir.path()).unwrap().entries(0).unwrap();
        entries.position(|entry| entry.unwrap().kind == EntryKind::Checkpoint).unwrap() + 1
    };
    forge(&dir, to_first_seal(&dir), &[], None);
    assert_eq!(verify(&dir, &with_key(&mine)).unwrap().checkpoints, 1);
    assert!(matches!(verify(&dir, &trust(&[], &anchored)).unwrap_err().finding, Finding::RolledBack { .. }));
    // The end written anew: with a key it counts as not sealed.
    let (dir, anchored, _) = honest();
    forge(&dir, to_first_seal(&dir), &[b"so", b"it", b"was"], None);
    let report = verify(&dir, &with_key(&mine)).unwrap();
    assert!(report.sealed < report.entries - 3);
    assert!(verify(&dir, &trust(&[], &anchored)).is_err());
    // A record changed under a seal, and every hash after it recomputed, seals kept as they are.
    let (dir, _, _) = honest();
    let bodies: Vec<_> =
        SegmentReader::open(dir.path()).unwrap().entries(0).unwrap().map(Result::unwrap).collect();
    forge(&dir, 0, &[], None);
    let plain =
        Ledger::open(SegmentStore::open(dir.path(), id(), SMALL).unwrap(), options(Durability::Os)).unwrap();
    let other = |(index, entry)| if index == 1 { (EntryKind::Event, &b"other"[..]) } else { parts(entry) };
    copy(&plain, bodies.iter().enumerate().map(other));
    plain.close().unwrap();
    let error = verify(&dir, &Trust::default()).unwrap_err();
    assert_eq!(error.code(), "AK0835");
    assert_eq!(
        bodies[usize::try_from(error.seq).unwrap()].kind,
        EntryKind::Checkpoint,
        "at the first seal behind it"
    );
    assert!(error.place.is_some());
}

#[test]
fn a_seal_that_is_put_where_it_does_not_belong_is_found() {
    let ledger = in_memory(sealing(&clock()).key(key()));
    append(&ledger, 12);
    let entries: Vec<_> = ledger.read(0).map(Result::unwrap).collect();
    let seal = entries.iter().find(|entry| entry.kind == EntryKind::Checkpoint).unwrap();
    // The same seal twice; a seal before what it seals.
    for (upto, code) in [(8, "AK0830"), (2, "AK0830")] {
        let other =
            Ledger::open(MemoryStore::new(id(), MemoryLimits::default()), LedgerOptions::default()).unwrap();
        copy(&other, entries.iter().take(upto).chain([seal]).map(parts));
        let error = other.verify(None, None, |_| {}).unwrap_err();
        assert_eq!((error.code(), error.seq), (code, upto as u64));
    }
    // A seal of another ledger.
    let other = emk::LedgerId::new("other").unwrap();
    let other =
        Ledger::open(MemoryStore::new(other, MemoryLimits::default()), LedgerOptions::default()).unwrap();
    copy(&other, entries.iter().map(parts));
    assert_eq!(other.verify(None, None, |_| {}).unwrap_err().code(), "AK0831");
}

#[test]
fn a_signature_that_was_changed_is_found_at_its_seal() {
    let ledger = in_memory(sealing(&clock()).key(key()));
    append(&ledger, 6);
    ledger.close().unwrap();
    let entries: Vec<_> = ledger.read(0).map(Result::unwrap).collect();
    let last = entries.last().unwrap();
    let text = String::from_utf8(last.body.to_vec()).unwrap();
    let at = text.find("ed25519\":\"").unwrap() + 10;
    for digit in 0..128 {
        let mut body = text.clone().into_bytes();
        body[at + digit] = if body[at + digit] == b'0' { b'1' } else { b'0' };
        let forged =
            Ledger::open(MemoryStore::new(id(), MemoryLimits::default()), LedgerOptions::default()).unwrap();
        copy(&forged, entries.iter().take(entries.len() - 1).map(parts).chain([(last.kind, &body[..])]));
        let error =
            forged.verify_against(None, &trust(&[key().public()], &[]), |_| Ok(()), |_| {}).unwrap_err();
        assert_eq!((error.code(), error.seq), ("AK0834", last.seq), "digit {digit}");
    }
}

#[test]
fn threads_that_append_together_are_sealed_in_order() {
    for on_disk_too in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let ledger = if on_disk_too {
            on_disk(&dir, sealing(&clock()).key(key()))
        } else {
            in_memory(sealing(&clock()).key(key()))
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| append(&ledger, 100));
            }
            scope.spawn(|| (0..20).for_each(|_| ledger.seal().unwrap()));
        });
        ledger.close().unwrap();
        let trust = trust(&[key().public()], &[]);
        let report = ledger.verify_against(None, &trust, |_| Ok(()), |_| {}).unwrap();
        assert_eq!(report.entries - report.checkpoints, 400);
        assert_eq!(report.sealed + 1, report.entries);
    }
}
