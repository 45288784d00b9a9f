//! Messages that wait for one reader.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::LabelSet;
use bytes::Bytes;
use tokio::sync::Notify;

use super::message::{Letter, MAX_MESSAGE_BYTES};
use crate::vfs::VfsError;

/// Most messages that wait in one inbox or subscription.
pub const MAX_QUEUED_MESSAGES: usize = 1024;
/// Most bytes of bodies that wait in one.
pub const MAX_QUEUED_BYTES: usize = 4 << 20;
const _: () = assert!(MAX_MESSAGE_BYTES <= MAX_QUEUED_BYTES, "an empty queue takes any message");

/// An inbox, or one subscription. First in, first out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    held: Mutex<Held>,
    /// Notified when a message comes and when the queue closes.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Held {
    letters: VecDeque<Arc<Letter>>,
    bytes: usize,
    /// How many were taken so far.
    taken: u64,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Held> {
        // INVARIANT: nothing that can panic runs between two changes that belong together.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a body of so many bytes fits. It stays so until somebody pushes.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let held = self.lock();
        held.letters.len() < MAX_QUEUED_MESSAGES && held.bytes.saturating_add(bytes) <= MAX_QUEUED_BYTES
    }

    /// Puts a message at the end. The caller has seen that there is room, and lets nobody else push meanwhile.
    pub(super) fn push(&self, letter: Arc<Letter>) {
        let mut held = self.lock();
        held.bytes += letter.body.len();
        held.letters.push_back(letter);
        drop(held);
        self.changed.notify_waiters();
    }

    /// Nothing comes out of it any more, nor of the reads that wait.
    pub(super) fn close(&self) {
        let mut held = self.lock();
        *held = Held { closed: true, ..Held::default() };
        drop(held);
        self.changed.notify_waiters();
    }

    /// The next message as a line, with what it carries. Waits for one, unless `nonblock`.
    ///
    /// Dropped before it answers, it has taken nothing.
    ///
    /// # Errors
    /// `WouldBlock` when there is none and it is not to wait; `TooLarge` when the line is longer than `most` bytes, and then
    /// the message stays; `BadDescriptor` when the queue closes.
    pub(super) async fn next(&self, most: usize, nonblock: bool) -> Result<(Bytes, LabelSet), VfsError> {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Registered before the look, so that a message between the look and the wait is not missed.
            changed.as_mut().enable();
            if let Some(taken) = self.take(most)? {
                return Ok(taken);
            }
            if nonblock {
                return Err(VfsError::WouldBlock);
            }
            changed.await;
        }
    }

    fn take(&self, most: usize) -> Result<Option<(Bytes, LabelSet)>, VfsError> {
        loop {
            let (seq, letter) = {
                let held = self.lock();
                if held.closed {
                    return Err(VfsError::BadDescriptor);
                }
                let Some(letter) = held.letters.front() else { return Ok(None) };
                (held.taken, Arc::clone(letter))
            };
            // Written out beside the lock: whoever sends must not wait for it.
            let line = letter.to_line(seq + 1)?;
            if most < line.len() {
                return Err(VfsError::TooLarge);
            }
            let mut held = self.lock();
            // Another read of the same agent may have been faster.
            if !held.closed && held.taken == seq && held.letters.pop_front().is_some() {
                held.bytes = held.bytes.saturating_sub(letter.body.len());
                held.taken += 1;
                return Ok(Some((line, letter.labels.clone())));
            }
        }
    }
}
