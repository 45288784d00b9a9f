//! Real servers for tests: each test binary starts its own, on a socket or port of its own and a folder that goes with it.
//!
//! A test that finds no server fails, and says what to install. Nothing that this did not start is touched; what it did start
//! ends with its owner, however that ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How long a server may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a program in the background and kills it as soon as its own standard input ends, which it does when this process
/// lets go of it or dies.
const KEEPER: &str =
    r#""$@" 2>&1 < /dev/null & server=$!; exec >&- 2>&-; read -r _; kill -KILL "$server"; wait "$server""#;

/// A running server.
pub(crate) struct Server {
    keeper: Child,
    leash: Option<ChildStdin>,
}

/// What a server is started with.
pub(crate) struct Start<'a> {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) folder: &'a Path,
    /// Who runs it, if not who runs the test.
    pub(crate) user: Option<(u32, u32)>,
    /// What the server says once it is ready.
    pub(crate) ready: &'a str,
}

impl Start<'_> {
    /// Starts the server and waits until it is ready; what it said if it did not get there.
    pub(crate) fn run(self) -> Result<Server, String> {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(&self.program).args(&self.arguments);
        command.current_dir(self.folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        let mut keeper = command.spawn().map_err(|error| error.to_string())?;
        let output = keeper.stdout.take().unwrap();
        let leash = keeper.stdin.take();
        let server = Server { keeper, leash };
        await_line(output, self.ready).map(|()| server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.leash.take());
        let _ = self.keeper.wait();
    }
}

/// Waits for a line that holds `ready`, and goes on reading, since a server that nobody reads from stops.
fn await_line(output: impl Read + Send + 'static, ready: &str) -> Result<(), String> {
    let (sender, lines) = sync_channel(100);
    std::thread::spawn(move || {
        let mut told = true;
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            told = told && sender.try_send(String::from_utf8_lossy(&line).into_owned()).is_ok();
        }
    });
    let mut said = String::new();
    loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line.contains(ready) => return Ok(()),
            Ok(line) => said = said + &line + "\n",
            Err(RecvTimeoutError::Timeout) => return Err(format!("not ready in time, and said\n{said}")),
            Err(RecvTimeoutError::Disconnected) => return Err(format!("ended, and said\n{said}")),
        }
    }
}

/// The program `name` of the search path or of one of `folders`.
pub(crate) fn program(name: &str, folders: &[PathBuf], install: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates =
        folders.iter().cloned().chain(std::env::split_paths(&path)).map(|folder| folder.join(name));
    let found = candidates.into_iter().find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("this test needs `{name}`, which is not here; install it: {install}"))
}
