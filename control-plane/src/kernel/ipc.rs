//! The message service: what the calls on `/ipc` do. See [`crate::ipc`].

use std::sync::Arc;

use agent_primitives::{AgentId, LabelSet, TenantId};
use serde_json::Value;

use super::running::Intent;
use super::table::Agent;
use super::{Inner, Kernel};
use crate::call::{Change, Reply};
use crate::error::CallError;
use crate::ipc::{self, BadTopic, Name, Port};
use crate::policy::permit::Permit;
use crate::policy::request::{How, OpenFile, ReadFile, WriteFile};
use crate::recorder::{Body, Source};
use crate::vfs::{Descriptor, Namespace, OpenFlags, PathError, VfsError, VfsPath};

/// The messages of one agent. The port inside is private to this module: nothing is sent or taken without a permit.
#[derive(Debug)]
pub(crate) struct Messages(Port);

impl Messages {
    pub(crate) const fn new(port: Port) -> Self {
        Self(port)
    }

    pub(crate) fn open_inbox(&self, labels: LabelSet) {
        self.0.open(labels);
    }

    pub(crate) fn close_all(&self) {
        self.0.close();
    }

    pub(crate) fn closed(&self, descriptor: Descriptor) {
        self.0.forget(descriptor);
    }

    /// Takes the next message. Dropped before it answers, it has taken none.
    pub(crate) async fn read(
        &self,
        tree: &Namespace,
        name: &Name,
        permit: Permit<ReadFile>,
    ) -> Result<Reply, CallError> {
        let ReadFile { path, descriptor, offset, length, nonblock, query: _ } = permit.redeem();
        let read = async {
            opened_for(tree, descriptor, |flags| flags.read)?;
            begins(offset)?;
            self.0.read(name, descriptor, length, nonblock).await
        };
        let (data, labels) = read.await.map_err(|error| PathError::at(&path, error))?;
        Ok(Reply::Data { data, version: None, labels })
    }

    /// Sends a message that carries `labels`. To replace and to append are the same to a queue.
    pub(crate) fn send(
        &self,
        tree: &Namespace,
        name: &Name,
        permit: Permit<WriteFile>,
        labels: LabelSet,
    ) -> Result<Reply, CallError> {
        let WriteFile { path, how, data } = permit.redeem();
        let bytes = data.len() as u64;
        let send = || {
            match how {
                How::Path { change: Change::Replace | Change::Append, expected: None, ttl: None } => {}
                How::Path { change: Change::Remove, .. } => return Err(VfsError::AccessDenied),
                How::Path { .. } => return Err(VfsError::InvalidPath),
                How::Descriptor { descriptor, offset } => {
                    opened_for(tree, Some(descriptor), OpenFlags::writes)?;
                    begins(offset)?;
                }
            }
            self.0.send(name, data, labels)
        };
        send().map_err(|error| PathError::at(&path, error))?;
        Ok(Reply::Written { bytes, version: None })
    }

    /// Opens the inbox, a name to send to, or a subscription: that is what opening for reading is. A new topic's name
    /// carries `labels`.
    pub(crate) async fn open(
        &self,
        tree: &Namespace,
        name: &Name,
        permit: Permit<OpenFile>,
        labels: LabelSet,
    ) -> Result<Reply, CallError> {
        let OpenFile { path, flags } = permit.redeem();
        let at = |error| PathError::at(&path, error);
        let subscription = match name {
            Name::Inbox if flags.writes() => return Err(at(VfsError::AccessDenied).into()),
            Name::Nothing => return Err(at(VfsError::NotFound).into()),
            Name::Inbox => None,
            Name::Peer(topic) if flags.read => {
                Some(self.0.subscribe(topic, &labels, flags.exclusive).map_err(at)?)
            }
            Name::Peer(peer) => match self.0.finds(peer) {
                true if flags.exclusive => return Err(at(VfsError::Exists).into()),
                true => None,
                // Nobody would get what is sent to a topic that only senders have opened.
                false => return Err(at(VfsError::NotFound).into()),
            },
        };
        // What there is to be made is made: the tree has only to find it.
        let flags = OpenFlags { create: false, exclusive: false, ..flags };
        let descriptor = tree.open(&path, flags, LabelSet::EMPTY).await?;
        if let Some(subscription) = subscription {
            self.0.keep(descriptor, subscription);
        }
        Ok(Reply::Opened(descriptor))
    }
}

/// Holds the flags of a descriptor, if the call is on one, against what is done through it.
fn opened_for(
    tree: &Namespace,
    descriptor: Option<Descriptor>,
    permits: impl FnOnce(OpenFlags) -> bool,
) -> Result<(), VfsError> {
    let Some(descriptor) = descriptor else { return Ok(()) };
    let (_, flags) = tree.opened(descriptor).map_err(|error| error.error())?;
    if permits(flags) { Ok(()) } else { Err(VfsError::BadDescriptor) }
}

/// A queue has no other place than its beginning.
const fn begins(offset: Option<u64>) -> Result<(), VfsError> {
    match offset {
        None | Some(0) => Ok(()),
        Some(_) => Err(VfsError::InvalidPath),
    }
}

impl Inner {
    /// Reads a file, or takes a message. What waits for a message too long is a file operation that did.
    pub(crate) async fn read(
        &self,
        agent: &Arc<Agent>,
        intent: &Arc<Intent>,
        permit: Permit<ReadFile>,
    ) -> Result<Reply, CallError> {
        let path = &permit.request().path;
        let of_messages: Option<VfsPath> = ipc::named_by(path).map(|_| path.clone());
        let read = self.on_files(agent, intent, |owner| async move { owner.files.read(permit).await }).await;
        match (read, of_messages) {
            (Err(CallError::Timeout), Some(path)) => Err(PathError::at(&path, VfsError::Timeout).into()),
            (read, _) => read,
        }
    }
}

impl Kernel {
    /// Says what the messages to a topic of a tenant have to fit, as a JSON Schema, or with `None` that they may be
    /// anything. Without `tenant` it is a topic of the agents that have none. What does not fit is refused before it is
    /// sent; what waits already is left.
    ///
    /// A message that has to fit a schema is JSON, without repeated keys.
    ///
    /// # Errors
    /// See [`BadTopic`]; the topic is as before then.
    pub fn topic(
        &self,
        tenant: Option<&TenantId>,
        name: &str,
        schema: Option<&Value>,
    ) -> Result<(), BadTopic> {
        let bad = |source| BadTopic::Name { name: name.chars().take(128).collect(), source };
        let topic: AgentId = name.parse().map_err(bad)?;
        self.inner.running()?;
        self.inner.exchange.declare(tenant, &topic, schema)?;
        let of = tenant.map(|tenant| format!(" of tenant `{tenant}`")).unwrap_or_default();
        let what = if schema.is_some() { "gives a schema to" } else { "takes the schema from" };
        let action = format!("{what} the topic `{topic}`{of}");
        self.inner.append(Source::KERNEL, 0, Body::Host { action: &action })?;
        Ok(())
    }
}
