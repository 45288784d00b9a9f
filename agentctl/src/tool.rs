//! The far side of the demo's child-process tools.
//!
//! The kernel starts `agentctl tool <name>` in the scratch repository, writes the judged arguments to its standard
//! input and reads its answer from its standard output. The process gets no environment but what the demo declares, and
//! where the machine has a sandbox, no file but this program, the system's and the scratch repository.

use std::io::{Read as _, Write as _};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the repository appears in the paths the assistant uses.
pub(crate) const REPOSITORY: &str = "/repo";
/// Largest file the reading tool hands out.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// The tools.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Name {
    /// Runs git in the current directory.
    Git,
    /// Reads a file below the current directory.
    ReadFile,
}

/// Arguments of the git tool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Git {
    argv: Vec<String>,
}

/// Arguments of the reading tool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    path: String,
}

pub(crate) fn run(name: Name) -> anyhow::Result<ExitCode> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let answer = match name {
        Name::Git => git(&serde_json::from_str(&input)?)?,
        Name::ReadFile => read_file(&serde_json::from_str(&input)?)?,
    };
    std::io::stdout().write_all(answer.to_string().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn git(arguments: &Git) -> anyhow::Result<Value> {
    let output = Command::new("git")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        // The scratch copy may belong to another user than this process, as it does in containers.
        .envs([
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
        ])
        .arg("--no-pager")
        .args(&arguments.argv)
        .output()
        .context("git did not start")?;
    Ok(json!({
        "status": output.status.code(),
        "stdout": String::from_utf8_lossy(&output.stdout),
        "stderr": String::from_utf8_lossy(&output.stderr),
    }))
}

/// The directory handle refuses any path, and any link, that leads out of the repository, whatever policy said.
fn read_file(arguments: &ReadFile) -> anyhow::Result<Value> {
    let Some(relative) = arguments.path.strip_prefix(REPOSITORY).and_then(|path| path.strip_prefix('/'))
    else {
        bail!("the path is not in the repository");
    };
    let here = cap_std::fs::Dir::open_ambient_dir(".", cap_std::ambient_authority())?;
    let mut text = Vec::new();
    here.open(relative)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
    Ok(json!({ "text": String::from_utf8_lossy(&text) }))
}
