//! What the stores behind servers have in common: their connections, how labels are written down, and how a path that was
//! looked up segment by segment is made sense of.

mod error;
mod link;
#[cfg(any(feature = "postgres", feature = "chroma"))]
mod way;

use agent_primitives::{Label, LabelSet};

use super::{Version, VfsError};

pub use error::StoreError;
#[cfg(feature = "redis")]
pub(super) use link::Lease;
pub(super) use link::{Link, Pool, drive};
#[cfg(feature = "postgres")]
pub(super) use way::Change;
#[cfg(any(feature = "postgres", feature = "chroma"))]
pub(super) use way::{at, plan};

/// Longest name of a store, in bytes.
pub const MAX_STORE_NAME: usize = 63;

/// Most connections one store keeps to its server. Further operations wait for one of them.
pub const MAX_CONNECTIONS: usize = 8;

/// Most entries a store behind a server answers at a time, whatever was asked for.
pub(super) const MAX_PAGE: usize = 16_384;

/// `name`, if it may name a store: 3 to [`MAX_STORE_NAME`] of `[a-z0-9-]`, beginning and ending with a letter or digit.
/// Every engine can keep such a name, and none takes a character of it for something else.
pub(super) fn store_name(name: &str) -> Result<String, StoreError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let fits = (3..=MAX_STORE_NAME).contains(&name.len());
    let inner = name.bytes().all(|byte| plain(byte) || byte == b'-');
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().last().is_some_and(plain);
    if fits && inner && ends { Ok(name.to_owned()) } else { Err(StoreError::Name { name: name.to_owned() }) }
}

/// A set of labels as text: one to a line, which none of them can hold.
pub(super) fn labels_to_text(labels: &LabelSet) -> String {
    labels.iter().map(Label::as_str).collect::<Vec<_>>().join("\n")
}

/// The labels in `text`. What is no label was not written by this program, so the file is not to be trusted.
pub(super) fn labels_from_text(text: &str) -> Result<LabelSet, VfsError> {
    let labels = text.split('\n').filter(|line| !line.is_empty()).map(str::parse);
    let labels: Vec<Label> = labels.collect::<Result<_, _>>().map_err(|_| damaged("labels"))?;
    Ok(LabelSet::new(labels)?)
}

/// A version of two halves: when the state was made, and its number in the store. A server that lost its last writes counts on
/// from an earlier number, at another time.
pub(super) fn version(micros: i64, number: u64) -> Version {
    Version::from_u128(u128::from(micros.cast_unsigned()) << 64 | u128::from(number))
}

/// What a server keeps is not what this program wrote there.
pub(super) fn damaged(what: &'static str) -> VfsError {
    tracing::warn!(what, "a store behind a server holds what was not written by this program");
    VfsError::Backend
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_has_a_name_that_every_engine_can_keep() {
        for (name, fits) in [
            ("agent-7", true),
            ("abc", true),
            ("ab", false),
            ("-ab", false),
            ("ab-", false),
            ("a:b", false),
            ("A-b", false),
            ("a\"b", false),
            (&"a".repeat(63), true),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(store_name(name).is_ok(), fits, "{name}");
        }
    }

    #[test]
    fn labels_come_back_from_text_and_what_is_none_is_refused() {
        for labels in [&[][..], &["pii"], &["mcp:github", "pii", "untrusted"]] {
            let labels = LabelSet::new(labels.iter().map(|label| label.parse().unwrap())).unwrap();
            assert_eq!(labels_from_text(&labels_to_text(&labels)), Ok(labels));
        }
        assert_eq!(labels_from_text("no label!"), Err(VfsError::Backend));
    }
}
