//! Which files of a store have an end, and which comes first.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use agent_primitives::Timestamp;

/// The files that have an end.
///
/// INVARIANT: both sides hold the same pairs.
#[derive(Debug, Default)]
pub(super) struct Ends {
    by_time: BTreeSet<(Timestamp, Arc<str>)>,
    by_path: HashMap<Arc<str>, Timestamp>,
}

impl Ends {
    /// Notes when the file at `path` ends, in place of what was noted before; `None` when it never does, or is gone.
    pub(super) fn set(&mut self, path: &str, end: Option<Timestamp>) {
        if let Some((path, before)) = self.by_path.remove_entry(path) {
            self.by_time.remove(&(before, path));
        }
        if let Some(end) = end {
            let path: Arc<str> = path.into();
            self.by_time.insert((end, Arc::clone(&path)));
            self.by_path.insert(path, end);
        }
    }

    /// When the first file ends.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(end, _)| *end)
    }

    /// The first file that has reached its end by `now`.
    pub(super) fn due(&self, now: Timestamp) -> Option<Arc<str>> {
        self.by_time.first().filter(|(end, _)| *end <= now).map(|(_, path)| Arc::clone(path))
    }
}
