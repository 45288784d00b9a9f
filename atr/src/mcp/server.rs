//! A server, and how it is kept within reach.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use agent_primitives::backoff::{Backoff, Jitter};
use agent_primitives::{AgentId, Digest, Monotonic, Timer, ToolId};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::call::Callee;
use super::catalogue::Catalogue;
use super::connection::{Connection, Link};
use super::error::{Lost, McpError};
use super::launch::Program;
use super::listing;
use super::policy::{Changed, ImportPolicy, Report};
use super::settings::{Recheck, Settings};
use super::wire::{Reader, Writer};
use crate::error::{ToolError, one_line};
use crate::executor::{Artefact, Executions, Executors, Launch};
use crate::registry::Registry;

/// A server that speaks MCP, and the tools of it that a registry has.
///
/// Its tools are called `mcp.<name>/<tool>`. They arrive proposed, and can be called once [approved](Server::approve) by
/// the digest of their contracts, for as long as the server shows the same definition. Clones are the same server. When
/// the last one is dropped the connection ends, the program is killed, and calls fail.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

pub(super) struct Inner {
    namespace: String,
    agent: AgentId,
    source: Source,
    settings: Settings,
    timer: Arc<dyn Timer>,
    executions: Executions,
    line: Mutex<Line>,
    catalogue: Mutex<Option<Catalogue>>,
    places: Semaphore,
    turns: AtomicU64,
    /// How often in a row the server broke off without having answered a call.
    failures: AtomicU32,
}

enum Source {
    Program { program: Box<Program>, executors: Executors },
    Streams(StdMutex<Option<(Reader, Writer, Digest)>>),
}

#[derive(Default)]
struct Line {
    connection: Option<Arc<Connection>>,
    /// Counts connections.
    number: u64,
    not_before: Option<Monotonic>,
}

impl Server {
    /// A server that is a program, started when it is first needed by the executor that its isolation asks for.
    ///
    /// # Errors
    /// [`McpError::NameInvalid`], [`McpError::SpecInvalid`].
    pub fn program(
        name: &str,
        program: Program,
        executors: Executors,
        settings: Settings,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, McpError> {
        program.check().map_err(|reason| McpError::SpecInvalid { reason })?;
        let source = Source::Program { program: Box::new(program), executors };
        Self::new(name, source, settings, timer)
    }

    /// A server at the other end of two streams that the host has made. `identity` is the digest of whatever tells it from
    /// others, such as its address and key: what was approved for one identity counts for no other.
    ///
    /// # Errors
    /// [`McpError::NameInvalid`], [`McpError::SpecInvalid`].
    pub fn streams(
        name: &str,
        identity: Digest,
        read: impl AsyncRead + Send + 'static,
        write: impl AsyncWrite + Send + 'static,
        settings: Settings,
        timer: Arc<dyn Timer>,
    ) -> Result<Self, McpError> {
        let streams: (Reader, Writer, Digest) = (Box::pin(read), Box::pin(write), identity);
        Self::new(name, Source::Streams(StdMutex::new(Some(streams))), settings, timer)
    }

    fn new(name: &str, source: Source, settings: Settings, timer: Arc<dyn Timer>) -> Result<Self, McpError> {
        let namespace = format!("mcp.{name}");
        let invalid = |source| McpError::NameInvalid { name: one_line(name, 128), source };
        format!("{namespace}/x").parse::<ToolId>().map_err(invalid)?;
        let agent = namespace.parse::<AgentId>().map_err(invalid)?;
        if settings.calls == 0 || Semaphore::MAX_PERMITS < settings.calls {
            return Err(McpError::SpecInvalid {
                reason: "no call, or too many, would be allowed".to_owned(),
            });
        }
        Ok(Self(Arc::new(Inner {
            namespace,
            agent,
            source,
            executions: Executions::new(Arc::clone(&timer)),
            line: Mutex::default(),
            catalogue: Mutex::default(),
            places: Semaphore::new(settings.calls),
            turns: AtomicU64::new(1),
            failures: AtomicU32::new(0),
            settings,
            timer,
        })))
    }

    /// Other streams, for when those before are broken. With another identity, everything has to be approved anew.
    ///
    /// # Errors
    /// [`McpError::SpecInvalid`] for a server that is a program.
    pub async fn reconnect(
        &self,
        identity: Digest,
        read: impl AsyncRead + Send + 'static,
        write: impl AsyncWrite + Send + 'static,
    ) -> Result<(), McpError> {
        let Source::Streams(streams) = &self.0.source else {
            return Err(McpError::SpecInvalid { reason: "its streams are those of its program".to_owned() });
        };
        let mut line = self.0.line.lock().await;
        let streams_of: (Reader, Writer, Digest) = (Box::pin(read), Box::pin(write), identity);
        streams.lock().unwrap_or_else(PoisonError::into_inner).replace(streams_of);
        line.hang_up(Lost::new("the host has connected it anew"));
        line.not_before = None;
        self.0.failures.store(0, Ordering::Release);
        Ok(())
    }

    /// Reads the server's tools and registers them as proposed, except those that were approved before and have not changed.
    /// Tools that an earlier import had registered are taken out first.
    ///
    /// # Errors
    /// [`McpError::Transport`] if the server cannot be reached or what it sends is out of bounds, [`McpError::Start`],
    /// [`McpError::Registry`]. Nothing is registered then.
    pub async fn import(&self, registry: &Registry, policy: ImportPolicy) -> Result<Report, McpError> {
        let inner = &self.0;
        inner.failures.store(0, Ordering::Release);
        inner.line.lock().await.not_before = None;
        let connection = inner.connection().await?;
        let mut catalogue = inner.catalogue.lock().await;
        let read = inner.read(&connection).await?;
        if let Some(mut before) = catalogue.take() {
            before.withdraw();
        }
        let mut imported = Catalogue::new(
            registry.clone(),
            policy,
            Arc::clone(&inner.settings.pins),
            Arc::downgrade(inner),
            inner.namespace.clone(),
            connection.identity,
        );
        let report = read.into(&mut imported)?;
        *catalogue = Some(imported);
        Ok(report)
    }

    /// Reads the server's tools again, now.
    ///
    /// # Errors
    /// As [`Server::import`]; [`McpError::NotImported`].
    pub async fn refresh(&self) -> Result<Report, McpError> {
        let connection = self.0.connection().await?;
        let mut catalogue = self.0.catalogue.lock().await;
        let catalogue = catalogue.as_mut().ok_or(McpError::NotImported)?;
        catalogue.read = None;
        self.0.read(&connection).await?.into(catalogue)
    }

    /// Approves the contract with this digest, if it is what the server shows of the tool now, and keeps that in the
    /// [pins](Settings::pins). `Registry::approve` alone does so for this run of the host only.
    ///
    /// # Errors
    /// As [`Server::refresh`]; [`McpError::NotShown`], [`McpError::NotApproved`], [`McpError::Pins`].
    pub async fn approve(&self, id: &ToolId, digest: Digest, by: &str) -> Result<(), McpError> {
        self.refresh().await?;
        let mut catalogue = self.0.catalogue.lock().await;
        let catalogue = catalogue.as_mut().ok_or(McpError::NotImported)?;
        catalogue.approve(id, digest, by, self.0.timer.now())
    }

    /// The tools of which the server shows another definition than before, as far as nobody has approved that.
    pub async fn changes(&self) -> Vec<Changed> {
        self.0.catalogue.lock().await.as_ref().map(Catalogue::changes).unwrap_or_default()
    }

    /// The revision of the protocol that is spoken, while there is a connection.
    pub async fn protocol(&self) -> Option<String> {
        let line = self.0.line.lock().await;
        line.connection.as_ref().filter(|open| !open.is_over()).map(|open| open.protocol.clone())
    }

    /// What runs of the server. It belongs to no agent, so no signal to one reaches it.
    #[must_use]
    pub fn executions(&self) -> &Executions {
        &self.0.executions
    }

    /// `mcp.<name>`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Ends the connection and kills the program. It is started again when it is next needed.
    pub async fn hang_up(&self) {
        self.0.line.lock().await.hang_up(Lost::new("the host has hung up"));
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("namespace", &self.0.namespace).finish_non_exhaustive()
    }
}

impl Line {
    fn hang_up(&mut self, why: Lost) {
        if let Some(connection) = self.connection.take() {
            connection.kill(why);
        }
    }
}

/// What a server was seen to show, and when.
struct Read {
    turn: u64,
    number: u64,
    at: Monotonic,
    endpoint: Digest,
    listing: Vec<super::definition::Definition>,
}

impl Read {
    fn into(self, catalogue: &mut Catalogue) -> Result<Report, McpError> {
        let report = catalogue.reconcile(self.endpoint, self.listing)?;
        (catalogue.read, catalogue.turn) = (Some((self.number, self.at)), self.turn);
        Ok(report)
    }
}

impl Inner {
    pub(super) fn grace(&self) -> (Duration, Arc<dyn Timer>) {
        (self.settings.grace, Arc::clone(&self.timer))
    }

    /// A call has been answered, so the server works.
    pub(super) fn answered(&self) {
        self.failures.store(0, Ordering::Release);
    }

    pub(super) async fn place(&self) -> Result<SemaphorePermit<'_>, ToolError> {
        self.places.acquire().await.map_err(|error| Lost::because("it takes no calls", error).tool_error())
    }

    /// The connection, made anew if there is none and it may be.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, McpError> {
        let mut line = self.line.lock().await;
        if let Some(connection) = &line.connection {
            if !connection.is_over() {
                return Ok(Arc::clone(connection));
            }
            line.hang_up(Lost::new("it broke off"));
            self.failed(&mut line);
        }
        if self.settings.restarts < self.failures.load(Ordering::Acquire) {
            return Err(Lost::new("it broke off too often").into());
        }
        if line.not_before.is_some_and(|until| self.timer.monotonic() < until) {
            return Err(Lost::new("it broke off, and is not started again so soon").into());
        }
        line.number += 1;
        match self.open(line.number).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                line.connection = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(error) => {
                self.failed(&mut line);
                Err(error)
            }
        }
    }

    /// The first restart may be at once, the ones after it wait longer each time.
    fn failed(&self, line: &mut Line) {
        let failures = self.failures.fetch_add(1, Ordering::AcqRel);
        let backoff = Backoff::new(Duration::from_millis(200), 2.0, Duration::from_secs(30), Jitter::None);
        let wait = backoff.and_then(|backoff| backoff.delay(failures.saturating_sub(1), 0.0));
        let wait = wait.unwrap_or(Duration::from_secs(30));
        line.not_before = (0 < failures).then(|| self.timer.monotonic().after(wait));
    }

    async fn open(&self, number: u64) -> Result<Connection, McpError> {
        let link = match &self.source {
            Source::Streams(streams) => {
                let streams = streams.lock().unwrap_or_else(PoisonError::into_inner).take();
                let (read, write, identity) =
                    streams.ok_or_else(|| Lost::new("its streams are broken, and there are no others"))?;
                Link::streams(read, write, identity)
            }
            Source::Program { program, executors } => self.start(program, executors).await?,
        };
        Ok(Connection::open(link, number, self.settings.start_within, &*self.timer).await?)
    }

    async fn start(&self, program: &Program, executors: &Executors) -> Result<Link, McpError> {
        let Program { command, permissions, isolation, limits, .. } = program;
        let artefacts = [Artefact::Command(command.clone())];
        let (executor, artefact) =
            executors.choose(&artefacts, *isolation, permissions, limits).map_err(McpError::Start)?;
        let reading = program.clone();
        let identity = tokio::task::spawn_blocking(move || reading.identity()).await;
        let identity = identity.map_err(|error| Lost::because("its program cannot be read", error))??;
        let launch = Launch {
            artefact,
            permissions: permissions.clone(),
            limits: *limits,
            agent: self.agent.clone(),
            timer: Arc::clone(&self.timer),
            executions: self.executions.clone(),
        };
        let session = executor.start(launch).await.map_err(McpError::Start)?;
        Ok(Link::program(session, identity, limits.stderr_bytes))
    }

    async fn read(&self, connection: &Connection) -> Result<Read, Lost> {
        let turn = self.turns.fetch_add(1, Ordering::AcqRel);
        // Before the list is read: what is announced meanwhile has it read again.
        connection.wire.take_list_changed();
        let at = self.timer.monotonic();
        let listing = listing::read(connection, self.settings.list_within, &*self.timer).await?;
        Ok(Read { turn, number: connection.number, at, endpoint: connection.identity, listing })
    }

    /// Lets a call pass if the server shows what was approved, and looks anew first where that is due.
    pub(super) async fn admit(&self, connection: &Connection, callee: &Callee) -> Result<(), ToolError> {
        let turn = self.turns.fetch_add(1, Ordering::AcqRel);
        let mut catalogue = self.catalogue.lock().await;
        let catalogue = catalogue.as_mut().ok_or_else(|| McpError::NotImported.tool_error())?;
        if self.is_due(catalogue, connection, turn) {
            // If the call is abandoned meanwhile, the next one looks.
            catalogue.read = None;
            let read = self.read(connection).await.map_err(Lost::tool_error)?;
            read.into(catalogue).map_err(McpError::tool_error)?;
        }
        catalogue.admit(&callee.id, &callee.name, callee.fingerprint)
    }

    fn is_due(&self, catalogue: &Catalogue, connection: &Connection, turn: u64) -> bool {
        let Some((number, at)) = catalogue.read else { return true };
        if number != connection.number || connection.wire.is_list_changed() {
            return true;
        }
        match self.settings.recheck {
            Recheck::After(age) => age <= self.timer.monotonic().since(at),
            Recheck::OnNotification if connection.announces => false,
            // Whoever began to look after this call came has looked for it too.
            Recheck::EveryCall | Recheck::OnNotification => catalogue.turn < turn,
        }
    }
}
