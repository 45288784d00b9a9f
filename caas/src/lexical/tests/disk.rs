//! What the index on disk promises.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde::Deserialize;

use super::conformance;
use super::laws::{apply, step, text};
use super::texts::{chunk, found, hits, id, put};
use crate::Chunk;
use crate::lexical::{
    Feedback, LexicalDocument, LexicalHit, LexicalIndex, LexicalQuery, MemoryBm25, Parameters, TantivyIndex,
};

fn open(folder: &Path) -> TantivyIndex {
    TantivyIndex::open(folder, Parameters::DEFAULT).unwrap()
}

#[test]
fn the_index_on_disk_conforms() {
    let folders = RefCell::new(Vec::new());
    conformance::run(&|| {
        let folder = tempfile::tempdir().unwrap();
        let index = open(folder.path());
        folders.borrow_mut().push(folder);
        Box::new(index)
    });
}

#[test]
fn what_was_put_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    put(&index, "a", &[chunk(1, "apple"), chunk(2, "plum")]);
    put(&index, "b", &[chunk(3, "apple plum")]);
    index.delete_document(&id("a")).unwrap();
    let (before, stats) = (hits(&index, "apple \"apple plum\""), index.stats().unwrap());
    drop(index);
    let index = open(folder.path());
    assert_eq!(hits(&index, "apple \"apple plum\""), before);
    assert_eq!(index.stats().unwrap().chunks, stats.chunks);
    put(&index, "b", &[chunk(3, "pear")]);
    assert_eq!((found(&index, "plum"), found(&index, "pear")), (vec![], vec![3]));
}

#[test]
fn one_at_a_time_has_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(folder.path());
    assert_eq!(TantivyIndex::open(folder.path(), Parameters::DEFAULT).unwrap_err().code(), "AK0778");
    drop(index);
    open(folder.path());
}

#[test]
fn what_is_no_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("meta.json"), "{ \"segments\": ").unwrap();
    assert_eq!(TantivyIndex::open(folder.path(), Parameters::DEFAULT).unwrap_err().code(), "AK0778");
    let file = folder.path().join("meta.json");
    assert_eq!(TantivyIndex::open(&file, Parameters::DEFAULT).unwrap_err().code(), "AK0778");
}

/// Where the child of the next test writes.
const FOLDER: &str = "LEXICAL_TEST_FOLDER";
const CHUNKS: u128 = 3;

fn version(number: u128) -> Vec<Chunk> {
    (0..CHUNKS).map(|place| chunk(number * CHUNKS + place, &format!("common version{number}"))).collect()
}

/// Not a test of its own: puts documents until it is killed, and says which are in.
#[test]
fn child_that_puts_documents() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let index = open(Path::new(&folder));
    let mut out = std::io::stdout();
    for number in 0..10_000 {
        put(&index, &number.to_string(), &version(number));
        writeln!(out, "in {number}").unwrap();
    }
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_was_in_and_leaves_nothing_half() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "lexical::tests::disk::child_that_puts_documents",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let numbers = lines.filter_map(|line| line.unwrap().strip_prefix("in ")?.parse::<u128>().ok());
    let last = numbers.take(7).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let index = open(folder.path());
    let chunks = index.stats().unwrap().chunks as u128;
    assert_eq!(chunks % CHUNKS, 0, "a document is there in part");
    assert!(last + 1 <= chunks / CHUNKS, "{chunks} chunks after document {last}");
    for number in 0..=last {
        assert_eq!(found(&index, &format!("version{number}")).len() as u128, CHUNKS);
    }
    put(&index, "more", &[chunk(100_000_000, "more")]);
    assert_eq!(found(&index, "more"), [100_000_000]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn its_answers_are_those_of_the_index_in_memory(
        steps in prop::collection::vec(step(), 0..8), question in text(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (disk, memory) = (open(folder.path()), MemoryBm25::new(Parameters::DEFAULT).unwrap());
        for step in &steps {
            apply(&disk, step);
            apply(&memory, step);
        }
        for text in [question.clone(), format!("\"{question}\" beta")] {
            let query = LexicalQuery::new(&text, 5);
            for query in [query, query.feedback(Feedback { least_chunks: 0, ..Feedback::DEFAULT })] {
                let search = |index: &dyn LexicalIndex| index.search(&query, &|_| true).unwrap();
                prop_assert_eq!(search(&disk), search(&memory));
            }
        }
    }
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    title: String,
    text: String,
}

fn read(file: &Path) -> Vec<Text> {
    let lines = std::fs::read_to_string(file).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where the public sets lie, which are nobody's to commit; `None`, and a word about it, where they are not. Whoever names
/// a folder means it to be there.
fn cisi() -> Option<PathBuf> {
    let named = std::env::var("AGENT_OS_DATA");
    let data = named.as_deref().unwrap_or("../../shared/data");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join(data).join("retrieval/cisi");
    let there = data.exists();
    assert!(there || named.is_err(), "`{}` is not there", data.display());
    if !there {
        let _ = writeln!(std::io::stderr(), "not run: `{}` is not there", data.display());
    }
    there.then_some(data)
}

#[test]
fn on_a_public_set_its_best_ten_are_those_of_the_index_in_memory() {
    let Some(folder) = cisi() else { return };
    let place = tempfile::tempdir().unwrap();
    let (disk, memory) = (open(place.path()), MemoryBm25::new(Parameters::DEFAULT).unwrap());
    let texts = read(&folder.join("corpus.jsonl"));
    let names: Vec<_> = (0..texts.len()).map(|place| id(&place.to_string())).collect();
    let chunks: Vec<[Chunk; 1]> = (0..).zip(&texts).map(|(place, text)| [chunk(place, &text.text)]).collect();
    let documents: Vec<LexicalDocument<'_>> = names
        .iter()
        .zip(&texts)
        .zip(&chunks)
        .map(|((id, text), chunks)| LexicalDocument { id, title: &text.title, chunks })
        .collect();
    // Several commits, so that there are several segments.
    for batch in documents.chunks(400) {
        disk.replace_documents(batch).unwrap();
        memory.replace_documents(batch).unwrap();
    }
    let questions = read(&folder.join("queries.jsonl"));
    assert!(!questions.is_empty());
    for question in questions {
        let best = |index: &dyn LexicalIndex| -> Vec<LexicalHit> { hits(index, &question.text) };
        assert_eq!(best(&disk), best(&memory), "{}", question.text);
    }
}
