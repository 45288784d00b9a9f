//! What every store of vectors keeps to.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::index::fixture::wait;

/// Stores in this process.
fn local() -> Vec<Box<dyn VectorStore>> {
    let stores: Vec<Box<dyn VectorStore>> = vec![
        Box::new(ExactVectors::new()),
        #[cfg(feature = "hnsw")]
        Box::new(HnswVectors::default()),
    ];
    bound(stores)
}

/// Stores in a server.
fn remote() -> Vec<Box<dyn VectorStore>> {
    let stores: Vec<Box<dyn VectorStore>> = vec![
        #[cfg(all(feature = "chroma", unix))]
        Box::new(chroma::tests::store()),
    ];
    bound(stores)
}

fn bound(stores: Vec<Box<dyn VectorStore>>) -> Vec<Box<dyn VectorStore>> {
    for store in &stores {
        wait(store.bind("model", 3)).unwrap();
    }
    stores
}

fn stores() -> impl Iterator<Item = Box<dyn VectorStore>> {
    local().into_iter().chain(remote())
}

fn id(name: &str) -> DocumentId {
    name.parse().unwrap()
}

fn put(store: &dyn VectorStore, document: &str, vectors: &[(u128, [f32; 3])]) -> Result<(), VectorError> {
    let new = vectors.iter().map(|(chunk, vector)| (ChunkId(*chunk), vector.to_vec())).collect();
    wait(store.replace(&id(document), DocumentVectors { kept: Vec::new(), new }))
}

fn nearest(store: &dyn VectorStore, query: [f32; 3], k: usize) -> Vec<(u128, f64)> {
    let hits = wait(store.search(&query, k, &|_| true)).unwrap();
    hits.into_iter().map(|(chunk, score)| (chunk.0, score)).collect()
}

#[test]
fn the_nearest_come_first_and_ties_by_id() {
    for store in stores() {
        let unit = [1.0, 0.0, 0.0];
        put(&*store, "a", &[(3, [2.0, 0.0, 0.0]), (1, unit), (2, [0.0, 1.0, 0.0]), (4, [-1.0, 0.0, 0.0])])
            .unwrap();
        assert_eq!(nearest(&*store, unit, 4), [(1, 1.0), (3, 1.0), (2, 0.0), (4, -1.0)], "{store:?}");
        assert_eq!(nearest(&*store, unit, 0), []);
        assert_eq!(nearest(&*store, [0.0, 9e30, 0.0], 1), [(2, 1.0)], "no length overflows");
    }
}

#[test]
fn what_is_replaced_or_deleted_is_not_found() {
    for store in stores() {
        let unit = [1.0, 0.0, 0.0];
        put(&*store, "a", &[(1, unit), (2, unit)]).unwrap();
        put(&*store, "b", &[(3, unit)]).unwrap();
        let vectors =
            DocumentVectors { kept: vec![ChunkId(2)], new: vec![(ChunkId(4), vec![0.0, 1.0, 0.0])] };
        wait(store.replace(&id("a"), vectors)).unwrap();
        assert_eq!(nearest(&*store, unit, 9), [(2, 1.0), (3, 1.0), (4, 0.0)], "{store:?}");
        wait(store.delete(&id("a"))).unwrap();
        wait(store.delete(&id("a"))).unwrap();
        assert_eq!(nearest(&*store, unit, 9), [(3, 1.0)]);
        assert_eq!(wait(store.count()).unwrap(), 1);
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    for store in stores() {
        put(&*store, "a", &[(1, [1.0, 0.0, 0.0])]).unwrap();
        let code = |done: Result<(), VectorError>| done.unwrap_err().code();
        for bad in [[0.0; 3], [f32::NAN, 0.0, 0.0], [f32::INFINITY, 0.0, 0.0]] {
            assert_eq!(code(put(&*store, "a", &[(2, [0.0, 1.0, 0.0]), (3, bad)])), "AK0786");
            assert_eq!(wait(store.search(&bad, 1, &|_| true)).unwrap_err().code(), "AK0786");
        }
        let short = DocumentVectors { kept: Vec::new(), new: vec![(ChunkId(2), vec![1.0])] };
        assert_eq!(code(wait(store.replace(&id("a"), short))), "AK0785");
        assert_eq!(code(put(&*store, "b", &[(1, [1.0, 0.0, 0.0])])), "AK0787", "it is another document's");
        let unknown = DocumentVectors { kept: vec![ChunkId(9)], new: Vec::new() };
        assert_eq!(code(wait(store.replace(&id("a"), unknown))), "AK0787");
        assert_eq!(wait(store.bind("other", 3)).unwrap_err().code(), "AK0784");
        assert_eq!(wait(store.bind("model", 4)).unwrap_err().code(), "AK0784");
        assert_eq!(wait(store.search(&[1.0], 1, &|_| true)).unwrap_err().code(), "AK0785");
        assert_eq!(nearest(&*store, [1.0, 0.0, 0.0], 9), [(1, 1.0)], "{store:?}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, Vec<(u8, [i8; 3])>),
    Delete(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let vector = proptest::array::uniform3(-9i8..9).prop_filter("a direction", |vector| *vector != [0; 3]);
    let step = prop_oneof![
        3 => (0u8..4, proptest::collection::vec((0u8..8, vector), 0..6)).prop_map(|(document, vectors)| Step::Put(document, vectors)),
        1 => (0u8..4).prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 0..30)
}

fn is_what_was_put(store: &dyn VectorStore, steps: &[Step], odd: bool) {
    let mut model: std::collections::BTreeMap<u8, Vec<(u128, [f32; 3])>> = Default::default();
    for step in steps {
        match step {
            Step::Put(document, vectors) => {
                let mut seen = BTreeSet::new();
                let own = |(chunk, vector): &(u8, [i8; 3])| {
                    let chunk = u128::from(*chunk) * 4 + u128::from(*document);
                    seen.insert(chunk).then(|| (chunk, vector.map(f32::from)))
                };
                let vectors: Vec<_> = vectors.iter().filter_map(own).collect();
                put(store, &document.to_string(), &vectors).unwrap();
                model.insert(*document, vectors);
            }
            Step::Delete(document) => {
                wait(store.delete(&id(&document.to_string()))).unwrap();
                model.remove(document);
            }
        }
    }
    let all: Vec<_> = model.into_values().flatten().filter(|(chunk, _)| !odd || chunk % 2 == 1).collect();
    let keep = |chunk: ChunkId| !odd || chunk.0 % 2 == 1;
    let hits = wait(store.search(&[1.0, 2.0, 3.0], 1000, &keep)).unwrap();
    assert_eq!(hits.len(), all.len());
    for (chunk, score) in hits {
        let (_, vector) = all.iter().find(|(held, _)| *held == chunk.0).unwrap();
        let dot = vector[0] + 2.0 * vector[1] + 3.0 * vector[2];
        let length = vector.iter().map(|part| part * part).sum::<f32>().sqrt();
        assert!((f64::from(dot / length / 14f32.sqrt()) - score).abs() < 1e-5);
    }
}

proptest! {
    /// Few vectors are compared one by one by every store, so that all of them are exact here.
    #[test]
    fn a_store_is_what_was_put_and_not_deleted(steps in steps(), odd: bool) {
        for store in local() {
            is_what_was_put(&*store, &steps, odd);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    /// As above, fewer times: each step is a request.
    #[test]
    fn a_store_in_a_server_is_what_was_put_and_not_deleted(steps in steps(), odd: bool) {
        for store in remote() {
            is_what_was_put(&*store, &steps, odd);
        }
    }
}

/// Vectors around some centres, as those of texts are.
#[cfg(feature = "hnsw")]
#[test]
fn a_graph_finds_nearly_all_of_the_nearest() {
    use agent_primitives::id_source::unit as draw;
    const DIMENSIONS: usize = 16;
    let ids = agent_primitives::SeededIds::new(5);
    let random = || draw(&ids).unwrap() as f32 - 0.5;
    let centres: Vec<Vec<f32>> = (0..40).map(|_| (0..DIMENSIONS).map(|_| random()).collect()).collect();
    let near = |place: usize| -> Vec<f32> {
        centres[place % centres.len()].iter().map(|part| part + 0.6 * random()).collect()
    };
    let (exact, graph) = (ExactVectors::new(), HnswVectors::default());
    for store in [&exact as &dyn VectorStore, &graph] {
        wait(store.bind("m", DIMENSIONS)).unwrap();
    }
    for document in 0..40 {
        let new: Vec<_> = (0..30).map(|at| (ChunkId(document * 100 + at), near(at as usize))).collect();
        for store in [&exact as &dyn VectorStore, &graph] {
            let vectors = DocumentVectors { kept: Vec::new(), new: new.clone() };
            wait(store.replace(&id(&document.to_string()), vectors)).unwrap();
        }
    }
    for document in 0..25 {
        // So many that the graph is made anew.
        for store in [&exact as &dyn VectorStore, &graph] {
            wait(store.delete(&id(&document.to_string()))).unwrap();
        }
    }
    assert!(format!("{graph:?}").contains("vectors: 450, nodes: "), "{graph:?}");
    let (mut found, mut all) = (0, 0);
    for at in 0..100 {
        let query = near(at);
        let hits = |store: &dyn VectorStore| -> BTreeSet<ChunkId> {
            wait(store.search(&query, 10, &|_| true)).unwrap().into_iter().map(|(chunk, _)| chunk).collect()
        };
        let (expected, got) = (hits(&exact), hits(&graph));
        assert!(got.iter().all(|chunk| chunk.0 >= 2500), "what is deleted is not found");
        found += expected.intersection(&got).count();
        all += expected.len();
    }
    assert!(95 * all <= 100 * found, "{found} of {all}");
    let (query, few) = (near(7), |chunk: ChunkId| chunk.0 % 100 == 7);
    let narrow = |store: &dyn VectorStore| wait(store.search(&query, 10, &few)).unwrap();
    assert_eq!(narrow(&graph), narrow(&exact), "a narrow filter has its ten");
}
