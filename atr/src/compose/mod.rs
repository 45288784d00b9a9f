//! Several calls as one: in sequence, side by side, by a choice, or one in place of another.
//!
//! Steps name tools and say in data where their arguments come from. Each step is a call like any other, through all
//! stages and on behalf of whoever runs the whole; what a step is refused, the whole is refused there.

mod parallel;
mod step;

use agent_primitives::json::Value;

pub use step::{MAX_STEPS, Source, Step};

use crate::error::ArgumentError;
use crate::{Answer, OnBehalf, ToolError};

/// A whole that did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("step {at} did not succeed: {error}")]
#[non_exhaustive]
pub struct Stopped {
    /// What the steps before it answered: they have had their effect.
    pub answers: Vec<Answer>,
    /// The step, counted from 0.
    pub at: usize,
    /// Why.
    #[source]
    pub error: ToolError,
}

/// One step after the other, each with what the one before answered.
#[derive(Clone, Debug, Default)]
pub struct Sequence(Vec<Step>);

impl Sequence {
    /// At most [`MAX_STEPS`] steps; any beyond ends the whole before the first.
    #[must_use]
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(bounded(steps))
    }

    /// Runs the steps, and stops at the first that does not succeed.
    ///
    /// # Errors
    /// [`Stopped`] there, with the answers so far.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the step under way; those before it have had their effect.
    pub async fn run(&self, caller: &OnBehalf, input: &Value) -> Result<Vec<Answer>, Stopped> {
        let mut answers: Vec<Answer> = Vec::new();
        if let Err(error) = check(&self.0) {
            return Err(Stopped { answers, at: 0, error });
        }
        for (at, step) in self.0.iter().enumerate() {
            let previous = answers.last().map(|answer| answer.output.value());
            match step.run(caller, input, previous).await {
                Ok(answer) => answers.push(answer),
                Err(error) => return Err(Stopped { answers, at, error }),
            }
        }
        Ok(answers)
    }
}

/// Steps side by side, each with the same input.
#[derive(Clone, Debug, Default)]
pub struct Parallel(Vec<Step>);

impl Parallel {
    /// At most [`MAX_STEPS`] steps; any beyond ends the whole before the first.
    #[must_use]
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(bounded(steps))
    }

    /// Runs all steps to their ends, and answers in the order in which they are written.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the steps under way.
    pub async fn all(&self, caller: &OnBehalf, input: &Value) -> Vec<Result<Answer, ToolError>> {
        if let Err(error) = check(&self.0) {
            return vec![Err(error)];
        }
        parallel::all(self.0.iter().map(|step| step.run(caller, input, None))).await
    }

    /// Runs all steps until the first succeeds, and cancels the others. A step that is cancelled may have had its effect.
    ///
    /// # Errors
    /// All their errors, in the order in which they are written, once none is left.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the steps under way.
    pub async fn first(&self, caller: &OnBehalf, input: &Value) -> Result<(usize, Answer), Vec<ToolError>> {
        if let Err(error) = check(&self.0) {
            return Err(vec![error]);
        }
        parallel::first(self.0.iter().map(|step| step.run(caller, input, None))).await
    }
}

/// One of several steps, by a value of the input.
#[derive(Clone, Debug)]
pub struct Branch {
    pointer: String,
    cases: Vec<(Value, Step)>,
    otherwise: Option<Step>,
}

impl Branch {
    /// Chooses by the value at this JSON pointer into the input.
    #[must_use]
    pub fn on(pointer: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), cases: Vec::new(), otherwise: None }
    }

    /// Chooses this step if the value is exactly this one. The first case that fits is taken.
    #[must_use]
    pub fn when(mut self, value: Value, step: Step) -> Self {
        self.cases.push((value, step));
        self
    }

    /// Chooses this step if no case fits.
    #[must_use]
    pub fn otherwise(mut self, step: Step) -> Self {
        self.otherwise = Some(step);
        self
    }

    /// Runs the step that is chosen.
    ///
    /// # Errors
    /// Its error; [`ToolError::ArgsInvalid`] if there is none to choose.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the step.
    pub async fn run(&self, caller: &OnBehalf, input: &Value) -> Result<Answer, ToolError> {
        let value = input.pointer(&self.pointer);
        let case = self.cases.iter().find(|(expected, _)| Some(expected) == value);
        let step = case.map(|(_, step)| step).or(self.otherwise.as_ref());
        let none = || ToolError::ArgsInvalid {
            errors: vec![ArgumentError::new(&self.pointer, "branch", "no case is for this value")],
        };
        step.ok_or_else(none)?.run(caller, input, None).await
    }
}

/// One step in place of another that failed.
#[derive(Clone, Debug, Default)]
pub struct Fallback(Vec<Step>);

impl Fallback {
    /// At most [`MAX_STEPS`] steps; any beyond ends the whole before the first.
    #[must_use]
    pub fn of(steps: impl IntoIterator<Item = Step>) -> Self {
        Self(bounded(steps))
    }

    /// Runs the steps until one succeeds. It stops at a step whose tool is not idempotent and may have had its effect.
    ///
    /// # Errors
    /// [`ToolError::MaybeApplied`] there; else the error of the last step.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the step under way.
    pub async fn run(&self, caller: &OnBehalf, input: &Value) -> Result<(usize, Answer), ToolError> {
        check(&self.0)?;
        let mut last = ToolError::ArgsInvalid {
            errors: vec![ArgumentError::new("", "steps", "there is no step to run")],
        };
        for (at, step) in self.0.iter().enumerate() {
            match step.run(caller, input, None).await {
                Ok(answer) => return Ok((at, answer)),
                Err(error) if error.is_without_effect() => last = error,
                Err(error) => {
                    let contract = step
                        .id()
                        .and_then(|id| caller.registry().get(&id).map(|found| (id, found.idempotent())));
                    match contract {
                        Some((_, true)) => last = error,
                        Some((id, false)) => {
                            return Err(ToolError::MaybeApplied { id, source: Box::new(error) });
                        }
                        None => return Err(error),
                    }
                }
            }
        }
        Err(last)
    }
}

/// No more than one step too many, so that what is too long is known for it.
fn bounded(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    steps.into_iter().take(MAX_STEPS + 1).collect()
}

fn check(steps: &[Step]) -> Result<(), ToolError> {
    if MAX_STEPS < steps.len() {
        let message = format_args!("there are more than {MAX_STEPS} steps");
        return Err(ToolError::ArgsInvalid { errors: vec![ArgumentError::new("", "steps", message)] });
    }
    Ok(())
}
