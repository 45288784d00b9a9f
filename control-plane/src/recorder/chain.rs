//! One chain for each life of an agent.
//!
//! Every event names the digest of the event before it in the same life, so the history of one agent can be shown whole
//! without those of the others. What the kernel and the host do, and every step of an approval, is on a chain of the kernel's own,
//! which begins anew with each process. What is judged for a host that carries it out elsewhere is of no life and on no chain.
//! The digest is a field of the event, so no hash is computed for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use agent_primitives::{Digest, Timestamp};
use emk::{EntryKind, Finding, Record};

use super::EVENT_VERSION;

/// Most lives of one process that a verification follows. An agent has one for each time it is spawned.
pub const MAX_LIVES: usize = 1 << 20;
/// Code of a record that is no event.
pub(super) const NOT_AN_EVENT: &str = "AK0840";

/// The end of a chain: the digest of its last event.
#[derive(Debug)]
pub(super) struct Chain(Mutex<Digest>);

impl Default for Chain {
    fn default() -> Self {
        Self(Mutex::new(Digest::ZERO))
    }
}

impl Chain {
    /// Holds the end until the next event is appended, so that a chain has no forks.
    pub(super) fn lock(&self) -> MutexGuard<'_, Digest> {
        // INVARIANT: the end moves only after an event was appended.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which chain an event is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The kernel's own.
    Kernel,
    /// That of a life.
    Life,
    /// None.
    Nobody,
}

impl Whose {
    pub(super) const fn of(agent: &str, generation: u64, is_approval: bool) -> Self {
        match generation {
            _ if agent.is_empty() || is_approval => Self::Kernel,
            0 => Self::Nobody,
            _ => Self::Life,
        }
    }
}

/// Checks the chains of a recording as its records stream by, from the fields before the body.
#[derive(Debug)]
pub(super) struct Lives {
    /// Whether earlier records are missing, so that an unknown life need not be a new one.
    partial: bool,
    kernel: Option<Digest>,
    /// Ends of chains, by generation; names beside it for the rare case that two lives share one.
    lives: HashMap<u64, Vec<(Box<str>, Digest)>>,
}

/// The first fields of an event.
type Front<'a> = (u8, Timestamp, &'a str, u64, u64, Digest);

// Numbers of `Body` variants, which `event/pinned.rs` pins.
const BOOT: u8 = 0;
const SPAWN: u8 = 1;
const RECOVERED: u8 = 11;
const APPROVAL: u8 = 15;

impl Lives {
    /// Begins with record number `first`.
    pub(super) fn new(first: u64) -> Self {
        Self { partial: first != 0, kernel: None, lives: HashMap::new() }
    }

    pub(super) fn check(&mut self, record: &Record<'_>) -> Result<(), Finding> {
        if record.kind != EntryKind::Event {
            return Ok(());
        }
        let not = |reason: &str| Finding::Body { code: NOT_AN_EVENT, reason: reason.to_owned() };
        let front = postcard::take_from_bytes::<Front<'_>>(record.body);
        let (front, body) = front.map_err(|_| not("the record is no event"))?;
        let (version, _, agent, generation, _, previous) = front;
        if version != EVENT_VERSION {
            return Err(not("the record is an event of another version"));
        }
        let kind = *body.first().ok_or_else(|| not("the record is no event"))?;
        match Whose::of(agent, generation, kind == APPROVAL) {
            Whose::Kernel => self.check_kernel(kind, previous, record.content_id),
            Whose::Life => self.check_life(kind, agent, generation, previous, record.content_id),
            Whose::Nobody if previous == Digest::ZERO => Ok(()),
            Whose::Nobody => Err(broken(agent)),
        }
    }

    fn check_kernel(&mut self, kind: u8, previous: Digest, id: Digest) -> Result<(), Finding> {
        let starts = matches!(kind, BOOT | RECOVERED) && previous == Digest::ZERO;
        let follows = match self.kernel {
            Some(last) => previous == last,
            None => self.partial,
        };
        if !starts && !follows {
            return Err(broken("the kernel"));
        }
        if starts {
            // The process before is gone, and with it everything that lived in it.
            self.lives.clear();
        }
        self.kernel = Some(id);
        Ok(())
    }

    fn check_life(
        &mut self,
        kind: u8,
        agent: &str,
        generation: u64,
        previous: Digest,
        id: Digest,
    ) -> Result<(), Finding> {
        let full = self.lives.len() == MAX_LIVES && !self.lives.contains_key(&generation);
        if full {
            let reason = format!("more than {MAX_LIVES} lives of one process cannot be followed");
            return Err(Finding::Body { code: "AK0843", reason });
        }
        let sharing = self.lives.entry(generation).or_default();
        let Some((_, last)) = sharing.iter_mut().find(|(name, _)| **name == *agent) else {
            if previous != Digest::ZERO && !self.partial {
                return Err(broken(agent));
            }
            sharing.push((agent.into(), id));
            return Ok(());
        };
        let begins = kind == SPAWN && previous == Digest::ZERO;
        if previous != *last && !begins {
            return Err(broken(agent));
        }
        *last = id;
        Ok(())
    }
}

fn broken(whose: &str) -> Finding {
    let reason = format!("the event does not follow from the one before of `{whose}`");
    Finding::Body { code: "AK0842", reason }
}
