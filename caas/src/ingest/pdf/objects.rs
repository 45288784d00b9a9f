//! What is packed into streams of objects, which the library unpacks while it opens a file.
//!
//! It bounds each of them and not all together. It asks about every object before it unpacks it, but only a function without
//! state, so the account is kept by the thread: a worker reads one file at a time.

use std::cell::Cell;

use lopdf::{Document, LoadOptions, Object, ObjectId};

use super::super::IngestError;
use super::{Budget, FREE, is_too_large, refused};

#[derive(Clone, Copy, Default)]
struct Account {
    /// Bytes that one stream may become.
    each: usize,
    /// Bytes that all of them may still become.
    left: usize,
    overdrawn: bool,
}

thread_local! {
    static ACCOUNT: Cell<Account> = const { Cell::new(Account { each: 0, left: 0, overdrawn: false }) };
}

/// Opens a file. Its packed objects stay in memory, so together they may be no more than a file may be.
pub(super) fn open(raw: &[u8], budget: &mut Budget<'_>) -> Result<Document, IngestError> {
    let all = budget.left.min(budget.limits.raw);
    // Of an encrypted file the library unpacks without asking.
    let share = if is_encrypted(raw) { (all / streams(raw).max(1)).max(FREE) } else { all };
    let each = budget.stream.min(share);
    ACCOUNT.set(Account { each, left: all, overdrawn: false });
    let options = LoadOptions { filter: Some(book), ..LoadOptions::with_max_decompressed_size(each) };
    let document = Document::load_mem_with_options(raw, options).map_err(|error| refused(&error, budget))?;
    let Account { left, overdrawn, .. } = ACCOUNT.take();
    if overdrawn {
        return Err(budget.bomb());
    }
    budget.spend(all - left)?;
    Ok(document)
}

/// Keeps every object but streams of objects for which nothing is left. What is answered for a stream is not looked at.
fn book(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    let Object::Stream(stream) = object else { return Some((id, object.clone())) };
    if !stream.dict.has_type(b"ObjStm") {
        return Some((id, Object::Null));
    }
    let mut account = ACCOUNT.get();
    let most = account.each.min(account.left);
    match stream.get_plain_content_with_limit(most) {
        Ok(content) => account.left -= content.len(),
        Err(error) if is_too_large(&error) && most < account.each => account.overdrawn = true,
        // The library finds it too, and says so.
        Err(_) => {}
    }
    ACCOUNT.set(account);
    (!account.overdrawn).then_some((id, Object::Null))
}

/// Whether a name is `Encrypt`, in whatever way it is written.
fn is_encrypted(raw: &[u8]) -> bool {
    raw.split(|byte| *byte == b'/').skip(1).any(|name| {
        let mut name = name.iter().copied();
        b"Encrypt".iter().all(|letter| match name.next() {
            Some(b'#') => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let code = digit(name.next()).zip(digit(name.next()));
                code.is_some_and(|(high, low)| high << 4 | low == u32::from(*letter))
            }
            byte => byte == Some(*letter),
        })
    })
}

/// At least as many as there are streams.
fn streams(raw: &[u8]) -> usize {
    raw.windows(6).filter(|word| *word == b"stream").count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_told_however_it_is_written() {
        for (raw, encrypted) in [
            (&b"<< /Encrypt 5 0 R >>"[..], true),
            (b"<</#45ncryp#74/x", true),
            (b"/Encrypted", true),
            (b"/Encryp", false),
            (b"Encrypt /#4", false),
        ] {
            assert_eq!(is_encrypted(raw), encrypted, "{}", raw.escape_ascii());
        }
    }
}
