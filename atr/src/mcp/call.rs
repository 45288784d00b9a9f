//! One call of a tool of a server.

use std::sync::{Arc, Weak};
use std::time::Duration;

use agent_primitives::json::Value;
use agent_primitives::{Digest, Timer, ToolId};
use tokio::runtime::Handle;

use super::answer;
use super::connection::{Connection, object};
use super::error::{Lost, McpError};
use super::server::Inner;
use crate::CallContext;
use crate::context::Stop;
use crate::error::ToolError;
use crate::executor::{Control, Held, Order, Pending, Usage};
use crate::isolation::Level;

/// What a registered tool calls. It holds no server: one that the host has dropped is gone.
pub(super) struct Callee {
    pub(super) server: Weak<Inner>,
    pub(super) id: ToolId,
    pub(super) name: String,
    pub(super) fingerprint: Digest,
    pub(super) has_schema: bool,
}

/// Calls the tool, if it is still what was approved.
///
/// # Cancel safety
/// Dropping the future sends `notifications/cancelled`; a server that does not answer then is killed.
pub(super) async fn run(callee: Arc<Callee>, cx: CallContext, arguments: Value) -> Result<Value, ToolError> {
    let gone = || Lost::new("the host has let go of it").tool_error();
    let server = callee.server.upgrade().ok_or_else(gone)?;
    cx.executions().admitted().await?;
    let reach = Arc::new(Reach::default());
    let _registered = cx.executions().register(Arc::clone(&reach) as Arc<dyn Control>)?;
    tokio::select! {
        biased;
        () = reach.killed.raised() => Err(ToolError::Killed),
        answer = ask(&server, &callee, &cx, arguments) => answer,
    }
}

async fn ask(
    server: &Arc<Inner>,
    callee: &Callee,
    cx: &CallContext,
    arguments: Value,
) -> Result<Value, ToolError> {
    let _place = server.place().await?;
    let connection = server.connection().await.map_err(McpError::tool_error)?;
    server.admit(&connection, callee).await?;
    let mut watched = Watched { connection: Some(Arc::clone(&connection)), server: Arc::clone(server) };
    let answer = connection.call(callee.name.clone(), object(arguments)).await;
    watched.connection = None;
    if connection.is_program() {
        cx.used(Usage::default(), connection.level, connection.guarantees);
    }
    let answer = answer.map_err(Lost::tool_error)?;
    server.answered();
    answer::output(answer, callee.has_schema)
}

/// A call that nobody waits for any more makes the server prove that it still answers.
struct Watched {
    connection: Option<Arc<Connection>>,
    server: Arc<Inner>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (grace, timer): (Duration, Arc<dyn Timer>) = self.server.grace();
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move { connection.probe(grace, &*timer).await })),
            Err(_) => connection.kill(Lost::new("a call was abandoned outside of a runtime")),
        }
    }
}

/// Reaches one call on behalf of its agent. The server is not the agent's: it goes on while the agent is stopped, and what is
/// killed is the call.
#[derive(Debug, Default)]
struct Reach {
    killed: Stop,
}

impl Control for Reach {
    fn level(&self) -> Level {
        Level::InProcess
    }

    fn order(&self, order: Order) {
        if matches!(order, Order::Kill | Order::Terminate) {
            self.killed.raise();
        }
    }

    fn held(&self) -> Pending<'_, Held> {
        let held = if self.killed.is_raised() { Held::Dead } else { Held::Cooperative };
        Box::pin(std::future::ready(held))
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }
}
