//! How much of what answers a question is in the best chunks that fit a budget of tokens.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use agent_primitives::{Clock, SystemClock};
use caas_core::chunk::ChunkSizes;
use caas_core::lexical::{LexicalDocument, LexicalIndex, LexicalQuery, MemoryBm25, Parameters};
use caas_core::{Chunk, ChunkId};

use crate::context::Corpus;
use crate::counter::Counter;
use crate::report::{HITS, Measured};
use crate::set::{Set, Span};

/// Budgets in tokens, and what the figures are called.
const BUDGETS: [(usize, &str); 3] = [(500, "span_500"), (1000, "span_1000"), (2000, "span_2000")];

/// Chunks are cut, and budgets kept, in the tokens of each counter, which has its name in its rows.
pub(crate) fn measure(
    set: &Set,
    spans: &BTreeMap<String, Vec<Span>>,
    counters: &[Counter],
) -> anyhow::Result<Vec<Measured>> {
    let ChunkSizes { target, most } = ChunkSizes::default();
    let sizes = [
        ("chunks of the default size", ChunkSizes { target, most }),
        ("chunks of half that", ChunkSizes { target: target / 2, most: most / 2 }),
    ];
    let mut rows = Vec::new();
    for (tokens, counter) in counters {
        for (chunks, sizes) in sizes {
            let corpus = Corpus::of_documents(set, sizes, counter)?;
            rows.push(row(format!("{chunks}, {tokens}"), set, spans, &corpus)?);
        }
    }
    Ok(rows)
}

fn row(
    name: String,
    set: &Set,
    spans: &BTreeMap<String, Vec<Span>>,
    corpus: &Corpus,
) -> anyhow::Result<Measured> {
    let index = MemoryBm25::new(Parameters::DEFAULT)?;
    let mut chunks: HashMap<ChunkId, (&str, &Chunk)> = HashMap::new();
    for document in &corpus.documents {
        index.replace_document(LexicalDocument {
            id: &document.id,
            title: &document.title,
            chunks: &document.chunks,
        })?;
        chunks.extend(document.chunks.iter().map(|chunk| (chunk.id, (document.id.as_str(), chunk))));
    }
    let clock = SystemClock::new();
    let mut latencies = Vec::new();
    let mut recalls: Vec<[f64; BUDGETS.len()]> = Vec::new();
    for question in &set.questions {
        let start = clock.monotonic();
        let hits = index.search(&LexicalQuery::new(&question.text, HITS), &|_| true)?;
        latencies.push(clock.monotonic().since(start));
        let Some(right) = spans.get(&question.id) else { continue };
        let ranked: Vec<(&str, &Chunk)> = hits.iter().map(|hit| chunks[&hit.chunk]).collect();
        recalls.push(BUDGETS.map(|(budget, _)| recall(&within(&ranked, budget), right)));
    }
    let mean = |place: usize| recalls.iter().map(|row| row[place]).sum::<f64>() / recalls.len().max(1) as f64;
    let figures = BUDGETS.iter().enumerate().map(|(place, (_, name))| (*name, mean(place))).collect();
    let by_question = recalls.iter().map(|row| row[0]).collect();
    let skipped = set.questions.len() - recalls.len();
    Ok(Measured { name, figures, by_question, latencies, skipped })
}

/// The best chunks that fit together; one that does not fit is passed over.
fn within<'c>(ranked: &[(&'c str, &'c Chunk)], budget: usize) -> Vec<(&'c str, Range<usize>)> {
    let mut left = budget;
    let mut taken = Vec::new();
    for (document, chunk) in ranked {
        if chunk.tokens <= left {
            left -= chunk.tokens;
            taken.push((*document, chunk.range.clone()));
        }
    }
    taken
}

/// The part of the bytes of the spans that the chunks cover. Chunks do not overlap.
fn recall(taken: &[(&str, Range<usize>)], spans: &[Span]) -> f64 {
    let mut right: HashMap<&str, Vec<Range<usize>>> = HashMap::new();
    for span in spans {
        right.entry(&span.document).or_default().push(span.range.clone());
    }
    let (mut all, mut covered) = (0, 0);
    for (document, ranges) in &mut right {
        for range in united(ranges) {
            all += range.len();
            let parts = taken.iter().filter(|(taken, _)| taken == document);
            covered += parts
                .map(|(_, part)| part.end.min(range.end).saturating_sub(part.start.max(range.start)))
                .sum::<usize>();
        }
    }
    covered as f64 / all.max(1) as f64
}

/// Spans may overlap, and no byte counts twice.
fn united(ranges: &mut [Range<usize>]) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut united: Vec<Range<usize>> = Vec::new();
    for range in ranges.iter() {
        match united.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => united.push(range.clone()),
        }
    }
    united
}
