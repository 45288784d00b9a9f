//! The engines: one for programs whose fuel is counted, which costs them a fifth of their speed, and one for the others.

use wasmtime::component::Linker;
use wasmtime::{Config, Result, Strategy};

use super::world::{self, World};

/// How deep a guest's own stack may be. It is not the host's: each guest has one to itself.
const GUEST_STACK: usize = 512 << 10;
/// The guest's stack and what the host needs beneath it when it is called from there.
pub(super) const WHOLE_STACK: usize = GUEST_STACK + (1 << 20);

/// Two engines and what components may import.
pub(super) struct Engine {
    plain: Linked,
    metered: Linked,
}

/// An engine and what components may import there.
pub(super) struct Linked {
    pub(super) engine: wasmtime::Engine,
    pub(super) linker: Linker<World>,
}

impl Engine {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { plain: Linked::new(false)?, metered: Linked::new(true)? })
    }

    pub(super) fn of(&self, metered: bool) -> &Linked {
        if metered { &self.metered } else { &self.plain }
    }

    /// What makes all guests look up that run at the moment.
    pub(super) fn tick(&self) -> impl Fn() + Send + 'static {
        let engines = [self.plain.engine.clone(), self.metered.engine.clone()];
        move || engines.iter().for_each(wasmtime::Engine::increment_epoch)
    }
}

impl Linked {
    fn new(metered: bool) -> Result<Self> {
        let engine = wasmtime::Engine::new(&config(metered))?;
        let mut linker = Linker::new(&engine);
        world::link(&mut linker)?;
        Ok(Self { engine, linker })
    }
}

/// Cranelift, memory on demand, and of WebAssembly 2.0 what gives the same answer every time. What is not compiled in can
/// not be turned off: threads, garbage collection, stack switching, the pooling allocator, backtraces.
fn config(metered: bool) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .consume_fuel(metered)
        .max_wasm_stack(GUEST_STACK)
        .async_stack_size(WHOLE_STACK)
        .cranelift_nan_canonicalization(true)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_relaxed_simd(false)
        .wasm_tail_call(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}
