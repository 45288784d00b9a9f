//! What led to what, and what was true when.

use agent_primitives::Digest;
use emk::episode::{Episode, Revision};
use emk::memory::{Direction, EpisodicMemory, MemoryError};

use crate::{at, episode, memory, on_every_store, put};

fn id_of(memory: &EpisodicMemory, seq: u64) -> Digest {
    memory.get(seq).unwrap().unwrap().content_id()
}

/// 0 → 1 → 2 → 3 → 4 → 5, and 0 → 3.
fn chain(memory: &EpisodicMemory) {
    let edges: [&[u64]; 6] = [&[], &[0], &[1], &[2, 0], &[3], &[4]];
    for (day, causes) in (0..).zip(edges) {
        let causes: Vec<Digest> = causes.iter().map(|&seq| id_of(memory, seq)).collect();
        put(memory, episode(day, &format!("step {day}")).caused_by(causes));
    }
}

fn seqs(memory: &EpisodicMemory, start: u64, direction: Direction, depth: u32) -> Vec<(u64, u32)> {
    let links = memory.chain(start, direction, depth).unwrap();
    links.into_iter().map(|link| (link.seq, link.depth)).collect()
}

#[test]
fn a_chain_has_each_episode_at_its_shortest_depth() {
    on_every_store(|memory| {
        chain(memory);
        assert_eq!((memory.causes(3).unwrap(), memory.effects(0).unwrap()), (vec![2, 0], vec![1, 3]));
        let forward = [(0, 0), (1, 1), (2, 2), (3, 1), (4, 2), (5, 3)];
        assert_eq!(seqs(memory, 0, Direction::Forward, 3), forward);
        assert_eq!(seqs(memory, 0, Direction::Forward, 0), [(0, 0)]);
        assert_eq!(seqs(memory, 4, Direction::Backward, 2), [(0, 2), (2, 2), (3, 1), (4, 0)]);
        assert_eq!(seqs(memory, 3, Direction::Both, 1), [(0, 1), (2, 1), (3, 0), (4, 1)]);
        let unknown = memory.chain(9, Direction::Forward, 3);
        assert!(matches!(unknown, Err(MemoryError::UnknownEpisode { seq: 9 })));
    });
}

#[test]
fn hidden_episodes_are_in_no_chain_and_what_lies_behind_them_is() {
    on_every_store(|memory| {
        chain(memory);
        memory.quarantine(3, "poisoned").unwrap();
        assert_eq!(seqs(memory, 0, Direction::Forward, 9), [(0, 0), (1, 1), (2, 2), (4, 2), (5, 3)]);
        assert!(memory.effects(2).unwrap().is_empty());
    });
}

#[test]
fn a_long_chain_is_walked_without_recursion() {
    let kept = memory();
    let mut cause = None;
    for number in 0..10_000 {
        let stored = kept.append(&episode(number, "next").caused_by(cause).build().unwrap()).unwrap();
        cause = Some(stored.content_id);
    }
    assert_eq!(kept.chain(9999, Direction::Backward, u32::MAX).unwrap().len(), 10_000);
}

#[test]
fn a_later_fact_ends_an_older_one_and_deletes_nothing() {
    on_every_store(|memory| {
        let first = put(memory, episode(10, "port 7411").valid_from(at(0)));
        let id = id_of(memory, first);
        let second =
            put(memory, episode(20, "port 7500").valid_from(at(15)).revises(Revision::Supersedes(id)));
        let third = put(memory, episode(30, "maintenance").valid_from(at(5)).valid_to(at(25)));
        for (valid, known, holding) in [
            (16, 12, vec![first]),
            (12, 25, vec![first]),
            (24, 40, vec![second, third]),
            (5, 30, vec![first, third]),
            (15, 40, vec![second, third]),
            (25, 40, vec![second]),
            (16, 9, vec![]),
        ] {
            assert_eq!(memory.as_of(at(valid), at(known)), holding, "{valid} {known}");
        }
        assert!(memory.holds(first, at(12), at(40)) && !memory.holds(first, at(15), at(40)));
        assert_eq!(memory.revised_by(first), [second]);
        let status = memory.status(first).unwrap();
        assert!(status.superseded && status.is_current());
        assert!(memory.get(first).unwrap().is_some());
    });
}

#[test]
fn what_was_wrong_was_never_true_once_that_is_known() {
    on_every_store(|memory| {
        let wrong = put(memory, episode(10, "the cause was the disk"));
        let id = id_of(memory, wrong);
        let right = put(memory, episode(20, "the cause was the network").revises(Revision::Corrects(id)));
        assert_eq!(memory.as_of(at(30), at(15)), [wrong]);
        assert_eq!(memory.as_of(at(30), at(25)), [right]);
        assert!(!memory.status(wrong).unwrap().is_current());
        // Who corrects may be the poison.
        memory.quarantine(right, "poisoned").unwrap();
        assert_eq!(memory.as_of(at(30), at(25)), [wrong]);
        memory.release(right, "checked").unwrap();
        assert_eq!(memory.as_of(at(30), at(25)), [right]);
    });
}

#[test]
fn no_agent_takes_back_what_another_one_believes() {
    on_every_store(|memory| {
        let one = put(memory, episode(1, "the key is under the mat"));
        let id = id_of(memory, one);
        for revision in [Revision::Corrects(id), Revision::Supersedes(id)] {
            let other =
                Episode::builder("agent-2".parse().unwrap(), at(2)).goal("it is not").revises(revision);
            let refused = memory.append(&other.build().unwrap()).unwrap_err();
            assert_eq!(refused.code(), "AK0722", "{refused}");
        }
        // It may well be its cause.
        let other = Episode::builder("agent-2".parse().unwrap(), at(2)).goal("look there").caused_by([id]);
        put(memory, other);
    });
}

#[test]
fn equal_words_about_other_times_stay_two_facts() {
    let kept = memory();
    let one = put(&kept, episode(1, "the door is open").valid_from(at(1)).valid_to(at(2)));
    let other = put(&kept, episode(1, "the door is open").valid_from(at(5)).valid_to(at(6)));
    assert_eq!((kept.as_of(at(1), at(9)), kept.as_of(at(5), at(9))), (vec![one], vec![other]));
    assert!(kept.as_of(at(3), at(9)).is_empty());
}
