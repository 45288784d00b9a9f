//! Reads frames from bytes that may be damaged.
//!
//! What ends a file is one of three things. *Clean*: the last frame ends where the file ends. *Torn*: the file ends in
//! something that an interrupted write leaves behind (a short header, only zeros, a frame beyond the end, a bad checksum
//! on the final frame). *Corrupt*: anything else. Nothing is ever skipped.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

use super::frame::{FRAME_HEADER, MAX_PAYLOAD, frame_header};

/// How much is read ahead, in the long run.
const READ_AHEAD: usize = 256 << 10;
/// How much is read ahead at first by whoever may want one record only.
const FIRST_READ: usize = 16 << 10;

/// Why there is no next frame.
#[derive(Debug)]
pub(crate) enum Damage {
    /// The file ends in an unfinished frame.
    Torn {
        /// Where that frame starts.
        offset: u64,
        /// Bytes from there to the end.
        dropped: u64,
    },
    /// The bytes are not what was written.
    Corrupt {
        /// Where the damaged frame starts.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The format is of another version.
    Format(u32),
    /// The operating system failed.
    Io(io::Error),
}

impl From<io::Error> for Damage {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads frames one after the other; memory is bounded by the largest frame and the read-ahead.
#[derive(Debug)]
pub(crate) struct FrameScanner<R> {
    source: R,
    /// Bytes of the source that are not in `buffer` yet.
    unread: u64,
    /// Where the next frame starts.
    offset: u64,
    buffer: BytesMut,
    read_ahead: usize,
}

impl<R: Read> FrameScanner<R> {
    /// Scans the first `len` bytes of `source`.
    pub(crate) fn new(source: R, len: u64) -> Self {
        Self { source, unread: len, offset: 0, buffer: BytesMut::new(), read_ahead: READ_AHEAD }
    }

    /// Scans the `len` bytes of `source` that begin at `offset`, where a frame does. Reads little at first.
    pub(crate) fn new_at(source: R, offset: u64, len: u64) -> Self {
        Self { offset, read_ahead: FIRST_READ, ..Self::new(source, len) }
    }

    /// Where the next frame starts: everything before it is whole.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The payload of the next frame; `None` at a clean end.
    pub(crate) fn next_payload(&mut self) -> Result<Option<Bytes>, Damage> {
        let rest = self.rest();
        if rest == 0 {
            return Ok(None);
        }
        let torn = Damage::Torn { offset: self.offset, dropped: rest };
        self.fill(FRAME_HEADER)?;
        let Some((length, crc)) = frame_header(&self.buffer) else { return Err(torn) };
        let frame = FRAME_HEADER.saturating_add(length);
        match length {
            0 if self.rest_is_zero()? => return Err(torn),
            0 => return Err(self.corrupt("a frame of length zero")),
            _ if MAX_PAYLOAD < length => return Err(self.corrupt("a frame longer than any record")),
            _ if rest < frame as u64 => return Err(torn),
            _ => self.fill(frame)?,
        }
        let payload = self.buffer.get(FRAME_HEADER..frame).unwrap_or_default();
        if crc32c::crc32c(payload) != crc {
            let last = rest == frame as u64;
            return Err(if last { torn } else { self.corrupt("the checksum does not match") });
        }
        let mut frame_bytes = self.buffer.split_to(frame).freeze();
        self.offset += frame as u64;
        Ok(Some(frame_bytes.split_off(FRAME_HEADER)))
    }

    /// Whether the torn frame ahead only looks torn because its length is wrong.
    ///
    /// A frame that reaches beyond the end is what a crash leaves, but a flipped bit in a length looks the same and
    /// hides whole records behind it. The stored checksum tells them apart: if it matches the bytes up to an earlier
    /// point where the file ends or another whole frame begins, then the payload is there and the length lies.
    pub(crate) fn length_lies(&mut self) -> Result<bool, Damage> {
        self.fill(usize::try_from(self.rest()).unwrap_or(usize::MAX))?;
        let Some((length, crc)) = frame_header(&self.buffer) else { return Ok(false) };
        if length == 0 {
            return Ok(false);
        }
        let payload = self.buffer.get(FRAME_HEADER..).unwrap_or_default();
        let mut running = 0;
        for (index, byte) in payload.iter().enumerate().take(MAX_PAYLOAD) {
            running = crc32c::crc32c_append(running, std::slice::from_ref(byte));
            let behind = payload.get(index + 1..).unwrap_or_default();
            if running == crc && (behind.is_empty() || starts_with_frame(behind)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn rest(&self) -> u64 {
        self.unread + self.buffer.len() as u64
    }

    fn corrupt(&self, reason: &'static str) -> Damage {
        Damage::Corrupt { offset: self.offset, reason }
    }

    /// Buffers at least `wanted` bytes, or all there are.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        let Some(missing) = wanted.checked_sub(self.buffer.len()).filter(|&missing| missing != 0) else {
            return Ok(());
        };
        let take = (missing.max(self.read_ahead) as u64).min(self.unread);
        self.read_ahead = (2 * self.read_ahead).min(READ_AHEAD);
        let start = self.buffer.len();
        self.buffer.resize(start + usize::try_from(take).unwrap_or(usize::MAX), 0);
        self.source.read_exact(self.buffer.get_mut(start..).unwrap_or_default())?;
        self.unread -= take;
        Ok(())
    }

    /// Whether only zeros are left. Uses up the source if so far they are.
    fn rest_is_zero(&mut self) -> io::Result<bool> {
        loop {
            if self.buffer.iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
            if self.unread == 0 {
                return Ok(true);
            }
            self.buffer.clear();
            self.fill(READ_AHEAD)?;
        }
    }
}

fn starts_with_frame(bytes: &[u8]) -> bool {
    let Some((length, crc)) = frame_header(bytes) else { return false };
    let payload = FRAME_HEADER.checked_add(length).and_then(|end| bytes.get(FRAME_HEADER..end));
    payload.is_some_and(|payload| !payload.is_empty() && crc32c::crc32c(payload) == crc)
}
