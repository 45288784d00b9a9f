//! Erasing, hiding and what an audit finds.

use std::path::Path;
use std::sync::Arc;

use emk::episode::{Revision, Source};
use emk::memory::sleep::{Medoid, SleepPolicy};
use emk::memory::{EpisodicMemory, MemoryError, MemoryOptions};
use emk::store::{Batch, LedgerReader, LedgerStore};
use emk::{
    EntryKind, Head, Ledger, LedgerError, LedgerId, LedgerOptions, MemoryLimits, MemoryStore, SegmentReader,
};

use crate::{
    at, clock, episode, id, ledger_in, ledger_in_memory, memory, on_every_store, open, put, success,
};

#[test]
fn an_erased_episode_is_gone_and_the_rest_is_as_it_was() {
    on_every_store(|memory| {
        let first = put(memory, episode(1, "the address of a person"));
        let id = memory.get(first).unwrap().unwrap().content_id();
        let second = put(memory, episode(2, "what came of it").caused_by([id]));
        let head = memory.ledger().head();
        assert_eq!(memory.redact(first, "asked to by the person").unwrap(), [first]);
        assert_eq!(memory.get(first).unwrap(), None);
        assert_eq!(memory.inspect(first).unwrap(), None);
        assert!(memory.get_by_id(&id).unwrap().is_none());
        assert!(memory.status(first).unwrap().erased);
        assert!(memory.episodes(0).map(|found| found.unwrap().0).eq([second]));
        assert_eq!(memory.causes(second).unwrap(), [first]);
        assert_eq!(memory.as_of(at(9), at(9)), [second]);
        let report = memory.verify(Some(head), |_| {}).unwrap();
        assert_eq!((report.redacted, report.entries), (1, 3));
        // The reason is on record; erasing again makes sure and adds nothing.
        memory.redact(first, "again").unwrap();
        assert_eq!(memory.ledger().head().count, 3);
        // What was erased does not come back by being written once more.
        let again = memory.append(&episode(1, "the address of a person").build().unwrap());
        assert!(matches!(again, Err(MemoryError::Duplicate { seq: 0 })));
    });
}

#[test]
fn no_text_of_it_is_left_in_any_file() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(ledger_in(dir.path()));
    for day in 0..40 {
        put(&kept, episode(day, &format!("number{day}number of things")));
    }
    kept.redact(0, "no longer wanted").unwrap();
    assert_eq!(kept.redact_all(&[39, 17, 39], "no longer wanted").unwrap(), [17, 39]);
    for seq in [0, 17, 39] {
        assert!(!holds(dir.path(), &format!("number{seq}number")), "{seq}");
    }
    assert!(holds(dir.path(), "number18number"));
    let head = kept.ledger().head();
    kept.ledger().close().unwrap();
    assert_eq!(SegmentReader::open(dir.path()).unwrap().verify(Some(head), |_| {}).unwrap().redacted, 3);
}

fn holds(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|item| {
        let bytes = std::fs::read(item.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn a_reason_is_kept_without_the_secret_it_repeats() {
    let kept = memory();
    let seq = put(&kept, episode(1, "a"));
    let key = "sk-abcdefghijklmnopqrstuvwx";
    kept.redact(seq, &format!("held {key}")).unwrap();
    let mark = kept.ledger().read(1).next().unwrap().unwrap();
    let text = String::from_utf8(mark.body.to_vec()).unwrap();
    assert!(mark.kind == EntryKind::Tombstone && text.contains("held [REDACTED]") && !text.contains(key));
}

#[test]
fn an_erasure_that_a_crash_interrupted_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    let kept = open(ledger_in(dir.path()));
    put(&kept, episode(1, "a secret thing"));
    put(&kept, episode(2, "another thing"));
    // A mark is on record, and the process ends before the body is erased.
    let mark =
        r#"{"mark":"erased","reason":"r","schema":1,"seqs":[0],"timestamp":"2026-01-01T00:00:00.000000Z"}"#;
    kept.ledger().append(EntryKind::Tombstone, mark.as_bytes()).unwrap();
    kept.ledger().close().unwrap();
    assert!(holds(dir.path(), "a secret thing"));
    let again = open(ledger_in(dir.path()));
    assert!(!holds(dir.path(), "a secret thing"));
    assert!(again.get(0).unwrap().is_none() && again.get(1).unwrap().is_some());
    assert_eq!((again.verify(None, |_| {}).unwrap().redacted, again.unerased()), (1, Vec::new()));
}

/// A store that leaves out what a store may leave out.
struct Plain(MemoryStore);

impl LedgerStore for Plain {
    fn ledger(&self) -> &LedgerId {
        self.0.ledger()
    }

    fn head(&self) -> Head {
        self.0.head()
    }

    fn append(&mut self, batch: &Batch<'_>) -> Result<(), LedgerError> {
        self.0.append(batch)
    }

    fn sync(&mut self) -> Result<(), LedgerError> {
        self.0.sync()
    }

    fn is_immediate(&self) -> bool {
        self.0.is_immediate()
    }

    fn reader(&self) -> Arc<dyn LedgerReader> {
        self.0.reader()
    }
}

#[test]
fn a_store_that_cannot_erase_refuses_before_anything_is_on_record() {
    let store = Plain(MemoryStore::new(id(), MemoryLimits::default()));
    let kept = open(Ledger::open(store, LedgerOptions::default()).unwrap());
    put(&kept, episode(1, "a"));
    let head = kept.ledger().head();
    for refused in [kept.redact(0, "r").unwrap_err().code(), kept.ledger().erase(&[0]).unwrap_err().code()] {
        assert_eq!(refused, "AK0719");
    }
    assert_eq!((kept.ledger().head(), kept.ledger().can_erase()), (head, false));
    assert!(kept.get(0).unwrap().is_some());
    // A mark from elsewhere hides what it names, and the memory can be opened again and again.
    let mark =
        r#"{"mark":"erased","reason":"r","schema":1,"seqs":[0],"timestamp":"2026-01-01T00:00:00.000000Z"}"#;
    kept.ledger().append(EntryKind::Tombstone, mark.as_bytes()).unwrap();
    for _ in 0..2 {
        let again = open(kept.ledger().clone());
        assert_eq!((again.get(0).unwrap(), again.unerased()), (None, vec![0]));
        again.verify(None, |_| {}).unwrap();
    }
}

#[test]
fn a_body_that_is_gone_without_a_mark_is_found() {
    let kept = memory();
    put(&kept, episode(1, "a"));
    put(&kept, episode(2, "b"));
    kept.ledger().erase(&[1]).unwrap();
    assert_eq!(kept.ledger().verify(None, None, |_| {}).unwrap().redacted, 1);
    let found = kept.verify(None, |_| {}).unwrap_err();
    assert_eq!((found.code(), found.seq), ("AK0727", 1));
}

#[test]
fn what_an_erased_episode_put_right_stays_right() {
    on_every_store(|memory| {
        let wrong = put(memory, episode(10, "the cause was the disk"));
        let id = memory.get(wrong).unwrap().unwrap().content_id();
        let right = put(memory, episode(20, "the network").revises(Revision::Corrects(id)));
        let old = put(memory, episode(10, "port 7411").valid_from(at(0)));
        let id = memory.get(old).unwrap().unwrap().content_id();
        let new = put(memory, episode(20, "7500").valid_from(at(15)).revises(Revision::Supersedes(id)));
        memory.redact(right, "r").unwrap();
        memory.redact(new, "r").unwrap();
        assert!(memory.as_of(at(30), at(30)).is_empty());
        assert_eq!(memory.as_of(at(14), at(30)), [old]);
        assert!(memory.status(wrong).unwrap().corrected);
        assert_eq!(memory.revised_by(wrong), [right]);
    });
}

#[test]
fn rules_made_from_an_erased_episode_go_or_are_flagged() {
    on_every_store(|memory| {
        let words = "rotate the key of the billing service";
        put(memory, success(1, &format!("{words} x1 x2 x3")));
        put(memory, success(2, words));
        put(memory, success(3, &format!("{words} y1")));
        let plan = memory.plan(&SleepPolicy::default(), at(900), |_| {}).unwrap();
        let rule = memory.apply(&plan, &Medoid, |_| {}).unwrap().rules[0];
        let quoted = memory.rule(rule).unwrap().unwrap().quotes[0];
        let other = (0..3).find(|&seq| seq != quoted).unwrap();
        memory.redact(other, "r").unwrap();
        assert!(memory.status(rule).unwrap().flagged && memory.rule(rule).unwrap().is_some());
        let last = (0..3).find(|&seq| seq != quoted && seq != other).unwrap();
        assert!(!memory.status(last).unwrap().is_current());
        assert_eq!(memory.redact(quoted, "r").unwrap(), [quoted, rule]);
        assert!(memory.rule(rule).unwrap().is_none());
        // Nothing stands for it any more, so it stands for itself again.
        assert!(memory.status(last).unwrap().is_current());
        memory.verify(None, |_| {}).unwrap();
    });
}

#[test]
fn what_is_quarantined_is_hidden_everywhere_and_with_it_what_was_made_from_it() {
    on_every_store(|memory| {
        put(memory, success(1, "deploy the web service"));
        put(memory, success(2, "deploy the web service again"));
        let plan = memory.plan(&SleepPolicy::default(), at(900), |_| {}).unwrap();
        let rule = memory.apply(&plan, &Medoid, |_| {}).unwrap().rules[0];
        memory.quarantine(0, "poisoned").unwrap();
        assert_eq!((memory.get(0).unwrap(), memory.rule(rule).unwrap()), (None, None));
        assert!(memory.episodes(0).map(|found| found.unwrap().0).eq([1]));
        assert!(memory.inspect(0).unwrap().is_some());
        assert_eq!(memory.as_of(at(9), at(9)), [1]);
        assert!(memory.status(1).unwrap().is_current());
        memory.release(0, "checked").unwrap();
        assert!(memory.get(0).unwrap().is_some() && memory.rule(rule).unwrap().is_some());
        assert!(!memory.status(1).unwrap().is_current());
    });
    assert!(matches!(memory().quarantine(0, "r"), Err(MemoryError::UnknownEpisode { seq: 0 })));
}

#[test]
fn every_change_of_standing_is_among_what_is_touched() {
    let kept = memory();
    for (day, words) in
        [(1, "rebuild the index"), (2, "rebuild the index again"), (3, "rebuild the index soon")]
    {
        put(&kept, success(day, words));
    }
    let id = kept.get(0).unwrap().unwrap().content_id();
    let corrects = put(&kept, episode(4, "not the index").revises(Revision::Corrects(id)));
    let standing = || -> Vec<_> { (0..9).map(|seq| kept.status(seq)).collect() };
    let check = |seq: u64, change: &dyn Fn(u64)| {
        let before = standing();
        change(seq);
        let touched = kept.touched_by(seq);
        for (other, (before, after)) in (0..).zip(before.iter().zip(standing())) {
            assert!(
                *before == after || touched.contains(&other),
                "{seq} changed {other}: {before:?} {after:?}"
            );
        }
        assert_ne!(before, standing(), "{seq}");
    };
    let quarantine = |seq| kept.quarantine(seq, "r").unwrap();
    let release = |seq| kept.release(seq, "r").unwrap();
    check(corrects, &quarantine);
    let plan = kept.plan(&SleepPolicy::default(), at(900), |_| {}).unwrap();
    let rule = kept.apply(&plan, &Medoid, |_| {}).unwrap().rules[0];
    for seq in [corrects, 1, rule] {
        if seq == corrects {
            check(seq, &release);
        } else {
            check(seq, &quarantine);
            check(seq, &release);
        }
    }
    let quoted = kept.rule(rule).unwrap().unwrap().quotes[0];
    check(rule, &|seq| drop(kept.redact(seq, "r").unwrap()));
    check(quoted, &|seq| drop(kept.redact(seq, "r").unwrap()));
}

#[test]
fn an_audit_counts_what_a_memory_is_full_of() {
    let options = MemoryOptions::default().accept_recalled();
    let kept = EpisodicMemory::open(ledger_in_memory(), options, clock()).unwrap();
    put(&kept, episode(1, "restart the cache of the shop"));
    put(&kept, episode(2, "restart the cache of the shop"));
    put(&kept, episode(3, "something else").source(Source::Recalled));
    put(&kept, episode(4, "with sk-abcdefghijklmnopqrstuvwx").dangerous_keep_secrets());
    put(&kept, episode(5, "hidden and not counted"));
    kept.quarantine(4, "r").unwrap();
    kept.touch([0, 2, 99]);
    let mut heard = Vec::new();
    let audit = kept.audit(|count| heard.push(count)).unwrap();
    let counts =
        [audit.episodes, audit.exact_duplicates, audit.near_duplicates, audit.recalled, audit.secrets];
    assert_eq!((counts, audit.never_retrieved, heard), ([4, 1, 1, 1, 1], 2, vec![4]));
    assert!((audit.rate(audit.never_retrieved) - 0.5).abs() < f64::EPSILON);
    assert_eq!(memory().audit(|_| {}).unwrap().rate(0).to_bits(), 0);
}
