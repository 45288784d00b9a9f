//! How a tool is run: polled in place, with panics contained, a deadline and a way out.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use agent_primitives::clock::Sleep;

use crate::context::Entered;
use crate::error::{ToolError, one_line};
use crate::{Arguments, CallContext, Output};

/// A running tool.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<Output, ToolError>> + Send>>;
/// A tool with its arguments, ready to be started once.
pub(crate) type Job = Box<dyn FnOnce(CallContext) -> Running + Send + Sync>;
/// A tool without its arguments.
pub(crate) type Prepare = Box<dyn Fn(&Arguments) -> Result<Job, ToolError> + Send + Sync>;

/// Longest panic message that is kept, in characters.
const MAX_PANIC: usize = 1024;

/// Runs `job` until it answers, panics, is cancelled or has used up `allowed`.
pub(crate) async fn supervise(job: Job, cx: CallContext, allowed: Duration) -> Result<Output, ToolError> {
    let now = cx.timer().monotonic();
    let call = OverOnDrop(cx.enter(now, allowed));
    let Entered { inner, outer, deadline } = &call.0;
    if outer.is_raised() {
        return Err(ToolError::Cancelled);
    }
    if *deadline <= now {
        return Err(ToolError::Timeout);
    }
    let mut tool = Contained::start(job, inner.clone())?;
    let mut cancelled = pin!(outer.raised());
    let mut sleep: Option<Sleep> = None;
    poll_fn(|task| {
        if let Poll::Ready(answer) = tool.poll(task) {
            return Poll::Ready(answer);
        }
        if cancelled.as_mut().poll(task).is_ready() {
            return Poll::Ready(Err(ToolError::Cancelled));
        }
        loop {
            let ends = deadline.after(inner.stopped_for());
            let waking = sleep.get_or_insert_with(|| inner.timer().sleep_until(ends));
            if waking.as_mut().poll(task).is_pending() {
                return Poll::Pending;
            }
            sleep = None;
            // Time for which the agent was stopped is not the tool's. While it is stopped, what is left of it stands still.
            if deadline.after(inner.stopped_for()) <= inner.timer().monotonic() {
                return Poll::Ready(Err(ToolError::Timeout));
            }
        }
    })
    .await
}

/// Runs code of a tool; a panic in it becomes an error.
pub(crate) fn contained<T>(code: impl FnOnce() -> T) -> Result<T, ToolError> {
    // What the code held is dropped with it or belongs to the tool, so nothing of ours can be seen half changed.
    catch_unwind(AssertUnwindSafe(code)).map_err(panicked)
}

fn panicked(payload: Box<dyn Any + Send>) -> ToolError {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    ToolError::Panicked { payload: one_line(text.unwrap_or_default(), MAX_PANIC) }
}

/// A running tool whose panics end here, those while it is dropped included.
struct Contained(Option<Running>);

impl Contained {
    fn start(job: Job, cx: CallContext) -> Result<Self, ToolError> {
        contained(|| job(cx)).map(|running| Self(Some(running)))
    }

    fn poll(&mut self, task: &mut Context<'_>) -> Poll<Result<Output, ToolError>> {
        let Some(running) = &mut self.0 else { return Poll::Ready(Err(ToolError::Cancelled)) };
        contained(|| running.as_mut().poll(task)).unwrap_or_else(|panic| Poll::Ready(Err(panic)))
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            // The call has its result already; the panic hook has seen this one.
            let _ = contained(|| drop(running));
        }
    }
}

/// Tells whatever the tool has started that the call is over, however it ended.
struct OverOnDrop(Entered);

impl Drop for OverOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
