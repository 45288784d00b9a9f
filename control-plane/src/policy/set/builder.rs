//! Puts a set together.

use std::sync::Arc;

use agent_primitives::Digest;
use agent_primitives::json::canonical;
use serde_json::json;

use super::super::Policy;
use super::super::budget::Budget;
use super::super::engine::PolicyEngine;
use super::super::error::{Code, Mark, PolicyErrors, Report};
use super::super::pattern::{Kind, Pattern};
use super::scope::Scopes;
use super::{Judge, Layer, Layers, PolicySet, Scope};

/// Most layers of one set besides the organisation's.
pub const MAX_LAYERS: usize = 10_000;
/// Most layers of one set that apply to a pattern of names; each call is matched against all of them.
pub const MAX_PATTERN_LAYERS: usize = 256;

/// Collects the layers of a [`PolicySet`]. Which order they are added in changes no verdict.
#[must_use = "nothing is built until `build` is called"]
pub struct PolicySetBuilder {
    organisation: Policy,
    further: Vec<Layer>,
}

impl std::fmt::Debug for PolicySetBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PolicySetBuilder").field("layers", &self.further.len()).finish_non_exhaustive()
    }
}

impl PolicySetBuilder {
    pub(super) fn new(organisation: Policy) -> Self {
        Self { organisation, further: Vec::new() }
    }

    /// A further policy for everybody.
    pub fn everybody(self, policy: Policy) -> Self {
        self.layer(Scope::Everybody, Judge::Rules(policy))
    }

    /// A policy for the agents of a tenant, or of all tenants that a pattern matches.
    pub fn tenants(self, pattern: &str, policy: Policy) -> Self {
        self.layer(Scope::Tenants(pattern.into()), Judge::Rules(policy))
    }

    /// A policy for an agent, or for all agents that a pattern matches.
    pub fn agents(self, pattern: &str, policy: Policy) -> Self {
        self.layer(Scope::Agents(pattern.into()), Judge::Rules(policy))
    }

    /// A policy in another language, for everybody.
    pub fn engine(self, engine: Arc<dyn PolicyEngine>) -> Self {
        self.layer(Scope::Everybody, Judge::Engine(engine))
    }

    fn layer(mut self, scope: Scope, judge: Judge) -> Self {
        self.further.push(Layer { scope, judge });
        self
    }

    /// Builds the set.
    ///
    /// # Errors
    /// A pattern that is none, or more layers than [`MAX_LAYERS`] or [`MAX_PATTERN_LAYERS`].
    pub fn build(self) -> Result<PolicySet, PolicyErrors> {
        let Self { organisation, further } = self;
        if further.is_empty() {
            return Ok(organisation.into());
        }
        let mut report = Report::new(&"policy set".into());
        if MAX_LAYERS < further.len() {
            report.add(Code::Limit, Mark::NOWHERE, format!("more than {MAX_LAYERS} layers"));
            return report.finish(None);
        }
        let scopes = scopes(&further, &mut report);
        let digest = digest(&organisation, &further);
        if digest.is_none() {
            report.add(Code::Limit, Mark::NOWHERE, "the set has no canonical form");
        }
        let layers = digest.zip(scopes).map(|(digest, scopes)| Layers {
            looks: further.iter().fold(organisation.looks(), |looks, layer| looks.and(layer.looks())),
            organisation,
            further: further.into(),
            scopes,
            digest,
        });
        report.finish(layers).map(|layers| PolicySet(Arc::new(layers)))
    }
}

fn scopes(further: &[Layer], report: &mut Report) -> Option<Scopes> {
    let (mut scopes, mut budget) = (Scopes::default(), Budget::new());
    for (number, layer) in further.iter().enumerate() {
        let (by_name, kind, text) = match &layer.scope {
            Scope::Everybody => {
                scopes.everybody(number);
                continue;
            }
            Scope::Tenants(text) => (scopes.tenants(), Kind::Tenant, text),
            Scope::Agents(text) => (scopes.agents(), Kind::Agent, text),
        };
        let Some(pattern) = Pattern::parse(kind, text, Mark::NOWHERE, &mut budget, report) else { continue };
        if let Err(error) = by_name.add(&pattern, number) {
            report.add(Code::BadPattern, Mark::NOWHERE, format!("the pattern of a layer: {error}"));
        }
    }
    if MAX_PATTERN_LAYERS < scopes.patterns() {
        let message = format!("more than {MAX_PATTERN_LAYERS} layers apply to a pattern of names");
        report.add(Code::Limit, Mark::NOWHERE, message);
    }
    report.is_empty().then_some(scopes)
}

fn digest(organisation: &Policy, further: &[Layer]) -> Option<Digest> {
    let layers = further.iter().map(|layer| {
        let (scope, of) = match &layer.scope {
            Scope::Everybody => ("everybody", ""),
            Scope::Tenants(pattern) => ("tenants", &**pattern),
            Scope::Agents(pattern) => ("agents", &**pattern),
        };
        json!([scope, of, layer.digest().to_string()])
    });
    let organisation = json!(["organisation", "", organisation.digest().to_string()]);
    let all: serde_json::Value = std::iter::once(organisation).chain(layers).collect();
    Some(Digest::of("agent-os policy set v1", &canonical(&all).ok()?))
}
