//! What the bytes of a string mean in a font, and how wide they are.

use std::collections::HashMap;

use lopdf::{Dictionary, Document, Encoding, Object};

use super::super::IngestError;
use super::{Budget, refused};

/// Most entries of a font's table of widths that are read.
const MAX_WIDTHS: usize = 70_000;

/// A font of a page.
pub(super) struct Font<'d> {
    encoding: Encoding<'d>,
    /// Whether a character is two bytes, as in the fonts of large scripts.
    pair: bool,
    /// Widths in thousandths of the font's size.
    widths: HashMap<u32, f32>,
    other: f32,
}

impl<'d> Font<'d> {
    pub(super) fn of(
        font: &'d Dictionary,
        document: &'d Document,
        budget: &mut Budget<'_>,
    ) -> Result<Self, IngestError> {
        let encoding = font
            .get_font_encoding_with_limit(document, budget.most())
            .map_err(|error| refused(&error, budget))?;
        let pair = font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|name| name == b"Type0");
        let (widths, other) = if pair { wide(font, document) } else { narrow(font, document) };
        Ok(Self { encoding, pair, widths, other })
    }

    /// The text of a string. `None` if the font does not tell.
    pub(super) fn text(&self, bytes: &[u8]) -> Option<String> {
        Document::decode_text(&self.encoding, bytes).ok()
    }

    /// How far a string moves on at size 1, and how many of its characters are word spaces.
    pub(super) fn width(&self, bytes: &[u8]) -> (f32, u16, u16) {
        let (mut width, mut count, mut spaces) = (0.0, 0u16, 0u16);
        let mut add = |code: u32| {
            width += self.widths.get(&code).copied().unwrap_or(self.other) / 1000.0;
            count = count.saturating_add(1);
        };
        if self.pair {
            for pair in bytes.chunks(2) {
                add(pair.iter().fold(0, |code, byte| code << 8 | u32::from(*byte)));
            }
        } else {
            for byte in bytes {
                add(u32::from(*byte));
                spaces = spaces.saturating_add(u16::from(*byte == b' '));
            }
        }
        (width, count, spaces)
    }
}

fn narrow(font: &Dictionary, document: &Document) -> (HashMap<u32, f32>, f32) {
    let first = font.get_deref(b"FirstChar", document).and_then(Object::as_i64).unwrap_or(0);
    let first = u32::try_from(first).unwrap_or(0);
    let widths = font.get_deref(b"Widths", document).and_then(Object::as_array);
    let widths = widths.map(Vec::as_slice).unwrap_or_default().iter().take(256).zip(first..);
    let widths = widths.filter_map(|(width, code)| Some((code, number(width, document)?))).collect();
    // About the mean of Latin text, for the fonts that every reader has and that come without a table.
    (widths, 500.0)
}

/// The table of a font of many characters: `[code [w w w] first last w ...]`.
fn wide(font: &Dictionary, document: &Document) -> (HashMap<u32, f32>, f32) {
    let mut widths = HashMap::new();
    let below = font.get_deref(b"DescendantFonts", document).and_then(Object::as_array);
    let below = below.ok().and_then(|fonts| document.dereference(fonts.first()?).ok()?.1.as_dict().ok());
    let Some(below) = below else { return (widths, 1000.0) };
    let other =
        below.get_deref(b"DW", document).ok().and_then(|width| number(width, document)).unwrap_or(1000.0);
    let Ok(table) = below.get_deref(b"W", document).and_then(Object::as_array) else {
        return (widths, other);
    };
    let mut entries = table.iter();
    while let Some(first) = entries.next().and_then(|first| first.as_i64().ok()) {
        let Ok(first) = u32::try_from(first) else { break };
        match entries.next().and_then(|next| Some(document.dereference(next).ok()?.1)) {
            Some(Object::Array(list)) => {
                for (width, code) in list.iter().zip(first..) {
                    if MAX_WIDTHS <= widths.len() {
                        return (widths, other);
                    }
                    if let Some(width) = number(width, document) {
                        widths.insert(code, width);
                    }
                }
            }
            Some(Object::Integer(last)) => {
                let last = u32::try_from(*last).unwrap_or(0).min(0xffff);
                let Some(width) = entries.next().and_then(|width| number(width, document)) else { break };
                for code in first..=last {
                    if MAX_WIDTHS <= widths.len() {
                        return (widths, other);
                    }
                    widths.insert(code, width);
                }
            }
            _ => break,
        }
    }
    (widths, other)
}

fn number(object: &Object, document: &Document) -> Option<f32> {
    document.dereference(object).ok()?.1.as_float().ok().filter(|number| number.is_finite())
}
