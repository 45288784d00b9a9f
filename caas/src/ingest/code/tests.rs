use proptest::prelude::*;

use super::*;

/// The blocks of a program, one a line: kind, path, first line.
fn shown(text: &str, language: Language) -> Vec<String> {
    let (blocks, quality) = parse(text, language, &Limits::DEFAULT).unwrap();
    covered(text, &blocks);
    assert!((quality - 1.0).abs() < f32::EPSILON, "{quality}");
    blocks.iter().map(|block| line(text, block)).collect()
}

fn line(text: &str, block: &Block) -> String {
    let first = text[block.range.clone()].lines().next().unwrap().trim();
    format!("{:?} [{}] {first}", block.kind, block.path.join(" > "))
}

fn covered(text: &str, blocks: &[Block]) {
    let mut at = 0;
    for block in blocks {
        assert!(at <= block.range.start && block.range.start < block.range.end);
        assert!(text[at..block.range.start].trim().is_empty(), "left out: {}", &text[at..block.range.start]);
        at = block.range.end;
    }
    assert!(text[at..].trim().is_empty());
}

#[test]
fn items_of_python() {
    assert_eq!(shown(include_str!("../../../testdata/code/ledger.py"), Language::Python), [""]);
}

#[test]
fn items_of_rust() {
    assert_eq!(shown(include_str!("../../../testdata/code/ledger.rs"), Language::Rust), [""]);
}

#[test]
fn items_of_typescript() {
    assert_eq!(shown(include_str!("../../../testdata/code/ledger.ts"), Language::TypeScript), [""]);
}

#[test]
fn items_of_typescript_with_elements() {
    assert_eq!(shown(include_str!("../../../testdata/code/view.tsx"), Language::TypeScript), [""]);
}

#[test]
fn items_of_javascript() {
    assert_eq!(shown(include_str!("../../../testdata/code/ledger.js"), Language::JavaScript), [""]);
}

#[test]
fn items_of_go() {
    assert_eq!(shown(include_str!("../../../testdata/code/ledger.go"), Language::Go), [""]);
}

#[test]
fn items_of_java() {
    assert_eq!(shown(include_str!("../../../testdata/code/Ledger.java"), Language::Java), [""]);
}

#[test]
fn items_of_c() {
    assert_eq!(shown(include_str!("../../../testdata/code/ledger.c"), Language::C), [""]);
}

#[test]
fn items_of_cpp() {
    assert_eq!(shown(include_str!("../../../testdata/code/ledger.cpp"), Language::Cpp), [""]);
}

#[test]
fn what_is_against_the_grammar_is_parted_by_blank_lines_and_the_rest_is_read() {
    let text = "def a():\n    return 1\n\n\nthis is )( no ]] python at all\n\n=== nor is :: this\n\n\ndef b():\n    return 2\n";
    let (blocks, quality) = parse(text, Language::Python, &Limits::DEFAULT).unwrap();
    covered(text, &blocks);
    assert!(0.2 < quality && quality < 1.0, "{quality}");
    let names: Vec<String> = blocks.iter().map(|block| line(text, block)).collect();
    assert!(names.contains(&"Signature [] def a():".to_owned()), "{names:?}");
    assert!(names.contains(&"Signature [] def b():".to_owned()), "{names:?}");
}

#[test]
fn an_item_that_never_ends_is_no_reason_to_lose_the_others() {
    let whole = include_str!("../../../testdata/code/ledger.rs");
    let text = whole.replacen("self.entries.len()\n    }\n}", "self.entries.len()\n", 1);
    assert_ne!(text, whole);
    let (blocks, quality) = parse(&text, Language::Rust, &Limits::DEFAULT).unwrap();
    covered(&text, &blocks);
    assert!(quality < 1.0);
    assert!(blocks.iter().any(|block| line(&text, block).contains("pub struct Ledger")
        || text[block.range.clone()].contains("pub struct Ledger") && block.kind == BlockKind::Signature));
}

#[test]
fn depth_is_bounded_by_the_limits_and_never_by_the_stack() {
    let deep = format!("fn f() {{ {}1{} }}", "(".repeat(50_000), ")".repeat(50_000));
    covered(&deep, &parse(&deep, Language::Rust, &Limits::DEFAULT).unwrap().0);
    let open = "(".repeat(50_000);
    covered(&open, &parse(&open, Language::JavaScript, &Limits::DEFAULT).unwrap().0);
    let modules = format!("{}{}", "mod m { ".repeat(300), "}".repeat(300));
    assert_eq!(parse(&modules, Language::Rust, &Limits::DEFAULT).unwrap_err().code(), "AK0757");
    let branches = format!("#if A\nint a;\n{}#endif\n", "#elif B\nint b;\n".repeat(400));
    covered(&branches, &parse(&branches, Language::C, &Limits::DEFAULT).unwrap().0);
}

#[test]
fn blocks_are_bounded_by_the_limits() {
    let limits = Limits { blocks: 10, ..Limits::DEFAULT };
    let many = "fn f() {}\n".repeat(6);
    assert_eq!(parse(&many, Language::Rust, &limits).unwrap_err().code(), "AK0757");
    assert_eq!(parse(&many[..50], Language::Rust, &limits).unwrap().0.len(), 10);
}

#[test]
fn a_program_that_is_too_long_for_a_tree_is_parted_by_blank_lines() {
    let long = "x = 1\n\n".repeat((2 << 20) / 7 + 1);
    let limits = Limits { blocks: 1 << 20, ..Limits::DEFAULT };
    let (blocks, quality) = parse(&long, Language::Python, &limits).unwrap();
    assert!(quality.abs() < f32::EPSILON);
    assert!(299_000 < blocks.len());
}

fn program() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "fn f() {",
        "}",
        "impl X {",
        "def f():\n",
        "    ",
        "\n",
        "\n\n",
        "class A",
        "{",
        "(",
        ")",
        "// c\n",
        "# c\n",
        "/* c */",
        "/*",
        "\"",
        "'",
        "\"\"\"",
        "import a\n",
        "use a::b;\n",
        "#include <a>\n",
        "#if A\n",
        "#else\n",
        "#endif\n",
        "@d\n",
        "#[a]\n",
        "export ",
        "const a = ",
        "=> ",
        ";",
        "type T struct ",
        "func f() ",
        "template <typename T> ",
        "namespace n ",
        "x",
        "é",
        "👍🏽",
        "\t",
        "async ",
        "public ",
        "int a",
        "Copyright ",
        "//! i\n",
        "return 1\n",
        "\0",
        "`${",
        "enum E ",
        ": ",
    ]);
    proptest::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_byte_is_in_one_block(text in program()) {
        for language in Language::ALL {
            let (blocks, quality) = parse(&text, *language, &Limits::DEFAULT).unwrap();
            covered(&text, &blocks);
            prop_assert!((0.0..=1.0).contains(&quality));
        }
    }
}
