//! What a tool promises: its name, arguments, effects and limits, under one digest.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use agent_primitives::json::{self, Value};
use agent_primitives::{Digest, Label, LabelSet, Resource, ToolId};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::isolation::{Limits, Permissions, SandboxPolicy};
use crate::labels::OutputLabels;
use crate::path::PathTerms;
use crate::role::{ArgumentRole, Roles};
use crate::schema::SchemaText;

/// Longest description of a tool, in characters.
pub const MAX_DESCRIPTION: usize = 1024;

pub(crate) const DOMAIN: &str = "agent-os atr tool v1";

/// What a tool may do to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// Reads state outside the call.
    Read,
    /// Changes state.
    Write,
    /// Destroys state.
    Delete,
    /// Talks over a network.
    Network,
    /// Touches files.
    Filesystem,
    /// Starts processes.
    Process,
    /// Sends something to people.
    Message,
    /// Moves money.
    Money,
}

impl Effect {
    /// The word used in contracts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Network => "network",
            Self::Filesystem => "filesystem",
            Self::Process => "process",
            Self::Message => "message",
            Self::Money => "money",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Effect {
    /// Every effect there is.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Delete,
        Self::Network,
        Self::Filesystem,
        Self::Process,
        Self::Message,
        Self::Money,
    ];
}

/// A set of effects: one bit each, so that a decision can carry it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectSet(u16);

impl EffectSet {
    /// Whether nothing is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the effect is in the set.
    #[must_use]
    pub const fn contains(self, effect: Effect) -> bool {
        self.0 & 1 << effect as u16 != 0
    }

    /// The effects in the set.
    pub fn iter(self) -> impl Iterator<Item = Effect> {
        Effect::ALL.into_iter().filter(move |effect| self.contains(*effect))
    }

    /// Whether the sets have an effect in common.
    #[must_use]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether every effect of this set is in the other.
    #[must_use]
    pub const fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

impl FromIterator<Effect> for EffectSet {
    fn from_iter<I: IntoIterator<Item = Effect>>(effects: I) -> Self {
        Self(effects.into_iter().fold(0, |bits, effect| bits | 1 << effect as u16))
    }
}

/// What answers the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Endpoint {
    /// A function linked into the host.
    Function,
    /// A child process. The digest covers program, arguments, working directory and the names of its environment
    /// variables; not their values, which may be secrets.
    Process(Digest),
    /// WebAssembly: the digest of its bytes.
    Wasm(Digest),
    /// An image of the container daemon, with the program in it.
    Container(Digest),
    /// Whichever of several programs the isolation that is asked for allows.
    Programs(Digest),
    /// A server that the host talks to. The digest is of what tells that server from others.
    Remote(Digest),
}

/// Where a tool comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Provenance {
    /// Code of the host.
    #[default]
    Native,
    /// A manifest: the digest of its canonical JSON.
    Manifest(Digest),
    /// A server that speaks MCP: the digest of what tells it from others, and of all that it says of the tool.
    Mcp(Digest),
    /// A record that another host has published: the digest of the publisher's key.
    Replica(Digest),
}

impl Provenance {
    fn is_native(&self) -> bool {
        *self == Self::Native
    }
}

/// A tool as policies, people and models see it. Made by registration only, and never changed.
///
/// Serialises as one JSON object with all of it, `digest` included.
#[derive(Clone, Debug, Serialize)]
pub struct ToolContract {
    #[serde(flatten)]
    terms: Terms,
    digest: Digest,
    #[serde(skip)]
    origin: LabelSet,
    #[serde(skip)]
    carried: LabelSet,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Terms {
    pub(crate) id: ToolId,
    pub(crate) version: Version,
    pub(crate) description: String,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) tags: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) capabilities: BTreeSet<String>,
    pub(crate) input_schema: SchemaText,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output_schema: Option<SchemaText>,
    pub(crate) effects: BTreeSet<Effect>,
    pub(crate) idempotent: bool,
    pub(crate) limits: Limits,
    pub(crate) isolation: SandboxPolicy,
    pub(crate) permissions: Permissions,
    pub(crate) endpoint: Endpoint,
    pub(crate) path_arguments: Vec<PathTerms>,
    pub(crate) arguments: Roles,
    pub(crate) output_labels: OutputLabels,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) cost: BTreeMap<Resource, u64>,
    #[serde(skip_serializing_if = "Provenance::is_native")]
    pub(crate) provenance: Provenance,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) secrets: BTreeSet<String>,
}

impl ToolContract {
    pub(crate) fn seal(terms: Terms) -> Result<Self, String> {
        let value = serde_json::to_value(&terms).map_err(|error| error.to_string())?;
        let digest = Digest::of(DOMAIN, &json::canonical(&value).map_err(|error| error.to_string())?);
        // Every tool id fits the alphabet and the length of a label's name.
        let label: Option<Label> = format!("tool:{}", terms.id).parse().ok();
        let origin = LabelSet::new(label).map_err(|error| error.to_string())?;
        let carried = terms.output_labels.whole().join(&origin).map_err(|error| error.to_string())?;
        Ok(Self { terms, digest, origin, carried })
    }

    /// The name of the tool.
    #[must_use]
    pub fn id(&self) -> &ToolId {
        &self.terms.id
    }

    /// The version, by the rules of <https://semver.org>.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.terms.version
    }

    /// Words to find the tool by.
    #[must_use]
    pub fn tags(&self) -> &BTreeSet<String> {
        &self.terms.tags
    }

    /// What the tool is able to do, in the host's own words, such as `calendar.read`.
    #[must_use]
    pub fn capabilities(&self) -> &BTreeSet<String> {
        &self.terms.capabilities
    }

    /// What the tool does, for the model that chooses it.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.terms.description
    }

    /// JSON Schema of the arguments, as enforced: a root that did not say is closed here. It is held as text, and made anew
    /// each time.
    #[must_use]
    pub fn input_schema(&self) -> Value {
        self.terms.input_schema.value()
    }

    /// JSON Schema of the answer, if there is one, made as [`ToolContract::input_schema`] is. An answer that breaks it is not
    /// handed on.
    #[must_use]
    pub fn output_schema(&self) -> Option<Value> {
        self.terms.output_schema.as_ref().map(SchemaText::value)
    }

    /// The isolation that the tool is run with, or not at all.
    #[must_use]
    pub fn isolation(&self) -> SandboxPolicy {
        self.terms.isolation
    }

    /// What the tool's program is let have of the host.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.terms.permissions
    }

    /// What the tool may do to the world; empty when the host declared nothing, which says nothing.
    #[must_use]
    pub fn effects(&self) -> &BTreeSet<Effect> {
        &self.terms.effects
    }

    /// Whether a second call with the same arguments changes nothing more.
    #[must_use]
    pub fn idempotent(&self) -> bool {
        self.terms.idempotent
    }

    /// How much one call may use.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.terms.limits
    }

    /// The most that one call uses of what only the tool knows: tokens and money. Empty when the host declared nothing.
    #[must_use]
    pub fn cost(&self) -> &BTreeMap<Resource, u64> {
        &self.terms.cost
    }

    /// The names of the secrets that the tool is given beside its arguments.
    #[must_use]
    pub fn secrets(&self) -> &BTreeSet<String> {
        &self.terms.secrets
    }

    /// What answers the calls.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.terms.endpoint
    }

    /// What the tool's output carries.
    #[must_use]
    pub fn output_labels(&self) -> &OutputLabels {
        &self.terms.output_labels
    }

    /// The label `tool:<id>`, by which what the tool said is known to come from it.
    #[must_use]
    pub fn origin(&self) -> &LabelSet {
        &self.origin
    }

    /// What everything the tool says carries where no field says otherwise, its failures included: the labels of its whole
    /// output, and [`ToolContract::origin`].
    #[must_use]
    pub fn carried(&self) -> &LabelSet {
        &self.carried
    }

    /// Where the tool comes from.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.terms.provenance
    }

    /// The arguments that decide who, what, where or how much is affected, in ascending byte order.
    #[must_use]
    pub fn authority(&self) -> &[String] {
        self.terms.arguments.authority()
    }

    /// The arguments that are payload, in ascending byte order.
    #[must_use]
    pub fn content(&self) -> &[String] {
        self.terms.arguments.content()
    }

    /// What the argument `name`, a key of the arguments' object, decides.
    #[must_use]
    pub fn role(&self, name: &str) -> ArgumentRole {
        self.terms.arguments.of_argument(name)
    }

    /// Digest of everything else in the contract, as canonical JSON, in the domain `agent-os atr tool v1`. Any change
    /// to the contract changes it; the order of keys in the schema does not.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_have_the_same_word_everywhere_and_no_other_word_parses() {
        for effect in Effect::ALL {
            assert_eq!(serde_json::to_value(effect).unwrap(), effect.as_str());
        }
        assert!(serde_json::from_value::<Effect>("delte".into()).is_err());
    }
}
