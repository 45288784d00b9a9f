//! A child process that ends with its owner, however that ends.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How long a server may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a program in the background and kills it as soon as its own standard input ends, which it does when this process
/// lets go of it or dies. `$1` is the signal.
const KEEPER: &str = r#"signal=$1; shift; "$@" 2>&1 < /dev/null & server=$!; read -r _; kill "-$signal" "$server"; wait "$server""#;

/// A running server.
pub struct Server {
    keeper: Child,
    leash: Option<ChildStdin>,
}

/// What a server is started with.
pub struct Start<'a> {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub folder: &'a Path,
    /// Who runs it, if not who runs the test.
    pub user: Option<(u32, u32)>,
    /// What the server says once it is ready.
    pub ready: &'a str,
    /// What ends it; `KILL` is a crash.
    pub signal: &'a str,
}

impl Start<'_> {
    /// Starts the server and waits until it is ready; what it said if it did not get there.
    pub fn run(self) -> Result<Server, String> {
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "keeper", self.signal]).arg(&self.program).args(&self.arguments);
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

/// A server that the tests of one binary share while any of them runs.
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The running server, or the one that `start` starts. It ends with the last test that holds it.
    pub fn get(&self, start: impl FnOnce() -> T) -> Arc<T> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let server = Arc::new(start());
            *running = Arc::downgrade(&server);
            server
        })
    }
}

/// The program `name` of the search path or of one of `folders`.
pub fn program(name: &str, folders: &[PathBuf], install: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = folders.iter().cloned().chain(std::env::split_paths(&path)).map(|folder| folder.join(name));
    let found = candidates.into_iter().find(|program| program.is_file());
    found.unwrap_or_else(|| panic!("this test needs `{name}`, which is not here; install it: {install}"))
}
