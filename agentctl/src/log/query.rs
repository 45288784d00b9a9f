//! Which events are wanted, and the answer to that.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use agent_control_plane::primitives::{Timestamp, Verdict};
use agent_control_plane::question::CallKind;
use agent_control_plane::recorder::{DEFAULT_PAGE, Event, MAX_PAGE, Query, Recording, Stored};
use anyhow::Context as _;
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Output;
use super::line::line;

pub(super) const EXAMPLES: &str = "Examples:
  agentctl log query recording --verdict deny --limit 20
  agentctl log query recording --agent reviewer --tool mail.send --since 2026-01-01T00:00:00Z
  agentctl log query recording --agent reviewer --call 7 --oldest-first --output jsonl";

/// Which events. All that is said has to hold.
#[derive(Args)]
pub(crate) struct Selection {
    /// Only the events of this agent; the empty name is the host and the kernel
    #[arg(long)]
    agent: Option<String>,
    /// Only of this life of its agent
    #[arg(long)]
    life: Option<u64>,
    /// Only at this time or later, as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Only of this kind, such as intent, refused or outcome; may be repeated
    #[arg(long, hide_possible_values = true, value_parser = PossibleValuesParser::new(Event::KINDS))]
    kind: Vec<String>,
    /// Only about this tool
    #[arg(long)]
    tool: Option<String>,
    /// Only about this system call, such as exec or write
    #[arg(long, hide_possible_values = true, value_parser = PossibleValuesParser::new(CallKind::ALL.map(CallKind::name)))]
    syscall: Option<String>,
    /// Only where policy said this
    #[arg(long, value_enum)]
    verdict: Option<Said>,
    /// Only where this rule decided
    #[arg(long)]
    rule: Option<String>,
    /// Only about the call of this number; each life of an agent numbers its own
    #[arg(long)]
    call: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Said {
    Allow,
    Ask,
    Deny,
}

#[derive(Args)]
pub(crate) struct Options {
    /// The folder of the recording
    recording: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
    /// At most so many, from 1 to 10000
    #[arg(long, default_value_t = DEFAULT_PAGE as u64, value_parser = clap::value_parser!(u64).range(1..=MAX_PAGE as u64))]
    limit: u64,
    /// Begin at this sequence number, as the page before told
    #[arg(long, value_name = "SEQ")]
    page: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Selection {
    pub(super) fn query(&self) -> anyhow::Result<Query> {
        let mut query = Query::new();
        if let Some(agent) = &self.agent {
            query = query.agent(agent);
        }
        if let Some(life) = self.life {
            query = query.life(life);
        }
        if let Some(since) = self.since {
            query = query.since(since);
        }
        if let Some(until) = self.until {
            query = query.until(until);
        }
        if let Some(tool) = &self.tool {
            query = query.tool(tool);
        }
        if let Some(name) = &self.syscall {
            let call = CallKind::ALL.into_iter().find(|call| call.name() == name);
            query = query.syscall(call.with_context(|| format!("there is no system call `{name}`"))?);
        }
        if let Some(verdict) = self.verdict {
            query = query.verdict(match verdict {
                Said::Allow => Verdict::Allow,
                Said::Ask => Verdict::Ask,
                Said::Deny => Verdict::Deny,
            });
        }
        if let Some(rule) = &self.rule {
            query = query.rule(rule);
        }
        if let Some(call) = self.call {
            query = query.call(call);
        }
        Ok(self.kind.iter().fold(query, Query::kind))
    }
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut query = options.selection.query()?.limit(usize::try_from(options.limit).unwrap_or(MAX_PAGE));
    if options.oldest_first {
        query = query.oldest_first();
    }
    if let Some(page) = options.page {
        query = query.page(page);
    }
    let page = Recording::open(&options.recording)?.query(&query)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match options.output {
        Output::Table => page.records.iter().try_for_each(|stored| {
            writeln!(out, "{}", line(stored)?)?;
            anyhow::Ok(())
        })?,
        Output::Jsonl => page.records.iter().try_for_each(|stored| {
            writeln!(out, "{}", stored.to_json()?)?;
            anyhow::Ok(())
        })?,
        Output::Json => {
            let records: Result<Vec<Value>, _> = page.records.iter().map(Stored::to_json).collect();
            writeln!(out, "{}", json!({ "version": 1, "records": records?, "next": page.next }))?;
        }
    }
    out.flush()?;
    if let (Some(next), true) = (page.next, options.output != Output::Json) {
        writeln!(std::io::stderr(), "there may be more: --page {next}")?;
    }
    Ok(ExitCode::SUCCESS)
}
