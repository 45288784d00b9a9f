//! Tools that are async functions of the host.

use std::future::Future;
use std::sync::Arc;

use agent_primitives::json::Value;

use super::{BlockingPool, Job, Prepare};
use crate::builder::{ToolArguments, ToolReply};
use crate::error::{ArgumentError, ToolError};
use crate::{Arguments, CallContext, Output};

/// A function that takes its arguments as a type of its own.
pub(crate) fn typed<A, R, F, Fut>(tool: F, max_output: usize) -> Prepare
where
    A: ToolArguments,
    R: ToolReply,
    F: Fn(CallContext, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
{
    let tool = Arc::new(tool);
    Box::new(move |arguments| Ok(job(Arc::clone(&tool), take::<A>(arguments)?, max_output)))
}

/// A function that blocks its thread.
pub(crate) fn blocking<A, R, F>(tool: F, max_output: usize, pool: BlockingPool) -> Prepare
where
    A: ToolArguments,
    R: ToolReply,
    F: Fn(CallContext, A) -> Result<R, ToolError> + Send + Sync + 'static,
{
    let tool = Arc::new(tool);
    Box::new(move |arguments| {
        let (taken, tool, pool) = (take::<A>(arguments)?, Arc::clone(&tool), pool.clone());
        Ok(Box::new(move |cx| {
            let work = move |cx| {
                tool(cx, taken).map_err(ToolError::by_tool).and_then(|reply| Output::of(reply, max_output))
            };
            Box::pin(async move { pool.run(cx, Box::new(work)).await })
        }))
    })
}

fn take<A: ToolArguments>(arguments: &Arguments) -> Result<A, ToolError> {
    A::deserialize(arguments.value()).map_err(|error| ToolError::ArgsInvalid {
        errors: vec![ArgumentError::new("", "deserialize", error)],
    })
}

/// A function that takes its arguments as JSON.
pub(crate) fn raw<R, F, Fut>(tool: F, max_output: usize) -> Prepare
where
    R: ToolReply,
    F: Fn(CallContext, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
{
    let tool = Arc::new(tool);
    Box::new(move |arguments| Ok(job(Arc::clone(&tool), arguments.value().clone(), max_output)))
}

/// Code of the host that talks to another server, and is trusted to say what went wrong.
pub(crate) fn remote<F, Fut>(call: F, max_output: usize) -> Prepare
where
    F: Fn(CallContext, Value) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, ToolError>> + Send + 'static,
{
    let call = Arc::new(call);
    Box::new(move |arguments| {
        let (call, arguments) = (Arc::clone(&call), arguments.value().clone());
        Ok(Box::new(move |cx| Box::pin(async move { Output::of(call(cx, arguments).await?, max_output) })))
    })
}

fn job<A, R, F, Fut>(tool: Arc<F>, taken: A, max_output: usize) -> Job
where
    A: Send + Sync + 'static,
    R: ToolReply,
    F: Fn(CallContext, A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
{
    Box::new(move |cx| {
        Box::pin(async move {
            let reply = tool(cx, taken).await.map_err(ToolError::by_tool)?;
            Output::of(reply, max_output)
        })
    })
}
