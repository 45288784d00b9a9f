//! A set out of any programs: what is said of an item is the question, and the item without its comment is what answers it.
//!
//! Nobody judged such a set and nothing was chosen by it, so it shows whether what is good on judged sets is good elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use caas_core::chunk::{ChunkSizes, StructureChunker};
use caas_core::eval::Grades;
use caas_core::ingest::{Declared, Limits, Parser};
use caas_core::{BlockKind, DocumentId, Format, Parsed};

use crate::counter::Pieces;
use crate::set::{Right, Set, Text};

/// Fewest words of a question. "The name." asks for nothing in particular.
const WORDS: usize = 5;

/// A comment that is taken away, and its first sentence.
struct Said {
    range: Range<usize>,
    sentence: String,
}

pub(crate) fn read(folder: &Path) -> anyhow::Result<Set> {
    let parser = Parser::new(Limits::DEFAULT)?;
    let chunker = StructureChunker::new(ChunkSizes::default(), Arc::new(Pieces))?;
    let mut set = Set {
        name: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        corpus: Vec::new(),
        programs: HashMap::new(),
        questions: Vec::new(),
        right: Right::Texts(HashMap::new()),
    };
    let mut answers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files(folder)? {
        let name = file.strip_prefix(folder)?.to_string_lossy().replace(':', "_");
        let declared = Declared::named(&name);
        let Ok(read) = parser.parse(&std::fs::read(&file)?, &declared) else { continue };
        if read.parsed.format != Format::Code {
            continue;
        }
        let (text, items) = silent(&read.parsed);
        let Ok(read) = parser.parse(text.as_bytes(), &declared) else { continue };
        let id: DocumentId = name.parse()?;
        let chunks = chunker.cut(&id, &read.parsed)?;
        for (sentence, start) in items {
            if let Some(chunk) = chunks.iter().find(|chunk| start < chunk.range.end) {
                answers.entry(sentence).or_default().push(format!("{name}:{}", chunk.ordinal));
            }
        }
        set.corpus.extend(chunks.iter().map(|chunk| Text {
            id: format!("{name}:{}", chunk.ordinal),
            title: String::new(),
            text: chunk.text.to_string(),
        }));
        set.programs.insert(name.clone(), Text { id: name, title: String::new(), text: read.parsed.text });
    }
    let mut grades: HashMap<String, Grades<String>> = HashMap::new();
    // What is said of several items asks for none of them.
    for (text, chunks) in answers.into_iter().filter(|(_, chunks)| chunks.len() == 1) {
        let id = set.questions.len().to_string();
        grades.entry(id.clone()).or_default().extend(chunks.into_iter().map(|chunk| (chunk, 1)));
        set.questions.push(Text { id, title: String::new(), text });
    }
    anyhow::ensure!(!set.questions.is_empty(), "`{}` has no programs with comments", folder.display());
    set.right = Right::Texts(grades);
    Ok(set)
}

/// The files of a folder and those in it, in the order of their names.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut due, mut files) = (vec![folder.to_owned()], Vec::new());
    while let Some(next) = due.pop() {
        let entries = std::fs::read_dir(&next).with_context(|| format!("`{}`", next.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                due.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// A program without the comments before its items, and what they said of what begins where.
fn silent(parsed: &Parsed) -> (String, Vec<(String, usize)>) {
    let signatures = parsed.blocks.iter().filter(|block| block.kind == BlockKind::Signature);
    let said = signatures.filter_map(|block| said(parsed.text.get(block.range.clone())?, block.range.start));
    let (mut text, mut items, mut from) = (String::new(), Vec::new(), 0);
    for Said { range, sentence } in said {
        text.push_str(parsed.text.get(from..range.start).unwrap_or_default());
        from = range.end;
        items.push((sentence, text.len()));
    }
    text.push_str(parsed.text.get(from..).unwrap_or_default());
    (text, items)
}

/// The comment that a signature begins with.
fn said(signature: &str, start: usize) -> Option<Said> {
    let mut end = 0;
    let mut words = String::new();
    for line in signature.split_inclusive('\n') {
        let bare = line.trim();
        let marks = |char| matches!(char, '/' | '*' | '!');
        if !(bare.starts_with("//") || bare.starts_with("/*") || bare.starts_with('*')) {
            break;
        }
        end += line.len();
        words.push_str(bare.trim_start_matches(marks).trim_end_matches(marks));
        words.push('\n');
    }
    let paragraph = words.trim().split("\n\n").next()?.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = paragraph.split(". ").next().unwrap_or_default().trim_end_matches('.').to_owned();
    (WORDS <= sentence.split(' ').count()).then(|| Said { range: start..start + end, sentence })
}
