//! Registration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use agent_primitives::json::Value;
use agent_primitives::{Clock, Resource, SystemClock, ToolId};
use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::{MAX_RESOURCES, Stop};
use crate::contract::{Effect, Endpoint, MAX_DESCRIPTION, Provenance, Terms, ToolContract};
use crate::error::{RegistryError, ToolError, one_line};
use crate::executor::program::{self, Pin, Program};
use crate::executor::{self, Artefact, BlockingPool, Command, Executors, Prepare, function};
use crate::isolation::{Limits, Permissions, SandboxPolicy};
use crate::labels::OutputLabels;
use crate::lifecycle::Status;
use crate::path::{PathArgument, PathRoot};
use crate::registry::Registry;
use crate::role::Roles;
use crate::scan::scan_all;
use crate::schema::{InputSchema, Schemas};
use crate::snapshot::{Entry, Tools};
use crate::{CallContext, text};

/// What a typed tool takes. Implemented for every type that derives `Deserialize` and `JsonSchema`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a tool",
    label = "not arguments of a tool",
    note = "derive `serde::Deserialize` and `schemars::JsonSchema` on a struct with named fields that borrows nothing",
    note = "a tool that brings its own JSON Schema is registered with `run_raw`"
)]
pub trait ToolArguments: DeserializeOwned + JsonSchema + Send + Sync + 'static {}

impl<A: DeserializeOwned + JsonSchema + Send + Sync + 'static> ToolArguments for A {}

/// What a tool answers. Implemented for every type that derives `Serialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the answer of a tool",
    label = "not an answer of a tool",
    note = "a tool returns `Result<R, ToolError>` where `R` derives `serde::Serialize` and borrows nothing"
)]
pub trait ToolReply: Serialize + 'static {}

impl<R: Serialize + 'static> ToolReply for R {}

/// Collects tools for a [`Registry`].
pub struct RegistryBuilder {
    tools: Tools,
    executors: Executors,
    clock: Arc<dyn Clock>,
    blocking: BlockingPool,
    schemas: Schemas,
}

impl RegistryBuilder {
    pub(crate) fn of(
        executors: Executors,
        clock: Arc<dyn Clock>,
        blocking: BlockingPool,
        schemas: Schemas,
    ) -> Self {
        Self { tools: Tools::default(), executors, clock, blocking, schemas }
    }

    pub(crate) fn into_tools(self) -> Tools {
        self.tools
    }

    /// The threads of functions that block and are registered after this. Four of their own unless said.
    #[must_use]
    pub fn blocking(mut self, pool: BlockingPool) -> Self {
        self.blocking = pool;
        self
    }

    /// What tells when a tool changed its state. The machine's clock unless said.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What runs the programs that are registered after this. [`Executors::host`] unless said.
    #[must_use]
    pub fn executors(mut self, executors: Executors) -> Self {
        self.executors = executors;
        self
    }

    /// Describes a tool; nothing is registered before `run`, `run_raw` or `command` is called on what this returns.
    pub fn tool(&mut self, name: &str) -> ToolBuilder<'_> {
        ToolBuilder {
            registry: self,
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            description: String::new(),
            tags: BTreeSet::new(),
            capabilities: BTreeSet::new(),
            output_schema: None,
            isolation: None,
            permissions: Permissions::none(),
            effects: BTreeSet::new(),
            idempotent: false,
            limits: Limits::DEFAULT,
            paths: Vec::new(),
            authority: Vec::new(),
            content: Vec::new(),
            output_labels: Vec::new(),
            field_labels: Vec::new(),
            cost: BTreeMap::new(),
            proposed: false,
            pins: Vec::new(),
            provenance: Provenance::Native,
            secrets: BTreeSet::new(),
            said: Vec::new(),
        }
    }

    /// The registry, with these tools in it.
    #[must_use]
    pub fn build(self) -> Registry {
        Registry::of(self.tools, self.executors, self.clock, self.blocking, self.schemas)
    }
}

impl Default for RegistryBuilder {
    fn default() -> Self {
        Self::of(
            Executors::host(),
            Arc::new(SystemClock::default()),
            BlockingPool::default(),
            Schemas::default(),
        )
    }
}

impl fmt::Debug for RegistryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.tools.by_id.keys()).finish()
    }
}

/// A tool that is being described.
#[must_use = "nothing is registered before `run`, `run_raw` or `command` is called"]
#[derive(Debug)]
pub struct ToolBuilder<'a> {
    registry: &'a mut RegistryBuilder,
    name: String,
    version: String,
    description: String,
    tags: BTreeSet<String>,
    capabilities: BTreeSet<String>,
    output_schema: Option<Value>,
    isolation: Option<SandboxPolicy>,
    permissions: Permissions,
    effects: BTreeSet<Effect>,
    idempotent: bool,
    limits: Limits,
    paths: Vec<(String, PathRoot)>,
    authority: Vec<String>,
    content: Vec<String>,
    output_labels: Vec<String>,
    field_labels: Vec<(String, Vec<String>)>,
    cost: BTreeMap<Resource, u64>,
    proposed: bool,
    pins: Vec<Pin>,
    provenance: Provenance,
    secrets: BTreeSet<String>,
    said: Vec<(&'static str, String)>,
}

impl ToolBuilder<'_> {
    /// What the tool does, for the model that chooses it: 1 to [`MAX_DESCRIPTION`] characters. Required.
    pub fn description(mut self, text: &str) -> Self {
        text.clone_into(&mut self.description);
        self
    }

    /// The version, `MAJOR.MINOR.PATCH` with an optional pre-release. `1.0.0` unless said.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Words to find the tool by: at most [`MAX_WORDS`], each 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`.
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl ToString>) -> Self {
        self.tags = texts(tags).into_iter().collect();
        self
    }

    /// What the tool is able to do, in words as for [`ToolBuilder::tags`], such as `calendar.read`.
    pub fn capabilities(mut self, capabilities: impl IntoIterator<Item = impl ToString>) -> Self {
        self.capabilities = texts(capabilities).into_iter().collect();
        self
    }

    /// JSON Schema (2020-12) of the answer. An answer that breaks it is [`ToolError::OutputInvalid`].
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// The isolation that the tool is run with, or not at all. [`SandboxPolicy::CONFINED`] for programs and
    /// [`SandboxPolicy::HOST`] for functions unless said; a function can have no other.
    pub fn isolation(mut self, policy: SandboxPolicy) -> Self {
        self.isolation = Some(policy);
        self
    }

    /// What the tool's program is let have of the host. Nothing unless said.
    pub fn permissions(mut self, permissions: Permissions) -> Self {
        self.permissions = permissions;
        self
    }

    /// What the tool may do to the world. The kernel takes a tool that declares nothing for one that changes something.
    pub fn effects(mut self, effects: impl IntoIterator<Item = Effect>) -> Self {
        self.effects = effects.into_iter().collect();
        self
    }

    /// Whether a second call with the same arguments changes nothing more. `false` unless said.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// How much one call may use. [`Limits::DEFAULT`] unless said.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The most that one call uses of a resource, tokens or money. The kernel reserves it before the call; a call that
    /// reports what it used, with [`CallContext::spend`], is charged that, and any other the whole of it.
    pub fn cost(mut self, resource: Resource, at_most: u64) -> Self {
        self.cost.insert(resource, at_most);
        self
    }

    /// Registers it as [`Status::Proposed`](crate::Status::Proposed): it cannot be called before it is
    /// [approved](Registry::approve). Without this it is approved at once, as befits code of the host.
    pub fn proposed(mut self) -> Self {
        self.proposed = true;
        self
    }

    /// Where the tool comes from. [`Provenance::Native`] unless said.
    pub fn provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// The names of secrets, as for [`ToolBuilder::tags`], that a function is given with [`CallContext::secret`]. They are no
    /// arguments: the schema names none of them, and a call whose arguments do is refused. A program is given none.
    pub fn secrets(mut self, names: impl IntoIterator<Item = impl ToString>) -> Self {
        self.secrets = texts(names).into_iter().collect();
        self
    }

    /// A text that is said of the tool and is not part of its contract, to be [scanned](crate::scan) with it.
    #[cfg(feature = "mcp")]
    pub(crate) fn said(mut self, pointer: &'static str, text: &str) -> Self {
        self.said.push((pointer, text.to_owned()));
        self
    }

    /// Files that are compared with their digests before each call of a command.
    pub(crate) fn pinned(mut self, pins: Vec<Pin>) -> Self {
        self.pins = pins;
        self
    }

    /// Says that the argument at a JSON pointer, such as `/path`, names a file beneath `root`.
    pub fn path_argument(mut self, pointer: &str, root: PathRoot) -> Self {
        self.paths.push((pointer.to_owned(), root));
        self
    }

    /// The arguments that decide who, what, where or how much is affected: a recipient, an account, a path, an amount.
    /// Each is the name of an argument, or its JSON pointer, that the schema names at its root.
    pub fn authority(mut self, arguments: impl IntoIterator<Item = impl ToString>) -> Self {
        self.authority = texts(arguments);
        self
    }

    /// The arguments that are payload, named as for [`ToolBuilder::authority`]. No argument is both.
    pub fn content(mut self, arguments: impl IntoIterator<Item = impl ToString>) -> Self {
        self.content = texts(arguments);
        self
    }

    /// The [labels](agent_primitives::Label) that the output carries, wherever no field of it is said to carry others.
    /// None unless said.
    pub fn output_labels(mut self, labels: impl IntoIterator<Item = impl ToString>) -> Self {
        self.output_labels = texts(labels);
        self
    }

    /// The labels that the values at `pattern` carry, instead of those of the whole output; see [`OutputLabels`]. A
    /// pattern is a JSON pointer in which `*` stands for any index or key, such as `/*/subject`; at most
    /// [`MAX_LABELLED_FIELDS`](crate::MAX_LABELLED_FIELDS) of them, none twice.
    pub fn field_labels(mut self, pattern: &str, labels: impl IntoIterator<Item = impl ToString>) -> Self {
        self.field_labels.push((pattern.to_owned(), texts(labels)));
        self
    }

    /// Says that the values at each of these patterns carry no label, whatever the whole output carries: the tool makes
    /// them itself, such as ids and times, and nobody else has a say in them.
    pub fn unlabelled_fields<'p>(mut self, patterns: impl IntoIterator<Item = &'p str>) -> Self {
        self.field_labels.extend(patterns.into_iter().map(|pattern| (pattern.to_owned(), Vec::new())));
        self
    }

    /// Registers an async function whose argument type says what it takes.
    ///
    /// The arguments are deserialised when the call is prepared, so a type that is stricter than its schema refuses
    /// before anybody is asked to allow the call.
    ///
    /// # Errors
    /// Any [`RegistryError`]; nothing is registered then.
    pub fn run<A, R, F, Fut>(self, tool: F) -> Result<(), RegistryError>
    where
        A: ToolArguments,
        R: ToolReply,
        F: Fn(CallContext, A) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
    {
        let max_output = self.limits.output_bytes;
        self.register(InputSchema::of::<A>(), Endpoint::Function, function::typed(tool, max_output))
    }

    /// Registers a function that blocks its thread, as [`ToolBuilder::run`] does an async one. It runs on a thread of the
    /// registry's own. Nothing can stop it: at the deadline the call ends, and the thread is abandoned until the function
    /// returns. With more than [`MAX_ABANDONED`](crate::executor::MAX_ABANDONED) of those, calls are refused.
    ///
    /// # Errors
    /// Any [`RegistryError`]; nothing is registered then.
    pub fn run_blocking<A, R, F>(self, tool: F) -> Result<(), RegistryError>
    where
        A: ToolArguments,
        R: ToolReply,
        F: Fn(CallContext, A) -> Result<R, ToolError> + Send + Sync + 'static,
    {
        let (max_output, pool) = (self.limits.output_bytes, self.registry.blocking.clone());
        self.register(InputSchema::of::<A>(), Endpoint::Function, function::blocking(tool, max_output, pool))
    }

    /// Registers an async function that takes the JSON value itself, and the JSON Schema (2020-12) of its arguments.
    ///
    /// # Errors
    /// Any [`RegistryError`]; nothing is registered then.
    pub fn run_raw<R, F, Fut>(self, schema: Value, tool: F) -> Result<(), RegistryError>
    where
        R: ToolReply,
        F: Fn(CallContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<R, ToolError>> + Send + 'static,
    {
        let max_output = self.limits.output_bytes;
        self.register(schema, Endpoint::Function, function::raw(tool, max_output))
    }

    /// Registers what another server does, and the JSON Schema (2020-12) of its arguments. `endpoint` is
    /// [`Endpoint::Remote`], and tells that server from others. `call` is trusted code of the host that talks to it: its errors
    /// are handed on as they are.
    ///
    /// # Errors
    /// Any [`RegistryError`]; nothing is registered then.
    pub fn remote<F, Fut>(self, schema: Value, endpoint: Endpoint, call: F) -> Result<(), RegistryError>
    where
        F: Fn(CallContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, ToolError>> + Send + 'static,
    {
        let max_output = self.limits.output_bytes;
        self.register(schema, endpoint, function::remote(call, max_output))
    }

    /// Registers a program of the machine that reads the arguments as JSON from standard input and writes its answer as
    /// JSON to standard output, and the JSON Schema (2020-12) of its arguments.
    ///
    /// # Errors
    /// Any [`RegistryError`]; nothing is registered then. The program is looked for when it is called.
    pub fn command(self, schema: Value, command: Command) -> Result<(), RegistryError> {
        self.program(schema, [Artefact::Command(command)])
    }

    /// Registers a program in one or several forms, of which the least isolated that the policy allows is run, and the
    /// JSON Schema (2020-12) of its arguments.
    ///
    /// # Errors
    /// Any [`RegistryError`]; nothing is registered then. What the forms name is looked for when it is called. What they
    /// bring themselves is looked at now: WebAssembly is compiled, which blocks for milliseconds to seconds.
    pub fn program(
        mut self,
        schema: Value,
        artefacts: impl IntoIterator<Item = Artefact>,
    ) -> Result<(), RegistryError> {
        let id = self.id()?;
        let artefacts: Vec<Artefact> = artefacts.into_iter().collect();
        let invalid = |reason| RegistryError::SpecInvalid { id: id.clone(), reason };
        let endpoint = executor::identity(&artefacts).map_err(invalid)?;
        self.registry.executors.check(&artefacts, &self.limits).map_err(invalid)?;
        let policy = *self.isolation.get_or_insert(SandboxPolicy::CONFINED);
        let program = Program {
            id,
            pins: std::mem::take(&mut self.pins),
            executors: self.registry.executors.clone(),
            artefacts,
            policy,
            permissions: self.permissions.clone(),
            limits: self.limits,
        };
        self.register(schema, endpoint, program::prepare(program))
    }

    fn register(self, schema: Value, endpoint: Endpoint, prepare: Prepare) -> Result<(), RegistryError> {
        let id = self.id()?;
        let spec = |reason| RegistryError::SpecInvalid { id: id.clone(), reason };
        let refused = |reason| RegistryError::SchemaInvalid { id: id.clone(), reason };
        self.check_terms().map_err(spec)?;
        let hidden = |text::Unsafe { pointer, codepoint }| RegistryError::TextUnsafe {
            id: id.clone(),
            pointer,
            codepoint,
        };
        text::check_at("/description", &self.description).map_err(hidden)?;
        let version = semver::Version::parse(&self.version)
            .map_err(|error| spec(format!("`{}` is not a version: {error}", one_line(&self.version, 64))))?;
        let schemas = &self.registry.schemas;
        let output = self.output_schema.as_ref().map(|schema| schemas.output(schema));
        let output_schema = output.transpose().map_err(refused)?;
        let isolation = self.isolation.unwrap_or(SandboxPolicy::HOST);
        if matches!(endpoint, Endpoint::Function | Endpoint::Remote(_)) && isolation != SandboxPolicy::HOST {
            return Err(spec("a function of the host cannot be isolated".to_owned()));
        }
        let schema = InputSchema::check(schema).map_err(refused)?;
        let shared = schemas.arguments(&schema).map_err(refused)?;
        if let Some(name) = self.secrets.iter().find(|name| schema.names(name)) {
            return Err(spec(format!("the secret `{name}` is an argument of its schema")));
        }
        if endpoint != Endpoint::Function && !self.secrets.is_empty() {
            return Err(spec("only a function of the host is given secrets".to_owned()));
        }
        text::check_all("/input_schema", schema.schema()).map_err(hidden)?;
        let output =
            self.output_schema.iter().try_for_each(|output| text::check_all("/output_schema", output));
        output.map_err(hidden)?;
        let paths = self
            .paths
            .into_iter()
            .map(|(pointer, root)| PathArgument::open(pointer, root))
            .collect::<Result<Vec<_>, _>>()
            .map_err(spec)?;
        let arguments = Roles::of(&self.authority, &self.content, &schema).map_err(spec)?;
        let output_labels = OutputLabels::compile(self.output_labels, self.field_labels).map_err(spec)?;
        let contract = ToolContract::seal(Terms {
            id: id.clone(),
            version,
            description: self.description,
            tags: self.tags,
            capabilities: self.capabilities,
            input_schema: shared.text().clone(),
            output_schema: output_schema.as_ref().map(|schema| schema.text().clone()),
            effects: self.effects,
            idempotent: self.idempotent,
            limits: self.limits,
            isolation,
            permissions: self.permissions,
            endpoint,
            path_arguments: paths.iter().map(PathArgument::terms).collect(),
            arguments,
            output_labels,
            cost: self.cost,
            provenance: self.provenance,
            secrets: self.secrets,
        })
        .map_err(refused)?;
        let findings = if self.proposed { scan_all(&contract, &self.said).into() } else { Box::default() };
        let status = if self.proposed { Status::Proposed } else { Status::Approved };
        self.registry.tools.insert(Entry {
            contract: Arc::new(contract),
            schema: shared,
            output_schema,
            paths,
            prepare,
            findings,
            status: ArcSwap::from_pointee(Some(status)),
            revoked: Stop::default(),
        })
    }

    fn id(&self) -> Result<ToolId, RegistryError> {
        self.name
            .parse()
            .map_err(|source| RegistryError::NameInvalid { name: one_line(&self.name, 128), source })
    }

    fn check_terms(&self) -> Result<(), String> {
        if !(1..=MAX_DESCRIPTION).contains(&self.description.chars().count()) {
            return Err(format!("the description has to have 1 to {MAX_DESCRIPTION} characters"));
        }
        if let Some(measured) = self.cost.keys().find(|resource| !crate::context::is_reported(**resource)) {
            return Err(format!("the kernel measures `{measured}`; a cost is in tokens or money"));
        }
        if MAX_RESOURCES < self.cost.len() {
            return Err(format!("the cost is in more than {MAX_RESOURCES} resources"));
        }
        for words in [&self.tags, &self.capabilities, &self.secrets] {
            check_words(words)?;
        }
        self.permissions.check()?;
        match self.limits.first_out_of_range() {
            Some(limit) => Err(format!("the limit `{limit}` is zero or above its maximum")),
            None => Ok(()),
        }
    }
}

/// Most tags, most capabilities, and most secrets, of one tool.
pub const MAX_WORDS: usize = 32;

fn check_words(words: &BTreeSet<String>) -> Result<(), String> {
    if MAX_WORDS < words.len() {
        return Err(format!("it has more than {MAX_WORDS} tags, capabilities or secrets"));
    }
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    match words.iter().find(|word| !(1..=64).contains(&word.len()) || !word.bytes().all(allowed)) {
        Some(word) => Err(format!("`{}` is not a tag, capability or secret", one_line(word, 64))),
        None => Ok(()),
    }
}

fn texts(items: impl IntoIterator<Item = impl ToString>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}
