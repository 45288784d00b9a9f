//! Labels on the road: what a call carries when it is judged, and what its reply adds to the agent.

use std::sync::Arc;

use agent_primitives::json::Value;
use agent_primitives::{LabelSet, TooManyLabels};
use agent_tool_registry::ToolContract;

use super::Inner;
use super::judge::State;
use super::table::Agent;
use crate::call::Reply;
use crate::error::CallError;
use crate::flow::{Argument, Provenance};
use crate::policy::Looks;
use crate::policy::request::{Carried, Request};
use crate::recorder::Body;

/// What a tool's answer carries.
fn carried(contract: &ToolContract, answer: &Value) -> Result<LabelSet, TooManyLabels> {
    let labels = contract.output_labels();
    if labels.fields().next().is_some() {
        labels.labels_of(answer).join(contract.origin())
    } else {
        Ok(contract.carried().clone())
    }
}

impl Inner {
    /// Finds out what the arguments of a call carry: nothing, if the agent has read nothing that carries a label. Where no
    /// policy looks at them, no more is kept than that they carry what the agent does at the most.
    pub(crate) fn find_out(&self, agent: &Agent, turn: &State, request: &mut Request, one_by_one: bool) {
        let Some(run) = request.tool_call() else { return };
        run.spoken_under(&turn.labels);
        if !one_by_one || turn.labels.is_empty() {
            return;
        }
        let contract = Arc::clone(run.contract());
        let Some(arguments) = run.arguments().value().as_object() else { return };
        let labels = |name: &str, value: &Value| match agent.provenance {
            Provenance::Coarse => turn.labels.clone(),
            Provenance::Traced => turn.origins.trace(value, &turn.labels),
            Provenance::Declared => {
                turn.origins.declared(run.sources().of(name)).unwrap_or_else(|| turn.labels.clone())
            }
        };
        let mut carried: Vec<Argument> = arguments
            .iter()
            .map(|(name, value)| Argument::new(name, contract.role(name), labels(name, value)))
            .collect();
        // The order of an object's keys depends on how serde_json was built; the record must not.
        carried.sort_by(|one, other| one.name.cmp(&other.name));
        run.carry(carried);
    }

    /// Joins what a tool answered, or said of its failure, to what the agent carries, and marks the reply with it.
    ///
    /// An answer carries what its arguments did, besides what the contract says: a tool may say again what it was told, or
    /// fetch what was put somewhere before. So nothing is rid of a label by being sent through a tool.
    pub(crate) fn join_output(
        &self,
        agent: &Agent,
        contract: &ToolContract,
        arguments: Carried,
        result: Result<Reply, CallError>,
    ) -> Result<Reply, CallError> {
        match result {
            Ok(Reply::Output { output, call, .. }) => {
                let traced = agent.provenance == Provenance::Traced && self.looks(agent).at_arguments;
                let arguments = match arguments {
                    Carried::Found(labels) => labels,
                    // What is remembered of this answer may be all that a later policy has to go by.
                    Carried::AtMost(labels) if traced || agent.provenance == Provenance::Declared => labels,
                    // The agent carries them as it is.
                    Carried::AtMost(_) => LabelSet::EMPTY,
                };
                let labels = carried(contract, output.value())?.join(&arguments)?;
                let mut turn = agent.turn.lock();
                turn.take_up(&labels)?;
                match agent.provenance {
                    Provenance::Traced if traced => {
                        hear_output(&mut turn, contract, output.value(), &labels, &arguments);
                    }
                    Provenance::Coarse | Provenance::Traced => {}
                    Provenance::Declared => turn.origins.answered(call, &labels),
                }
                drop(turn);
                Ok(Reply::Output { output, labels, call })
            }
            // What went wrong is told in the tool's own words.
            Err(error @ (CallError::Tool(_) | CallError::Crashed { .. })) => {
                self.join(agent, contract.carried())?;
                Err(error)
            }
            other => other,
        }
    }

    /// Joins what was read from a file to what the agent carries. What it reads of its own past may be its own words, which
    /// carry all that it does.
    pub(crate) fn join_content(
        &self,
        agent: &Agent,
        own_past: bool,
        mut result: Result<Reply, CallError>,
    ) -> Result<Reply, CallError> {
        if own_past && let Ok(Reply::Data { labels, .. }) = &mut result {
            *labels = labels.join(&agent.turn.lock().labels)?;
        }
        if let Ok(Reply::Data { data, labels, .. }) = &result {
            let traced = agent.provenance == Provenance::Traced && self.looks(agent).at_arguments;
            let text = if traced { std::str::from_utf8(data).ok() } else { None };
            if text.is_some() || !labels.is_empty() {
                let mut turn = agent.turn.lock();
                turn.take_up(labels)?;
                if let Some(text) = text {
                    turn.origins.heard(text, labels);
                }
            }
        }
        result
    }

    /// What decisions about the agent look at.
    fn looks(&self, agent: &Agent) -> Looks {
        let era = agent.footing.era();
        agent.footing.standing(&era).looks().and(self.candidate_looks())
    }

    /// What the agent's own words carry.
    pub(crate) fn carried_by(&self, agent: &Agent) -> LabelSet {
        agent.turn.lock().labels.clone()
    }

    /// Joins labels to what the agent carries.
    pub(crate) fn join(&self, agent: &Agent, labels: &LabelSet) -> Result<(), CallError> {
        if !labels.is_empty() {
            agent.turn.lock().take_up(labels)?;
        }
        Ok(())
    }

    /// Takes labels off an agent, once that is on record; returns those it had.
    pub(crate) fn take_off(
        &self,
        agent: &Agent,
        call: u64,
        labels: &LabelSet,
        by: &str,
        reason: &str,
    ) -> Result<LabelSet, CallError> {
        let mut turn = agent.turn.lock();
        let left = turn.labels.without(labels);
        let removed = turn.labels.without(&left);
        let body = Body::Declassified { labels: removed.clone(), by, reason };
        self.append(agent.source(), call, body)?;
        turn.labels = left;
        Ok(removed)
    }
}

/// Remembers the values of an output, each with what it carries.
fn hear_output(
    turn: &mut State,
    contract: &ToolContract,
    output: &Value,
    whole: &LabelSet,
    arguments: &LabelSet,
) {
    let declared = contract.output_labels();
    let plain = declared.fields().next().is_none();
    for leaf in declared.leaves(output) {
        let labels = if plain {
            Ok(whole.clone())
        } else {
            LabelSet::new(leaf.labels.iter().chain(arguments.iter()).chain(contract.origin().iter()).cloned())
        };
        let Ok(labels) = labels else { continue };
        match leaf.value {
            Value::String(text) => turn.origins.heard(text, &labels),
            Value::Number(number) => turn.origins.heard(&number.to_string(), &labels),
            _ => {}
        }
    }
}
