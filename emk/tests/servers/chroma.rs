//! A Chroma server on a port of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::process::{Server, Start, program};

/// The variable that says where the program is, if it is not in the search path.
const PROGRAM: &str = "AGENT_OS_CHROMA";

const INSTALL: &str =
    "python3 -m venv VENV && VENV/bin/pip install chromadb==1.5.9, and set AGENT_OS_CHROMA=VENV/bin/chroma";

const ATTEMPTS: usize = 3;

const ATTEMPTS_TO_REACH: usize = 600;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);

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
    let server = start.run()?;
    // It says that it listens before it does.
    let answers = (0..ATTEMPTS_TO_REACH).any(|_| {
        let is_up = answers(port);
        if !is_up {
            std::thread::park_timeout(BETWEEN_ATTEMPTS);
        }
        is_up
    });
    if answers { Ok((server, port)) } else { Err("does not answer".to_owned()) }
}

/// Whether the server's own check of its health succeeds.
fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        let host = "Host: 127.0.0.1\r\nConnection: close";
        write!(stream, "GET /api/v2/healthcheck HTTP/1.1\r\n{host}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn folder_of_program() -> Vec<PathBuf> {
    let program = std::env::var_os(PROGRAM).map(PathBuf::from);
    program.and_then(|program| Some(program.parent()?.to_owned())).into_iter().collect()
}
