//! Which cases wait for a part that is not built, and for which.

use super::case::{Case, Step};
use super::handler::Behaviour;
use super::invariant::counted;
use super::{call, clock, life, tamper};

/// What the listing says of an operation, an action or an invariant that has no meaning here.
const UNKNOWN_OPERATION: &str = "an operation this harness does not know";

/// The part a case waits for; `None` when the road covers it.
pub(crate) fn waits_for(case: &Case) -> Option<String> {
    let by_step = case.input.steps.iter().find_map(step);
    let fixture = !matches!(case.input.fixture.as_str(), "base" | "no_policy");
    by_step
        .or_else(|| {
            fixture.then(|| format!("a fixture this harness does not know (`{}`)", case.input.fixture))
        })
        .or_else(|| verdict(case))
        .or_else(|| case.expected.invariants.iter().find_map(|name| invariant(name)))
}

fn step(step: &Step) -> Option<String> {
    if let Some(reason) = operation(step) {
        return Some(reason);
    }
    step.inner().iter().find_map(self::step)
}

fn operation(step: &Step) -> Option<String> {
    let part = match step.op.as_str() {
        "handler" => {
            let known = Behaviour::of(step).is_some();
            return (!known).then(|| format!("{UNKNOWN_OPERATION} (a handler that does something else)"));
        }
        op if call::is_call(op) => return None,
        "mount" | "destroy" | "load_policy" | "parallel" | "repeat" | "interleave" | "async" | "await"
        | "join" | "crash" | "kernel_shutdown" | "agent_panic" | "forge_context" | "self_grant" | "reach" => {
            return None;
        }
        "tell" | "declassify" => return None,
        "seek" | "topic" | "compose" | "parse" => return None,
        "clock" if clock::Change::of(step).is_some() => return None,
        "clock" => "a clock that does something else",
        "unmount" => return None,
        "fs_setup" => return fs_setup(step),
        "audit" => return audit(step),
        "exec_as_fresh_child" => return None,
        "spawn" | "checkpoint" | "restore" => {
            let unknown = life::unknown_field(step);
            return unknown.map(|key| format!("{UNKNOWN_OPERATION} ({} `{key}`)", step.op));
        }
        "scan" => return crate::scan::waits_for(step),
        "adapter" if crate::adapter::text_of(step).is_some() => return None,
        "adapter" => "an adapter that is shown no message",
        "mode" => return None,
        other => return Some(format!("{UNKNOWN_OPERATION} (`{other}`)")),
    };
    Some(part.to_owned())
}

fn fs_setup(step: &Step) -> Option<String> {
    const KNOWN: [&str; 13] = [
        "as", "symlink", "file", "write", "mkdir", "dir", "hardlink", "remove", "unlink", "rename", "touch",
        "copy", "append",
    ];
    let odd = step.fields.keys().find(|key| !KNOWN.contains(&key.as_str()));
    odd.map(|key| format!("{UNKNOWN_OPERATION} (fs_setup `{key}`)"))
}

fn audit(step: &Step) -> Option<String> {
    const OTHERS: [&str; 10] = [
        "fail_writes",
        "verify",
        "head",
        "save_head",
        "verify_against_head",
        "reopen",
        "export_lines",
        "query",
        "snapshot",
        "rollback",
    ];
    let action = step.text("action");
    let field = step.text("field");
    if action.starts_with("rewrite") && tamper::ACTIONS.contains(&action) && !tamper::FIELDS.contains(&field)
    {
        return Some(format!("{UNKNOWN_OPERATION} (rewriting `{field}`)"));
    }
    let known = OTHERS.contains(&action) || tamper::ACTIONS.contains(&action);
    (!known).then(|| format!("{UNKNOWN_OPERATION} (audit `{action}`)"))
}

fn verdict(case: &Case) -> Option<String> {
    match case.expected.verdict.as_str() {
        "flag" | "clean" | "allow" | "deny" | "escalate" | "error" | "blocked" | "killed" | "load_error"
        | "tamper_detected" | "not_allow" | "any" => None,
        other => Some(format!("a verdict this harness does not know (`{other}`)")),
    }
}

fn invariant(name: &str) -> Option<String> {
    match name {
        "tool_not_invoked"
        | "kernel_alive"
        | "audit_has_verdict"
        | "no_effect"
        | "agent_terminated"
        | "agent_alive"
        | "agent_stopped"
        | "violation_counted_once"
        | "checkpolicy_answer_is_deny"
        | "sender_denied"
        | "mask_refused"
        | "handler_refused"
        | "delivery_reported_true"
        | "memory_bounded"
        | "cancelled_before_limit_plus_grace"
        | "no_late_effect"
        | "intent_record_present"
        | "verdict_record_present"
        | "chain_valid"
        | "count_matches"
        | "one_line_per_record"
        | "only_permitted_listed"
        | "policy_unchanged"
        | "w_alive"
        | "v_alive"
        | "w_terminated"
        | "v_terminated"
        | "tool_invoked_exactly_once"
        | "marked_simulated"
        | "advisory_only"
        | "checkpoint_created" => None,
        name if counted(name).is_some() => None,
        other => Some(format!("an invariant this harness does not know (`{other}`)")),
    }
}
