//! One step: a tool, and where its arguments come from.

use agent_primitives::ToolId;
use agent_primitives::json::{Value, canonical};

use crate::error::{ArgumentError, ToolError};
use crate::{Answer, OnBehalf};

/// Most steps of one whole.
pub const MAX_STEPS: usize = 64;

/// Where an argument comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// It is always this.
    Value(Value),
    /// From the input of the whole, at a JSON pointer.
    Input(String),
    /// From what the step before answered, at a JSON pointer. There is none before a first step.
    Previous(String),
}

/// A call of a tool, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    tool: String,
    arguments: Vec<(String, Source)>,
}

impl Step {
    /// Gives the tool what the step before answered; the input of the whole if there is none.
    #[must_use]
    pub fn new(tool: impl Into<String>) -> Self {
        Self { tool: tool.into(), arguments: Vec::new() }
    }

    /// Gives the tool this argument, and no others than those that are named.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, from: Source) -> Self {
        self.arguments.push((name.into(), from));
        self
    }

    pub(super) fn id(&self) -> Option<ToolId> {
        self.tool.parse().ok()
    }

    pub(super) async fn run(
        &self,
        caller: &OnBehalf,
        input: &Value,
        previous: Option<&Value>,
    ) -> Result<Answer, ToolError> {
        let arguments = self.take(input, previous)?;
        caller.invoke(&self.tool, &arguments).await
    }

    fn take(&self, input: &Value, previous: Option<&Value>) -> Result<Vec<u8>, ToolError> {
        if self.arguments.is_empty() {
            return Ok(canonical(previous.unwrap_or(input))?);
        }
        let mut taken = serde_json::Map::new();
        for (name, from) in &self.arguments {
            let value = match from {
                Source::Value(value) => Some(value),
                Source::Input(pointer) => input.pointer(pointer),
                Source::Previous(pointer) => previous.and_then(|previous| previous.pointer(pointer)),
            };
            let missing = || ToolError::ArgsInvalid {
                errors: vec![ArgumentError::new(format_args!("/{name}"), "from", "there is no such value")],
            };
            taken.insert(name.clone(), value.ok_or_else(missing)?.clone());
        }
        Ok(canonical(&Value::Object(taken))?)
    }
}
