//! What stores over vector engines have in common: a file as a document with an id, a text and metadata of plain values, and
//! the filters that find it again.
//!
//! Every file and directory is one document. Engines filter by equality alone, so a document names every directory it lies
//! in, one key to a level: what lies below `a/b` is what has `in2 = "a/b"`.

use std::fmt;

use agent_primitives::{Digest, Timestamp};
use serde_json::{Map, Value, json};

use super::remote::{damaged, labels_from_text, labels_to_text};
use super::{Answer, Kind, RelPath, Stat, Version, VfsError};

/// Most bytes of a file's text that a hit shows.
const MAX_SHOWN: usize = 4096;

/// Turns a text into a vector, so that texts of like meaning lie near each other. Given by the host; a model, as a rule, and
/// so it is never called where a decision is made, only where the host mounted such a store.
pub trait Embedder: fmt::Debug + Send + Sync {
    /// How many numbers a vector has; the same for every text.
    fn dimensions(&self) -> usize;

    /// The vector of `text`: finite numbers, not all zero, whatever the text. Equal texts have equal vectors.
    ///
    /// # Errors
    /// A failure of the model, as what the file's operation then answers: `Backend` or `Timeout`.
    fn embed<'a>(&'a self, text: &'a str) -> Answer<'a, Vec<f32>>;
}

/// The id of the document for `path`. Of one length, whatever the path, and a UUID's size for engines that want one.
pub(super) fn id(path: &str) -> String {
    let digest = Digest::of("agent-os vfs document v1", path.as_bytes());
    digest.as_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What is kept with the text of what lies at `path`. Every key is there each time: some engines merge what is written with
/// what was there.
pub(super) fn metadata(path: RelPath<'_>, stat: &Stat, is_text: bool) -> Map<String, Value> {
    let mut keys = Map::new();
    let (parent, name) = path.split_name().map_or(("", ""), |(parent, name)| (parent.as_str(), name));
    keys.insert("kind".into(), json!(if stat.kind == Kind::File { "file" } else { "directory" }));
    keys.insert("path".into(), json!(path.as_str()));
    keys.insert("parent".into(), json!(format!("/{parent}")));
    keys.insert("name".into(), json!(name));
    keys.insert("labels".into(), json!(labels_to_text(&stat.labels)));
    keys.insert("size".into(), json!(stat.size));
    keys.insert("version".into(), json!(format!("{:032x}", stat.version.map_or(0, Version::as_u128))));
    keys.insert("expires".into(), json!(stat.expires.map_or(i64::MAX, Timestamp::as_micros)));
    keys.insert("text".into(), json!(is_text));
    let above = std::iter::successors(path.split_name(), |(parent, _)| parent.split_name());
    for (parent, _) in above.filter(|(parent, _)| !parent.is_root()) {
        keys.insert(within(parent), json!(parent.as_str()));
    }
    keys
}

/// The key under which what lies below `directory` names it.
fn within(directory: RelPath<'_>) -> String {
    format!("in{}", directory.segments().count())
}

/// A filter for the documents directly in `directory`.
pub(super) fn directly_in(directory: RelPath<'_>) -> (String, Value) {
    ("parent".into(), json!(format!("/{directory}")))
}

/// A filter for the documents anywhere below `directory`; the root needs none.
pub(super) fn below(directory: RelPath<'_>) -> Option<(String, Value)> {
    (!directory.is_root()).then(|| (within(directory), json!(directory.as_str())))
}

/// A text value of a document.
pub(super) fn text_of<'a>(metadata: &'a Value, key: &str) -> Result<&'a str, VfsError> {
    metadata.get(key).and_then(Value::as_str).ok_or_else(|| damaged("metadata"))
}

/// What a document says is there.
pub(super) fn stat(metadata: &Value) -> Result<Stat, VfsError> {
    let labels = labels_from_text(text_of(metadata, "labels")?)?;
    if text_of(metadata, "kind")? != "file" {
        return Ok(Stat::directory(labels));
    }
    let version = u128::from_str_radix(text_of(metadata, "version")?, 16).map_err(|_| damaged("version"))?;
    let size = metadata.get("size").and_then(Value::as_u64).ok_or_else(|| damaged("size"))?;
    let expires = metadata.get("expires").and_then(Value::as_i64).ok_or_else(|| damaged("expires"))?;
    let expires = (expires != i64::MAX).then(|| Timestamp::from_micros(expires));
    Ok(Stat::file(size, Version::from_u128(version), labels).expiring(expires))
}

/// Content as the text of a document, and whether it is text. What is not UTF-8 has a character for each byte.
pub(super) fn to_text(content: &[u8]) -> (String, bool) {
    match std::str::from_utf8(content) {
        Ok(text) => (text.to_owned(), true),
        Err(_) => (content.iter().copied().map(char::from).collect(), false),
    }
}

/// The content that a document's text and metadata stand for.
pub(super) fn to_content(text: &str, metadata: &Value) -> Result<Vec<u8>, VfsError> {
    if metadata.get("text").and_then(Value::as_bool).ok_or_else(|| damaged("metadata"))? {
        return Ok(text.as_bytes().to_vec());
    }
    text.chars().map(|letter| u8::try_from(letter).map_err(|_| damaged("text"))).collect()
}

/// What a hit shows of `text`.
pub(super) fn shown(text: &str) -> String {
    let fits = |(at, letter): &(usize, char)| at + letter.len_utf8() <= MAX_SHOWN;
    text.char_indices().take_while(fits).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_content_comes_back_from_its_text() {
        for content in [&b""[..], b"text", "caf\u{e9}\0".as_bytes(), &[0, 0xff, 0xfe, 0x80, b'a']] {
            let (text, is_text) = to_text(content);
            assert_eq!(to_content(&text, &json!({ "text": is_text })).unwrap(), content);
        }
    }

    #[test]
    fn a_document_says_what_is_there_and_where() {
        let labels = agent_primitives::LabelSet::new(["pii".parse().unwrap()]).unwrap();
        let stat = Stat::file(3, Version::from_u128(7), labels).expiring(Some(Timestamp::from_micros(5)));
        let path = RelPath::parse("a/b/c").unwrap();
        let keys = Value::Object(metadata(path, &stat, true));
        assert_eq!(super::stat(&keys), Ok(stat));
        let above = ["a", "a/b"].map(|path| below(RelPath::parse(path).unwrap()).unwrap());
        for (key, value) in above.into_iter().chain([directly_in(RelPath::parse("a/b").unwrap())]) {
            assert_eq!(keys.get(&key), Some(&value), "{key}");
        }
        assert_eq!(below(RelPath::parse("").unwrap()), None);
    }
}
