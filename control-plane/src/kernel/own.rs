//! The kernel's own tools: called, judged and recorded like any other, carried out by the kernel itself.

use agent_primitives::label::MAX_LABEL;
use agent_primitives::{LabelSet, ToolId};
use agent_tool_registry::schemars::JsonSchema;
use agent_tool_registry::{Effect, Limits, Registry, RegistryError, ToolError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the names of the kernel's own tools begin with. No host registers such a name.
pub const RESERVED: &str = "kernel.";
/// The tool by which an agent asks to have labels taken off it. It takes `labels` and a `reason`, which the human is shown
/// who has to agree, and answers with what was taken off.
pub const DECLASSIFY: &str = "kernel.declassify";
/// Most characters of the reason that an agent gives.
pub const MAX_DECLASSIFY_REASON: usize = 1024;
/// Most labels that one call asks to have taken off: a human reads them all.
pub const MAX_DECLASSIFIED: usize = 64;
/// Most bytes of an answer: so many labels, and the punctuation.
pub(crate) const MAX_ANSWER: usize = MAX_DECLASSIFIED * (MAX_LABEL + 4) + 64;

/// Whether a tool of this name is the kernel's own. Policy alone never lets such a call through: see
/// [`Decision::is_withheld`](crate::policy::Decision::is_withheld).
pub(crate) fn is_reserved(tool: &ToolId) -> bool {
    tool.as_str().starts_with(RESERVED)
}

/// What one of the kernel's own tools is asked to do.
#[derive(Debug)]
pub(crate) enum KernelTool {
    Declassify(Declassify),
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
            other => Err(ToolError::failed(format!("the kernel has no tool `{other}`"))),
        }
    }
}

/// The host's tools and the kernel's own.
///
/// # Errors
/// The host has taken the name of one.
pub(crate) fn with_own_tools(tools: Registry) -> Result<Registry, RegistryError> {
    let mut tools = tools.into_builder();
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
    Ok(tools.build())
}
