//! Messages between agents: the inbox of each, and topics that several read from.
//!
//! An agent reads its next message from `/ipc/inbox`, sends by writing to `/ipc/<name>`, and subscribes to a topic by
//! opening `/ipc/<name>` for reading. Each of these is a call on a path, so policy judges it as it does any file, and the
//! recorder keeps it. `src/docs/tree.md` has the whole of it.
//!
//! An `Exchange` has one room for each tenant, and no way from one room into another. In a room each agent has a port:
//! its inbox and its subscriptions, all of which end with the agent. Nothing here judges.

mod board;
mod exchange;
mod message;
mod port;
mod queue;
mod room;

pub(crate) use self::board::Board;
pub(crate) use self::exchange::Exchange;
pub use self::exchange::{BadTopic, MAX_SCHEMAS};
pub use self::message::{MAX_MESSAGE_BYTES, Message};
pub use self::port::MAX_SUBSCRIPTIONS;
pub(crate) use self::port::Port;
pub use self::queue::{MAX_QUEUED_BYTES, MAX_QUEUED_MESSAGES};
pub use self::room::{MAX_SUBSCRIBERS, MAX_TOPICS};

use agent_primitives::AgentId;

use crate::vfs::VfsPath;

/// Where an agent finds its messages.
pub(crate) const POINT: &str = "/ipc";
/// The file there that is the agent's own inbox, whatever agent or topic has that name.
pub(crate) const INBOX: &str = "inbox";

/// Whether a path is that of the messages or lies below it: no store is mounted there.
pub(crate) fn is_reserved(path: &VfsPath) -> bool {
    path.segments().next() == POINT.strip_prefix('/')
}

/// What a path below that of the messages names; `None` for any other path.
pub(crate) fn named_by(path: &VfsPath) -> Option<Name> {
    let mut segments = path.segments();
    if segments.next() != POINT.strip_prefix('/') {
        return None;
    }
    Some(match (segments.next()?, segments.next()) {
        (INBOX, None) => Name::Inbox,
        // A topic has a name that an agent could have, which has one spelling only.
        (name, None) => name.parse().map_or(Name::Nothing, Name::Peer),
        (_, Some(_)) => Name::Nothing,
    })
}

/// What a path below `/ipc` may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// The own inbox.
    Inbox,
    /// A live agent of the room, or else a topic.
    Peer(AgentId),
    /// What neither an agent nor a topic can be called.
    Nothing,
}
