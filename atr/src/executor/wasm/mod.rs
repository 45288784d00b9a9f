//! Programs as WebAssembly, which reach nothing but what they are handed.
//!
//! A program is of one of three forms:
//!
//! - A **function**: a component that exports `run: func(input: string) -> result<string, string>`. It is given the arguments
//!   as JSON; `ok` is the answer as JSON, `err` is the tool's own failure in its own words.
//! - A **module**: a core module that imports nothing and exports `memory`, `alloc: func(len: i32) -> i32` and
//!   `run: func(ptr: i32, len: i32) -> i64`. The arguments are written to where `alloc` says, and `run` answers with the
//!   place of its answer in the upper 32 bits and the length in the lower ones.
//! - A **command**: a component that exports `wasi:cli/run`. It has standard streams, so it can be [started](Executor::start)
//!   and spoken with; called as a tool it reads the arguments from standard input and writes its answer to standard output.
//!
//! Each call and each session has an instance, a memory and a stack of its own, made for it and gone with it.
//!
//! # What a guest finds
//!
//! A component may import all of WASI 0.2 but `wasi:sockets`. There is no environment, no argument, no folder. Time is
//! virtual and randomness is a stream from the executor's seed, so the same program with the same input and fuel gives the
//! same answer and burns the same fuel each time. `wasi:random/random`, randomness for secrets, ends who calls it
//! ([`ToolError::SandboxViolation`]): WASI forbids to answer it with what is predictable.
//!
//! # What holds
//!
//! All [guarantees](crate::Guarantee), by construction: a guest has instructions for computing in its own memory and for
//! calling what it imports, and nothing else. It makes no system call, so none has to be filtered; what it imports touches
//! memory of the host and the clock of the call. It has no thread and no process. Linear memory and tables together stay
//! below `memory_bytes`; each instance has up to 1.5 MiB of stack besides, each stream 64 KiB. All guests of an agent together
//! stay below [`Wasm::agent_memory`]. The guarantee is as good as
//! the compiler: where that is not enough, run the host itself in a sandbox.
//!
//! A guest that computes comes back to the host every 5 ms, whatever it does, but for a single instruction that fills or copies
//! memory, which comes to its end first; a thread beside the runtime sees to that. It is
//! there that it is stopped, killed, or dropped with the call, and that its processor time is compared with `cpu`. Orders
//! take hold within two ticks, and at once where it waits. [`Order::Terminate`](super::Order) closes the standard input of a
//! command; a function or a module hears nothing of it. Fuel is counted only where it is limited: the count costs about a
//! fifth of the speed.
//!
//! wasmtime turns faults of the processor into traps, so it installs handlers for SIGSEGV, SIGBUS, SIGILL and SIGFPE, which
//! hand on what is not its own.
//!
//! # Compiling
//!
//! Two programs are compiled at once, on threads of their own. A program that would take long is refused for its shape before
//! that begins: loops more than 64 deep in each other, or too much of functions, or of branches times locals. The compiler
//! cannot be interrupted, so what takes more than ten seconds all the same is given up by who waits for it, keeps its thread until
//! it is done, and another takes its place, four times at most.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use agent_tool_registry::{
//!     Arguments, Artefact, CallContext, Executors, Level, Registry, SandboxPolicy, TokioTimer, Wasm,
//! };
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Answers with its arguments.
//! let echo = wat::parse_str(
//!     r#"(module
//!         (memory (export "memory") 1)
//!         (func (export "alloc") (param i32) (result i32) (i32.const 1024))
//!         (func (export "run") (param $ptr i32) (param $len i32) (result i64)
//!             (i64.or
//!                 (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
//!                 (i64.extend_i32_u (local.get $len)))))"#,
//! )?;
//! let mut tools = Registry::builder().executors(Executors::none().with(Wasm::new()?));
//! tools
//!     .tool("echo")
//!     .description("Says it again.")
//!     .isolation(SandboxPolicy::at_least(Level::Wasm))
//!     .program(json!({"type": "object", "additionalProperties": true}), [Artefact::Module(echo.into())])?;
//! let tools = tools.build();
//!
//! let call = tools.prepare(&"echo".parse()?, Arguments::parse(br#"{"say": "hello"}"#)?)?;
//! let context = CallContext::new("assistant".parse()?, Arc::new(TokioTimer::new()));
//! assert_eq!(call.run(context.clone()).await?.value()["say"], "hello");
//! assert_eq!(context.ran().map(|ran| ran.level), Some(Level::Wasm));
//! # Ok(())
//! # }
//! ```

mod budget;
mod engine;
mod gate;
mod load;
mod pipe;
mod program;
mod run;
mod ticker;
mod work;
mod world;

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::str;
use std::sync::Arc;
use std::task::{Context, Poll};

use agent_primitives::AgentId;
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use self::budget::{Accounts, Share};
use self::engine::Engine;
use self::gate::{Ended, Gate, Gated};
use self::load::Loader;
use self::pipe::pipe;
use self::program::{Form, Program};
use self::run::{Fault, Terms};
use self::ticker::Ticker;
use self::world::{Streams, World};
use super::session::{Cause, Control, Exit, Order, Pending, Session, Usage};
use super::{Artefact, Executor, Finished, Launch, stdio};
use crate::Output;
use crate::error::{ArgumentError, ToolError};
use crate::isolation::{Guarantee, GuaranteeSet, Level, Limits, Permissions};

const GUARANTEES: GuaranteeSet = GuaranteeSet::NONE
    .with(Guarantee::NoNetwork)
    .with(Guarantee::FsConfined)
    .with(Guarantee::MemoryCapTotal)
    .with(Guarantee::PidsCap)
    .with(Guarantee::HardStop)
    .with(Guarantee::NoHostEnv)
    .with(Guarantee::SyscallFilter);

/// Runs WebAssembly. See the [module](self) for what it runs and what holds. Clones share one engine; its threads end with
/// the last of them and the last program.
#[derive(Clone)]
pub struct Wasm {
    host: Arc<Host>,
    accounts: Arc<Accounts>,
}

/// What the guests of one agent may have together by default, in bytes: 2 GiB.
const AGENT_MEMORY: u64 = 2 << 30;

struct Host {
    loader: Loader,
    ticker: Ticker,
    seed: [u8; 32],
}

impl Wasm {
    /// An engine, with one thread that ticks while something runs and two that compile.
    ///
    /// # Errors
    /// [`ToolError::ExecutorUnavailable`]: this machine is none that it compiles for, or has no threads left.
    pub fn new() -> Result<Self, ToolError> {
        Self::with_seed([0; 32])
    }

    /// The same, where the randomness that guests are given for hash tables and the like comes from `seed`.
    ///
    /// # Errors
    /// As for [`Wasm::new`].
    pub fn with_seed(seed: [u8; 32]) -> Result<Self, ToolError> {
        let engine = Arc::new(Engine::new().map_err(|error| unavailable(format_args!("{error:#}")))?);
        let loader = Loader::start(&engine).map_err(unavailable)?;
        let ticker = Ticker::start(engine.tick()).map_err(unavailable)?;
        let accounts = Arc::new(Accounts::new(AGENT_MEMORY));
        Ok(Self { host: Arc::new(Host { loader, ticker, seed }), accounts })
    }

    /// The same, where the guests of one agent have this many bytes together instead of 2 GiB: linear memory, tables, and
    /// 1.5 MiB of stack each. What goes beyond is refused: growth as if it were beyond the guest's own limit, a further guest
    /// with [`ToolError::ExecutorUnavailable`], and so is each program whose own limit is beyond.
    ///
    /// Guests of clones made before are counted for themselves.
    #[must_use]
    pub fn agent_memory(self, bytes: u64) -> Self {
        Self { accounts: Arc::new(Accounts::new(bytes)), ..self }
    }

    fn share(&self, agent: &AgentId) -> Result<Share, ToolError> {
        let share = self.accounts.admit(agent);
        share.ok_or_else(|| unavailable("the programs of this agent have all the memory that they may have"))
    }

    /// Waits until it may run, and finds or compiles what is run.
    async fn admit(&self, launch: &Launch) -> Result<Arc<Program>, ToolError> {
        self.guarantees(&launch.permissions, &launch.limits)?;
        let Artefact::Module(bytes) = &launch.artefact else {
            return Err(unavailable("it runs WebAssembly only"));
        };
        launch.executions.admitted().await?;
        let program = self.host.loader.load(bytes, launch.limits.fuel.is_some(), &launch.timer).await?;
        let limit = launch.limits.memory_bytes;
        program.fits(limit).map_err(|_| ToolError::MemoryExceeded { limit })?;
        Ok(program)
    }

    /// Makes one call of a function or a module, in place.
    async fn answer(
        &self,
        launch: &Launch,
        program: &Program,
        arguments: &[u8],
    ) -> Result<(Result<Output, ToolError>, Usage), ToolError> {
        let limits = launch.limits;
        let gate = Gate::new(None);
        let share = self.share(&launch.agent)?;
        let _registered = launch.executions.register(Arc::clone(&gate) as Arc<dyn Control>)?;
        let terms = Terms { limits, gate: Arc::clone(&gate) };
        let guest = async {
            match &program.form {
                Form::Module(module) => terms.module(module, terms.budget(share), arguments).await,
                Form::Function(component, export) => {
                    let text = str::from_utf8(arguments).map_err(|error| {
                        let errors = vec![ArgumentError::new("", "utf-8", error)];
                        Fault::Answered(ToolError::ArgsInvalid { errors })
                    })?;
                    let world =
                        World::new(terms.budget(share), Arc::clone(&launch.timer), self.host.seed, None);
                    terms.function(component, export, world, text).await.map(String::into_bytes)
                }
                Form::Command(_) => Err(Fault::Ended(Cause::Lost("a command has streams".to_owned()))),
            }
        };
        let ended = Gated::new(guest, Arc::clone(&gate), &self.host.ticker, limits.cpu).await;
        let result = match ended {
            Ended::Itself(Ok(answer)) => Output::parse(&answer, limits.output_bytes),
            Ended::Itself(Err(Fault::Answered(error))) => Err(error),
            Ended::Itself(Err(Fault::Ended(cause))) => Err(failure(cause, &gate, &limits)),
            Ended::Killed => Err(ToolError::Killed),
            Ended::Cpu => Err(ToolError::CpuExceeded { limit: limits.cpu }),
        };
        Ok((result, gate.usage()))
    }

    /// Starts a command.
    fn begin(&self, launch: &Launch, program: &Arc<Program>) -> Result<Session, ToolError> {
        if !matches!(program.form, Form::Command(_)) {
            let reason = "it has no standard streams; it can only be called".to_owned();
            return Err(ToolError::ProgramInvalid { reason });
        }
        let runtime =
            Handle::try_current().map_err(|error| ToolError::Spawn { source: io::Error::other(error) })?;
        let ((stdin, read), (wrote, stdout), (complained, stderr)) = (pipe(), pipe(), pipe());
        let limits = launch.limits;
        let share = self.share(&launch.agent)?;
        let gate = Gate::new(Some(stdin.closer()));
        let control = Arc::clone(&gate) as Arc<dyn Control>;
        let registered = launch.executions.register(Arc::clone(&control))?;
        let terms = Terms { limits, gate: Arc::clone(&gate) };
        let streams = Streams { stdin: read, stdout: wrote, stderr: complained };
        let timer = Arc::clone(&launch.timer);
        let world = World::new(terms.budget(share), timer, self.host.seed, Some(streams));
        let (host, program) = (Arc::clone(&self.host), Arc::clone(program));
        let task = runtime.spawn(async move {
            let gate = Arc::clone(&terms.gate);
            let guest = async {
                match &program.form {
                    Form::Command(command) => terms.command(command, world).await,
                    Form::Function(..) | Form::Module(_) => Cause::Lost("it has no streams".to_owned()),
                }
            };
            let cause = match Gated::new(guest, Arc::clone(&gate), &host.ticker, limits.cpu).await {
                Ended::Itself(cause) => cause,
                Ended::Killed => Cause::Killed,
                Ended::Cpu => Cause::Cpu,
            };
            drop(registered);
            Exit::new(cause, gate.usage())
        });
        Ok(Session {
            stdin: Box::pin(stdin),
            stdout: Box::pin(stdout),
            stderr: Box::pin(stderr),
            control,
            exit: Box::pin(Running { task, gate }),
            guarantees: GUARANTEES,
        })
    }
}

impl Executor for Wasm {
    fn level(&self) -> Level {
        Level::Wasm
    }

    fn takes(&self, artefact: &Artefact) -> bool {
        matches!(artefact, Artefact::Module(_))
    }

    fn guarantees(&self, permissions: &Permissions, limits: &Limits) -> Result<GuaranteeSet, ToolError> {
        if self.accounts.limit < limits.memory_bytes {
            return Err(unavailable(format_args!("an agent has {} bytes of memory", self.accounts.limit)));
        }
        if *permissions != Permissions::none() {
            return Err(unavailable("nothing of the host can be granted to WebAssembly"));
        }
        Ok(GUARANTEES)
    }

    fn check(&self, artefact: &Artefact, limits: &Limits) -> Result<(), String> {
        let Artefact::Module(bytes) = artefact else { return Err("it runs WebAssembly only".to_owned()) };
        self.host.loader.load_blocking(bytes, limits.fuel.is_some())?.fits(limits.memory_bytes)
    }

    fn start(&self, launch: Launch) -> Pending<'_, Result<Session, ToolError>> {
        Box::pin(async move {
            let program = self.admit(&launch).await?;
            self.begin(&launch, &program)
        })
    }

    fn call(&self, launch: Launch, arguments: Bytes) -> Pending<'_, Finished> {
        Box::pin(async move {
            let called = match self.admit(&launch).await {
                Ok(program) if matches!(program.form, Form::Command(_)) => {
                    let session = async { self.begin(&launch, &program) };
                    return stdio::call(session, launch.clone(), arguments).await;
                }
                Ok(program) => self.answer(&launch, &program, &arguments).await,
                Err(error) => Err(error),
            };
            match called {
                Ok((result, usage)) => Finished::new(result, usage, GUARANTEES),
                Err(error) => Finished::new(Err(error), Usage::default(), GuaranteeSet::NONE),
            }
        })
    }
}

impl fmt::Debug for Wasm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasm").field("loader", &self.host.loader).finish_non_exhaustive()
    }
}

/// What the end of a guest means for its call.
fn failure(cause: Cause, gate: &Gate, limits: &Limits) -> ToolError {
    match stdio::judge(&Exit::new(cause, gate.usage()), &[], limits) {
        Err(error) => error,
        Ok(()) => ToolError::OutputInvalid { reason: "it ended without an answer".to_owned() },
    }
}

fn unavailable(reason: impl fmt::Display) -> ToolError {
    ToolError::unavailable(Level::Wasm, reason)
}

/// A command under way, on a task of the runtime: it runs whether or not anybody waits for its end.
struct Running {
    task: JoinHandle<Exit>,
    gate: Arc<Gate>,
}

impl Future for Running {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Exit> {
        let ended = std::task::ready!(Pin::new(&mut self.task).poll(task));
        Poll::Ready(ended.unwrap_or_else(|lost| Exit::new(Cause::Lost(lost.to_string()), self.gate.usage())))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.gate.order(Order::Kill);
    }
}
