//! Why there is no context.

use agent_primitives::id_source::NoRandomness;
use agent_primitives::label::TooManyLabels;

/// Why there is no context, or an item is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssembleError {
    /// Not even the first line fits.
    #[error("a context needs {need} tokens, the budget is {budget}")]
    BudgetTooSmall {
        /// Tokens of a context of nothing.
        need: usize,
        /// What there is.
        budget: usize,
    },
    /// Shares that are more than the whole.
    #[error("shares of a budget are thousandths, 1000 at most together")]
    BadOptions,
    /// A priority that is no number, or caps of nothing.
    #[error("an item needs a priority of 0 to 10, and a layer room for at least one")]
    BadItem,
    /// What marks borders cannot be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// What is shown has more labels than a value can carry.
    #[error(transparent)]
    TooManyLabels(#[from] TooManyLabels),
}

impl AssembleError {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BudgetTooSmall { .. } => "AK0661",
            Self::BadOptions => "AK0662",
            Self::BadItem => "AK0663",
            Self::NoRandomness(_) => "AK0664",
            Self::TooManyLabels(_) => "AK0665",
        }
    }
}
