//! Signals on their way to the agent: handlers, and what is told and recorded of a delivery.
//!
//! A handler is code of ring 3 and runs as such: in the task of the call that found it due, watched by deadline and gate,
//! its panics contained.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::mem::take;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use agent_primitives::{LabelSet, Monotonic, Signal, SignalSet};

use super::border::Refused;
use super::running::{discard, panic_text};
use super::service::Raiser;
use super::table::Agent;
use super::{Inner, Raise};
use crate::error::{CallError, InvalidCall};
use crate::question::CallKind;
use crate::recorder::{Body, Delivery, HandlerStep};
use crate::signal::{Due, Letter, Notice, Sender, cut};

/// Longest a handler may run.
pub const HANDLER_DEADLINE: Duration = Duration::from_secs(1);

/// One run of a handler; what it says of its failure is text.
pub(crate) type Run = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;
/// A handler.
pub(crate) type Handler = Arc<dyn Fn(Notice) -> Run + Send + Sync>;

/// The handlers of one agent: at most one for each maskable signal.
#[derive(Default)]
pub(crate) struct Handlers(Mutex<BTreeMap<Signal, Handler>>);

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lock().keys()).finish()
    }
}

impl Handlers {
    /// Drops them all: one that holds a handle of its own agent would keep it in memory.
    pub(crate) fn clear(&self) {
        let handlers = take(&mut *self.lock());
        handlers.into_values().for_each(discard);
    }

    fn get(&self, signal: Signal) -> Option<Handler> {
        self.lock().get(&signal).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Signal, Handler>> {
        // INVARIANT: only map operations run under this lock, so a poisoned one still holds a whole map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Registers or takes away the handler of a signal. It passes the gate and is recorded; policy is not asked, as it is
    /// not asked about a mask. Cancel safe.
    pub(crate) async fn set_handler(
        &self,
        agent: &Arc<Agent>,
        signal: Signal,
        handler: Option<Handler>,
    ) -> Result<(), CallError> {
        let passage = self.passage(agent);
        let refuse = |error| {
            let what = format!("handler of {signal}");
            self.reject(passage, Refused { syscall: CallKind::Signal, what, error: Box::new(error) })
        };
        let _in_flight = self.enter(agent, CallKind::Signal).await.map_err(refuse)?;
        if !signal.maskable() {
            return Err(refuse(InvalidCall::Unmaskable { signal }.into()));
        }
        let handled = handler.is_some();
        let step = if handled { HandlerStep::Registered } else { HandlerStep::Removed };
        self.record(passage, Body::Handler { signal: signal.number(), step, reason: "" })?;
        let mut handlers = agent.handlers.lock();
        let before = match handler {
            Some(handler) => handlers.insert(signal, handler),
            None => handlers.remove(&signal),
        };
        let due = agent.mailbox.set_handled(&agent.word, signal, handled);
        drop(handlers);
        discard(before);
        if agent.word.load().closed() {
            // It ended meanwhile, and may have dropped its handlers already.
            agent.handlers.clear();
        }
        self.delivered(agent, passage.number, due)
    }

    /// Runs the handlers that are due, each signal's at most once. Dropped, it leaves the signal to its default action.
    pub(crate) async fn run_handlers(&self, agent: &Arc<Agent>) {
        let mut ran = SignalSet::EMPTY;
        while let Some((signal, letter)) = agent.mailbox.begin_handling(&agent.word, ran) {
            ran = ran.with(signal);
            let letter = letter.unwrap_or_else(|| self.lost_letter());
            let mut handling = Handling { kernel: self, agent, signal, letter, end: End::Abandoned };
            handling.end = self.handle(agent, signal, &handling.letter).await;
        }
        if agent.word.load().handler_due() {
            // One that raises its own signal again and again lets others of its thread have their turn.
            yield_now().await;
        }
    }

    /// Runs one handler.
    async fn handle(&self, agent: &Arc<Agent>, signal: Signal, letter: &Letter) -> End {
        let Some(handler) = agent.handlers.get(signal) else {
            return End::Failed("it was taken away".to_owned());
        };
        let notice = self.notice(agent, signal, letter.clone());
        if self.record_delivery(agent, 0, signal, Delivery::Handler, letter).is_err() {
            return End::Abandoned;
        }
        let deadline = self.timer.monotonic().after(HANDLER_DEADLINE);
        match catch_unwind(AssertUnwindSafe(|| handler(notice))) {
            Err(panic) => End::Panicked(panic_text(panic)),
            Ok(mut run) => {
                let end = self.until(deadline, self.watch_handler(agent, &mut run, deadline)).await;
                discard(run);
                end.unwrap_or(End::Overran)
            }
        }
    }

    async fn watch_handler(&self, agent: &Arc<Agent>, run: &mut Run, deadline: Monotonic) -> End {
        let mut ended = pin!(self.changed(agent, |_| false));
        poll_fn(|context| {
            if agent.word.load().closed() {
                return Poll::Ready(End::Abandoned);
            }
            match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
                Err(panic) => Poll::Ready(End::Panicked(panic_text(panic))),
                Ok(Poll::Ready(_)) if deadline < self.timer.monotonic() => Poll::Ready(End::Overran),
                Ok(Poll::Ready(Ok(()))) => Poll::Ready(End::Done),
                Ok(Poll::Ready(Err(error))) => Poll::Ready(End::Failed(error)),
                Ok(Poll::Pending) => ended.as_mut().poll(context).map(|()| End::Abandoned),
            }
        })
        .await
    }

    /// What is written with a signal that has to wait.
    pub(crate) fn letter(&self, from: Raiser<'_>, reason: &str) -> Letter {
        let (from, labels) = match from {
            Raiser::Host => (Sender::Host, LabelSet::EMPTY),
            // What the kernel says is about the agent's own calls.
            Raiser::Kernel => (Sender::Kernel, LabelSet::EMPTY),
            Raiser::Agent(agent) => (Sender::Agent(agent.id.clone()), self.carried_by(agent)),
        };
        Letter { from, reason: reason.to_owned(), raised: self.timer.now(), labels }
    }

    /// Letters are put with their signals, so none is ever missing; a signal is worth more than what it says.
    pub(crate) fn lost_letter(&self) -> Letter {
        self.letter(Raiser::Kernel, "")
    }

    /// What the agent is told of a signal. It carries from now on what the sender did; if it cannot, the reason is withheld.
    pub(crate) fn notice(&self, agent: &Agent, signal: Signal, letter: Letter) -> Notice {
        let Letter { from, reason, raised, labels } = letter;
        match self.join(agent, &labels) {
            Ok(()) => Notice { signal, from, reason, raised, labels },
            Err(_too_many) => Notice { signal, from, reason: String::new(), raised, labels: LabelSet::EMPTY },
        }
    }

    /// Finishes the delivery of signals that nothing holds back any more, after what holds them back has changed.
    pub(crate) fn delivered(&self, agent: &Arc<Agent>, call: u64, due: Due<Letter>) -> Result<(), CallError> {
        agent.word_changed();
        for (signal, letter) in due {
            let letter = letter.unwrap_or_else(|| self.lost_letter());
            self.record_delivery(agent, call, signal, Delivery::Default, &letter)?;
            let from_above = signal == Signal::Stop && agent.stopped_from_above.load(Ordering::SeqCst);
            self.follow_up(agent, signal, Raise::Delivered, &letter.reason);
            if from_above {
                // It came from above, and waited till now.
                agent.stopped_from_above.store(true, Ordering::SeqCst);
            }
        }
        Ok(())
    }

    pub(crate) fn record_delivery(
        &self,
        agent: &Agent,
        call: u64,
        signal: Signal,
        to: Delivery,
        letter: &Letter,
    ) -> Result<(), CallError> {
        let Letter { from, reason, raised, labels } = letter;
        let (from, labels) = (from.as_actor(), labels.clone());
        let body = Body::Delivered { signal: signal.number(), to, from, reason, raised: *raised, labels };
        self.append(agent.source(), call, body).map(drop)
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How a run of a handler ended.
#[derive(Debug)]
enum End {
    Done,
    Failed(String),
    Panicked(String),
    Overran,
    Abandoned,
}

/// A handler under way. However it ends, the next one may begin, and the default action is taken unless it ended well.
struct Handling<'a> {
    kernel: &'a Inner,
    agent: &'a Arc<Agent>,
    signal: Signal,
    letter: Letter,
    end: End,
}

impl Drop for Handling<'_> {
    fn drop(&mut self) {
        let Self { kernel, agent, signal, letter, end } = self;
        let (step, reason) = match end {
            End::Done => (HandlerStep::Done, ""),
            End::Failed(why) => (HandlerStep::Failed, &**why),
            End::Panicked(why) => (HandlerStep::Panicked, &**why),
            End::Overran => (HandlerStep::Overran, ""),
            End::Abandoned => (HandlerStep::Abandoned, ""),
        };
        if step != HandlerStep::Done {
            let _ = agent.mailbox.fall_back(&agent.word, *signal, letter.clone());
        }
        agent.word.end_handling();
        agent.word_changed();
        // A recorder that fails here has already panicked the kernel, which closed every gate.
        let body = Body::Handler { signal: signal.number(), step, reason: cut(reason) };
        let _ = kernel.append(agent.source(), 0, body);
        if step != HandlerStep::Done {
            kernel.follow_up(agent, *signal, Raise::Delivered, &letter.reason);
        }
    }
}
