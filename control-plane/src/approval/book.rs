//! The tickets of one kernel: what is pending, granted and lately settled. One lock, no clock, no disk.

use std::collections::{HashMap, VecDeque};

use agent_primitives::ticket::{Grant, Principal, Terms, TicketError, TicketState};
use agent_primitives::{AgentId, Digest, LabelSet, TenantId, Ticket, TicketId, Timestamp};

use super::desk::News;
use super::{ApprovalError, MAX_SETTLED, MAX_TICKETS, MAX_TICKETS_PER_AGENT, Request};
use crate::denial::Reason;
use crate::recorder::ApprovalStep;

/// A call that needs consent.
#[derive(Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) agent: &'a AgentId,
    pub(crate) generation: u64,
    pub(crate) tenant: Option<&'a TenantId>,
    pub(crate) labels: &'a LabelSet,
    pub(crate) binding: Digest,
    pub(crate) terms: Terms,
    /// How long a ticket for it is good from when it was asked for, in microseconds.
    pub(crate) good_for: i64,
}

/// Proof that a granted ticket was taken for a call. Only [`Book::claim`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a ticket was used up for it"]
pub(crate) struct Consent(TicketId);

impl Consent {
    pub(crate) fn ticket(self) -> TicketId {
        self.0
    }
}

/// What the book says to a call that needs consent.
#[derive(Debug)]
#[must_use = "a call is let through, held or refused"]
pub(crate) enum Claim {
    Taken(Consent),
    Held { ticket: TicketId, expires: Timestamp },
    No(Reason),
}

#[derive(Debug)]
struct Entry {
    request: Request,
    /// Whether humans were told in this process.
    told: bool,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    entries: HashMap<TicketId, Entry>,
    /// The latest ticket for each call.
    by_call: HashMap<Digest, TicketId>,
    /// Settled tickets, the oldest first.
    settled: VecDeque<TicketId>,
    /// Forgotten, and still in the store.
    forgotten: Vec<TicketId>,
    /// Settled by the book itself, and not so in the store.
    unsaved: Vec<TicketId>,
    news: Vec<News>,
    asked: u64,
}

impl Book {
    /// Takes in what was kept, the oldest first.
    pub(super) fn restore(mut requests: Vec<Request>, at: Timestamp) -> Self {
        requests.sort_by_key(|request| (request.asked(), request.id()));
        let mut book = Self::default();
        for request in requests {
            let (id, state) = (request.id(), request.state());
            book.by_call.insert(request.ticket.binding(), id);
            book.entries.insert(id, Entry { request, told: false });
            if state.is_settled() {
                book.settle(id);
            }
        }
        book.expire(at);
        book
    }

    pub(super) fn get(&self, ticket: TicketId) -> Option<&Request> {
        self.entries.get(&ticket).map(|entry| &entry.request)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Request> {
        self.entries.values().map(|entry| &entry.request)
    }

    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    pub(super) fn take_forgotten(&mut self) -> Vec<TicketId> {
        std::mem::take(&mut self.forgotten)
    }

    /// What has to be written besides what was asked for.
    pub(super) fn take_unsaved(&mut self) -> Vec<Request> {
        let unsaved = std::mem::take(&mut self.unsaved);
        unsaved.into_iter().filter_map(|ticket| self.get(ticket).cloned()).collect()
    }

    pub(super) fn put_back_unsaved(&mut self, requests: &[Request]) {
        self.unsaved.extend(requests.iter().map(Request::id));
    }

    pub(super) fn put_back_forgotten(&mut self, tickets: &[TicketId]) {
        self.forgotten.extend_from_slice(tickets);
    }

    /// `true` for the one caller who is to tell humans of it.
    pub(super) fn tell(&mut self, ticket: TicketId) -> bool {
        self.entries.get_mut(&ticket).is_some_and(|entry| !std::mem::replace(&mut entry.told, true))
    }

    /// Somebody was to tell humans of it and gave up: the next one is to.
    pub(super) fn untell(&mut self, ticket: TicketId) {
        if let Some(entry) = self.entries.get_mut(&ticket) {
            entry.told = false;
        }
    }

    /// Expires what is over. Cheap enough to be done on every look: there are at most [`MAX_TICKETS`].
    pub(super) fn expire(&mut self, at: Timestamp) {
        let mut over = Vec::new();
        for entry in self.entries.values_mut() {
            if entry.request.ticket.expire(at) {
                over.push((entry.request.expires(), entry.request.id()));
            }
        }
        // So that equal runs leave equal records.
        over.sort_unstable();
        for (_, ticket) in over {
            self.tell_of(ticket, ApprovalStep::Expired, "", "");
            self.unsaved.push(ticket);
            self.settle(ticket);
        }
    }

    /// Takes a granted ticket for the call, or says why there is none. With `presented` that ticket or none; without it the
    /// latest for this call, or a new one, which `show` describes. Without `take` none is used up: a granted one is held.
    pub(super) fn claim(
        &mut self,
        ask: Ask<'_>,
        presented: Option<TicketId>,
        take: bool,
        at: Timestamp,
        show: impl FnOnce() -> (String, Vec<String>),
    ) -> Claim {
        self.expire(at);
        if let Some(ticket) = presented {
            return match self.take(&ask, ticket, at) {
                Ok(consent) => Claim::Taken(consent),
                Err(error) => Claim::No(why_not(error)),
            };
        }
        if let Some(ticket) = self.by_call.get(&ask.binding).copied() {
            if let Some(request) = self.get(ticket).filter(|request| !take && is_granted(request)) {
                return Claim::Held { ticket, expires: request.expires() };
            }
            match self.take(&ask, ticket, at) {
                Ok(consent) => return Claim::Taken(consent),
                Err(TicketError::State(TicketState::Pending)) if self.fits(ticket, &ask) => {
                    if let Some(request) = self.get(ticket) {
                        return Claim::Held { ticket, expires: request.expires() };
                    }
                }
                Err(TicketError::State(TicketState::Refused)) if self.stands(ticket, at) => {
                    return Claim::No(Reason::ApprovalRefused);
                }
                // What cannot be used any more, or asks for less than is needed now, is asked for anew.
                Err(_) => self.withdraw(ticket, at, "another one takes its place"),
            }
        }
        self.open(ask, at, show)
    }

    /// Whether the latest ticket for a call waits to be used.
    pub(super) fn is_granted(&self, binding: Digest) -> bool {
        self.by_call.get(&binding).and_then(|ticket| self.get(*ticket)).is_some_and(is_granted)
    }

    fn take(&mut self, ask: &Ask<'_>, ticket: TicketId, at: Timestamp) -> Result<Consent, TicketError> {
        let entry = self.entries.get_mut(&ticket).ok_or(TicketError::OtherCall)?;
        let request = &mut entry.request;
        let held = &request.ticket;
        // Policy may want more now than when the question was put: more consent, less scope, less time.
        let granted = held.state() == TicketState::Granted;
        let met = ask.terms.quorums().iter().all(|quorum| quorum.is_met(held.grants()));
        let late = held.asked().as_micros().saturating_add(ask.good_for) <= at.as_micros();
        if granted && held.binding() == ask.binding && (!met || late || ask.terms.scope() < held.scope()) {
            return Err(TicketError::OtherCall);
        }
        request.ticket.take(&ask.binding, request.generation == ask.generation, at)?;
        let used = request.ticket.state() == TicketState::Used;
        self.tell_of(ticket, ApprovalStep::Used, "", "");
        if used {
            self.settle(ticket);
        }
        Ok(Consent(ticket))
    }

    /// Whether a pending ticket asks for what is needed now.
    fn fits(&self, ticket: TicketId, ask: &Ask<'_>) -> bool {
        self.get(ticket).is_some_and(|request| {
            let span = request.expires().as_micros().saturating_sub(request.asked().as_micros());
            *request.terms() == ask.terms && span <= ask.good_for
        })
    }

    /// Whether a settled ticket would not have expired yet.
    fn stands(&self, ticket: TicketId, at: Timestamp) -> bool {
        self.get(ticket).is_some_and(|request| at < request.expires())
    }

    fn open(&mut self, ask: Ask<'_>, at: Timestamp, show: impl FnOnce() -> (String, Vec<String>)) -> Claim {
        let open = || self.all().filter(|request| !request.state().is_settled());
        let own = open().filter(|request| request.agent() == ask.agent).count();
        if MAX_TICKETS_PER_AGENT <= own || MAX_TICKETS <= open().count() {
            return Claim::No(Reason::ApprovalsFull);
        }
        let expires = Timestamp::from_micros(at.as_micros().saturating_add(ask.good_for));
        let id = loop {
            self.asked = self.asked.wrapping_add(1);
            let id = TicketId::of(&ask.binding, at, self.asked);
            if !self.entries.contains_key(&id) {
                break id;
            }
        };
        let (what, rules) = show();
        let ticket = Ticket::new(id, ask.binding, ask.agent.clone(), ask.terms, (at, expires));
        let (tenant, labels) = (ask.tenant.cloned(), ask.labels.clone());
        let request = Request { ticket, what, rules, tenant, labels, generation: ask.generation };
        self.by_call.insert(ask.binding, id);
        self.entries.insert(id, Entry { request, told: false });
        self.tell_of(id, ApprovalStep::Asked, "", "");
        Claim::Held { ticket: id, expires }
    }

    pub(super) fn grant(&mut self, ticket: TicketId, grant: Grant) -> Result<TicketState, ApprovalError> {
        self.expire(grant.at);
        let entry = self.entries.get_mut(&ticket).ok_or(ApprovalError::Unknown(ticket))?;
        let (by, scope) = (grant.by.clone(), grant.scope);
        let state = entry.request.ticket.grant(grant).map_err(|error| ApprovalError::of(error, &by))?;
        self.tell_of(ticket, ApprovalStep::Granted, by.as_str(), scope.name());
        Ok(state)
    }

    pub(super) fn refuse(
        &mut self,
        ticket: TicketId,
        (by, groups): (&Principal, &[Principal]),
        at: Timestamp,
        reason: &str,
    ) -> Result<(), ApprovalError> {
        self.expire(at);
        let entry = self.entries.get_mut(&ticket).ok_or(ApprovalError::Unknown(ticket))?;
        let refused = entry.request.ticket.refuse(by, groups, at);
        refused.map_err(|error| ApprovalError::of(error, by))?;
        self.tell_of(ticket, ApprovalStep::Refused, by.as_str(), reason);
        self.settle(ticket);
        Ok(())
    }

    pub(super) fn revoke(
        &mut self,
        ticket: TicketId,
        at: Timestamp,
        reason: &str,
    ) -> Result<(), ApprovalError> {
        self.expire(at);
        let entry = self.entries.get_mut(&ticket).ok_or(ApprovalError::Unknown(ticket))?;
        entry.request.ticket.revoke(at).map_err(|_settled| ApprovalError::State(entry.request.state()))?;
        self.tell_of(ticket, ApprovalStep::Revoked, "", reason);
        self.settle(ticket);
        Ok(())
    }

    /// Revokes a ticket if that means anything.
    pub(super) fn withdraw(&mut self, ticket: TicketId, at: Timestamp, reason: &str) {
        if self.revoke(ticket, at, reason).is_ok() {
            self.unsaved.push(ticket);
        }
    }

    /// Puts a ticket that nothing can change any more behind those settled before, and forgets the oldest beyond the bound.
    fn settle(&mut self, ticket: TicketId) {
        self.settled.push_back(ticket);
        while MAX_SETTLED < self.settled.len() {
            let Some(oldest) = self.settled.pop_front() else { return };
            if let Some(entry) = self.entries.remove(&oldest) {
                let binding = entry.request.ticket.binding();
                if self.by_call.get(&binding) == Some(&oldest) {
                    self.by_call.remove(&binding);
                }
                self.unsaved.retain(|unsaved| *unsaved != oldest);
                self.forgotten.push(oldest);
            }
        }
    }

    fn tell_of(&mut self, ticket: TicketId, step: ApprovalStep, by: &str, reason: &str) {
        if let Some(Entry { request, .. }) = self.entries.get(&ticket) {
            self.news.push(News {
                ticket,
                step,
                agent: request.agent().clone(),
                generation: request.generation,
                binding: request.ticket.binding(),
                by: by.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
}

fn is_granted(request: &Request) -> bool {
    request.state() == TicketState::Granted
}

/// What an agent hears of a ticket it presented and cannot use.
fn why_not(error: TicketError) -> Reason {
    match error {
        TicketError::State(TicketState::Pending) => Reason::ApprovalPending,
        TicketError::State(TicketState::Refused) => Reason::ApprovalRefused,
        TicketError::State(TicketState::Expired) => Reason::ApprovalExpired,
        TicketError::State(TicketState::Revoked) => Reason::ApprovalRevoked,
        TicketError::State(TicketState::Used) => Reason::ApprovalUsed,
        // One that is unknown and one that is another's look the same from outside.
        _ => Reason::ApprovalMismatch,
    }
}
