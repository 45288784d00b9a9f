use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::model::{Format, Tier};

/// A token for each word and each four bytes of a longer one; never none for a character.
#[derive(Debug)]
struct Words;

impl TokenCounter for Words {
    fn name(&self) -> &str {
        "words"
    }

    fn count(&self, text: &str) -> usize {
        text.split_whitespace().map(|word| word.len().div_ceil(4)).sum()
    }
}

/// As [`Words`], and knows how many bytes it looked at.
#[derive(Debug, Default)]
struct Watched(AtomicUsize);

impl TokenCounter for Watched {
    fn name(&self) -> &str {
        "watched words"
    }

    fn count(&self, text: &str) -> usize {
        self.0.fetch_add(text.len(), Ordering::Relaxed);
        Words.count(text)
    }
}

fn cut(target: usize, most: usize, parsed: &Parsed) -> Vec<Chunk> {
    let chunker = StructureChunker::new(ChunkSizes { target, most }, Arc::new(Words)).unwrap();
    chunker.cut(&"d".parse().unwrap(), parsed).unwrap()
}

/// A document of blocks: a heading's level and text, or text of a kind.
fn parsed(parts: &[(BlockKind, &str)]) -> Parsed {
    let (mut text, mut blocks, mut path) = (String::new(), Vec::new(), Vec::<(u8, Arc<str>)>::new());
    for (kind, part) in parts {
        if let Heading(level) = kind {
            path.retain(|(above, _)| above < level);
        }
        let from = text.len();
        text.push_str(part);
        let trail: Path = path.iter().map(|(_, step)| Arc::clone(step)).collect();
        blocks.push(Block { kind: *kind, range: from..text.len(), path: trail, page: None, language: None });
        text.push_str("\n\n");
        if let Heading(level) = kind {
            path.push((*level, Arc::from(*part)));
        }
    }
    Parsed {
        format: Format::Markdown,
        language: None,
        title: None,
        text,
        blocks,
        removed: Vec::new(),
        attributes: BTreeMap::new(),
        pages: None,
        replaced: 0,
        quality: 1.0,
    }
}

fn texts(chunks: &[Chunk]) -> Vec<&str> {
    chunks.iter().map(|chunk| &*chunk.text).collect()
}

use BlockKind::{Body, Heading, Imports, Paragraph, Signature};

#[test]
fn a_section_that_fits_is_one_chunk_and_another_is_another() {
    let parsed = parsed(&[
        (Heading(1), "Refunds"),
        (Paragraph, "The window is 30 days."),
        (Heading(2), "Europe"),
        (Paragraph, "There it is 14 days."),
        (Heading(1), "Shipping"),
        (Paragraph, "By post."),
    ]);
    let chunks = cut(40, 80, &parsed);
    assert_eq!(
        texts(&chunks),
        ["Refunds\n\nThe window is 30 days.\n\nEurope\n\nThere it is 14 days.", "Shipping\n\nBy post.",]
    );
    let small = cut(16, 80, &parsed);
    assert_eq!(
        texts(&small),
        ["Refunds\n\nThe window is 30 days.", "Europe\n\nThere it is 14 days.", "Shipping\n\nBy post.",]
    );
    assert_eq!(small[1].path.iter().map(|step| &**step).collect::<Vec<_>>(), ["Refunds"]);
    assert_eq!(small[0].tiers, [(Tier::High, 0..7), (Tier::Medium, 9..31)]);
}

#[test]
fn a_heading_goes_with_what_it_heads() {
    let long = "word ".repeat(30);
    let parsed = parsed(&[
        (Heading(1), "Chapter"),
        (Heading(2), "Section"),
        (Paragraph, long.trim()),
        (Heading(2), "Empty"),
        (Heading(2), "Last"),
        (Paragraph, long.trim()),
    ]);
    for chunk in cut(32, 64, &parsed) {
        let last = chunk.text.lines().last().unwrap();
        assert!(last.starts_with("word") || *chunk.text == *"Empty", "{}", chunk.text);
    }
}

#[test]
fn an_item_of_a_program_stays_whole_up_to_the_most() {
    let body = "x = y ".repeat(15);
    let mut parsed = parsed(&[
        (Imports, "use std"),
        (Signature, "fn a()"),
        (Body, &body),
        (Signature, "fn b()"),
        (Body, "{ }"),
    ]);
    for (place, item) in [(2, "fn a()"), (4, "fn b()")] {
        parsed.blocks[place].path = Arc::from([Arc::from(item)]);
    }
    let chunks = cut(20, 80, &parsed);
    assert_eq!(texts(&chunks), ["use std", &format!("fn a()\n\n{body}"), "fn b()\n\n{ }"]);
    assert_eq!(chunks[0].outline.as_deref(), Some("fn a()\nfn b()\n"));
    let cut = cut(20, 30, &parsed);
    assert!(cut[1].text.starts_with("fn a()\n\nx = y"), "the signature stays with the beginning of its body");
    assert_eq!(
        cut.iter().map(|chunk| chunk.tokens).collect::<Vec<_>>(),
        [2, 22, 25, 4],
        "no few last lines alone"
    );
}

#[test]
fn small_items_go_together_and_the_head_of_an_impl_with_its_first_member() {
    let body = "x = y ".repeat(15);
    let mut parsed = parsed(&[
        (Imports, "use std"),
        (Signature, "const A"),
        (Signature, "const B"),
        (Signature, "impl X {"),
        (Signature, "fn a()"),
        (Body, &body),
        (Signature, "fn b()"),
        (Body, &body),
    ]);
    for (place, path) in
        [(4, &["impl X"][..]), (5, &["impl X", "fn a()"]), (6, &["impl X"]), (7, &["impl X", "fn b()"])]
    {
        parsed.blocks[place].path = path.iter().map(|step| Arc::from(*step)).collect();
    }
    let chunks = cut(20, 60, &parsed);
    let body = body.trim_end();
    assert_eq!(
        texts(&chunks).iter().map(|text| text.trim_end().to_owned()).collect::<Vec<_>>(),
        [
            "use std\n\nconst A\n\nconst B".to_owned(),
            format!("impl X {{\n\nfn a()\n\n{body}"),
            format!("fn b()\n\n{body}")
        ]
    );
    assert_eq!(chunks[2].path.iter().map(|step| &**step).collect::<Vec<_>>(), ["impl X"]);
}

#[test]
fn text_that_is_put_before_all_others_leaves_their_ids() {
    let sections: Vec<String> = (0..50).map(|number| format!("Section {number}")).collect();
    let mut parts: Vec<(BlockKind, &str)> = Vec::new();
    for section in &sections {
        parts.extend([
            (Heading(1), section.as_str()),
            (Paragraph, "the same words"),
            (Paragraph, "the same words"),
        ]);
    }
    let ids = |parts: &[(BlockKind, &str)]| -> BTreeSet<ChunkId> {
        cut(16, 32, &parsed(parts)).into_iter().map(|chunk| chunk.id).collect()
    };
    let before = ids(&parts);
    assert_eq!(before.len(), 50);
    parts.insert(0, (Paragraph, "put before"));
    parts[76].1 = "edited words";
    let after = ids(&parts);
    assert_eq!(after.difference(&before).count(), 2);
}

#[test]
fn equal_chunks_have_ids_of_their_own() {
    let parsed = parsed(&[(Heading(1), "A"), (Paragraph, "x"), (Heading(1), "A"), (Paragraph, "x")]);
    let chunks = cut(16, 32, &parsed);
    assert_eq!(chunks[0].text, chunks[1].text);
    assert_ne!(chunks[0].id, chunks[1].id);
}

#[test]
fn a_line_of_a_mebibyte_is_cut_at_words() {
    let line = "many words in one line ".repeat(45_000);
    let parsed = parsed(&[(Paragraph, &line)]);
    let chunks = cut(200, 400, &parsed);
    assert!(chunks.iter().all(|chunk| chunk.tokens <= 200 && !chunk.text.starts_with(' ')));
    assert!(chunks.iter().rev().skip(1).all(|chunk| 180 < chunk.tokens));
}

#[test]
fn paths_and_outlines_are_short() {
    let deep: Path = (0..40).map(|step| Arc::from(format!("step number {step} of this path"))).collect();
    let path = trail::path(&deep, &Words);
    assert!(path.len() < 12 && &*path[0] == "step number 0 of this path", "{path:?}");
    assert_eq!(path.iter().filter(|step| &***step == "…").count(), 1);
    let dense: Path = Arc::from([Arc::from("漢".repeat(300)), Arc::from("字".repeat(300))]);
    let tokens = |path: &Path| path.iter().map(|step| Words.count(step)).sum::<usize>();
    let path = trail::path(&dense, &Words);
    assert!(path.len() == 2 && tokens(&path) <= ChunkSizes::MAX_TRAIL, "{path:?}");
    let long: Path = Arc::from([Arc::from("x\n".repeat(300))]);
    assert_eq!(trail::path(&long, &Words)[0].chars().count(), 120);
}

#[test]
fn sizes_that_make_no_sense_are_refused() {
    for (target, most) in [(15, 100), (20, 19)] {
        let made = StructureChunker::new(ChunkSizes { target, most }, Arc::new(Words));
        assert_eq!(made.unwrap_err().code(), "AK0770");
    }
    let mut disordered = parsed(&[(Paragraph, "a"), (Paragraph, "b")]);
    disordered.blocks.swap(0, 1);
    let chunker = StructureChunker::new(ChunkSizes::default(), Arc::new(Words)).unwrap();
    assert_eq!(chunker.cut(&"d".parse().unwrap(), &disordered).unwrap_err().code(), "AK0772");
    assert!(chunker.cut(&"d".parse().unwrap(), &parsed(&[])).unwrap().is_empty());
}

fn parts() -> impl Strategy<Value = Vec<(BlockKind, String)>> {
    let kind = prop_oneof![
        (1u8..5).prop_map(Heading),
        Just(Paragraph),
        Just(BlockKind::Table),
        Just(BlockKind::Code),
    ];
    let words =
        proptest::collection::vec("[a-zé👍🏽]{1,12}[ .\n]{0,2}", 1..60).prop_map(|words| words.concat());
    proptest::collection::vec((kind, words), 0..12)
}

fn blank(text: &str, range: Range<usize>) -> bool {
    text.get(range).is_some_and(|part| part.trim().is_empty())
}

proptest! {
    #[test]
    fn chunks_tile_their_document(parts in parts(), target in 16usize..60, more in 0usize..60) {
        let parts: Vec<(BlockKind, &str)> = parts.iter().map(|(kind, text)| (*kind, text.trim())).filter(|(_, text)| !text.is_empty()).collect();
        let parsed = parsed(&parts);
        let chunks = cut(target, target + more, &parsed);
        let mut at = 0;
        for chunk in &chunks {
            prop_assert!(at <= chunk.range.start);
            prop_assert!(blank(&parsed.text, at..chunk.range.start), "nothing is left out");
            prop_assert_eq!(parsed.text.get(chunk.range.clone()), Some(&*chunk.text));
            prop_assert!(chunk.tokens <= target + more, "{} of {}", chunk.tokens, target + more);
            let mut inner = 0;
            for (_, range) in &chunk.tiers {
                prop_assert!(inner <= range.start && blank(&chunk.text, inner..range.start));
                inner = range.end;
            }
            prop_assert_eq!(inner, chunk.text.len());
            at = chunk.range.end;
        }
        prop_assert!(blank(&parsed.text, at..parsed.text.len()));
        let ids: BTreeSet<ChunkId> = chunks.iter().map(|chunk| chunk.id).collect();
        prop_assert_eq!(ids.len(), chunks.len());
    }

    #[test]
    fn no_chunk_reaches_over_a_heading_of_its_level(parts in parts(), target in 16usize..200) {
        let parts: Vec<(BlockKind, &str)> = parts.iter().map(|(kind, text)| (*kind, text.trim())).filter(|(_, text)| !text.is_empty()).collect();
        let parsed = parsed(&parts);
        for chunk in cut(target, target, &parsed) {
            let blocks: Vec<&Block> = parsed.blocks.iter().filter(|block| block.range.start < chunk.range.end && chunk.range.start < block.range.end).collect();
            let level = |block: &Block| match block.kind {
                Heading(_) => block.path.len() + 1,
                _ => block.path.len(),
            };
            for later in blocks.iter().skip(1).filter(|block| matches!(block.kind, Heading(_))) {
                prop_assert!(level(blocks[0]) < level(later), "{}", chunk.text);
            }
        }
    }
}

/// A token for each character, blanks included.
#[derive(Debug)]
struct Chars;

impl TokenCounter for Chars {
    fn name(&self) -> &str {
        "chars"
    }

    fn count(&self, text: &str) -> usize {
        text.chars().count()
    }
}

proptest! {
    #[test]
    fn no_chunk_has_more_tokens_than_the_most(
        lengths in proptest::collection::vec(1usize..40, 1..20), target in 16usize..30, more in 0usize..3,
    ) {
        let paragraphs: Vec<String> = lengths.iter().map(|length| "ab ".repeat(*length).trim().to_owned()).collect();
        let parts: Vec<(BlockKind, &str)> = paragraphs.iter().map(|text| (Paragraph, text.as_str())).collect();
        let parsed = parsed(&parts);
        let sizes = ChunkSizes { target, most: target + more };
        let chunks = StructureChunker::new(sizes, Arc::new(Chars)).unwrap();
        let chunks = chunks.cut(&"d".parse().unwrap(), &parsed).unwrap();
        prop_assert!(chunks.iter().all(|chunk| chunk.tokens <= sizes.most), "{:?}", texts(&chunks));
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        prop_assert_eq!(squeezed(&texts(&chunks).concat()), squeezed(&parsed.text));
    }
}

/// Data in one word is as long as its document may be.
#[test]
fn a_text_without_borders_is_not_counted_over_and_over() {
    let counter = Arc::new(Watched::default());
    let sizes = ChunkSizes { target: 400, most: 800 };
    let text = "x".repeat(40_000);
    let chunker = StructureChunker::new(sizes, Arc::<Watched>::clone(&counter)).unwrap();
    let chunks = chunker.cut(&"d".parse().unwrap(), &parsed(&[(Paragraph, &text)])).unwrap();
    assert!(chunks.iter().all(|chunk| chunk.tokens <= 400), "{chunks:?}");
    let seen = counter.0.load(Ordering::Relaxed);
    assert!(seen < 40 * text.len(), "{seen} bytes counted");
}

#[test]
fn a_path_of_many_steps_is_not_counted_over_and_over() {
    let counter = Watched::default();
    let path: Path = (0..250).map(|step| Arc::from(format!("[{step}]"))).collect();
    let short = trail::path(&path, &counter);
    assert_eq!((short.first(), short.last()), (path.first(), path.last()));
    assert!(short.contains(&Arc::from("…")));
    let seen = counter.0.load(Ordering::Relaxed);
    assert!(seen < 10 * path.concat().len(), "{seen} bytes counted");
}
