//! A Chroma server on a port of its own.

use std::net::TcpListener;
use std::path::PathBuf;

use super::process::{Server, Start};

/// The variable that says where the program is.
const PROGRAM: &str = "AGENT_OS_CHROMA";

/// A running server, and the folder it lives in.
pub struct Chroma {
    _server: Server,
    folder: tempfile::TempDir,
    port: u16,
}

impl Chroma {
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    /// Kills the server.
    pub fn stop(self) -> tempfile::TempDir {
        self.folder
    }

    /// Starts a server on what another one left.
    pub fn start_in(folder: tempfile::TempDir) -> Self {
        // Bound to learn of a free one, and let go for the server. Should another program be faster, the test fails.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let arguments = ["run", "--path", "data", "--host", "127.0.0.1", "--port", &port.to_string()];
        let start = Start {
            program: program(),
            arguments: arguments.map(str::to_owned).into(),
            folder: folder.path(),
            user: None,
            ready: "listening on address",
            signal: "KILL",
        };
        let server = start.run().unwrap_or_else(|said| panic!("the Chroma server {said}"));
        Self { _server: server, folder, port }
    }

    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn program() -> PathBuf {
    let install = "python3 -m venv VENV && VENV/bin/pip install chromadb==1.5.9";
    let Some(program) = std::env::var_os(PROGRAM) else {
        panic!("this test needs a Chroma server; install it ({install}) and set {PROGRAM}=VENV/bin/chroma");
    };
    let program = PathBuf::from(program);
    assert!(program.is_file(), "`{}` is not there; install it: {install}", program.display());
    program
}
