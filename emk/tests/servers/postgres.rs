//! A PostgreSQL server on a Unix socket.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Server, Start, program};

/// How often a start is tried again: what is left of a killed server may still be ending.
const ATTEMPTS: usize = 50;

/// A running server, and the folder it lives in.
pub(crate) struct Postgres {
    _server: Server,
    folder: tempfile::TempDir,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        if let Some((user, group)) = user(folder.path()) {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        initialise(folder.path());
        Self { _server: run(folder.path()), folder }
    }

    /// Kills the server; what it had written stays.
    pub(crate) fn stop(self) -> tempfile::TempDir {
        self.folder
    }

    /// Starts a server on what another one left.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        Self { _server: run(folder.path()), folder }
    }

    pub(crate) fn address(&self) -> String {
        format!("host={} user=test dbname=postgres", self.folder.path().display())
    }
}

fn initialise(folder: &Path) {
    let mut command = Command::new(tool("initdb"));
    command.args(["--pgdata", "data", "--username", "test", "--auth", "trust", "--encoding", "UTF8"]);
    command.args(["--locale", "C", "--no-sync"]).current_dir(folder);
    if let Some((user, group)) = user(folder) {
        command.uid(user).gid(group);
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
}

fn run(folder: &Path) -> Server {
    let mut said = String::new();
    for _ in 0..ATTEMPTS {
        let directory = folder.display().to_string();
        let arguments =
            ["-D", "data", "-k", &directory, "-c", "listen_addresses=", "-c", "max_connections=60"];
        let start = Start {
            program: tool("postgres"),
            arguments: arguments.map(str::to_owned).into(),
            folder,
            user: user(folder),
            ready: "ready to accept connections",
        };
        match start.run() {
            Ok(server) => return server,
            Err(error) => said = error,
        }
    }
    panic!("the PostgreSQL server {said}");
}

/// Debian keeps the programs of each version in a folder of its own.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    program(name, &folders, "apt-get install postgresql")
}

/// PostgreSQL refuses to be run by the superuser, so then it is run as the user that its package made.
fn user(folder: &Path) -> Option<(u32, u32)> {
    // Who owns a new folder is who runs this. It may have been given to that user already.
    if std::fs::metadata("/proc/self").map_or_else(|_| folder.metadata().unwrap().uid(), |me| me.uid()) != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    let Some(line) = line else {
        panic!("there is no user `postgres`; install it: apt-get install postgresql")
    };
    let mut numbers = line.split(':').skip(1);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
