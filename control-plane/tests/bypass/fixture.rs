//! The world of the cases: agents, tools that count how often they ran, a folder that stands for `/data`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agent_control_plane::approval::{ApprovalStore, Request, StoreError, TicketId};
use agent_control_plane::atr::{CallContext, Effect, PathRoot, Registry, RegistryBuilder, ToolError};
use agent_control_plane::budget::Budget;
use agent_control_plane::call::Syscall;
use agent_control_plane::kernel::{Checkpoint, OnAsk, Programs, Widening};
use agent_control_plane::policy::PolicySet;
use agent_control_plane::primitives::{AgentId, LabelSet, Signal, TenantId};
use agent_control_plane::vfs::{Access, Memory, MemoryBackend, Mount, Page, Quota, RelPath, VfsPath};
use agent_control_plane::{AgentHandle, AgentSpec, Approvals, CallError, FlightRecorder, Kernel, Policy};
use serde_json::{Value, json};

use crate::adapter::Shared;
use crate::case::Step;
use crate::clock::WallClock;
use crate::group::Task;
use crate::life::{self, Nursery};
use crate::record::Breakable;
use crate::run::Got;

pub(crate) const BASE_POLICY: &str = include_str!("../../testdata/bypass-policy.yaml");
/// The tool time limit of the fixture.
pub(crate) const TOOL_LIMIT: Duration = Duration::from_secs(300);

/// Calls each agent of the fixture may have under way.
const AT_ONCE: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// How long an approval of the fixture is valid.
const APPROVALS_VALID: Duration = Duration::from_secs(600);

/// Tickets that outlive the kernels of one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tickets(Arc<Mutex<BTreeMap<TicketId, Request>>>);

impl ApprovalStore for Tickets {
    fn load(&self) -> Result<Vec<Request>, StoreError> {
        Ok(self.0.lock().unwrap().values().cloned().collect())
    }

    fn save(&self, request: &Request) -> Result<(), StoreError> {
        self.0.lock().unwrap().insert(request.id(), request.clone());
        Ok(())
    }

    fn remove(&self, ticket: TicketId) -> Result<(), StoreError> {
        self.0.lock().unwrap().remove(&ticket);
        Ok(())
    }
}

/// What a tool of the fixture does.
type Run = Box<dyn Fn(&Value) -> Result<Value, ToolError> + Send + Sync>;

/// How often each tool ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(Arc<Mutex<BTreeMap<String, u64>>>, Arc<Mutex<Gauge>>);

/// How many slow tools run, and the most that ever did.
#[derive(Debug, Default)]
struct Gauge {
    running: u64,
    most: u64,
}

/// A slow tool under way.
struct Running(Counts);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.1.lock().unwrap().running -= 1;
    }
}

impl Counts {
    fn add(&self, tool: &str) {
        *self.0.lock().unwrap().entry(tool.to_owned()).or_default() += 1;
    }

    fn start(&self) -> Running {
        let mut gauge = self.1.lock().unwrap();
        gauge.running += 1;
        gauge.most = gauge.most.max(gauge.running);
        Running(self.clone())
    }

    pub(crate) fn most_at_once(&self) -> u64 {
        self.1.lock().unwrap().most
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.lock().unwrap().values().sum()
    }
}

/// Where a descriptor is, and whether it was moved there by hand.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    at: u64,
    by_hand: bool,
}

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: WallClock,
    pub(crate) counts: Counts,
    pub(crate) kernel: Kernel,
    pub(crate) agents: BTreeMap<String, AgentHandle>,
    pub(crate) memory: BTreeMap<String, Arc<Memory>>,
    pub(crate) recorder_fails: Arc<AtomicBool>,
    /// Where the recording of the present kernel lies.
    pub(crate) recording: PathBuf,
    /// Whether somebody changed a copy of the recording, which is then what `recording` names.
    pub(crate) tampered: bool,
    /// Files set aside, to be put back later.
    pub(crate) snapshot: Option<PathBuf>,
    pub(crate) saved: BTreeMap<String, Value>,
    /// For each saved value the life of an agent that had it, and what that agent carried when it had.
    origins: BTreeMap<String, (u64, LabelSet)>,
    /// Which life each agent is in: no two have the same number.
    lives: BTreeMap<String, u64>,
    /// What the agents of a kernel that crashed carried.
    left_carrying: BTreeMap<String, LabelSet>,
    /// Calls that were held, by the ticket they wait for.
    pub(crate) held: BTreeMap<String, Syscall>,
    tickets: Tickets,
    /// Whether what is allowed is not done.
    dry_run: bool,
    /// Calls that run while later steps are taken.
    pub(crate) tasks: Vec<Task>,
    /// Index of the step that is being taken.
    pub(crate) step: usize,
    /// Whether the fixture's quotas hold: 60 calls in any 60 s for all agents of the owner, five at once for each.
    quotas: bool,
    /// Open descriptors by agent and number.
    descriptors: BTreeMap<(String, u64), Position>,
    /// The session of each agent's client.
    sessions: Mutex<BTreeMap<AgentId, Shared>>,
    /// Requests that their client has called off.
    called_off: Mutex<Vec<u64>>,
    /// What the latest `tools/list` answered.
    pub(crate) listed: Option<Vec<String>>,
    worker: Arc<OnceLock<AgentHandle>>,
    /// The children that agents started.
    pub(crate) nursery: Nursery,
}

impl World {
    pub(crate) fn new(fixture: &str, quotas: bool) -> Result<Self, String> {
        let policy = match fixture {
            "base" => {
                Policy::from_yaml("bypass-policy.yaml", BASE_POLICY).expect("the fixture's policy loads")
            }
            "no_policy" => Policy::deny_all(),
            other => return Err(format!("unknown fixture `{other}`")),
        };
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        std::fs::create_dir_all(data.join("out")).unwrap();
        std::fs::create_dir_all(data.join("etcetera")).unwrap();
        for (file, text) in
            [("report.txt", "figures"), ("etcetera/notes.txt", "notes"), ("a", "a"), ("x", "x")]
        {
            std::fs::write(data.join(file), text).unwrap();
        }
        let clock = WallClock::default();
        let counts = Counts::default();
        let recorder_fails = Arc::new(AtomicBool::new(false));
        let recording = folder.path().join("recording-0");
        let worker = Arc::new(OnceLock::new());
        let tools = tools(&data, &counts, &worker);
        let recorder = Breakable::open(&recording, &recorder_fails).map_err(|error| error.to_string())?;
        let tickets = Tickets::default();
        let nursery = Nursery::default();
        let programs = life::programs(&nursery);
        let kernel = boot(policy, (tools, programs), recorder, &clock, quotas, &tickets, false)?;
        let mut world = Self {
            folder,
            clock,
            counts,
            kernel,
            agents: BTreeMap::new(),
            memory: BTreeMap::new(),
            recorder_fails,
            recording,
            tampered: false,
            snapshot: None,
            saved: BTreeMap::new(),
            origins: BTreeMap::new(),
            lives: BTreeMap::new(),
            left_carrying: BTreeMap::new(),
            held: BTreeMap::new(),
            tickets,
            dry_run: false,
            tasks: Vec::new(),
            step: 0,
            quotas,
            descriptors: BTreeMap::new(),
            sessions: Mutex::default(),
            called_off: Mutex::default(),
            listed: None,
            worker,
            nursery,
        };
        world.spawn_all(&BTreeMap::new())?;
        Ok(world)
    }

    /// Puts another policy in force for everybody, also for what it newly allows.
    pub(crate) fn reload(&self, policy: impl Into<PolicySet>) -> Result<(), String> {
        self.kernel.reload(policy, Widening::Force).map(drop).map_err(|error| error.to_string())
    }

    /// Puts every agent on a dry run, or on no dry run any more.
    pub(crate) fn set_dry_run(&mut self, dry_run: bool) -> Result<(), String> {
        self.dry_run = dry_run;
        let recording = self.fresh_path("recording");
        self.boot_on(self.kernel.policy(), recording)
    }

    /// Starts a new kernel on a recording, which it goes on with when there is one.
    pub(crate) fn boot_on(&mut self, policy: impl Into<PolicySet>, recording: PathBuf) -> Result<(), String> {
        let recorder =
            Breakable::open(&recording, &self.recorder_fails).map_err(|error| error.to_string())?;
        let mut carried = std::mem::take(&mut self.left_carrying);
        carried.extend(self.carried());
        let worker = Arc::new(OnceLock::new());
        let tools = tools(&self.data(), &self.counts, &worker);
        self.nursery.lock().unwrap().clear();
        let programs = life::programs(&self.nursery);
        let (clock, tickets) = (&self.clock, &self.tickets);
        self.kernel = boot(policy, (tools, programs), recorder, clock, self.quotas, tickets, self.dry_run)?;
        (self.recording, self.worker, self.tampered) = (recording, worker, false);
        self.agents.clear();
        self.descriptors.clear();
        self.spawn_all(&carried)
    }

    /// Keeps account of what the agents carry, before their kernel ends.
    pub(crate) fn note_labels(&mut self) {
        self.left_carrying = self.carried();
    }

    fn carried(&self) -> BTreeMap<String, LabelSet> {
        let labels = |agent: &AgentHandle| self.kernel.labels(agent.id());
        let all = self.agents.iter();
        all.filter_map(|(known, agent)| Some((known.clone(), labels(agent)?))).collect()
    }

    /// The fixture's agents. What an agent of the name carried before, it carries again: its program goes on where it was,
    /// and knows what it knew.
    fn spawn_all(&mut self, carried: &BTreeMap<String, LabelSet>) -> Result<(), String> {
        for name in ["w", "v"] {
            self.spawn(name, name, "worker", carried.get(name).cloned().unwrap_or_default())?;
        }
        let _ = self.worker.set(self.agents["w"].clone());
        Ok(())
    }

    /// Spawns an agent `name`, known to the steps as `known`.
    pub(crate) fn spawn(
        &mut self,
        name: &str,
        known: &str,
        role: &str,
        labels: LabelSet,
    ) -> Result<(), String> {
        self.start(owner_id(), AgentSpec::new(name), known, role, labels)
    }

    /// The same, of an agent about which more is said.
    pub(crate) fn start(
        &mut self,
        owner: TenantId,
        spec: AgentSpec,
        known: &str,
        role: &str,
        labels: LabelSet,
    ) -> Result<(), String> {
        let memory = Arc::new(Memory::new());
        let spec = self.dressed(owner, spec, role, &memory).labels(labels);
        let agent = self.kernel.spawn(spec).map_err(|error| error.to_string())?;
        self.settle_in(agent, known, memory);
        Ok(())
    }

    /// Restores an agent, whose program goes on at once.
    pub(crate) async fn restore(&mut self, name: &str, checkpoint: &Checkpoint) -> Result<(), String> {
        let memory = Arc::new(Memory::new());
        let spec = self.dressed(owner_id(), AgentSpec::new(name), "worker", &memory);
        let restored = self.kernel.restore(spec, checkpoint).await.map_err(|error| error.to_string())?;
        let agent = restored.agent;
        self.kernel.signal(agent.id(), Signal::Cont, "restored").map_err(|error| error.to_string())?;
        self.settle_in(agent, name, memory);
        Ok(())
    }

    /// What every agent of the fixture has.
    fn dressed(&self, owner: TenantId, spec: AgentSpec, role: &str, memory: &Arc<Memory>) -> AgentSpec {
        let quota = Quota { bytes: 1 << 20, files: 100 };
        let at = VfsPath::parse("/mem/working").unwrap();
        let mount = Mount::new(at, Arc::<Memory>::clone(memory), Access::ReadWrite(quota));
        let spec = spec.tenant(owner).fact("role", role).mount(mount).on_ask(OnAsk::Return);
        if self.quotas { spec.budget(Budget::new().concurrency(AT_ONCE)) } else { spec }
    }

    fn settle_in(&mut self, agent: AgentHandle, known: &str, memory: Arc<Memory>) {
        self.agents.insert(known.to_owned(), agent);
        let life = self.lives.values().max().map_or(0, |latest| latest + 1);
        self.lives.insert(known.to_owned(), life);
        self.memory.insert(known.to_owned(), memory);
    }

    /// Keeps a value that a call of `agent` gave, and what the agent carries since.
    pub(crate) fn save(&mut self, name: &str, value: Value, agent: &str) {
        self.saved.insert(name.to_owned(), value);
        self.origins.remove(name);
        let labels = self.agent(agent).and_then(|handle| self.kernel.labels(handle.id()));
        let life = self.lives.get(if agent.is_empty() { "w" } else { agent });
        if let (Some(labels), Some(life)) = (labels, life) {
            self.origins.insert(name.to_owned(), (*life, labels));
        }
    }

    /// A saved value that an agent uses and did not get itself was told to it by whoever did, so the host says what it
    /// carries: all that the one who tells did.
    pub(crate) fn hand_over(&self, step: &Step, agent: &AgentHandle) -> Result<(), String> {
        let mut names = Vec::new();
        step.fields.values().for_each(|value| referenced(value, &mut names));
        for name in names {
            let Some((life, labels)) = self.origins.get(&name).filter(|(_, labels)| !labels.is_empty())
            else {
                continue;
            };
            let known = if step.text("as").is_empty() { "w" } else { step.text("as") };
            if self.lives.get(known) != Some(life) {
                let text = self.saved.get(&name).map(text_of).unwrap_or_default();
                self.tell(agent, &text, labels)?;
            }
        }
        Ok(())
    }

    /// Tells an agent something; what is gone hears nothing.
    pub(crate) fn tell(&self, agent: &AgentHandle, text: &str, labels: &LabelSet) -> Result<(), String> {
        match self.kernel.tell(agent.id(), text, labels) {
            Ok(()) | Err(CallError::Dead(_) | CallError::KernelDown { .. }) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) fn mount(&mut self, agent: &AgentId, at: VfsPath, writable: bool) -> Got {
        let quota = Quota { bytes: 1 << 20, files: 100 };
        let access = if writable { Access::ReadWrite(quota) } else { Access::ReadOnly };
        let memory = Arc::new(Memory::new());
        let name = format!("{agent} {at}");
        match self.kernel.mount(agent, Mount::new(at, Arc::<Memory>::clone(&memory), access)) {
            Ok(()) => {
                self.memory.insert(name, memory);
                Got::Allowed
            }
            Err(error) => Got::Failed(error.to_string()),
        }
    }

    /// The session of the client that speaks for an agent.
    pub(crate) fn session(&self, agent: &AgentId) -> Shared {
        Arc::clone(self.sessions.lock().unwrap().entry(agent.clone()).or_default())
    }

    /// The client of a request wants no answer any more.
    pub(crate) fn call_off(&self, request: u64) {
        self.called_off.lock().unwrap().push(request);
    }

    /// The requests that were called off since the last look.
    pub(crate) fn take_called_off(&self) -> Vec<u64> {
        std::mem::take(&mut *self.called_off.lock().unwrap())
    }

    /// A path in the world's folder that is not taken.
    pub(crate) fn fresh_path(&self, name: &str) -> PathBuf {
        let number = std::fs::read_dir(self.folder.path()).unwrap().count();
        self.folder.path().join(format!("{name}-{number}"))
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where a path of the cases lies: `/data` in the world's folder, anything else where it says.
    pub(crate) fn host_path(&self, path: &str) -> PathBuf {
        match path.strip_prefix("/data") {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                self.data().join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(path),
        }
    }

    /// The handle known as `name`; `None` when nobody holds one.
    pub(crate) fn agent(&self, name: &str) -> Option<&AgentHandle> {
        let name = name.strip_prefix('$').unwrap_or(name);
        self.agents.get(if name.is_empty() { "w" } else { name })
    }

    /// Where a step's descriptor was moved to by hand, if it was.
    pub(crate) fn position(&self, step: &Step) -> Option<u64> {
        let descriptor = (step.text("as").to_owned(), step.value("fd").as_u64()?);
        self.descriptors.get(&descriptor).filter(|position| position.by_hand).map(|position| position.at)
    }

    /// Moves a descriptor; false when it is not open.
    pub(crate) fn seek(&mut self, agent: &str, descriptor: u64, offset: u64) -> bool {
        let found = self.descriptors.get_mut(&(agent.to_owned(), descriptor));
        found.map(|position| *position = Position { at: offset, by_hand: true }).is_some()
    }

    /// Where a descriptor is, as far as its reads and writes tell.
    pub(crate) fn present(&self, agent: &str, descriptor: u64) -> Option<u64> {
        self.descriptors.get(&(agent.to_owned(), descriptor)).map(|position| position.at)
    }

    /// Keeps account of descriptors after a call that succeeded.
    pub(crate) fn moved(&mut self, step: &Step, answer: &Value) {
        let agent = step.text("as").to_owned();
        let resolved = step.resolved(&self.saved).ok();
        let descriptor = resolved.as_ref().and_then(|step| step.value("fd").as_u64());
        match (step.op.as_str(), descriptor) {
            ("open", _) => {
                if let Some(number) = answer.as_u64() {
                    self.descriptors.insert((agent, number), Position::default());
                }
            }
            ("close", Some(number)) => {
                self.descriptors.remove(&(agent, number));
            }
            ("read" | "write", Some(number)) => {
                let bytes = match answer.as_str() {
                    Some(text) => text.len(),
                    None => step.bytes("data", &self.saved).map_or(0, |data| data.len()),
                };
                let given = step.first(&["offset", "pos"]).is_some();
                if let Some(position) = self.descriptors.get_mut(&(agent, number)).filter(|_| !given) {
                    position.at = position.at.saturating_add(bytes as u64);
                }
            }
            _ => {}
        }
    }

    pub(crate) fn fail_recorder(&self) {
        self.recorder_fails.store(true, Ordering::SeqCst);
    }

    /// Everything an effect could have changed: files, memory, policy.
    pub(crate) fn state(&self) -> String {
        let mut state = vec![self.kernel.policy().digest().to_string()];
        files(&self.data(), &mut state);
        for (name, memory) in &self.memory {
            stored(memory, name, "", &mut state);
        }
        state.join("\n")
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The names of the saved values that a value refers to.
fn referenced(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::String(text) => names.extend(text.strip_prefix('$').map(str::to_owned)),
        Value::Array(items) => items.iter().for_each(|item| referenced(item, names)),
        Value::Object(entries) => entries.values().for_each(|value| referenced(value, names)),
        _ => {}
    }
}

/// Whose agents all agents of the fixture are.
pub(crate) fn owner_id() -> TenantId {
    "owner".parse().unwrap()
}

/// Arguments of a tool as an honest agent would give them.
pub(crate) fn plain_arguments(tool: &str) -> Value {
    match tool {
        "read_file" | "delete_file" => json!({"path": "/data/report.txt"}),
        "write_file" => json!({"path": "/data/out/a", "content": "x"}),
        "run_command" => json!({"argv": ["echo", "x"]}),
        "database_query" | "database_write" => json!({"sql": "SELECT id FROM orders"}),
        "http_get" => json!({"url": "https://api.example.com/v1"}),
        "send_email" => json!({"to": "a@example.com", "subject": "s", "body": "b"}),
        "refund" => json!({"order_id": "o1", "amount": 5}),
        "read_secret" => json!({"name": "db"}),
        "slow" => json!({"ms": 1}),
        "reenter" => json!({"tool": "echo", "args": {"text": "x"}}),
        "bulk" => json!({"targets": ["a"]}),
        "execute_code" => json!({"code": "1"}),
        _ => json!({"text": "x"}),
    }
}

fn boot(
    policy: impl Into<PolicySet>,
    (tools, programs): (Registry, Programs),
    recorder: FlightRecorder,
    clock: &WallClock,
    quotas: bool,
    tickets: &Tickets,
    dry_run: bool,
) -> Result<Kernel, String> {
    let owner = if quotas { Budget::new().rate("60/min".parse().unwrap()) } else { Budget::new() };
    let approvals = Approvals::new().store(tickets.clone()).timeout(APPROVALS_VALID);
    let kernel = Kernel::builder()
        .tenant(owner_id(), owner)
        .policy(policy)
        .tools(tools)
        .recorder(recorder)
        .timer(Arc::new(clock.clone()))
        .approvals(approvals)
        .programs(programs)
        .dry_run(dry_run);
    kernel.build().map_err(|error| error.to_string())
}

fn files(folder: &Path, out: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            files(&path, out);
        } else {
            out.push(format!("{} {:?}", path.display(), std::fs::read(&path).ok()));
        }
    }
}

/// Every entry of a memory with its version, which changes with each write, also with one of the same bytes.
fn stored(memory: &Memory, name: &str, folder: &str, out: &mut Vec<String>) {
    let Ok(path) = RelPath::parse(folder) else { return };
    let mut listing = memory.list(path, Page::new(None, 1000));
    // A memory answers at once; what is no folder has no listing.
    let answer = listing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(listing)) = answer else { return };
    for entry in listing.entries {
        out.push(format!("{name} {folder} {entry:?}"));
        let below = if folder.is_empty() { entry.name.clone() } else { format!("{folder}/{}", entry.name) };
        stored(memory, name, &below, out);
    }
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn tools(data: &Path, counts: &Counts, worker: &Arc<OnceLock<AgentHandle>>) -> Registry {
    let mut registry = Registry::builder();
    let text = json!({"type": "string"});
    // Names, paths and subjects hold no control and no formatting characters.
    let name = json!({"type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^\p{Cc}\p{Cf}]*$"});
    let path = json!({"type": "string", "minLength": 1, "maxLength": 4096, "pattern": r"^[^\p{Cc}\p{Cf}]*$"});

    let mut add = |tool: &str, schema: Value, run: Run| {
        register(&mut registry, data, tool, schema, counts, run);
    };
    add("echo", object(json!({"text": text}), &["text"]), Box::new(|args| Ok(args["text"].clone())));
    add("read_file", object(json!({"path": path}), &["path"]), {
        let data = data.to_owned();
        Box::new(move |args| {
            let text = std::fs::read_to_string(host(&data, &args["path"]));
            text.map(Value::from).map_err(|_error| ToolError::failed("no such file"))
        })
    });
    add("write_file", object(json!({"path": path, "content": text}), &["path", "content"]), {
        let data = data.to_owned();
        Box::new(move |args| {
            let written = std::fs::write(host(&data, &args["path"]), args["content"].as_str().unwrap());
            written.map(|()| json!({"written": true})).map_err(|_error| ToolError::failed("cannot write"))
        })
    });
    let argv = json!({"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 64});
    add("run_command", object(json!({"argv": argv}), &["argv"]), Box::new(|_| Ok(json!({"status": 0}))));
    let sql = object(json!({"sql": {"type": "string", "maxLength": 65536}}), &["sql"]);
    add("database_query", sql.clone(), Box::new(|_| Ok(json!([]))));
    add("http_get", object(json!({"url": text}), &["url"]), Box::new(|_| Ok(json!({"status": 200}))));
    let mail = object(json!({"to": name, "subject": name, "body": text}), &["to", "subject", "body"]);
    add("send_email", mail, Box::new(|_| Ok(json!({"queued": true}))));
    let refund = object(
        json!({
            "order_id": {"type": "string", "pattern": "^[A-Za-z0-9-]{1,64}$"},
            "amount": {"type": "integer", "minimum": 1, "maximum": 100_000},
        }),
        &["order_id", "amount"],
    );
    add("refund", refund, Box::new(|_| Ok(json!({"refunded": true}))));
    add("read_secret", object(json!({"name": name}), &["name"]), Box::new(|_| Ok(json!("hunter2"))));
    let panics: Run = Box::new(|_| panic!("as told"));
    add("panics", object(json!({}), &[]), panics);
    add("delete_file", object(json!({"path": path}), &["path"]), Box::new(|_| Ok(json!({}))));
    add("execute_code", object(json!({"code": text}), &["code"]), Box::new(|_| Ok(json!({}))));
    add("database_write", sql, Box::new(|_| Ok(json!({}))));
    let targets = json!({"type": "array", "items": {"type": "string"}});
    add("bulk", object(json!({"targets": targets}), &["targets"]), Box::new(|_| Ok(json!({}))));
    add("thread_killer", object(json!({}), &[]), Box::new(|_| Ok(json!({}))));
    add("mail_invite", object(json!({"to": text}), &[]), Box::new(|_| Ok(json!({}))));
    slow(&mut registry, data, counts);
    reenter(&mut registry, counts, worker);
    registry.build()
}

fn register(
    registry: &mut RegistryBuilder,
    data: &Path,
    tool: &str,
    schema: Value,
    counts: &Counts,
    run: Run,
) {
    let (counts, name, run) = (counts.clone(), tool.to_owned(), Arc::new(run));
    let mut builder = registry.tool(tool).description("A tool of the fixture").effects([Effect::Write]);
    builder = match tool {
        "read_secret" => builder.output_labels(["secret"]),
        "http_get" => builder.output_labels(["untrusted"]),
        "send_email" => builder.authority(["to"]).content(["subject", "body"]),
        "write_file" => builder.authority(["path"]).content(["content"]),
        _ => builder,
    };
    if schema["properties"].get("path").is_some() {
        builder = builder.path_argument(
            "/path",
            PathRoot { mounted_at: "/data".to_owned(), host: data.to_owned(), must_exist: false },
        );
    }
    let called = move |_context: CallContext, args: Value| {
        counts.add(&name);
        let run = Arc::clone(&run);
        async move { run(&args) }
    };
    builder.run_raw(schema, called).unwrap_or_else(|error| panic!("`{tool}`: {error}"));
}

/// Sleeps, then writes: what must not happen when the time limit is over.
fn slow(registry: &mut RegistryBuilder, data: &Path, counts: &Counts) {
    let schema =
        object(json!({"ms": {"type": "integer", "minimum": 0}, "then_write": {"type": "string"}}), &["ms"]);
    let limits = agent_control_plane::atr::Limits { deadline: TOOL_LIMIT, ..Default::default() };
    let (counts, data) = (counts.clone(), data.to_owned());
    let called = move |context: CallContext, args: Value| {
        counts.add("slow");
        let data = data.clone();
        let running = counts.start();
        async move {
            let _running = running;
            let wait = Duration::from_millis(args["ms"].as_u64().unwrap());
            let timer = context.timer();
            timer.sleep_until(timer.monotonic().after(wait)).await;
            if !args["then_write"].is_null() {
                std::fs::write(host(&data, &args["then_write"]), "late").unwrap();
            }
            Ok::<_, ToolError>(json!({"slept": true}))
        }
    };
    registry
        .tool("slow")
        .description("Sleeps, then may write")
        .effects([Effect::Write])
        .limits(limits)
        .run_raw(schema, called)
        .unwrap();
}

/// A tool that makes a call of its own, with the only right it can have: the worker's handle.
fn reenter(registry: &mut RegistryBuilder, counts: &Counts, worker: &Arc<OnceLock<AgentHandle>>) {
    let schema = object(json!({"tool": {"type": "string"}, "args": {"type": "object"}}), &["tool", "args"]);
    let (counts, worker) = (counts.clone(), Arc::clone(worker));
    let called = move |_context: CallContext, args: Value| {
        counts.add("reenter");
        let worker = worker.get().unwrap().clone();
        async move {
            let answer = worker.exec(args["tool"].as_str().unwrap(), args["args"].clone()).await;
            answer.map_err(|error| ToolError::failed(error.to_string()))
        }
    };
    registry
        .tool("reenter")
        .description("Makes a call of its own")
        .effects([Effect::Write])
        .run_raw(schema, called)
        .unwrap();
}

fn host(data: &Path, path: &Value) -> PathBuf {
    data.join(path.as_str().unwrap().strip_prefix("/data/").unwrap_or_default())
}
