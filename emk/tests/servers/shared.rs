//! One server for all tests of a binary.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A server that the tests of one binary share while any of them runs.
pub(crate) struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The running server, or the one that `start` starts. It ends with the last test that holds it.
    pub(crate) fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let server = Arc::new(start());
            *running = Arc::downgrade(&server);
            server
        })
    }
}
