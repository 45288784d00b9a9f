//! Error codes: one meaning each, and all of them in the README.

#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::collections::BTreeMap;
use std::path::Path;

/// Codes that two errors share on purpose, because what is wrong is the same: the server of a tool.
const SHARED: [&str; 1] = ["AK0590"];

/// The codes in a text that come after `mark`, in order.
fn codes<'a>(text: &'a str, mark: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(mark).skip(1).filter_map(|rest| rest.get(..6)).filter(|code| {
        code.strip_prefix("AK").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

/// How often each code is given in the library; tests and documentation may give examples.
fn given(path: &Path, found: &mut BTreeMap<String, usize>) {
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| given(&entry.unwrap().path(), found));
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = std::fs::read_to_string(path).unwrap();
        let library = text.split("#[cfg(test)]").next().unwrap().lines();
        for line in library.filter(|line| !line.trim_start().starts_with("//")) {
            codes(line, "\"").for_each(|code| *found.entry(code.to_owned()).or_default() += 1);
        }
    }
}

#[test]
fn every_code_means_one_thing_and_has_its_place_in_the_readme() {
    let mut found = BTreeMap::new();
    given(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(60 < found.len(), "{found:?}");
    for (code, times) in &found {
        let shared = SHARED.contains(&code.as_str());
        assert!(*times == 1 || shared, "`{code}` is given in {times} places");
    }
    let (_, list) = include_str!("../README.md").split_once("## Error codes").unwrap();
    let rows = list.lines().filter(|line| line.starts_with("| AK"));
    let documented: Vec<&str> =
        rows.flat_map(|row| row.split([' ', '|'])).filter(|word| word.starts_with("AK")).collect();
    assert_eq!(documented, found.keys().map(String::as_str).collect::<Vec<_>>());
}
