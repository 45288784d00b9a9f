//! Where every guest passes before it runs: stopped, let go on, ended.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use super::pipe::Closer;
use super::ticker::Ticker;
use crate::executor::{Control, Held, Order, Pending, Usage};
use crate::isolation::Level;

/// Reaches one guest.
///
/// A guest is a future that comes back at every tick, so whether it runs on is decided here each time: one that is stopped
/// is not polled, one that is killed is dropped, stack, memory and all.
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Notify,
    /// Nanoseconds.
    cpu: AtomicU64,
    peak_memory: AtomicU64,
    /// Known once it has ended by itself: until then the count is in registers of the guest's.
    fuel: OnceLock<u64>,
}

#[derive(Default)]
struct State {
    stopped: bool,
    killed: bool,
    /// It is being polled right now.
    inside: bool,
    /// Nothing of it is left.
    gone: bool,
    waker: Option<Waker>,
    /// Closed when it is to end by itself.
    stdin: Option<Closer>,
}

impl Gate {
    /// For a guest that has not begun.
    pub(super) fn new(stdin: Option<Closer>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { stdin, ..State::default() }),
            changed: Notify::new(),
            cpu: AtomicU64::new(0),
            peak_memory: AtomicU64::new(0),
            fuel: OnceLock::new(),
        })
    }

    pub(super) fn has_memory(&self, bytes: u64) {
        self.peak_memory.fetch_max(bytes, Ordering::Relaxed);
    }

    pub(super) fn has_burnt(&self, fuel: u64) {
        let _ = self.fuel.set(fuel);
    }

    fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu.load(Ordering::Relaxed))
    }

    /// Whether it may run now. If it may not yet, `waker` is woken when that changes.
    fn enter(&self, waker: &Waker) -> Entry {
        let mut state = self.lock();
        if state.killed {
            return Entry::Killed;
        }
        // Also for one that runs: a kill must reach it where it waits for its streams.
        state.waker = Some(waker.clone());
        if state.stopped {
            return Entry::Stopped;
        }
        state.inside = true;
        Entry::Open
    }

    /// It has come back; `true` if it was killed meanwhile.
    fn leave(&self) -> bool {
        let mut state = self.lock();
        state.inside = false;
        let (stopped, killed) = (state.stopped, state.killed);
        drop(state);
        if stopped {
            self.changed.notify_waiters();
        }
        killed
    }

    fn gone(&self) {
        let mut state = self.lock();
        state.gone = true;
        let (waker, stdin) = (state.waker.take(), state.stdin.take());
        drop(state);
        drop((waker, stdin));
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: each change is an assignment, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Entry {
    Open,
    Stopped,
    Killed,
}

impl Control for Gate {
    fn level(&self) -> Level {
        Level::Wasm
    }

    fn order(&self, order: Order) {
        let mut state = self.lock();
        match order {
            Order::Stop => state.stopped = true,
            Order::Continue => state.stopped = false,
            Order::Kill => state.killed = true,
            Order::Terminate => {}
        }
        let waker = state.waker.clone();
        let stdin = if order == Order::Terminate { state.stdin.take() } else { None };
        drop(state);
        if let Some(stdin) = stdin {
            stdin.close();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        self.changed.notify_waiters();
    }

    fn held(&self) -> Pending<'_, Held> {
        Box::pin(async move {
            loop {
                let changed = self.changed.notified();
                {
                    let state = self.lock();
                    match (state.gone, state.killed, state.stopped, state.inside) {
                        (true, ..) => return Held::Dead,
                        (_, true, ..) | (_, _, true, true) => {}
                        (_, _, true, false) => return Held::Hard,
                        (_, _, false, _) => return Held::Running,
                    }
                }
                changed.await;
            }
        })
    }

    fn usage(&self) -> Usage {
        Usage {
            cpu: Some(self.cpu()),
            peak_memory: Some(self.peak_memory.load(Ordering::Relaxed)),
            // Threads do not exist for it, and it never forks: what runs is one of ours, and it is not counted.
            peak_processes: None,
            fuel: self.fuel.get().copied(),
        }
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Gate")
            .field("stopped", &state.stopped)
            .field("killed", &state.killed)
            .field("gone", &state.gone)
            .finish_non_exhaustive()
    }
}

/// How a guest came to its end.
pub(super) enum Ended<T> {
    /// By itself, or by a trap.
    Itself(T),
    /// By an order.
    Killed,
    /// It used up its processor time.
    Cpu,
}

/// A guest behind its gate. Dropping it ends the guest.
pub(super) struct Gated<'a, F> {
    guest: Option<Pin<Box<F>>>,
    gate: Arc<Gate>,
    ticker: &'a Ticker,
    cpu: Duration,
}

impl<'a, F> Gated<'a, F> {
    /// `guest` has to come back at every tick while it computes, and may use `cpu` of processor time.
    pub(super) fn new(guest: F, gate: Arc<Gate>, ticker: &'a Ticker, cpu: Duration) -> Self {
        Self { guest: Some(Box::pin(guest)), gate, ticker, cpu }
    }

    fn end(&mut self) {
        // Before anybody is told that it is gone.
        drop(self.guest.take());
        self.gate.gone();
    }
}

impl<F: Future> Future for Gated<'_, F> {
    type Output = Ended<F::Output>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        let entry = self.gate.enter(task.waker());
        let this = &mut *self;
        let ended = match (entry, &mut this.guest) {
            (Entry::Stopped, _) => return Poll::Pending,
            (Entry::Killed, _) | (_, None) => Ended::Killed,
            (Entry::Open, Some(guest)) => {
                let before = processor_time();
                let polled = {
                    let _ticking = this.ticker.while_held();
                    guest.as_mut().poll(task)
                };
                let used = processor_time().saturating_sub(before);
                this.gate.cpu.fetch_add(used, Ordering::Relaxed);
                let killed = this.gate.leave();
                match polled {
                    _ if killed => Ended::Killed,
                    Poll::Ready(answer) => Ended::Itself(answer),
                    Poll::Pending if this.cpu < this.gate.cpu() => Ended::Cpu,
                    Poll::Pending => return Poll::Pending,
                }
            }
        };
        this.end();
        Poll::Ready(ended)
    }
}

impl<F> Drop for Gated<'_, F> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Processor time of this thread, in nanoseconds. A guest runs on the thread that polls it, on a stack of its own.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
