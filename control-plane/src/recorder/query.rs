//! Questions to a recording: who did what, when, and what was said to it.

use agent_primitives::{Timestamp, Verdict};

use super::index::lock;
use super::recording::events;
use super::{Body, Event, FlightRecorder, LedgerError, RecordingError, Stored};
use crate::question::CallKind;

/// Most records of one [`Page`].
pub const MAX_PAGE: usize = 10_000;
/// How many records a page has unless the query says otherwise.
pub const DEFAULT_PAGE: usize = 100;

/// Which records are wanted. Everything that is said has to hold; nothing said is every record, newest first.
///
/// Both a [`FlightRecorder`](super::FlightRecorder) and a [`Recording`](super::Recording) answer queries.
///
/// ```
/// use agent_control_plane::primitives::Verdict;
/// use agent_control_plane::recorder::{FlightRecorder, Query};
///
/// let recorder = FlightRecorder::memory()?;
/// let denied = Query::new().agent("reviewer").verdict(Verdict::Deny).limit(20);
/// let page = recorder.query(&denied)?;
/// if let Some(next) = page.next {
///     let _older = recorder.query(&denied.clone().page(next))?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Query {
    pub(super) agent: Option<String>,
    pub(super) generation: Option<u64>,
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) kinds: Vec<String>,
    pub(super) tool: Option<String>,
    pub(super) syscall: Option<CallKind>,
    pub(super) verdict: Option<Verdict>,
    pub(super) rule: Option<String>,
    pub(super) call: Option<u64>,
    pub(super) oldest_first: bool,
    pub(super) limit: usize,
    pub(super) page: Option<u64>,
}

/// Some of the records that a query asks for, in its order.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The records.
    pub records: Vec<Stored>,
    /// Where the next page begins, for [`Query::page`]; `None` when there is nothing more to look at.
    pub next: Option<u64>,
}

impl Default for Query {
    fn default() -> Self {
        Self::new()
    }
}

impl Query {
    /// Every record, newest first.
    #[must_use]
    pub fn new() -> Self {
        Self {
            agent: None,
            generation: None,
            since: None,
            until: None,
            kinds: Vec::new(),
            tool: None,
            syscall: None,
            verdict: None,
            rule: None,
            call: None,
            oldest_first: false,
            limit: DEFAULT_PAGE,
            page: None,
        }
    }

    /// Of this agent, in all its lives. The empty name is the host and the kernel.
    #[must_use]
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Of this life of its agent.
    #[must_use]
    pub fn life(mut self, generation: u64) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Recorded at this time or later.
    #[must_use]
    pub fn since(mut self, time: Timestamp) -> Self {
        self.since = Some(time);
        self
    }

    /// Recorded before this time.
    #[must_use]
    pub fn until(mut self, time: Timestamp) -> Self {
        self.until = Some(time);
        self
    }

    /// Of this kind, as [`Event::kind`] names it; said again, of any of these kinds.
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kinds.push(kind.into());
        self
    }

    /// About a call of this tool that was judged.
    #[must_use]
    pub fn tool(mut self, tool: impl Into<String>) -> Self {
        self.tool = Some(tool.into());
        self
    }

    /// About this system call: judged, rejected, or refused from memory.
    #[must_use]
    pub fn syscall(mut self, call: CallKind) -> Self {
        self.syscall = Some(call);
        self
    }

    /// About a call that policy said this to. What an allowed call was refused for by a limit, or an ask by a human, stands
    /// in the record's kind and reason.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = Some(verdict);
        self
    }

    /// About a call that a rule of this id decided, alone or with others.
    #[must_use]
    pub fn rule(mut self, rule: impl Into<String>) -> Self {
        self.rule = Some(rule.into());
        self
    }

    /// Everything about the call of this number: its intent, outcome, and what happened between. Each life of an agent numbers
    /// its own calls, so say which.
    #[must_use]
    pub fn call(mut self, number: u64) -> Self {
        self.call = Some(number);
        self
    }

    /// In the order of the record.
    #[must_use]
    pub fn oldest_first(mut self) -> Self {
        self.oldest_first = true;
        self
    }

    /// At most so many, and never more than [`MAX_PAGE`] or less than one.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, MAX_PAGE);
        self
    }

    /// From this sequence number on: up, oldest first, or down. [`Page::next`] is one.
    #[must_use]
    pub fn page(mut self, from: u64) -> Self {
        self.page = Some(from);
        self
    }

    /// Whether an event is one of those wanted, wherever it stands.
    #[must_use]
    pub fn matches(&self, event: &Event<'_>) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let facts = Facts::of(event);
        is(&self.agent, Some(event.agent))
            && self.generation.is_none_or(|generation| generation == event.generation)
            && self.since.is_none_or(|since| since <= event.time)
            && self.until.is_none_or(|until| event.time < until)
            && (self.kinds.is_empty() || self.kinds.iter().any(|kind| kind == event.kind()))
            && is(&self.tool, facts.tool)
            && self.syscall.is_none_or(|call| facts.syscall == Some(call.number()))
            && self.verdict.is_none_or(|verdict| facts.verdict == Some(verdict))
            && self.rule.as_ref().is_none_or(|rule| facts.rules.contains(&rule.as_str()))
            && self.call.is_none_or(|call| call == event.call)
    }
}

impl FlightRecorder {
    /// Answers a query from all that is recorded so far, what is not yet on disk included.
    ///
    /// The first query reads the record once and builds an index in memory; later ones add what is new. Nothing of that is
    /// done where nobody asks. Blocks on the disk. What a store in memory lets go of meanwhile is left out.
    ///
    /// # Errors
    /// A record that cannot be read.
    pub fn query(&self, query: &Query) -> Result<Page, RecordingError> {
        let mut index = lock(&self.readers.index);
        let base = || self.ledger.base().count;
        let end = self.ledger.head().count;
        while index.next() < end {
            for entry in self.ledger.read(index.next().max(base())) {
                match entry {
                    Ok(entry) => index.add(&Stored::new(entry))?,
                    // A store in memory lets go of its oldest meanwhile.
                    Err(LedgerError::Dropped { .. }) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let read = |from| {
            let ledger = self.ledger.clone();
            let mut entries = ledger.read(from);
            let kept = std::iter::from_fn(move || {
                loop {
                    match entries.next() {
                        Some(Err(LedgerError::Dropped { first, .. })) => entries = ledger.read(first),
                        other => return other,
                    }
                }
            });
            Ok(Box::new(events(kept)) as _)
        };
        index.query(query, base(), &read)
    }
}

/// What an event says of a call.
#[derive(Default)]
pub(super) struct Facts<'e> {
    pub(super) tool: Option<&'e str>,
    pub(super) syscall: Option<u8>,
    pub(super) verdict: Option<Verdict>,
    pub(super) rules: &'e [&'e str],
}

impl<'e> Facts<'e> {
    pub(super) fn of(event: &'e Event<'_>) -> Self {
        if let Some((request, decision)) = event.judged() {
            return Self {
                tool: request.tool(),
                syscall: Some(request.call().number()),
                verdict: Some(decision.verdict),
                rules: &decision.rules,
            };
        }
        match &event.body {
            Body::Rejected { syscall, .. } | Body::Repeated { syscall, .. } => {
                Self { syscall: Some(*syscall), ..Self::default() }
            }
            _ => Self::default(),
        }
    }
}
