//! Whole numbers in few bytes: seven bits each, the lowest first, the eighth says that more follow.

/// Where bytes are put.
pub(super) trait Sink {
    fn put(&mut self, byte: u8);
}

impl Sink for Vec<u8> {
    fn put(&mut self, byte: u8) {
        self.push(byte);
    }
}

impl<A: smallvec::Array<Item = u8>> Sink for smallvec::SmallVec<A> {
    fn put(&mut self, byte: u8) {
        self.push(byte);
    }
}

pub(super) fn put(mut number: u32, sink: &mut impl Sink) {
    while 0x80 <= number {
        sink.put(number as u8 | 0x80);
        number >>= 7;
    }
    sink.put(number as u8);
}

/// Takes a number off the front; `None` at the end.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}
