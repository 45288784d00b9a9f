use std::cell::Cell;
use std::collections::BTreeSet;

use agent_primitives::search::{Bm25, Parameters};
use agent_primitives::{FailureType, Timestamp};
use proptest::prelude::*;

use super::index::Index;
use super::lexical::{Lexical, Scratch};
use super::mask::Mask;
use super::vectors::Vectors;
use super::{Filter, RecallError, SourceTrust, mmr, rrf};
use crate::episode::{Episode, Failure};
use crate::memory::Found;

type Document = (u32, Vec<String>);

fn index(documents: &[Document]) -> Lexical {
    let named: Vec<(String, Vec<String>)> =
        documents.iter().map(|(session, tokens)| (session.to_string(), tokens.clone())).collect();
    super::indexed(&named)
}

fn search(index: &Lexical, query: &[String], k: usize, mask: &Mask) -> Vec<(u32, f64)> {
    let hits = index.search(query, k, mask, &mut Scratch::default());
    hits.into_iter().map(|(document, score)| (document, score.total)).collect()
}

/// The same by the book: every document and every session scored by BM25 on its own.
fn by_the_book(documents: &[Document], query: &[String]) -> Vec<f64> {
    let scored = |texts: &[Vec<String>]| -> Vec<f64> {
        let mean = texts.iter().map(Vec::len).sum::<usize>() as f64 / texts.len().max(1) as f64;
        let score = |text: &Vec<String>| -> f64 {
            let of_word = |word: &String| {
                let holders = texts.iter().filter(|text| text.contains(word)).count() as f64;
                let idf = (1.0 + (texts.len() as f64 - holders + 0.5) / (holders + 0.5)).ln();
                let tf = text.iter().filter(|token| *token == word).count() as f64;
                idf * tf * 1.9 / (tf + 0.9 * (0.6 + 0.4 * text.len() as f64 / mean.max(f64::MIN_POSITIVE)))
            };
            query.iter().map(of_word).sum()
        };
        texts.iter().map(score).collect()
    };
    let texts: Vec<Vec<String>> = documents.iter().map(|(_, text)| text.clone()).collect();
    let own = scored(&texts);
    let sessions: Vec<u32> =
        documents.iter().map(|(session, _)| *session).collect::<BTreeSet<_>>().into_iter().collect();
    let of = |session: u32| (0..documents.len()).filter(move |place| documents[*place].0 == session);
    let join = |session: &u32| of(*session).flat_map(|place| texts[place].clone()).collect::<Vec<_>>();
    let by_session = scored(&sessions.iter().map(join).collect::<Vec<_>>());
    let smoothed: Vec<f64> = (0..documents.len())
        .map(|place| {
            let members: Vec<usize> = of(documents[place].0).collect();
            let at = members.iter().position(|member| *member == place).unwrap();
            let before = at.checked_sub(1).map_or(0.0, |at| own[members[at]]);
            let after = members.get(at + 1).map_or(0.0, |after| own[*after]);
            own[place] + 0.4 * before + 0.2 * after
        })
        .collect();
    let most = |scores: &[f64]| scores.iter().copied().fold(0.0, f64::max);
    let share = |part: f64, most: f64| if most == 0.0 { 0.0 } else { part / most };
    (0..documents.len())
        .map(|place| {
            let session = sessions.binary_search(&documents[place].0).unwrap();
            share(smoothed[place], most(&smoothed)) + 0.8 * share(by_session[session], most(&by_session))
        })
        .collect()
}

fn documents() -> impl Strategy<Value = Vec<Document>> {
    prop::collection::vec((0u32..5, prop::collection::vec("[a-e]", 0..8)), 1..30)
}

proptest! {
    #[test]
    fn every_score_is_by_the_book(
        documents in documents(),
        query in prop::collection::vec("[a-f]", 0..6),
        seed in prop::collection::vec(any::<bool>(), 30),
        k in 1usize..40,
        filtered: bool,
    ) {
        let passes: Vec<bool> = (0..documents.len()).map(|place| !filtered || seed[place]).collect();
        let mask = if filtered { Mask::of(passes.iter().copied()) } else { Mask::All };
        let found = search(&index(&documents), &query, k, &mask);
        // What is left out is as if it were not there.
        let shown: Vec<usize> = (0..documents.len()).filter(|place| passes[*place]).collect();
        let alone: Vec<Document> = shown.iter().map(|place| documents[*place].clone()).collect();
        let mut expected = vec![0.0; documents.len()];
        for (place, score) in shown.iter().zip(by_the_book(&alone, &query)) {
            expected[*place] = score;
        }
        let worst = found.last().map_or(0.0, |(_, score)| *score);
        prop_assert_eq!(found.len(), k.min(expected.iter().filter(|score| 0.0 < **score).count()));
        prop_assert!(found.is_sorted_by(|a, b| b.1 < a.1 || a.1 == b.1 && a.0 < b.0));
        for (document, score) in &found {
            prop_assert!((score - expected[*document as usize]).abs() < 1e-9, "{document}: {score}");
        }
        let left_out = (0u32..).zip(&expected).filter(|(document, _)| found.iter().all(|(held, _)| held != document));
        for (document, score) in left_out {
            prop_assert!(*score <= worst + 1e-9 || found.len() < k && *score == 0.0, "{document} is better");
        }
    }

    #[test]
    fn scores_of_single_documents_are_those_of_bm25(documents in documents(), query in prop::collection::vec("[a-f]", 0..6)) {
        let mut plain = Bm25::new(Parameters::DEFAULT).unwrap();
        for (_, tokens) in &documents {
            plain.push(tokens).unwrap();
        }
        let expected = plain.scores(&query);
        let hits = index(&documents).search(&query, 100, &Mask::All, &mut Scratch::default());
        for (document, score) in hits {
            prop_assert!((score.own - expected[document as usize]).abs() < 1e-9);
        }
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_but_its_place(
        documents in documents(),
        query in prop::collection::vec("[a-f]", 1..6),
        which: prop::sample::Index,
    ) {
        let gone = which.index(documents.len());
        // A session of its own keeps the one before and the one after from being neighbours in the copy.
        let alone: Vec<Document> =
            documents.iter().enumerate().map(|(place, (_, tokens))| (place as u32, tokens.clone())).collect();
        let mut rest = alone.clone();
        rest.remove(gone);
        let mut forgetful = index(&alone);
        forgetful.forget(gone as u32);
        let back = |(document, score): (u32, f64)| (document - u32::from(gone < document as usize), score);
        let found: Vec<(u32, f64)> =
            search(&forgetful, &query, 100, &Mask::All).into_iter().map(back).collect();
        prop_assert_eq!(found, search(&index(&rest), &query, 100, &Mask::All));
    }

    #[test]
    fn one_buffer_serves_one_search_after_another(
        documents in documents(),
        more in documents(),
        queries in prop::collection::vec(prop::collection::vec("[a-f]", 1..4), 2..5),
    ) {
        let (one, other) = (index(&documents), index(&more));
        let mut scratch = Scratch::default();
        for query in &queries {
            for index in [&one, &other] {
                let fresh = index.search(query, 5, &Mask::All, &mut Scratch::default());
                prop_assert_eq!(index.search(query, 5, &Mask::All, &mut scratch), fresh);
            }
        }
    }

    #[test]
    fn the_nearest_are_those_of_an_exact_sort(
        vectors in prop::collection::vec(prop::array::uniform5(-3i8..=3), 1..80),
        asked in prop::array::uniform5(-3i8..=3),
        k in 1usize..20,
    ) {
        let vector = |parts: &[i8; 5]| parts.map(f32::from).to_vec();
        prop_assume!(asked.iter().any(|part| *part != 0));
        let vectors: Vec<Vec<f32>> =
            vectors.iter().filter(|parts| parts.iter().any(|part| *part != 0)).map(vector).collect();
        let found = super::nearest(&vectors, &vector(&asked), k).unwrap();
        let exact = agent_primitives::search::nearest(vectors.iter().map(Vec::as_slice), &vector(&asked), k).unwrap();
        prop_assert_eq!(found.len(), exact.len());
        for ((_, score), exact) in found.iter().zip(&exact) {
            prop_assert!((score - exact.score).abs() < 1e-6);
        }
    }

    #[test]
    fn a_list_fused_with_itself_keeps_its_order(list in prop::collection::hash_set(0u64..100, 0..30)) {
        let list: Vec<u64> = list.into_iter().collect();
        let fused: Vec<u64> = rrf(&[&list, &list], 60.0).into_iter().map(|(number, _)| number).collect();
        prop_assert_eq!(fused, list);
    }

    #[test]
    fn without_a_wish_for_novelty_the_relevant_come_first(relevance in prop::collection::vec(0.0f64..1.0, 0..30)) {
        let chosen = mmr(&relevance, 100, 1.0, |_, _| 1.0);
        prop_assert_eq!(chosen.len(), relevance.len());
        prop_assert!(chosen.is_sorted_by(|a, b| relevance[*b] <= relevance[*a]));
    }
}

/// An agent that fails in a new way each time does not make every advice read all of its failures.
#[test]
fn advice_reads_no_more_than_it_shows() {
    let mut index = Index::new(SourceTrust::DEFAULT);
    let mut held = Vec::new();
    for number in 0..200u8 {
        let reason: String = [number / 14, number % 14].map(|part| char::from(b'g' + part)).iter().collect();
        let failure = Failure { kind: FailureType::Timeout, reason: format!("the {reason}{reason} is down") };
        let time = Timestamp::from_micros(i64::from(number));
        let episode =
            Episode::builder("a".parse().unwrap(), time).goal("deploy").action("run").failure(failure);
        held.push(Found::Episode(Box::new(episode.build().unwrap())));
        index.add(u64::from(number), held.last().unwrap()).unwrap();
    }
    let reads = Cell::new(0);
    let fetch = |seq: u64| {
        reads.set(reads.get() + 1);
        Ok(held.get(seq as usize).cloned())
    };
    let advice = index.advise("deploy", "run", &Filter::default(), &fetch).unwrap();
    assert_eq!((advice.odds.failures, advice.patterns.len(), reads.get()), (200, 16, 16));
    assert_eq!(advice.patterns[0].evidence, [199], "of equals the newest comes first");
}

#[test]
fn vectors_that_do_not_fit_are_refused() {
    let mut held = Vectors::default();
    let code = |result: Result<(), RecallError>| result.unwrap_err().code();
    assert_eq!(code(held.insert(0, "m", &[0.0, 0.0])), "AK0735");
    held.insert(0, "m", &[1.0, 0.0]).unwrap();
    assert_eq!(code(held.insert(1, "m", &[1.0])), "AK0734");
    assert_eq!(code(held.insert(1, "m", &[f32::NAN, 0.0])), "AK0736");
    assert_eq!(code(held.insert(1, "m", &[f32::INFINITY, 0.0])), "AK0736");
    assert_eq!(code(held.insert(1, "other", &[1.0, 0.0])), "AK0737");
    assert_eq!(code(held.search(&[0.0, 0.0], 1, &Mask::All).map(drop)), "AK0735");
    // Neither the largest nor the smallest numbers lose their direction.
    held.insert(1, "m", &[f32::MAX, f32::MAX]).unwrap();
    held.insert(2, "m", &[f32::from_bits(1), 0.0]).unwrap();
    let found = held.search(&[f32::MAX, 0.0], 3, &Mask::All).unwrap();
    assert_eq!(found.iter().map(|(document, _)| *document).collect::<Vec<_>>(), [0, 2, 1]);
}

#[test]
fn a_vector_may_be_set_anew_and_forgotten() {
    let mut held = Vectors::default();
    for document in 0..3000 {
        held.insert(document, "m", &[1.0, document as f32]).unwrap();
    }
    held.insert(2000, "m", &[1.0, 0.0]).unwrap();
    held.forget(0);
    let found = held.search(&[1.0, 0.0], 2, &Mask::All).unwrap();
    assert_eq!(found.iter().map(|(document, _)| *document).collect::<Vec<_>>(), [2000, 1]);
    assert_eq!((held.len(), held.contains(0)), (2999, false));
    let mask = Mask::of((0..3000).map(|document| document == 7));
    assert_eq!(held.search(&[1.0, 0.0], 2, &mask).unwrap().len(), 1);
}
