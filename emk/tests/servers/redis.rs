//! A Redis server on a Unix socket.

use std::path::Path;

use super::process::{Server, Start, program};

/// A running server, and the folder it lives in.
pub(crate) struct Redis {
    _server: Server,
    folder: tempfile::TempDir,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { _server: run(folder.path()), folder }
    }

    /// Kills the server.
    pub(crate) fn stop(self) -> tempfile::TempDir {
        self.folder
    }

    /// Starts a server on what another one left.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        Self { _server: run(folder.path()), folder }
    }

    pub(crate) fn address(&self) -> String {
        format!("redis+unix://{}", self.folder.path().join("socket").display())
    }
}

fn run(folder: &Path) -> Server {
    let arguments = "--port 0 --unixsocket socket --dir . --appendonly yes --appendfsync always --save";
    let arguments = arguments.split(' ').map(str::to_owned).chain([String::new()]).collect();
    let program = program("redis-server", &[], "apt-get install redis-server");
    Start { program, arguments, folder, user: None, ready: "eady to accept connections" }
        .run()
        .unwrap_or_else(|said| panic!("the Redis server {said}"))
}
