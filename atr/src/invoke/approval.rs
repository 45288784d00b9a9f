//! Consent to one exact call.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::ticket::{Grant, Principal, Quorum, Scope, Terms, TicketError, TicketState};
use agent_primitives::{AgentId, Clock, Digest, Ticket, TicketId, Timestamp, ToolId};

use super::{CallChain, Caller};
use crate::{Arguments, ToolContract, ToolError};

const DOMAIN: &str = "agent-os atr approval v1";
/// For how long a ticket is good unless said.
const LIFETIME: Duration = Duration::from_secs(300);
/// Most tickets kept at once.
const MAX_TICKETS: usize = 1024;

/// Calls that wait for somebody's consent, and what became of it. Clones share the tickets.
///
/// A ticket is bound to the principals, the contract, what answers, and the arguments. It is good for one call, until it
/// expires. It is kept until then, so that its second use is known for one.
#[derive(Clone)]
pub struct Approvals(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    quorums: Vec<Quorum>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: u64,
    tickets: BTreeMap<TicketId, Held>,
}

struct Held {
    ticket: Ticket,
    call: Awaiting,
}

/// A call that waits for consent, as those who may give it see it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Awaiting {
    /// The ticket to approve.
    pub ticket: TicketId,
    /// The tool.
    pub tool: ToolId,
    /// On whose behalf, from the first principal to the one that calls.
    pub chain: Vec<AgentId>,
    /// Exactly what the tool would be given.
    pub arguments: Arguments,
    /// From when on the ticket is worth nothing.
    pub expires: Timestamp,
}

/// Why an answer to a question for consent did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// There is no such ticket, or no longer.
    #[error("there is no such ticket")]
    Unknown,
    /// The ticket does not take this answer.
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

/// Why a ticket that was shown does not let a call through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Stale {
    /// There is no such ticket, or no longer.
    #[error("there is no such ticket")]
    Unknown,
    /// It is for a call with another principal, contract or argument.
    #[error("it is for another call")]
    OtherCall,
    /// Its time ran out.
    #[error("it has expired")]
    Expired,
    /// Somebody said no.
    #[error("it was refused")]
    Refused,
    /// It has let a call through already.
    #[error("it was used already")]
    Used,
}

impl Approvals {
    /// No ticket yet. Any one principal that does not take part in a call may agree to it, within 300 s.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_terms(clock, LIFETIME, [])
    }

    /// Tickets that expire after `lifetime`, and take the consent of each of these quorums. With more than
    /// [`MAX_QUORUMS`](agent_primitives::ticket::MAX_QUORUMS) different ones, no ticket is ever made.
    #[must_use]
    pub fn with_terms(
        clock: Arc<dyn Clock>,
        lifetime: Duration,
        quorums: impl IntoIterator<Item = Quorum>,
    ) -> Self {
        let quorums = quorums.into_iter().collect();
        Self(Arc::new(Shared { clock, lifetime, quorums, state: Mutex::default() }))
    }

    /// The calls that wait, by ticket.
    #[must_use]
    pub fn awaiting(&self) -> Vec<Awaiting> {
        let now = self.0.clock.now();
        let state = self.lock();
        let open = state.tickets.values().filter(|held| held.is_open(now));
        open.map(|held| held.call.clone()).collect()
    }

    /// Agrees to a call. Who takes part in the call cannot.
    ///
    /// # Errors
    /// [`ApprovalError`]; nothing has changed then.
    pub fn approve(&self, ticket: TicketId, by: Principal) -> Result<TicketState, ApprovalError> {
        self.answer(ticket, &by.clone(), |held, at| {
            held.ticket.grant(Grant { by, groups: Vec::new(), scope: Scope::Once, at })
        })
    }

    /// Refuses a call.
    ///
    /// # Errors
    /// [`ApprovalError`]; nothing has changed then.
    pub fn refuse(&self, ticket: TicketId, by: &Principal) -> Result<(), ApprovalError> {
        self.answer(ticket, by, |held, at| held.ticket.refuse(by, &[], at))
    }

    fn answer<T>(
        &self,
        ticket: TicketId,
        by: &Principal,
        answer: impl FnOnce(&mut Held, Timestamp) -> Result<T, TicketError>,
    ) -> Result<T, ApprovalError> {
        let now = self.0.clock.now();
        let mut state = self.lock();
        let held = state.tickets.get_mut(&ticket).ok_or(ApprovalError::Unknown)?;
        if held.call.chain.iter().any(|id| id.as_str() == by.as_str()) {
            return Err(TicketError::OwnRequest.into());
        }
        Ok(answer(held, now)?)
    }

    /// Uses the ticket that was shown for this call, or asks for one.
    pub(super) fn require(
        &self,
        shown: Option<TicketId>,
        chain: &CallChain,
        contract: &ToolContract,
        arguments: &Arguments,
    ) -> Result<(), ToolError> {
        let binding = binding(chain, contract, arguments);
        let now = self.0.clock.now();
        let mut state = self.lock();
        let Some(shown) = shown else {
            let ticket = self.ask(&mut state, binding, now, chain, contract, arguments)?;
            return Err(ToolError::ApprovalRequired { ticket: Some(ticket) });
        };
        let stale = |reason| Err(ToolError::ApprovalStale { reason });
        let Some(held) = state.tickets.get_mut(&shown) else { return stale(Stale::Unknown) };
        match held.ticket.take(&binding, true, now) {
            Ok(()) => Ok(()),
            Err(TicketError::State(TicketState::Pending)) => {
                Err(ToolError::ApprovalRequired { ticket: Some(shown) })
            }
            Err(TicketError::State(TicketState::Used)) => stale(Stale::Used),
            Err(TicketError::State(TicketState::Expired)) => stale(Stale::Expired),
            Err(TicketError::State(_)) => stale(Stale::Refused),
            Err(_) => stale(Stale::OtherCall),
        }
    }

    /// The ticket for a call: the one that waits already, else a new one.
    fn ask(
        &self,
        state: &mut State,
        binding: Digest,
        now: Timestamp,
        chain: &CallChain,
        contract: &ToolContract,
        arguments: &Arguments,
    ) -> Result<TicketId, ToolError> {
        state.tickets.retain(|_, held| now < held.ticket.expires());
        let waits = |held: &&Held| held.ticket.binding() == binding && held.is_open(now);
        if let Some(held) = state.tickets.values().find(waits) {
            return Ok(held.ticket.id());
        }
        let until =
            |at: Timestamp| u64::try_from(at.as_micros().saturating_sub(now.as_micros())).unwrap_or(0);
        if MAX_TICKETS <= state.tickets.len() {
            let first = state.tickets.values().map(|held| until(held.ticket.expires())).min();
            return Err(ToolError::RateLimited { retry_after: Duration::from_micros(first.unwrap_or(0)) });
        }
        let terms = Terms::new(self.0.quorums.iter().cloned(), Scope::Once)
            .map_err(|_too_many| ToolError::ApprovalRequired { ticket: None })?;
        let Some(requester) = chain.first().map(Caller::id) else {
            return Err(ToolError::ApprovalRequired { ticket: None });
        };
        state.asked += 1;
        let id = TicketId::of(&binding, now, state.asked);
        let lifetime = i64::try_from(self.0.lifetime.as_micros()).unwrap_or(i64::MAX);
        let expires = Timestamp::from_micros(now.as_micros().saturating_add(lifetime));
        let ticket = Ticket::new(id, binding, requester.clone(), terms, (now, expires));
        let call = Awaiting {
            ticket: id,
            tool: contract.id().clone(),
            chain: chain.callers().iter().map(|caller| caller.id().clone()).collect(),
            arguments: arguments.clone(),
            expires,
        };
        state.tickets.insert(id, Held { ticket, call });
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // INVARIANT: each change is one operation on a ticket or the map, so a poisoned state is still whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn is_open(&self, now: Timestamp) -> bool {
        !self.ticket.state().is_settled() && now < self.ticket.expires()
    }
}

impl fmt::Debug for Approvals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().tickets.keys()).finish()
    }
}

/// What a consent is bound to. Each part has its length before it, so that no two calls share one.
fn binding(chain: &CallChain, contract: &ToolContract, arguments: &Arguments) -> Digest {
    let mut bytes = Vec::new();
    let mut part = |text: &[u8]| {
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(text);
    };
    let callers = chain.callers();
    part(&(callers.len() as u64).to_le_bytes());
    callers.iter().for_each(|caller| part(caller.id().as_str().as_bytes()));
    // The digest of the contract covers what answers the calls.
    part(contract.digest().as_bytes());
    part(arguments.canonical());
    Digest::of(DOMAIN, &bytes)
}
