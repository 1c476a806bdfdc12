//! From the tree to bytecode.
//!
//! One pass: names are resolved to slots while the code is written, and locals that a closure turns out to capture
//! are rewritten to cells when their function is finished.

mod call;
mod class;
pub(crate) mod code;
mod declarative;
mod expr;
mod flow;
pub(crate) mod freestyle;
mod function;
mod prelude;
mod references;
mod stmt;
mod target;
mod types;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::ast::{Pos, Script};
use crate::diagnostic::Diagnostic;
use crate::vm::value::Value;
use code::{Capture, Code, Handler, Image, Op, Param};
use flow::Control;

pub(crate) use declarative::desugar;

/// How deep expressions and blocks may nest; the parser has a lower limit, this one guards chains of operators.
const NESTING: u32 = 1_500;
/// Slots are numbered by `u16`, with room for hidden ones.
const LOCALS: usize = 60_000;

/// Compiles a script against the built-in library.
pub(crate) fn compile(script: &Script) -> Result<Image, Vec<Diagnostic>> {
    let mut compiler = Compiler::new(prelude::image().clone(), false);
    compiler.script(script);
    compiler.finish()
}

#[derive(Default)]
struct FnState {
    pub(super) name: String,
    pub(super) params: Vec<Param>,
    pub(super) implicit_it: bool,
    pub(super) ops: Vec<Op>,
    /// Where each instruction comes from.
    pub(super) places: Vec<Pos>,
    pub(super) handlers: Vec<Handler>,
    pub(super) scopes: Vec<Vec<(String, u16)>>,
    /// Declared types of locals, where they matter.
    pub(super) types: HashMap<u16, Arc<str>>,
    /// The declared type of what it returns.
    pub(super) returns: Option<String>,
    pub(super) locals: usize,
    pub(super) captured: HashSet<u16>,
    pub(super) captures: Vec<(String, Capture)>,
    pub(super) control: Vec<Control>,
    /// Closures see the variables of the function around them.
    pub(super) is_closure: bool,
    pub(super) class: Option<u32>,
    /// Where a `return` inside `try … finally` keeps its value.
    pub(super) returned: Option<u16>,
}

struct Compiler {
    image: Image,
    strings: HashMap<Arc<str>, u32>,
    fns: Vec<FnState>,
    diagnostics: Vec<Diagnostic>,
    pos: Pos,
    depth: u32,
    prelude: bool,
}

/// Where a name was found.
enum Place {
    Local(u16),
    Captured(u16),
    Global,
}

impl Compiler {
    fn new(image: Image, prelude: bool) -> Compiler {
        Compiler {
            image,
            strings: HashMap::new(),
            fns: Vec::new(),
            diagnostics: Vec::new(),
            pos: Pos::default(),
            depth: 0,
            prelude,
        }
    }

    fn finish(mut self) -> Result<Image, Vec<Diagnostic>> {
        if self.diagnostics.is_empty() {
            self.image.library.sort_by(|a, b| a.0.cmp(&b.0));
            return Ok(self.image);
        }
        self.diagnostics.sort_by_key(Diagnostic::pos_key);
        Err(self.diagnostics)
    }

    pub(super) fn error(&mut self, message: impl Into<String>) {
        let message = message.into();
        if self.diagnostics.len() < 100 {
            self.diagnostics.push(Diagnostic { line: self.pos.line, column: self.pos.column, message });
        }
    }

    fn script(&mut self, script: &Script) {
        self.classes(&script.classes);
        for function in &script.functions {
            let code = self.function(function, None);
            let name: Arc<str> = Arc::from(function.name.as_str());
            if self.prelude {
                self.image.library.push((name, code));
            } else {
                self.image.functions.push((name, code));
            }
        }
        self.begin(FnState { name: "run".into(), ..FnState::default() });
        self.tail(&script.statements);
        self.image.main = self.end();
    }

    // -- functions -------------------------------------------------------------------------------

    pub(super) fn f(&mut self) -> &mut FnState {
        self.fns.last_mut().expect("code is only written inside a function")
    }

    pub(super) fn begin(&mut self, state: FnState) {
        self.fns.push(FnState { scopes: vec![Vec::new()], ..state });
    }

    pub(super) fn end(&mut self) -> u32 {
        let mut state = self.fns.pop().expect("each end has its begin");
        if state.locals > LOCALS {
            self.error("Too many variables in one function");
        }
        for op in &mut state.ops {
            *op = match *op {
                Op::Local(slot) if state.captured.contains(&slot) => Op::Cell(slot),
                Op::SetLocal(slot) if state.captured.contains(&slot) => Op::SetCell(slot),
                Op::InitLocal(slot) if state.captured.contains(&slot) => Op::InitCell(slot),
                op => op,
            };
        }
        let params = u16::try_from(state.params.len() + usize::from(state.implicit_it)).unwrap_or(u16::MAX);
        let mut boxed: Vec<u16> = state.captured.iter().copied().filter(|slot| *slot < params).collect();
        boxed.sort_unstable();
        self.image.codes.push(Arc::new(Code {
            name: Arc::from(state.name),
            params: state.params,
            implicit_it: state.implicit_it,
            locals: u16::try_from(state.locals).unwrap_or(u16::MAX),
            boxed,
            captures: state.captures.into_iter().map(|c| c.1).collect(),
            ops: state.ops,
            places: state.places,
            handlers: state.handlers,
            prelude: self.prelude,
            class: state.class,
        }));
        number(self.image.codes.len() - 1)
    }

    // -- writing ---------------------------------------------------------------------------------

    pub(super) fn op(&mut self, op: Op) -> usize {
        let pos = self.pos;
        let f = self.f();
        f.ops.push(op);
        f.places.push(pos);
        f.ops.len() - 1
    }

    pub(super) fn here(&mut self) -> u32 {
        number(self.f().ops.len())
    }

    /// Lets the jump at `at` go to the next instruction.
    pub(super) fn patch(&mut self, at: usize) {
        let to = self.here();
        self.patch_to(at, to);
    }

    pub(super) fn patch_to(&mut self, at: usize, to: u32) {
        let f = self.f();
        f.ops[at] = match f.ops[at] {
            Op::Jump(_) => Op::Jump(to),
            Op::JumpIf(_) => Op::JumpIf(to),
            Op::JumpUnless(_) => Op::JumpUnless(to),
            Op::JumpNull(_) => Op::JumpNull(to),
            Op::JumpIfKeep(_) => Op::JumpIfKeep(to),
            Op::Next(slot, _) => Op::Next(slot, to),
            Op::IfGiven(slot, _) => Op::IfGiven(slot, to),
            op => op,
        };
    }

    pub(super) fn constant(&mut self, value: Value) -> u32 {
        self.image.constants.push(value);
        number(self.image.constants.len() - 1)
    }

    pub(super) fn string(&mut self, text: &str) -> u32 {
        if let Some(at) = self.strings.get(text) {
            return *at;
        }
        let text: Arc<str> = Arc::from(text);
        let at = self.constant(Value::Str(text.clone()));
        self.strings.insert(text, at);
        at
    }

    pub(super) fn push_string(&mut self, text: &str) {
        let at = self.string(text);
        self.op(Op::Const(at));
    }

    /// An `Integer` if it fits.
    pub(super) fn push_int(&mut self, value: i64) {
        let at = self.constant(Value::from(value));
        self.op(Op::Const(at));
    }

    pub(super) fn push_long(&mut self, value: i64) {
        let at = self.constant(Value::Long(value));
        self.op(Op::Const(at));
    }

    // -- names -----------------------------------------------------------------------------------

    /// A new slot without a name.
    pub(super) fn hidden(&mut self) -> u16 {
        let f = self.f();
        f.locals += 1;
        u16::try_from(f.locals - 1).unwrap_or(u16::MAX)
    }

    pub(super) fn declare(&mut self, name: &str) -> u16 {
        let slot = self.hidden();
        if let Some(scope) = self.f().scopes.last_mut() {
            scope.push((name.to_owned(), slot));
        }
        slot
    }

    pub(super) fn scoped(&mut self, write: impl FnOnce(&mut Self)) {
        self.f().scopes.push(Vec::new());
        write(self);
        self.f().scopes.pop();
    }

    pub(super) fn resolve(&mut self, name: &str) -> Place {
        let top = self.fns.len() - 1;
        self.resolve_in(top, name)
    }

    fn resolve_in(&mut self, level: usize, name: &str) -> Place {
        let f = &self.fns[level];
        let found = f.scopes.iter().rev().find_map(|s| s.iter().rev().find(|v| v.0 == name));
        if let Some((_, slot)) = found {
            return Place::Local(*slot);
        }
        if let Some(at) = f.captures.iter().position(|c| c.0 == name) {
            return Place::Captured(slot(at));
        }
        if !f.is_closure || level == 0 {
            return Place::Global;
        }
        let capture = match self.resolve_in(level - 1, name) {
            Place::Global => return Place::Global,
            Place::Local(slot) => {
                self.fns[level - 1].captured.insert(slot);
                Capture::Local(slot)
            }
            Place::Captured(at) => Capture::Captured(at),
        };
        let captures = &mut self.fns[level].captures;
        captures.push((name.to_owned(), capture));
        Place::Captured(slot(captures.len() - 1))
    }

    /// Counts nesting; false, with a diagnostic, when it is too deep.
    pub(super) fn enter(&mut self) -> bool {
        self.depth += 1;
        if self.depth == NESTING {
            self.error("The expressions here are nested too deeply");
        }
        self.depth < NESTING
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

impl Diagnostic {
    fn pos_key(&self) -> (u32, u32) {
        (self.line, self.column)
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn slot(at: usize) -> u16 {
    u16::try_from(at).unwrap_or(u16::MAX)
}
