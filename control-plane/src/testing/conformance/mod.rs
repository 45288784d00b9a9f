//! What every [`MemoryBackend`] promises, as tests that run over any of them.
//!
//! [`backend_conformance!`](crate::backend_conformance) makes one test per law from a factory, an async function that takes a
//! clock and answers an empty store that goes by it:
//!
//! ```
//! use std::sync::Arc;
//!
//! use agent_control_plane::backend_conformance;
//! use agent_control_plane::primitives::Clock;
//! use agent_control_plane::vfs::Memory;
//!
//! async fn memory(clock: Arc<dyn Clock>) -> Memory {
//!     Memory::new().clock(clock)
//! }
//!
//! backend_conformance!(mod in_memory, memory, [files, names, large, quota, versions, labels, expiry, no_search]);
//! # fn main() {}
//! ```
//!
//! The words in brackets say what the store can do; for what it cannot there is a word that begins with `no_`, whose laws
//! are that it refuses, and does not do less than it was asked.
//!
//! | can | cannot | laws |
//! | --- | --- | --- |
//! | `files` | | reading, writing, removing, listing; what is dropped or raced is whole |
//! | `names` | | any name a path can have |
//! | `large` | | files beyond a mebibyte, directories of a thousand |
//! | `quota` | | bytes and files, also raced |
//! | `versions` | `no_versions` | compare-and-set and creation, also raced |
//! | `labels` | `no_labels` | kept with the file, changed in one step with it |
//! | `expiry` | `no_expiry` | a file that has reached its end does not exist |
//! | `search` | `no_search` | finds words, answers their labels, forgets what is gone |
//!
//! A store whose content is not written through it, or only as its own kind of record, is held to [`reading`] with files it
//! is known to hold.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a law that does not hold fails its test loudly"
)]

mod cases;
pub mod expiry;
pub mod files;
pub mod labels;
pub mod large;
pub mod names;
pub mod quota;
pub mod reading;
pub mod search;
mod store;
pub mod versions;

use std::future::Future;
use std::sync::Arc;

use agent_primitives::{Clock, ManualClock, Timestamp};

pub use store::{Guarded, Store};

use crate::vfs::MemoryBackend;

/// Holds the store that `make` answers against one law, on a runtime of two threads.
///
/// # Panics
/// The law does not hold.
pub fn hold<B: MemoryBackend + 'static, F: Future<Output = B>, L: Future<Output = ()>>(
    make: impl FnOnce(Arc<dyn Clock>) -> F,
    law: impl FnOnce(Store) -> L,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(async {
        let clock = ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000));
        let store = make(Arc::new(clock.clone())).await;
        law(Store::new(Arc::new(store), clock)).await;
    });
}
