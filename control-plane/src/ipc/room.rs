//! Where the agents of one tenant reach each other.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::json;
use agent_primitives::{AgentId, LabelSet};
use agent_tool_registry::ValueSchema;

use super::message::Letter;
use super::queue::Queue;
use crate::vfs::VfsError;

/// Most topics that are open in one tenant at a time.
pub const MAX_TOPICS: usize = 1024;
/// Most subscriptions to one topic.
pub const MAX_SUBSCRIBERS: usize = 256;

/// The agents of one tenant, or those of none, and the topics between them.
#[derive(Debug, Default)]
pub(super) struct Room(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    agents: BTreeMap<AgentId, Member>,
    topics: BTreeMap<AgentId, Topic>,
    /// What the messages to some topics have to fit, whether these are open or not.
    schemas: BTreeMap<AgentId, Arc<ValueSchema>>,
}

#[derive(Debug)]
struct Member {
    inbox: Arc<Queue>,
    /// What its name carries: what it was started with.
    labels: LabelSet,
}

/// A topic is there as long as somebody has subscribed to it.
#[derive(Debug, Default)]
struct Topic {
    /// What its name carries: what whoever opened it did.
    labels: LabelSet,
    subscribers: Vec<Arc<Queue>>,
}

/// What a name leads to now.
enum Receivers<'s> {
    Agent(&'s Arc<Queue>),
    Topic(&'s Topic),
}

/// One name of the room, as a listing shows it.
pub(super) struct Shown {
    pub(super) name: String,
    pub(super) labels: LabelSet,
}

impl Room {
    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: nothing that can panic runs between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.agents.is_empty() && state.topics.is_empty() && state.schemas.is_empty()
    }

    pub(super) fn enter(&self, agent: &AgentId, inbox: Arc<Queue>, labels: LabelSet) {
        self.lock().agents.insert(agent.clone(), Member { inbox, labels });
    }

    /// Takes an agent out of the room, unless a successor has its name already.
    pub(super) fn leave(&self, agent: &AgentId, inbox: &Arc<Queue>) {
        let mut state = self.lock();
        if state.agents.get(agent).is_some_and(|member| Arc::ptr_eq(&member.inbox, inbox)) {
            state.agents.remove(agent);
        }
    }

    /// Adds a subscription. With `exclusive` the topic must be new.
    ///
    /// # Errors
    /// `AccessDenied` for the name of a live agent: what is sent there is that agent's; `Exists`; `NoSpace`;
    /// `TooManyLabels`.
    pub(super) fn subscribe(
        &self,
        name: &AgentId,
        queue: &Arc<Queue>,
        labels: &LabelSet,
        exclusive: bool,
    ) -> Result<(), VfsError> {
        let mut state = self.lock();
        if state.agents.contains_key(name) {
            return Err(if exclusive { VfsError::Exists } else { VfsError::AccessDenied });
        }
        let topics = state.topics.len();
        match state.topics.get_mut(name) {
            Some(_) if exclusive => Err(VfsError::Exists),
            Some(topic) if MAX_SUBSCRIBERS <= topic.subscribers.len() => Err(VfsError::NoSpace),
            Some(topic) => {
                topic.subscribers.push(Arc::clone(queue));
                Ok(())
            }
            None if MAX_TOPICS <= topics => Err(VfsError::NoSpace),
            None => {
                let topic = Topic { labels: labels.clone(), subscribers: vec![Arc::clone(queue)] };
                state.topics.insert(name.clone(), topic);
                Ok(())
            }
        }
    }

    /// Ends a subscription, and the topic with the last one.
    pub(super) fn unsubscribe(&self, name: &AgentId, queue: &Arc<Queue>) {
        let mut state = self.lock();
        if let Some(topic) = state.topics.get_mut(name) {
            topic.subscribers.retain(|other| !Arc::ptr_eq(other, queue));
            if topic.subscribers.is_empty() {
                state.topics.remove(name);
            }
        }
    }

    /// Gives a topic a schema, or takes it away.
    pub(super) fn declare(&self, name: &AgentId, schema: Option<Arc<ValueSchema>>, most: usize) -> bool {
        let mut state = self.lock();
        match schema {
            None => {
                state.schemas.remove(name);
            }
            Some(_) if most <= state.schemas.len() && !state.schemas.contains_key(name) => return false,
            Some(schema) => {
                state.schemas.insert(name.clone(), schema);
            }
        }
        true
    }

    /// Delivers a letter to whoever `name` leads to: all of them or nobody. The letters of one sender arrive in the order
    /// in which they were sent.
    ///
    /// # Errors
    /// `NotFound` when the name leads to nobody; `InvalidData` when the topic has a schema that the letter does not fit;
    /// `WouldBlock` when a receiver has no room.
    pub(super) fn send(&self, name: &AgentId, mut letter: Letter) -> Result<(), VfsError> {
        let mut fits: Option<Arc<ValueSchema>> = None;
        loop {
            let state = self.lock();
            let topic = match state.receivers(name).ok_or(VfsError::NotFound)? {
                Receivers::Agent(inbox) => {
                    if !inbox.has_room(letter.body.len()) {
                        return Err(VfsError::WouldBlock);
                    }
                    inbox.push(Arc::new(letter));
                    return Ok(());
                }
                Receivers::Topic(topic) => topic,
            };
            if let Some(schema) = state.schemas.get(name)
                && !fits.as_ref().is_some_and(|fits| Arc::ptr_eq(fits, schema))
            {
                // Judged beside the lock: nobody else of the tenant is to wait for it. Looked up again then.
                let schema = Arc::clone(schema);
                drop(state);
                let value = json::parse(&letter.body, &json::Limits::DEFAULT);
                if !value.is_ok_and(|value| schema.fits(&value)) {
                    return Err(VfsError::InvalidData);
                }
                fits = Some(schema);
                continue;
            }
            if !topic.subscribers.iter().all(|queue| queue.has_room(letter.body.len())) {
                return Err(VfsError::WouldBlock);
            }
            letter.labels = letter.labels.join(&topic.labels)?;
            letter.topic = Some(name.clone());
            let letter = Arc::new(letter);
            topic.subscribers.iter().for_each(|queue| queue.push(Arc::clone(&letter)));
            return Ok(());
        }
    }

    /// What the name carries, if it leads to anybody.
    pub(super) fn find(&self, name: &AgentId) -> Option<LabelSet> {
        let state = self.lock();
        let agent = state.agents.get(name).map(|member| &member.labels);
        agent.or_else(|| state.topics.get(name).map(|topic| &topic.labels)).cloned()
    }

    /// The names behind `after`, in byte order: at most `most`.
    pub(super) fn names(&self, after: Option<&str>, most: usize) -> Vec<Shown> {
        let state = self.lock();
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let agents = state.agents.range::<str, _>(behind).map(|(name, member)| (name, &member.labels));
        let topics = state.topics.range::<str, _>(behind).map(|(name, topic)| (name, &topic.labels));
        let mut names: BTreeMap<&AgentId, &LabelSet> = topics.take(most).collect();
        // An agent hides a topic of its name.
        names.extend(agents.take(most));
        let shown =
            |(name, labels): (&AgentId, &LabelSet)| Shown { name: name.to_string(), labels: labels.clone() };
        names.into_iter().take(most).map(shown).collect()
    }
}

impl State {
    /// A live agent comes first, then a topic.
    fn receivers(&self, name: &AgentId) -> Option<Receivers<'_>> {
        let agent = self.agents.get(name).map(|member| Receivers::Agent(&member.inbox));
        agent.or_else(|| self.topics.get(name).map(Receivers::Topic))
    }
}
