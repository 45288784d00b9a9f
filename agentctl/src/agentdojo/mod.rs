//! `agentctl bench agentdojo`: recorded sessions of an assistant, and what an attacker makes it call, replayed through
//! the kernel's public API.
//!
//! The data is that of AgentDojo (Debenedetti et al., arXiv 2406.13352) in the form described by the `README.md` beside
//! it. The policy sees calls and nothing else: neither goals, nor task ids, nor which session is an attack.

mod data;
mod random;
mod replay;
mod report;
mod takeover;

use std::path::PathBuf;
use std::process::ExitCode;

use agent_control_plane::Policy;
use clap::{Args, ValueEnum};

use self::data::{InjectionTask, Suite, UserTask};
use self::replay::{Fate, Finished};
use self::report::Report;
use self::takeover::Takeover;

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
        let takeovers = takeovers(suite);
        let (mut report, fates) = measure(suite, &suites, &takeovers, &policy, options.provenance).await?;
        let (_, others) = measure(other, &randomised, &takeovers, &policy, options.provenance).await?;
        report.randomised(&fates, &others);
        reports.push(report);
    }
    report::print(&reports, options.json)?;
    Ok(ExitCode::SUCCESS)
}

/// How each attacker's task could be done through each user's plan, in the order the pairs are replayed. Worked out on the
/// data as it is, so that random strings change values and not which attacks are tried.
fn takeovers(suite: &Suite) -> Vec<Option<Takeover>> {
    let Suite { user_tasks, injection_tasks, .. } = suite;
    let of = |task| injection_tasks.iter().map(move |injection| takeover::plan(task, injection, suite));
    user_tasks.iter().flat_map(of).collect()
}

/// Replays one suite; also gives the fate of every call, in order.
async fn measure(
    suite: &Suite,
    all: &[Suite],
    takeovers: &[Option<Takeover>],
    policy: &Policy,
    tracing: Tracing,
) -> anyhow::Result<(Report, Vec<Fate>)> {
    let tools = replay::Tools::of(suite, all)?;
    let mut report = Report::new(&suite.name);
    let mut fates = Vec::new();
    let mut takeovers = takeovers.iter();
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
            if let Some(Some(takeover)) = takeovers.next() {
                let session = replay::Session::start(&tools, policy, task, tracing)?;
                let finished = take_over(session, task, injection, takeover).await?;
                report.taken_over(&finished);
                fates.extend(finished.user.into_iter().chain(finished.attack));
            }
        }
    }
    Ok((report, fates))
}

/// Replays the user's plan with an attacker's values in it.
async fn take_over(
    mut session: replay::Session<'_>,
    task: &UserTask,
    injection: &InjectionTask,
    takeover: &Takeover,
) -> anyhow::Result<Finished> {
    for (index, call) in task.calls.iter().enumerate() {
        let values = takeover.iter().find(|(of, _)| *of == index);
        match values.and_then(|(_, number)| injection.calls.get(*number)) {
            Some(values) => session.taken_over(&takeover::with_values(call, &values.args)).await?,
            None => session.call(call).await?,
        }
    }
    Ok(session.finish())
}
