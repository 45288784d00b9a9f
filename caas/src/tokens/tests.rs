use super::*;

/// Texts of ours with the tokens that `o200k_base` has for them, and whether an estimate must be near.
const FIXTURES: [(&str, &str, usize, bool); 7] = [
    ("english", include_str!("../../testdata/tokens/english.txt"), 210, true),
    ("rust", include_str!("../../testdata/tokens/rust.txt"), 244, true),
    ("python", include_str!("../../testdata/tokens/python.txt"), 231, true),
    ("chinese", include_str!("../../testdata/tokens/chinese.txt"), 136, true),
    ("japanese", include_str!("../../testdata/tokens/japanese.txt"), 130, true),
    ("korean", include_str!("../../testdata/tokens/korean.txt"), 104, true),
    ("emoji", include_str!("../../testdata/tokens/emoji.txt"), 75, false),
];

#[test]
fn an_estimate_is_above_the_count_and_not_far() {
    let estimate = Estimate::new();
    for (name, text, exact, near) in FIXTURES {
        let counted = estimate.count(text);
        assert!(exact <= counted, "{name}: {counted} for {exact}");
        assert!(!near || counted * 10 <= exact * 16, "{name}: {counted} for {exact}");
        println!("{name}: {counted} for {exact}, {:.2}", counted as f64 / exact as f64);
    }
    assert_eq!(estimate.count(""), 0);
}

#[test]
fn an_estimate_takes_long_texts() {
    let estimate = Estimate::new();
    for text in ["a", " ", "\n", "=", "漢", "🎉", "e\u{301}", "\0"] {
        let text = text.repeat(50_000);
        let counted = estimate.count(&text);
        assert!((1..=text.len()).contains(&counted));
    }
}

#[cfg(feature = "tiktoken")]
mod exact {
    use proptest::prelude::*;
    use tiktoken_rs::o200k_base;

    use super::*;

    #[test]
    fn the_counts_of_the_fixtures_are_exact() {
        let exact = Tiktoken::o200k_base().unwrap();
        for (name, text, tokens, _) in FIXTURES {
            assert_eq!(exact.count(text), tokens, "{name}");
        }
    }

    #[test]
    fn vocabularies_differ_and_are_built_in() {
        let text = "안녕하세요 <|endoftext|>";
        let (new, old) = (Tiktoken::o200k_base().unwrap(), Tiktoken::cl100k_base().unwrap());
        // From the published program. What looks like a special token is text.
        assert_eq!((new.count("tiktoken is great!"), old.count("tiktoken is great!")), (6, 6));
        assert!(new.count(text) < old.count(text));
        assert_eq!((new.count(""), new.name(), old.name()), (0, "o200k_base", "cl100k_base"));
    }

    #[test]
    fn what_the_pattern_gives_up_on_counts_by_bytes() {
        let exact = Tiktoken::o200k_base().unwrap();
        for text in [" ".repeat(2_000_000) + "a", "^".repeat(300_000), "a".repeat(300_000)] {
            assert!((1..=text.len()).contains(&exact.count(&text)));
        }
    }

    #[test]
    fn the_table_is_part_of_the_vocabulary() {
        let vocabulary = o200k_base().unwrap();
        let by_rank = (0..199_998).map(|rank| vocabulary.decode_bytes(&[rank]).unwrap());
        let (expected, table) = estimate::table(by_rank);
        if expected != table {
            let file = std::env::temp_dir().join("o200k.txt");
            std::fs::write(&file, expected).unwrap();
            panic!("the table should be as in {}", file.display());
        }
    }

    /// Texts of many kinds; parts of them stand beside each other.
    fn texts() -> impl Strategy<Value = String> {
        let fixtures: Vec<String> =
            FIXTURES.iter().flat_map(|(_, text, ..)| text.split_inclusive(' ')).map(str::to_owned).collect();
        let han = prop::char::range('\u{4e00}', '\u{9fff}');
        let hangul = prop::char::range('\u{ac00}', '\u{d7a3}');
        let kana = prop::char::range('\u{3041}', '\u{30ff}');
        let pictures = prop::char::range('\u{1f300}', '\u{1faff}');
        let of = |signs: BoxedStrategy<char>| {
            prop::collection::vec(signs, 0..30).prop_map(String::from_iter).boxed()
        };
        let part = prop_oneof![
            any::<String>(),
            "[a-z]{1,12}",
            "[A-Za-z']{1,40}",
            "[ -~\n\t\r]{0,60}",
            "[ \n\r\t]{1,20}",
            "[àéîøüßÀÉабвгдАБВαβγ]{1,20}",
            "[0-9.,:;/(){}=<>!-]{1,30}",
            of(han.boxed()),
            of(hangul.boxed()),
            of(kana.boxed()),
            of(pictures.boxed()),
            prop::collection::vec(any::<u8>(), 0..60)
                .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            prop::sample::select(fixtures),
        ];
        prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
    }

    #[test]
    fn an_estimate_is_never_below_the_count() {
        let (estimate, exact) = (Estimate::new(), Tiktoken::o200k_base().unwrap());
        let cases = ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(cases, |(text in texts())| {
            let (least, counted) = (exact.count(&text), estimate.count(&text));
            prop_assert!(least <= counted, "{counted} for {least}");
            prop_assert!(counted <= text.len());
        });
    }
}

#[cfg(feature = "tokenizers")]
mod file {
    use super::*;

    const TOKENIZER: &str = include_str!("../../testdata/tokens/tokenizer.json");

    #[test]
    fn tokens_are_counted_as_the_file_says() {
        let tokens = ModelTokens::parse("small", TOKENIZER.as_bytes()).unwrap();
        // The file cuts texts to four tokens and fills them up to four; a count is of the text as it is.
        let cases = [
            ("", 0),
            ("one", 1),
            ("one two", 2),
            ("One TWO ones", 4),
            ("one two one two one two", 6),
            ("xyz one", 2),
        ];
        for (text, expected) in cases {
            assert_eq!(tokens.count(text), expected, "{text}");
        }
        assert_eq!(tokens.name(), "small");
    }

    #[test]
    fn what_looks_like_a_special_token_is_text() {
        let tokens = ModelTokens::parse("small", TOKENIZER.as_bytes()).unwrap();
        // A bracket, a word and a bracket that the vocabulary has not.
        assert_eq!(tokens.count("[SEP]"), 3);
    }

    #[test]
    fn a_text_that_is_too_long_counts_by_bytes() {
        let tokens = ModelTokens::parse("small", TOKENIZER.as_bytes()).unwrap();
        let text = " ".repeat(MAX_TEXT + 1);
        assert_eq!(tokens.count(&text), text.len());
    }

    #[test]
    fn bad_files_are_refused() {
        let missing = ModelTokens::read("none", std::path::Path::new("/nowhere/tokenizer.json"));
        assert_eq!(missing.unwrap_err().code(), "AK0640");
        let folder = ModelTokens::read("none", &std::env::temp_dir());
        assert_eq!(folder.unwrap_err().code(), "AK0640");
        for bytes in [&b""[..], b"{}", b"\xff\xfe", &TOKENIZER.as_bytes()[..TOKENIZER.len() / 2]] {
            assert_eq!(ModelTokens::parse("bad", bytes).unwrap_err().code(), "AK0642");
        }
    }
}
