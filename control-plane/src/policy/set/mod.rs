//! Sets of policies: layers that can only tighten.

mod builder;
mod folder;
mod recorded;
mod scope;
mod standing;

use std::fmt;
use std::sync::Arc;

use agent_primitives::{AgentId, Digest, TenantId, ToolId};
use serde_json::{Value, json};

pub use self::builder::{MAX_LAYERS, MAX_PATTERN_LAYERS, PolicySetBuilder};
pub(crate) use self::standing::Standing;

use self::scope::Scopes;
use super::engine::{self, PolicyEngine};
use super::error::{Code, PolicyErrors, Report};
use super::{Decision, Looks, Policy, Prospect, decision};
use crate::question::{Caller, Question};

/// A policy for everybody and further layers, each for some: tenants, agents, or everybody again.
///
/// Every layer that applies to the caller is asked, and the strictest answer stands: deny over ask over allow. A layer in
/// which nothing matches denies, unless its document says `unmatched: abstain`; the organisation's never abstains. So a
/// set allows only what each of its layers that applies and does not abstain allows, whichever order they stand in.
///
/// ```
/// use agent_control_plane::policy::{Policy, PolicySet};
///
/// let all = Policy::from_yaml("all.yaml", r#"
/// version: 1
/// rules:
///   - { id: tools, effect: allow, calls: [exec], tools: ["*"] }
/// "#)?;
/// let less = Policy::from_yaml("acme.yaml", r#"
/// version: 1
/// unmatched: abstain
/// rules:
///   - { id: no-mail, effect: deny, calls: [exec], tools: ["mail.*"] }
/// "#)?;
/// let set = PolicySet::builder(all).tenants("acme", less).build()?;
/// # Ok::<(), agent_control_plane::policy::PolicyErrors>(())
/// ```
#[derive(Clone)]
pub struct PolicySet(Arc<Layers>);

struct Layers {
    organisation: Policy,
    /// In the order they were added, which changes the digest but no verdict.
    further: Box<[Layer]>,
    scopes: Scopes,
    digest: Digest,
    looks: Looks,
}

/// One layer besides the organisation's.
struct Layer {
    scope: Scope,
    judge: Judge,
}

/// Whom a layer applies to.
#[derive(Clone, Debug)]
enum Scope {
    Everybody,
    Tenants(Box<str>),
    Agents(Box<str>),
}

/// What a layer judges by.
enum Judge {
    Rules(Policy),
    Engine(Arc<dyn PolicyEngine>),
}

impl PolicySet {
    /// A set that starts with the organisation's policy, which applies to everybody.
    pub fn builder(organisation: Policy) -> PolicySetBuilder {
        PolicySetBuilder::new(organisation)
    }

    /// Policies that all have to agree, for everybody. No policies allow nothing.
    ///
    /// # Errors
    /// More than [`MAX_LAYERS`], or all of them abstain.
    pub fn all(policies: impl IntoIterator<Item = Policy>) -> Result<Self, PolicyErrors> {
        let mut policies: Vec<Policy> = policies.into_iter().collect();
        let first = policies.iter().position(|policy| policy.snapshot.abstains.is_none()).unwrap_or(0);
        if policies.is_empty() {
            return Ok(Policy::deny_all().into());
        }
        let organisation = policies.remove(first);
        policies.into_iter().fold(Self::builder(organisation), PolicySetBuilder::everybody).build()
    }

    /// Answers a question. Pure and total, as [`Policy::decide`] is; the cost grows with the layers that apply.
    #[must_use]
    pub fn decide(&self, caller: &Caller<'_>, question: &Question<'_>) -> Decision {
        let own = self.answer(caller, question);
        let all = caller.above.iter().fold(own, |all, above| all.meet(self.answer(above, question)));
        all.of_set(self.0.digest).given_to(question)
    }

    /// What the layers come to.
    fn answer(&self, caller: &Caller<'_>, question: &Question<'_>) -> Decision {
        let layers = &*self.0;
        let first = decision::decide(&layers.organisation.snapshot, caller, question);
        if layers.further.is_empty() || layers.organisation.snapshot.always_allowed(question.call) {
            return first.of_set(layers.digest);
        }
        let opinions = layers.scopes.applying(caller.agent, caller.tenant);
        let opinions = opinions.iter().filter_map(|number| layers.further.get(*number));
        let opinions = opinions.filter_map(|layer| self.ask(layer, caller, question));
        opinions.fold(first, Decision::meet).of_set(layers.digest)
    }

    /// What some call of the tool in question could get of all layers together.
    pub(crate) fn prospect(&self, caller: &Caller<'_>, question: &Question<'_>) -> Prospect {
        let layers = &*self.0;
        let applying = layers.scopes.applying(caller.agent, caller.tenant);
        let applying = applying.iter().filter_map(|number| layers.further.get(*number));
        let prospects = applying.map(|layer| match &layer.judge {
            Judge::Rules(policy) => policy.prospect(caller, question),
            Judge::Engine(_) => Prospect::ANY,
        });
        prospects.fold(layers.organisation.prospect(caller, question), Prospect::meet)
    }

    fn ask(&self, layer: &Layer, caller: &Caller<'_>, question: &Question<'_>) -> Option<Decision> {
        match &layer.judge {
            Judge::Rules(policy) => policy.opinion(caller, question),
            Judge::Engine(engine) => {
                let (verdict, rules) = engine::ask(&**engine, caller, question);
                let organisation = &self.0.organisation.snapshot;
                Some(decision::by_engine(organisation, engine.name(), verdict, rules))
            }
        }
    }

    /// What the decisions of all layers look at.
    pub(crate) fn looks(&self) -> Looks {
        self.0.looks
    }

    /// Whether the answer to a question of this agent depends on nothing that changes while it lives. What an engine looks
    /// at is not known.
    pub(super) fn is_timeless(
        &self,
        agent: &AgentId,
        tenant: Option<&TenantId>,
        question: &Question<'_>,
    ) -> bool {
        let layers = &*self.0;
        let applying = layers.scopes.applying(agent, tenant);
        let mut applying = applying.iter().filter_map(|number| layers.further.get(*number));
        layers.organisation.is_timeless(agent, question)
            && applying.all(|layer| match &layer.judge {
                Judge::Rules(policy) => policy.is_timeless(agent, question),
                Judge::Engine(_) => false,
            })
    }

    /// The answer to what no rule can speak about: see [`crate::question::CallKind`].
    pub(crate) fn own_business(&self) -> Decision {
        decision::own_business(&self.0.organisation.snapshot).of_set(self.0.digest)
    }

    /// Checks what only a kernel needs to hold: that the organisation's policy does not abstain, and that each tool a rule
    /// names one by one is among `known`.
    ///
    /// # Errors
    /// `AK0136` for an organisation's policy that abstains, and as [`Policy::check_tools`], of all layers.
    pub fn check<'t>(&self, known: impl IntoIterator<Item = &'t ToolId>) -> Result<(), PolicyErrors> {
        let known: Vec<&ToolId> = known.into_iter().collect();
        let tools = self.policies().map(|policy| policy.check_tools(known.iter().copied()));
        PolicyErrors::all(std::iter::once(self.check_layers()).chain(tools))
    }

    /// Checks that the organisation's policy does not abstain, where the tools are not known.
    ///
    /// # Errors
    /// `AK0136`, with its line, if it does.
    pub fn check_layers(&self) -> Result<(), PolicyErrors> {
        let organisation = &self.0.organisation.snapshot;
        let mut report = Report::new(&organisation.file);
        if let Some(at) = organisation.abstains {
            let help = "leave it out: what the organisation's policy does not allow, nobody may do";
            report.add_help(Code::Layer, at, "the organisation's policy cannot abstain", help);
        }
        report.finish(Some(()))
    }

    /// The organisation's policy.
    #[must_use]
    pub fn organisation(&self) -> &Policy {
        &self.0.organisation
    }

    /// The policies of all layers, the organisation's first. Engines are not among them.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        let rules = self.0.further.iter().filter_map(|layer| match &layer.judge {
            Judge::Rules(policy) => Some(policy),
            Judge::Engine(_) => None,
        });
        std::iter::once(&self.0.organisation).chain(rules)
    }

    /// Covers all layers and whom they apply to. Of a set that is one policy, that policy's own digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.0.digest
    }

    /// The layers that apply to an agent, the organisation's first.
    pub(super) fn layers_for(&self, agent: &AgentId, tenant: Option<&TenantId>) -> Vec<Value> {
        let layers = &*self.0;
        let organisation = json!({ "layer": "organisation", "policy": layers.organisation.to_json() });
        let applying = layers.scopes.applying(agent, tenant);
        let applying = applying.iter().filter_map(|number| layers.further.get(*number));
        std::iter::once(organisation).chain(applying.map(Layer::to_json)).collect()
    }

    /// The document, if there is one layer; otherwise an object whose `layers` holds the document of each.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let organisation = self.0.organisation.to_json();
        if self.0.further.is_empty() {
            return organisation;
        }
        let mut layers = vec![json!({ "layer": "organisation", "policy": organisation })];
        layers.extend(self.0.further.iter().map(Layer::to_json));
        json!({ "layers": layers })
    }
}

impl Layer {
    fn looks(&self) -> Looks {
        match &self.judge {
            Judge::Rules(policy) => policy.looks(),
            Judge::Engine(_) => Looks::AT_ALL,
        }
    }

    fn to_json(&self) -> Value {
        let (layer, of) = match &self.scope {
            Scope::Everybody => ("everybody", None),
            Scope::Tenants(pattern) => ("tenants", Some(pattern)),
            Scope::Agents(pattern) => ("agents", Some(pattern)),
        };
        match &self.judge {
            Judge::Rules(policy) => json!({ "layer": layer, "of": of, "policy": policy.to_json() }),
            Judge::Engine(engine) => {
                json!({ "layer": layer, "of": of, "engine": engine.name(), "text": engine.text() })
            }
        }
    }

    fn digest(&self) -> Digest {
        match &self.judge {
            Judge::Rules(policy) => policy.digest(),
            Judge::Engine(engine) => engine.digest(),
        }
    }
}

impl From<Policy> for PolicySet {
    fn from(policy: Policy) -> Self {
        let (digest, looks) = (policy.digest(), policy.looks());
        Self(Arc::new(Layers {
            looks,
            organisation: policy,
            further: Box::default(),
            scopes: Scopes::default(),
            digest,
        }))
    }
}

impl fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicySet")
            .field("organisation", &self.0.organisation)
            .field("layers", &self.0.further.len())
            .field("digest", &self.0.digest)
            .finish()
    }
}

impl Policy {
    /// The answer of this policy as a layer; `None` when nothing in it matches and it abstains then.
    pub(super) fn opinion(&self, caller: &Caller<'_>, question: &Question<'_>) -> Option<Decision> {
        let decision = decision::decide(&self.snapshot, caller, question);
        let unmatched = decision.rule_count() == 0 && !self.snapshot.always_allowed(question.call);
        (!unmatched || self.snapshot.abstains.is_none()).then_some(decision)
    }
}
