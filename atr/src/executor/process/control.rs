//! Reaches a sandbox from any thread, and sees it to its end.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use agent_primitives::Timer;
use rustix::process::{Pid, Signal, pidfd_send_signal};
use tokio::sync::watch;

use super::cgroup::Cgroup;
use super::child::orders;
use super::{sys, tree};
use crate::executor::{Control, Held, Order, Pending, Registered, Usage};
use crate::isolation::Level;

/// How often it is looked whether a stop has taken hold: first at once, then every [`PAUSE`].
const AT_ONCE: usize = 32;
const PAUSE: Duration = Duration::from_millis(1);
/// How often in all, before a stop is reported as not having taken hold.
const LOOKS: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Stopped,
    Killed,
    Dead,
}

/// What a sandbox is held by while its first process has not been reaped.
#[derive(Debug)]
struct Live {
    process: Arc<OwnedFd>,
    orders: OwnedFd,
    group: Option<Cgroup>,
    /// The last stop was done by signals.
    by_signals: bool,
}

/// A sandbox under way.
pub(super) struct Sandbox {
    pid: Pid,
    live: Mutex<Option<Live>>,
    state: watch::Sender<State>,
    used: Mutex<Usage>,
    terminated: Mutex<bool>,
    timer: Arc<dyn Timer>,
}

/// Why a sandbox has ended, as far as its control group knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overrun {
    pub(super) memory: bool,
    pub(super) processes: bool,
}

impl Sandbox {
    pub(super) fn new(
        pid: Pid,
        process: Arc<OwnedFd>,
        orders: OwnedFd,
        group: Option<Cgroup>,
        timer: Arc<dyn Timer>,
    ) -> Self {
        Self {
            pid,
            live: Mutex::new(Some(Live { process, orders, group, by_signals: false })),
            state: watch::Sender::new(State::Running),
            used: Mutex::default(),
            terminated: Mutex::default(),
            timer,
        }
    }

    /// Lets the sandbox begin.
    pub(super) fn go(&self) {
        if let Some(live) = &*self.live() {
            live.send(orders::GO);
        }
    }

    pub(super) fn was_killed(&self) -> bool {
        *self.state.borrow() == State::Killed
    }

    pub(super) fn was_terminated(&self) -> bool {
        *self.terminated.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves once the processor time of the whole tree is used up; never where nobody counts it.
    pub(super) async fn cpu_is_used_up(&self, limit: Duration) {
        let processors =
            thread::available_parallelism().map_or(1, |number| u32::try_from(number.get()).unwrap_or(1));
        while let Some(used) = self.usage().cpu {
            let left = limit.saturating_sub(used);
            if left.is_zero() {
                return;
            }
            // It takes the tree at least that long, on all processors, to use up the rest.
            let wait = (left / processors).max(PAUSE);
            self.timer.sleep_until(self.timer.monotonic().after(wait)).await;
        }
        std::future::pending::<()>().await;
    }

    /// Reaps what has ended. Nothing of the sandbox is left afterwards.
    pub(super) fn bury(&self) -> Overrun {
        let Some(live) = self.live().take() else { return Overrun::default() };
        // Nothing but the host's own end can keep it from being reaped, and then there is nobody to tell.
        let _ = sys::reap(live.process.as_fd());
        let mut overrun = Overrun::default();
        if let Some(group) = live.group {
            overrun = Overrun { memory: group.ran_out_of_memory(), processes: group.ran_out_of_processes() };
            *self.used.lock().unwrap_or_else(PoisonError::into_inner) = group.usage();
        }
        self.state.send_replace(State::Dead);
        overrun
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        // INVARIANT: it is set to `None` as a whole.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        let by_signals = match &*self.live() {
            None => return true,
            Some(Live { group: Some(group), by_signals: false, .. }) => {
                return group.is_frozen().unwrap_or(false);
            }
            // Somebody may have been woken by a signal that was sent before this one.
            Some(live) => live.send(orders::STOP),
        };
        by_signals && tree::is_stopped(self.pid)
    }
}

impl Live {
    /// Sends an order to the first process. It takes them in as long as it lives.
    fn send(&self, order: u8) -> bool {
        rustix::io::write(&self.orders, &[order]).is_ok()
    }

    fn stop(&mut self) {
        let frozen = self.group.as_ref().is_some_and(|group| group.freeze().is_ok());
        if !frozen {
            self.by_signals = true;
            self.send(orders::STOP);
        }
    }

    fn go_on(&mut self) {
        if let Some(group) = &self.group {
            // Without a freezer, there is nothing to thaw.
            let _ = group.thaw();
        }
        if std::mem::take(&mut self.by_signals) {
            self.send(orders::CONTINUE);
        }
    }

    fn kill(&self) {
        // The kernel kills the rest of the namespace with its first process.
        let _ = pidfd_send_signal(&*self.process, Signal::KILL);
        if let Some(group) = &self.group {
            let _ = group.kill();
        }
    }
}

impl Control for Sandbox {
    fn level(&self) -> Level {
        Level::Process
    }

    fn order(&self, order: Order) {
        // INVARIANT: orders are given under this lock, so that state and sandbox hear them in one order.
        let mut live = self.live();
        let Some(live) = &mut *live else { return };
        let state = *self.state.borrow();
        match (order, state) {
            (Order::Stop, State::Running) => {
                live.stop();
                self.state.send_replace(State::Stopped);
            }
            (Order::Continue, State::Stopped) => {
                live.go_on();
                self.state.send_replace(State::Running);
            }
            (Order::Terminate, State::Running | State::Stopped) => {
                *self.terminated.lock().unwrap_or_else(PoisonError::into_inner) = true;
                live.send(orders::TERMINATE);
            }
            (Order::Kill, State::Running | State::Stopped) => {
                live.kill();
                self.state.send_replace(State::Killed);
            }
            _ => {}
        }
    }

    fn held(&self) -> Pending<'_, Held> {
        let mut state = self.state.subscribe();
        Box::pin(async move {
            for look in 0..LOOKS {
                let now = *state.borrow_and_update();
                match now {
                    State::Running => return Held::Running,
                    State::Dead => return Held::Dead,
                    State::Killed => break,
                    State::Stopped if self.is_stopped() => return Held::Hard,
                    State::Stopped if look < AT_ONCE => tokio::task::yield_now().await,
                    State::Stopped => {
                        let again = self.timer.sleep_until(self.timer.monotonic().after(PAUSE));
                        tokio::select! { () = again => {}, _ = state.changed() => {} }
                    }
                }
            }
            if *state.borrow() != State::Killed {
                return Held::Running;
            }
            let _ = state.wait_for(|state| *state == State::Dead).await;
            Held::Dead
        })
    }

    fn usage(&self) -> Usage {
        match &*self.live() {
            Some(live) => {
                let used = live.group.as_ref().map(Cgroup::usage).unwrap_or_default();
                Usage { cpu: used.cpu.or_else(|| tree::processor_time(self.pid)), ..used }
            }
            None => *self.used.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("pid", &self.pid)
            .field("state", &*self.state.borrow())
            .finish_non_exhaustive()
    }
}

/// A sandbox that has not been seen to its end. Dropping it kills it, and has it reaped.
#[derive(Debug)]
pub(super) struct Alive {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) registered: Option<Registered>,
}

impl Drop for Alive {
    fn drop(&mut self) {
        if self.sandbox.live().is_none() {
            return;
        }
        self.sandbox.order(Order::Kill);
        reap_later(Arc::clone(&self.sandbox), self.registered.take());
    }
}

/// Those that were killed and are not reaped. A thread of its own sees to them, because a runtime that is shutting down
/// would not; it is there as long as there is something to do.
///
/// It is bounded by the number of programs, which have all been killed.
static DYING: Mutex<Dying> = Mutex::new(Dying { waiting: Vec::new(), attended: false });

struct Dying {
    waiting: Vec<(Arc<Sandbox>, Option<Registered>)>,
    attended: bool,
}

fn reap_later(sandbox: Arc<Sandbox>, registered: Option<Registered>) {
    let mut dying = DYING.lock().unwrap_or_else(PoisonError::into_inner);
    dying.waiting.push((sandbox, registered));
    if !std::mem::replace(&mut dying.attended, true) {
        drop(dying);
        if thread::Builder::new().name("atr-reaper".to_owned()).spawn(reap).is_err() {
            reap();
        }
    }
}

fn reap() {
    loop {
        let next = {
            let mut dying = DYING.lock().unwrap_or_else(PoisonError::into_inner);
            let next = dying.waiting.pop();
            dying.attended = next.is_some();
            next
        };
        let Some((sandbox, registered)) = next else { return };
        sandbox.bury();
        drop(registered);
    }
}
