//! Sets of documents, questions, and what people judged to be right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::Context;
use caas_core::eval::Grades;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A text with a name: a document, a chunk of a program, or a question.
#[derive(Debug, Deserialize)]
pub(crate) struct Text {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) title: String,
    pub(crate) text: String,
}

/// A judgement. With `start` and `end` it is about those characters of the document.
#[derive(Debug, Deserialize)]
struct Judgement {
    query_id: String,
    doc_id: String,
    score: i64,
    start: Option<usize>,
    end: Option<usize>,
}

/// Characters of a document that answer a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) document: String,
    /// Bytes of its text.
    pub(crate) range: std::ops::Range<usize>,
}

/// What is right for each question.
#[derive(Debug)]
pub(crate) enum Right {
    /// Whole texts of the corpus.
    Texts(HashMap<String, Grades<String>>),
    /// Parts of them.
    Spans(BTreeMap<String, Vec<Span>>),
}

#[derive(Debug)]
pub(crate) struct Set {
    /// The name of its folder.
    pub(crate) name: String,
    /// What is found.
    pub(crate) corpus: Vec<Text>,
    /// The programs that the corpus is chunks of; empty where its texts are documents.
    pub(crate) programs: HashMap<String, Text>,
    pub(crate) questions: Vec<Text>,
    pub(crate) right: Right,
}

impl Set {
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let corpus: Vec<Text> = lines(&folder.join("corpus.jsonl"))?;
        let programs: Vec<Text> = match folder.join("documents.jsonl") {
            file if file.exists() => lines(&file)?,
            _ => Vec::new(),
        };
        let judgements: Vec<Judgement> = lines(&folder.join("qrels.jsonl"))?;
        let mut names = HashSet::new();
        for text in &corpus {
            anyhow::ensure!(names.insert(&text.id), "`{}` is twice in the corpus", text.id);
        }
        let right = right(&corpus, judgements)?;
        Ok(Self {
            name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            corpus,
            programs: programs.into_iter().map(|text| (text.id.clone(), text)).collect(),
            questions: lines(&folder.join("queries.jsonl"))?,
            right,
        })
    }

    /// The document that a text of the corpus is, or is a chunk of.
    pub(crate) fn document_of<'t>(&self, text: &'t Text) -> &'t str {
        match text.id.rsplit_once(':') {
            Some((document, _)) if self.programs.contains_key(document) => document,
            _ => &text.id,
        }
    }
}

fn right(corpus: &[Text], judgements: Vec<Judgement>) -> anyhow::Result<Right> {
    let texts: HashMap<&str, &str> = corpus.iter().map(|text| (&*text.id, &*text.text)).collect();
    if judgements.iter().all(|judgement| judgement.start.is_none()) {
        let mut grades: HashMap<String, Grades<String>> = HashMap::new();
        for judgement in judgements {
            let grade = u32::try_from(judgement.score.max(0))?;
            grades.entry(judgement.query_id).or_default().insert(judgement.doc_id, grade);
        }
        return Ok(Right::Texts(grades));
    }
    let mut spans: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for judgement in judgements.into_iter().filter(|judgement| 0 < judgement.score) {
        let text = texts.get(&*judgement.doc_id).context("a judgement of no document")?;
        let bytes = |characters: Option<usize>| -> anyhow::Result<usize> {
            let characters = characters.context("a judgement without its characters")?;
            let starts = text.char_indices().map(|(place, _)| place).chain([text.len()]);
            starts.into_iter().nth(characters).context("a judgement of characters that are not there")
        };
        let range = bytes(judgement.start)?..bytes(judgement.end)?;
        spans.entry(judgement.query_id).or_default().push(Span { document: judgement.doc_id, range });
    }
    Ok(Right::Spans(spans))
}

fn lines<T: DeserializeOwned>(file: &Path) -> anyhow::Result<Vec<T>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(place, line)| {
            serde_json::from_str(line).with_context(|| format!("`{}` line {}", file.display(), place + 1))
        })
        .collect()
}
