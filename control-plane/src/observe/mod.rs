//! The spans and events that the library tells [`tracing`](https://docs.rs/tracing): their names and fields are a contract.
//!
//! Names follow OpenTelemetry's conventions for generative AI where those have one, and begin with `agent_os.` where they
//! have none. `docs/traces.md` says what each holds. Arguments, results, texts, reasons and paths are in no span and no
//! event. Where no subscriber is interested a span costs the look at that, and nothing is formatted or hashed.
//!
//! Everything is at [`TARGET`], spans at the level `INFO`. A span lies inside the one that is current where the kernel is
//! called or its future polled.

#[cfg(feature = "otel")]
pub mod otel;
pub(crate) mod spans;
mod traceparent;

pub use self::traceparent::{BadTraceParent, TraceParent};

/// The target of every span and event of the kernel.
pub const TARGET: &str = "agent_os";

/// The names of the spans. In OpenTelemetry [`field::OTEL_NAME`] takes their place, which adds the agent or tool.
pub mod span {
    /// A program of an agent, from its first step until the agent has ended.
    pub const INVOKE_AGENT: &str = "invoke_agent";
    /// The start of an agent.
    pub const CREATE_AGENT: &str = "create_agent";
    /// A tool that runs.
    pub const EXECUTE_TOOL: &str = "execute_tool";
    /// Policy that judges one call, limits and tickets included.
    pub const APPLY_GUARDRAIL: &str = "apply_guardrail";

    /// All of them.
    pub const ALL: [&str; 4] = [INVOKE_AGENT, CREATE_AGENT, EXECUTE_TOOL, APPLY_GUARDRAIL];
}

/// The names of the events. Each lies in the span that is current where it happens.
pub mod event {
    /// A signal was raised.
    pub const SIGNAL: &str = "agent_os.signal";
    /// A budget reached its soft mark or its end. At the level `WARN`.
    pub const BUDGET: &str = "agent_os.budget";

    /// All of them.
    pub const ALL: [&str; 2] = [SIGNAL, BUDGET];
}

/// The names of the fields. Numbers are signed, because OpenTelemetry's are.
pub mod field {
    /// What is done: the name of the span.
    pub const OPERATION: &str = "gen_ai.operation.name";
    /// The agent's name. It names one agent of a kernel at any time.
    pub const AGENT_ID: &str = "gen_ai.agent.id";
    /// The same, for whoever shows it.
    pub const AGENT_NAME: &str = "gen_ai.agent.name";
    /// The tool.
    pub const TOOL_NAME: &str = "gen_ai.tool.name";
    /// What kind of tool: always `function`.
    pub const TOOL_TYPE: &str = "gen_ai.tool.type";
    /// The life of the agent and the number of the call in it, as in the record: `LIFE.CALL`.
    pub const TOOL_CALL_ID: &str = "gen_ai.tool.call.id";
    /// What went wrong: a stable error code, the signal that ended an agent, `panic`, `exit` for another exit code than 0,
    /// `cancelled` for a call that was given up.
    pub const ERROR: &str = "error.type";

    /// Which life of its name the agent is in.
    pub const GENERATION: &str = "agent_os.agent.generation";
    /// The number of the call in its agent's life, as in the record.
    pub const CALL: &str = "agent_os.call";
    /// The system call.
    pub const SYSCALL: &str = "agent_os.syscall";
    /// What became of the call, in the words of [`crate::kernel::Counted`].
    pub const VERDICT: &str = "agent_os.verdict";
    /// The rule that decided, if one did.
    pub const RULE: &str = "agent_os.rule.id";
    /// The digest of the policies that judged.
    pub const POLICY_VERSION: &str = "agent_os.policy.version";
    /// Which policy set of this kernel judged.
    pub const POLICY_GENERATION: &str = "agent_os.policy.generation";
    /// The digest of a tool's arguments, as in the record. Not of a tool whose arguments are redacted: they could be guessed.
    pub const CONTENT_DIGEST: &str = "agent_os.content.digest";
    /// A signal's name.
    pub const SIGNAL: &str = "agent_os.signal";
    /// Who raised it: `host`, `kernel` or `agent`.
    pub const RAISED_BY: &str = "agent_os.signal.raised_by";
    /// Whether it had its effect at once.
    pub const DELIVERED: &str = "agent_os.signal.delivered";
    /// How an agent ended: `exited`, `signaled` or `crashed`.
    pub const EXIT: &str = "agent_os.exit";
    /// The exit code of one that exited.
    pub const EXIT_CODE: &str = "agent_os.exit.code";
    /// Whose budget, in words.
    pub const ACCOUNT: &str = "agent_os.account";
    /// Of what.
    pub const RESOURCE: &str = "agent_os.resource";
    /// How much of it is used.
    pub const USED: &str = "agent_os.budget.used";
    /// How much there is.
    pub const LIMIT: &str = "agent_os.budget.limit";
    /// Whether it is used up.
    pub const EXHAUSTED: &str = "agent_os.budget.exhausted";

    /// The name of the span in OpenTelemetry, which may vary: `invoke_agent NAME`.
    pub const OTEL_NAME: &str = "otel.name";
    /// `ERROR` beside [`ERROR`].
    pub const OTEL_STATUS: &str = "otel.status_code";

    /// All of them.
    pub const ALL: [&str; 25] = [
        OPERATION,
        AGENT_ID,
        AGENT_NAME,
        TOOL_NAME,
        TOOL_TYPE,
        TOOL_CALL_ID,
        ERROR,
        GENERATION,
        CALL,
        SYSCALL,
        VERDICT,
        RULE,
        POLICY_VERSION,
        POLICY_GENERATION,
        CONTENT_DIGEST,
        SIGNAL,
        RAISED_BY,
        DELIVERED,
        EXIT,
        EXIT_CODE,
        ACCOUNT,
        RESOURCE,
        USED,
        LIMIT,
        EXHAUSTED,
    ];
}
