//! Approval tickets: a human's consent to one exact call, as a state machine without a clock, a store or a lock.
//!
//! A ticket is bound to a digest of everything that would happen, is good until it expires, and is used up by the call it
//! was given for. What each operation does in each state, once a ticket past its expiry has become `Expired`:
//!
//! | state | grant | refuse | revoke | take |
//! | --- | --- | --- | --- | --- |
//! | `Pending` | `Pending`, or `Granted` once every quorum is met | `Refused` | `Revoked` | error |
//! | `Granted` | error | error | `Revoked` | `Used` when the scope is once, else `Granted` |
//! | `Refused`, `Expired`, `Revoked`, `Used` | error | error | error | error |
//!
//! An operation that is an error changes nothing. No state is left again once it is one of the last four.

mod principal;
mod terms;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use principal::Principal;
pub use terms::{Grant, MAX_QUORUM, MAX_QUORUMS, Quorum, Scope, Terms, TooManyQuorums};

use crate::{AgentId, Digest, Timestamp};

/// Names a ticket. Prints and parses as 32 lower-case hex digits.
///
/// Knowing it gives no right: a ticket is used by the agent and the call it is bound to, and granted by a principal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketId([u8; 16]);

impl TicketId {
    /// From raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id of the `number`th ticket asked for at `asked` under a binding.
    #[must_use]
    pub fn of(binding: &Digest, asked: Timestamp, number: u64) -> Self {
        let parts = [&binding.as_bytes()[..], &asked.as_micros().to_be_bytes(), &number.to_be_bytes()];
        let digest = Digest::of("agent-os ticket id v1", &parts.concat());
        let mut id = [0; 16];
        id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        Self(id)
    }
}

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TicketId({self})")
    }
}

/// Text that names no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ticket is named by 32 lower-case hex digits")]
pub struct BadTicketId;

impl FromStr for TicketId {
    type Err = BadTicketId;

    fn from_str(text: &str) -> Result<Self, BadTicketId> {
        let mut id = [0u8; 16];
        let digits: Option<Vec<u8>> = text
            .bytes()
            .map(|byte| match byte {
                b'0'..=b'9' => Some(byte - b'0'),
                b'a'..=b'f' => Some(byte - b'a' + 10),
                _ => None,
            })
            .collect();
        let digits = digits.filter(|digits| digits.len() == 2 * id.len()).ok_or(BadTicketId)?;
        for (slot, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            let &[high, low] = pair else { return Err(BadTicketId) };
            *slot = high << 4 | low;
        }
        Ok(Self(id))
    }
}

impl Serialize for TicketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for TicketId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 16]>::deserialize(deserializer).map(Self);
        }
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a ticket stands. Exhaustive on purpose: whoever looks at one must handle each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TicketState {
    /// It waits for grants.
    Pending,
    /// Every quorum is met.
    Granted,
    /// Somebody who could have granted it said no.
    Refused,
    /// Its time ran out before it was used.
    Expired,
    /// It was withdrawn: by the host, or because its agent ended.
    Revoked,
    /// The call it was for has been let through.
    Used,
}

impl TicketState {
    /// The state in one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Used => "used",
        }
    }

    /// Whether nothing can change it any more.
    #[must_use]
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Pending | Self::Granted)
    }
}

impl fmt::Display for TicketState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an operation on a ticket did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// The state does not allow it.
    #[error("the ticket is {0}")]
    State(TicketState),
    /// The one who asked cannot answer.
    #[error("who asks cannot be who agrees")]
    OwnRequest,
    /// The principal is none of those whose word counts.
    #[error("the word of this principal does not count here")]
    NotAnApprover,
    /// The principal has agreed already, or every quorum it counts for is met.
    #[error("this grant adds nothing")]
    NothingToAdd,
    /// The grant is for more than the ticket may be granted for.
    #[error("the ticket can be granted for {0} at most")]
    ScopeTooWide(Scope),
    /// It is bound to another call.
    #[error("the ticket is for another call")]
    OtherCall,
    /// It was granted for an earlier life of the agent.
    #[error("the ticket is for an earlier life of the agent")]
    OtherLife,
}

/// One ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    id: TicketId,
    binding: Digest,
    requester: AgentId,
    terms: Terms,
    asked: Timestamp,
    expires: Timestamp,
    state: TicketState,
    grants: Vec<Grant>,
}

impl Ticket {
    /// A pending ticket. One that expires at or before the moment it is asked for is expired from the start.
    #[must_use]
    pub fn new(
        id: TicketId,
        binding: Digest,
        requester: AgentId,
        terms: Terms,
        (asked, expires): (Timestamp, Timestamp),
    ) -> Self {
        let (state, grants) = (TicketState::Pending, Vec::new());
        let mut ticket = Self { id, binding, requester, terms, asked, expires, state, grants };
        ticket.expire(asked);
        ticket
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> TicketId {
        self.id
    }

    /// Digest of the call it is for.
    #[must_use]
    pub fn binding(&self) -> Digest {
        self.binding
    }

    /// The agent that asked.
    #[must_use]
    pub fn requester(&self) -> &AgentId {
        &self.requester
    }

    /// Who has to agree, and to how much they may.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// When it was asked for.
    #[must_use]
    pub fn asked(&self) -> Timestamp {
        self.asked
    }

    /// From when on it is worth nothing.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Where it stands, as of the last operation.
    #[must_use]
    pub fn state(&self) -> TicketState {
        self.state
    }

    /// The grants so far, each of another principal.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// How much was agreed to: the least of what the grants say; the least there is when there are none.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.grants.iter().map(|grant| grant.scope).min().unwrap_or(Scope::Once)
    }

    /// Expires the ticket if its time is over. `true` if this did it.
    pub fn expire(&mut self, at: Timestamp) -> bool {
        let over = self.expires <= at && !self.state.is_settled();
        if over {
            self.state = TicketState::Expired;
        }
        over
    }

    /// Adds the consent of one principal.
    ///
    /// # Errors
    /// The ticket is not pending, the principal is the requester, its word does not count or adds nothing, or the scope is
    /// wider than the terms allow.
    pub fn grant(&mut self, grant: Grant) -> Result<TicketState, TicketError> {
        self.answerable(&grant.by, &grant.groups, grant.at)?;
        if self.terms.scope() < grant.scope {
            return Err(TicketError::ScopeTooWide(self.terms.scope()));
        }
        let known = self.grants.iter().any(|earlier| earlier.by == grant.by);
        let quorums = self.terms.quorums().iter();
        let mut open = quorums.filter(|quorum| !quorum.is_met(&self.grants));
        if known || !open.any(|quorum| quorum.counts(&grant.by, &grant.groups)) {
            return Err(TicketError::NothingToAdd);
        }
        self.grants.push(grant);
        if self.terms.quorums().iter().all(|quorum| quorum.is_met(&self.grants)) {
            self.state = TicketState::Granted;
        }
        Ok(self.state)
    }

    /// Refuses it, on the word of somebody who could have granted it.
    ///
    /// # Errors
    /// The ticket is not pending, or the principal's word does not count.
    pub fn refuse(&mut self, by: &Principal, groups: &[Principal], at: Timestamp) -> Result<(), TicketError> {
        self.answerable(by, groups, at)?;
        self.state = TicketState::Refused;
        Ok(())
    }

    /// Withdraws it, granted or not.
    ///
    /// # Errors
    /// Nothing can change it any more.
    pub fn revoke(&mut self, at: Timestamp) -> Result<(), TicketError> {
        self.expire(at);
        if self.state.is_settled() {
            return Err(TicketError::State(self.state));
        }
        self.state = TicketState::Revoked;
        Ok(())
    }

    /// Uses it for the call `binding` stands for. A ticket whose scope is once lets one caller through; `same_life` says
    /// whether the agent lives the life it asked in, outside of which a task's consent is worth nothing.
    ///
    /// # Errors
    /// The ticket is not granted, is for another call, or for an earlier life.
    pub fn take(&mut self, binding: &Digest, same_life: bool, at: Timestamp) -> Result<(), TicketError> {
        self.expire(at);
        if *binding != self.binding {
            return Err(TicketError::OtherCall);
        }
        if self.state != TicketState::Granted {
            return Err(TicketError::State(self.state));
        }
        match self.scope() {
            Scope::Once => self.state = TicketState::Used,
            Scope::Task if !same_life => return Err(TicketError::OtherLife),
            Scope::Task | Scope::Session => {}
        }
        Ok(())
    }

    fn answerable(&mut self, by: &Principal, groups: &[Principal], at: Timestamp) -> Result<(), TicketError> {
        self.expire(at);
        if self.state != TicketState::Pending {
            return Err(TicketError::State(self.state));
        }
        if by.as_str() == self.requester.as_str() {
            return Err(TicketError::OwnRequest);
        }
        if !self.terms.quorums().iter().any(|quorum| quorum.counts(by, groups)) {
            return Err(TicketError::NotAnApprover);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
