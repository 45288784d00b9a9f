//! How much work it will be to compile a program, told before any of it is done.
//!
//! A compiler takes a time that grows with more than the length of a program: for each place where control comes together it looks
//! at each local, and for each level of loops at all that is in them. A few kilobytes can keep it busy for minutes.

use std::ops::ControlFlow;

use wasmparser::{
    BinaryReaderError, BlockType, CompositeInnerType, Encoding, FunctionBody, Operator, Parser, Payload,
    TypeRef,
};

/// Most work for one program: an instruction is one, so is what it moves between blocks or functions, and each local at each
/// branch.
const MOST: u64 = 1 << 25;
/// What a function is besides: it is prepared, compiled and linked for itself.
const FUNCTION: u64 = 1024;
/// Deepest nesting of loops.
const DEEPEST: usize = 64;

/// Checks that the modules of a program, and of a component within it, are not too much to compile.
///
/// # Errors
/// What there is too much of. What cannot be read is left to the compiler to refuse.
pub(super) fn bounded(bytes: &[u8]) -> Result<(), String> {
    let mut module = Module::default();
    let mut work = 0_u64;
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { return Ok(()) };
        let Ok(more) = module.work(&payload) else { return Ok(()) };
        work = work.saturating_add(more.map_err(str::to_owned)?);
        if MOST < work {
            return Err(
                "it is too much to compile: too many functions, or too many locals and branches".to_owned()
            );
        }
    }
    Ok(())
}

/// Parameters and results of a type of functions.
type Arity = (u64, u64);

/// What is known of the module that is read.
#[derive(Default)]
struct Module {
    types: Vec<Arity>,
    /// The types of its functions, those that are imported first.
    functions: Vec<u32>,
    imported: usize,
    bodies: usize,
}

impl Module {
    fn work(&mut self, payload: &Payload<'_>) -> Result<Result<u64, &'static str>, BinaryReaderError> {
        match payload {
            Payload::Version { encoding: Encoding::Module, .. } => *self = Self::default(),
            Payload::TypeSection(types) => {
                for group in types.clone() {
                    for kind in group?.into_types() {
                        let arity = match &kind.composite_type.inner {
                            CompositeInnerType::Func(kind) => {
                                (kind.params().len() as u64, kind.results().len() as u64)
                            }
                            _ => (0, 0),
                        };
                        self.types.push(arity);
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    if let TypeRef::Func(kind) = import?.ty {
                        self.functions.push(kind);
                    }
                }
                self.imported = self.functions.len();
            }
            Payload::FunctionSection(functions) => {
                for kind in functions.clone() {
                    self.functions.push(kind?);
                }
            }
            Payload::CodeSectionEntry(body) => return self.body(body),
            _ => {}
        }
        Ok(Ok(0))
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<Result<u64, &'static str>, BinaryReaderError> {
        let (parameters, _) = self.called(self.imported.saturating_add(self.bodies));
        self.bodies += 1;
        let mut locals = parameters;
        for group in body.get_locals_reader()? {
            locals = locals.saturating_add(u64::from(group?.0));
        }
        let mut seen = Seen::default();
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            if seen.operator(self, &operators.read()?).is_break() {
                return Ok(Err("it is too much to compile: its loops lie too deep in each other"));
            }
        }
        let branches = seen.branches.saturating_mul(locals.saturating_add(seen.widest));
        Ok(Ok(FUNCTION.saturating_add(seen.moved).saturating_add(branches)))
    }

    fn arity(&self, kind: u32) -> Arity {
        usize::try_from(kind).ok().and_then(|kind| self.types.get(kind)).copied().unwrap_or_default()
    }

    fn called(&self, function: usize) -> Arity {
        self.functions.get(function).map_or((0, 0), |kind| self.arity(*kind))
    }
}

/// What was seen of one body.
#[derive(Default)]
struct Seen {
    /// Instructions, and values that they hand on.
    moved: u64,
    branches: u64,
    /// Most values that a block takes and gives.
    widest: u64,
    /// Of each block around, whether it is a loop.
    around: Vec<bool>,
    loops: usize,
}

impl Seen {
    /// Breaks where loops lie too deep.
    fn operator(&mut self, module: &Module, operator: &Operator<'_>) -> ControlFlow<()> {
        let mut handed = (0, 0);
        match operator {
            Operator::Block { blockty } | Operator::If { blockty } => {
                handed = self.enter(module, *blockty, false);
            }
            Operator::Loop { blockty } => {
                handed = self.enter(module, *blockty, true);
                if DEEPEST < self.loops {
                    return ControlFlow::Break(());
                }
            }
            Operator::End => {
                let was_loop = self.around.pop() == Some(true);
                self.loops = self.loops.saturating_sub(usize::from(was_loop));
            }
            Operator::Else | Operator::Br { .. } | Operator::BrIf { .. } => self.branches += 1,
            Operator::BrTable { targets } => self.branches += u64::from(targets.len()) + 1,
            Operator::Call { function_index } => {
                handed = module.called(usize::try_from(*function_index).unwrap_or(usize::MAX));
            }
            Operator::CallIndirect { type_index, .. } => handed = module.arity(*type_index),
            _ => {}
        }
        self.moved = self.moved.saturating_add(1).saturating_add(handed.0).saturating_add(handed.1);
        ControlFlow::Continue(())
    }

    fn enter(&mut self, module: &Module, kind: BlockType, is_loop: bool) -> Arity {
        self.branches += 1;
        self.around.push(is_loop);
        self.loops += usize::from(is_loop);
        let arity = match kind {
            BlockType::Empty => (0, 0),
            BlockType::Type(_) => (0, 1),
            BlockType::FuncType(kind) => module.arity(kind),
        };
        self.widest = self.widest.max(arity.0 + arity.1);
        arity
    }
}
