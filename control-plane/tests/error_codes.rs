//! Error codes: one meaning each, and all of them documented.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

/// Codes that several errors share on purpose, because what is wrong is the same: the name of an agent.
const SHARED: [&str; 1] = ["AK0905"];

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn crate_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// How often each code is written in a file or in all files of a folder, tests and comments left out.
fn codes(path: &Path, found: &mut BTreeMap<String, usize>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            codes(&entry.unwrap().path(), found);
        }
        return;
    }
    // A file of tests is not behind an attribute of its own.
    if path.file_stem().is_some_and(|name| name.to_string_lossy().ends_with("tests")) {
        return;
    }
    let text = read(path);
    let library = text.split("#[cfg(test)]").next().unwrap();
    // Documentation may give an example.
    let library: Vec<&str> = library.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for code in Regex::new(r#""(AK[0-9]{4})""#).unwrap().captures_iter(&library.join("\n")) {
        *found.entry(code[1].to_owned()).or_default() += 1;
    }
}

fn codes_in(path: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    codes(&crate_file(path), &mut found);
    assert!(!found.is_empty(), "`{path}` has no codes");
    found
}

/// The codes that have a page of their own.
fn pages() -> BTreeSet<String> {
    let names =
        std::fs::read_dir(crate_file("../docs/errors")).unwrap().map(|entry| entry.unwrap().file_name());
    names
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".md")?.to_owned()))
        .filter(|name| name != "README")
        .collect()
}

/// The codes that have a row in the list.
fn rows() -> Vec<String> {
    let row = Regex::new(r"(?m)^\| \[?(AK[0-9]{4})\b").unwrap();
    let list = read(&crate_file("../docs/errors/README.md"));
    row.captures_iter(&list).map(|row| row[1].to_owned()).collect()
}

#[test]
fn no_code_stands_for_two_things() {
    let mut found = codes_in("src");
    codes(&crate_file("../emk/src"), &mut found);
    for (code, times) in found {
        assert!(times == 1 || SHARED.contains(&code.as_str()), "`{code}` is given in {times} places");
    }
    let rows = rows();
    let distinct: BTreeSet<&String> = rows.iter().collect();
    assert_eq!(distinct.len(), rows.len(), "a code has two rows");
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let known: BTreeSet<String> = codes_in("src").into_keys().collect();
    let documented: BTreeSet<String> = pages().into_iter().chain(rows()).collect();
    assert_eq!(
        known.difference(&documented).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "without page or row"
    );
    assert_eq!(
        documented.difference(&known).collect::<Vec<_>>(),
        Vec::<&String>::new(),
        "nobody gives these"
    );
}

#[test]
fn every_refusal_has_a_page_that_speaks_to_the_agent_and_the_operator() {
    let pages = pages();
    for code in codes_in("src/denial.rs").into_keys() {
        assert!(pages.contains(&code), "`{code}` has no page");
    }
    for code in pages {
        let page = read(&crate_file(&format!("../docs/errors/{code}.md")));
        assert!(page.starts_with(&format!("# {code}: ")), "{code}: the title");
        let page = page.to_lowercase();
        for reader in ["agent", "operator"] {
            assert!(page.contains(reader), "{code}: nothing for the {reader}");
        }
    }
}
