//! From bytes to a program: checked, compiled off the runtime, kept.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io, thread};

use agent_primitives::{Digest, Timer};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::engine::Engine;
use super::program::{MAX_MODULE, Program};
use crate::error::ToolError;
use crate::isolation::Level;

/// How many are compiled at once.
const COMPILERS: usize = 2;
/// How many wait to be compiled.
const WAITING: usize = 64;
/// How long anybody waits for one. The compiler cannot be interrupted: it goes on, and what it makes is kept.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many programs are kept, and how many bytes of WebAssembly they may be made from.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 8 * MAX_MODULE;
/// The compiler recurses over what it is given.
const STACK: usize = 8 << 20;

/// What is wrong with a program, in words for the host.
type Answer = Result<Arc<Program>, String>;

/// Compiles on threads of its own, which end when it is dropped.
pub(super) struct Loader {
    jobs: SyncSender<Job>,
    kept: Arc<Kept>,
}

struct Job {
    bytes: Bytes,
    metered: bool,
    reply: Box<dyn FnOnce(Answer) + Send>,
}

impl Loader {
    pub(super) fn start(engine: &Arc<Engine>) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING);
        let (waiting, kept) = (Arc::new(Mutex::new(waiting)), Arc::new(Kept::default()));
        for _ in 0..COMPILERS {
            let (engine, waiting, kept) = (Arc::clone(engine), Arc::clone(&waiting), Arc::clone(&kept));
            thread::Builder::new()
                .name("wasm-compiler".to_owned())
                .stack_size(STACK)
                .spawn(move || compile_all(&engine, &waiting, &kept))?;
        }
        Ok(Self { jobs, kept })
    }

    /// The program, compiled if it is not kept.
    ///
    /// # Errors
    /// [`ToolError::ProgramInvalid`], or [`ToolError::ExecutorUnavailable`] when the compilers are busy for too long.
    pub(super) async fn load(
        &self,
        bytes: &Bytes,
        metered: bool,
        timer: &Arc<dyn Timer>,
    ) -> Result<Arc<Program>, ToolError> {
        if let Some(program) = self.kept.get(bytes, metered) {
            return Ok(program);
        }
        let late = timer.sleep_until(timer.monotonic().after(PATIENCE));
        let (reply, answer) = oneshot::channel();
        self.ask(bytes, metered, move |program| drop(reply.send(program)))?;
        tokio::select! {
            answer = answer => match answer {
                Ok(answer) => answer.map_err(|reason| ToolError::ProgramInvalid { reason }),
                Err(_) => Err(busy("the compiler has ended")),
            },
            () = late => Err(busy("it takes too long to compile")),
        }
    }

    /// The same for whoever may block.
    pub(super) fn load_blocking(&self, bytes: &Bytes, metered: bool) -> Answer {
        if let Some(program) = self.kept.get(bytes, metered) {
            return Ok(program);
        }
        let (reply, answer) = sync_channel(1);
        self.ask(bytes, metered, move |program| drop(reply.send(program)))
            .map_err(|error| error.host_detail().map_or_else(|| error.to_string(), Cow::into_owned))?;
        answer.recv_timeout(PATIENCE).unwrap_or_else(|_| Err("it takes too long to compile".to_owned()))
    }

    fn ask(
        &self,
        bytes: &Bytes,
        metered: bool,
        reply: impl FnOnce(Answer) + Send + 'static,
    ) -> Result<(), ToolError> {
        let job = Job { bytes: bytes.clone(), metered, reply: Box::new(reply) };
        self.jobs.try_send(job).map_err(|_| busy("too many programs wait to be compiled"))
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("kept", &self.kept.lock().programs.len()).finish_non_exhaustive()
    }
}

fn busy(reason: &str) -> ToolError {
    ToolError::unavailable(Level::Wasm, reason)
}

fn compile_all(engine: &Engine, waiting: &Mutex<Receiver<Job>>, kept: &Kept) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { bytes, metered, reply }) = job else { return };
        // Somebody else may have asked for the same in the meantime.
        let answer = kept.get(&bytes, metered).map_or_else(|| compile(engine, &bytes, metered), Ok);
        if let Ok(program) = &answer {
            kept.put(bytes, metered, program);
        }
        reply(answer);
    }
}

fn compile(engine: &Engine, bytes: &Bytes, metered: bool) -> Answer {
    // Nothing that the compiler held outlives it, and hostile input must not take the thread along.
    catch_unwind(AssertUnwindSafe(|| Program::compile(engine, bytes, metered)))
        .unwrap_or_else(|_| Err("the compiler panicked".to_owned()))
        .map(Arc::new)
}

/// The programs that were run last.
#[derive(Default)]
struct Kept(Mutex<Programs>);

#[derive(Default)]
struct Programs {
    programs: Vec<Entry>,
    uses: u64,
}

struct Entry {
    digest: Digest,
    metered: bool,
    /// INVARIANT: held, so that no other bytes can come to lie at the same place.
    bytes: Bytes,
    program: Arc<Program>,
    used: u64,
}

impl Kept {
    /// Found by place, else by digest: tools hand the same bytes over with every call, and hashing them takes longer than
    /// the call.
    fn get(&self, bytes: &Bytes, metered: bool) -> Option<Arc<Program>> {
        let same_place =
            |entry: &Entry| entry.bytes.as_ptr() == bytes.as_ptr() && entry.bytes.len() == bytes.len();
        if let Some(program) = self.lock().find(metered, same_place) {
            return Some(program);
        }
        let digest = digest(bytes);
        self.lock().find(metered, |entry| entry.digest == digest)
    }

    fn put(&self, bytes: Bytes, metered: bool, program: &Arc<Program>) {
        let digest = digest(&bytes);
        let mut programs = self.lock();
        if programs.find(metered, |entry| entry.digest == digest).is_some() {
            return;
        }
        let (program, used) = (Arc::clone(program), programs.uses);
        programs.programs.push(Entry { digest, metered, bytes, program, used });
        while KEPT < programs.programs.len() || KEPT_BYTES < programs.bytes() {
            programs.forget_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Programs> {
        // INVARIANT: each change is one operation on the list, so a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Programs {
    fn find(&mut self, metered: bool, is: impl Fn(&Entry) -> bool) -> Option<Arc<Program>> {
        self.uses += 1;
        let uses = self.uses;
        let entry = self.programs.iter_mut().find(|entry| entry.metered == metered && is(entry))?;
        entry.used = uses;
        Some(Arc::clone(&entry.program))
    }

    fn bytes(&self) -> usize {
        self.programs.iter().map(|entry| entry.bytes.len()).sum()
    }

    fn forget_one(&mut self) {
        let oldest = self.programs.iter().enumerate().min_by_key(|(_, entry)| entry.used);
        if let Some((place, _)) = oldest {
            self.programs.swap_remove(place);
        }
    }
}

fn digest(bytes: &Bytes) -> Digest {
    Digest::of("agent-os atr module v1", bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program that differs from the others by a number in it.
    fn program(number: usize) -> Bytes {
        let text = format!(
            r#"(module (memory (export "memory") 1) (global i32 (i32.const {number}))
                (func (export "alloc") (param i32) (result i32) (i32.const 0))
                (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#
        );
        wat::parse_str(text).unwrap().into()
    }

    #[test]
    fn what_was_used_last_is_kept() {
        let loader = Loader::start(&Arc::new(Engine::new().unwrap())).unwrap();
        let favourite = program(0);
        let first = loader.load_blocking(&favourite, false).unwrap();
        for number in 1..=KEPT + 3 {
            loader.load_blocking(&program(number), false).unwrap();
            // By its place, and by what it is.
            for same in [favourite.clone(), Bytes::copy_from_slice(&favourite)] {
                assert!(Arc::ptr_eq(&loader.kept.get(&same, false).unwrap(), &first), "{number}");
            }
        }
        assert_eq!(loader.kept.lock().programs.len(), KEPT);
        assert!(loader.kept.get(&program(1), false).is_none());
        // Compiled anew where fuel is counted.
        assert!(loader.kept.get(&favourite, true).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_too() {
        let engine = Engine::new().unwrap();
        let (kept, small) =
            (Kept::default(), Arc::new(Program::compile(&engine, &program(0), false).unwrap()));
        for number in 0..12_u8 {
            kept.put(vec![number; MAX_MODULE].into(), false, &small);
            assert!(kept.lock().bytes() <= KEPT_BYTES);
        }
        assert_eq!(kept.lock().programs.len(), KEPT_BYTES / MAX_MODULE);
    }
}
