//! Policies in Cedar, as a layer.
//!
//! | Cedar | is |
//! | --- | --- |
//! | principal | `Agent::"<id>"`, in `Tenant::"<id>"` if it has one |
//! | action | `Action::"read"`, `"write"`, `"open"`, `"exec"`, `"signal"` |
//! | resource | `Tool::"<id>"`; `Path::"<path>"`, in every folder above it; `Agent::"<id>"`, the receiver of a signal |
//! | `context.args` | the arguments of a tool |
//! | `context.facts` | what the host said of the agent |
//! | `context.labels` | a set of what is known of everything the agent has read |
//! | `context.tenant`, `context.signal` | text; only where there is one |
//! | `context.now` | milliseconds since 1970 |
//!
//! Arguments and facts become Cedar values by their JSON type: a list becomes a set, so that its order and repetitions are
//! lost; a null is left out, so that `has` is false; a number with at most four digits after the point becomes a
//! `decimal`. A number beyond that has no Cedar value, and the call is denied. Text stays text whatever it looks like: an
//! argument is never read as an entity or as a call of an extension.
//!
//! Cedar itself skips a policy that fails and goes on with the others, which lets a call through when the policy was to
//! forbid it. Here any failure denies. In decisions a policy goes by its annotation `@id`, if it has one.
//!
//! Arguments have no type that Cedar's validator could hold a policy against, so no schema is used; that each entity a
//! policy names is of a type in this table, and each action one of the five, is checked when it is loaded.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use agent_primitives::{Digest, Verdict};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicySet,
    Request, RestrictedExpression,
};
use miette::Diagnostic as _;
use serde_json::{Number, Value};

use super::super::document::MAX_POLICY_BYTES;
use super::super::error::{Code, Mark, PolicyErrors, Report, quoted};
use super::{Opinion, PolicyEngine};
use crate::question::{CallKind, Caller, Object, Question};

const ACTIONS: [CallKind; 5] =
    [CallKind::Read, CallKind::Write, CallKind::Open, CallKind::Exec, CallKind::Signal];

/// A Cedar policy set, parsed once.
pub struct CedarEngine {
    policies: PolicySet,
    text: Box<str>,
    types: Types,
}

/// The entity types of the table above.
#[derive(Clone)]
struct Types {
    agent: EntityTypeName,
    tenant: EntityTypeName,
    tool: EntityTypeName,
    path: EntityTypeName,
    action: EntityTypeName,
}

impl Types {
    fn new() -> Option<Self> {
        let named = |name: &str| name.parse::<EntityTypeName>().ok();
        Some(Self {
            agent: named("Agent")?,
            tenant: named("Tenant")?,
            tool: named("Tool")?,
            path: named("Path")?,
            action: named("Action")?,
        })
    }
}

fn entity(of: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(of.clone(), EntityId::new(id))
}

impl CedarEngine {
    /// Parses Cedar text. `source_name` stands in front of every error.
    ///
    /// # Errors
    /// `AK0137` with the line for text that does not parse, for templates, and for entities outside of the table above.
    pub fn from_text(source_name: &str, text: &str) -> Result<Self, PolicyErrors> {
        let mut report = Report::new(&source_name.into());
        if MAX_POLICY_BYTES < text.len() {
            let message = format!("the policy is larger than {MAX_POLICY_BYTES} bytes");
            report.add(Code::TooLarge, Mark::NOWHERE, message);
            return report.finish(None);
        }
        let Some(types) = Types::new() else { return report.finish(None) };
        let policies = match text.parse::<PolicySet>() {
            Ok(policies) => policies,
            Err(errors) => {
                for error in errors.iter() {
                    let at = error.labels().and_then(|mut labels| labels.next());
                    let at = at.map_or(Mark::NOWHERE, |label| Mark::of_offset(text, label.offset()));
                    report.add(Code::Engine, at, format!("cedar: {error}"));
                }
                return report.finish(None);
            }
        };
        if 0 < policies.num_of_templates() {
            report.add(Code::Engine, Mark::NOWHERE, "cedar: templates are not part of a static policy set");
        }
        for policy in policies.policies() {
            check(policy, text, &types, &mut report);
        }
        report.finish(Some(Self { policies, text: text.into(), types }))
    }

    fn request(&self, caller: &Caller<'_>, question: &Question<'_>) -> Result<(Request, Entities), String> {
        let types = &self.types;
        let mut entities = Vec::new();
        let tenant = caller.tenant.map(|tenant| entity(&types.tenant, tenant.as_str()));
        let principal = entity(&types.agent, caller.agent.as_str());
        let parents: HashSet<EntityUid> = tenant.clone().into_iter().collect();
        entities.push(Entity::new_no_attrs(principal.clone(), parents));
        entities.extend(tenant.map(|tenant| Entity::new_no_attrs(tenant, HashSet::new())));
        let resource = match question.object {
            Object::Tool { id, .. } => entity(&types.tool, id.as_str()),
            Object::Agent { id, .. } => entity(&types.agent, id.as_str()),
            Object::File(path) => {
                let resource = entity(&types.path, path.as_str());
                let folders = folders(path.as_str()).map(|folder| entity(&types.path, folder)).collect();
                entities.push(Entity::new_no_attrs(resource.clone(), folders));
                resource
            }
        };
        let action = entity(&types.action, question.call.name());
        let context = Context::from_pairs(context(caller, question)?).map_err(|error| error.to_string())?;
        let request =
            Request::new(principal, action, resource, context, None).map_err(|error| error.to_string())?;
        // An agent that signals itself is principal and resource, and is listed once.
        let entities = Entities::from_entities(entities, None).map_err(|error| error.to_string())?;
        Ok((request, entities))
    }
}

/// That a policy names nothing this mapping does not know.
fn check(policy: &Policy, text: &str, types: &Types, report: &mut Report) {
    let known = [&types.agent, &types.tenant, &types.tool, &types.path];
    for literal in policy.entity_literals() {
        let (of, id) = (literal.type_name(), literal.id().unescaped());
        let is_action = *of == types.action && ACTIONS.iter().any(|action| action.name() == id);
        if !is_action && !known.contains(&of) {
            let name = literal.to_string();
            let at = text.find(&name).map_or(Mark::NOWHERE, |offset| Mark::of_offset(text, offset));
            let help = "known: Agent, Tenant, Tool, Path, and the actions read, write, open, exec, signal";
            report.add_help(Code::Engine, at, format!("cedar: unknown entity {}", quoted(&name)), help);
        }
    }
}

impl PolicyEngine for CedarEngine {
    fn name(&self) -> &str {
        "cedar"
    }

    fn digest(&self) -> Digest {
        Digest::of("agent-os cedar policy v1", self.text.as_bytes())
    }

    fn text(&self) -> &str {
        &self.text
    }

    fn judge(&self, caller: &Caller<'_>, question: &Question<'_>) -> Opinion {
        let (request, entities) = match self.request(caller, question) {
            Ok(request) => request,
            Err(error) => return Opinion::Error(error),
        };
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Opinion::Error(error.to_string());
        }
        let verdict = if response.decision() == Decision::Allow { Verdict::Allow } else { Verdict::Deny };
        let name =
            |policy| self.policies.annotation(policy, "id").map_or_else(|| policy.to_string(), str::to_owned);
        let mut rules: Vec<String> = response.diagnostics().reason().map(name).collect();
        rules.sort();
        Opinion::Answer { verdict, rules }
    }
}

impl fmt::Debug for CedarEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarEngine")
            .field("policies", &self.policies.num_of_policies())
            .finish_non_exhaustive()
    }
}

/// Every folder above a path, the root included.
fn folders(path: &str) -> impl Iterator<Item = &str> {
    let cuts = path.char_indices().filter(|(_, char)| *char == '/').map(|(at, _)| at.max(1));
    cuts.filter_map(|at| path.get(..at)).filter(move |folder| *folder != path)
}

fn context(
    caller: &Caller<'_>,
    question: &Question<'_>,
) -> Result<HashMap<String, RestrictedExpression>, String> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut pairs = HashMap::from([
        ("facts".to_owned(), record(caller.facts)?),
        (
            "labels".to_owned(),
            RestrictedExpression::new_set(caller.labels.iter().map(|label| text(label.as_str()))),
        ),
        ("now".to_owned(), RestrictedExpression::new_long(caller.now.as_micros().div_euclid(1000))),
    ]);
    if let Some(tenant) = caller.tenant {
        pairs.insert("tenant".to_owned(), text(tenant.as_str()));
    }
    match question.object {
        Object::Tool { arguments: Value::Object(arguments), .. } => {
            pairs.insert("args".to_owned(), record(arguments)?);
        }
        Object::Tool { .. } => return Err("arguments that are no object".to_owned()),
        Object::Agent { signal, .. } => {
            pairs.insert("signal".to_owned(), text(signal.name()));
        }
        Object::File(_) => {}
    }
    Ok(pairs)
}

fn record(fields: &serde_json::Map<String, Value>) -> Result<RestrictedExpression, String> {
    let mut pairs = Vec::new();
    for (key, value) in fields {
        if let Some(value) = expression(value)? {
            pairs.push((key.clone(), value));
        }
    }
    RestrictedExpression::new_record(pairs).map_err(|error| error.to_string())
}

/// A JSON value as a Cedar value; `None` for null. The depth of arguments is bounded at the border.
fn expression(value: &Value) -> Result<Option<RestrictedExpression>, String> {
    Ok(Some(match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => RestrictedExpression::new_bool(*value),
        Value::Number(value) => number(value)?,
        Value::String(text) => RestrictedExpression::new_string(text.clone()),
        Value::Object(fields) => record(fields)?,
        Value::Array(items) => {
            let items: Result<Vec<_>, String> =
                items.iter().filter_map(|item| expression(item).transpose()).collect();
            RestrictedExpression::new_set(items?)
        }
    }))
}

fn number(value: &Number) -> Result<RestrictedExpression, String> {
    if let Some(whole) = value.as_i64() {
        return Ok(RestrictedExpression::new_long(whole));
    }
    let text = value.to_string();
    let (_, fraction) =
        text.split_once('.').ok_or_else(|| format!("the number {value} has no Cedar value"))?;
    if fraction.is_empty() || 4 < fraction.len() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("the number {value} has no Cedar value"));
    }
    Ok(RestrictedExpression::new_decimal(text))
}

impl From<CedarEngine> for Arc<dyn PolicyEngine> {
    fn from(engine: CedarEngine) -> Self {
        Arc::new(engine)
    }
}
