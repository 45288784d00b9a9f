//! The agentmesh rows, from its own binary.
//!
//! agentmesh 4.0.0 requires `cedar-policy = "=4.11.0"`, so no lock file can hold it together with a newer Cedar. It is a package of its
//! own in `agentmesh/`, which is built with this binary's profile into this binary's target folder.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use agent_os_peer_harness::{Report, Row, Workload};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/agentmesh/Cargo.toml");

/// Why there are no agentmesh rows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("agentmesh could not be started through cargo: {0}")]
    NotStarted(std::io::Error),
    #[error("agentmesh could not be built or measured: {0}; its reason stands above")]
    Ended(ExitStatus),
    #[error("agentmesh's report cannot be read: {0}")]
    BadReport(#[from] serde_json::Error),
    #[error("this binary does not lie in a cargo target folder")]
    NoTargetFolder,
}

/// Builds and runs the agentmesh binary on the workload. Its progress goes to standard error.
pub(crate) fn rows(workload: &Workload) -> Result<Vec<Row>, Failure> {
    let workload = serde_json::to_vec(workload)?;
    let mut child = cargo_run()?.spawn().map_err(Failure::NotStarted)?;
    let written = child.stdin.take().map(|stdin| hand_over(stdin, &workload));
    let output = child.wait_with_output().map_err(Failure::NotStarted)?;
    if !output.status.success() {
        return Err(Failure::Ended(output.status));
    }
    if let Some(Err(error)) = written {
        return Err(Failure::NotStarted(error));
    }
    Ok(serde_json::from_slice::<Report>(&output.stdout)?.peers)
}

/// The child reads all of its input before it writes, so neither side waits for the other. Taking the pipe by value closes it.
fn hand_over(mut stdin: ChildStdin, workload: &[u8]) -> std::io::Result<()> {
    stdin.write_all(workload)
}

fn cargo_run() -> Result<Command, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["run", "--quiet", "--locked", "--manifest-path", MANIFEST, "--target-dir"]);
    command.arg(target_folder()?);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    Ok(command)
}

/// The binary lies in `<target folder>/<profile>/`.
fn target_folder() -> Result<PathBuf, Failure> {
    let binary = std::env::current_exe().map_err(Failure::NotStarted)?;
    binary.parent().and_then(Path::parent).map(Path::to_owned).ok_or(Failure::NoTargetFolder)
}
