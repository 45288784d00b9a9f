//! The kernel's own tools: called, judged and recorded like any other, carried out by the kernel itself.

use agent_primitives::label::MAX_LABEL;
use agent_primitives::{AgentId, LabelSet, ToolId};
use agent_tool_registry::schemars::JsonSchema;
use agent_tool_registry::{Effect, Limits, Registry, RegistryError, ToolError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the names of the kernel's own tools begin with. No host registers such a name.
pub const RESERVED: &str = "kernel.";
/// The tool by which an agent asks to have labels taken off it. It takes `labels` and a `reason`, which the human is shown
/// who has to agree, and answers with what was taken off.
pub const DECLASSIFY: &str = "kernel.declassify";
/// The tool by which an agent starts a child: with its `name`, one of the host's `program`s and its `input`, and if need be a
/// `task_policy` that narrows it further. It answers with the name the child has.
pub const SPAWN: &str = "kernel.spawn";
/// Most characters of the reason that an agent gives.
pub const MAX_DECLASSIFY_REASON: usize = 1024;
/// Most characters of the own name of a child that an agent starts, and of the name of a program.
pub const MAX_CHILD_NAME: usize = 64;
/// Most labels that one call asks to have taken off: a human reads them all.
pub const MAX_DECLASSIFIED: usize = 64;
/// Most bytes of an answer: so many labels, and the punctuation.
pub(crate) const MAX_ANSWER: usize = MAX_DECLASSIFIED * (MAX_LABEL + 4) + 64;

/// Whether a tool of this name is the kernel's own.
pub(crate) fn is_reserved(tool: &ToolId) -> bool {
    tool.as_str().starts_with(RESERVED)
}

/// Whether policy alone never lets a call of this tool through: see
/// [`Decision::is_withheld`](crate::policy::Decision::is_withheld). Starting a child hands out nothing that the agent does not
/// have itself.
pub(crate) fn needs_consent(tool: &ToolId) -> bool {
    is_reserved(tool) && tool.as_str() != SPAWN
}

/// What one of the kernel's own tools is asked to do.
#[derive(Debug)]
pub(crate) enum KernelTool {
    Declassify(Declassify),
    Spawn(Box<Spawn>),
}

/// Labels to be taken off the agent, and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "agent_tool_registry::schemars")]
pub(crate) struct Declassify {
    /// The labels to take off.
    #[schemars(with = "Vec<String>", length(min = 1, max = MAX_DECLASSIFIED))]
    pub(crate) labels: LabelSet,
    /// Why what was read under them may be used without them; a human reads it.
    #[schemars(length(min = 1, max = MAX_DECLASSIFY_REASON))]
    pub(crate) reason: String,
}

/// A child to be started.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(crate = "agent_tool_registry::schemars")]
pub(crate) struct Spawn {
    /// The child's own name; it is called `you::name`.
    #[schemars(length(min = 1, max = MAX_CHILD_NAME))]
    pub(crate) name: String,
    /// What it runs.
    #[schemars(length(min = 1, max = MAX_CHILD_NAME))]
    pub(crate) program: String,
    /// What the program is given.
    #[serde(default)]
    pub(crate) input: Value,
    /// A policy document that narrows what the child may do. Its limits count what the child does, whatever they are `per`,
    /// and no rule in it asks.
    #[serde(default)]
    pub(crate) task_policy: Option<Map<String, Value>>,
    /// Whether what it may do is not done.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// The child that was started.
#[derive(Debug, Serialize)]
pub(crate) struct Started {
    pub(crate) agent: AgentId,
}

/// What was taken off.
#[derive(Debug, Serialize)]
pub(crate) struct Removed {
    pub(crate) removed: LabelSet,
}

impl KernelTool {
    /// # Errors
    /// The arguments are not the tool's, which [`Registry::prepare`] has checked before; or there is no such tool.
    pub(crate) fn parse(tool: &ToolId, arguments: &Value) -> Result<Self, ToolError> {
        match tool.as_str() {
            DECLASSIFY => Declassify::deserialize(arguments)
                .map(Self::Declassify)
                .map_err(|error: serde_json::Error| ToolError::failed(error)),
            SPAWN => Spawn::deserialize(arguments)
                .map(|spawn| Self::Spawn(Box::new(spawn)))
                .map_err(|error: serde_json::Error| ToolError::failed(error)),
            other => Err(ToolError::failed(format!("the kernel has no tool `{other}`"))),
        }
    }
}

/// The kernel's own tools.
///
/// # Errors
/// One of them breaks a rule of the registry's: a bug of the kernel.
pub(crate) fn tools() -> Result<Registry, RegistryError> {
    let mut tools = Registry::builder();
    tools
        .tool(DECLASSIFY)
        .description(
            "Asks a human to take labels off you, so that what you have read under them no longer decides what you may do. \
             Files you wrote keep theirs.",
        )
        .effects([Effect::Write])
        .limits(Limits { output_bytes: MAX_ANSWER, ..Limits::DEFAULT })
        // The kernel takes these calls out of the registry's hands before they run.
        .run(|_context, _arguments: Declassify| async {
            Err::<(), _>(ToolError::failed("only the kernel carries this out"))
        })?;
    tools
        .tool(SPAWN)
        .description(
            "Starts a child agent that runs a program of the host's. It can do no more than you, what it does counts as done \
             by you, and it ends when you do.",
        )
        .effects([Effect::Write])
        .limits(Limits { output_bytes: MAX_ANSWER, ..Limits::DEFAULT })
        .run(|_context, _arguments: Spawn| async {
            Err::<(), _>(ToolError::failed("only the kernel carries this out"))
        })?;
    Ok(tools.build())
}
