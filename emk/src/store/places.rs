//! Where records lie in segments, so that reading one does not begin with the first.
//!
//! Places are noted as records are read, one for every 32 KiB. A place is a hint: whoever uses it checks that the record it
//! names is there and begins with the segment's first one otherwise.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::header::SegmentHeader;

/// Most places; beyond it no more are noted. Each takes 16 bytes, and 2 Mi of them are of 64 GiB of records.
const MAX_PLACES: usize = 2 << 20;

/// A record and the offset of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    pub(super) offset: u64,
}

/// The places in the segments of one ledger, which its writer and its readers share.
#[derive(Debug, Default)]
pub(crate) struct Places(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    segments: HashMap<u64, InSegment>,
    count: usize,
}

#[derive(Debug)]
struct InSegment {
    header: SegmentHeader,
    /// In ascending order.
    places: Vec<Place>,
}

impl Places {
    /// Bytes between two places.
    pub(super) const STEP: u64 = 32 << 10;

    /// The last place in the segment at or before the record `seq`.
    pub(super) fn before(&self, first_seq: u64, seq: u64) -> Option<(SegmentHeader, Place)> {
        let noted = self.lock();
        let segment = noted.segments.get(&first_seq)?;
        let after = segment.places.partition_point(|place| place.seq <= seq);
        Some((segment.header.clone(), *segment.places.get(after.checked_sub(1)?)?))
    }

    /// Notes a place, if it is far enough behind the last one.
    pub(super) fn note(&self, first_seq: u64, header: &SegmentHeader, place: Place) {
        let mut noted = self.lock();
        if MAX_PLACES <= noted.count {
            return;
        }
        let segment = noted
            .segments
            .entry(first_seq)
            .or_insert_with(|| InSegment { header: header.clone(), places: Vec::new() });
        let last = segment.places.last().map_or(0, |last| last.offset);
        if last + Self::STEP <= place.offset {
            segment.places.push(place);
            noted.count += 1;
        }
    }

    /// Forgets a segment that was written anew.
    pub(super) fn forget(&self, first_seq: u64) {
        let mut noted = self.lock();
        let gone = noted.segments.remove(&first_seq).map_or(0, |segment| segment.places.len());
        noted.count -= gone;
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        // INVARIANT: nothing under this lock panics half-way, and a place that is wrong is only a hint.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
