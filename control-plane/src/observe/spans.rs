//! Where the spans and events are made. Nothing is formatted before somebody is found to be interested.

use std::borrow::Cow;

use agent_primitives::{AgentId, Digest, Signal, ToolId};
use tracing::field::{Empty, display};
use tracing::{Level, Span, info_span};

use super::{TARGET, event, field, span};
use crate::budget::{Mark, Reached};
use crate::error::CallError;
use crate::kernel::table::Agent;
use crate::kernel::{CHILD, Counted, ExitStatus};
use crate::policy::permit::Judged;
use crate::recorder::{Actor, Body, Source};

/// The value of [`field::TOOL_TYPE`].
const FUNCTION: &str = "function";
/// The value of [`field::OTEL_STATUS`] of what went wrong.
const STATUS_ERROR: &str = "ERROR";
/// The value of [`field::ERROR`] of what was given up.
const CANCELLED: &str = "cancelled";

/// The start of an agent. What is no name is not shown.
pub(crate) fn creating(name: &str, parent: Option<&AgentId>) -> Span {
    let whole = || match parent {
        Some(parent) => Cow::Owned(format!("{parent}{CHILD}{name}")),
        None => Cow::Borrowed(name),
    };
    let named = || Some(whole()).filter(|name| name.parse::<AgentId>().is_ok());
    info_span!(
        target: TARGET,
        span::CREATE_AGENT,
        // Set from the start: OpenTelemetry takes no other name for a span that was entered.
        { field::OTEL_NAME } = named().map(|name| display(format!("{} {name}", span::CREATE_AGENT))),
        { field::OPERATION } = span::CREATE_AGENT,
        { field::AGENT_ID } = named().as_deref(),
        { field::AGENT_NAME } = named().as_deref(),
        { field::GENERATION } = Empty,
        { field::ERROR } = Empty,
        { field::OTEL_STATUS } = Empty,
    )
}

/// What came of starting an agent.
pub(crate) fn created(span: &Span, started: Result<&Agent, &'static str>) {
    if span.is_disabled() {
        return;
    }
    match started {
        Ok(agent) => {
            span.record(field::GENERATION, number(agent.generation));
        }
        Err(code) => failed(span, code),
    }
}

/// An agent whose program runs.
pub(crate) fn invoking(agent: &Agent) -> Span {
    let id = agent.id.as_str();
    info_span!(
        target: TARGET,
        span::INVOKE_AGENT,
        { field::OTEL_NAME } = %format_args!("{} {}", span::INVOKE_AGENT, agent.id),
        { field::OPERATION } = span::INVOKE_AGENT,
        { field::AGENT_ID } = id,
        { field::AGENT_NAME } = id,
        { field::GENERATION } = number(agent.generation),
        { field::EXIT } = Empty,
        { field::EXIT_CODE } = Empty,
        { field::SIGNAL } = Empty,
        { field::ERROR } = Empty,
        { field::OTEL_STATUS } = Empty,
    )
}

/// How an agent ended whose program ran.
pub(crate) fn ended(span: &Span, status: Option<&ExitStatus>) {
    let (false, Some(status)) = (span.is_disabled(), status) else { return };
    match status {
        ExitStatus::Exited { code, .. } => {
            span.record(field::EXIT, "exited");
            span.record(field::EXIT_CODE, i64::from(*code));
            if *code != 0 {
                failed(span, "exit");
            }
        }
        ExitStatus::Signaled { signal, .. } => {
            span.record(field::EXIT, "signaled");
            span.record(field::SIGNAL, signal.name());
            failed(span, signal.name());
        }
        ExitStatus::Crashed { .. } => {
            span.record(field::EXIT, "crashed");
            failed(span, "panic");
        }
    }
}

/// A call that is judged. `content` finds the tool and the digest of its arguments, and whether that may be shown.
pub(crate) fn guarding(
    agent: &AgentId,
    generation: u64,
    call: u64,
    syscall: impl FnOnce() -> &'static str,
    content: impl FnOnce() -> (Option<(ToolId, Digest)>, bool),
) -> Span {
    let span = info_span!(
        target: TARGET,
        span::APPLY_GUARDRAIL,
        { field::OTEL_NAME } = Empty,
        { field::OPERATION } = span::APPLY_GUARDRAIL,
        { field::AGENT_ID } = agent.as_str(),
        { field::AGENT_NAME } = agent.as_str(),
        { field::GENERATION } = number(generation),
        { field::CALL } = number(call),
        { field::SYSCALL } = syscall(),
        { field::TOOL_NAME } = Empty,
        { field::CONTENT_DIGEST } = Empty,
        { field::VERDICT } = Empty,
        { field::RULE } = Empty,
        { field::POLICY_VERSION } = Empty,
        { field::POLICY_GENERATION } = Empty,
        { field::ERROR } = Empty,
        { field::OTEL_STATUS } = Empty,
    );
    if !span.is_disabled()
        && let (Some((tool, digest)), shown) = content()
    {
        span.record(field::TOOL_NAME, tool.as_str());
        if shown {
            span.record(field::CONTENT_DIGEST, display(digest));
        }
    }
    span
}

/// What judging a call came to. `held` is whether it waits for a human.
pub(crate) fn judged(span: &Span, judged: &Judged, held: bool) {
    if span.is_disabled() {
        return;
    }
    let verdict = if held { Counted::Ask } else { judged.counted() };
    span.record(field::VERDICT, verdict.name());
    if let Some(rule) = judged.ruled_by() {
        span.record(field::RULE, rule);
    }
    let decision = judged.answered();
    span.record(field::POLICY_VERSION, display(decision.policy_digest()));
    span.record(field::POLICY_GENERATION, number(decision.generation()));
}

/// A call was refused without being judged anew, or could not be.
pub(crate) fn not_judged(span: &Span, error: &CallError) {
    match error {
        CallError::Denied(denial) => {
            span.record(field::VERDICT, Counted::Deny.name());
            if let Some(rule) = denial.rule() {
                span.record(field::RULE, rule);
            }
        }
        error => failed(span, error.code()),
    }
}

/// A tool that runs. Dropped before it is over, it was given up.
#[derive(Debug)]
#[must_use = "a tool's span needs an end"]
pub(crate) struct Executing {
    span: Span,
    over: bool,
}

impl Executing {
    pub(crate) fn begin(agent: &Agent, call: u64, tool: &str) -> Self {
        let id = agent.id.as_str();
        let span = info_span!(
            target: TARGET,
            span::EXECUTE_TOOL,
            { field::OTEL_NAME } = %format_args!("{} {tool}", span::EXECUTE_TOOL),
            { field::OPERATION } = span::EXECUTE_TOOL,
            { field::AGENT_ID } = id,
            { field::AGENT_NAME } = id,
            { field::GENERATION } = number(agent.generation),
            { field::CALL } = number(call),
            { field::TOOL_NAME } = tool,
            { field::TOOL_TYPE } = FUNCTION,
            { field::TOOL_CALL_ID } = %format_args!("{}.{call}", agent.generation),
            { field::ERROR } = Empty,
            { field::OTEL_STATUS } = Empty,
        );
        Self { span, over: false }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The tool is done, or failed.
    pub(crate) fn finish<T>(mut self, result: &Result<T, CallError>) {
        self.over = true;
        if let Err(error) = result {
            failed(&self.span, error.code());
        }
    }
}

impl Drop for Executing {
    fn drop(&mut self) {
        if !self.over {
            failed(&self.span, CANCELLED);
        }
    }
}

/// Tells of an event on record, where it is one that spans show.
pub(crate) fn recorded(source: Source<'_>, body: &Body<'_>) {
    let Body::Signal { signal, from, delivered, .. } = body else { return };
    tracing::event!(name: event::SIGNAL, target: TARGET, Level::INFO, {
        { field::AGENT_ID } = source.agent,
        { field::GENERATION } = number(source.generation),
        { field::SIGNAL } = Signal::from_number(*signal).map_or("", Signal::name),
        { field::RAISED_BY } = match from {
            Actor::Host => "host",
            Actor::Kernel => "kernel",
            Actor::Agent(_) => "agent",
        },
        { field::DELIVERED } = *delivered,
    });
}

/// An account reached a mark.
pub(crate) fn reached(reached: &Reached) {
    let Reached { account, resource, used, limit, mark } = reached;
    tracing::event!(name: event::BUDGET, target: TARGET, Level::WARN, {
        { field::ACCOUNT } = %account,
        { field::RESOURCE } = %resource,
        { field::USED } = number(*used),
        { field::LIMIT } = number(*limit),
        { field::EXHAUSTED } = *mark == Mark::Exhausted,
    });
}

fn failed(span: &Span, what: &str) {
    span.record(field::ERROR, what);
    span.record(field::OTEL_STATUS, STATUS_ERROR);
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_hashed_where_nobody_listens() {
        let agent = "a".parse().unwrap();
        let span = guarding(&agent, 1, 1, || panic!("asked"), || panic!("hashed"));
        assert!(span.is_disabled());
    }
}
