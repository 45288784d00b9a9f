//! What leaves of what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use agent_primitives::detect::{self, Kind, KindSet, injection};
use agent_primitives::text::Limits;
use agent_primitives::{Label, LabelSet};

use super::audit::Withheld;
use super::{Allowance, Denied};
use crate::index::Findings;
use crate::model::{Chunk, Found, Metadata, Scores};

/// What happens to a chunk in which something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It leaves as it is, labelled `pii` or `secret`.
    Allow,
    /// It leaves with `[kind]` in the place of what was found, and labelled as well: a detector does not know everything.
    Redact,
    /// It stays, and the rest of the answer leaves.
    Withhold,
    /// The whole answer stays.
    Deny,
}

/// What happens to what was found, by kind. What is not listed leaves as it is, unlabelled. The default is [`Release::usual`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// For personal data and secrets.
    pub sensitive: BTreeMap<Kind, Action>,
    /// For wording that resembles orders to a model; `Redact` withholds, as there is nothing to take out. The chunk is
    /// labelled `untrusted` if it leaves. It is a heuristic, so nothing else should rest on it.
    pub orders: Option<Action>,
}

impl Release {
    /// Cards, accounts, social security numbers, keys and secrets are taken out, and what resembles orders is labelled.
    #[must_use]
    pub fn usual() -> Self {
        let kinds =
            [Kind::Card, Kind::Iban, Kind::Ssn, Kind::Key, Kind::Jwt, Kind::PrivateKey, Kind::Credential];
        Self { sensitive: kinds.map(|kind| (kind, Action::Redact)).into(), orders: Some(Action::Allow) }
    }

    /// Everything leaves as it is: nothing is looked for.
    #[must_use]
    pub const fn unscanned() -> Self {
        Self { sensitive: BTreeMap::new(), orders: None }
    }
}

impl Default for Release {
    fn default() -> Self {
        Self::usual()
    }
}

/// What leaves, and what does not.
pub(super) fn release(
    mut findings: Findings,
    allowance: &Allowance,
) -> Result<(Findings, Vec<Withheld>), Denied> {
    let (mut hits, mut withheld, mut bytes) = (Vec::new(), Vec::new(), 0usize);
    for hit in findings.hits {
        let chunk = hit.chunk.id;
        let released = match looked_at(hit, &allowance.release)? {
            Ok(released) => released,
            Err(reason) => {
                withheld.push(reason);
                continue;
            }
        };
        let size = bytes.saturating_add(released.chunk.text.len());
        if hits.len() == allowance.chunks || allowance.bytes < size {
            withheld.push(Withheld::TooMuch(chunk));
            continue;
        }
        bytes = size;
        hits.push(released);
    }
    for (rank, hit) in (1..).zip(&mut hits) {
        hit.rank = rank;
        // Their texts were not looked at.
        hit.duplicates.clear();
        // They would tell how many documents hold a word, hidden ones included.
        hit.scores =
            Scores { recency: hit.scores.recency, age_unknown: hit.scores.age_unknown, ..Scores::default() };
    }
    findings.hits = hits;
    Ok((findings, withheld))
}

/// A hit as it leaves, or why it does not.
fn looked_at(mut hit: Found, release: &Release) -> Result<Result<Found, Withheld>, Denied> {
    let id = hit.chunk.id;
    if hit.chunk.outline.is_some() {
        // It is made of other chunks, which may be withheld, and is for search alone.
        hit.chunk = Arc::new(Chunk { outline: None, ..(*hit.chunk).clone() });
    }
    let mut labels: Vec<&str> = Vec::new();
    let mut redacted: Vec<(Range<usize>, Kind)> = Vec::new();
    let texts = shown(&hit);
    for (kind, action) in &release.sensitive {
        let set = KindSet::EMPTY.with(*kind);
        let in_text: Vec<Range<usize>> =
            detect::scan(&hit.chunk.text, set).map(|found| found.range).collect();
        if in_text.is_empty() && !is_in(&texts, *kind) {
            continue;
        }
        match action {
            Action::Deny => return Err(Denied::Content(*kind)),
            Action::Withhold => return Ok(Err(Withheld::Sensitive(id, *kind))),
            Action::Redact if in_text.is_empty() => return Ok(Err(Withheld::Sensitive(id, *kind))),
            Action::Redact => redacted.extend(in_text.into_iter().map(|range| (range, *kind))),
            Action::Allow => {}
        }
        labels.push(label(*kind));
    }
    if let Some(action) = release.orders
        && texts.iter().any(|text| injection::look(text, &Limits::default()).is_flagged())
    {
        if action != Action::Allow {
            return Ok(Err(Withheld::Orders(id)));
        }
        labels.push(Label::UNTRUSTED);
    }
    if !redacted.is_empty() {
        let kinds: BTreeSet<Kind> = redacted.iter().map(|(_, kind)| *kind).collect();
        hit.chunk = Arc::new(without(&hit.chunk, redacted));
        // What is still there in a disguise, or in the title, cannot be taken out.
        if let Some(left) = kinds.into_iter().find(|kind| is_in(&shown(&hit), *kind)) {
            return Ok(Err(Withheld::Sensitive(id, left)));
        }
    }
    match add_labels(&mut hit, &labels) {
        Ok(()) => Ok(Ok(hit)),
        // A chunk whose labels cannot be said does not leave without them.
        Err(()) => Ok(Err(Withheld::TooMuch(id))),
    }
}

/// Whether something of a kind is in a text, in a disguise too. A text that could not be looked at to the end counts as one
/// that holds it.
fn is_in(texts: &[String], kind: Kind) -> bool {
    let set = KindSet::EMPTY.with(kind);
    texts.iter().any(|text| !matches!(detect::find(text, set, &Limits::default()), Ok(None)))
}

/// Everything of a hit that a reader sees: its text, and what stands around it.
fn shown(hit: &Found) -> Vec<String> {
    let Metadata { source, attributes, .. } = &*hit.metadata;
    let mut around = vec![hit.document.as_str(), &hit.title];
    around.extend([&source.name, &source.url].into_iter().flatten().map(String::as_str));
    around.extend(hit.chunk.path.iter().map(|step| &**step));
    let mut around = around.join("\n");
    for (name, value) in attributes {
        around.push_str(&format!("\n{name}\n{value}"));
    }
    vec![hit.chunk.text.to_string(), around]
}

const fn label(kind: Kind) -> &'static str {
    match kind {
        Kind::Key | Kind::Jwt | Kind::PrivateKey | Kind::Credential => Label::SECRET,
        _ => Label::PII,
    }
}

fn add_labels(hit: &mut Found, labels: &[&str]) -> Result<(), ()> {
    let labels: Vec<Label> =
        labels.iter().map(|label| label.parse()).collect::<Result<_, _>>().map_err(drop)?;
    let added = LabelSet::new(labels).map_err(drop)?;
    if !added.is_empty() {
        let metadata = Arc::make_mut(&mut hit.metadata);
        metadata.labels = metadata.labels.join(&added).map_err(drop)?;
    }
    Ok(())
}

/// The chunk with the kind of what was found in its place.
fn without(chunk: &Chunk, mut found: Vec<(Range<usize>, Kind)>) -> Chunk {
    found.sort_by_key(|(range, _)| (range.start, range.end));
    let (mut text, mut at) = (String::new(), 0);
    for (range, kind) in found {
        if at <= range.start {
            text.push_str(chunk.text.get(at..range.start).unwrap_or_default());
            text.push_str(&format!("[{kind}]"));
        }
        at = at.max(range.end);
    }
    text.push_str(chunk.text.get(at..).unwrap_or_default());
    // Tiers are ranges of a text that is no more; what is left counts as running text.
    let tiers = vec![(crate::model::Tier::Medium, 0..text.len())];
    Chunk { text: text.into(), tiers, outline: None, ..chunk.clone() }
}
