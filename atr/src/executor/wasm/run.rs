//! One guest from its first instruction to its last.

use std::sync::Arc;

use wasmtime::component::{self, ComponentExportIndex};
use wasmtime::{Engine, InstancePre, Result, Store, Trap, UpdateDeadline};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::bindings::CommandPre;

use super::budget::{Budget, Share};
use super::gate::Gate;
use super::world::{Forbidden, RESOURCES, World};
use crate::error::ToolError;
use crate::executor::Cause;
use crate::isolation::Limits;

/// What a guest may hand to the host in one call, unless its answer may be larger.
const HOST_CALL: usize = 1 << 20;
/// What wasmtime says of a guest that hands over more. It has no type for it.
const TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

/// Why there is no answer.
pub(super) enum Fault {
    /// The guest has ended.
    Ended(Cause),
    /// The guest has answered, and this is what comes of it.
    Answered(ToolError),
}

/// What a guest is held to.
pub(super) struct Terms {
    pub(super) limits: Limits,
    pub(super) gate: Arc<Gate>,
}

impl Terms {
    pub(super) fn budget(&self, share: Share) -> Budget {
        Budget::new(self.limits.memory_bytes, Arc::clone(&self.gate), share)
    }

    /// A store that holds a guest to all of it before anything of the guest runs, its start functions included.
    fn store<T: Send + 'static>(
        &self,
        engine: &Engine,
        data: T,
        budget: fn(&mut T) -> &mut Budget,
    ) -> Result<Store<T>> {
        let mut store = Store::new(engine, data);
        store.limiter(move |data| budget(data));
        if let Some(fuel) = self.limits.fuel {
            store.set_fuel(fuel)?;
        }
        store.set_hostcall_fuel(self.limits.output_bytes.max(HOST_CALL));
        store.set_max_component_handles(RESOURCES);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| {
            // Of tokio, because it lets a current-thread runtime look at its clock and its files in between.
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        });
        Ok(store)
    }

    fn count(&self, left: Result<u64>) {
        if let (Some(fuel), Ok(left)) = (self.limits.fuel, left) {
            self.gate.has_burnt(fuel.saturating_sub(left));
        }
    }

    /// Calls the `run` of a core module.
    pub(super) async fn module(
        &self,
        module: &InstancePre<Budget>,
        budget: Budget,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let mut store = self.store(module.module().engine(), budget, |budget| budget)?;
        let answer = self.exchange(&mut store, module, arguments).await;
        self.count(store.get_fuel());
        answer
    }

    async fn exchange(
        &self,
        store: &mut Store<Budget>,
        module: &InstancePre<Budget>,
        arguments: &[u8],
    ) -> Result<Vec<u8>, Fault> {
        let instance = match module.instantiate_async(&mut *store).await {
            Err(error) => return Err(Fault::at_start(&error, store.data())),
            Ok(instance) => instance,
        };
        let alloc = instance.get_typed_func::<u32, u32>(&mut *store, "alloc")?;
        let run = instance.get_typed_func::<(u32, u32), u64>(&mut *store, "run")?;
        let missing = || answered("the memory is gone");
        let memory = instance.get_memory(&mut *store, "memory").ok_or_else(missing)?;
        let length = u32::try_from(arguments.len()).map_err(|_| answered("the arguments are too long"))?;
        let place = alloc.call_async(&mut *store, length).await?;
        memory
            .write(&mut *store, index(place), arguments)
            .map_err(|_| answered("`alloc` answered a place outside its memory"))?;
        let answer = run.call_async(&mut *store, (place, length)).await?;
        let (place, length) = (index((answer >> 32) as u32), index(answer as u32));
        if self.limits.output_bytes < length {
            return Err(Fault::Answered(ToolError::OutputTooLarge { limit: self.limits.output_bytes }));
        }
        let bytes = memory.data(&*store).get(place..).and_then(|bytes| bytes.get(..length));
        bytes.map(<[u8]>::to_vec).ok_or_else(|| answered("`run` answered a place outside its memory"))
    }

    /// Calls the `run` of a component.
    pub(super) async fn function(
        &self,
        component: &component::InstancePre<World>,
        export: &ComponentExportIndex,
        world: World,
        arguments: &str,
    ) -> Result<String, Fault> {
        let mut store = self.store(component.engine(), world, |world| &mut world.budget)?;
        let answer = async {
            let instance = match component.instantiate_async(&mut store).await {
                Err(error) => return Err(Fault::at_start(&error, &store.data().budget)),
                Ok(instance) => instance,
            };
            let run = instance.get_typed_func::<(&str,), (Result<String, String>,)>(&mut store, export)?;
            let (answer,) = run.call_async(&mut store, (arguments,)).await.map_err(|error| {
                if format!("{error:#}").contains(TOO_MUCH) {
                    return Fault::Answered(ToolError::OutputTooLarge { limit: self.limits.output_bytes });
                }
                Fault::from(error)
            })?;
            answer.map_err(|message| Fault::Answered(ToolError::failed(message)))
        }
        .await;
        self.count(store.get_fuel());
        answer
    }

    /// Runs a command to its end.
    pub(super) async fn command(&self, command: &CommandPre<World>, world: World) -> Cause {
        let store = self.store(command.engine(), world, |world| &mut world.budget);
        let mut store = match store {
            Ok(store) => store,
            Err(error) => return cause(&error),
        };
        let ended = match command.instantiate_async(&mut store).await {
            Err(error) => Err(Fault::at_start(&error, &store.data().budget)),
            Ok(running) => running.wasi_cli_run().call_run(&mut store).await.map_err(Fault::from),
        };
        self.count(store.get_fuel());
        match ended {
            Ok(Ok(())) => Cause::Code(0),
            Ok(Err(())) => Cause::Code(1),
            Err(Fault::Ended(cause)) => cause,
            Err(Fault::Answered(error)) => Cause::Lost(error.to_string()),
        }
    }
}

impl Fault {
    /// For a guest that did not come so far as to run. One that was refused memory there has none to go on with.
    fn at_start(error: &wasmtime::Error, budget: &Budget) -> Self {
        if budget.refused() && error.downcast_ref::<Trap>().is_none() {
            return Self::Ended(Cause::Memory);
        }
        Self::Ended(cause(error))
    }
}

impl From<wasmtime::Error> for Fault {
    fn from(error: wasmtime::Error) -> Self {
        Self::Ended(cause(&error))
    }
}

fn answered(reason: &str) -> Fault {
    Fault::Answered(ToolError::OutputInvalid { reason: reason.to_owned() })
}

/// Why a guest ended, in a word that holds nothing of the guest's own.
fn cause(error: &wasmtime::Error) -> Cause {
    if let Some(I32Exit(code)) = error.downcast_ref() {
        return Cause::Code(*code);
    }
    if let Some(Forbidden(what)) = error.downcast_ref() {
        return Cause::Violation((*what).to_owned());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Cause::Fuel,
        Some(trap) => Cause::Trap(format!("{trap:?}")),
        // Such as a handle that is none, or more resources than it may have.
        None => Cause::Trap("HostCallFailed".to_owned()),
    }
}

/// A 32-bit address, as a place in memory.
fn index(address: u32) -> usize {
    usize::try_from(address).unwrap_or(usize::MAX)
}
