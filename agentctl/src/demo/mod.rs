//! `agentctl demo`: an assistant reviews the repository it is run in, and obeys an order injected into one of its files.

mod model;
mod outbox;
mod scratch;
mod tools;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use agent_control_plane::recorder::Trust;
use agent_control_plane::vfs::{Access, Directory, Mount, Quota, VfsPath};
use agent_control_plane::{AgentSpec, ExitStatus, FlightRecorder, Kernel, Policy};
use anyhow::Context as _;

use self::model::Assistant;
use self::scratch::Scratch;
use crate::log;

const POLICY_NAME: &str = "examples/policies/reviewer.yaml";
const NOTES_QUOTA: Quota = Quota { bytes: 1 << 20, files: 16 };
const POLICY: &str = include_str!("../../../examples/policies/reviewer.yaml");

pub(crate) async fn run(out: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let scratch = Scratch::create(out)?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "policy     {POLICY_NAME}")?;
    writeln!(
        stdout,
        "repository {} (a scratch copy; {} is planted in it)",
        scratch.repository().display(),
        scratch::PLANTED
    )?;
    writeln!(stdout, "recording  {}\n", scratch.recording().display())?;

    let policy = Policy::from_yaml(POLICY_NAME, POLICY)?;
    let recorder = FlightRecorder::open(scratch.recording())?;
    let kernel =
        Kernel::builder().policy(policy).tools(tools::registry(&scratch)?).recorder(recorder).build()?;
    let notes = Arc::new(Directory::open(scratch.notes())?);
    let out = Mount::new(VfsPath::parse("/out")?, notes, Access::ReadWrite(NOTES_QUOTA));
    let spec = AgentSpec::new("reviewer").mount(out);

    let mut shown = log::Follower::default();
    let status = kernel
        .run(spec, |agent| async {
            let mut assistant = Assistant::new(agent);
            while assistant.turn().await {
                if shown.print_new(kernel.recorder(), &mut stdout).is_err() {
                    return 1;
                }
            }
            0
        })
        .await?;
    shown.print_new(kernel.recorder(), &mut stdout)?;
    let down = kernel.shutdown(std::time::Duration::ZERO).await?;
    shown.print_new(kernel.recorder(), &mut stdout)?;
    anyhow::ensure!(down.killed == 0, "an agent outlived its program");
    drop(kernel);

    writeln!(stdout, "\nthe reviewer {status}")?;
    report(&scratch, &mut stdout)?;
    verify(&scratch, &mut stdout)?;
    let ended_by_policy =
        matches!(&status, ExitStatus::Signaled { signal, .. } if signal.name() == "SIGPOLICY");
    anyhow::ensure!(ended_by_policy, "the injected order should have ended the agent by SIGPOLICY");
    Ok(ExitCode::SUCCESS)
}

/// What the world looks like afterwards, read from the world itself.
fn report(scratch: &Scratch, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    writeln!(out, "\nwhat the world looks like now")?;
    writeln!(out, "  notes written   {}", scratch.notes().join("notes.md").display())?;
    for mail in outbox::list(&scratch.outbox())? {
        writeln!(out, "  mail sent       {mail}")?;
    }
    writeln!(out, "  branches left   {}", scratch.branches()?.join(", "))?;
    Ok(())
}

fn verify(scratch: &Scratch, out: &mut impl std::io::Write) -> anyhow::Result<()> {
    let report =
        log::verify(&scratch.recording(), &Trust::default()).context("the recording does not verify")?;
    writeln!(out, "\nrecording verified: {}", log::summary(&report))?;
    let recording = scratch.recording();
    let recording = recording.display();
    let agentctl = std::env::current_exe()?;
    let agentctl = agentctl.display();
    writeln!(out, "look deeper (`agentctl` is {agentctl}):")?;
    writeln!(out, "  agentctl log show {recording}")?;
    writeln!(out, "  agentctl log verify {recording} --head {}", report.head)?;
    Ok(())
}
