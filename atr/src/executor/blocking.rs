//! Functions that block their thread: run on threads of their own, never on those of the host's runtime.
//!
//! Nothing can stop such a function. When its call is over before it is, its thread is abandoned: another takes its place,
//! and what it answers is dropped. With too many of them nothing more is run.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, oneshot};

use super::session::{Control, Held, Order, Pending, Usage};
use super::{Executions, Registered, contained};
use crate::error::ToolError;
use crate::isolation::Level;
use crate::{CallContext, Output};

/// Threads unless said.
const THREADS: usize = 4;
/// Calls that wait for one unless said.
const QUEUE: usize = 256;
/// With more abandoned threads than this, nothing more is run.
pub const MAX_ABANDONED: usize = 8;

/// Threads for functions that block. Clones share them; they are started as they are needed, and end when nobody holds
/// the pool any more and what they run has ended.
#[derive(Clone, Debug)]
pub struct BlockingPool(Arc<Handle>);

/// The last one to be dropped closes the pool.
#[derive(Debug)]
struct Handle(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    threads: usize,
    queue: usize,
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Call>>,
    /// Calls that were taken from the queue while they were stopped, and come back to it.
    parked: usize,
    /// Threads that are neither abandoned nor about to end.
    threads: usize,
    idle: usize,
    abandoned: usize,
    late: u64,
    closed: bool,
}

impl BlockingPool {
    /// At most `threads` calls at once, at most `queue` waiting; at least one of each.
    #[must_use]
    pub fn new(threads: usize, queue: usize) -> Self {
        let (state, work) = (Mutex::default(), Condvar::new());
        let pool = Pool { threads: threads.max(1), queue: queue.max(1), state, work };
        Self(Arc::new(Handle(Arc::new(pool))))
    }

    /// Threads whose call is over and that have not come back.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.0.0.lock().abandoned
    }

    /// Answers that came after their call was over, and were dropped.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.0.0.lock().late
    }

    /// Runs `work` for a call.
    pub(crate) async fn run(&self, cx: CallContext, work: Work) -> Result<Output, ToolError> {
        let executions = cx.executions().clone();
        executions.admitted().await?;
        let pool = Arc::clone(&self.0.0);
        pool.usable()?;
        let (answer, answered) = oneshot::channel();
        let call = Arc::new_cyclic(|me| Call {
            me: Weak::clone(me),
            pool: Arc::clone(&pool),
            cx,
            phase: Mutex::new(Phase { at: At::Waiting, stopped: false, killed: false, registered: None }),
            work: Mutex::new(Some((work, answer))),
            killed: Notify::new(),
        });
        call.register(&executions)?;
        let over = OverOnDrop(Arc::clone(&call));
        let killed = call.killed.notified();
        pool.submit(&call)?;
        let answer = tokio::select! {
            biased;
            answer = answered => answer.unwrap_or(Err(ToolError::Killed)),
            () = killed => Err(ToolError::Killed),
        };
        drop(over);
        answer
    }
}

impl Default for BlockingPool {
    /// 4 threads, and 256 calls that wait for one.
    fn default() -> Self {
        Self::new(THREADS, QUEUE)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl Pool {
    fn usable(&self) -> Result<(), ToolError> {
        let abandoned = self.lock().abandoned;
        if MAX_ABANDONED < abandoned {
            let reason = format!("poisoned: {abandoned} threads have not come back");
            return Err(ToolError::ExecutorUnavailable { level: Level::InProcess, reason });
        }
        Ok(())
    }

    fn submit(self: &Arc<Self>, call: &Arc<Call>) -> Result<(), ToolError> {
        let mut state = self.lock();
        if self.queue <= state.waiting.len() + state.parked {
            return Err(ToolError::ConcurrencyLimit { limit: self.queue });
        }
        state.waiting.push_back(Arc::clone(call));
        let short = state.idle < state.waiting.len() && state.threads < self.threads;
        if short
            && let Err(error) = self.start(&mut state)
            && state.threads == 0
        {
            state.waiting.pop_back();
            return Err(error);
        }
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    fn start(self: &Arc<Self>, state: &mut State) -> Result<(), ToolError> {
        let pool = Arc::clone(self);
        let thread = std::thread::Builder::new().name("atr-blocking".to_owned());
        thread.spawn(move || pool.work()).map_err(|source| ToolError::Spawn { source })?;
        state.threads += 1;
        Ok(())
    }

    /// What each thread does.
    fn work(&self) {
        while let Some(call) = self.next() {
            if !call.carry_out() {
                return;
            }
        }
        self.lock().threads -= 1;
    }

    /// Counts a thread back that was abandoned. `false` if others have taken its place.
    fn come_back(&self) -> bool {
        let mut state = self.lock();
        state.abandoned -= 1;
        state.late += 1;
        let wanted = state.threads < self.threads;
        state.threads += usize::from(wanted);
        wanted
    }

    fn next(&self) -> Option<Arc<Call>> {
        let mut state = self.lock();
        loop {
            if let Some(call) = state.waiting.pop_front() {
                return Some(call);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Counts a thread as abandoned, and starts another in its place.
    fn abandon(self: &Arc<Self>) {
        let mut state = self.lock();
        state.abandoned += 1;
        state.threads -= 1;
        if state.abandoned <= MAX_ABANDONED && !state.waiting.is_empty() {
            // If it does not start, the next call tries again.
            let _ = self.start(&mut state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: what is changed under this lock is changed by operations that do not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} threads, {} waiting, {} abandoned", self.threads, self.waiting.len(), self.abandoned)
    }
}

/// A function with its arguments.
pub(crate) type Work = Box<dyn FnOnce(CallContext) -> Result<Output, ToolError> + Send>;
type Answer = oneshot::Sender<Result<Output, ToolError>>;

/// One call, on its way to a thread or on one.
struct Call {
    me: Weak<Call>,
    pool: Arc<Pool>,
    cx: CallContext,
    phase: Mutex<Phase>,
    work: Mutex<Option<(Work, Answer)>>,
    killed: Notify,
}

struct Phase {
    at: At,
    stopped: bool,
    killed: bool,
    /// Keeps it within reach until nothing of it runs.
    registered: Option<Registered>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Waiting,
    /// It was to begin while it was stopped.
    Parked,
    Running,
    /// It runs, and its call is over.
    Abandoned,
    Over,
}

impl Call {
    fn register(self: &Arc<Self>, executions: &Executions) -> Result<(), ToolError> {
        // The lock is not held meanwhile: registering may give an order.
        let registered = executions.register(Arc::clone(self) as Arc<dyn Control>)?;
        self.phase().registered = Some(registered);
        Ok(())
    }

    /// Runs it on this thread. `false` if the thread was abandoned meanwhile, and is not needed any more.
    fn carry_out(&self) -> bool {
        {
            let mut phase = self.phase();
            match phase.at {
                At::Waiting if phase.killed => return true,
                At::Waiting if phase.stopped => {
                    phase.at = At::Parked;
                    self.pool.lock().parked += 1;
                    return true;
                }
                At::Waiting => phase.at = At::Running,
                At::Parked | At::Running | At::Abandoned | At::Over => return true,
            }
        }
        let Some((work, answer)) = self.work.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return true;
        };
        let cx = self.cx.clone();
        let result = contained(|| work(cx)).unwrap_or_else(Err);
        let mut phase = self.phase();
        let abandoned = phase.at == At::Abandoned;
        phase.at = At::Over;
        let registered = phase.registered.take();
        drop(phase);
        drop(registered);
        // Nobody takes it if the call is over.
        let _ = answer.send(result);
        !abandoned || self.pool.come_back()
    }

    /// Says that nobody waits for it any more.
    fn end(&self) {
        let mut phase = self.phase();
        let registered = match phase.at {
            At::Running => {
                phase.at = At::Abandoned;
                self.pool.abandon();
                None
            }
            At::Abandoned | At::Over => None,
            At::Waiting => {
                phase.at = At::Over;
                self.pool.lock().waiting.retain(|waiting| !std::ptr::eq(&**waiting, self));
                phase.registered.take()
            }
            At::Parked => {
                phase.at = At::Over;
                self.pool.lock().parked -= 1;
                phase.registered.take()
            }
        };
        drop(phase);
        drop(registered);
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        // INVARIANT: what is changed under this lock are flags, so a poisoned one still holds a whole state. The pool's lock
        // is taken after this one, never before.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control for Call {
    fn level(&self) -> Level {
        Level::InProcess
    }

    fn order(&self, order: Order) {
        let mut phase = self.phase();
        match order {
            Order::Stop => phase.stopped = true,
            Order::Continue => {
                phase.stopped = false;
                if phase.at == At::Parked {
                    phase.at = At::Waiting;
                    let mut state = self.pool.lock();
                    state.parked -= 1;
                    state.waiting.extend(self.me.upgrade());
                    if state.idle == 0 && state.threads < self.pool.threads {
                        // If it does not start, the next call tries again.
                        let _ = self.pool.start(&mut state);
                    }
                    self.pool.work.notify_one();
                }
            }
            Order::Terminate => self.cx.canceller().cancel(),
            Order::Kill => {
                phase.killed = true;
                self.cx.canceller().cancel();
                self.killed.notify_one();
            }
        }
    }

    fn held(&self) -> Pending<'_, Held> {
        let phase = self.phase();
        let held = match phase.at {
            At::Over => Held::Dead,
            At::Abandoned => Held::Abandoned,
            At::Running if phase.killed => Held::Abandoned,
            At::Running if phase.stopped => Held::Cooperative,
            At::Waiting | At::Parked if phase.killed => Held::Dead,
            At::Waiting | At::Parked if phase.stopped => Held::Hard,
            At::Waiting | At::Parked | At::Running => Held::Running,
        };
        Box::pin(std::future::ready(held))
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blocking({:?})", self.phase().at)
    }
}

struct OverOnDrop(Arc<Call>);

impl Drop for OverOnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
