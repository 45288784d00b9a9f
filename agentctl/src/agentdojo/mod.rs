//! `agentctl bench agentdojo`: recorded sessions of an assistant, and what an attacker makes it call, replayed through
//! the kernel's public API.
//!
//! The data is that of AgentDojo (Debenedetti et al., arXiv 2406.13352) in the form described by the `README.md` beside
//! it. The policy sees calls and nothing else: neither goals, nor task ids, nor which session is an attack.

mod data;
mod replay;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use agent_control_plane::Policy;
use clap::Args;

use self::data::Suite;
use self::report::Report;

#[derive(Args)]
pub(crate) struct Options {
    /// Folder with tools.jsonl, user_tasks.jsonl and injection_tasks.jsonl
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The policy to judge by
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let policy = Policy::load(&options.policy)?;
    let suites = data::load(&options.data)?;
    let mut reports = Vec::new();
    for suite in &suites {
        reports.push(measure(suite, &suites, &policy).await?);
    }
    report::print(&reports, options.json)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(suite: &Suite, all: &[Suite], policy: &Policy) -> anyhow::Result<Report> {
    let tools = replay::Tools::of(suite, all)?;
    let mut report = Report::new(&suite.name);
    for task in &suite.user_tasks {
        let mut session = replay::Session::start(&tools, policy)?;
        for call in &task.calls {
            session.call(call).await?;
        }
        report.benign(&session.finish());
    }
    for task in &suite.user_tasks {
        // An attacker speaks through the output of this call, so it can act only after it.
        let exposed =
            task.first_exposure_call.map_or(task.calls.len(), |index| index + 1).min(task.calls.len());
        let (before, after) = task.calls.split_at(exposed);
        for injection in &suite.injection_tasks {
            let mut session = replay::Session::start(&tools, policy)?;
            for call in before {
                session.call(call).await?;
            }
            session.attack_begins();
            for call in &injection.calls {
                session.call(call).await?;
            }
            session.attack_ends();
            for call in after {
                session.call(call).await?;
            }
            report.attacked(&session.finish(), injection, suite);
        }
    }
    Ok(report)
}
