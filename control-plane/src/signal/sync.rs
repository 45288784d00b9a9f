//! What the state word and the mailbox synchronise with. The model in `control-plane/loom` puts loom's types in their place.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
