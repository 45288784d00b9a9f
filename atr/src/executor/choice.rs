//! Who runs programs, and which of them runs this one.

use std::fmt;
use std::sync::Arc;

use agent_primitives::{AgentId, Digest, Timer};
use bytes::Bytes;

use super::child::{Child, Command};
use super::session::{Pending, Session, Usage};
use super::{Executions, Process, stdio};
use crate::Output;
use crate::contract::Endpoint;
use crate::error::ToolError;
use crate::isolation::{GuaranteeSet, Level, Limits, Permissions, SandboxPolicy};

/// A program, in the form that one kind of executor takes. A tool may bring several; the policy decides which is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Artefact {
    /// A program of the machine, for [`Level::Child`] and [`Level::Process`].
    Command(Command),
    /// WebAssembly, as the bytes of a module or a component, for [`Level::Wasm`].
    Module(Bytes),
    /// An image that the container daemon has already, for [`Level::Container`].
    Image {
        /// `name@sha256:…`, or the id `sha256:…`. A tag is refused: it may be moved.
        reference: String,
        /// The program in it and its arguments.
        argv: Vec<String>,
    },
}

/// Longest list of forms that one tool brings.
const MAX_ARTEFACTS: usize = 8;

impl Artefact {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Command(command) => command.check(),
            Self::Module(bytes) if bytes.is_empty() => Err("the module is empty".to_owned()),
            Self::Module(_) => Ok(()),
            Self::Image { reference, argv } => {
                let by_digest = reference.rsplit_once("sha256:").is_some_and(|(name, hex)| {
                    (name.is_empty() || name.ends_with('@'))
                        && hex.len() == 64
                        && hex.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
                });
                if !by_digest {
                    return Err("an image is named by digest, `name@sha256:…` or `sha256:…`".to_owned());
                }
                if argv.is_empty() || argv.iter().any(|arg| arg.contains('\0')) {
                    return Err("the program in the image is missing, or holds a NUL".to_owned());
                }
                Ok(())
            }
        }
    }

    /// Whose program this is. Environment variables count by name, not by value, which may be a secret.
    fn identity(&self) -> Endpoint {
        match self {
            Self::Command(command) => Endpoint::Process(command.identity()),
            Self::Module(bytes) => Endpoint::Wasm(Digest::of("agent-os atr module v1", bytes)),
            Self::Image { reference, argv } => {
                let mut bytes = Vec::new();
                for part in [reference].into_iter().chain(argv) {
                    bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(part.as_bytes());
                }
                Endpoint::Container(Digest::of("agent-os atr image v1", &bytes))
            }
        }
    }
}

/// Checks what a tool brings, and says what answers its calls.
pub(crate) fn identity(artefacts: &[Artefact]) -> Result<Endpoint, String> {
    artefacts.iter().try_for_each(Artefact::check)?;
    match artefacts {
        [] => Err("it brings no program".to_owned()),
        [only] => Ok(only.identity()),
        _ if MAX_ARTEFACTS < artefacts.len() => Err(format!("it brings more than {MAX_ARTEFACTS} programs")),
        several => {
            let endpoints: Vec<Endpoint> = several.iter().map(Artefact::identity).collect();
            let bytes = serde_json::to_vec(&endpoints).map_err(|error| error.to_string())?;
            Ok(Endpoint::Programs(Digest::of("agent-os atr programs v1", &bytes)))
        }
    }
}

/// One program to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What is run.
    pub artefact: Artefact,
    /// What it is let have.
    pub permissions: Permissions,
    /// How much it may use. The deadline is not the executor's: whoever started it kills it then.
    pub limits: Limits,
    /// On whose behalf.
    pub agent: AgentId,
    /// The clock.
    pub timer: Arc<dyn Timer>,
    /// Where it has to be registered before anything of it runs.
    pub executions: Executions,
}

/// One call that is over, and of which nothing is left.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// What it answered.
    pub result: Result<Output, ToolError>,
    /// What it used.
    pub usage: Usage,
    /// What was in force.
    pub guarantees: GuaranteeSet,
}

impl Finished {
    /// The end of a call.
    #[must_use]
    pub fn new(result: Result<Output, ToolError>, usage: Usage, guarantees: GuaranteeSet) -> Self {
        Self { result, usage, guarantees }
    }
}

/// Runs programs at one level of isolation.
pub trait Executor: fmt::Debug + Send + Sync {
    /// Where its programs run.
    fn level(&self) -> Level;

    /// Whether it takes this form of program.
    fn takes(&self, artefact: &Artefact) -> bool;

    /// What it would guarantee for a program with these permissions and limits, on this machine, now. Cheap: probed once.
    ///
    /// # Errors
    /// [`ToolError::ExecutorUnavailable`]: it cannot run anything here, or cannot grant these permissions.
    fn guarantees(&self, permissions: &Permissions, limits: &Limits) -> Result<GuaranteeSet, ToolError>;

    /// Looks at a program that is being registered, as closely as this executor can without running it. It may block for as
    /// long as that takes.
    ///
    /// # Errors
    /// Why it would never run it with these limits, whatever the arguments.
    fn check(&self, _artefact: &Artefact, _limits: &Limits) -> Result<(), String> {
        Ok(())
    }

    /// Starts a program with its streams. It waits until [`Executions::admitted`], registers its control, and only then
    /// lets anything of the program run. A program that cannot be confined as promised is not started.
    ///
    /// # Errors
    /// [`ToolError::ExecutorUnavailable`], [`ToolError::Spawn`], [`ToolError::Killed`], [`ToolError::Stopped`].
    ///
    /// # Cancel safety
    /// Dropping the future, or the session, kills the program and leaves nothing behind.
    fn start(&self, launch: Launch) -> Pending<'_, Result<Session, ToolError>>;

    /// Makes one call: `arguments` are JSON, and so is the answer. Unless an executor knows better, the program is
    /// started, reads the arguments from standard input, and answers with exactly one JSON value on standard output.
    ///
    /// # Cancel safety
    /// As for [`Executor::start`].
    fn call(&self, launch: Launch, arguments: Bytes) -> Pending<'_, Finished> {
        Box::pin(stdio::call(self.start(launch.clone()), launch, arguments))
    }
}

/// For executors that cannot count fuel: a limit that nobody holds a program to must not be taken for one.
///
/// # Errors
/// [`ToolError::ExecutorUnavailable`] if there is such a limit.
pub(super) fn without_fuel(level: Level, limits: &Limits) -> Result<(), ToolError> {
    match limits.fuel {
        Some(_) => Err(ToolError::unavailable(level, "fuel is counted for WebAssembly only")),
        None => Ok(()),
    }
}

/// The executors that a host has, by level.
#[derive(Clone, Debug, Default)]
pub struct Executors(Vec<Arc<dyn Executor>>);

impl Executors {
    /// What every host has: programs of the machine, in a sandbox by [`Process`], or by [`Child`] where the policy says
    /// that the host's rights will do.
    #[must_use]
    pub fn host() -> Self {
        Self::none().with(Child).with(Process::new())
    }

    /// No executor: nothing but functions of the host can run.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The same and one more. Of two at one level, the later one is asked first.
    #[must_use]
    pub fn with(mut self, executor: impl Executor + 'static) -> Self {
        let level = executor.level();
        let place = self.0.partition_point(|other| other.level() < level);
        self.0.insert(place, Arc::new(executor));
        self
    }

    /// From the least isolated to the most.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Executor> {
        self.0.iter().map(|executor| &**executor)
    }

    /// Has each form of a tool looked at by every executor that takes it.
    pub(crate) fn check(&self, artefacts: &[Artefact], limits: &Limits) -> Result<(), String> {
        artefacts.iter().try_for_each(|artefact| {
            let mut takers = self.0.iter().filter(|executor| executor.takes(artefact));
            takers.try_for_each(|executor| executor.check(artefact, limits))
        })
    }

    /// Chooses for a tool: the least isolated executor that is isolated enough, takes one of the forms that the tool
    /// brings, and guarantees what is required.
    ///
    /// # Errors
    /// [`ToolError::IsolationUnavailable`] with what the best candidate lacks; [`ToolError::ExecutorUnavailable`] when the
    /// only executor that could run the tool at all is not there. Nothing is run with less.
    pub fn choose(
        &self,
        artefacts: &[Artefact],
        policy: SandboxPolicy,
        permissions: &Permissions,
        limits: &Limits,
    ) -> Result<(Arc<dyn Executor>, Artefact), ToolError> {
        let mut unavailable = None;
        let mut lacking: Option<GuaranteeSet> = None;
        for executor in self.0.iter().filter(|executor| policy.min <= executor.level()) {
            let Some(artefact) = artefacts.iter().find(|artefact| executor.takes(artefact)) else { continue };
            match executor.guarantees(permissions, limits) {
                Err(error) => unavailable = Some(error),
                Ok(given) => {
                    let missing = policy.require.missing_from(given);
                    if missing.is_empty() {
                        return Ok((Arc::clone(executor), artefact.clone()));
                    }
                    lacking = Some(lacking.map_or(missing, |best| best.fewer(missing)));
                }
            }
        }
        // What is there and is not isolated enough must not be run instead, and the answer says that it was not.
        let too_open =
            |executor: &Arc<dyn Executor>| artefacts.iter().any(|artefact| executor.takes(artefact));
        let below = self.0.iter().take_while(|executor| executor.level() < policy.min).any(too_open);
        let unavailable = unavailable.filter(|_| !below);
        match (lacking, unavailable) {
            (Some(missing), _) => Err(ToolError::IsolationUnavailable { wanted: policy.min, missing }),
            (None, Some(error)) => Err(error),
            (None, None) => {
                Err(ToolError::IsolationUnavailable { wanted: policy.min, missing: policy.require })
            }
        }
    }
}
