//! How a server is dealt with.

use std::sync::Arc;
use std::time::Duration;

use super::pins::Pins;

/// When the list of a server's tools is read again before a call.
///
/// What a call costs more is one request and its answer. Whatever is chosen, the list is read again when the server says
/// that it has changed, and over each new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recheck {
    /// Before each call. The only choice under which a server that changes a tool without saying so is found out before
    /// the next call.
    #[default]
    EveryCall,
    /// When it was read longer ago than this.
    After(Duration),
    /// When the server says so. Before each call, if the server does not promise to.
    OnNotification,
}

/// How a server is dealt with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When the list of its tools is read again.
    pub recheck: Recheck,
    /// What is kept of approvals.
    pub pins: Arc<Pins>,
    /// How often in a row it is started again after it broke off, before the host has to [import](super::Server::import) it anew.
    pub restarts: u32,
    /// How long it may take to start and to answer the greeting.
    pub start_within: Duration,
    /// How long it may take to list all of its tools.
    pub list_within: Duration,
    /// How long it may take to answer anything at all after a call was cancelled, before it is killed.
    pub grace: Duration,
    /// Most calls at once; further ones wait, within their deadlines.
    pub calls: usize,
}

impl Default for Settings {
    /// A recheck before every call, approvals in memory, five restarts, 30 s to start, 10 s to list, 5 s of grace, 32 calls
    /// at once.
    fn default() -> Self {
        Self {
            recheck: Recheck::default(),
            pins: Arc::new(Pins::in_memory()),
            restarts: 5,
            start_within: Duration::from_secs(30),
            list_within: Duration::from_secs(10),
            grace: Duration::from_secs(5),
            calls: 32,
        }
    }
}
