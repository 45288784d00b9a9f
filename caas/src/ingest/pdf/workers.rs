//! Threads that read PDF.
//!
//! The parsers of PDF can panic, and on some files they do not come to an end. A library without a runtime cannot stop a
//! thread, so it bounds what such a file costs: a panic is caught, the caller waits no longer than the limit, the page loop
//! looks for the sign that nobody waits any more, and there are never more than [`MAX_WORKERS`] threads of one parser. Two files
//! on which the library itself hangs thus cost two threads, and every further PDF is refused until one of them ends. A host
//! that reads files of strangers does it in a process of its own, which it can kill.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::super::error::shortened;
use super::super::{IngestError, Limits, said};
use crate::model::{Format, Parsed};

/// Most PDFs of one parser that are read at a time, those included that nobody waits for any more.
pub(in crate::ingest) const MAX_WORKERS: usize = 2;
/// The parser keeps a frame for each of a hundred levels of nesting.
const STACK: usize = 16 << 20;

/// What a worker runs: the bytes, the limits, and whether it was given up.
type Work = fn(&[u8], &Limits, &AtomicBool) -> Result<Parsed, IngestError>;

/// The threads of a parser and its clones.
#[derive(Clone, Debug, Default)]
pub(in crate::ingest) struct Workers(Arc<Places>);

#[derive(Debug, Default)]
struct Places {
    taken: Mutex<usize>,
    freed: Condvar,
}

/// A place for one thread; free again when the thread ends, however it does.
struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = taken.saturating_sub(1);
        self.0.freed.notify_one();
    }
}

impl Workers {
    /// Reads a PDF, or says within [`Limits::time`] that it was not read; it may take as long to get a place.
    pub(in crate::ingest) fn parse(&self, raw: &[u8], limits: &Limits) -> Result<Parsed, IngestError> {
        self.run(raw, limits, super::read)
    }

    fn run(&self, raw: &[u8], limits: &Limits, work: Work) -> Result<Parsed, IngestError> {
        let place = self.place(limits.time)?;
        let given_up = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = sync_channel(1);
        let (raw, limits, sign) = (raw.to_vec(), *limits, Arc::clone(&given_up));
        let worker = move || {
            let place = place;
            let read = catch_unwind(AssertUnwindSafe(|| work(&raw, &limits, &sign)));
            let read = read.unwrap_or_else(|panic| {
                Err(IngestError::Crashed { format: Format::Pdf, why: said(panic.as_ref()) })
            });
            // The place is free before the answer is there: who asks next need not wait.
            drop(place);
            let _ = sender.send(read);
        };
        std::thread::Builder::new()
            .name("caas-pdf".to_owned())
            .stack_size(STACK)
            .spawn(worker)
            .map_err(|error| IngestError::Crashed { format: Format::Pdf, why: shortened(&error) })?;
        match receiver.recv_timeout(limits.time) {
            Ok(read) => read,
            Err(RecvTimeoutError::Timeout) => {
                given_up.store(true, Ordering::Relaxed);
                Err(IngestError::Timeout { limit: limits.time })
            }
            Err(RecvTimeoutError::Disconnected) => Err(IngestError::Crashed {
                format: Format::Pdf,
                why: "its thread ended without a word".to_owned(),
            }),
        }
    }

    fn place(&self, wait: Duration) -> Result<Place, IngestError> {
        let taken = self.0.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut taken, _) = self
            .0
            .freed
            .wait_timeout_while(taken, wait, |taken| MAX_WORKERS <= *taken)
            .unwrap_or_else(PoisonError::into_inner);
        if MAX_WORKERS <= *taken {
            return Err(IngestError::Stuck { stuck: *taken });
        }
        *taken += 1;
        Ok(Place(Arc::clone(&self.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spins_until_given_up(_: &[u8], _: &Limits, given_up: &AtomicBool) -> Result<Parsed, IngestError> {
        while !given_up.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        Err(IngestError::Empty)
    }

    /// Hangs until the byte it was given a pointer to is set: the sign that it was given up does not move it.
    fn hangs(raw: &[u8], _: &Limits, _: &AtomicBool) -> Result<Parsed, IngestError> {
        let path = String::from_utf8_lossy(raw).into_owned();
        while !std::path::Path::new(&path).exists() {
            std::thread::yield_now();
        }
        Err(IngestError::Empty)
    }

    fn panics(_: &[u8], _: &Limits, _: &AtomicBool) -> Result<Parsed, IngestError> {
        panic!("of the\nparser")
    }

    fn short() -> Limits {
        Limits { time: Duration::from_millis(30), ..Limits::DEFAULT }
    }

    #[test]
    fn a_panic_is_an_error_and_costs_no_thread() {
        let workers = Workers::default();
        for _ in 0..2 * MAX_WORKERS {
            let error = workers.run(b"", &Limits::DEFAULT, panics).unwrap_err();
            assert_eq!(error.to_string(), "the parser of pdf gave up: of the parser");
        }
    }

    #[test]
    fn no_more_threads_are_stuck_than_may_be() {
        let folder = tempfile::tempdir().unwrap();
        let end = folder.path().join("end");
        let workers = Workers::default();
        for _ in 0..MAX_WORKERS {
            let error = workers.run(end.to_str().unwrap().as_bytes(), &short(), hangs).unwrap_err();
            assert_eq!(error, IngestError::Timeout { limit: short().time });
        }
        let error = workers.run(b"", &short(), panics).unwrap_err();
        assert_eq!(error, IngestError::Stuck { stuck: MAX_WORKERS });
        assert!(error.retryable());
        std::fs::write(&end, "").unwrap();
        // With the limit's whole time to wait for the places that are free now.
        let error = workers.run(b"", &Limits::DEFAULT, panics).unwrap_err();
        assert!(matches!(error, IngestError::Crashed { .. }), "{error}");
    }

    #[test]
    fn who_is_given_up_hears_of_it() {
        let workers = Workers::default();
        for _ in 0..2 * MAX_WORKERS {
            let error = workers.run(b"", &short(), spins_until_given_up).unwrap_err();
            assert!(matches!(error, IngestError::Timeout { .. } | IngestError::Stuck { .. }), "{error}");
        }
    }
}
