//! Which files the index has to look at again.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::vfs::RelPath;

/// Most files that are remembered one by one; beyond that the whole store is read again.
const MAX_MARKED: usize = 4096;

/// What changed since the index looked.
#[derive(Debug)]
pub(super) struct Marks(Mutex<Marked>);

#[derive(Debug)]
struct Marked {
    /// Everything; which is how it begins.
    all: bool,
    files: BTreeSet<Box<str>>,
}

/// Marks its file when it is dropped.
pub(super) struct Changing<'a> {
    marks: &'a Marks,
    path: RelPath<'a>,
}

/// What to look at next.
#[derive(Debug)]
pub(super) enum Due {
    All,
    File(Box<str>),
}

/// Something that is being looked at: marked again when it is dropped before that is done.
pub(super) struct Taken<'a> {
    marks: &'a Marks,
    due: Option<Due>,
}

impl Default for Marks {
    fn default() -> Self {
        Self(Mutex::new(Marked { all: true, files: BTreeSet::new() }))
    }
}

impl Marks {
    /// To be held while a file may change.
    pub(super) fn changing<'a>(&'a self, path: RelPath<'a>) -> Changing<'a> {
        Changing { marks: self, path }
    }

    pub(super) fn mark_all(&self) {
        self.mark(Due::All);
    }

    /// Takes what was marked. A change that ends from here on marks it again.
    pub(super) fn take(&self) -> Option<Taken<'_>> {
        let mut marked = self.marked();
        let due = if std::mem::take(&mut marked.all) {
            marked.files.clear();
            Some(Due::All)
        } else {
            marked.files.pop_first().map(Due::File)
        };
        due.map(|due| Taken { marks: self, due: Some(due) })
    }

    fn mark(&self, due: Due) {
        let mut marked = self.marked();
        match due {
            Due::File(path) if !marked.all => drop(marked.files.insert(path)),
            Due::File(_) => {}
            Due::All => marked.all = true,
        }
        if MAX_MARKED < marked.files.len() {
            marked.all = true;
        }
        if marked.all {
            marked.files.clear();
        }
    }

    fn marked(&self) -> MutexGuard<'_, Marked> {
        // A set of marks is sound whatever was being done to it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.marks.mark(Due::File(self.path.as_str().into()));
    }
}

impl Taken<'_> {
    pub(super) fn due(&self) -> &Due {
        self.due.as_ref().unwrap_or(&Due::All)
    }

    pub(super) fn done(mut self) {
        self.due = None;
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(due) = self.due.take() {
            self.marks.mark(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_finished_is_marked_again_and_there_is_a_bound() {
        let marks = Marks::default();
        drop(marks.take());
        let all = marks.take().unwrap();
        assert!(matches!(all.due(), Due::All));
        all.done();
        assert!(marks.take().is_none());
        drop(marks.changing(RelPath::parse("a").unwrap()));
        drop(marks.take());
        assert!(matches!(marks.take().unwrap().due(), Due::File(path) if &**path == "a"));
        for number in 0..=MAX_MARKED {
            drop(marks.changing(RelPath::parse(&number.to_string()).unwrap()));
        }
        let all = marks.take().unwrap();
        assert!(matches!(all.due(), Due::All));
        all.done();
        assert!(marks.take().is_none());
    }
}
