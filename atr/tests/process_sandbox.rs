//! Programs in the sandbox of Linux: what they see, how they end, how they are stopped, and that nothing of them stays.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_primitives::{AgentId, Clock};
use agent_tool_registry::executor::{Cause, Executions, Exit, Held, Launch, Order, Session};
use agent_tool_registry::{
    Access, Artefact, Command, Executor, Guarantee, Limits, Permissions, Process, TokioTimer, ToolError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const BUSYBOX: &str = "/usr/bin/busybox";

/// Tests that count what this process has must not see another test's.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn launch(command: Command, permissions: Permissions, limits: Limits) -> Launch {
    let timer = Arc::new(TokioTimer::new());
    Launch {
        artefact: Artefact::Command(command),
        permissions,
        limits,
        agent: "tester".parse::<AgentId>().unwrap(),
        executions: Executions::new(timer.clone()),
        timer,
    }
}

/// A script for the shell of the static busybox, which needs nothing of the host.
fn busybox(script: &str) -> Command {
    Command::new(BUSYBOX).arg("sh").arg("-c").arg(script)
}

#[derive(Debug)]
struct Run {
    out: String,
    err: String,
    exit: Exit,
}

async fn to_the_end(session: Session) -> Run {
    let Session { stdin, mut stdout, mut stderr, exit, .. } = session;
    drop(stdin);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (exit, _, _) = tokio::join!(exit, stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Run { out: text(out), err: text(err), exit }
}

fn try_run(command: Command, permissions: Permissions, limits: Limits) -> Result<Run, ToolError> {
    let _alone = alone();
    block_on(async {
        let session = Process::new().start(launch(command, permissions, limits)).await?;
        Ok(to_the_end(session).await)
    })
}

fn run(command: Command, permissions: Permissions) -> Run {
    try_run(command, permissions, Limits::DEFAULT).unwrap()
}

fn shell(script: &str) -> Run {
    run(busybox(script), Permissions::none())
}

/// Waits for a real process; the limit is only there so that a failing test ends.
async fn until(what: &str, done: impl Fn() -> bool) {
    let timer = TokioTimer::new();
    let give_up = timer.monotonic().after(Duration::from_secs(20));
    while !done() {
        assert!(timer.monotonic() < give_up, "it never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// What a host has that a sandbox might leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    descriptors: usize,
    children: usize,
    threads: usize,
    mounts: usize,
    groups: usize,
}

impl Left {
    fn now() -> Self {
        let tasks = || fs::read_dir("/proc/self/task").unwrap();
        let lists = tasks().filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        let own = format!("-{}-", std::process::id());
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            children: lists.map(|list| list.split_whitespace().count()).sum(),
            threads: tasks().count(),
            mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count(),
            groups: groups(Path::new("/sys/fs/cgroup"), &own),
        }
    }

    /// Waits until it is the same again.
    async fn again(&self) {
        let timer = TokioTimer::new();
        let give_up = timer.monotonic().after(Duration::from_secs(20));
        while Self::now() != *self && timer.monotonic() < give_up {
            tokio::task::yield_now().await;
        }
        assert_eq!(Self::now(), *self);
    }
}

/// Control groups of this process's sandboxes, anywhere.
fn groups(folder: &Path, own: &str) -> usize {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let folders =
        entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let named = name.starts_with("atr-") && name.contains(own);
            usize::from(named) + groups(&entry.path(), own)
        })
        .sum()
}

#[test]
fn a_static_program_runs_with_nothing_granted() {
    let run = shell("echo hello; echo trouble >&2");
    assert_eq!((run.out.as_str(), run.err.as_str()), ("hello\n", "trouble\n"));
    assert_eq!(run.exit.cause, Cause::Code(0));
}

#[test]
fn a_dynamic_program_runs_with_the_system_granted() {
    let run = run(Command::new("/bin/sh").arg("-c").arg("echo $((6*7))"), Permissions::system());
    assert_eq!((run.out.as_str(), run.exit.cause), ("42\n", Cause::Code(0)), "{}", run.err);
}

#[test]
fn a_language_runtime_runs_with_its_folder_granted() {
    let python = python().unwrap();
    let prefix = python.parent().unwrap().parent().unwrap().to_owned();
    let script =
        "import json,sys,tempfile; f=tempfile.TemporaryFile(); json.dump({'n': sum(range(10))}, sys.stdout)";
    let command = Command::new(&python).arg("-I").arg("-c").arg(script);
    let run = run(command, Permissions::system().folder(prefix, Access::Execute));
    assert_eq!((run.out.as_str(), run.exit.cause), ("{\"n\": 45}", Cause::Code(0)), "{}", run.err);
}

/// The interpreter that `python3` names, through shims and links.
fn python() -> Option<std::path::PathBuf> {
    let asked = std::process::Command::new("python3")
        .args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"])
        .output()
        .ok()?;
    let path = String::from_utf8(asked.stdout).ok()?;
    fs::canonicalize(path.trim()).ok()
}

/// S10, S18.
#[test]
fn the_environment_is_built_from_nothing() {
    let mut command = busybox("env | sort");
    command.env.insert("WORD".to_owned(), "declared".to_owned());
    let out = run(command, Permissions::none()).out;
    let expected = [
        "HOME=/scratch",
        "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "TMPDIR=/scratch",
        "WORD=declared",
    ];
    let shells = |line: &&str| !["PWD=/", "SHLVL=1", "OLDPWD=/"].contains(line);
    assert_eq!(out.lines().filter(shells).collect::<Vec<_>>(), expected);
}

#[test]
fn a_variable_that_steers_a_loader_is_refused() {
    let mut command = busybox("true");
    command.env.insert("LD_PRELOAD".to_owned(), "/x".to_owned());
    let error = try_run(command, Permissions::none(), Limits::DEFAULT).unwrap_err();
    assert!(error.host_detail().unwrap().contains("`LD_PRELOAD`"), "{error:?}");
}

/// S07, S08, S09, S10.
#[test]
fn nothing_of_the_host_is_there() {
    let ways = [
        "cat /etc/passwd",
        "cat /etc/hostname",
        "cat /scratch/../../../etc/hostname",
        "sh -c 'ln -s /etc/shadow /scratch/s && exec /usr/bin/busybox cat /scratch/s'",
        "ls /root",
        "ls /sys",
        "ls /usr/bin",
        "cat /proc/1/environ",
        "cat /proc/self/environ",
    ];
    for way in ways {
        let run = shell(&format!("exec {BUSYBOX} {way}"));
        assert_eq!((run.exit.cause, run.out.as_str()), (Cause::Code(1), ""), "{way}");
        let denied = ["No such file", "Permission denied"].iter().any(|text| run.err.contains(text));
        assert!(denied, "{way}: {}", run.err);
    }
}

#[test]
fn the_program_is_nobody_and_alone() {
    let script = "echo $$; $b id -u; $b id -g; $b id -G; $b hostname; echo x > /dev/null; $b head -c 4 /dev/zero | $b wc -c";
    assert_eq!(shell(&format!("b={BUSYBOX}; {script}")).out, "2\n65534\n65534\n65534\nsandbox\n4\n");
}

#[test]
fn its_own_processes_are_shown_when_asked_for() {
    let permissions = Permissions::none().with_proc();
    let run = run(busybox("ls /proc; echo ---; cat /proc/self/status"), permissions);
    let (entries, status) = run.out.split_once("---").unwrap();
    let processes: Vec<i32> = entries.lines().filter_map(|entry| entry.parse().ok()).collect();
    assert!(processes.contains(&2), "{run:?}");
    assert!(!processes.contains(&1), "the init is shown: {run:?}");
    let none = "0000000000000000";
    for (name, value) in
        [("CapEff:", none), ("CapPrm:", none), ("CapBnd:", none), ("NoNewPrivs:", "1"), ("Seccomp:", "2")]
    {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert_eq!(line.trim(), value, "{name}");
    }
}

#[test]
fn scratch_can_be_written_and_not_executed_and_the_root_neither() {
    let run = shell(
        "cd /scratch && cp /usr/bin/busybox b && chmod 755 b && ls && ./b true; echo $?; touch /x; echo $?",
    );
    assert_eq!(run.out, "b\n126\n1\n", "{}", run.err);
}

/// S27.
#[test]
fn scratch_ends_at_its_limit() {
    let limits = Limits { scratch_bytes: 1 << 20, ..Limits::DEFAULT };
    let script = "dd if=/dev/zero of=/scratch/a bs=64k count=8 2>/dev/null && dd if=/dev/zero of=/scratch/b bs=64k count=15";
    let run = try_run(busybox(script), Permissions::none(), limits).unwrap();
    assert_eq!(run.exit.cause, Cause::Code(1));
    assert!(run.err.contains("No space left"), "{}", run.err);
}

#[test]
fn a_folder_is_granted_as_far_as_is_said() {
    let read =
        "$b cat /srv-test/f && ! echo y > /srv-test/f && ! $b touch /srv-test/g && ! /srv-test/busybox true";
    let execute =
        "$b cat /srv-test/f && ! echo y > /srv-test/f && ! $b touch /srv-test/g && /srv-test/busybox true";
    let write =
        "$b cat /srv-test/f && echo y > /srv-test/f && $b touch /srv-test/g && ! /srv-test/busybox true";
    for (access, script) in [(Access::Read, read), (Access::Execute, execute), (Access::Write, write)] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        fs::write(folder.path().join("f"), "x\n").unwrap();
        fs::copy(BUSYBOX, folder.path().join("busybox")).unwrap();
        fs::set_permissions(folder.path().join("busybox"), fs::Permissions::from_mode(0o755)).unwrap();
        let script = format!("b={BUSYBOX}; {}", script.replace("/srv-test", path));
        let run = run(busybox(&script), Permissions::none().folder(path, access));
        assert_eq!((run.out.as_str(), run.exit.cause), ("x\n", Cause::Code(0)), "{access:?}: {}", run.err);
        let changed = if access == Access::Write { "y\n" } else { "x\n" };
        assert_eq!(fs::read_to_string(folder.path().join("f")).unwrap(), changed);
        assert_eq!(folder.path().join("g").exists(), access == Access::Write);
    }
}

#[test]
fn a_grant_that_leads_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("/etc", &link).unwrap();
    let missing = folder.path().join("missing");
    for path in [link, missing, "/scratch/x".into()] {
        let permissions = Permissions::none().folder(&path, Access::Read);
        let error = try_run(busybox("true"), permissions, Limits::DEFAULT).unwrap_err();
        assert_eq!(error.code(), "AK0534", "{}: {error:?}", path.display());
    }
}

#[test]
fn a_program_cannot_lie_where_it_can_write() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("busybox");
    fs::copy(BUSYBOX, &program).unwrap();
    let permissions = Permissions::none().folder(folder.path(), Access::Write);
    let error = try_run(Command::new(program).arg("true"), permissions, Limits::DEFAULT).unwrap_err();
    assert_eq!(error.code(), "AK0534");
}

#[test]
fn what_cannot_be_executed_is_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (text, script) = (folder.path().join("text"), folder.path().join("script"));
    fs::write(&text, "text").unwrap();
    fs::write(&script, "#!/nonexistent/interpreter\n").unwrap();
    for path in [&text, &script] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut nowhere = busybox("true");
    nowhere.current_dir = "/nonexistent".into();
    let commands = [
        Command::new("/nonexistent/program"),
        Command::new("/tmp"),
        Command::new(text),
        Command::new(script),
        nowhere,
    ];
    for command in commands {
        let error = try_run(command.clone(), Permissions::none(), Limits::DEFAULT).unwrap_err();
        assert!(matches!(error, ToolError::Spawn { .. }), "{command:?}: {error:?}");
    }
}

/// S19, S20 and the other ways to end.
#[test]
fn how_a_program_ended_is_told() {
    let cases = [
        ("exit 3", Cause::Code(3)),
        ("kill -SEGV $$", Cause::Signal(11)),
        ("kill -KILL $$", Cause::Signal(9)),
        ("sh -c 'kill -SEGV $$'; exit 4", Cause::Code(4)),
    ];
    for (script, cause) in cases {
        assert_eq!(shell(script).exit.cause, cause, "{script}");
    }
}

#[test]
fn processor_time_is_limited_for_the_whole_tree() {
    let limits = Limits { cpu: Duration::from_millis(300), ..Limits::DEFAULT };
    for script in ["while :; do :; done", "(while :; do :; done) & (while :; do :; done) & wait"] {
        let run = try_run(busybox(script), Permissions::none(), limits).unwrap();
        assert_eq!(run.exit.cause, Cause::Cpu, "{script}");
    }
}

/// S01.
#[test]
fn processes_are_limited() {
    let limits = Limits { processes: 8, ..Limits::DEFAULT };
    let script = "i=0; while [ $i -lt 20 ]; do /usr/bin/busybox sleep 60 & i=$((i+1)); done; exit 0";
    let run = try_run(busybox(script), Permissions::none(), limits).unwrap();
    assert!(run.err.contains("fork"), "{run:?}");
    let peak = run.exit.usage.peak_processes;
    assert!(peak.is_none_or(|peak| peak <= 8), "{run:?}");
}

/// S02.
#[test]
fn memory_is_limited_in_total() {
    let limits = Limits { memory_bytes: 32 << 20, ..Limits::DEFAULT };
    let permissions = Permissions::none();
    let capped =
        Process::new().guarantees(&permissions, &limits).unwrap().contains(Guarantee::MemoryCapTotal);
    // What is written to scratch is memory too.
    let run =
        try_run(busybox("exec dd if=/dev/zero of=/scratch/a bs=1M count=60"), permissions, limits).unwrap();
    assert_eq!(run.exit.cause == Cause::Memory, capped, "{run:?}");
}

/// S33.
#[test]
fn a_program_that_reads_nothing_still_ends() {
    let _alone = alone();
    let (written, code) = block_on(async {
        let session = Process::new()
            .start(launch(busybox("exit 0"), Permissions::none(), Limits::DEFAULT))
            .await
            .unwrap();
        let Session { mut stdin, exit, .. } = session;
        let (written, exit) = tokio::join!(async move { stdin.write_all(&[b'x'; 1 << 20]).await }, exit);
        (written, exit.cause)
    });
    assert_eq!(written.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(code, Cause::Code(0));
}

/// Two levels away from the program, in a session of its own, deaf to `SIGTERM`, computing.
const ESCAPE: &str = "(trap '' TERM; setsid sh -c 'while :; do :; done' >/dev/null 2>&1 &) ; ";

/// S03, S31, S32.
#[test]
fn a_kill_reaches_everything() {
    let _alone = alone();
    block_on(async {
        for stopped in [false, true] {
            let script =
                format!("{ESCAPE} trap '' TERM; echo up; while :; do /usr/bin/busybox sleep 1; done");
            let mut session = Process::new()
                .start(launch(busybox(&script), Permissions::none(), Limits::DEFAULT))
                .await
                .unwrap();
            let mut up = [0; 3];
            session.stdout.read_exact(&mut up).await.unwrap();
            if stopped {
                session.control.order(Order::Stop);
                assert_eq!(session.control.held().await, Held::Hard);
            }
            let timer = TokioTimer::new();
            let start = timer.monotonic();
            session.control.order(Order::Kill);
            let (control, exit) = (Arc::clone(&session.control), session.exit);
            let (exit, held) = tokio::join!(exit, control.held());
            assert_eq!((exit.cause, held), (Cause::Killed, Held::Dead));
            assert!(timer.monotonic().since(start) < Duration::from_millis(2000));
        }
    });
    // What splits off sandboxes stays. Another test may be asking for its interpreter.
    block_on(until("nothing else is left", || {
        let left = Left::now();
        (left.groups, left.children) == (0, 1)
    }));
}

/// S30.
#[test]
fn a_stop_is_hard_and_a_program_goes_on_where_it_was() {
    let _alone = alone();
    block_on(async {
        let script = format!("{ESCAPE} echo up; i=0; while :; do i=$((i+1)); done");
        let mut session = Process::new()
            .start(launch(busybox(&script), Permissions::none(), Limits::DEFAULT))
            .await
            .unwrap();
        let mut up = [0; 3];
        session.stdout.read_exact(&mut up).await.unwrap();
        let control = Arc::clone(&session.control);
        let timer = TokioTimer::new();
        let window = || {
            agent_primitives::Timer::sleep_until(&timer, timer.monotonic().after(Duration::from_millis(300)))
        };
        let before = control.usage().cpu.unwrap();
        until("it computes", || before < control.usage().cpu.unwrap()).await;
        for _ in 0..3 {
            control.order(Order::Stop);
            assert_eq!(control.held().await, Held::Hard);
            let stopped = control.usage().cpu.unwrap();
            window().await;
            // The last switch away from it may be counted a moment later; some kernels count in ticks of this length.
            let more = control.usage().cpu.unwrap() - stopped;
            assert!(more <= Duration::from_millis(10), "{more:?}");
            control.order(Order::Continue);
            assert_eq!(control.held().await, Held::Running);
            until("it goes on", || stopped < control.usage().cpu.unwrap()).await;
        }
        control.order(Order::Terminate);
        assert_eq!(session.exit.await.cause, Cause::Killed);
    });
}

#[test]
fn what_registers_while_everything_is_stopped_does_not_run() {
    let _alone = alone();
    block_on(async {
        let launch = launch(busybox("echo ran"), Permissions::none(), Limits::DEFAULT);
        let executions = launch.executions.clone();
        executions.order(Order::Stop);
        let process = Process::new();
        let mut start = process.start(launch);
        let waits = tokio::time::timeout(Duration::from_millis(100), &mut start).await;
        assert!(waits.is_err());
        executions.order(Order::Continue);
        assert_eq!(to_the_end(start.await.unwrap()).await.out, "ran\n");
    });
}

#[test]
fn nothing_is_left_of_a_thousand_programs() {
    let _alone = alone();
    block_on(async {
        let process = Process::new();
        let once = async || {
            let session =
                process.start(launch(busybox("exit 0"), Permissions::none(), Limits::DEFAULT)).await;
            assert_eq!(to_the_end(session.unwrap()).await.exit.cause, Cause::Code(0));
        };
        once().await;
        let before = Left::now();
        for _ in 0..1000 {
            once().await;
        }
        before.again().await;
    });
}

#[test]
fn nothing_is_left_of_a_thousand_cancelled_programs() {
    let _alone = alone();
    block_on(async {
        let process = Process::new();
        let warm = process.start(launch(busybox("exit 0"), Permissions::none(), Limits::DEFAULT)).await;
        to_the_end(warm.unwrap()).await;
        let before = Left::now();
        for number in 0..1000u32 {
            let launch = launch(busybox(ESCAPE), Permissions::none(), Limits::DEFAULT);
            let executions = launch.executions.clone();
            let start = process.start(launch);
            if number % 2 == 0 {
                drop(start.await.unwrap());
            } else {
                let mut start = start;
                let once = futures_once(&mut start).await;
                drop(once);
                drop(start);
            }
            until("it is dead", || executions.is_empty()).await;
        }
        before.again().await;
    });
}

/// Polls once.
async fn futures_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|task| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(task) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn two_hundred_run_at_once() {
    let _alone = alone();
    block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..200 {
            tasks.spawn(async move {
                let command = busybox(&format!("echo {number}"));
                let session =
                    Process::new().start(launch(command, Permissions::none(), Limits::DEFAULT)).await;
                let run = to_the_end(session.unwrap()).await;
                assert_eq!((run.out, run.exit.cause), (format!("{number}\n"), Cause::Code(0)));
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    });
}

/// The same as an ordinary user, who may make no control group: this very file, run by somebody else.
#[test]
fn an_ordinary_user_has_the_same_sandbox() {
    let _alone = alone();
    if !is_root() {
        // Then that is who runs all of the tests here.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let mut tests = std::process::Command::new(&copy);
    tests.args(["--test-threads", "2", "--skip", "nothing_is_left", "--skip", "two_hundred"]);
    tests.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").uid(1234).gid(1234);
    let done = tests.output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    assert!(said.contains("test a_stop_is_hard_and_a_program_goes_on_where_it_was ... ok"), "{said}");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
