//! How a human hears of a request, and how answers come back.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::time::Duration;

use agent_primitives::TicketId;
use agent_primitives::ticket::{Principal, Scope};
use tokio::sync::mpsc;

use super::Request;
use super::error::Unreachable;

/// What the methods of an [`Approver`] return.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A way to humans. What it brings back is only as trustworthy as it is: the host vouches for the principals it names.
pub trait Approver: fmt::Debug + Send + Sync {
    /// Tells whoever is on the other side of a request. Dropped when it takes longer than [`super::NOTIFY_DEADLINE`]. May be
    /// told of the same ticket again after a restart.
    ///
    /// # Errors
    /// Nobody was told. If none of the kernel's approvers tells anybody, the call is refused.
    fn notify<'a>(&'a self, request: &'a Request) -> Answering<'a, Result<(), Unreachable>>;

    /// The answers that came in since the last time. `pending` are the tickets that wait for one. Dropped when it takes
    /// longer than [`super::NOTIFY_DEADLINE`].
    fn collect<'a>(&'a self, pending: &'a [TicketId]) -> Answering<'a, Vec<Answer>> {
        let _ = pending;
        Box::pin(ready(Vec::new()))
    }

    /// How often to [`Approver::collect`] while a call waits; `None` when there is nothing to be collected.
    fn interval(&self) -> Option<Duration> {
        None
    }
}

/// One principal's word on one ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever answers says all of it")]
pub struct Answer {
    /// The ticket.
    pub ticket: TicketId,
    /// Whose word it is.
    pub by: Principal,
    /// The word.
    pub word: Word,
}

/// Yes or no.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third word")]
pub enum Word {
    /// Yes, to so much.
    Grant(Scope),
    /// No, and why.
    Refuse(String),
}

/// Hands requests to code of the host, which answers with [`crate::Kernel::approve`] and [`crate::Kernel::refuse`].
#[derive(Clone, Debug)]
pub struct ChannelApprover(mpsc::Sender<Request>);

/// The host's end of a [`ChannelApprover`].
#[derive(Debug)]
pub struct Requests(mpsc::Receiver<Request>);

impl ChannelApprover {
    /// An approver and the end its requests come out of. `capacity` requests wait there, at least one; while there are so
    /// many the next waits outside, and is refused if none is taken in time.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, Requests) {
        let (send, receive) = mpsc::channel(capacity.clamp(1, super::MAX_TICKETS));
        (Self(send), Requests(receive))
    }
}

impl Requests {
    /// The next request; `None` once no kernel is left that could ask. Cancel safe.
    pub async fn next(&mut self) -> Option<Request> {
        self.0.recv().await
    }
}

impl Approver for ChannelApprover {
    fn notify<'a>(&'a self, request: &'a Request) -> Answering<'a, Result<(), Unreachable>> {
        Box::pin(async {
            let sent = self.0.send(request.clone()).await;
            sent.map_err(|_closed| Unreachable::new("the host's end of the channel is closed"))
        })
    }
}
