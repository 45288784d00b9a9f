//! What one agent is judged by at one moment.

use std::cell::OnceCell;

use agent_primitives::{AgentId, Digest, TenantId};
use agent_tool_registry::ToolContract;
use serde_json::{Value, json};

use super::super::{Decision, Looks, Policy, Prospect};
use super::PolicySet;
use crate::kernel::own;
use crate::question::{CallKind, Caller, Object, Question};

/// The set in force, the one the agent was spawned under if that is another, and the policies of its task and of those of
/// the agents it descends from.
///
/// All of them have to agree, so an agent never has more than it was spawned with and never more than is in force now.
#[derive(Clone, Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) generation: u64,
    pub(crate) current: &'a PolicySet,
    pub(crate) spawned_under: Option<&'a PolicySet>,
    pub(crate) tasks: &'a [Policy],
    /// Hashed when it is asked for first.
    digest: OnceCell<Digest>,
}

impl<'a> Standing<'a> {
    pub(crate) fn new(
        generation: u64,
        current: &'a PolicySet,
        spawned_under: Option<&'a PolicySet>,
        tasks: &'a [Policy],
    ) -> Self {
        Self { generation, current, spawned_under, tasks, digest: OnceCell::new() }
    }
}

impl Standing<'_> {
    /// Answers a question, as [`PolicySet::decide`] does: the strictest of what it is answered with and of what the agents it
    /// descends from would be.
    pub(crate) fn decide(&self, caller: &Caller<'_>, question: &Question<'_>) -> Decision {
        let own = self.answer(caller, question);
        let decision = caller.above.iter().fold(own, |all, above| all.meet(self.answer(above, question)));
        decision.given_to(question).of_set(self.digest()).in_generation(self.generation)
    }

    fn answer(&self, caller: &Caller<'_>, question: &Question<'_>) -> Decision {
        let mut decision = self.current.answer(caller, question);
        if let Some(earlier) = self.spawned_under {
            decision = decision.meet(earlier.answer(caller, question));
        }
        let opinions = self.tasks.iter().filter_map(|task| task.opinion(caller, question));
        opinions.fold(decision, Decision::meet)
    }

    /// Whether some call of a tool could be let through, now or later in the life of the agent, with a human's consent or
    /// without: for the listing of tools, never for a decision.
    pub(crate) fn could_let_through(&self, caller: &Caller<'_>, contract: &ToolContract) -> bool {
        let object = Object::Tool { id: contract.id(), arguments: &Value::Null };
        let effects = contract.effects().iter().copied().collect();
        let question = Question::new(CallKind::Exec, object).declaring(effects);
        let of = |caller: &Caller<'_>| {
            let sets = std::iter::once(self.current).chain(self.spawned_under);
            let prospects = sets.map(|set| set.prospect(caller, &question));
            let tasks = self.tasks.iter().map(|task| task.prospect(caller, &question));
            prospects.chain(tasks).reduce(Prospect::meet).unwrap_or_default()
        };
        let all = caller.above.iter().fold(of(caller), |all, above| all.meet(of(above)));
        // Some of the kernel's own tools are carried out on a human's consent only.
        all.ask || (all.allow && !own::needs_consent(contract.id()))
    }

    /// What the decisions look at.
    pub(crate) fn looks(&self) -> Looks {
        let earlier = self.spawned_under.map_or(Looks::default(), PolicySet::looks);
        let tasks = self.tasks.iter().map(Policy::looks);
        tasks.fold(self.current.looks().and(earlier), Looks::and)
    }

    /// Whether the answer to a question of this agent depends on nothing that changes while it lives.
    pub(crate) fn is_timeless(
        &self,
        agent: &AgentId,
        tenant: Option<&TenantId>,
        question: &Question<'_>,
    ) -> bool {
        let sets = std::iter::once(self.current).chain(self.spawned_under);
        sets.into_iter().all(|set| set.is_timeless(agent, tenant, question))
            && self.tasks.iter().all(|task| task.is_timeless(agent, question))
    }

    /// The answer to what no rule can speak about.
    pub(crate) fn own_business(&self) -> Decision {
        self.current.own_business().of_set(self.digest()).in_generation(self.generation)
    }

    /// The documents that apply to an agent: the one document where there is only one, otherwise an object whose `layers`
    /// holds each. What applies to others is not shown.
    pub(crate) fn shown_to(&self, agent: &AgentId, tenant: Option<&TenantId>) -> Value {
        let mut layers = self.current.layers_for(agent, tenant);
        for mut layer in self.spawned_under.into_iter().flat_map(|set| set.layers_for(agent, tenant)) {
            if let Value::Object(fields) = &mut layer {
                fields.insert("since".to_owned(), "spawn".into());
            }
            layers.push(layer);
        }
        layers.extend(self.tasks.iter().map(|task| json!({ "layer": "task", "policy": task.to_json() })));
        if layers.len() == 1 { self.current.organisation().to_json() } else { json!({ "layers": layers }) }
    }

    /// Covers everything that answers. The set's own digest where that is all there is.
    pub(crate) fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut digest = self.current.digest();
            let [generations, with_task] = DOMAINS;
            let earlier = self.spawned_under.map(|set| (generations, set.digest()));
            let tasks = self.tasks.iter().map(|task| (with_task, task.digest()));
            for (domain, more) in earlier.into_iter().chain(tasks) {
                let both: Vec<u8> = digest.as_bytes().iter().chain(more.as_bytes()).copied().collect();
                digest = Digest::of(domain, &both);
            }
            digest
        })
    }
}

/// Under what the digest of an earlier set, and that of a task's policy, join the digest of the set in force.
const DOMAINS: [&str; 2] = ["agent-os policy of two generations v1", "agent-os policy with task v1"];
