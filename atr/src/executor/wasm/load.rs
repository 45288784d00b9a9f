//! From bytes to a program: checked, compiled off the runtime, kept.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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
/// How many there are at most, those included that have a program on which everybody has given up.
const MAX_COMPILERS: usize = COMPILERS + 4;
/// How many wait to be compiled, and how many wait for one of them.
const WAITING: usize = 64;
/// How long anybody waits for one. The compiler cannot be interrupted: it goes on, what it makes is
/// kept, and another one takes its place meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);
const TOO_LONG: &str = "it takes too long to compile";
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
    shop: Arc<Shop>,
}

/// What the compilers share.
struct Shop {
    engine: Arc<Engine>,
    waiting: Mutex<Receiver<Job>>,
    kept: Kept,
    orders: Mutex<Vec<Order>>,
    /// How many compilers there are.
    compilers: AtomicUsize,
}

/// A program that is to be compiled.
struct Job {
    name: Name,
    bytes: Bytes,
}

/// Which program, and whether its fuel is counted.
type Name = (Digest, bool);

/// Who waits for a program. There is one order for each, however many wait, so that one which takes long takes one compiler.
struct Order {
    name: Name,
    compiling: bool,
    /// Somebody has given up on it, and another compiler took the place of the one that has it.
    replaced: bool,
    waiters: Vec<Waiter>,
}

struct Waiter {
    reply: Box<dyn FnOnce(Answer) + Send>,
    /// Dead when nobody waits any more.
    wanted: Weak<()>,
}

impl Loader {
    pub(super) fn start(engine: &Arc<Engine>) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING);
        let shop = Arc::new(Shop {
            engine: Arc::clone(engine),
            waiting: Mutex::new(waiting),
            kept: Kept::default(),
            orders: Mutex::default(),
            compilers: AtomicUsize::new(0),
        });
        for _ in 0..COMPILERS {
            shop.hire()?;
        }
        Ok(Self { jobs, shop })
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
        if let Some(program) = self.shop.kept.get(bytes, metered) {
            return Ok(program);
        }
        let late = timer.sleep_until(timer.monotonic().after(PATIENCE));
        let (reply, answer) = oneshot::channel();
        let wanted = Arc::new(());
        let name = self.order(bytes, metered, &wanted, move |program| drop(reply.send(program)))?;
        tokio::select! {
            answer = answer => match answer {
                Ok(answer) => answer.map_err(|reason| ToolError::ProgramInvalid { reason }),
                Err(_) => Err(busy("the compiler has ended")),
            },
            () = late => {
                self.shop.give_up(&name);
                Err(busy(TOO_LONG))
            }
        }
    }

    /// The same for whoever may block.
    pub(super) fn load_blocking(&self, bytes: &Bytes, metered: bool) -> Answer {
        if let Some(program) = self.shop.kept.get(bytes, metered) {
            return Ok(program);
        }
        let (reply, answer) = sync_channel(1);
        let wanted = Arc::new(());
        let name = self
            .order(bytes, metered, &wanted, move |program| drop(reply.send(program)))
            .map_err(|error| error.host_detail().map_or_else(|| error.to_string(), Cow::into_owned))?;
        answer.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            self.shop.give_up(&name);
            Err(TOO_LONG.to_owned())
        })
    }

    /// Has it compiled as long as `wanted` lives, unless it is already under way.
    fn order(
        &self,
        bytes: &Bytes,
        metered: bool,
        wanted: &Arc<()>,
        reply: impl FnOnce(Answer) + Send + 'static,
    ) -> Result<Name, ToolError> {
        let name = (digest(bytes), metered);
        let waiter = Waiter { reply: Box::new(reply), wanted: Arc::downgrade(wanted) };
        let mut orders = self.shop.orders();
        if let Some(order) = orders.iter_mut().find(|order| order.name == name) {
            order.waiters.retain(|waiter| 0 < waiter.wanted.strong_count());
            if WAITING <= order.waiters.len() {
                return Err(busy("too many wait for the same program to be compiled"));
            }
            order.waiters.push(waiter);
            return Ok(name);
        }
        let job = Job { name, bytes: bytes.clone() };
        self.jobs.try_send(job).map_err(|_| busy("too many programs wait to be compiled"))?;
        orders.push(Order { name, compiling: false, replaced: false, waiters: vec![waiter] });
        Ok(name)
    }
}

impl Shop {
    /// Starts a compiler, unless there are too many that do not come to an end.
    fn hire(self: &Arc<Self>) -> io::Result<()> {
        let room = |compilers: usize| (compilers < MAX_COMPILERS).then_some(compilers + 1);
        if self.compilers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Ok(());
        }
        let shop = Arc::clone(self);
        let compiler = thread::Builder::new().name("wasm-compiler".to_owned()).stack_size(STACK);
        let hired = compiler.spawn(move || shop.work()).map(drop);
        if hired.is_err() {
            self.compilers.fetch_sub(1, Ordering::Relaxed);
        }
        hired
    }

    /// Somebody has waited for too long. If that is because of the program itself, others get another compiler.
    fn give_up(self: &Arc<Self>, name: &Name) {
        let mut orders = self.orders();
        let overdue = orders.iter_mut().find(|order| order.name == *name && order.compiling);
        if overdue.is_some_and(|order| !std::mem::replace(&mut order.replaced, true)) {
            drop(orders);
            // Without a thread for it, the others wait as they would have.
            let _ = self.hire();
        }
    }

    fn work(&self) {
        loop {
            let job = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { name, bytes }) = job else { return };
            if self.is_wanted(&name) {
                let answer = compile(&self.engine, &bytes, name.1);
                if let Ok(program) = &answer {
                    self.kept.put(bytes, name.1, program);
                }
                for waiter in self.take(&name) {
                    (waiter.reply)(answer.clone());
                }
            }
            let spare = |compilers: usize| (COMPILERS < compilers).then(|| compilers - 1);
            if self.compilers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spare).is_ok() {
                return;
            }
        }
    }

    /// Whether anybody still waits for it; if so, it is being compiled from now on.
    fn is_wanted(&self, name: &Name) -> bool {
        let mut orders = self.orders();
        let Some(place) = orders.iter().position(|order| order.name == *name) else { return false };
        let Some(order) = orders.get_mut(place) else { return false };
        order.compiling = order.waiters.iter().any(|waiter| 0 < waiter.wanted.strong_count());
        let wanted = order.compiling;
        if !wanted {
            orders.swap_remove(place);
        }
        wanted
    }

    fn take(&self, name: &Name) -> Vec<Waiter> {
        let mut orders = self.orders();
        let place = orders.iter().position(|order| order.name == *name);
        place.map_or_else(Vec::new, |place| orders.swap_remove(place).waiters)
    }

    fn orders(&self) -> MutexGuard<'_, Vec<Order>> {
        // INVARIANT: each change is one operation on a list or an assignment, so a poisoned one is still whole.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader").field("kept", &self.shop.kept.lock().programs.len()).finish_non_exhaustive()
    }
}

fn busy(reason: &str) -> ToolError {
    ToolError::unavailable(Level::Wasm, reason)
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
                assert!(Arc::ptr_eq(&loader.shop.kept.get(&same, false).unwrap(), &first), "{number}");
            }
        }
        assert_eq!(loader.shop.kept.lock().programs.len(), KEPT);
        assert!(loader.shop.kept.get(&program(1), false).is_none());
        // Compiled anew where fuel is counted.
        assert!(loader.shop.kept.get(&favourite, true).is_none());
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
