//! One connection to a server: from the first message to the last.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_primitives::json::Value;
use agent_primitives::{Digest, Timer};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelledNotification, CancelledNotificationParam,
    ClientCapabilities, ClientConfig, ClientNotification, ClientRequest, ClientResult, ErrorCode, ErrorData,
    Implementation, JsonObject, ListToolsRequest, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    RequestId, ServerNotification, ServerRequest, ServerResult,
};
use rmcp::service::{
    ClientLifecycleMode, NotificationContext, Peer, PeerRequestOptions, RequestContext, RoleClient,
    RunningService, Service, ServiceError, serve_client_with_lifecycle,
};
use tokio::io::AsyncReadExt;
use tokio::task::AbortHandle;

use super::error::Lost;
use super::wire::{Lines, Reader, Wire, Writer};
use crate::executor::{Control, Order, Session};
use crate::isolation::{GuaranteeSet, Level};

/// Answers pings, and refuses whatever else a server asks of the host: it has no model, no folders and nobody to ask.
pub(super) struct Refuses;

impl Service<RoleClient> for Refuses {
    async fn handle_request(
        &self,
        request: ServerRequest,
        _: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        match request {
            ServerRequest::PingRequest(_) => Ok(ClientResult::empty(())),
            _ => Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "this host answers no requests", None)),
        }
    }

    async fn handle_notification(
        &self,
        _: ServerNotification,
        _: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        let name = Implementation::new("agent-os", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), name)
    }
}

/// How a server is reached: its streams, and what keeps its program within reach if it is one of the host's.
pub(super) struct Link {
    pub(super) read: Reader,
    pub(super) write: Writer,
    pub(super) identity: Digest,
    pub(super) level: Level,
    pub(super) guarantees: GuaranteeSet,
    pub(super) control: Option<Arc<dyn Control>>,
    pub(super) tasks: Tasks,
    pub(super) wire: Arc<Wire>,
}

impl Link {
    /// Streams of the host's own making.
    pub(super) fn streams(read: Reader, write: Writer, identity: Digest) -> Self {
        Self {
            read,
            write,
            identity,
            level: Level::InProcess,
            guarantees: GuaranteeSet::NONE,
            control: None,
            tasks: Tasks::default(),
            wire: Arc::default(),
        }
    }

    /// A program that has been started.
    pub(super) fn program(session: Session, identity: Digest, keep_stderr: usize) -> Self {
        let Session { stdin, stdout, mut stderr, control, exit, guarantees } = session;
        let wire = Arc::<Wire>::default();
        let complaint = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&complaint);
        let drained = tokio::spawn(async move {
            let mut chunk = vec![0; 4096];
            while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = keep_stderr.saturating_sub(kept.len());
                kept.extend(chunk.iter().take(length.min(room)));
            }
        });
        let (ended, kill) = (Arc::clone(&wire), Arc::clone(&control));
        // Whoever drops this future kills the program, so ending the task does.
        let watched = tokio::spawn(async move {
            let mut exit = exit;
            let exit = tokio::select! {
                exit = &mut exit => exit,
                // What is out of bounds ends the program too, whether or not anybody calls it again.
                _ = ended.failed() => {
                    kill.order(Order::Kill);
                    exit.await
                }
            };
            let complaint = complaint.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let complaint = String::from_utf8_lossy(&complaint).into_owned();
            ended.fail(Lost::because("its program ended", format_args!("{:?}: {complaint}", exit.cause)));
        });
        Self {
            read: stdout,
            write: stdin,
            identity,
            level: control.level(),
            guarantees,
            control: Some(control),
            tasks: Tasks(vec![drained.abort_handle(), watched.abort_handle()]),
            wire,
        }
    }
}

/// Tasks that end with what they belong to.
#[derive(Default)]
pub(super) struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// A server that has been greeted.
pub(super) struct Connection {
    /// Ends the connection when it is dropped.
    service: RunningService<RoleClient, Refuses>,
    pub(super) wire: Arc<Wire>,
    /// Which of the server's connections it is.
    pub(super) number: u64,
    pub(super) identity: Digest,
    pub(super) protocol: String,
    pub(super) level: Level,
    pub(super) guarantees: GuaranteeSet,
    /// Whether the server has promised to say when its tools change.
    pub(super) announces: bool,
    control: Option<Arc<dyn Control>>,
    probed: AtomicBool,
    /// Last, so that the program is killed after its streams are closed.
    _tasks: Tasks,
}

impl Connection {
    /// Greets the server: as of 2026-07-28 if it knows that, else by the handshake of the protocol's earlier revisions.
    ///
    /// # Cancel safety
    /// Dropping the future closes the streams and kills the program.
    pub(super) async fn open(
        link: Link,
        number: u64,
        within: Duration,
        timer: &dyn Timer,
    ) -> Result<Self, Lost> {
        let Link { read, write, identity, level, guarantees, control, tasks, wire } = link;
        let lifecycle = ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
        };
        let lines = Lines::new(read, write, Arc::clone(&wire));
        let late = timer.sleep_until(timer.monotonic().after(within));
        let service = tokio::select! {
            greeted = serve_client_with_lifecycle(Refuses, lines, lifecycle) => greeted.map_err(|error| {
                wire.failure().unwrap_or_else(|| Lost::because("it did not take the greeting", error))
            })?,
            () = late => return Err(Lost::new("it did not answer the greeting in time")),
        };
        let info = service.peer().peer_info().ok_or_else(|| Lost::new("it did not say what it is"))?;
        if !ProtocolVersion::KNOWN_VERSIONS.contains(&info.protocol_version) {
            return Err(Lost::because(
                "it speaks an unknown revision of the protocol",
                &info.protocol_version,
            ));
        }
        let Some(tools) = &info.capabilities.tools else { return Err(Lost::new("it offers no tools")) };
        // As of 2026-07-28 a server announces changes to those that have subscribed, and nobody here has.
        let announces = tools.list_changed == Some(true) && info.protocol_version.has_initialize();
        Ok(Self {
            wire,
            number,
            identity,
            protocol: info.protocol_version.to_string(),
            level,
            guarantees,
            announces,
            control,
            probed: AtomicBool::new(false),
            service,
            _tasks: tasks,
        })
    }

    /// One page of the server's tools, asked of the server itself. The library's own `list_tools` is not used: it answers
    /// from a cache for as long as the server says, which is for the server to decide when it is looked at.
    pub(super) async fn page(&self, cursor: Option<String>) -> Result<ListToolsResult, Lost> {
        let params = Some(PaginatedRequestParams::default().with_cursor(cursor));
        let request = ListToolsRequest { params, ..ListToolsRequest::default() };
        let request = ClientRequest::ListToolsRequest(request);
        let peer = self.service.peer();
        let sent = peer.send_request_with_option(request, PeerRequestOptions::default()).await;
        let handle = sent.map_err(|error| self.lost(&error))?;
        let mut unanswered = Unanswered { peer, id: Some(handle.id.clone()) };
        let answer = handle.await_response().await;
        unanswered.id = None;
        match answer {
            Ok(ServerResult::ListToolsResult(page)) => Ok(page),
            Ok(_) => Err(Lost::new("it answered with something else than its tools")),
            Err(error) => Err(self.lost(&error)),
        }
    }

    /// Calls a tool.
    ///
    /// # Cancel safety
    /// Dropping the future sends `notifications/cancelled` with the number of the request.
    pub(super) async fn call(
        &self,
        name: String,
        arguments: JsonObject,
    ) -> Result<Result<CallToolResponse, ErrorData>, Lost> {
        let request = CallToolRequestParams::new(name).with_arguments(arguments);
        tokio::select! {
            biased;
            answer = self.service.peer().call_tool_once(request) => match answer {
                Ok(answer) => Ok(Ok(answer)),
                Err(ServiceError::McpError(error)) => Ok(Err(error)),
                Err(error) => Err(self.lost(&error)),
            },
            lost = self.wire.failed() => Err(lost),
        }
    }

    /// Whether the server answers at all, within `grace`; otherwise the connection is ended and its program killed. One
    /// probe at a time.
    ///
    /// A server says nothing when a request of its own is cancelled, so it is asked for something that every server
    /// has to answer at once.
    pub(super) async fn probe(&self, grace: Duration, timer: &dyn Timer) {
        if self.probed.swap(true, Ordering::AcqRel) {
            return;
        }
        let late = timer.sleep_until(timer.monotonic().after(grace));
        tokio::select! {
            _ = self.page(None) => {}
            () = late => self.kill(Lost::new("it did not answer after a call was cancelled")),
        }
        self.probed.store(false, Ordering::Release);
    }

    /// Ends the connection, and the server's program if the host has started it.
    pub(super) fn kill(&self, lost: Lost) {
        self.wire.fail(lost);
        if let Some(control) = &self.control {
            control.order(Order::Kill);
        }
    }

    /// Whether the host has started the server, and knows where it runs.
    pub(super) fn is_program(&self) -> bool {
        self.control.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.wire.failure().is_some() || self.service.peer().is_transport_closed()
    }

    fn lost(&self, error: &ServiceError) -> Lost {
        self.wire.failure().unwrap_or_else(|| Lost::because("the request failed", error))
    }
}

/// Tells the server about a request that nobody waits for any more.
struct Unanswered<'a> {
    peer: &'a Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let about = CancelledNotificationParam::new(Some(id), None);
        let notification = ClientNotification::CancelledNotification(CancelledNotification::new(about));
        let mut sending = std::pin::pin!(self.peer.send_notification(notification));
        // The first poll hands it over; that it has been sent is nothing to wait for.
        let _ = sending.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }
}

/// The arguments of a call, which are an object.
pub(super) fn object(arguments: Value) -> JsonObject {
    match arguments {
        Value::Object(entries) => entries,
        _ => JsonObject::new(),
    }
}
