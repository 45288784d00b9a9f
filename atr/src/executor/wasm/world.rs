//! What a guest finds around it: WASI 0.2 with nothing of the host in it.
//!
//! No environment, no arguments, no folder, no socket. Time is virtual: it begins at zero, goes on by a nanosecond with each
//! reading, and by as much as the guest sleeps when it sleeps; so two runs of a guest with the same input see the same times.
//! Randomness for hash tables and games is a stream from a seed. Randomness for secrets there is none: WASI wants it left
//! out where it would be predictable, so who asks for it is ended.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_primitives::{Digest, Monotonic, Timer};
use wasmtime::component::{HasData, HasSelf, Linker, Resource, ResourceTable};
use wasmtime::{Result, error::Context as _, format_err};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::clocks::{monotonic_clock, wall_clock};
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};
use wasmtime_wasi::p2::bindings::{cli, filesystem, io};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::budget::Budget;
use super::pipe::{Reader, Writer};

/// Most streams, pollables and other resources that a guest has at once.
pub(super) const RESOURCES: usize = 4096;
/// Most random bytes in one call.
const RANDOM_BYTES: u64 = 64 << 10;
const RANDOM_DOMAIN: &str = "agent-os atr wasm randomness v1";

/// The standard streams of a guest.
pub(super) struct Streams {
    pub(super) stdin: Reader,
    pub(super) stdout: Writer,
    pub(super) stderr: Writer,
}

/// Everything that a component has to do with.
pub(super) struct World {
    pub(super) budget: Budget,
    wasi: WasiCtx,
    table: ResourceTable,
    timer: Arc<dyn Timer>,
    /// Virtual time, in nanoseconds.
    clock: Arc<AtomicU64>,
    seed: [u8; 32],
    drawn: u64,
}

impl World {
    /// Without `streams`, nothing is read and what is written is forgotten.
    pub(super) fn new(
        budget: Budget,
        timer: Arc<dyn Timer>,
        seed: [u8; 32],
        streams: Option<Streams>,
    ) -> Self {
        let mut wasi = WasiCtx::builder();
        if let Some(Streams { stdin, stdout, stderr }) = streams {
            wasi.stdin(stdin).stdout(stdout).stderr(stderr);
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Self { budget, wasi: wasi.build(), table, timer, clock: Arc::default(), seed, drawn: 0 }
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    fn alarm(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        let alarm = Alarm {
            clock: Arc::clone(&self.clock),
            rings: self.now().saturating_add(duration),
            ends: self.timer.monotonic().after(Duration::from_nanos(duration)),
            timer: Arc::clone(&self.timer),
        };
        let alarm = self.table.push(alarm)?;
        subscribe(&mut self.table, alarm)
    }

    /// The next 32 bytes of the stream.
    fn draw(&mut self) -> [u8; 32] {
        let mut bytes = self.seed.to_vec();
        bytes.extend_from_slice(&self.drawn.to_le_bytes());
        self.drawn += 1;
        *Digest::of(RANDOM_DOMAIN, &bytes).as_bytes()
    }

    fn draw_u64(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.draw();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

impl WasiView for World {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

struct Resources;

impl HasData for Resources {
    type Data<'a> = &'a mut ResourceTable;
}

/// What a component may import. It is WASI 0.2 without sockets.
pub(super) fn link(linker: &mut Linker<World>) -> Result<()> {
    io::error::add_to_linker::<World, Resources>(linker, |world| &mut world.table)?;
    io::poll::add_to_linker::<World, Resources>(linker, |world| &mut world.table)?;
    io::streams::add_to_linker::<World, Resources>(linker, |world| &mut world.table)?;
    cli::environment::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::exit::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::stdin::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::stdout::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::stderr::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::terminal_input::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::terminal_output::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::terminal_stdin::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::terminal_stdout::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    cli::terminal_stderr::add_to_linker::<World, WasiCli>(linker, World::cli)?;
    // Nothing is reachable through them: there is no folder to begin at.
    filesystem::types::add_to_linker::<World, WasiFilesystem>(linker, World::filesystem)?;
    filesystem::preopens::add_to_linker::<World, WasiFilesystem>(linker, World::filesystem)?;
    monotonic_clock::add_to_linker::<World, HasSelf<World>>(linker, |world| world)?;
    wall_clock::add_to_linker::<World, HasSelf<World>>(linker, |world| world)?;
    random::add_to_linker::<World, HasSelf<World>>(linker, |world| world)?;
    insecure::add_to_linker::<World, HasSelf<World>>(linker, |world| world)?;
    insecure_seed::add_to_linker::<World, HasSelf<World>>(linker, |world| world)
        .context("the world of a component")
}

/// What a guest asked for and is never given.
#[derive(Debug)]
pub(super) struct Forbidden(pub(super) &'static str);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not given to a guest", self.0)
    }
}

impl std::error::Error for Forbidden {}

impl monotonic_clock::Host for World {
    fn now(&mut self) -> Result<u64> {
        Ok(World::now(self))
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let now = World::now(self);
        self.alarm(when.saturating_sub(now))
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        self.alarm(when)
    }
}

/// Rings when a guest has slept as long as it wanted.
struct Alarm {
    clock: Arc<AtomicU64>,
    /// In virtual time.
    rings: u64,
    /// In real time.
    ends: Monotonic,
    timer: Arc<dyn Timer>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        self.timer.sleep_until(self.ends).await;
        self.clock.fetch_max(self.rings, Ordering::Relaxed);
    }
}

impl wall_clock::Host for World {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        let now = Duration::from_nanos(World::now(self));
        Ok(wall_clock::Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() })
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        Ok(wall_clock::Datetime { seconds: 0, nanoseconds: 1 })
    }
}

impl random::Host for World {
    fn get_random_bytes(&mut self, _: u64) -> Result<Vec<u8>> {
        Err(Forbidden("wasi:random/random").into())
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        Err(Forbidden("wasi:random/random").into())
    }
}

impl insecure::Host for World {
    fn get_insecure_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        if RANDOM_BYTES < length {
            return Err(format_err!("more than {RANDOM_BYTES} random bytes"));
        }
        let length = usize::try_from(length)?;
        let mut bytes = Vec::with_capacity(length + 32);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.draw());
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        Ok(self.draw_u64())
    }
}

impl insecure_seed::Host for World {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok((self.draw_u64(), self.draw_u64()))
    }
}
