//! What a program has to look like.

use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{self, Component, ComponentExportIndex, Type};
use wasmtime::{ExternType, InstancePre, Linker, Module, ResourcesRequired, ValType};
use wasmtime_wasi::p2::bindings::CommandPre;

use super::budget::{Budget, MEMORIES, TABLE_ENTRIES, TABLES};
use super::engine::{Engine, Linked};
use super::world::World;
use crate::error::one_line;

/// Largest program, in bytes of WebAssembly.
pub(super) const MAX_MODULE: usize = 8 << 20;
/// Bytes of one page of linear memory.
const PAGE: u64 = 64 << 10;
/// The magic number, and the version of a module and of a component.
const MODULE: &[u8; 8] = b"\0asm\x01\0\0\0";
const COMPONENT: &[u8; 8] = b"\0asm\x0d\0\x01\0";

/// A program that is compiled, and whose imports are there.
pub(super) struct Program {
    pub(super) form: Form,
    /// Bytes of memory that it begins with.
    initial_memory: u64,
}

pub(super) enum Form {
    /// A component that exports `run: func(input: string) -> result<string, string>`.
    Function(component::InstancePre<World>, ComponentExportIndex),
    /// A core module that exports `memory`, `alloc` and `run`.
    Module(InstancePre<Budget>),
    /// A component that exports `wasi:cli/run`.
    Command(CommandPre<World>),
}

impl Program {
    /// Compiles it and checks that it is of one of the forms. Takes as long as it takes: call it where that hurts nobody.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn compile(engine: &Engine, bytes: &[u8], metered: bool) -> Result<Self, String> {
        if MAX_MODULE < bytes.len() {
            return Err(format!("it is larger than {MAX_MODULE} bytes"));
        }
        super::work::bounded(bytes)?;
        let linked = engine.of(metered);
        if bytes.starts_with(MODULE) {
            Self::module(linked, bytes)
        } else if bytes.starts_with(COMPONENT) {
            Self::component(linked, bytes)
        } else {
            Err("it is neither a module nor a component of WebAssembly".to_owned())
        }
    }

    /// Checks that it can begin within `limit` bytes of memory.
    ///
    /// # Errors
    /// What it needs.
    pub(super) fn fits(&self, limit: u64) -> Result<(), String> {
        if limit < self.initial_memory {
            return Err(format!(
                "it begins with {} bytes of memory, and its limit is {limit}",
                self.initial_memory
            ));
        }
        Ok(())
    }

    fn module(linked: &Linked, bytes: &[u8]) -> Result<Self, String> {
        let module = Module::from_binary(&linked.engine, bytes).map_err(refuse)?;
        if let Some(import) = module.imports().next() {
            return Err(one_line(
                format_args!(
                    "it imports `{}` `{}`, and a module can import nothing",
                    import.module(),
                    import.name()
                ),
                256,
            ));
        }
        let initial_memory = modest(&module.resources_required())?;
        let memory = module.get_export("memory");
        if !memory.is_some_and(|export| matches!(export, ExternType::Memory(_))) {
            return Err("it exports no memory named `memory`".to_owned());
        }
        let takes = |name, params: &[ValType], result: &ValType| {
            let Some(ExternType::Func(function)) = module.get_export(name) else { return false };
            let same = |one: &ValType, other: &ValType| ValType::eq(one, other);
            function.params().len() == params.len()
                && function.params().zip(params).all(|(one, other)| same(&one, other))
                && function.results().len() == 1
                && function.results().all(|one| same(&one, result))
        };
        if !takes("alloc", &[ValType::I32], &ValType::I32) {
            return Err("it exports no `alloc` that takes an i32 and answers an i32".to_owned());
        }
        if !takes("run", &[ValType::I32, ValType::I32], &ValType::I64) {
            return Err("it exports no `run` that takes two i32 and answers an i64".to_owned());
        }
        let instance = Linker::new(&linked.engine).instantiate_pre(&module).map_err(refuse)?;
        Ok(Self { form: Form::Module(instance), initial_memory })
    }

    fn component(linked: &Linked, bytes: &[u8]) -> Result<Self, String> {
        let component = Component::from_binary(&linked.engine, bytes).map_err(refuse)?;
        let required = component.resources_required();
        let initial_memory = required.as_ref().map_or(Ok(0), modest)?;
        // It names the import that is not there.
        let instance = linked.linker.instantiate_pre(&component).map_err(refuse)?;
        let form = match component.get_export(None, "run") {
            Some((ComponentItem::ComponentFunc(function), index)) if maps_text(&function) => {
                Form::Function(instance, index)
            }
            Some(_) => {
                return Err("its `run` is not `func(input: string) -> result<string, string>`".to_owned());
            }
            None => Form::Command(CommandPre::new(instance).map_err(|_| {
                "it exports neither a function `run` nor the interface `wasi:cli/run`".to_owned()
            })?),
        };
        Ok(Self { form, initial_memory })
    }
}

/// Whether it is `func(string) -> result<string, string>`.
fn maps_text(function: &ComponentFunc) -> bool {
    let mut params = function.params().map(|(_, param)| param);
    let takes_text = matches!((params.next(), params.next()), (Some(Type::String), None));
    let mut results = function.results();
    let (Some(Type::Result(result)), None) = (results.next(), results.next()) else { return false };
    takes_text && [result.ok(), result.err()].iter().all(|text| matches!(text, Some(Type::String)))
}

/// Checks the shape, and answers with how much memory it begins with.
fn modest(required: &ResourcesRequired) -> Result<u64, String> {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    if MEMORIES < count(required.num_memories) {
        return Err(format!("it has more than {MEMORIES} memory"));
    }
    if TABLES < count(required.num_tables) {
        return Err(format!("it has more than {TABLES} tables"));
    }
    if required.max_initial_table_size.is_some_and(|entries| (TABLE_ENTRIES as u64) < entries) {
        return Err(format!("it has a table of more than {TABLE_ENTRIES} entries"));
    }
    Ok(required.max_initial_memory_size.unwrap_or(0).saturating_mul(PAGE))
}

fn refuse(error: wasmtime::Error) -> String {
    one_line(format_args!("{error:#}"), 256)
}
