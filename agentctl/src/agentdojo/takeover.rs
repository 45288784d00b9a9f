//! The attacker who keeps to the user's plan and only supplies the values in it.

use serde_json::{Map, Value};

use super::data::{Call, InjectionTask, Provenance, Suite, UserTask};
use super::replay::argument_of;

/// Which calls of a user's task take over the values of which calls of an attacker's.
pub(crate) type Takeover = Vec<(usize, usize)>;

/// How the user's plan would do what the attacker wants: a call of the same tool, after the exposure, for each of the
/// attacker's calls that does more than read, differing only in arguments that the plan takes from what the attacker
/// spoke through. `None` where there is no such way.
pub(crate) fn plan(task: &UserTask, injection: &InjectionTask, suite: &Suite) -> Option<Takeover> {
    let first = task.first_exposure_call?;
    let exposed = |index: usize| {
        index == first || task.calls.get(index).is_some_and(|call| !call.exposes_vectors.is_empty())
    };
    let mut plan = Takeover::new();
    for (number, wanted) in injection.calls.iter().enumerate() {
        if !suite.is_harmful(&wanted.function) {
            continue;
        }
        let free = |index: usize| first < index && plan.iter().all(|(used, _)| *used != index);
        let (index, _) = task
            .calls
            .iter()
            .enumerate()
            .find(|(index, call)| free(*index) && can_become(call, wanted, &exposed))?;
        plan.push((index, number));
    }
    (!plan.is_empty()).then_some(plan)
}

/// Whether `call` differs from `wanted` only in arguments made from the output of a call that is exposed.
fn can_become(call: &Call, wanted: &Call, exposed: &impl Fn(usize) -> bool) -> bool {
    if call.function != wanted.function {
        return false;
    }
    let none = Map::new();
    let [own, other] = [call, wanted].map(|call| call.args.as_object().unwrap_or(&none));
    let names = own.keys().chain(other.keys());
    names.filter(|name| own.get(*name) != other.get(*name)).all(|name| is_supplied(call, name, exposed))
}

/// Whether every part of an argument is made from the output of a call that is exposed.
fn is_supplied(call: &Call, name: &str, exposed: &impl Fn(usize) -> bool) -> bool {
    let mut parts = call.arg_provenance.iter().filter(|(part, _)| argument_of(part) == name).peekable();
    parts.peek().is_some()
        && parts.all(|(part, provenance)| {
            let output = matches!(provenance, Provenance::Output | Provenance::DerivedOutput);
            // Where nothing is said, it may be any earlier call, the exposed one among them.
            let from = call.arg_from_outputs.get(part).filter(|calls| !calls.is_empty());
            output && from.is_none_or(|calls| calls.iter().any(|index| exposed(*index)))
        })
}

/// The user's call with the attacker's values: made from what the plan says it is made from.
pub(crate) fn with_values(call: &Call, values: &Value) -> Call {
    Call { args: values.clone(), ..call.clone() }
}
