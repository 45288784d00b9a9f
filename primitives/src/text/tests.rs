use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;

fn readings(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    let seen = each_view(text, &Limits::DEFAULT, |view| {
        all.push(view.text.to_owned());
        ControlFlow::<()>::Continue(())
    });
    assert!(seen.is_ok(), "{seen:?}: {text}");
    all
}

#[test]
fn a_text_folds_to_what_it_compares_as() {
    for (text, expected) in [
        ("DROP \t\n TABLE", "drop table"),
        ("Ｄｒｏｐ\u{3000}𝐭𝐚𝐛𝐥𝐞", "drop table"),
        ("d\u{200b}r\u{2060}o\u{ad}p\u{0}", "drop"),
        ("STRASSE straße STRAẞE", "strasse strasse strasse"),
        ("ΟΔΟΣ οδος", "οδοσ οδοσ"),
        ("E\u{301} é", "é é"),
        ("НЕТ нет", "нет нет"),
        ("ﬁle №1", "file no1"),
    ] {
        assert_eq!(fold(text), expected, "{text}");
    }
}

#[test]
fn a_text_looks_like_its_latin_letters() {
    for (text, expected) in [
        ("ԁrор таblе", "drop table"),
        ("ІΗΟΡ іηορ", "ihop inop"),
        ("d̷r̷o̷p̷ résumé", "drop resume"),
        ("ᴅʀᴏᴘ", "drop"),
        ("🅳🆁🅾🅿 🇩🇷🇴🇵", "drop drop"),
        ("l1I O0 rn", "l1i o0 rn"),
        ("東京 日本", "東京 日本"),
    ] {
        assert_eq!(skeleton(text), expected, "{text}");
    }
}

#[test]
fn every_encoding_is_read() {
    for text in [
        "drop%20table",
        "drop+table",
        "%64%72%6F%70+%74able",
        "%u0064rop table",
        "drop%2520table",
        "&#100;rop&nbsp;&#x74;able",
        r"\u0064rop \x74able",
        r"\u{64}rop\ table",
        r"\144rop \U00000074able",
        "x=ZHJvcCB0YWJsZQ==",
        "path/to/ZHJvcCB0YWJsZQ",
        "see aZHJvcCB0YWJsZQ",
        "ZHJv\r\n  cCB0\r\n  YWJsZQ==",
        "ZABYAG8AcAAgAHQAYQBiAGwAZQA=".replace("ZABYAG8A", "ZAByAG8A").as_str(),
        "64726f70207461626c65",
        "64 72 6f 70 20 74 61 62 6c 65",
        "0x64,0x72,0x6f,0x70,0x20,0x74,0x61,0x62,0x6c,0x65",
        "a64726F70207461626C65",
        "d r o p   t a b l e",
        "d.r.o.p.t.a.b.l.e",
        "now:\u{e0064}\u{e0072}\u{e006f}\u{e0070}\u{e0020}\u{e0074}\u{e0061}\u{e0062}\u{e006c}\u{e0065}",
        "drop\u{2028}table",
    ] {
        let needles = Needles::new(["truncate", "drop table"]).unwrap();
        assert_eq!(needles.find(text, &Limits::DEFAULT), Ok(Some(1)), "{text}");
    }
}

#[test]
fn words_that_only_meet_without_their_blanks_are_not_found() {
    let needles = Needles::new(["drop", "to day"]).unwrap();
    for text in ["hard rope", "today", "d r a p e", "100% sure \\ & more + less", "ZHJ"] {
        assert_eq!(needles.find(text, &Limits::DEFAULT), Ok(None), "{text}");
    }
}

#[test]
fn no_character_folds_to_more_than_twelve_times_its_length() {
    // Beyond are ideographs and private use, which fold to themselves.
    for char in ('\0'..='\u{33ff}').chain('\u{a000}'..='\u{1ffff}') {
        let text = char.to_string();
        assert!(fold(&text).len() <= 12 * text.len(), "{char:?}");
        assert!(skeleton(&text).len() <= 12 * text.len(), "{char:?}");
    }
}

#[test]
fn a_word_that_folds_to_nothing_is_refused() {
    for word in ["", " ", "\u{200b}\u{ad}", "\u{301}"] {
        assert!(matches!(Needles::new(["a", word]), Err(BadNeedles::Empty { .. })), "{word:?}");
    }
    assert_eq!(Needles::new(["a".repeat(Needles::MAX_BYTES + 1)]).unwrap_err(), BadNeedles::TooMany);
}

#[test]
fn what_is_encoded_below_the_last_layer_is_not_called_absent() {
    let needles = Needles::new(["drop table"]).unwrap();
    let mut text = "drop table".to_owned();
    for layer in 0..6 {
        let found = needles.find(&text, &Limits::DEFAULT);
        let expected =
            if layer <= 3 { Ok(Some(0)) } else { Err(Incomplete::Depth { depth: Limits::DEFAULT.depth }) };
        assert_eq!(found, expected, "{text}");
        text = if layer % 2 == 0 { base64(text.as_bytes(), true) } else { percent(&text) };
    }
}

#[test]
fn a_text_that_swells_is_not_called_clean() {
    // One character of three bytes has a compatibility form of 33.
    let text = "\u{fdfa}".repeat(4096);
    let limits = Limits { expansion: 4, ..Limits::DEFAULT };
    let bytes = text.len() * 4 + Limits::SLACK;
    assert_eq!(Needles::new(["x"]).unwrap().find(&text, &limits), Err(Incomplete::Size { bytes }));
}

#[test]
fn large_texts_stay_within_their_bound() {
    const LENGTH: usize = 1 << 20;
    const SHORT: usize = LENGTH / 8;
    // Numerical Recipes' generator: noise that is the same every time.
    let noise: Vec<u8> =
        std::iter::successors(Some(1u32), |seed| Some(seed.wrapping_mul(1664525).wrapping_add(1013904223)))
            .map(|seed| (seed >> 24) as u8)
            .take(LENGTH)
            .collect();
    let prose = "The cat/dog of C:\\temp\\new is 100% sure & so on; see https://example.org/a+b?c=%20. ";
    for (name, text) in [
        ("letters", noise.iter().take(SHORT).map(|byte| char::from(byte % 94 + 33)).collect::<String>()),
        ("base64", base64(&noise[..LENGTH / 4 * 3], true)),
        ("percent", percent(&"a b".repeat(LENGTH / 9))),
        ("hex", noise.iter().take(SHORT / 2).map(|byte| format!("{byte:02x}")).collect()),
        ("prose", prose.repeat(SHORT / prose.len())),
        ("marks", "\u{301}".repeat(SHORT / 2)),
        ("spelt", "a ".repeat(SHORT / 2)),
        ("one word", "a".repeat(SHORT)),
    ] {
        let mut made = 0;
        let seen = each_view(&text, &Limits::DEFAULT, |view| {
            made += view.text.len();
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(seen, Ok(ControlFlow::Continue(())), "{name}");
        assert!(made <= text.len() * (1 + Limits::DEFAULT.expansion) + Limits::SLACK, "{name}: {made}");
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

fn base64(bytes: &[u8], padded: bool) -> String {
    let alphabet: &[u8] = if padded {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    } else {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    };
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..=three.len() {
            text.push(char::from(alphabet[(word >> (18 - 6 * place) & 63) as usize]));
        }
        text.push_str(&"=".repeat(if padded { 3 - three.len() } else { 0 }));
    }
    text
}

/// Ways to write a word that keep its looks.
#[derive(Clone, Copy, Debug)]
enum Disguise {
    Upper,
    FullWidth,
    Bold,
    Circled,
    LookAlike,
    ZeroWidth,
    Accents,
    Spelt,
    Tags,
}

impl Disguise {
    fn apply(self, word: &str) -> String {
        let shifted = |to: u32| {
            word.chars()
                .map(|char| {
                    char::from_u32(to + u32::from(char.to_ascii_lowercase()) - u32::from('a')).unwrap()
                })
                .collect()
        };
        match self {
            Self::Upper => word.to_uppercase(),
            Self::FullWidth => shifted(0xFF41),
            Self::Bold => shifted(0x1D41A),
            Self::Circled => shifted(0x24D0),
            Self::LookAlike => word
                .to_lowercase()
                .chars()
                .map(|char| match char {
                    'a' => 'а',
                    'c' => 'с',
                    'e' => 'е',
                    'i' => 'і',
                    'o' => 'ο',
                    'p' => 'ρ',
                    's' => 'ѕ',
                    't' => 'Т',
                    'h' => 'Η',
                    'm' => 'М',
                    'v' => 'ν',
                    'x' => 'х',
                    other => other,
                })
                .collect(),
            Self::ZeroWidth => word.chars().flat_map(|char| [char, '\u{200b}', '\u{2066}']).collect(),
            Self::Accents => word.chars().flat_map(|char| [char, '\u{301}', '\u{337}']).collect(),
            Self::Spelt => word.chars().fold(" ".to_owned(), |text, char| text + &format!("{char} ")),
            Self::Tags => {
                word.chars().map(|char| char::from_u32(0xE0000 + u32::from(char)).unwrap()).collect()
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Percent,
    PercentU,
    Base64,
    Base64Url,
    Base64Lines,
    Hex,
    HexPairs,
    JsonEscapes,
    ByteEscapes,
    References,
}

impl Encoding {
    fn apply(self, text: &str) -> String {
        let units = |before: &str| text.encode_utf16().map(|unit| format!("{before}{unit:04x}")).collect();
        let bytes = |before: &str, after: &str| {
            text.bytes().map(|byte| format!("{before}{byte:02X}{after}")).collect::<String>()
        };
        match self {
            Self::Percent => percent(text),
            Self::PercentU => units("%u"),
            Self::Base64 => base64(text.as_bytes(), true),
            Self::Base64Url => base64(text.as_bytes(), false),
            Self::Base64Lines => {
                let line = base64(text.as_bytes(), true);
                line.as_bytes()
                    .chunks(20)
                    .map(|line| format!("{}\r\n", str::from_utf8(line).unwrap()))
                    .collect()
            }
            Self::Hex => bytes("", ""),
            Self::HexPairs => bytes("", " "),
            Self::JsonEscapes => units("\\u"),
            Self::ByteEscapes => bytes("\\x", ""),
            Self::References => text.chars().map(|char| format!("&#{};", u32::from(char))).collect(),
        }
    }
}

fn disguise() -> impl Strategy<Value = Disguise> {
    use Disguise::{Accents, Bold, Circled, FullWidth, LookAlike, Spelt, Tags, Upper, ZeroWidth};
    prop::sample::select(vec![Upper, FullWidth, Bold, Circled, LookAlike, ZeroWidth, Accents, Spelt, Tags])
}

fn encoding() -> impl Strategy<Value = Encoding> {
    use Encoding::{
        Base64, Base64Lines, Base64Url, ByteEscapes, Hex, HexPairs, JsonEscapes, Percent, PercentU,
        References,
    };
    let all = vec![
        Percent,
        PercentU,
        Base64,
        Base64Url,
        Base64Lines,
        Hex,
        HexPairs,
        JsonEscapes,
        ByteEscapes,
        References,
    ];
    prop::sample::select(all)
}

proptest! {
    #[test]
    fn no_disguise_hides_a_word(
        word in "[a-zA-Z]{6,12}",
        disguise in disguise(),
        layers in prop::collection::vec((encoding(), "[a-z ]{0,3}", "[a-z ]{0,3}"), 0..3),
        late in prop::option::of(Just('\u{200d}')),
    ) {
        let mut text = disguise.apply(&word);
        for (encoding, before, after) in layers {
            text = format!("{before}{}{after}", encoding.apply(&text));
        }
        if let Some(late) = late {
            text = text.chars().flat_map(|char| [char, late]).collect();
        }
        let wanted = fold(&word);
        prop_assert!(readings(&text).iter().any(|reading| reading.contains(&wanted)), "{}", text);
        prop_assert_eq!(Needles::new([&word]).unwrap().find(&text, &Limits::DEFAULT), Ok(Some(0)));
    }

    #[test]
    fn folding_twice_is_folding_once(text in any::<String>()) {
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded);
        let looks = skeleton(&text);
        prop_assert_eq!(skeleton(&looks), looks);
    }

    #[test]
    fn case_and_invisible_characters_do_not_count(text in any::<String>()) {
        let veiled: String = text.chars().flat_map(|char| ['\u{200b}', char]).collect();
        prop_assert_eq!(fold(&veiled), fold(&text));
        prop_assert_eq!(fold(&text.to_uppercase()), fold(&text.to_uppercase().to_lowercase()));
    }

    #[test]
    fn any_text_is_read_within_its_bound(text in any::<String>(), expansion in 0usize..4) {
        let limits = Limits { expansion, ..Limits::DEFAULT };
        let mut made = 0;
        let seen = each_view(&text, &limits, |view| {
            made += view.text.len();
            ControlFlow::<()>::Continue(())
        });
        prop_assert!(made <= text.len() * (1 + expansion) + Limits::SLACK);
        prop_assert!(seen.is_err() || text.len() <= made);
    }
}
