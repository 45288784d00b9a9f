//! A model whose wishes a test decides.

use std::collections::VecDeque;

use agent_primitives::json::Value;

use crate::agent::AgentHandle;
use crate::call::Reply;
use crate::call::{RawArguments, Syscall};
use crate::error::CallError;

/// One wish of a model.
#[derive(Clone, Debug)]
pub struct Turn(Syscall);

impl Turn {
    /// It calls a tool.
    #[must_use]
    pub fn exec(tool: &str, arguments: Value) -> Self {
        let arguments = RawArguments::Value(arguments);
        Self(Syscall::Exec { tool: tool.to_owned(), arguments, deadline: None })
    }

    /// It makes any of the eight calls.
    #[must_use]
    pub const fn call(call: Syscall) -> Self {
        Self(call)
    }
}

/// Decides on the next wish after seeing how the last one went.
type Reaction = Box<dyn FnMut(&Result<Reply, CallError>) -> Option<Turn> + Send>;

/// A model that asks for what it was told to, in order, whatever it hears; or, with [`ScriptedModel::reacting`], for what
/// depends on the answers.
#[derive(Default)]
pub struct ScriptedModel {
    turns: VecDeque<Turn>,
    reaction: Option<Reaction>,
}

impl ScriptedModel {
    /// A model with these wishes.
    #[must_use]
    pub fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { turns: turns.into_iter().collect(), reaction: None }
    }

    /// After each answer, `reaction` may add one wish, which comes next.
    #[must_use]
    pub fn reacting(
        mut self,
        reaction: impl FnMut(&Result<Reply, CallError>) -> Option<Turn> + Send + 'static,
    ) -> Self {
        self.reaction = Some(Box::new(reaction));
        self
    }

    /// Makes the calls as `agent`, one after the other, and returns their answers in order. Ends when no wish is left or
    /// the agent is gone.
    pub async fn play(&mut self, agent: &AgentHandle) -> Vec<Result<Reply, CallError>> {
        let mut answers = Vec::new();
        while let Some(Turn(call)) = self.turns.pop_front() {
            let answer = agent.syscall(call).await;
            if let Some(next) = self.reaction.as_mut().and_then(|reaction| reaction(&answer)) {
                self.turns.push_front(next);
            }
            let gone = matches!(answer, Err(CallError::Dead(_) | CallError::KernelDown { .. }));
            answers.push(answer);
            if gone {
                break;
            }
        }
        answers
    }
}

impl std::fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptedModel").field("turns", &self.turns).finish_non_exhaustive()
    }
}
