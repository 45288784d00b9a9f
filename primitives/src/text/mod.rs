//! A text seen through its disguises.
//!
//! A rule that looks for `drop table` has to see it written `DROP  TABLE`, `drop%20table`, `ZHJvcCB0YWJsZQ==`,
//! `\u0064rop table`, `ԁrор tаble` with letters that only look Latin, with zero-width characters in between, or one
//! letter at a time. [`each_view`] shows a text in all these readings, decoding what is encoded in turn, in time and
//! space linear in the text. [`Needles`] looks for words in all of them.
//!
//! Undone are: percent signs (also `%uXXXX`), `+` for a blank, HTML character references, backslash escapes
//! (`\uXXXX`, `\u{X}`, `\UXXXXXXXX`, `\xXX`, octal), base64 in both alphabets at any alignment, with or without padding
//! and with line breaks, hexadecimal with or without separators, characters hidden as Unicode tags or variation
//! selectors, compatibility forms, letter case, look-alikes of Latin letters, default-ignorable and control characters,
//! runs of white space, and words spelt letter by letter. Ciphers, compression, reversed text, leet and words broken into
//! pieces of two letters or more are not. Neither is base64 of fewer than 8 characters, nor hexadecimal of fewer than 8 digits.
//!
//! More readings than [`Limits`] allow are an error: "not found" is said only of a text that was looked through.

mod decode;
mod fold;
mod needles;
mod spaced;
mod views;

pub(crate) use decode::base64_bytes;
pub use fold::{fold, is_invisible, skeleton};
pub use needles::{BadNeedles, Needles};
pub use views::{Form, Incomplete, Limits, View, each_view};

#[cfg(test)]
mod tests;
