//! A tool whose answers a test decides.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::json::Value;
use agent_tool_registry::{Effect, RegistryBuilder, RegistryError, ToolError};
use serde_json::json;

/// A tool that takes any arguments its schema allows, answers what it was told to, and remembers what reached it. Clones
/// are one tool.
#[derive(Clone, Debug)]
pub struct FakeTool {
    name: String,
    schema: Value,
    effects: Vec<Effect>,
    labels: Vec<String>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    calls: Vec<Value>,
    scripted: VecDeque<Result<Value, String>>,
    standing: Result<Value, String>,
}

impl FakeTool {
    /// A tool of this name that takes any object, declares the effect `write` and answers `null`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let state = State { calls: Vec::new(), scripted: VecDeque::new(), standing: Ok(Value::Null) };
        Self {
            name: name.to_owned(),
            schema: json!({"type": "object", "additionalProperties": true}),
            effects: vec![Effect::Write],
            labels: Vec::new(),
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The same tool with this JSON Schema for its arguments.
    #[must_use]
    pub fn taking(mut self, schema: Value) -> Self {
        self.schema = schema;
        self
    }

    /// The same tool, declaring these effects.
    #[must_use]
    pub fn effects(mut self, effects: impl IntoIterator<Item = Effect>) -> Self {
        self.effects = effects.into_iter().collect();
        self
    }

    /// The same tool, whose answers carry these labels.
    #[must_use]
    pub fn labels(mut self, labels: impl IntoIterator<Item = impl ToString>) -> Self {
        self.labels = labels.into_iter().map(|label| label.to_string()).collect();
        self
    }

    /// What it answers when nothing else was said.
    #[must_use]
    pub fn answering(self, answer: Value) -> Self {
        self.state().standing = Ok(answer);
        self
    }

    /// It fails with this text when nothing else was said.
    #[must_use]
    pub fn failing(self, error: &str) -> Self {
        self.state().standing = Err(error.to_owned());
        self
    }

    /// The next call for which nothing was said yet gets this answer, once.
    pub fn then_answer(&self, answer: Value) {
        self.state().scripted.push_back(Ok(answer));
    }

    /// The next call for which nothing was said yet fails with this text, once.
    pub fn then_fail(&self, error: &str) {
        self.state().scripted.push_back(Err(error.to_owned()));
    }

    /// The arguments of every call that reached it, the first first. A call that was refused is not among them.
    #[must_use]
    pub fn calls(&self) -> Vec<Value> {
        self.state().calls.clone()
    }

    /// Registers it.
    ///
    /// # Errors
    /// Any [`RegistryError`]: a name or schema that is none, or a name that is taken.
    pub fn register(&self, tools: &mut RegistryBuilder) -> Result<(), RegistryError> {
        let state = Arc::clone(&self.state);
        let run = move |_context, arguments| {
            let answer = answer(&mut lock(&state), arguments);
            async move { answer }
        };
        tools
            .tool(&self.name)
            .description("A tool of a test")
            .effects(self.effects.iter().copied())
            .output_labels(self.labels.iter())
            .run_raw(self.schema.clone(), run)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // INVARIANT: only pushes, pops and clones run under this lock, so a poisoned one still holds a whole state.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(state: &mut State, arguments: Value) -> Result<Value, ToolError> {
    state.calls.push(arguments);
    state.scripted.pop_front().unwrap_or_else(|| state.standing.clone()).map_err(ToolError::failed)
}
