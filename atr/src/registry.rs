//! The registry, and a call in its two phases.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use agent_primitives::{Clock, Digest, ToolId};
use arc_swap::ArcSwap;
use semver::{Version, VersionReq};

use crate::builder::RegistryBuilder;
use crate::error::{RegistryError, ToolError, one_line};
use crate::executor::{self, BlockingPool, Executors, Job};
use crate::lifecycle::{Log, MAX_REASON, Status, Transition};
use crate::schema::Schemas;
use crate::snapshot::{Entry, LookUp, Snapshot, Tool, Tools};
use crate::{Arguments, CallContext, Output, ToolContract};

/// Tools that may come, go and change their states while they are used. Cloning is a reference count, and clones are the
/// same registry.
///
/// Reading never waits: whoever reads sees what the registry held at one moment, whole. A change of a tool's state reaches
/// every snapshot and every call that is prepared and has not begun.
///
/// A registry executes what it is asked to. Whether a call is allowed is decided between [`Registry::prepare`] and
/// [`Invocation::run`]: inside the kernel by its policy, anywhere else by you.
#[derive(Clone)]
pub struct Registry(Arc<Shared>);

struct Shared {
    tools: ArcSwap<Tools>,
    /// Held by whoever changes what is registered or how it stands, so that changes follow one another.
    log: Mutex<Log>,
    executors: Executors,
    blocking: BlockingPool,
    clock: Arc<dyn Clock>,
    schemas: Schemas,
}

impl Registry {
    /// An empty registry to fill.
    #[must_use]
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// Registers tools: all that `describe` registers, or none of them. Costs time in proportion to what is registered
    /// already, so many tools are better registered at once.
    ///
    /// What is proposed under a name that can be taken for that of an approved tool of another publisher's arrives as
    /// [`Status::Confusable`]: it looks alike by UTS 39 and without case and separators, or differs by one letter.
    ///
    /// The same contract twice is the same as once, and the first code is kept. `describe` runs before anything is locked.
    ///
    /// # Errors
    /// What `describe` fails with; [`RegistryError::Conflict`] if a version is taken by another contract, and
    /// [`RegistryError::Full`].
    pub fn register(
        &self,
        describe: impl FnOnce(&mut RegistryBuilder) -> Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        let Shared { executors, clock, blocking, schemas, .. } = &*self.0;
        let mut builder =
            RegistryBuilder::of(executors.clone(), Arc::clone(clock), blocking.clone(), schemas.clone());
        describe(&mut builder)?;
        let described = builder.into_tools();
        let _only_writer = self.lock();
        let mut tools = self.0.tools.load_full().copied();
        described.tell_apart(&tools);
        described.tell_apart(&described);
        tools.merge(described)?;
        self.0.tools.store(Arc::new(tools));
        Ok(())
    }

    pub(crate) fn of(
        tools: Tools,
        executors: Executors,
        clock: Arc<dyn Clock>,
        blocking: BlockingPool,
        schemas: Schemas,
    ) -> Self {
        tools.tell_apart(&tools);
        let tools = ArcSwap::from_pointee(tools);
        Self(Arc::new(Shared { tools, log: Mutex::default(), executors, blocking, clock, schemas }))
    }

    pub(crate) fn downgrade(&self) -> WeakRegistry {
        WeakRegistry(Arc::downgrade(&self.0))
    }

    /// First phase of a call: finds the tool, as [`Snapshot::get`] does, and checks the arguments against its schema, its
    /// argument type and its path roots. Nothing is executed.
    ///
    /// Blocks for a few file system look-ups if the tool has path arguments, and otherwise not at all.
    ///
    /// # Errors
    /// As [`Snapshot::get`]; [`ToolError::ArgsInvalid`], [`ToolError::PathEscapes`], [`ToolError::PathMissing`];
    /// [`ToolError::Panicked`] if deserialising the arguments panics.
    pub fn prepare(&self, id: &ToolId, arguments: Arguments) -> Result<Invocation, ToolError> {
        self.resolve(id)?.prepare(arguments)
    }

    /// The same for the highest version that a requirement admits, as [`Snapshot::find`] finds it.
    ///
    /// # Errors
    /// As [`Snapshot::find`] and [`Registry::prepare`].
    pub fn prepare_version(
        &self,
        id: &ToolId,
        wanted: &VersionReq,
        arguments: Arguments,
    ) -> Result<Invocation, ToolError> {
        self.find(id, wanted)?.prepare(arguments)
    }

    /// The threads of functions that block: see [`RegistryBuilder::blocking`].
    #[must_use]
    pub fn blocking(&self) -> &BlockingPool {
        &self.0.blocking
    }

    /// What is registered now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.tools.load_full())
    }

    /// The version of a tool that is called when nothing is said about the version: see [`Snapshot::get`].
    ///
    /// # Errors
    /// As [`Snapshot::get`].
    pub fn resolve(&self, id: &ToolId) -> Result<Tool, ToolError> {
        self.0.tools.load().get(id).cloned()
    }

    /// The highest version of a tool that a requirement admits: see [`Snapshot::find`].
    ///
    /// # Errors
    /// As [`Snapshot::find`].
    pub fn find(&self, id: &ToolId, wanted: &VersionReq) -> Result<Tool, ToolError> {
        self.0.tools.load().find(id, wanted).cloned()
    }

    pub(crate) fn look_up(&self, id: &ToolId, wanted: Option<&VersionReq>) -> LookUp {
        self.0.tools.load().look_up(id, wanted)
    }

    /// The contract of the version that [`Registry::resolve`] finds; none if no version can be called.
    #[must_use]
    pub fn get(&self, id: &ToolId) -> Option<Arc<ToolContract>> {
        self.resolve(id).ok().map(|tool| Arc::clone(tool.contract()))
    }

    /// Whether there is such a tool, whatever its state.
    #[must_use]
    pub fn contains(&self, id: &ToolId) -> bool {
        self.0.tools.load().by_id.contains_key(id)
    }

    /// How many versions of all tools there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.tools.load().count
    }

    /// Whether there is no tool at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where a version of a tool stands; none if there is no such version.
    #[must_use]
    pub fn status(&self, id: &ToolId, version: &Version) -> Option<Status> {
        let snapshot = self.snapshot();
        let is = |tool: &&Tool| tool.contract().version() == version;
        snapshot.versions(id).iter().find(is).and_then(Tool::status)
    }

    /// Lets the version with this digest be called: one that is proposed, deprecated, quarantined or changed. The digest is
    /// what `by` has seen and agrees to.
    ///
    /// # Errors
    /// [`ToolError::NotFound`]; [`ToolError::DefinitionChanged`] if the tool has no version with this digest, so that it is
    /// not what was looked at; [`ToolError::Revoked`].
    pub fn approve(&self, id: &ToolId, digest: Digest, by: &str) -> Result<(), ToolError> {
        self.change(id, digest, by, |_| Ok(Status::Approved))
    }

    /// Advises against the version with this digest. It can be called all the same, where no other is approved or where its
    /// version is asked for. `message` is for the caller.
    ///
    /// # Errors
    /// As [`Registry::approve`]; why it cannot be called, if it cannot.
    pub fn deprecate(&self, id: &ToolId, digest: Digest, message: &str, by: &str) -> Result<(), ToolError> {
        self.change(id, digest, by, |entry| entry.admit().map(|()| Status::deprecated(message)))
    }

    /// Keeps the version with this digest from being called, until it is approved anew. What runs already goes on.
    ///
    /// # Errors
    /// As [`Registry::approve`].
    pub fn quarantine(&self, id: &ToolId, digest: Digest, reason: &str, by: &str) -> Result<(), ToolError> {
        self.change(id, digest, by, |_| Ok(Status::quarantined(reason)))
    }

    /// A requirement of versions, by the rules of Cargo's for <https://semver.org>: `^1.2`, `~1.2.3`, `>=1.0.0, <2.0.0`, `*`.
    ///
    /// # Errors
    /// [`ToolError::VersionReqInvalid`].
    pub fn requirement(wanted: &str) -> Result<VersionReq, ToolError> {
        VersionReq::parse(wanted).map_err(|error| ToolError::VersionReqInvalid {
            wanted: one_line(wanted, 64),
            reason: one_line(error, MAX_REASON),
        })
    }

    /// Says that the source of the version with this digest has another definition by now. Calls fail with
    /// [`ToolError::DefinitionChanged`] until either is approved; the other one is registered as a version of its own.
    ///
    /// # Errors
    /// As [`Registry::approve`].
    pub fn changed(&self, id: &ToolId, digest: Digest, observed: Digest, by: &str) -> Result<(), ToolError> {
        self.change(id, digest, by, |_| Ok(Status::Changed { observed }))
    }

    /// Keeps the version with this digest from ever being called again, and ends the calls of it that run: they fail with
    /// [`ToolError::Revoked`], as if their futures had been dropped. Nothing takes this back, and the version stays known.
    ///
    /// # Errors
    /// As [`Registry::approve`].
    pub fn revoke(&self, id: &ToolId, digest: Digest, by: &str) -> Result<(), ToolError> {
        self.change(id, digest, by, |_| Ok(Status::Revoked))
    }

    /// Takes every version of a tool out of the registry, except those that are revoked: the memory of these is what keeps
    /// them from coming back. What runs already goes on.
    ///
    /// # Errors
    /// [`ToolError::NotFound`], and [`ToolError::Revoked`] if only such versions are there.
    pub fn unregister(&self, id: &ToolId, by: &str) -> Result<(), ToolError> {
        let mut log = self.lock();
        let mut tools = self.0.tools.load_full().copied();
        let is_revoked = |tool: &&Tool| tool.status() == Some(Status::Revoked);
        let (kept, gone): (Vec<_>, Vec<_>) =
            tools.versions(id)?.iter().cloned().partition(|tool| is_revoked(&tool));
        if gone.is_empty() {
            return Err(ToolError::Revoked { id: id.clone() });
        }
        tools.replace(id, kept);
        self.0.tools.store(Arc::new(tools));
        gone.iter().for_each(|tool| self.note(&mut log, &tool.0, None, by));
        Ok(())
    }

    /// The latest changes of state, at most [`MAX_TRANSITIONS`](crate::MAX_TRANSITIONS), the oldest first.
    #[must_use]
    pub fn transitions(&self) -> Vec<Transition> {
        self.lock().all()
    }

    fn change(
        &self,
        id: &ToolId,
        digest: Digest,
        by: &str,
        to: impl FnOnce(&Entry) -> Result<Status, ToolError>,
    ) -> Result<(), ToolError> {
        let mut log = self.lock();
        let tools = self.0.tools.load();
        let versions = tools.versions(id)?;
        let Some(Tool(entry)) = versions.iter().find(|tool| tool.contract().digest() == digest) else {
            let observed = versions.first().map_or(Digest::ZERO, |tool| tool.contract().digest());
            return Err(ToolError::DefinitionChanged { id: id.clone(), approved: digest, observed });
        };
        if **entry.status.load() == Some(Status::Revoked) {
            return Err(ToolError::Revoked { id: id.clone() });
        }
        let to = to(entry)?;
        let revokes = to == Status::Revoked;
        self.note(&mut log, entry, Some(to), by);
        if revokes {
            // INVARIANT: after the state, so that a call which begins meanwhile sees one or the other.
            entry.revoked.raise();
        }
        Ok(())
    }

    /// Changes the state of a version and logs it, unless it stands so already.
    fn note(&self, log: &mut Log, entry: &Entry, to: Option<Status>, by: &str) {
        let before = entry.status.swap(Arc::new(to.clone()));
        let Some(from) = before.as_ref().clone().filter(|from| Some(from) != to.as_ref()) else { return };
        log.push(Transition {
            tool: entry.contract.id().clone(),
            version: entry.contract.version().clone(),
            digest: entry.contract.digest(),
            from,
            to,
            by: one_line(by, MAX_REASON),
            at: self.0.clock.now(),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // INVARIANT: the tools are swapped as a whole, and the log changes by one push, so a poisoned lock guards what is
        // whole.
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registry that something in it refers to.
pub(crate) struct WeakRegistry(Weak<Shared>);

impl WeakRegistry {
    pub(crate) fn upgrade(&self) -> Option<Registry> {
        self.0.upgrade().map(Registry)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.snapshot().ids()).finish()
    }
}

/// A call that is ready and has not happened. Dropping it means that it never does.
#[must_use = "the tool has not run; `run` it, or drop it to refuse the call"]
pub struct Invocation {
    entry: Arc<Entry>,
    arguments: Arguments,
    job: Job,
}

impl Invocation {
    pub(crate) fn new(entry: Arc<Entry>, arguments: Arguments, job: Job) -> Self {
        Self { entry, arguments, job }
    }

    /// The name of the tool.
    #[must_use]
    pub fn id(&self) -> &ToolId {
        self.entry.contract.id()
    }

    /// What the tool promises.
    #[must_use]
    pub fn contract(&self) -> &Arc<ToolContract> {
        &self.entry.contract
    }

    /// What the caller should know although the call can be made: that the tool is deprecated, and what to use instead.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        match &**self.entry.status.load() {
            Some(Status::Deprecated { message }) => Some(message.clone()),
            _ => None,
        }
    }

    /// Exactly what the tool will be given.
    #[must_use]
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    /// Second phase: executes the tool, once, with no further question. Whoever calls this has decided that the call
    /// may happen.
    ///
    /// The tool runs inside the returned future; no task is started, and nothing happens before the first poll. The
    /// deadline of the contract or of `cx`, whichever is sooner, is measured from there.
    ///
    /// # Errors
    /// Why the tool can no longer be called, if its state changed since it was prepared; the tool is not run then.
    /// [`ToolError::Timeout`], [`ToolError::Cancelled`], [`ToolError::Panicked`], [`ToolError::Failed`], the output's
    /// and the process's errors; [`ToolError::Revoked`] if it is revoked while it runs. After any of them the tool may
    /// have had effects already.
    ///
    /// # Cancel safety
    /// Dropping the future stops the tool where it awaits and kills its processes. A function that blocks its thread
    /// can be stopped by nothing, neither by this nor by the deadline.
    pub fn run(self, cx: CallContext) -> impl Future<Output = Result<Output, ToolError>> + Send + 'static {
        let Self { entry, job, .. } = self;
        async move {
            entry.admit()?;
            let call = executor::supervise(job, cx, entry.contract.limits().deadline);
            let output = tokio::select! {
                biased;
                () = entry.revoked.raised() => {
                    return Err(ToolError::Revoked { id: entry.contract.id().clone() });
                }
                output = call => output?,
            };
            if entry.output_schema.as_ref().is_some_and(|schema| !schema.fits(output.value())) {
                let reason = "it breaks the schema of the output".to_owned();
                return Err(ToolError::OutputInvalid { reason });
            }
            Ok(output)
        }
    }
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("id", self.id())
            .field("arguments", &self.arguments)
            .finish_non_exhaustive()
    }
}
