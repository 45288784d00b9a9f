//! The policy sets that a recording says were in force.

use std::collections::BTreeMap;

use agent_primitives::Digest;

use super::Cause;
use crate::policy::{Policy, PolicySet, Standing};
use crate::recorder::{Body, Event};

/// Most sets of one kernel that are kept; the oldest go first, and what they decided counts as dropped.
const MAX_SETS: usize = 4096;

/// The sets of the kernel that the record is in, by generation.
#[derive(Default)]
pub(super) struct Sets {
    /// `None` for a set that does not load here.
    sets: BTreeMap<u64, Option<PolicySet>>,
    /// The generations whose widening was forced.
    forced: Vec<u64>,
}

impl Sets {
    /// Takes in an event that puts a set in force.
    pub(super) fn fold(&mut self, event: &Event<'_>) {
        match &event.body {
            Body::Boot { policy, document } => {
                *self = Self::default();
                self.add(1, *policy, document);
            }
            Body::Reload { generation, policy, document, forced } => {
                self.add(*generation, *policy, document);
                if *forced {
                    self.forced.push(*generation);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, generation: u64, digest: Digest, document: &[u8]) {
        let document = serde_json::from_slice(document).ok();
        let set = document.and_then(|document| PolicySet::from_document("recorded", &document).ok());
        self.sets.insert(generation, set.filter(|set| set.digest() == digest));
        if MAX_SETS < self.sets.len() {
            self.sets.pop_first();
        }
    }

    fn set(&self, generation: u64) -> Result<&PolicySet, Cause> {
        match self.sets.get(&generation) {
            Some(Some(set)) => Ok(set),
            Some(None) => Err(Cause::Policy),
            None => Err(Cause::Dropped),
        }
    }

    /// What an agent that was spawned under one generation is judged by under another, as its kernel puts it together.
    ///
    /// A decision names its generation: what was judged just before a reload may stand behind it on record.
    pub(super) fn standing<'a>(
        &'a self,
        generation: u64,
        spawned_under: u64,
        tasks: &'a [Policy],
    ) -> Result<Standing<'a>, Cause> {
        let current = self.set(generation)?;
        let forced = self.forced.iter().rev().find(|forced| **forced <= generation);
        let earlier = forced.filter(|forced| spawned_under < **forced).unwrap_or(&spawned_under);
        let earlier = self.set(*earlier)?;
        let spawned_under = (earlier.digest() != current.digest()).then_some(earlier);
        Ok(Standing::new(generation, current, spawned_under, tasks))
    }
}
