//! The daemon that tests talk to. `AGENT_OS_DOCKER` names its socket; without it, the first test process that needs one
//! starts it, all that run meanwhile share it, and it is stopped when the last of them has ended.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use agent_primitives::{Clock, SystemClock};

/// How long a daemon may take to get ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a daemon in the folder `$1` until nobody holds the lock on `$1/users`.
const KEEPER: &str = r#"
cd "$1" || exit 1
echo '{}' > config
"$2" --config-file "$1/config" --storage-driver vfs --bridge none --iptables=false --data-root "$1/data" --exec-root "$1/exec" \
    --pidfile "$1/pid" -H "unix://$1/socket" > "$1/log" 2>&1 < /dev/null &
daemon=$!
exec 9<> users
while kill -0 "$daemon" && ! flock -n -x 9; do sleep 1; done 2> /dev/null
kill -TERM "$daemon" 2> /dev/null
wait "$daemon"
umount data 2> /dev/null
rm -rf data exec socket
"#;

/// The socket of the shared daemon, which is there as long as this process.
pub(crate) fn shared() -> &'static Path {
    static SHARED: OnceLock<(PathBuf, Option<File>)> = OnceLock::new();
    let (socket, _) = SHARED.get_or_init(|| match std::env::var_os("AGENT_OS_DOCKER") {
        Some(socket) => {
            let socket = PathBuf::from(socket);
            assert!(answers(&socket), "no daemon answers on AGENT_OS_DOCKER={}", socket.display());
            (socket, None)
        }
        None => start_shared(),
    });
    socket
}

fn start_shared() -> (PathBuf, Option<File>) {
    // Not beneath the target folder: the path of a socket has a hundred characters at most.
    let place = env!("CARGO_MANIFEST_DIR")
        .bytes()
        .fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    let folder = PathBuf::from(format!("/tmp/agent-os-docker-{place:08x}"));
    let _ = fs::DirBuilder::new().mode(0o700).create(&folder);
    let open = |name: &str| File::options().create(true).append(true).open(folder.join(name)).unwrap();
    // Waits for a keeper that is just stopping its daemon.
    let users = open("users");
    users.lock_shared().unwrap();
    let start = open("start");
    start.lock().unwrap();
    let socket = folder.join("socket");
    if !answers(&socket) {
        let mut keeper = Command::new("setsid");
        keeper.args(["sh", "-c", KEEPER, "keeper"]).arg(&folder).arg(dockerd());
        keeper.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut keeper = keeper.spawn().unwrap();
        let gone = || keeper.try_wait().unwrap().is_some();
        await_answer(&socket, gone, &folder.join("log"));
    }
    start.unlock().unwrap();
    (socket, Some(users))
}

/// A daemon of one test's own, to be killed.
pub(crate) struct Private {
    folder: tempfile::TempDir,
    daemon: Child,
}

impl Private {
    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("agent-os-docker-").tempdir_in("/tmp").unwrap();
        let daemon = Self::run(folder.path());
        Self { folder, daemon }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Ends the daemon and its containerd without warning; containers go on.
    pub(crate) fn kill(&mut self) {
        let number = self.folder.path().join("exec/containerd/containerd.pid");
        let containerd = fs::read_to_string(&number).unwrap();
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        // The kernel ends it with its daemon; whether it has yet does not matter.
        let _ = Command::new("kill").args(["-KILL", containerd.trim()]).stderr(Stdio::null()).status();
        // Else the next daemon believes for as long as nobody reaps it that it is there.
        fs::remove_file(number).unwrap();
    }

    pub(crate) fn restart(&mut self) {
        self.daemon = Self::run(self.folder.path());
    }

    /// Makes it answer nothing; when this returns, not one of its threads runs.
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
        let stands = |task: std::io::Result<fs::DirEntry>| {
            // The name of a thread, in parentheses, may hold anything.
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
        };
        let tasks = format!("/proc/{}/task", self.daemon.id());
        let clock = SystemClock::new();
        let until = clock.monotonic().after(PATIENCE);
        while !fs::read_dir(&tasks).unwrap().all(stands) {
            assert!(clock.monotonic() < until, "it does not stop");
            std::thread::yield_now();
        }
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.daemon.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn run(folder: &Path) -> Child {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new(dockerd());
        fs::write(folder.join("config"), "{}").unwrap();
        command.args(["--config-file", &at("config"), "--storage-driver", "vfs", "--bridge", "none"]);
        command.args(["--iptables=false", "--data-root", &at("data"), "--exec-root", &at("exec")]);
        command.args(["--pidfile", &at("pid"), "-H", &format!("unix://{}", at("socket"))]);
        let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut daemon = command.spawn().unwrap();
        let socket = folder.join("socket");
        await_answer(&socket, || daemon.try_wait().unwrap().is_some(), &folder.join("log"));
        daemon
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if self.daemon.try_wait().unwrap().is_some() {
            // So that what it has left is cleared away.
            self.restart();
        }
        self.signal("-TERM");
        // A test that failed may have left it stopped.
        self.signal("-CONT");
        let _ = self.daemon.wait();
        // A daemon that was killed has left its folder mounted on itself.
        for _ in 0..4 {
            let data = self.folder.path().join("data");
            let _ = Command::new("umount").arg(data).stderr(Stdio::null()).status();
        }
    }
}

fn dockerd() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let found = folders.map(|folder| folder.join("dockerd")).find(|program| program.is_file());
    found.unwrap_or_else(|| {
        panic!("this test needs `dockerd` run as root, which is not here; install docker.io, or set AGENT_OS_DOCKER")
    })
}

/// Whether a daemon answers there.
fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.ends_with("OK"))
}

fn await_answer(socket: &Path, mut gone: impl FnMut() -> bool, log: &Path) {
    let clock = SystemClock::new();
    let until = clock.monotonic().after(PATIENCE);
    while !answers(socket) {
        let late = until <= clock.monotonic();
        if late || gone() {
            panic!("the daemon did not get ready, and said\n{}", fs::read_to_string(log).unwrap_or_default());
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
