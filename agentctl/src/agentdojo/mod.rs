//! `agentctl bench agentdojo`: recorded sessions of an assistant, and what an attacker makes it call, replayed through
//! the kernel's public API.
//!
//! The data is that of AgentDojo (Debenedetti et al., arXiv 2406.13352) in the form described by the `README.md` beside
//! it. The policy sees calls and nothing else: neither goals, nor task ids, nor which session is an attack.

mod data;
mod random;
mod replay;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use agent_control_plane::Policy;
use clap::{Args, ValueEnum};

use self::data::Suite;
use self::replay::Fate;
use self::report::Report;

/// Where the random strings start from: any number would do, and a fixed one gives the same run twice.
const SEED: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Args)]
pub(crate) struct Options {
    /// Folder with tools.jsonl, user_tasks.jsonl and injection_tasks.jsonl
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The policy to judge by
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// How the kernel finds out where arguments came from
    #[arg(long, value_enum, default_value_t = Tracing::Declared)]
    provenance: Tracing,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// How the kernel finds out where arguments came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tracing {
    /// As recorded in the data: the assistant is an interpreter that keeps track of its variables, and what an attacker
    /// makes it call is made from the output that the attacker spoke through
    Declared,
    /// By the kernel itself, which compares values with the user's words and with what trusted tools answered
    Traced,
    /// Not at all: every argument carries all that the assistant has read
    Coarse,
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let policy = Policy::load(&options.policy)?;
    let suites = data::load(&options.data)?;
    let mut randomised = suites.clone();
    randomised.iter_mut().for_each(|suite| random::replace_attackers_strings(suite, SEED));
    let mut reports = Vec::new();
    for (suite, other) in suites.iter().zip(&randomised) {
        let (mut report, fates) = measure(suite, &suites, &policy, options.provenance).await?;
        let (_, others) = measure(other, &randomised, &policy, options.provenance).await?;
        report.randomised(&fates, &others);
        reports.push(report);
    }
    report::print(&reports, options.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Replays one suite; also gives the fate of every call, in order.
async fn measure(
    suite: &Suite,
    all: &[Suite],
    policy: &Policy,
    tracing: Tracing,
) -> anyhow::Result<(Report, Vec<Fate>)> {
    let tools = replay::Tools::of(suite, all)?;
    let mut report = Report::new(&suite.name);
    let mut fates = Vec::new();
    for task in &suite.user_tasks {
        let mut session = replay::Session::start(&tools, policy, task, tracing)?;
        for call in &task.calls {
            session.call(call).await?;
        }
        let finished = session.finish();
        report.benign(&finished);
        fates.extend(finished.user);
    }
    for task in &suite.user_tasks {
        // An attacker speaks through the output of this call, so it can act only after it.
        let exposed =
            task.first_exposure_call.map_or(task.calls.len(), |index| index + 1).min(task.calls.len());
        let (before, after) = task.calls.split_at(exposed);
        for injection in &suite.injection_tasks {
            let mut session = replay::Session::start(&tools, policy, task, tracing)?;
            for call in before {
                session.call(call).await?;
            }
            for call in &injection.calls {
                session.attack(call).await?;
            }
            for call in after {
                session.call(call).await?;
            }
            let finished = session.finish();
            report.attacked(&finished, injection, suite);
            fates.extend(finished.user.into_iter().chain(finished.attack));
        }
    }
    Ok((report, fates))
}
