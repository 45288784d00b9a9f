//! What a model is shown: what matters now, what it always needs, and what was found, under one budget of tokens.
//!
//! Three layers share the budget. *Hot* is what goes on now, *warm* is what an agent always carries (its task, its user),
//! *cold* is what a search found. Hot is never pushed out by the others.
//!
//! The text that comes out has at most as many tokens as the budget says, as counted by the host's
//! [`TokenCounter`]: headers, notes and marks are in it. A receipt says of every part where it is from and why it is there,
//! and what was left out says why it is not.

mod cut;
mod error;
mod fill;
mod layers;
mod receipt;
mod render;

use std::fmt;
use std::sync::Arc;

use agent_primitives::{IdSource, LabelSet};

pub use error::AssembleError;
pub use layers::{Caps, Item, Layer, Triad};
pub use receipt::{LeftOut, Origin, Reason, Receipt, Why};

use crate::model::{Chunk, ChunkId, DocumentId, Found};
use crate::tokens::TokenCounter;

/// How a budget is shared between the layers, in thousandths. What hot does not use goes to cold, what cold does not use
/// to warm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// For what goes on now.
    pub hot: u16,
    /// For what an agent always carries.
    pub warm: u16,
}

impl Default for Shares {
    /// A quarter hot, an eighth warm, and the rest cold: 2000, 1000 and 5000 of 8000.
    fn default() -> Self {
        Self { hot: 250, warm: 125 }
    }
}

/// The order of what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// The best first.
    #[default]
    Relevance,
    /// By document, and within one as it is written.
    Document,
    /// The best first, the second best last, the others between: models read both ends best (Liu et al. 2023, "Lost in
    /// the Middle").
    Edges,
}

/// How a context is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How the budget is shared.
    pub shares: Shares,
    /// The order of what was found.
    pub order: Order,
    /// The part of the budget, in thousandths, that licences, navigation, imports and repeated lines may take.
    pub low: u16,
    /// Whether the chunks before and behind what was found are added where there is room, best first.
    pub neighbours: bool,
}

impl Default for Options {
    /// Shared as usual, by relevance, a tenth for what is of low value, with neighbours.
    fn default() -> Self {
        Self { shares: Shares::default(), order: Order::default(), low: 100, neighbours: true }
    }
}

/// Something to be said about chunks that are shown, such as that two of them disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is said. It is shown as a line of its own.
    pub text: String,
    /// What it is about; it is shown only where all of them are.
    pub about: Vec<ChunkId>,
}

/// Where the chunks beside a chunk come from.
pub trait Neighbours {
    /// The chunk of a document at a place, if the asker may read it.
    fn chunk(&self, document: &DocumentId, ordinal: u32) -> Option<Arc<Chunk>>;
}

/// What is put together.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The most tokens of the text.
    pub budget: usize,
    /// The hot and the warm layer.
    pub triad: &'a Triad,
    /// The cold layer: what a search found, best first.
    pub found: &'a [Found],
    /// What is to be said about it.
    pub notes: &'a [Note],
    /// The chunks beside what was found.
    pub neighbours: Option<&'a dyn Neighbours>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { budget, found, notes, .. } = self;
        write!(f, "Request({budget} tokens, {} found, {} notes)", found.len(), notes.len())
    }
}

/// A context.
#[derive(Clone, Debug, PartialEq)]
pub struct Assembled {
    /// What a model is shown.
    pub text: String,
    /// Its tokens, never more than the budget.
    pub tokens: usize,
    /// What counted them.
    pub counter: String,
    /// What is in it, in the order of the text.
    pub receipts: Vec<Receipt>,
    /// What is not in it.
    pub left_out: Vec<LeftOut>,
    /// The labels of everything in it.
    pub labels: LabelSet,
}

/// Puts contexts together.
#[derive(Clone, Debug)]
pub struct Assembler {
    counter: Arc<dyn TokenCounter>,
    ids: Arc<dyn IdSource>,
    options: Options,
}

impl Assembler {
    /// Counts with `counter`, and draws from `ids` what marks the borders of a text.
    ///
    /// # Errors
    /// `BadOptions` for shares that are more than the whole.
    pub fn new(
        counter: Arc<dyn TokenCounter>,
        ids: Arc<dyn IdSource>,
        options: Options,
    ) -> Result<Self, AssembleError> {
        let Options { shares: Shares { hot, warm }, low, .. } = options;
        if 1000 < hot.saturating_add(warm) || 1000 < low {
            return Err(AssembleError::BadOptions);
        }
        Ok(Self { counter, ids, options })
    }

    /// Puts a context together. The same request with the same bits from the source gives the same text.
    ///
    /// # Errors
    /// `BudgetTooSmall` where not even the first line fits; `NoRandomness`; `TooManyLabels`.
    pub fn assemble(&self, request: &Request<'_>) -> Result<Assembled, AssembleError> {
        let mark = render::Mark::draw(&*self.ids, request)?;
        let mut filled = fill::fill(request, &self.options, &*self.counter, &mark)?;
        loop {
            // Tokens of a whole are not quite the sum of those of its parts, so the whole is counted.
            let text = render::render(&filled, self.options.order, &mark);
            let tokens = self.counter.count(&text);
            if tokens <= request.budget {
                return receipt::assembled(filled, self.options.order, text, tokens, self.counter.name());
            }
            if !filled.drop_least() {
                return Err(AssembleError::BudgetTooSmall { need: tokens, budget: request.budget });
            }
        }
    }
}

#[cfg(test)]
mod tests;
