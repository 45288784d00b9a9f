//! Functions in Python as tools: run by an interpreter of the machine, in a process that is granted that interpreter and
//! nothing else.
//!
//! The function is called with the arguments of the tool as keyword arguments, and what it returns is the answer, as JSON; a
//! coroutine function is run to its end. What it prints goes to standard error. An exception is a failure of the process, whose
//! traceback only the host sees. No module of the host's users is imported: the interpreter runs isolated (`-I`), and what the
//! module imports has to lie in the interpreter's own library.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{Artefact, Command};
use crate::isolation::{Access, Permissions};

/// Longest source of a function's module, in bytes: it travels as an argument of the interpreter.
pub const MAX_SOURCE: usize = 96 << 10;
/// Longest an interpreter may take to say where its files are.
const PROBE: Duration = Duration::from_secs(10);
/// Longest answer of an interpreter about itself, in bytes.
const MAX_REPORT: u64 = 16 << 10;

/// What an interpreter is asked: itself, where its library lies, and where modules of its extensions do.
const WHERE: &str = "import sys, sysconfig
places = [sys.base_prefix + '/lib', sys.base_exec_prefix + '/lib']
places += [sysconfig.get_path(name) for name in ('stdlib', 'platstdlib')]
print('\\0'.join([sys._base_executable or sys.executable] + places + ['end']), end='')";

/// What runs in the interpreter. `module` and `function` come as arguments; the tool's arguments on standard input.
const WRAPPER: &str = r#"
import asyncio, inspect, json, os, sys, types
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
arguments = json.load(sys.stdin.buffer)
module = types.ModuleType("tool")
sys.modules["tool"] = module
exec(compile(sys.argv[1], "tool.py", "exec"), module.__dict__)
answer = getattr(module, sys.argv[2])(**arguments)
if inspect.isawaitable(answer):
    async def run(): return await answer
    answer = asyncio.run(run())
text = json.dumps(answer, allow_nan=False)
sys.stdout.flush()
answers.write(text)
answers.flush()
os._exit(0)
"#;

/// A function in Python, and the interpreter that runs it. Its tool is made of both parts:
///
/// ```no_run
/// # use agent_tool_registry::{Registry, executor::python::PythonFunction};
/// # use serde_json::json;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let source = "def area(width, height):\n    return width * height\n";
/// let area = PythonFunction::new("/usr/bin/python3", source, "area")?;
/// let mut tools = Registry::builder();
/// tools
///     .tool("area")
///     .description("The area of a rectangle")
///     .permissions(area.permissions().clone())
///     .program(json!({"type": "object", "required": ["width", "height"]}), [area.artefact()])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct PythonFunction {
    command: Command,
    permissions: Permissions,
}

/// Why a function is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PythonError {
    /// The interpreter could not be asked where its files are, or did not answer in time.
    #[error("the interpreter `{interpreter}` does not answer: {reason}")]
    #[non_exhaustive]
    Interpreter {
        /// Its path.
        interpreter: String,
        /// What went wrong.
        reason: String,
    },
    /// The name is none that a function can have, or the source is too long or holds a NUL.
    #[error("the function is not well specified: {reason}")]
    #[non_exhaustive]
    Function {
        /// The rule that is broken.
        reason: String,
    },
}

impl PythonError {
    /// Stable code, `AK0982` or `AK0983`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Interpreter { .. } => "AK0982",
            Self::Function { .. } => "AK0983",
        }
    }
}

impl PythonFunction {
    /// The function called `function` in a module of this source, run by the interpreter at this absolute path.
    ///
    /// The interpreter is started once, to be asked where its files are: with an empty environment, isolated, and for 10
    /// seconds at most, for which this blocks. What it answers is what the tool is granted, so name an interpreter that the
    /// host trusts.
    ///
    /// # Errors
    /// [`PythonError`]. Whether the source compiles turns out when the tool is called.
    pub fn new(interpreter: impl AsRef<Path>, source: &str, function: &str) -> Result<Self, PythonError> {
        let invalid = |reason: String| PythonError::Function { reason };
        let mut letters = function.chars();
        let begins = letters.next().is_some_and(|first| first.is_alphabetic() || first == '_');
        if !begins || !letters.all(|letter| letter.is_alphanumeric() || letter == '_') {
            return Err(invalid(format!("`{function}` is not the name of a function")));
        }
        if MAX_SOURCE < source.len() || source.contains('\0') {
            return Err(invalid(format!("the source is longer than {MAX_SOURCE} bytes, or holds a NUL")));
        }
        let interpreter = interpreter.as_ref();
        let places = places(interpreter).map_err(|reason| PythonError::Interpreter {
            interpreter: interpreter.display().to_string(),
            reason,
        })?;
        let args = ["-I", "-S", "-B", "-c", WRAPPER, source, function];
        let command = args.into_iter().fold(Command::new(&places.executable), Command::arg);
        Ok(Self { command, permissions: places.permissions })
    }

    /// What is run.
    #[must_use]
    pub fn artefact(&self) -> Artefact {
        Artefact::Command(self.command.clone())
    }

    /// What it has to be let have: the interpreter and its library, and the libraries of the system.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }
}

struct Places {
    executable: PathBuf,
    permissions: Permissions,
}

/// Asks an interpreter where its files are.
fn places(interpreter: &Path) -> Result<Places, String> {
    if !interpreter.is_absolute() {
        return Err("its path is not absolute".to_owned());
    }
    let report = ask(interpreter)?;
    // Whole only if its last word came.
    let report = report.strip_suffix(b"\0end").ok_or("it does not say where its files are")?;
    // A grant is of what is there, not of a link to it.
    let canonical = |path| Path::new(OsStr::from_bytes(path)).canonicalize();
    let mut paths = report.split(|byte| *byte == 0).map(canonical);
    let executable = paths.next().and_then(Result::ok).ok_or("it does not say where it is")?;
    let mut permissions = Permissions::system();
    let granted = |permissions: &Permissions, path: &Path| {
        permissions.folders.iter().any(|grant| path.starts_with(&grant.path))
    };
    for path in [Ok(executable.clone())].into_iter().chain(paths).flatten() {
        if !granted(&permissions, &path) {
            permissions = permissions.folder(path, Access::Execute);
        }
    }
    permissions.check()?;
    Ok(Places { executable, permissions })
}

/// What the interpreter prints of itself.
fn ask(interpreter: &Path) -> Result<Vec<u8>, String> {
    let started = process::Command::new(interpreter)
        .args(["-I", "-S", "-B", "-c", WHERE])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = started.map_err(|error| error.to_string())?;
    let stdout = child.stdout.take();
    let (told, heard) = mpsc::sync_channel(1);
    // Ends with the child at the latest, which is killed below.
    let reading = std::thread::Builder::new().name("python-probe".to_owned()).spawn(move || {
        let mut report = Vec::new();
        let read = stdout.map(|stdout| stdout.take(MAX_REPORT).read_to_end(&mut report));
        let _ = told.send(read.map(|_| report));
    });
    let report = match reading {
        Ok(_) => heard.recv_timeout(PROBE).ok().flatten(),
        Err(_) => None,
    };
    // It has said all there is to say, or never will.
    let _ = child.kill();
    child.wait().map_err(|error| error.to_string())?;
    report.ok_or_else(|| "it said nothing in time".to_owned())
}
