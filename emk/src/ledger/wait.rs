//! Waiting for records to become durable.
//!
//! A list of wakers rather than a broadcast: half of those who wait arrived during the sync that just ended and have to
//! wait for the next one, so waking everybody would double the context switches that bound the throughput.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use super::shared::Shared;
use crate::LedgerError;

/// Who waits for what, by position and ticket. Holds one entry per pending future and no more.
#[derive(Default)]
pub(super) struct Waiters(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    next_ticket: u64,
    wakers: BTreeMap<(u64, u64), Waker>,
}

impl Waiters {
    /// Wakes everyone who waits for a record before `position`, in order.
    pub(super) fn wake_before(&self, position: u64) {
        let mut queue = self.lock();
        let later = queue.wakers.split_off(&(position, 0));
        let due = std::mem::replace(&mut queue.wakers, later);
        drop(queue);
        due.into_values().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // INVARIANT: wakers are called outside the lock, so nothing under it can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Resolves once the record `seq` is durable or never will be.
    pub(super) const fn wait(&self, seq: u64) -> Wait<'_> {
        Wait { shared: self, seq, ticket: None }
    }
}

/// The future of [`Shared::wait`].
pub(super) struct Wait<'a> {
    shared: &'a Shared,
    seq: u64,
    ticket: Option<u64>,
}

impl Future for Wait<'_> {
    type Output = Result<(), LedgerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(settled) = self.shared.settled(self.seq) {
            return Poll::Ready(settled);
        }
        let mut queue = self.shared.waiters.lock();
        // Settled between the look and the lock: whoever settled it has woken the queue already, or waits for the lock
        // and wakes it after us. Looking again under the lock leaves no gap.
        if let Some(settled) = self.shared.settled(self.seq) {
            return Poll::Ready(settled);
        }
        let ticket = self.ticket.unwrap_or_else(|| {
            queue.next_ticket += 1;
            queue.next_ticket
        });
        let replaced = queue.wakers.insert((self.seq, ticket), context.waker().clone());
        drop(queue);
        // Dropping a waker can run foreign code, so never under the lock.
        drop(replaced);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let forgotten = self.shared.waiters.lock().wakers.remove(&(self.seq, ticket));
            drop(forgotten);
        }
    }
}

/// Runs a future on this thread.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
