//! Signed records and the replicated set of them: T15 to T17, T38, the laws of the set, convergence, hostile peers, the
//! journal.
#![cfg(feature = "sign")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use std::collections::BTreeSet;
use std::time::Duration;

use agent_primitives::{Monotonic, Timestamp};
use agent_tool_registry::replicate::{
    Exchange, Item, Journal, KEPT_AFTER, MAX_ITEM_BYTES, MUTED, PEER_INVALID, PEER_ITEMS, PEER_QUESTIONS,
    Publishers, Replica, Report, Revocation, SignedRecord, SigningKey, Standing, TrustError, WINDOW,
    memory::Network,
};
use agent_tool_registry::{Registry, ToolContract};
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

const DAY: i64 = 86_400_000_000;
const NOW: Timestamp = Timestamp::from_micros(1000 * DAY);
const LATER: Timestamp = Timestamp::from_micros(1100 * DAY);

fn contract(id: &str, version: &str, description: &str) -> ToolContract {
    let mut tools = Registry::builder();
    let tool = tools.tool(id).version(version).description(description);
    tool.run_raw(json!({"type": "object"}), |_cx, arguments| async move { Ok(arguments) }).unwrap();
    let tools = tools.build();
    ToolContract::clone(&tools.get(&id.parse().unwrap()).unwrap())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn record(contract: &ToolContract, seed: u8, epoch: u64) -> SignedRecord {
    SignedRecord::sign(contract, &key(seed), epoch, LATER).unwrap()
}

/// Trusts keys 1 to 4 with `com.example`, and key 5 with `org.other`.
fn publishers() -> Publishers {
    let mut publishers = Publishers::default();
    for seed in 1..=4 {
        publishers.trust(key(seed).public(), ["com.example"]).unwrap();
    }
    publishers.trust(key(5).public(), ["org.other"]).unwrap();
    publishers
}

fn replica() -> Replica {
    Replica::new(publishers())
}

fn at(seconds: u64) -> (Timestamp, Monotonic) {
    (NOW, Monotonic::from_nanos(seconds * 1_000_000_000))
}

/// What a replica shows: the bytes of all its items.
fn shown(replica: &Replica) -> BTreeSet<Bytes> {
    replica.encoded().cloned().collect()
}

/// Hands encoded items over as a peer would.
fn send(replica: &mut Replica, exchange: &mut Exchange, peer: &str, items: &[Bytes], seconds: u64) -> Report {
    let message = items_message(items);
    exchange.handle(replica, peer, &message, at(seconds)).unwrap().1
}

/// The wire form of a batch: the fourth kind of message, a list of byte strings.
fn items_message(items: &[Bytes]) -> Vec<u8> {
    let mut message = vec![3];
    let varint = |mut value: usize, into: &mut Vec<u8>| loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        into.push(if value == 0 { low } else { low | 0x80 });
        if value == 0 {
            break;
        }
    };
    varint(items.len(), &mut message);
    for item in items {
        varint(item.len(), &mut message);
        message.extend_from_slice(item);
    }
    message
}

#[test]
fn t15_a_tool_that_nobody_signed_is_not_trusted() {
    let error = replica().require(&contract("com.example/a", "1.0.0", "A."), NOW).unwrap_err();
    assert_eq!((error.code(), error.is_violation()), ("AK0600", false));
    assert!(matches!(error, TrustError::UntrustedPublisher { .. }));
}

#[test]
fn t16_a_signature_over_another_digest_is_a_violation() {
    let (mine, other) = (contract("com.example/a", "1.0.0", "A."), contract("com.example/a", "1.0.0", "B."));
    let genuine = Item::from(record(&mine, 1, 1)).encode().unwrap();
    let swapped = String::from_utf8_lossy(&genuine).contains("\"A.\"");
    assert!(swapped);
    let place = genuine.windows(4).position(|bytes| bytes == b"\"A.\"").unwrap();
    let mut forged = genuine.clone();
    forged[place + 1] = b'B';
    let error = Item::decode(&forged).unwrap_err();
    assert!(
        matches!(error, TrustError::SignatureInvalid) && error.is_violation() && error.code() == "AK0601"
    );
    let mut replica = replica();
    replica.publish(Item::decode(&genuine).unwrap(), NOW).unwrap();
    assert!(replica.require(&mine, NOW).is_ok());
    assert!(replica.require(&other, NOW).is_err());
}

#[test]
fn t17_a_publisher_signs_for_its_namespaces_only() {
    let mut replica = replica();
    for (id, seed) in
        [("com.example/a", 5), ("com.example.sub/a", 1), ("com.exampl/a", 1), ("a", 1), ("com.example/a", 9)]
    {
        let error = replica.publish(record(&contract(id, "1.0.0", "A."), seed, 1).into(), NOW).unwrap_err();
        assert!(matches!(error, TrustError::UntrustedPublisher { .. }), "{id} {seed}");
    }
    assert!(replica.is_empty());
}

#[test]
fn t38_what_has_expired_is_counted_and_not_served() {
    let contract = contract("com.example/a", "1.0.0", "A.");
    let past = SignedRecord::sign(&contract, &key(1), 1, Timestamp::from_micros(999 * DAY)).unwrap();
    let (mut replica, mut exchange) = (replica(), Exchange::new());
    let bytes = Bytes::from(Item::from(past).encode().unwrap());
    let report = send(&mut replica, &mut exchange, "peer", &[bytes], 0);
    assert_eq!((report.expired, report.accepted.len()), (1, 0));
    replica.publish(record(&contract, 1, 2).into(), NOW).unwrap();
    assert!(replica.require(&contract, LATER).is_ok());
    let after = Timestamp::from_micros(LATER.as_micros() + 1);
    assert_eq!(replica.standing(&contract, after), Standing::Expired);
}

#[test]
fn one_flipped_bit_anywhere_is_never_another_valid_item() {
    let record = record(&contract("com.example/a", "1.0.0", "A."), 1, 3);
    let revocation = Revocation::sign(&record, &key(1), 4).unwrap();
    for item in [Item::from(record), Item::from(revocation)] {
        let bytes = item.encode().unwrap();
        assert_eq!(Item::decode(&bytes).unwrap(), item);
        for at in 0..bytes.len() {
            // One bit of each byte: a signature is checked for each.
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(Item::decode(&changed).is_err(), "byte {at}");
        }
    }
}

#[test]
fn it_takes_as_many_keys_as_the_namespace_asks_for() {
    let contract = contract("com.example/a", "1.0.0", "A.");
    let mut publishers = publishers();
    publishers.require("com.example", 2).unwrap();
    let mut replica = Replica::new(publishers);
    replica.publish(record(&contract, 1, 1).into(), NOW).unwrap();
    assert_eq!(replica.standing(&contract, NOW), Standing::TooFew { have: 1, need: 2 });
    replica.publish(record(&contract, 1, 2).into(), NOW).unwrap();
    assert_eq!(replica.standing(&contract, NOW), Standing::TooFew { have: 1, need: 2 });
    replica.publish(record(&contract, 2, 1).into(), NOW).unwrap();
    assert!(
        matches!(replica.standing(&contract, NOW), Standing::Trusted { publishers } if publishers.len() == 2)
    );
}

#[test]
fn a_revoked_key_is_believed_in_nothing() {
    let contract = contract("com.example/a", "1.0.0", "A.");
    let mut publishers = publishers();
    publishers.revoke(key(1).public());
    let mut replica = Replica::new(publishers);
    assert!(replica.publish(record(&contract, 1, 1).into(), NOW).is_err());
}

#[test]
fn a_revocation_wins_in_any_order_and_there_is_no_way_back() {
    let contract = contract("com.example/a", "1.0.0", "A.");
    let (first, revived) = (record(&contract, 1, 1), record(&contract, 1, 9));
    let revocation = Revocation::sign(&first, &key(1), 5).unwrap();
    let items = [Item::from(first), Item::from(revocation), Item::from(revived)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut replica = replica();
        for index in order {
            let _ = replica.publish(items[index].clone(), NOW);
        }
        assert_eq!(replica.standing(&contract, NOW), Standing::Revoked, "{order:?}");
    }
}

#[test]
fn records_of_a_lower_epoch_than_a_revocation_stay_revoked() {
    let (old, new) = (contract("com.example/a", "1.0.0", "A."), contract("com.example/a", "2.0.0", "B."));
    let mut replica = replica();
    let target = record(&new, 1, 5);
    replica.publish(Revocation::sign(&target, &key(1), 6).unwrap().into(), NOW).unwrap();
    replica.publish(record(&old, 1, 4).into(), NOW).unwrap();
    assert_eq!(replica.standing(&old, NOW), Standing::Revoked);
    // Signed again after the revocation, with full knowledge of it.
    replica.publish(record(&old, 1, 7).into(), NOW).unwrap();
    assert!(replica.require(&old, NOW).is_ok());
    // Another publisher's records of lower epochs are its own business.
    let theirs = contract("com.example/a", "3.0.0", "C.");
    replica.publish(record(&theirs, 2, 1).into(), NOW).unwrap();
    assert!(replica.require(&theirs, NOW).is_ok());
}

#[test]
fn a_revocation_is_kept_ninety_days_beyond_its_target() {
    let contract = contract("com.example/a", "1.0.0", "A.");
    let target = record(&contract, 1, 1);
    let mut replica = replica();
    replica.publish(target.clone().into(), NOW).unwrap();
    replica.publish(Revocation::sign(&target, &key(1), 2).unwrap().into(), NOW).unwrap();
    let kept = i64::try_from(KEPT_AFTER.as_micros()).unwrap();
    let end = LATER.as_micros() + kept;
    assert_eq!(replica.prune(Timestamp::from_micros(end)), 1);
    assert_eq!(replica.len(), 1);
    assert_eq!(replica.prune(Timestamp::from_micros(end + 1)), 1);
    assert!(replica.is_empty());
}

#[test]
fn two_contracts_as_one_version_condemn_both_with_both_signatures() {
    let (one, two) = (contract("com.example/a", "1.0.0", "A."), contract("com.example/a", "1.0.0", "B."));
    let (mut replica, mut exchange) = (replica(), Exchange::new());
    let items =
        [&one, &two].map(|contract| Bytes::from(Item::from(record(contract, 1, 1)).encode().unwrap()));
    let report = send(&mut replica, &mut exchange, "peer", &items, 0);
    assert_eq!(report.equivocations.len(), 1);
    let digests: BTreeSet<_> =
        [&report.equivocations[0].first, &report.equivocations[0].second].map(SignedRecord::digest).into();
    assert_eq!(digests, BTreeSet::from([one.digest(), two.digest()]));
    for contract in [&one, &two] {
        let error = replica.require(contract, NOW).unwrap_err();
        assert!(matches!(error, TrustError::Equivocation { .. }) && error.is_violation());
    }
    // Another publisher's word for one of them does not save it.
    replica.publish(record(&one, 2, 1).into(), NOW).unwrap();
    assert!(replica.require(&one, NOW).is_err());
    // Nor does time: expired, they are still evidence.
    assert_eq!(replica.prune(Timestamp::from_micros(LATER.as_micros() + 1)), 1);
}

/// Signed items of every kind, valid or not, for the laws.
fn pool() -> Vec<Bytes> {
    let mut items = Vec::new();
    let contracts = [
        contract("com.example/a", "1.0.0", "A."),
        contract("com.example/a", "1.0.0", "B."),
        contract("com.example/b", "1.0.0", "C."),
    ];
    for contract in &contracts {
        for (seed, epoch) in [(1, 1), (1, 2), (2, 1), (9, 1)] {
            let signed = record(contract, seed, epoch);
            items.push(Item::from(signed.clone()).encode().unwrap());
            if epoch == 1 {
                items.push(Item::from(Revocation::sign(&signed, &key(seed), 2).unwrap()).encode().unwrap());
            }
        }
    }
    let mut broken = items[0].clone();
    broken[20] ^= 1;
    items.extend([broken, Vec::new(), vec![0; 40], vec![0xff; 64]]);
    items.into_iter().map(Bytes::from).collect()
}

fn filled(items: &[Bytes]) -> Replica {
    let (mut replica, mut exchange) = (replica(), Exchange::new());
    send(&mut replica, &mut exchange, "peer", items, 0);
    replica
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn taking_items_in_is_commutative_associative_and_idempotent(
        picks in prop::collection::vec(0usize..25, 1..16),
        cut in 0usize..16,
        seed in any::<u64>(),
    ) {
        let pool = pool();
        let items: Vec<Bytes> = picks.iter().map(|pick| pool[pick % pool.len()].clone()).collect();
        let whole = filled(&items);
        let mut shuffled = items.clone();
        let mut state = seed | 1;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(index, usize::try_from(state >> 33).unwrap() % (index + 1));
        }
        prop_assert_eq!(shown(&whole), shown(&filled(&shuffled)));
        // Two halves, merged into each other in both directions, and again.
        let (left, right) = items.split_at(cut.min(items.len()));
        let (left, right) = (filled(left), filled(right));
        let merge = |into: &Replica, other: &Replica| {
            let mut all: Vec<Bytes> = into.encoded().cloned().collect();
            all.extend(other.encoded().cloned());
            filled(&all)
        };
        prop_assert_eq!(shown(&whole), shown(&merge(&left, &right)));
        prop_assert_eq!(shown(&whole), shown(&merge(&right, &left)));
        prop_assert_eq!(shown(&whole), shown(&merge(&whole, &whole)));
    }

    #[test]
    fn no_message_of_a_peer_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..512), kind in 0u8..5) {
        let (mut replica, mut exchange) = (replica(), Exchange::new());
        let mut message = vec![kind];
        message.extend(bytes);
        let _ = exchange.handle(&mut replica, "peer", &message, at(0));
        prop_assert!(replica.is_empty());
    }
}

struct Node {
    name: String,
    replica: Replica,
    exchange: Exchange,
}

/// Lets every message in flight arrive, `lost` in a hundred of them not.
fn settle(nodes: &mut [Node], network: &mut Network, lost: u64, random: &mut u64, seconds: u64) -> usize {
    let mut bytes = 0;
    loop {
        let mut quiet = true;
        for node in nodes.iter_mut() {
            while let Some((from, message)) = network.receive(&node.name) {
                quiet = false;
                let answers = node.exchange.handle(&mut node.replica, &from, &message, at(seconds));
                for answer in answers.unwrap().0 {
                    bytes += answer.len();
                    if next(random) % 100 >= lost {
                        network.send(&node.name, &from, answer);
                    }
                }
            }
        }
        if quiet {
            return bytes;
        }
    }
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

#[test]
fn sixteen_nodes_converge_through_loss_after_a_partition() {
    let mut network = Network::new();
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let mut nodes: Vec<Node> = (0..16)
        .map(|index| Node { name: format!("n{index}"), replica: replica(), exchange: Exchange::new() })
        .collect();
    for (index, node) in nodes.iter_mut().enumerate() {
        network.join(&node.name);
        let id = format!("com.example/tool{index}");
        let seed = u8::try_from(index % 4 + 1).unwrap();
        node.replica.publish(record(&contract(&id, "1.0.0", "A."), seed, 1).into(), NOW).unwrap();
    }
    let equal = |nodes: &[Node]| nodes.iter().all(|node| shown(&node.replica) == shown(&nodes[0].replica));
    let mut round = |nodes: &mut Vec<Node>, parts: usize, round: u64| {
        for index in 0..16 {
            let size = 16 / parts;
            let peer = index / size * size + usize::try_from(next(&mut random)).unwrap() % size;
            let summary = nodes[index].exchange.summary(&nodes[index].replica, round * 100 + 7).unwrap();
            if next(&mut random) % 100 >= 30 {
                network.send(&nodes[index].name, &nodes[peer].name.clone(), summary);
            }
        }
        settle(nodes, &mut network, 30, &mut random, round * 61);
    };
    for number in 0..20 {
        round(&mut nodes, 2, number);
    }
    assert!(!equal(&nodes), "the halves cannot know of each other");
    let healed = (20..50).find(|number| {
        round(&mut nodes, 1, *number);
        equal(&nodes)
    });
    assert!(healed.is_some(), "not equal 30 rounds after the partition is healed");
    assert_eq!(nodes[0].replica.len(), 16);
}

/// Two replicas with `shared` records in common and five each of their own; answers the bytes that one round moves.
fn bytes_of_a_round(shared: u64) -> usize {
    let contract = contract("com.example/a", "1.0.0", "A.");
    let mut nodes: Vec<Node> = ["a", "b"]
        .map(|name| Node { name: name.to_owned(), replica: replica(), exchange: Exchange::new() })
        .into();
    // Many revocations of one contract: cheap to make, and as many items as records would be.
    let target = record(&contract, 1, 1);
    for epoch in 0..shared + 10 {
        let item = Item::from(Revocation::sign(&target, &key(1), epoch).unwrap());
        for (index, node) in nodes.iter_mut().enumerate() {
            let own = shared + 5 * u64::try_from(index).unwrap();
            if epoch < shared || (own..own + 5).contains(&epoch) {
                node.replica.publish(item.clone(), NOW).unwrap();
            }
        }
    }
    let mut network = Network::new();
    nodes.iter().for_each(|node| network.join(&node.name));
    let summary = nodes[0].exchange.summary(&nodes[0].replica, 1).unwrap();
    let mut bytes = summary.len();
    network.send("a", "b", summary);
    bytes += settle(&mut nodes, &mut network, 0, &mut 1, 0);
    assert_eq!(shown(&nodes[0].replica), shown(&nodes[1].replica));
    bytes
}

#[test]
fn a_round_moves_little_more_than_what_differs() {
    let bytes = bytes_of_a_round(10_000);
    assert!(bytes < 20 * 1024, "{bytes} bytes");
}

#[test]
fn junk_mutes_a_peer_and_an_honest_one_is_still_heard() {
    let (mut replica, mut exchange) = (replica(), Exchange::new());
    let junk: Vec<Bytes> = (0..1000u32).map(|n| Bytes::from(n.to_le_bytes().to_vec())).collect();
    let report = send(&mut replica, &mut exchange, "evil", &junk, 0);
    assert_eq!((report.invalid, report.deferred), (PEER_INVALID, 1000 - PEER_INVALID));
    let muted = exchange.handle(&mut replica, "evil", &items_message(&junk), at(1)).unwrap_err();
    assert_eq!(muted.code(), "AK0608");
    let honest =
        Bytes::from(Item::from(record(&contract("com.example/a", "1.0.0", "A."), 1, 1)).encode().unwrap());
    let report = send(&mut replica, &mut exchange, "honest", std::slice::from_ref(&honest), 1);
    assert_eq!(report.accepted, vec![honest]);
    let seconds = MUTED.as_secs() + 1;
    assert_eq!(send(&mut replica, &mut exchange, "evil", &junk[..1], seconds).invalid, 1);
}

#[test]
fn a_peer_that_sends_too_much_is_heard_again_in_the_next_window() {
    let (mut replica, mut exchange) = (replica(), Exchange::new());
    let known =
        Bytes::from(Item::from(record(&contract("com.example/a", "1.0.0", "A."), 1, 1)).encode().unwrap());
    let many = vec![known; 2000];
    let mut looked_at = 0;
    for _ in 0..6 {
        let report = send(&mut replica, &mut exchange, "busy", &many, 0);
        looked_at += report.known + report.accepted.len();
    }
    assert_eq!(looked_at, PEER_ITEMS);
    let later = Duration::from_secs(WINDOW.as_secs());
    let report = send(&mut replica, &mut exchange, "busy", &many[..1], later.as_secs());
    assert_eq!(report.known, 1);
}

#[test]
fn an_item_has_a_largest_size() {
    let error = Item::decode(&vec![0; MAX_ITEM_BYTES + 1]).unwrap_err();
    assert_eq!(error.code(), "AK0606");
}

#[test]
fn namespaces_that_are_none_are_refused() {
    let mut publishers = Publishers::default();
    for name in ["", "a/b", "A", "a b", "-a"] {
        assert_eq!(publishers.trust(key(1).public(), [name]).unwrap_err().code(), "AK0609", "{name:?}");
    }
}

fn three() -> Vec<Bytes> {
    (0..3)
        .map(|index| contract(&format!("com.example/t{index}"), "1.0.0", "A."))
        .map(|contract| Bytes::from(Item::from(record(&contract, 1, 1)).encode().unwrap()))
        .collect()
}

#[test]
fn a_journal_gives_back_what_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replica.journal");
    let (mut journal, recovery) = Journal::open(&path, &mut replica(), NOW).unwrap();
    assert_eq!(recovery.entries, 0);
    journal.append(&three()).unwrap();
    let mut again = replica();
    let (mut journal, recovery) = Journal::open(&path, &mut again, NOW).unwrap();
    assert_eq!((recovery.entries, recovery.skipped.len(), recovery.cut), (3, 0, 0));
    assert_eq!(shown(&again), three().into_iter().collect());
    // A record that is replaced is gone after compaction.
    let newer = record(&contract("com.example/t0", "1.0.0", "A."), 1, 2);
    journal.append(&[again.publish(newer.into(), NOW).unwrap()]).unwrap();
    journal.compact(&again).unwrap();
    let mut compacted = replica();
    let (_, recovery) = Journal::open(&path, &mut compacted, NOW).unwrap();
    assert_eq!(recovery.entries, 3);
    assert_eq!(shown(&compacted), shown(&again));
}

#[test]
fn a_journal_survives_every_cut_and_every_flipped_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replica.journal");
    let items = three();
    Journal::open(&path, &mut replica(), NOW).unwrap().0.append(&items).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let ends: Vec<usize> = items
        .iter()
        .scan(0, |end, item| {
            *end += 40 + item.len();
            Some(*end)
        })
        .collect();
    // The marks, lengths, hashes and a few bytes of the middle entry, and every cut in it.
    let middle = ends[0]..ends[1];
    for at in middle.clone().filter(|at| *at < ends[0] + 48 || at % 37 == 0) {
        std::fs::write(&path, &bytes[..at]).unwrap();
        let (_, recovery) = Journal::open(&path, &mut replica(), NOW).unwrap();
        assert_eq!(recovery.entries, 1, "cut at {at}");
        assert_eq!(recovery.cut, u64::try_from(at - ends[0]).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), u64::try_from(ends[0]).unwrap());
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x55;
        std::fs::write(&path, &flipped).unwrap();
        let mut left = replica();
        let (_, recovery) = Journal::open(&path, &mut left, NOW).unwrap();
        assert_eq!(recovery.skipped, vec![u64::try_from(ends[0]).unwrap()], "flipped at {at}");
        assert_eq!(shown(&left), [items[0].clone(), items[2].clone()].into());
    }
}

#[test]
fn build_metadata_does_not_hide_that_a_version_was_signed_twice() {
    let (one, two) = (contract("com.example/a", "1.0.0+x", "A."), contract("com.example/a", "1.0.0+y", "B."));
    let mut replica = replica();
    replica.publish(record(&one, 1, 1).into(), NOW).unwrap();
    assert!(replica.require(&one, NOW).is_ok());
    replica.publish(record(&two, 1, 1).into(), NOW).unwrap();
    for contract in [&one, &two] {
        assert!(matches!(replica.require(contract, NOW), Err(TrustError::Equivocation { .. })));
    }
}

#[test]
fn a_record_of_before_a_forgotten_revocation_stays_revoked() {
    let (old, new) = (contract("com.example/a", "1.0.0", "A."), contract("com.example/a", "2.0.0", "B."));
    let mut replica = replica();
    let target = record(&new, 1, 5);
    replica.publish(Revocation::sign(&target, &key(1), 6).unwrap().into(), NOW).unwrap();
    let kept = i64::try_from(KEPT_AFTER.as_micros()).unwrap();
    let then = Timestamp::from_micros(LATER.as_micros() + kept + 1);
    assert_eq!((replica.prune(then), replica.len()), (1, 0));
    // Signed long ago for a long time, and held back until the revocation was forgotten.
    let until = Timestamp::from_micros(then.as_micros() + 1_000_000);
    replica.publish(SignedRecord::sign(&old, &key(1), 4, until).unwrap().into(), then).unwrap();
    assert_eq!(replica.standing(&old, then), Standing::Revoked);
    replica.publish(SignedRecord::sign(&old, &key(1), 7, until).unwrap().into(), then).unwrap();
    assert!(replica.require(&old, then).is_ok());
}

#[test]
fn a_peer_that_only_asks_is_answered_so_often_and_no_more() {
    let mut replica = replica();
    replica.publish(record(&contract("com.example/a", "1.0.0", "A."), 1, 1).into(), NOW).unwrap();
    let empty = Exchange::new().summary(&Replica::default(), 7).unwrap();
    let mut exchange = Exchange::new();
    let mut ask = |peer: &str, seconds| exchange.handle(&mut replica, peer, &empty, at(seconds)).unwrap();
    for _ in 0..PEER_QUESTIONS {
        assert_eq!(ask("peer", 0).0.len(), 1);
    }
    let (answers, report) = ask("peer", 0);
    assert_eq!((answers.len(), report.deferred), (0, 1));
    assert_eq!(ask("other", 0).0.len(), 1);
    assert_eq!(ask("peer", 61).0.len(), 1);
}
