//! What an agent was refused, and whether it goes in circles.
//!
//! A call that was refused is answered from memory when it comes again, byte for byte, under the same policy, and when the
//! refusal depended on nothing that changes while the agent lives: no rule that could match the call has a condition on
//! labels, time, history or the like. Whatever needs an approval is judged anew each time.

use std::collections::VecDeque;
use std::time::Duration;

use agent_primitives::{Digest, Timestamp, Verdict};

use crate::denial::{Denial, DenialClass};
use crate::history::window;
use crate::policy::request::Request;

/// Most refused calls remembered for one agent; the oldest are forgotten first.
pub const MAX_REFUSALS: usize = 64;
/// So many refusals of one class within [`LOOP_WINDOW`], or failures of one call in a row, raise `SIGLOOP`.
pub const LOOP_AT: usize = 5;
/// How long a refusal counts.
pub const LOOP_WINDOW: Duration = Duration::from_secs(3600);

/// Longest description of a call that is remembered, in bytes.
const MAX_WHAT: usize = 512;

/// The refusals of one agent. Allocates with the first.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Option<Box<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    remembered: VecDeque<Refusal>,
    forbidden: Lately,
    approval: Lately,
    failing: Option<Failing>,
}

/// One refused call.
#[derive(Debug)]
struct Refusal {
    identity: Digest,
    policy: Digest,
    /// Number of the call that was refused first.
    number: u64,
    denial: Denial,
}

/// A call that fails over and over.
#[derive(Debug)]
struct Failing {
    identity: Digest,
    times: usize,
}

/// A refusal that was given before.
#[derive(Debug)]
pub(crate) struct Recalled {
    pub(crate) denial: Denial,
    /// Number of the call that was refused first.
    pub(crate) of: u64,
}

impl Refusals {
    /// The refusal that this request has met before and would meet again, counted once more.
    pub(crate) fn recall(&mut self, policy: Digest, request: &Request) -> Option<Recalled> {
        let kept = self.0.as_deref_mut()?;
        // What is looked for has the same words; only then is it worth a digest.
        if kept.remembered.is_empty() {
            return None;
        }
        let what = request.describe();
        if !kept.remembered.iter().any(|refusal| refusal.denial.what == what) {
            return None;
        }
        let identity = request.identity()?;
        let same = |refusal: &&mut Refusal| refusal.identity == identity && refusal.policy == policy;
        let refusal = kept.remembered.iter_mut().find(same)?;
        refusal.denial.repeats = refusal.denial.repeats.saturating_add(1);
        Some(Recalled { denial: refusal.denial.clone(), of: refusal.number })
    }

    /// Remembers a refusal that stands for as long as the policy does.
    pub(crate) fn remember(&mut self, policy: Digest, request: &Request, denial: &Denial, number: u64) {
        let stands = denial.verdict == Verdict::Deny && denial.class() == DenialClass::Forbidden;
        if !stands || denial.retryable() || MAX_WHAT < denial.what.len() {
            return;
        }
        let Some(identity) = request.identity() else { return };
        let kept = self.0.get_or_insert_default();
        if kept.remembered.len() == MAX_REFUSALS {
            kept.remembered.pop_front();
        }
        kept.remembered.push_back(Refusal { identity, policy, number, denial: denial.clone() });
    }

    /// Counts a refusal. `true`: enough of its class that the agent goes in circles; counting starts over.
    pub(crate) fn count(&mut self, denial: &Denial, now: Timestamp) -> bool {
        // Trying again is then what the agent is told to do.
        if denial.retryable() {
            return false;
        }
        let kept = self.0.get_or_insert_default();
        match denial.class() {
            DenialClass::Forbidden => kept.forbidden.count(now),
            DenialClass::Approval => kept.approval.count(now),
            DenialClass::Limit => false,
        }
    }

    /// Counts a call that failed, of this identity; another one starts over. `true` as for [`Refusals::count`].
    pub(crate) fn failed(&mut self, identity: Digest) -> bool {
        let kept = self.0.get_or_insert_default();
        let times = match &kept.failing {
            Some(failing) if failing.identity == identity => failing.times.saturating_add(1),
            _ => 1,
        };
        let enough = LOOP_AT <= times;
        kept.failing = (!enough).then_some(Failing { identity, times });
        enough
    }

    /// A call did what it was asked.
    pub(crate) fn went_well(&mut self) {
        if let Some(kept) = self.0.as_deref_mut() {
            kept.failing = None;
        }
    }
}

/// Times of the latest refusals of one class, fewer than [`LOOP_AT`].
#[derive(Debug, Default)]
struct Lately(VecDeque<Timestamp>);

impl Lately {
    fn count(&mut self, now: Timestamp) -> bool {
        let since = window(now, LOOP_WINDOW);
        self.0.retain(|time| since < *time);
        self.0.push_back(now);
        let enough = LOOP_AT <= self.0.len();
        if enough {
            self.0.clear();
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;
    use crate::denial::Reason;
    use crate::policy::OnViolation;
    use crate::policy::request::ReadFile;
    use crate::vfs::VfsPath;

    fn read(length: u64) -> Request {
        let path = VfsPath::parse("/a").unwrap();
        Request::Read(ReadFile { path, descriptor: None, offset: None, length, nonblock: false, query: None })
    }

    fn denial(reason: Reason, verdict: Verdict) -> Denial {
        let what = read(1).describe();
        Denial { reason, verdict, rule: None, on_violation: OnViolation::Deny, what, repeats: 0 }
    }

    #[test]
    fn a_refusal_is_recalled_for_the_same_call_under_the_same_policy_only() {
        let (policy, other) = (Policy::deny_all().digest(), Policy::pack("read_only").unwrap().digest());
        let mut refusals = Refusals::default();
        assert!(refusals.recall(policy, &read(1)).is_none());
        refusals.remember(policy, &read(1), &denial(Reason::Unmatched, Verdict::Deny), 7);
        assert!(refusals.recall(policy, &read(2)).is_none(), "another length is another call");
        assert!(refusals.recall(other, &read(1)).is_none(), "another policy may say otherwise");
        let recalled = refusals.recall(policy, &read(1)).unwrap();
        assert_eq!((recalled.of, recalled.denial.repeats()), (7, 1));
    }

    #[test]
    fn what_needs_consent_is_never_recalled() {
        let policy = Policy::deny_all().digest();
        let mut refusals = Refusals::default();
        refusals.remember(policy, &read(1), &denial(Reason::NoApprover, Verdict::Ask), 7);
        assert!(refusals.recall(policy, &read(1)).is_none());
    }

    #[test]
    fn an_agent_that_was_refused_nothing_holds_nothing() {
        assert_eq!(size_of::<Refusals>(), size_of::<usize>());
        let mut refusals = Refusals::default();
        refusals.went_well();
        assert!(refusals.0.is_none());
    }
}
