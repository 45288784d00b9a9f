//! The registry, and a call in its two phases.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use agent_primitives::{ToolId, suggest};

use crate::builder::RegistryBuilder;
use crate::error::ToolError;
use crate::executor::{self, Job, Prepare};
use crate::path::PathArgument;
use crate::schema::{InputSchema, ValueSchema};
use crate::{Arguments, CallContext, Output, ToolContract};

/// How many names are compared with an unknown one.
const SUGGEST_AMONG: usize = 1024;

/// A fixed set of tools. Cloning is a reference count; nothing in it changes, so no call waits for another.
///
/// A registry executes what it is asked to. Whether a call is allowed is decided between [`Registry::prepare`] and
/// [`Invocation::run`]: inside the kernel by its policy, anywhere else by you.
#[derive(Clone)]
pub struct Registry(Arc<BTreeMap<ToolId, Arc<Entry>>>);

impl Registry {
    /// An empty registry to fill.
    #[must_use]
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// A builder that starts out with these tools.
    #[must_use]
    pub fn into_builder(self) -> RegistryBuilder {
        RegistryBuilder::of(BTreeMap::clone(&self.0))
    }

    /// First phase of a call: finds the tool and checks the arguments against its schema, its argument type and its
    /// path roots. Nothing is executed.
    ///
    /// Blocks for a few file system look-ups if the tool has path arguments, and otherwise not at all.
    ///
    /// # Errors
    /// [`ToolError::NotFound`], [`ToolError::ArgsInvalid`], [`ToolError::PathEscapes`], [`ToolError::PathMissing`];
    /// [`ToolError::Panicked`] if deserialising the arguments panics.
    pub fn prepare(&self, id: &ToolId, arguments: Arguments) -> Result<Invocation, ToolError> {
        let entry = self.0.get(id).ok_or_else(|| self.not_found(id))?;
        entry.schema.validate(arguments.value()).map_err(|errors| ToolError::ArgsInvalid { errors })?;
        entry.paths.iter().try_for_each(|path| path.check(arguments.value()))?;
        let job = executor::contained(|| (entry.prepare)(&arguments))??;
        Ok(Invocation { entry: Arc::clone(entry), arguments, job })
    }

    /// The contract of a tool.
    #[must_use]
    pub fn get(&self, id: &ToolId) -> Option<&ToolContract> {
        self.0.get(id).map(|entry| &entry.contract)
    }

    /// Whether there is such a tool.
    #[must_use]
    pub fn contains(&self, id: &ToolId) -> bool {
        self.0.contains_key(id)
    }

    /// All contracts, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = &ToolContract> {
        self.0.values().map(|entry| &entry.contract)
    }

    /// How many tools there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no tool at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn new(entries: BTreeMap<ToolId, Arc<Entry>>) -> Self {
        Self(Arc::new(entries))
    }

    fn not_found(&self, id: &ToolId) -> ToolError {
        let names = self.0.keys().take(SUGGEST_AMONG).map(ToolId::as_str);
        let suggestion = suggest::nearest(id.as_str(), names).and_then(|name| name.parse().ok());
        ToolError::NotFound { id: id.clone(), suggestion }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One registered tool.
pub(crate) struct Entry {
    pub(crate) contract: ToolContract,
    pub(crate) schema: InputSchema,
    pub(crate) output_schema: Option<ValueSchema>,
    pub(crate) paths: Vec<PathArgument>,
    pub(crate) prepare: Prepare,
}

/// A call that is ready and has not happened. Dropping it means that it never does.
#[must_use = "the tool has not run; `run` it, or drop it to refuse the call"]
pub struct Invocation {
    entry: Arc<Entry>,
    arguments: Arguments,
    job: Job,
}

impl Invocation {
    /// The name of the tool.
    #[must_use]
    pub fn id(&self) -> &ToolId {
        self.entry.contract.id()
    }

    /// What the tool promises.
    #[must_use]
    pub fn contract(&self) -> &ToolContract {
        &self.entry.contract
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
    /// [`ToolError::Timeout`], [`ToolError::Cancelled`], [`ToolError::Panicked`], [`ToolError::Failed`], the output's
    /// and the process's errors. After any of them the tool may have had effects already.
    ///
    /// # Cancel safety
    /// Dropping the future stops the tool where it awaits and kills its processes. A function that blocks its thread
    /// can be stopped by nothing, neither by this nor by the deadline.
    pub fn run(self, cx: CallContext) -> impl Future<Output = Result<Output, ToolError>> + Send + 'static {
        let Self { entry, job, .. } = self;
        async move {
            let output = executor::supervise(job, cx, entry.contract.limits().deadline).await?;
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
