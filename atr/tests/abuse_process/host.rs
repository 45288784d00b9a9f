//! The host of a hostile tool: builds it, runs it, and sees what is left of it.

use std::cell::Cell;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use agent_primitives::{AgentId, Timer};
use agent_tool_registry::executor::{Executions, Executors, Process};
use agent_tool_registry::{
    Access, Arguments, CallContext, Command, Guarantee, Level, Limits, Permissions, Ran, Registry,
    RegistryError, SandboxPolicy, TokioTimer, ToolError,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tests that count what this process has must not see another test's, so every test that starts a program holds this.
static ALONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// How often this test holds it.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// Keeps the other tests of this process waiting; a test may take it again while it holds it.
pub(crate) struct Alone(
    #[expect(dead_code, reason = "held until it is dropped")] Option<MutexGuard<'static, ()>>,
);

pub(crate) fn alone() -> Alone {
    let held = HELD.replace(HELD.get() + 1);
    Alone((held == 0).then(|| ALONE.lock().unwrap_or_else(PoisonError::into_inner)))
}

impl Drop for Alone {
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
    }
}

/// The hostile tool, compiled once for each version of its source. Whoever runs this as another host says where it is.
pub(crate) fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        if let Some(built) = std::env::var_os("ATR_ABUSE_ORDINARY") {
            return built.into();
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/abuse_process/probe.c");
        let mut hasher = DefaultHasher::new();
        fs::read(source).unwrap().hash(&mut hasher);
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("abuse-probe-{:x}", hasher.finish()));
        if !built.exists() {
            // Under a name of its own first: other processes of this suite build it at the same time.
            let fresh = built.with_extension(process::id().to_string());
            let mut compiler = process::Command::new("cc");
            compiler.args(["-static", "-O1", "-w", "-pthread", "-o"]).arg(&fresh).arg(source);
            assert!(compiler.status().unwrap().success(), "a C compiler and a static libc are needed");
            fs::rename(fresh, &built).unwrap();
        }
        built
    })
}

/// Everything that every case is held to: all guarantees, or the call is refused.
pub(crate) fn everything() -> SandboxPolicy {
    Guarantee::ALL.into_iter().fold(SandboxPolicy::at_least(Level::Process), SandboxPolicy::requiring)
}

/// The tool, in a copy of its own, and what it is let have.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) place: TempDir,
    pub(crate) program: PathBuf,
    pub(crate) permissions: Permissions,
    pub(crate) limits: Limits,
    pub(crate) policy: SandboxPolicy,
    pub(crate) current_dir: PathBuf,
    pub(crate) executors: Executors,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) result: Result<Value, ToolError>,
    pub(crate) ran: Option<Ran>,
    pub(crate) took: Duration,
}

impl Run {
    pub(crate) fn value(self) -> Value {
        self.result.unwrap()
    }

    pub(crate) fn code(&self) -> &'static str {
        self.result.as_ref().err().map_or("none", ToolError::code)
    }
}

impl Tool {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("tool");
        fs::copy(probe(), &program).unwrap();
        let limits = Limits { deadline: Duration::from_secs(20), ..Limits::DEFAULT };
        Self {
            place: folder,
            program,
            permissions: Permissions::none(),
            limits,
            policy: everything(),
            current_dir: "/scratch".into(),
            executors: Executors::none().with(Process::new()),
        }
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// A new folder of the host beside the program, granted.
    pub(crate) fn granted(mut self, name: &str, access: Access) -> (Self, PathBuf) {
        let folder = self.place.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        self.permissions = self.permissions.folder(&folder, access);
        (self, folder)
    }

    pub(crate) fn with_proc(mut self) -> Self {
        self.permissions = self.permissions.with_proc();
        self
    }

    /// A folder of the host that is not granted, with what lies there.
    pub(crate) fn folder(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn registry(&self, args: &[&str]) -> Registry {
        self.register(args).unwrap()
    }

    pub(crate) fn register(&self, args: &[&str]) -> Result<Registry, RegistryError> {
        let mut command = Command::new(&self.program);
        command.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        command.current_dir = self.current_dir.clone();
        let mut builder = Registry::builder().executors(self.executors.clone());
        let tool = builder.tool("t").description("Hostile.").limits(self.limits).isolation(self.policy);
        let any = json!({"type": "object", "additionalProperties": true});
        tool.permissions(self.permissions.clone()).command(any, command)?;
        Ok(builder.build())
    }

    /// Makes one call, without looking at what it leaves.
    pub(crate) fn call(
        &self,
        args: &[&str],
        arguments: Value,
        executions: &Executions,
    ) -> impl Future<Output = Run> + use<> {
        let timer = timer();
        let cx = CallContext::new(agent(), Arc::clone(&timer)).with_executions(executions.clone());
        let arguments = Arguments::from_value(arguments).unwrap();
        let invocation = self.registry(args).prepare(&"t".parse().unwrap(), arguments).unwrap();
        async move {
            let started = timer.monotonic();
            let result = invocation.run(cx.clone()).await.map(agent_tool_registry::Output::into_value);
            Run { result, ran: cx.ran(), took: timer.monotonic().since(started) }
        }
    }

    /// Makes one call; then nothing of it is left, the host is as before, and the next call works.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, json!({}))
    }

    pub(crate) fn run_with(&self, args: &[&str], arguments: Value) -> Run {
        self.watched(async |executions| self.call(args, arguments, executions).await)
    }

    /// Does something with the tool that must leave nothing behind.
    pub(crate) fn watched<T>(&self, during: impl AsyncFnOnce(&Executions) -> T) -> T {
        let _alone = alone();
        block_on(async {
            // What is made once for all calls is made before it is counted.
            let executions = Executions::new(timer());
            assert_eq!(self.call(&["hello"], json!({}), &executions).await.value(), json!({"hello": 1}));
            // What a test before this one has dropped is still being taken away.
            until("no group of earlier calls is left", || Counts::now(self.folder()).groups.is_empty()).await;
            let before = Counts::now(self.folder());
            let done = during(&executions).await;
            let ended = timer().monotonic();
            until("nothing of the tool runs", || self.processes() == 0).await;
            let gone = timer().monotonic().since(ended);
            assert!(
                gone < Duration::from_millis(500),
                "its processes were there for {gone:?} after the call"
            );
            before.again(self.folder()).await;
            let next = self.call(&["hello"], json!({}), &Executions::new(timer())).await;
            assert_eq!(next.value(), json!({"hello": 1}), "the next call");
            before.again(self.folder()).await;
            done
        })
    }

    /// How many processes on this machine run the tool.
    pub(crate) fn processes(&self) -> usize {
        self.pids().len()
    }

    /// Their numbers, as the host has them.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let tool = fs::metadata(&self.program).unwrap();
        let all = fs::read_dir("/proc").unwrap();
        let numbers = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let is_tool = |pid: &u32| {
            fs::metadata(format!("/proc/{pid}/exe"))
                .is_ok_and(|exe| (exe.dev(), exe.ino()) == (tool.dev(), tool.ino()))
        };
        numbers.filter(is_tool).collect()
    }
}

/// What this process has of the machine, and what lies in the folder of its tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    descriptors: usize,
    children: usize,
    groups: Vec<PathBuf>,
    mounts: usize,
}

impl Counts {
    pub(crate) fn now(folder: &Path) -> Self {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            children: lists.map(|list| list.split_whitespace().count()).sum(),
            groups: groups(Path::new("/sys/fs/cgroup")),
            mounts: mounts(folder),
        }
    }

    /// Whether there is nothing that was not there before.
    fn is_within(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors
            && self.children <= before.children
            && self.groups.iter().all(|group| before.groups.contains(group))
            && self.mounts <= before.mounts
    }

    /// Waits until nothing is there that was not there before.
    pub(crate) async fn again(&self, folder: &Path) {
        let timer = timer();
        let give_up = timer.monotonic().after(Duration::from_secs(10));
        while !Self::now(folder).is_within(self) && timer.monotonic() < give_up {
            pass(Duration::from_millis(2)).await;
        }
        let now = Self::now(folder);
        assert!(now.is_within(self), "{now:?} after {self:?}");
    }
}

/// Mounts where a sandbox makes some, or of what it was granted. Others come and go with what else runs here.
fn mounts(folder: &Path) -> usize {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = |line: &str| line.split(' ').nth(4).map(PathBuf::from);
    let made = |line: &&str| {
        line.contains(folder.to_str().unwrap())
            || point(line)
                .is_some_and(|point| ["/proc", "/scratch"].iter().any(|place| point.starts_with(place)))
    };
    all.lines().filter(made).count()
}

/// Control groups that this process has made: their names hold its number.
fn groups(folder: &Path) -> Vec<PathBuf> {
    let own = format!("-{}-", process::id());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with("atr-") && name.contains(&own)) {
                found.push(entry.path());
            }
            found.extend(groups(&entry.path()));
        }
    }
    found
}

pub(crate) fn timer() -> Arc<dyn Timer> {
    static TIMER: OnceLock<Arc<TokioTimer>> = OnceLock::new();
    Arc::clone(TIMER.get_or_init(Arc::default)) as Arc<dyn Timer>
}

pub(crate) fn agent() -> AgentId {
    "tester".parse().unwrap()
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits until something is so; the limit is only there so that a failing test ends.
pub(crate) async fn until(what: &str, done: impl Fn() -> bool) {
    let timer = timer();
    let give_up = timer.monotonic().after(Duration::from_secs(20));
    while !done() {
        assert!(timer.monotonic() < give_up, "it never happened: {what}");
        pass(Duration::from_millis(2)).await;
    }
}

/// Lets time pass.
pub(crate) async fn pass(time: Duration) {
    let timer = timer();
    timer.sleep_until(timer.monotonic().after(time)).await;
}

/// Memory of this process that no file stands behind, in bytes.
pub(crate) fn own_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Processor time of some processes, in ticks.
pub(crate) fn ticks(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse().unwrap())
            .collect();
        fields.iter().sum::<u64>()
    };
    pids.iter().map(of).sum()
}
