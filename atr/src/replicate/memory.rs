//! A network within one process: bounded queues between named nodes.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

/// Most messages that wait for one node. What comes when there are so many is lost, as on any network.
pub const MAX_WAITING: usize = 1024;

/// Nodes by name, and what waits for each. Messages of one node to another keep their order.
#[derive(Debug, Default)]
pub struct Network(BTreeMap<String, VecDeque<(String, Bytes)>>);

impl Network {
    /// No node.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a node, unless it is there.
    pub fn join(&mut self, node: &str) {
        self.0.entry(node.to_owned()).or_default();
    }

    /// Sends a message. `false` when it is lost: there is no such node, or too much waits for it.
    pub fn send(&mut self, from: &str, to: &str, message: Bytes) -> bool {
        match self.0.get_mut(to) {
            Some(waiting) if waiting.len() < MAX_WAITING => {
                waiting.push_back((from.to_owned(), message));
                true
            }
            _ => false,
        }
    }

    /// The next message for a node, and who sent it.
    pub fn receive(&mut self, node: &str) -> Option<(String, Bytes)> {
        self.0.get_mut(node)?.pop_front()
    }

    /// How many messages wait in all.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }
}
