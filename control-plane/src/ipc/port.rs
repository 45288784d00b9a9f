//! One agent's end: its inbox and its subscriptions.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_primitives::{AgentId, LabelSet, Timer};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Name;
use super::board::Board;
use super::message::{Letter, MAX_MESSAGE_BYTES};
use super::queue::Queue;
use super::room::Room;
use crate::vfs::{Descriptor, VfsError};

/// Most subscriptions of one agent.
pub const MAX_SUBSCRIPTIONS: usize = 16;

/// What one life of an agent sends and receives through. A successor of the same name has a port of its own, so what was
/// sent before never reaches it.
pub(crate) struct Port {
    agent: AgentId,
    room: Arc<Room>,
    timer: Arc<dyn Timer>,
    inbox: Arc<Queue>,
    places: Arc<Semaphore>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Set once, at the agent's end.
    closed: bool,
    subscriptions: HashMap<Descriptor, Subscription>,
}

/// What is sent to a topic comes in here until this is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    room: Arc<Room>,
    topic: AgentId,
    queue: Arc<Queue>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.room.unsubscribe(&self.topic, &self.queue);
        self.queue.close();
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({})", self.agent)
    }
}

impl Port {
    pub(super) fn new(agent: AgentId, room: Arc<Room>, timer: Arc<dyn Timer>) -> Self {
        let (inbox, places) = (Arc::default(), Arc::new(Semaphore::new(MAX_SUBSCRIPTIONS)));
        Self { agent, room, timer, inbox, places, open: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // INVARIANT: only map operations and assignments run under this lock.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets others send to the agent. `labels` is what its name carries.
    pub(crate) fn open(&self, labels: LabelSet) {
        let open = self.lock();
        // It may have been ended before it began.
        if !open.closed {
            self.room.enter(&self.agent, Arc::clone(&self.inbox), labels);
        }
    }

    /// Ends the inbox and all subscriptions, with what waits in them.
    pub(crate) fn close(&self) {
        let mut open = self.lock();
        open.closed = true;
        let subscriptions = std::mem::take(&mut open.subscriptions);
        self.room.leave(&self.agent, &self.inbox);
        drop(open);
        self.inbox.close();
        drop(subscriptions);
    }

    /// What the agent finds at `/ipc`.
    pub(crate) fn board(&self) -> Board {
        Board::new(Arc::clone(&self.room))
    }

    /// The next message of the inbox, or of the subscription that `descriptor` is.
    pub(crate) async fn read(
        &self,
        name: &Name,
        descriptor: Option<Descriptor>,
        most: u64,
        nonblock: bool,
    ) -> Result<(Bytes, LabelSet), VfsError> {
        let queue = match (name, descriptor) {
            (Name::Inbox, _) => Arc::clone(&self.inbox),
            (Name::Peer(_), Some(descriptor)) => {
                let open = self.lock();
                let subscription = open.subscriptions.get(&descriptor).ok_or(VfsError::BadDescriptor)?;
                Arc::clone(&subscription.queue)
            }
            // A topic is read by whoever has opened it, an agent's inbox by that agent.
            (Name::Peer(name), None) if self.room.find(name).is_some() => {
                return Err(VfsError::BadDescriptor);
            }
            (Name::Peer(_) | Name::Nothing, _) => return Err(VfsError::NotFound),
        };
        queue.next(usize::try_from(most).unwrap_or(usize::MAX), nonblock).await
    }

    /// Sends a message that carries `labels`.
    pub(crate) fn send(&self, name: &Name, body: Bytes, labels: LabelSet) -> Result<(), VfsError> {
        let name = match name {
            Name::Inbox => return Err(VfsError::AccessDenied),
            Name::Nothing => return Err(VfsError::NotFound),
            Name::Peer(name) => name,
        };
        if MAX_MESSAGE_BYTES < body.len() {
            return Err(VfsError::TooLarge);
        }
        let (from, time) = (self.agent.clone(), self.timer.now());
        self.room.send(name, Letter { from, topic: None, time, labels, body })
    }

    /// Whether a name leads to anybody.
    pub(crate) fn finds(&self, name: &AgentId) -> bool {
        self.room.find(name).is_some()
    }

    /// Subscribes to a topic. `labels` is what its name carries if it is new.
    pub(crate) fn subscribe(
        &self,
        topic: &AgentId,
        labels: &LabelSet,
        exclusive: bool,
    ) -> Result<Subscription, VfsError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| VfsError::TooManyOpen)?;
        let queue = Arc::default();
        self.room.subscribe(topic, &queue, labels, exclusive)?;
        Ok(Subscription { room: Arc::clone(&self.room), topic: topic.clone(), queue, _place: place })
    }

    /// Keeps a subscription until its descriptor closes.
    pub(crate) fn keep(&self, descriptor: Descriptor, subscription: Subscription) {
        let mut open = self.lock();
        if !open.closed {
            open.subscriptions.insert(descriptor, subscription);
        }
    }

    /// A descriptor was closed.
    pub(crate) fn forget(&self, descriptor: Descriptor) {
        let ended = self.lock().subscriptions.remove(&descriptor);
        drop(ended);
    }
}
