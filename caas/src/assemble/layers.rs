//! The two layers that the host fills itself.

use std::sync::Arc;

use agent_primitives::{LabelSet, Timestamp};

use super::AssembleError;

/// A layer of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// What goes on now.
    Hot,
    /// What an agent always carries.
    Warm,
    /// What a search found.
    Cold,
}

/// Something in the hot or the warm layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its name; an item of the same name in the same layer is replaced.
    pub id: Arc<str>,
    /// What it says.
    pub text: Arc<str>,
    /// How much it matters, 0 to 10; what matters more comes first.
    pub priority: f64,
    /// When it was said; of two that matter equally the newer comes first.
    pub at: Timestamp,
    /// What is known of its content.
    pub labels: LabelSet,
}

/// The most items of each layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Of what goes on now.
    pub hot: usize,
    /// Of what an agent always carries.
    pub warm: usize,
}

impl Default for Caps {
    /// 50 and 100.
    fn default() -> Self {
        Self { hot: 50, warm: 100 }
    }
}

/// The hot and the warm layer of one agent. The cold one is whatever a search finds.
#[derive(Clone, Debug, Default)]
pub struct Triad {
    caps: Caps,
    hot: Vec<Item>,
    warm: Vec<Item>,
}

impl Triad {
    /// Two empty layers.
    ///
    /// # Errors
    /// `BadItem` for caps of nothing.
    pub const fn new(caps: Caps) -> Result<Self, AssembleError> {
        if caps.hot == 0 || caps.warm == 0 {
            return Err(AssembleError::BadItem);
        }
        Ok(Self { caps, hot: Vec::new(), warm: Vec::new() })
    }

    /// Adds what goes on now, and answers what has to leave for it: what matters least, then what is oldest. It may be
    /// the new item itself. Whoever wants it found later puts it into an index.
    ///
    /// # Errors
    /// `BadItem`; nothing changes.
    pub fn heat(&mut self, item: Item) -> Result<Option<Item>, AssembleError> {
        add(&mut self.hot, self.caps.hot, item)
    }

    /// As [`Triad::heat`], for what the agent always carries.
    ///
    /// # Errors
    /// `BadItem`; nothing changes.
    pub fn carry(&mut self, item: Item) -> Result<Option<Item>, AssembleError> {
        add(&mut self.warm, self.caps.warm, item)
    }

    /// Takes an item out of both layers; whether it was in one.
    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.hot.len() + self.warm.len();
        self.hot.retain(|item| &*item.id != id);
        self.warm.retain(|item| &*item.id != id);
        self.hot.len() + self.warm.len() < before
    }

    /// What goes on now, what matters most first, then the newest, then by name.
    #[must_use]
    pub fn hot(&self) -> &[Item] {
        &self.hot
    }

    /// What the agent always carries, in the same order.
    #[must_use]
    pub fn warm(&self) -> &[Item] {
        &self.warm
    }
}

fn add(layer: &mut Vec<Item>, cap: usize, item: Item) -> Result<Option<Item>, AssembleError> {
    if !(0.0..=10.0).contains(&item.priority) {
        return Err(AssembleError::BadItem);
    }
    layer.retain(|known| known.id != item.id);
    layer.push(item);
    layer.sort_by(|one, other| {
        let order = other.priority.total_cmp(&one.priority).then(other.at.cmp(&one.at));
        order.then_with(|| one.id.cmp(&other.id))
    });
    Ok(if cap < layer.len() { layer.pop() } else { None })
}
