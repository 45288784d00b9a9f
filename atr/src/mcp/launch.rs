//! Servers that are programs of this machine.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use agent_primitives::{Digest, json};
use serde_json::json;

use super::error::Lost;
use crate::executor::Command;
use crate::isolation::{Limits, Permissions, SandboxPolicy};

const ENDPOINT: &str = "agent-os atr mcp endpoint v1";
const FILE: &str = "agent-os atr mcp file v1";
/// Largest file that counts for the identity of a server.
const MAX_FILE: u64 = 256 << 20;
/// Most files that count for the identity of a server, besides its program.
const MAX_FILES: usize = 64;

/// A server that is a program of this machine, spoken to over its standard input and output.
///
/// Its identity is the digest of the command, of the bytes of the program and of `files`, of the isolation and of the
/// permissions; values of environment variables do not count. What was approved for one identity counts for no other.
#[derive(Clone, Debug)]
pub struct Program {
    /// What is started.
    pub command: Command,
    /// Files whose content tells this server from another, besides the program itself: the script that an interpreter
    /// runs. At most 64, as absolute paths.
    pub files: Vec<PathBuf>,
    /// What the program is let have.
    pub permissions: Permissions,
    /// How it is isolated, or it is not started.
    pub isolation: SandboxPolicy,
    /// How much the program may use for as long as it runs. `deadline` and `output_bytes` do not apply to it.
    pub limits: Limits,
}

impl Program {
    /// A program that is confined, is granted nothing, and may use an hour of processor time and 512 MiB.
    #[must_use]
    pub fn new(command: Command) -> Self {
        let limits = Limits { cpu: Limits::MAX.cpu, memory_bytes: 512 << 20, ..Limits::DEFAULT };
        let (files, permissions) = (Vec::new(), Permissions::none());
        Self { command, files, permissions, isolation: SandboxPolicy::CONFINED, limits }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.command.check()?;
        self.permissions.check()?;
        if MAX_FILES < self.files.len() || !self.files.iter().all(|file| file.is_absolute()) {
            return Err(format!("its files have to be at most {MAX_FILES}, as absolute paths"));
        }
        match self.limits.first_out_of_range() {
            Some(limit) => Err(format!("the limit `{limit}` is zero or above its maximum")),
            None => Ok(()),
        }
    }

    /// Blocks for reading the files.
    pub(super) fn identity(&self) -> Result<Digest, Lost> {
        let unread = |error| Lost::because("its program cannot be read", error);
        let files = [&self.command.program].into_iter().chain(&self.files);
        let files = files.map(|file| digest(file)).collect::<Result<Vec<_>, _>>().map_err(unread)?;
        let parts = json!({
            "command": self.command.identity(),
            "files": files,
            "isolation": self.isolation,
            "permissions": self.permissions,
        });
        let bytes = json::canonical(&parts).map_err(|error| Lost::because("it has no identity", error))?;
        Ok(Digest::of(ENDPOINT, &bytes))
    }
}

fn digest(file: &Path) -> io::Result<Digest> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if MAX_FILE < bytes.len() as u64 {
        return Err(io::Error::other("it is too large"));
    }
    Ok(Digest::of(FILE, &bytes))
}
