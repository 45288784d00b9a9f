//! The thread that makes guests look up from what they compute.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How often a guest that computes comes back to its host.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Ticks while something runs, on a thread of its own: a runtime that is starved by guests would not.
#[derive(Debug)]
pub(super) struct Ticker(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    /// Something ran since the last tick.
    ran: bool,
    /// The thread waits until something runs.
    idle: bool,
    closed: bool,
}

impl Ticker {
    pub(super) fn start(tick: impl Fn() + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("wasm-ticks".to_owned()).spawn(move || of_thread.run(&tick))?;
        Ok(Self(shared))
    }

    /// Ticks until what this returns is dropped, and up to one tick longer.
    pub(super) fn while_held(&self) -> Running<'_> {
        let mut state = self.0.lock();
        state.running += 1;
        state.ran = true;
        if state.idle {
            self.0.changed.notify_one();
        }
        Running(&self.0)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

/// Something runs.
pub(super) struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

impl Shared {
    fn run(&self, tick: &impl Fn()) {
        let mut state = self.lock();
        while !state.closed {
            if state.running == 0 && !state.ran {
                state.idle = true;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle = false;
                continue;
            }
            state.ran = false;
            (state, _) = self.changed.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
            tick();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: each change is one assignment, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

    use super::*;

    /// A ticker, how often it has ticked, and what ends with its thread.
    fn counted() -> (Ticker, Arc<AtomicUsize>, Receiver<()>) {
        let ticks = Arc::new(AtomicUsize::new(0));
        let (alive, ended) = sync_channel(1);
        let counter = Arc::clone(&ticks);
        let ticker = Ticker::start(move || {
            let _ = &alive;
            counter.fetch_add(1, Ordering::Relaxed);
        });
        (ticker.unwrap(), ticks, ended)
    }

    fn until(done: impl Fn() -> bool) {
        while !done() {
            thread::yield_now();
        }
    }

    #[test]
    fn it_ticks_while_something_runs_and_rests_otherwise() {
        let (ticker, ticks, _) = counted();
        for _ in 0..3 {
            let before = ticks.load(Ordering::Relaxed);
            let running = ticker.while_held();
            until(|| before + 2 < ticks.load(Ordering::Relaxed));
            drop(running);
            until(|| ticker.0.lock().idle);
            let rested = ticks.load(Ordering::Relaxed);
            let state = ticker.0.lock();
            assert!(state.idle && state.running == 0);
            assert_eq!(ticks.load(Ordering::Relaxed), rested);
        }
    }

    #[test]
    fn its_thread_ends_with_it() {
        let (ticker, _, ended) = counted();
        assert_eq!(ended.try_recv(), Err(TryRecvError::Empty));
        drop(ticker);
        until(|| ended.try_recv() == Err(TryRecvError::Disconnected));
    }
}
