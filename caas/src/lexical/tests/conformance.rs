//! What holds of every index.

use super::texts::{chunk, code, found, hits, id, put, tiered};
use crate::lexical::{Feedback, LexicalDocument, LexicalIndex, LexicalQuery};
use crate::{Chunk, ChunkId, Tier};

type New<'n> = &'n dyn Fn() -> Box<dyn LexicalIndex>;

/// Every law, each on an index of its own.
pub(in crate::lexical) fn run(new: New<'_>) {
    for law in [
        a_document_is_replaced_as_a_whole,
        what_is_deleted_is_not_found,
        a_batch_is_taken_whole_or_not_at_all,
        bad_chunks_are_refused,
        equal_scores_are_in_the_order_of_ids,
        what_is_not_let_through_is_not_found,
        what_is_not_let_through_adds_no_word,
        fields_weigh_what_they_should,
        codes_paths_and_versions_are_found_as_they_stand,
        a_phrase_beats_its_words,
        identifiers_are_found_by_their_parts,
        questions_go_through_both_analyzers,
        a_question_without_words_finds_nothing,
        questions_are_bounded,
        scores_do_not_depend_on_the_way,
        names_may_be_in_any_script,
    ] {
        law(&*new());
    }
}

fn a_document_is_replaced_as_a_whole(index: &dyn LexicalIndex) {
    let five: Vec<Chunk> = (0..5).map(|n| chunk(n, "apple pie")).collect();
    put(index, "a", &five);
    put(index, "b", &[chunk(9, "apple pie")]);
    put(index, "a", &[chunk(1, "apple tart"), chunk(2, "plum"), chunk(7, "plum")]);
    assert_eq!(index.stats().unwrap().chunks, 4);
    assert_eq!(index.stats().unwrap().documents, 2);
    assert_eq!(found(index, "pie"), [9]);
    assert_eq!(found(index, "plum"), [2, 7]);
}

fn what_is_deleted_is_not_found(index: &dyn LexicalIndex) {
    put(index, "a", &[chunk(1, "canary"), chunk(2, "bird")]);
    put(index, "b", &[chunk(3, "bird")]);
    assert!(index.delete_document(&id("a")).unwrap());
    assert!(!index.delete_document(&id("a")).unwrap());
    assert_eq!(found(index, "canary bird"), [3]);
    let stats = index.stats().unwrap();
    assert_eq!((stats.documents, stats.chunks), (1, 1));
    // Its chunks may come back under another name.
    put(index, "c", &[chunk(1, "canary")]);
    assert_eq!(found(index, "canary"), [1]);
}

fn a_batch_is_taken_whole_or_not_at_all(index: &dyn LexicalIndex) {
    put(index, "a", &[chunk(1, "old")]);
    let (a, b) = (id("a"), id("b"));
    let (new, twice) = ([chunk(2, "new")], [chunk(3, "new"), chunk(3, "new")]);
    let batch = [
        LexicalDocument { id: &a, title: "", chunks: &new },
        LexicalDocument { id: &b, title: "", chunks: &twice },
    ];
    assert_eq!(index.replace_documents(&batch).unwrap_err().code(), "AK0777");
    assert_eq!((found(index, "old"), found(index, "new")), (vec![1], vec![]));
    index.replace_documents(&batch[..1]).unwrap();
    assert_eq!((found(index, "old"), found(index, "new")), (vec![], vec![2]));
}

fn bad_chunks_are_refused(index: &dyn LexicalIndex) {
    put(index, "a", &[chunk(1, "text")]);
    let outside = tiered(2, "täxt", &[(Tier::High, 0..2)]);
    let long = chunk(2, &"word ".repeat(300_000));
    for (bad, code) in [(chunk(1, "text"), "AK0777"), (outside, "AK0777"), (long, "AK0776")] {
        let chunks = [bad];
        let refused = index.replace_document(LexicalDocument { id: &id("b"), title: "", chunks: &chunks });
        assert_eq!(refused.unwrap_err().code(), code);
    }
    assert_eq!(index.stats().unwrap().documents, 1);
}

fn equal_scores_are_in_the_order_of_ids(index: &dyn LexicalIndex) {
    for n in [7, 3, 9, 1] {
        put(index, &n.to_string(), &[chunk(n, "same words")]);
    }
    assert_eq!(found(index, "words"), [1, 3, 7, 9]);
    let two = index.search(&LexicalQuery::new("words", 2), &|_| true).unwrap();
    assert_eq!(two.iter().map(|hit| hit.chunk.0).collect::<Vec<_>>(), [1, 3]);
}

fn what_is_not_let_through_is_not_found(index: &dyn LexicalIndex) {
    let chunks: Vec<Chunk> = (0..40).map(|n| chunk(n, &"word ".repeat(n as usize + 1))).collect();
    put(index, "a", &chunks);
    let odd = |chunk: ChunkId| chunk.0 % 2 == 1;
    let hits = index.search(&LexicalQuery::new("word", 30), &odd).unwrap();
    assert_eq!(hits.len(), 20);
    assert!(hits.iter().all(|hit| odd(hit.chunk)));
    let all = index.search(&LexicalQuery::new("word", 40), &|_| true).unwrap();
    let kept: Vec<_> = all.into_iter().filter(|hit| odd(hit.chunk)).collect();
    assert_eq!(hits, kept, "the best of what is let through");
}

fn what_is_not_let_through_adds_no_word(index: &dyn LexicalIndex) {
    let mut chunks: Vec<Chunk> = (0..60).map(|n| chunk(n, &format!("filler text {n}"))).collect();
    chunks.extend([100, 101].map(|n| chunk(n, &format!("rose secret secret leaf{n}"))));
    chunks.extend([104, 105].map(|n| chunk(n, &format!("rose thorn thorn leaf{n}"))));
    chunks.push(chunk(102, "secret alone"));
    chunks.push(chunk(103, "thorn alone"));
    put(index, "a", &chunks);
    let query = LexicalQuery::new("rose", 10).feedback(Feedback::DEFAULT);
    let ids = |keep: super::super::Keep<'_>| -> Vec<u128> {
        index.search(&query, keep).unwrap().iter().map(|hit| hit.chunk.0).collect()
    };
    let open = ids(&|_| true);
    assert!(open.contains(&102) && open.contains(&103), "{open:?}");
    let closed = ids(&|chunk| !(100..=101).contains(&chunk.0));
    assert!(closed.contains(&103) && !closed.contains(&102), "{closed:?}");
}

fn fields_weigh_what_they_should(index: &dyn LexicalIndex) {
    let text = "quince and other words";
    let range = 0..text.len();
    let tier = |id, tier| tiered(id, text, &[(tier, range.clone())]);
    put(
        index,
        "a",
        &[tier(1, Tier::Low), tier(2, Tier::Medium), tier(3, Tier::High), chunk(4, "nothing here")],
    );
    assert_eq!(found(index, "quince"), [3, 2, 1]);
    let path = Chunk { path: ["Medlar".into()].into(), ..chunk(5, "words") };
    let outline = Chunk { outline: Some("fn medlar()".into()), ..chunk(6, "words") };
    put(index, "b", &[path, outline]);
    index
        .replace_document(LexicalDocument { id: &id("c"), title: "Medlar", chunks: &[chunk(7, "words")] })
        .unwrap();
    assert_eq!(found(index, "medlar"), [7, 5, 6]);
}

fn codes_paths_and_versions_are_found_as_they_stand(index: &dyn LexicalIndex) {
    put(
        index,
        "a",
        &[
            chunk(1, "error E-1234 came up"),
            chunk(2, "error 1234 of letter E came up"),
            chunk(3, "call /api/users/123 first"),
            chunk(4, "the api has 123 users first"),
            chunk(5, "since version 0.27.1 it works"),
            chunk(6, "since version 27.0, 1 works"),
            code(7, "let path = \"/api/users/123\";"),
        ],
    );
    for (question, first) in [("E-1234", 1), ("what is e-1234?", 1), ("0.27.1", 5)] {
        assert_eq!(found(index, question)[0], first, "{question}");
    }
    let paths = &found(index, "`/api/users/123`")[..2];
    assert!(paths.contains(&3) && paths.contains(&7), "{paths:?}");
}

fn a_phrase_beats_its_words(index: &dyn LexicalIndex) {
    put(
        index,
        "a",
        &[
            chunk(1, "the peer had its connection to a server reset"),
            chunk(2, "there was a connection reset by peer here again"),
            chunk(3, "reset connection peer and by what"),
        ],
    );
    let words: Vec<f64> = hits(index, "connection reset").iter().map(|hit| hit.score).collect();
    let phrase = hits(index, "\"connection reset\"");
    assert_eq!(phrase[0].chunk.0, 2);
    assert!(words.iter().all(|score| *score < phrase[0].score));
    // A phrase that nobody holds adds nothing.
    let absent = hits(index, "\"server peer\" connection");
    assert_eq!(absent, hits(index, "server peer connection"));
}

fn identifiers_are_found_by_their_parts(index: &dyn LexicalIndex) {
    put(
        index,
        "a",
        &[
            code(1, "fn getHTTPResponse2() {}"),
            code(2, "fn get_http_response() {}"),
            code(3, "fn response() { get(); }"),
        ],
    );
    assert_eq!(found(index, "http response"), [2, 1, 3]);
    assert_eq!(found(index, "getHTTPResponse2")[0], 1);
    assert_eq!(found(index, "get_http_response")[0], 2);
}

fn questions_go_through_both_analyzers(index: &dyn LexicalIndex) {
    put(index, "prose", &[chunk(1, "The FooBar handles operations.")]);
    assert_eq!(found(index, "bar"), []);
    put(index, "code", &[code(2, "struct FooBar;")]);
    assert_eq!(found(index, "FooBar"), [2, 1]);
    assert_eq!(found(index, "bar"), [2]);
    assert_eq!(found(index, "operation"), [1]);
}

fn a_question_without_words_finds_nothing(index: &dyn LexicalIndex) {
    put(index, "a", &[chunk(1, "the of and"), chunk(2, "")]);
    for question in ["", "  ", "the of", "?!", "\"\"", "absent"] {
        assert_eq!(found(index, question), [], "{question}");
    }
    assert_eq!(index.search(&LexicalQuery::new("word", 0), &|_| true).unwrap(), []);
}

fn questions_are_bounded(index: &dyn LexicalIndex) {
    put(index, "a", &[chunk(1, "word")]);
    let long = "w ".repeat(LexicalQuery::MAX_BYTES);
    let feedback = |feedback| LexicalQuery::new("word", 1).feedback(feedback);
    for (query, code) in [
        (LexicalQuery::new("word", LexicalQuery::MAX_HITS + 1), "AK0776"),
        (LexicalQuery::new(&long, 1), "AK0776"),
        (feedback(Feedback { hits: 0, ..Feedback::DEFAULT }), "AK0775"),
        (feedback(Feedback { words: 101, ..Feedback::DEFAULT }), "AK0775"),
        (feedback(Feedback { weight: f64::NAN, ..Feedback::DEFAULT }), "AK0775"),
    ] {
        assert_eq!(index.search(&query, &|_| true).unwrap_err().code(), code);
    }
}

fn scores_do_not_depend_on_the_way(index: &dyn LexicalIndex) {
    put(index, "a", &[chunk(1, "alpha beta"), chunk(2, "beta gamma gamma")]);
    let before = hits(index, "alpha beta gamma");
    put(index, "b", &[chunk(3, "alpha alpha delta epsilon"), code(4, "fooBar")]);
    assert_ne!(hits(index, "alpha beta gamma"), before);
    index.delete_document(&id("b")).unwrap();
    assert_eq!(hits(index, "alpha beta gamma"), before);
}

fn names_may_be_in_any_script(index: &dyn LexicalIndex) {
    put(index, "レポート/東京 \"1\".md", &[chunk(1, "東京都の人口"), chunk(2, "大阪の人口")]);
    assert_eq!(found(index, "東京"), [1]);
    assert_eq!(found(index, "人口"), [2, 1]);
    assert!(index.delete_document(&id("レポート/東京 \"1\".md")).unwrap());
    assert_eq!(found(index, "人口"), []);
}
