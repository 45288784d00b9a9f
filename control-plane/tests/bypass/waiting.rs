//! Which cases wait for a part that is not built, and for which.

use serde_json::Value;

use super::case::{Case, Step};
use super::invariant::counted;
use super::run::ADAPTER_TEXT;
use super::{call, host, life, tamper};

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
    let inner = step.inner();
    let calls_only = matches!(step.op.as_str(), "parallel" | "async");
    let beside = |inner: &&Step| {
        calls_only && !call::is_call(&inner.op) && !matches!(inner.op.as_str(), "repeat" | "parallel")
    };
    if let Some(beside) = inner.iter().find(beside) {
        return operation(beside).or_else(|| Some(format!("`{}` beside other steps", beside.op)));
    }
    inner.iter().find_map(self::step)
}

fn operation(step: &Step) -> Option<String> {
    let part = match step.op.as_str() {
        op if call::is_call(op) => return None,
        "mount" | "destroy" | "load_policy" | "parallel" | "repeat" | "interleave" | "async" | "await"
        | "join" | "crash" | "kernel_shutdown" | "agent_panic" | "forge_context" | "self_grant" | "reach" => {
            return None;
        }
        "tell" | "declassify" => return None,
        "seek" if matches!(step.value("whence"), Value::Null) || step.text("whence") == "set" => return None,
        "seek" => "seeking from the end or the present position",
        "clock" if host::CLOCK.iter().any(|key| step.duration(key).is_some()) => {
            return None;
        }
        "clock" => "a clock that is set or moved back",
        "unmount" => return None,
        "fs_setup" => return fs_setup(step),
        "audit" => return audit(step),
        "exec_as_fresh_child" => return None,
        "spawn" | "checkpoint" | "restore" => {
            let unknown = life::unknown_field(step);
            return unknown.map(|key| format!("{UNKNOWN_OPERATION} ({} `{key}`)", step.op));
        }
        "scan" => return crate::scan::waits_for(step),
        "parse" => {
            let format = step.text("format");
            return (!host::SECURITY_FILES.contains(&format) && !host::AGENTS_FILES.contains(&format))
                .then(|| format!("{UNKNOWN_OPERATION} (parse `{}`)", step.text("format")));
        }
        "compose" => {
            let mode = step.text("mode");
            return (!host::COMPOSE_ALL.contains(&mode) && !host::COMPOSE_EXTEND.contains(&mode))
                .then(|| format!("{UNKNOWN_OPERATION} (compose `{}`)", step.text("mode")));
        }
        "adapter" if step.text("kind").starts_with("openai") && step.first(&ADAPTER_TEXT).is_some() => {
            return None;
        }
        "adapter" => "adapters for MCP and other messages",
        "handler" => "signal handlers",
        "mode" if host::is_dry_run(step.text("value")).is_some() => return None,
        "mode" => return Some(format!("{UNKNOWN_OPERATION} (mode `{}`)", step.text("value"))),
        other => return Some(format!("{UNKNOWN_OPERATION} (`{other}`)")),
    };
    Some(part.to_owned())
}

fn fs_setup(step: &Step) -> Option<String> {
    const KNOWN: [&str; 10] =
        ["as", "symlink", "file", "write", "mkdir", "dir", "hardlink", "remove", "unlink", "rename"];
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
        | "delivery_reported_true"
        | "memory_bounded"
        | "cancelled_before_limit_plus_grace"
        | "no_late_effect"
        | "intent_record_present"
        | "verdict_record_present"
        | "chain_valid"
        | "count_matches"
        | "one_line_per_record"
        | "tool_invoked_exactly_once"
        | "marked_simulated"
        | "advisory_only"
        | "checkpoint_created" => None,
        name if counted(name).is_some() => None,
        other => Some(format!("an invariant this harness does not know (`{other}`)")),
    }
}
