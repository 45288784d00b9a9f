//! A Chroma server on a port of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::process::{Server, Start, program};

/// The variable that says where the program is, if it is not in the search path.
const PROGRAM: &str = "AGENT_OS_CHROMA";

const INSTALL: &str =
    "python3 -m venv VENV && VENV/bin/pip install chromadb==1.5.9, and set AGENT_OS_CHROMA=VENV/bin/chroma";

const ATTEMPTS: usize = 3;

static TURN: Mutex<()> = Mutex::new(());

/// A running server, and the folder it lives in.
pub(crate) struct Chroma {
    _server: Server,
    folder: tempfile::TempDir,
    port: u16,
}

impl Chroma {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Kills the server.
    pub(crate) fn stop(self) -> tempfile::TempDir {
        self.folder
    }

    /// Starts a server on what another one left.
    pub(crate) fn start_in(folder: tempfile::TempDir) -> Self {
        // Two that looked for a free port at once could find the same one.
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = String::new();
        for _ in 0..ATTEMPTS {
            match run(folder.path()) {
                Ok((server, port)) => return Self { _server: server, folder, port },
                Err(error) => said = error,
            }
        }
        panic!("the Chroma server {said}");
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn run(folder: &Path) -> Result<(Server, u16), String> {
    // Bound to learn of a free one, and let go for the server. Another program may be faster.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let port = free.map_err(|error| error.to_string())?.port();
    let arguments = ["run", "--path", "data", "--host", "127.0.0.1", "--port", &port.to_string()];
    let start = Start {
        program: program("chroma", &folder_of_program(), INSTALL),
        arguments: arguments.map(str::to_owned).into(),
        folder,
        user: None,
        ready: "listening on address",
    };
    start.run().map(|server| (server, port))
}

fn folder_of_program() -> Vec<PathBuf> {
    let program = std::env::var_os(PROGRAM).map(PathBuf::from);
    program.and_then(|program| Some(program.parent()?.to_owned())).into_iter().collect()
}
