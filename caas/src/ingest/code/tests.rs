#![cfg(feature = "code")]
#![expect(clippy::string_slice, reason = "a test may fail loudly")]

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
    assert_eq!(
        shown(include_str!("../../../testdata/code/ledger.py"), Language::Python),
        [
            "Licence [] #!/usr/bin/env python3",
            r#"Comment [] """A ledger of payments.""""#,
            "Imports [] from __future__ import annotations",
            r#"Body [] LIMIT = Decimal("1000")"#,
            "Comment [] # Not about the class below.",
            "Signature [] class Ledger(Base):",
            r#"Body [class Ledger(Base)] """Payments, in order.""""#,
            "Signature [class Ledger(Base)] class Entry:",
            "Signature [class Ledger(Base) > class Entry] def __init__(self, amount):",
            "Body [class Ledger(Base) > class Entry > def __init__(self, amount)] self.amount = amount",
            "Signature [class Ledger(Base)] @property",
            "Body [class Ledger(Base) > def total(self) -> Decimal] return sum(entry.amount for entry in self.entries)",
            "Signature [class Ledger(Base)] # Waits for the store.",
            r#"Body [class Ledger(Base) > async def append(self, amount: Decimal, memo: str = "") -> int] await self.store.put(amount)"#,
            "Signature [] async def main():",
            "Body [async def main()] await Ledger().append(Decimal(1))",
            r#"Body [] if __name__ == "__main__":"#,
        ]
    );
}

#[test]
fn items_of_rust() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/ledger.rs"), Language::Rust),
        [
            "Licence [] // Copyright the authors.",
            "Comment [] //! A ledger of payments.",
            "Body [] #![forbid(unsafe_code)]",
            "Imports [] use std::fmt;",
            "Signature [] /// Most payments.",
            "Signature [] /// Payments, in order.",
            "Body [pub struct Ledger] {",
            "Signature [] struct Unit(u32);",
            "Signature [] impl Ledger {",
            "Signature [impl Ledger] /// Puts a payment to the others.",
            "Body [impl Ledger > pub fn append(&mut self, amount: u64) -> usize] {",
            "Signature [impl Ledger] const fn size(&self) -> usize",
            "Body [impl Ledger > const fn size(&self) -> usize] {",
            "Signature [] pub trait Store {",
            "Signature [pub trait Store] fn put(&self, amount: u64);",
            "Comment [pub trait Store] // Nothing is behind this.",
            "Signature [] mod inner {",
            "Signature [mod inner] impl super::Store for u8 {",
            "Signature [mod inner > impl super::Store for u8] fn put(&self, _: u64)",
            "Body [mod inner > impl super::Store for u8 > fn put(&self, _: u64)] {}",
            "Signature [] macro_rules! twice {",
            "Body [macro_rules! twice] ($one:expr) => {",
        ]
    );
}

#[test]
fn items_of_typescript() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/ledger.ts"), Language::TypeScript),
        [
            "Licence [] // SPDX-License-Identifier: MIT",
            r#"Imports [] import { Store } from "./store";"#,
            "Signature [] /** How a payment looks. */",
            "Body [export interface Payment] {",
            "Signature [] export type Id = string;",
            "Signature [] @injectable()",
            "Body [export class Ledger extends Base] private size = 0;",
            "Signature [export class Ledger extends Base] constructor(private store: Store)",
            "Body [export class Ledger extends Base > constructor(private store: Store)] {",
            "Signature [export class Ledger extends Base] /** Puts a payment to the others. */",
            "Body [export class Ledger extends Base > async append(payment: Payment): Promise<number>] {",
            "Signature [] export const double = (amount: number): number =>",
            "Body [export const double = (amount: number): number] {",
            "Signature [] namespace Inner {",
            "Signature [namespace Inner] export function half(amount: number)",
            "Body [namespace Inner > export function half(amount: number)] {",
            "Body [] start();",
        ]
    );
}

#[test]
fn items_of_typescript_with_elements() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/view.tsx"), Language::TypeScript),
        [
            r#"Imports [] import React from "react";"#,
            "Signature [] export function View({ total }: { total: number })",
            "Body [export function View({ total }: { total: number })] {",
        ]
    );
}

#[test]
fn items_of_javascript() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/ledger.js"), Language::JavaScript),
        [
            "Comment [] #!/usr/bin/env node",
            r#"Imports [] import { store } from "./store.js";"#,
            "Signature [] class Ledger {",
            "Body [class Ledger] #size = 0;",
            "Signature [class Ledger] get size()",
            "Body [class Ledger > get size()] {",
            "Signature [class Ledger] static async open(path)",
            "Body [class Ledger > static async open(path)] {",
            "Signature [] function* entries()",
            "Body [function* entries()] {",
            "Signature [] const add = (a, b) =>",
            "Body [const add = (a, b)] a + b;",
            "Body [] export default Ledger;",
        ]
    );
}

#[test]
fn items_of_go() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/ledger.go"), Language::Go),
        [
            "Licence [] // Copyright the authors.",
            "Comment [] // Package ledger holds payments.",
            "Imports [] package ledger",
            "Signature [] // ErrFull says that there is no room.",
            "Signature [] // Ledger holds payments, in order.",
            "Body [type Ledger struct] entries []int",
            "Signature [] // Append puts a payment to the others.",
            "Body [func (l *Ledger) Append(amount int) (int, error)] {",
            "Signature [] func New() *Ledger",
            "Body [func New() *Ledger] {",
        ]
    );
}

#[test]
fn items_of_java() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/Ledger.java"), Language::Java),
        [
            "Licence [] /* Copyright the authors. */",
            "Imports [] package org.example;",
            "Signature [] /** Payments, in order. */",
            "Body [public class Ledger implements Store] private final List<Long> entries;",
            "Signature [public class Ledger implements Store] public Ledger(List<Long> entries)",
            "Body [public class Ledger implements Store > public Ledger(List<Long> entries)] {",
            "Signature [public class Ledger implements Store] /** Puts a payment to the others. */",
            "Body [public class Ledger implements Store > public int append(long amount)] {",
            "Signature [public class Ledger implements Store] enum State {",
            "Body [public class Ledger implements Store > enum State] OPEN, CLOSED;",
            "Signature [public class Ledger implements Store > enum State] boolean isOpen()",
            "Body [public class Ledger implements Store > enum State > boolean isOpen()] {",
            "Signature [] interface Store {",
            "Signature [interface Store] int append(long amount);",
        ]
    );
}

#[test]
fn items_of_c() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/ledger.c"), Language::C),
        [
            "Licence [] /* SPDX-License-Identifier: MIT */",
            "Body [] #ifndef LEDGER_H",
            "Signature [] #define LEDGER_H",
            "Imports [] #include <stddef.h>",
            "Signature [] #define LIMIT 1000",
            "Signature [] /* Payments, in order. */",
            "Body [typedef struct ledger] {",
            "Signature [] struct entry",
            "Body [struct entry] {",
            "Signature [] size_t ledger_size(const ledger *one);",
            "Signature [] /* Puts a payment to the others. */",
            "Body [static int append(ledger *one, long amount)] {",
        ]
    );
}

#[test]
fn items_of_cpp() {
    assert_eq!(
        shown(include_str!("../../../testdata/code/ledger.cpp"), Language::Cpp),
        [
            "Licence [] // Copyright the authors.",
            "Imports [] #include <vector>",
            "Signature [] namespace pay {",
            "Signature [namespace pay] /// Payments, in order.",
            "Body [namespace pay > template <typename T> class Ledger : public Base] public:",
            "Signature [namespace pay > template <typename T> class Ledger : public Base] explicit Ledger(T first) : entries{first}",
            "Body [namespace pay > template <typename T> class Ledger : public Base > explicit Ledger(T first) : entries{first}] {}",
            "Signature [namespace pay > template <typename T> class Ledger : public Base] int append(T amount);",
            "Signature [namespace pay > template <typename T> class Ledger : public Base] T total() const",
            "Body [namespace pay > template <typename T> class Ledger : public Base > T total() const] {",
            "Body [namespace pay > template <typename T> class Ledger : public Base] private:",
            "Signature [namespace pay] template <typename T>",
            "Body [namespace pay > template <typename T> int Ledger<T>::append(T amount)] {",
            r#"Signature [] extern "C" {"#,
            r#"Signature [extern "C"] int ledger_size();"#,
        ]
    );
}

#[test]
fn what_is_against_the_grammar_is_parted_by_blank_lines_and_the_rest_is_read() {
    let text = "def a():\n    return 1\n\n\nx = = )\n\n\ndef b():\n    return 2\n";
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
    let names: Vec<String> = blocks.iter().map(|block| line(&text, block)).collect();
    assert!(names.contains(&"Signature [] /// Payments, in order.".to_owned()), "{names:?}");
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

/// A comment that does not end is looked for its end from wherever one might begin.
#[test]
fn a_program_that_would_be_read_over_and_over_is_parted_by_blank_lines() {
    for (unit, language) in [("/* # // \n", Language::C), ("R\"a(r#\"`${ \n", Language::Rust)] {
        let text = unit.repeat(20_000);
        let (blocks, quality) = parse(&text, language, &Limits::DEFAULT).unwrap();
        covered(&text, &blocks);
        assert_eq!((blocks.len(), quality), (1, 0.0), "{language}");
    }
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
