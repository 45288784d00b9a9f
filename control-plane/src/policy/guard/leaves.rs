//! Every text in a value, and the texts that neighbours make together.

use std::borrow::Cow;

use serde_json::Value;

use super::{Operand, Truth};

/// Most texts, keys and numbers in one value that are looked at.
const MAX_LEAVES: usize = 20_000;

/// The texts of a value.
#[derive(Debug)]
pub(super) struct Leaves<'v> {
    /// Keys, texts, and numbers as they print, in the order of the document.
    pub(super) each: Vec<Cow<'v, str>>,
    /// All texts put together, keys and numbers aside: without a separator and with a blank, in the order of the
    /// document and, if an object has several entries, in the opposite order of entries. The order of keys is the
    /// caller's choice, or the transport's, so neither may hide a word that was split over two fields.
    pub(super) joined: Vec<String>,
}

impl<'v> Leaves<'v> {
    /// `None` if there are too many.
    pub(super) fn of(operand: Operand<'v>) -> Option<Self> {
        let mut each = Vec::new();
        let mut several = false;
        let forward = collect(operand, false, |leaf| match leaf {
            Leaf::Key(text) | Leaf::Text(text) => each.push(Cow::Borrowed(text)),
            Leaf::Number(number) => each.push(Cow::Owned(number)),
            Leaf::Entries(count) => several |= 1 < count,
        })?;
        let mut joined = Vec::new();
        if 1 < forward.len() {
            joined.extend([forward.concat(), forward.join(" ")]);
            if several {
                let backward = collect(operand, true, |_| {})?;
                joined.extend([backward.concat(), backward.join(" ")]);
            }
        }
        Some(Self { each, joined })
    }

    /// Every text, those put together last.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.each.iter().map(|text| &**text).chain(self.joined.iter().map(String::as_str))
    }

    /// Whether any text passes, else unknown if any could not be judged.
    pub(super) fn any(&self, judge: impl FnMut(&str) -> Truth) -> Truth {
        Truth::any(self.all().map(judge))
    }
}

/// One step of the walk.
enum Leaf<'v> {
    Key(&'v str),
    Text(&'v str),
    Number(String),
    /// How many entries an object has.
    Entries(usize),
}

/// Walks the value and returns its texts in order; `None` if there are too many leaves.
fn collect<'v>(
    operand: Operand<'v>,
    backward: bool,
    mut visit: impl FnMut(Leaf<'v>),
) -> Option<Vec<&'v str>> {
    let mut pending: Vec<&Value> = match operand {
        Operand::Text(text) => {
            visit(Leaf::Text(text));
            return Some(vec![text]);
        }
        Operand::Json(value) => vec![value],
        Operand::Items(items) => items.iter().rev().collect(),
    };
    let (mut texts, mut room) = (Vec::new(), MAX_LEAVES);
    while let Some(value) = pending.pop() {
        room = room.checked_sub(1)?;
        match value {
            Value::String(text) => {
                texts.push(text.as_str());
                visit(Leaf::Text(text));
            }
            Value::Number(number) => visit(Leaf::Number(number.to_string())),
            Value::Array(items) => pending.extend(items.iter().rev()),
            Value::Object(entries) => {
                room = room.checked_sub(entries.len())?;
                visit(Leaf::Entries(entries.len()));
                entries.keys().for_each(|key| visit(Leaf::Key(key)));
                if backward {
                    pending.extend(entries.values());
                } else {
                    pending.extend(entries.values().rev());
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
    Some(texts)
}

/// Every text, keys included, without those put together.
pub(super) fn texts<'v>(operand: Operand<'v>) -> Option<Vec<&'v str>> {
    let mut texts = Vec::new();
    collect(operand, false, |leaf| {
        if let Leaf::Key(text) | Leaf::Text(text) = leaf {
            texts.push(text);
        }
    })?;
    Some(texts)
}
