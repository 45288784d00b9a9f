//! Finds the rules that could match, without looking at the others.

use std::collections::HashMap;

use globset::{Glob, GlobSet};
use smallvec::SmallVec;

use super::pattern::Pattern;

/// Numbers of rules, in order and without repeats once [`Index::candidates`] is done.
pub(super) type Candidates = SmallVec<[u32; 32]>;

/// The rules of one system call, by the text they select on (tool id, path, agent id) and then by the caller.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<Box<str>, ByAgent>,
    prefixes: HashMap<Box<str>, ByAgent>,
    /// Length and last byte of each prefix, so that a text is cut only where some prefix could end.
    cuts: Vec<(usize, Option<u8>)>,
    globs: GlobSet,
    /// Parallel to `globs`.
    globbed: Vec<ByAgent>,
}

impl Index {
    /// The rules whose selectors match `text` and may match `agent`, in the order of the document.
    pub(super) fn candidates(&self, text: &str, agent: &str) -> Candidates {
        let mut found = Candidates::new();
        let mut sources = 0;
        if let Some(rules) = self.exact.get(text) {
            sources += rules.collect(agent, &mut found);
        }
        for &(length, last) in &self.cuts {
            let ends_alike = length == 0 || text.as_bytes().get(length - 1).copied() == last;
            if !ends_alike {
                continue;
            }
            if let Some(rules) = text.get(..length).and_then(|prefix| self.prefixes.get(prefix)) {
                sources += rules.collect(agent, &mut found);
            }
        }
        if !self.globs.is_empty() {
            for hit in self.globs.matches(text) {
                if let Some(rules) = self.globbed.get(hit) {
                    sources += rules.collect(agent, &mut found);
                }
            }
        }
        if 1 < sources {
            found.sort_unstable();
            found.dedup();
        }
        found
    }
}

/// Rules that select the same text, split by whether they name their agents.
#[derive(Debug, Default)]
struct ByAgent {
    anyone: Vec<u32>,
    named: HashMap<Box<str>, Vec<u32>>,
}

impl ByAgent {
    /// Appends the rules that may speak about `agent` and returns how many sorted runs that were.
    fn collect(&self, agent: &str, found: &mut Candidates) -> usize {
        let mut runs = 0;
        if !self.anyone.is_empty() {
            found.extend_from_slice(&self.anyone);
            runs += 1;
        }
        if !self.named.is_empty()
            && let Some(rules) = self.named.get(agent)
        {
            found.extend_from_slice(rules);
            runs += 1;
        }
        runs
    }

    fn add(&mut self, rule: u32, agents: Option<&[Pattern]>) {
        for agent in names(agents) {
            let rules = match agent {
                Some(name) => self.named.entry(name.into()).or_default(),
                None => &mut self.anyone,
            };
            if rules.last() != Some(&rule) {
                rules.push(rule);
            }
        }
    }
}

/// The agents a rule names one by one, or a single `None` if any could be meant.
fn names(agents: Option<&[Pattern]>) -> Vec<Option<&str>> {
    fn exact(pattern: &Pattern) -> Option<Option<&str>> {
        if let Pattern::Exact(name) = pattern { Some(Some(name)) } else { None }
    }
    agents.and_then(|agents| agents.iter().map(exact).collect()).unwrap_or_else(|| vec![None])
}

/// Builds an [`Index`]; rules are added in the order of the document.
#[derive(Default)]
pub(super) struct IndexBuilder {
    index: Index,
    /// Where each glob stands in `distinct`.
    places: HashMap<Box<str>, usize>,
    distinct: Vec<Glob>,
}

impl IndexBuilder {
    pub(super) fn add(&mut self, rule: u32, patterns: &[Pattern], agents: Option<&[Pattern]>) {
        for pattern in patterns {
            let rules = match pattern {
                Pattern::Exact(text) => self.index.exact.entry(text.clone()).or_default(),
                Pattern::Prefix(text) => self.prefix(text),
                // Any receiver may be the one that is meant; the rule itself looks.
                Pattern::Kin(_) => self.prefix(""),
                Pattern::Glob(glob) => {
                    let next = self.index.globbed.len();
                    let place = *self.places.entry(glob.glob().into()).or_insert(next);
                    if place == next {
                        self.distinct.push(glob.clone());
                        self.index.globbed.push(ByAgent::default());
                    }
                    match self.index.globbed.get_mut(place) {
                        Some(rules) => rules,
                        None => continue,
                    }
                }
            };
            rules.add(rule, agents);
        }
    }

    fn prefix(&mut self, text: &str) -> &mut ByAgent {
        let cut = (text.len(), text.bytes().next_back());
        if let Err(place) = self.index.cuts.binary_search(&cut) {
            self.index.cuts.insert(place, cut);
        }
        self.index.prefixes.entry(text.into()).or_default()
    }

    pub(super) fn build(mut self) -> Result<Index, globset::Error> {
        self.index.globs = GlobSet::new(&self.distinct)?;
        Ok(self.index)
    }
}
