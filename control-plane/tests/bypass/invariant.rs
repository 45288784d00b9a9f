//! The named predicates of the cases, each measured on the world.

use agent_control_plane::primitives::{Signal, Verdict};
use agent_control_plane::question::{CallKind, Caller, Object, Question};
use agent_control_plane::recorder::{Body, Recording, Request};
use agent_control_plane::{AgentSpec, AgentState, CallError};
use serde_json::{Value, json};

use crate::case::{Case, Step};
use crate::fixture::{TOOL_LIMIT, World};
use crate::run::{Done, Got, has_ended};
use crate::{fixture, record};

/// Grace after the tool time limit.
const GRACE_SECONDS: u64 = 1;
/// Real time given to what could still happen.
const LATE: std::time::Duration = std::time::Duration::from_millis(50);
/// Largest growth of the process that counts as bounded.
const MAX_RESIDENT: u64 = 512 << 20;

pub(crate) async fn check(
    name: &str,
    case: &Case,
    at: usize,
    done: &[Done],
    world: &World,
) -> Result<(), String> {
    let judged = &done[at];
    let holds = |holds: bool, found: String| if holds { Ok(()) } else { Err(found) };
    let ended = || has_ended(&judged.agent, world);
    let first = |op: &str| done.iter().find(|done| done.op == op).unwrap_or(&done[0]);
    match name {
        "tool_not_invoked" => holds(judged.tool_runs == 0, format!("{} runs", judged.tool_runs)),
        "tool_invoked_exactly_once" => holds(judged.tool_runs == 1, format!("{} runs", judged.tool_runs)),
        "audit_has_verdict" => holds(0 < judged.verdicts, "the step left no verdict on record".to_owned()),
        "violation_counted_once" => {
            holds(judged.violations == 1, format!("{} violations", judged.violations))
        }
        "no_effect" => holds(!judged.changed, "files, memory or policy changed".to_owned()),
        "agent_terminated" => holds(ended(), "the agent is alive".to_owned()),
        "agent_alive" => holds(!ended(), "the agent is gone".to_owned()),
        "agent_stopped" => {
            let state = world.agent(&judged.agent).and_then(|agent| world.kernel.agent(agent.id()));
            holds(matches!(state, Some(AgentState::Stopped { .. })), format!("{state:?}"))
        }
        "sender_denied" => {
            let by_agent = |done: &&Done| done.op == "signal" && done.by != "op";
            let sent = done.iter().find(by_agent).unwrap_or(&done[0]);
            holds(sent.got == Got::Denied, format!("{:?}", sent.got))
        }
        "marked_simulated" => {
            holds(judged.simulated, "neither the reply nor the record says that nothing was done".to_owned())
        }
        "advisory_only" => {
            let scan = if judged.op == "scan" { judged } else { first("scan") };
            let advice = scan.op == "scan" && scan.records == 0 && scan.tool_runs == 0 && !scan.changed;
            holds(advice, format!("`{}` left {} records", scan.op, scan.records))
        }
        "handler_refused" => {
            holds(first("handler").got == Got::Denied, format!("{:?}", first("handler").got))
        }
        "mask_refused" => holds(first("mask").got == Got::Denied, format!("{:?}", first("mask").got)),
        "delivery_reported_true" => {
            let signal = done[..=at].iter().rev().find(|done| done.op == "signal").unwrap_or(judged);
            holds(signal.parts.contains(&Got::Killed), format!("{:?}", signal.got))
        }
        "checkpolicy_answer_is_deny" => {
            let answer = first("checkpolicy").answer;
            holds(answer == Some(Verdict::Deny), format!("{answer:?}"))
        }
        "checkpoint_created" => crate::life::was_created(world, &judged.agent).await,
        "kernel_alive" => kernel_alive(world, case).await,
        "memory_bounded" => {
            let resident = resident_bytes();
            holds(resident <= MAX_RESIDENT, format!("{resident} bytes are resident"))
        }
        "cancelled_before_limit_plus_grace" => {
            let limit = TOOL_LIMIT.as_secs() + GRACE_SECONDS;
            holds(judged.took.as_secs() <= limit, format!("it took {:?}", judged.took))
        }
        "no_late_effect" => {
            let before = world.state();
            world.clock.advance(TOOL_LIMIT * 10);
            // What the clock woke gets the time to do harm.
            let _ = tokio::time::timeout(LATE, std::future::pending::<()>()).await;
            let late = |step: &Step| {
                let path = step.fields.get("args").and_then(|args| args.get("then_write"));
                path.and_then(Value::as_str).is_some_and(|path| world.host_path(path).exists())
            };
            let found = case.input.steps.iter().flat_map(flat).any(|step| late(&step));
            holds(!found && world.state() == before, "something was written after the limit".to_owned())
        }
        "intent_record_present" | "verdict_record_present" => {
            let found = recorded(
                world,
                |body| matches!(body, Body::Intent { request, .. } if !is_own_business(request)),
            )?;
            holds(found, "the reopened recording lacks it".to_owned())
        }
        "chain_valid" => {
            let report = world.kernel.recorder().verify(None, |_| {});
            report.map(drop).map_err(|error| error.to_string())
        }
        "count_matches" => {
            let (tally, runs) = (record::tally(&world.kernel), world.counts.total());
            holds(tally.intents == runs, format!("{} intents for {runs} runs", tally.intents))
        }
        "one_line_per_record" => one_line_per_record(world),
        "policy_unchanged" => {
            holds(world.kernel.generation() == 1, format!("{} generations", world.kernel.generation()))
        }
        "w_alive" => holds(!has_ended("w", world), "it is gone".to_owned()),
        "v_alive" => holds(!has_ended("v", world), "it is gone".to_owned()),
        "w_terminated" => holds(has_ended("w", world), "it is alive".to_owned()),
        "v_terminated" => holds(has_ended("v", world), "it is alive".to_owned()),
        "only_permitted_listed" => only_permitted_listed(world),
        name => match counted(name) {
            Some(Counted::Running(most)) => {
                let found = world.counts.most_at_once();
                holds(found <= most, format!("{found} ran at once"))
            }
            Some(Counted::Parts(got, wanted)) => {
                let found = judged.parts.iter().filter(|part| **part == got).count() as u64;
                holds(found == wanted, format!("{found} of {:?}", judged.parts))
            }
            Some(Counted::PartsAtMost(got, most)) => {
                let found = judged.parts.iter().filter(|part| **part == got).count() as u64;
                holds(found <= most, format!("{found} of {:?}", judged.parts))
            }
            Some(Counted::Runs(wanted)) => {
                holds(wanted.contains(&judged.tool_runs), format!("{} runs", judged.tool_runs))
            }
            Some(Counted::Lasting(most)) => {
                holds(judged.lasted <= most, format!("it lasted {:?}", judged.lasted))
            }
            Some(Counted::AllowedInWindow(most)) => {
                let found = most_allowed_in_window(world)?;
                holds(found <= most, format!("{found} within {WINDOW_SECONDS} s"))
            }
            Some(Counted::AllowedInTotal(wanted)) => {
                let found = allowed(world)?.len() as u64;
                holds(found == wanted, format!("{found} were allowed"))
            }
            None => Err(format!("unknown invariant `{name}`")),
        },
    }
}

/// What the latest listing showed are the tools of which a plain call would be let through, and no others.
fn only_permitted_listed(world: &World) -> Result<(), String> {
    let listed = world.listed.clone().ok_or("nothing was listed")?;
    let (agent, tenant) = ("w".parse().unwrap(), fixture::owner_id());
    let Value::Object(facts) = json!({"role": "worker"}) else { return Err("no facts".to_owned()) };
    let caller = Caller::new(&agent, &facts).of_tenant(Some(&tenant));
    for contract in world.kernel.tools() {
        let arguments = fixture::plain_arguments(contract.id().as_str());
        let question =
            Question::new(CallKind::Exec, Object::Tool { id: contract.id(), arguments: &arguments });
        let permitted = world.kernel.policy().decide(&caller, &question).verdict() != Verdict::Deny;
        let shown = listed.iter().any(|name| name == contract.id().as_str());
        if permitted != shown {
            return Err(format!("`{}` is permitted: {permitted}, listed: {shown}", contract.id()));
        }
    }
    let known = |name: &String| world.kernel.tools().iter().any(|contract| contract.id().as_str() == name);
    if listed.iter().all(known) { Ok(()) } else { Err(format!("{listed:?} holds what is no tool")) }
}

/// Invariants with a number in their name.
pub(crate) enum Counted {
    /// At most so many slow tools at once, ever.
    Running(u64),
    /// Exactly so many calls of the judged step came to this.
    Parts(Got, u64),
    /// At most so many calls of the judged step came to this.
    PartsAtMost(Got, u64),
    /// The judged step ran tools so often.
    Runs(std::ops::RangeInclusive<u64>),
    /// The judged step took at most so much real time.
    Lasting(std::time::Duration),
    /// At most so many calls were allowed in any window of time.
    AllowedInWindow(u64),
    /// Exactly so many calls were allowed.
    AllowedInTotal(u64),
}

/// The window of the fixture's rate.
const WINDOW_SECONDS: i64 = 60;

pub(crate) fn counted(name: &str) -> Option<Counted> {
    let number = |prefix: &str, suffix: &str| -> Option<u64> {
        name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
    };
    number("at_most_", "_running")
        .map(Counted::Running)
        .or_else(|| number("exactly_", "_denied").map(|wanted| Counted::Parts(Got::Denied, wanted)))
        .or_else(|| number("exactly_", "_allowed").map(|wanted| Counted::Parts(Got::Allowed, wanted)))
        .or_else(|| number("exactly_", "_escalated").map(|wanted| Counted::Parts(Got::Escalated, wanted)))
        .or_else(|| number("exactly_", "_blocked").map(|wanted| Counted::Parts(Got::Blocked, wanted)))
        .or_else(|| number("at_most_", "_allowed").map(|most| Counted::PartsAtMost(Got::Allowed, most)))
        .or_else(|| number("at_most_", "_invoked").map(|most| Counted::Runs(0..=most)))
        .or_else(|| number("exactly_", "_invoked").map(|wanted| Counted::Runs(wanted..=wanted)))
        .or_else(|| number("tool_invoked_exactly_", "_times").map(|wanted| Counted::Runs(wanted..=wanted)))
        .or_else(|| number("tool_invoked_at_most_", "_times").map(|most| Counted::Runs(0..=most)))
        .or_else(|| (name == "tool_invoked_at_most_once").then_some(Counted::Runs(0..=1)))
        .or_else(|| {
            let limit = name.rsplit_once("within_").map(|(_, limit)| limit)?;
            let millis = match limit.strip_suffix("_ms") {
                Some(millis) => millis.parse().ok()?,
                None => limit.strip_suffix("_s")?.parse::<u64>().ok()?.checked_mul(1000)?,
            };
            Some(Counted::Lasting(std::time::Duration::from_millis(millis)))
        })
        .or_else(|| number("at_most_", "_allowed_in_window").map(Counted::AllowedInWindow))
        .or_else(|| number("exactly_", "_allowed_in_total").map(Counted::AllowedInTotal))
}

/// When the calls that are not the caller's own business were allowed, in microseconds.
fn allowed(world: &World) -> Result<Vec<i64>, String> {
    let mut times = Vec::new();
    for stored in world.kernel.recorder().events(0) {
        let stored = stored.map_err(|error| error.to_string())?;
        let event = stored.event().map_err(|error| error.to_string())?;
        if matches!(&event.body, Body::Intent { request, .. } if !is_own_business(request)) {
            times.push(event.time.as_micros());
        }
    }
    times.sort_unstable();
    Ok(times)
}

fn most_allowed_in_window(world: &World) -> Result<u64, String> {
    let times = allowed(world)?;
    let within = |from: i64| {
        times.iter().filter(|at| (from..from + WINDOW_SECONDS * 1_000_000).contains(at)).count() as u64
    };
    Ok(times.iter().map(|from| within(*from)).max().unwrap_or(0))
}

/// The kernel answers: it serves another agent, or, when it lost its recorder, refuses with a typed error.
async fn kernel_alive(world: &World, case: &Case) -> Result<(), String> {
    let lost_recorder = case.input.steps.iter().any(|step| step.text("action") == "fail_writes");
    let probe = match world.kernel.spawn(AgentSpec::new("probe").fact("role", "worker")) {
        Ok(probe) => probe,
        Err(_) if lost_recorder => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let answer = probe.exec("echo", json!({"text": "alive"})).await;
    let _ = world.kernel.signal(probe.id(), Signal::Kill, "probe");
    match answer {
        Ok(Value::String(text)) if text == "alive" => Ok(()),
        // A document of the case may grant nothing.
        Err(CallError::Denied(_)) => Ok(()),
        Err(CallError::KernelDown { .. }) if lost_recorder => Ok(()),
        other => Err(format!("a probe got {other:?}")),
    }
}

/// Calls that change nothing but the caller.
fn is_own_business(request: &Request<'_>) -> bool {
    matches!(
        request,
        Request::Mask { .. } | Request::Await { .. } | Request::Exit { .. } | Request::Close { .. }
    )
}

/// A step and all those within it.
fn flat(step: &Step) -> Vec<Step> {
    let mut all = vec![step.clone()];
    all.extend(step.inner().iter().flat_map(flat));
    all
}

fn recorded(world: &World, wanted: impl Fn(&Body<'_>) -> bool) -> Result<bool, String> {
    let recording = Recording::open(&world.recording).map_err(|error| error.to_string())?;
    for stored in recording.events(0).map_err(|error| error.to_string())? {
        let stored = stored.map_err(|error| error.to_string())?;
        if wanted(&stored.event().map_err(|error| error.to_string())?.body) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn one_line_per_record(world: &World) -> Result<(), String> {
    let mut records = 0u64;
    let mut text = String::new();
    for stored in world.kernel.recorder().events(0) {
        let line = stored.and_then(|stored| stored.to_json()).map_err(|error| error.to_string())?;
        text.push_str(&line.to_string());
        text.push('\n');
        records += 1;
    }
    let lines = text.lines().count() as u64;
    let forged = text.lines().filter(|line| {
        let line: Value = serde_json::from_str(line).expect("each line is JSON");
        line["seq"].as_u64().is_none()
    });
    if lines == records && forged.count() == 0 {
        Ok(())
    } else {
        Err(format!("{lines} lines for {records} records"))
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap_or(0) * 1024
}
