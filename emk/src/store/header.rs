//! The first frame of a segment: which ledger it belongs to and where in the ledger it starts.

use agent_primitives::Digest;

use super::frame;
use crate::{Head, LedgerId};

const MAGIC: &[u8; 8] = b"emk-segm";
const VERSION: u32 = 1;

/// Bytes of the header frame of a segment of `ledger`.
pub(crate) fn header_frame_len(ledger: &LedgerId) -> u64 {
    (frame::FRAME_HEADER + 8 + 4 + 8 + 32 + ledger.as_str().len()) as u64
}

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The ledger it belongs to.
    pub(crate) ledger: LedgerId,
    /// The head before its first record.
    pub(crate) base: Head,
}

/// Why a payload is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    NotASegment,
    Version(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        frame::encode(&mut out, |out| {
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&VERSION.to_le_bytes());
            out.extend_from_slice(&self.base.count.to_le_bytes());
            out.extend_from_slice(self.base.hash.as_bytes());
            out.extend_from_slice(self.ledger.as_str().as_bytes());
        });
        out
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, BadHeader> {
        let (magic, rest) = payload.split_first_chunk::<8>().ok_or(BadHeader::NotASegment)?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or(BadHeader::NotASegment)?;
        if magic != MAGIC {
            return Err(BadHeader::NotASegment);
        }
        match u32::from_le_bytes(*version) {
            VERSION => Self::decode_fields(rest).ok_or(BadHeader::NotASegment),
            other => Err(BadHeader::Version(other)),
        }
    }

    fn decode_fields(fields: &[u8]) -> Option<Self> {
        let (count, rest) = fields.split_first_chunk::<8>()?;
        let (hash, name) = rest.split_first_chunk::<32>()?;
        let ledger = LedgerId::new(std::str::from_utf8(name).ok()?).ok()?;
        Some(Self {
            ledger,
            base: Head { count: u64::from_le_bytes(*count), hash: Digest::from_bytes(*hash) },
        })
    }
}

/// The file name of the segment whose first record is `first_seq`; names sort like positions.
pub(crate) fn segment_name(first_seq: u64) -> String {
    format!("{first_seq:020}.seg")
}

/// The position in a segment's file name; `None` for any other file.
pub(crate) fn parse_segment_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let first_seq = digits.parse().ok()?;
    (segment_name(first_seq) == name).then_some(first_seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_its_encoding() {
        let header = SegmentHeader {
            ledger: LedgerId::new("ledger-A").unwrap(),
            base: Head { count: 9, hash: Digest::of("agent-os test v1", b"x") },
        };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, header_frame_len(&header.ledger));
        assert_eq!(SegmentHeader::decode(&bytes[frame::FRAME_HEADER..]), Ok(header));
    }

    #[test]
    fn other_bytes_are_no_header() {
        assert_eq!(SegmentHeader::decode(b"emk-seg"), Err(BadHeader::NotASegment));
        assert_eq!(SegmentHeader::decode(b"emk-segm\x02\0\0\0"), Err(BadHeader::Version(2)));
        assert_eq!(SegmentHeader::decode(&[0; 80]), Err(BadHeader::NotASegment));
    }

    #[test]
    fn only_the_exact_name_is_a_segment() {
        assert_eq!(parse_segment_name("00000000000000000017.seg"), Some(17));
        for other in ["17.seg", "+0000000000000000017.seg", "00000000000000000017.tmp", "ledger.lock", ".seg"]
        {
            assert_eq!(parse_segment_name(other), None, "{other}");
        }
    }
}
