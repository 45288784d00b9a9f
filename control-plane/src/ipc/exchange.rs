//! The rooms of a kernel.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use agent_primitives::{AgentId, BadId, TenantId, Timer};
use agent_tool_registry::ValueSchema;
use serde_json::Value;

use super::port::Port;
use super::room::Room;
use crate::error::CallError;

/// Most topics of one tenant that have a schema.
pub const MAX_SCHEMAS: usize = 1024;

/// One room for each tenant, and one for the agents of none.
#[derive(Debug, Default)]
pub(crate) struct Exchange(Mutex<HashMap<Option<TenantId>, Arc<Room>>>);

/// Why a topic was not given a schema.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadTopic {
    /// A topic has a name that an agent could have.
    #[error("`{name}` is not the name of a topic: {source}")]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        source: BadId,
    },
    /// The schema cannot be used.
    #[error("the schema of the topic cannot be used: {0}")]
    Schema(String),
    /// As many topics of the tenant have a schema as may.
    #[error("{limit} topics of the tenant have a schema, the limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The kernel could not record it.
    #[error(transparent)]
    Kernel(#[from] CallError),
}

impl BadTopic {
    /// Stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "AK0441",
            Self::Schema(_) => "AK0442",
            Self::Full { .. } => "AK0443",
            Self::Kernel(error) => error.code(),
        }
    }
}

impl Exchange {
    /// A port for an agent, into the room of its tenant. It is in nobody's reach until it [opens](Port::open).
    pub(crate) fn port(&self, agent: &AgentId, tenant: Option<&TenantId>, timer: &Arc<dyn Timer>) -> Port {
        Port::new(agent.clone(), self.room(tenant), Arc::clone(timer))
    }

    /// Says what the messages to a topic have to fit, or that they may be anything.
    ///
    /// # Errors
    /// The schema cannot be used, or there are [`MAX_SCHEMAS`].
    pub(crate) fn declare(
        &self,
        tenant: Option<&TenantId>,
        topic: &AgentId,
        schema: Option<&Value>,
    ) -> Result<(), BadTopic> {
        let schema = schema.map(ValueSchema::compile).transpose().map_err(BadTopic::Schema)?;
        let declared = self.room(tenant).declare(topic, schema.map(Arc::new), MAX_SCHEMAS);
        if declared { Ok(()) } else { Err(BadTopic::Full { limit: MAX_SCHEMAS }) }
    }

    /// The room of a tenant. Whenever their number has doubled, those that nobody is in and that hold nothing go, so that
    /// there are at most twice as many as are in use.
    fn room(&self, tenant: Option<&TenantId>) -> Arc<Room> {
        /// So many rooms are not worth a look.
        const FEW: usize = 64;
        // INVARIANT: only map operations run under this lock, so a poisoned one still holds a whole map.
        let mut rooms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = tenant.cloned();
        if let Some(room) = rooms.get(&tenant) {
            return Arc::clone(room);
        }
        if FEW <= rooms.len() && rooms.len().is_power_of_two() {
            rooms.retain(|_, room| 1 < Arc::strong_count(room) || !room.is_empty());
        }
        Arc::clone(rooms.entry(tenant).or_default())
    }
}

#[cfg(test)]
mod tests {
    use agent_primitives::ManualClock;

    use super::*;

    #[test]
    fn rooms_that_nobody_is_in_go() {
        let (exchange, timer) = (Exchange::default(), Arc::new(ManualClock::default()) as Arc<dyn Timer>);
        let agent: AgentId = "a".parse().unwrap();
        let kept: TenantId = "kept".parse().unwrap();
        exchange.declare(Some(&kept), &agent, Some(&Value::Bool(true))).unwrap();
        for number in 0..1000 {
            let tenant: TenantId = format!("t{number}").parse().unwrap();
            drop(exchange.port(&agent, Some(&tenant), &timer));
        }
        let rooms = exchange.0.lock().unwrap();
        assert!(rooms.len() <= 65, "{}", rooms.len());
        assert!(rooms.contains_key(&Some(kept)));
    }
}
