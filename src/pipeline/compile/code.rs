//! The bytecode: what the compiler makes and the virtual machine runs.
//!
//! A stack machine. Locals live at the bottom of a frame's part of the stack; those that a closure captures are
//! cells on the heap. Statements begin and end with no operand on the stack, so a handler only needs an address.

use std::sync::Arc;

use crate::ast::{BinaryOp, Pos, UnaryOp};
use crate::vm::value::Value;

/// One instruction. Numbers named `u32` are constants, code or addresses, `u16` are slots of locals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Op {
    Const(u32),
    Null,
    True,
    False,
    This,
    Pop,
    Dup,
    /// Copies the two topmost values.
    Dup2,
    Local(u16),
    SetLocal(u16),
    /// The declaration of a local: a captured one gets a fresh cell.
    InitLocal(u16),
    Cell(u16),
    SetCell(u16),
    InitCell(u16),
    Captured(u16),
    SetCaptured(u16),
    /// Jumps when the parameter in the slot was given by the caller.
    IfGiven(u16, u32),
    Name(u32),
    SetName(u32),
    Property(u32),
    /// object, value → value
    SetProperty(u32),
    /// object, name → value
    DynProperty,
    /// object, name, value → value
    SetDynProperty,
    Index,
    /// object, index, value → value
    SetIndex,
    List(u32),
    Map(u32),
    /// Joins so many strings.
    Text(u32),
    ToText,
    /// list, value → list
    Append,
    AppendAll,
    /// map, key, value → map
    Put,
    PutAll,
    Range(bool),
    Closure(u32),
    Binary(BinaryOp),
    Unary(UnaryOp),
    Not,
    Truth,
    Jump(u32),
    JumpIf(u32),
    JumpUnless(u32),
    /// Jumps and keeps the value when it is null.
    JumpNull(u32),
    /// Jumps and keeps the value when it is true, else drops it.
    JumpIfKeep(u32),
    CallName(u32, Call),
    CallMethod(u32, Call),
    /// The name lies under the arguments.
    CallDynMethod(Call),
    CallDynName(Call),
    CallValue(Call),
    CallCode(u32, u16),
    New(u32, Call),
    CallSuper(u32, Call),
    Iterate(u16),
    /// Pushes the next value, or jumps at the end.
    Next(u16, u32),
    Return,
    Throw,
    InstanceOf(u32),
    Cast(u32),
    /// Makes a value fit a declared type.
    Coerce(u32),
    Pointer(u32),
    /// subject, case → bool
    IsCase,
    /// Pops the message and the text of the condition.
    AssertFailed,
}

/// How the arguments of a call lie on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) count: u16,
    /// The first one is the map of named arguments.
    pub(crate) named: bool,
    /// There is one value, a list of the arguments.
    pub(crate) spread: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Param {
    pub(crate) name: Arc<str>,
    pub(crate) ty: Option<Arc<str>>,
    pub(crate) optional: bool,
    pub(crate) varargs: bool,
}

/// Where a closure finds the cell of a captured variable when it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capture {
    Local(u16),
    Captured(u16),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Handler {
    pub(crate) start: u32,
    pub(crate) end: u32,
    pub(crate) target: u32,
    /// Empty catches everything.
    pub(crate) types: Vec<Arc<str>>,
}

/// One function, closure or script body.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Code {
    pub(crate) name: Arc<str>,
    pub(crate) params: Vec<Param>,
    /// A closure without an arrow takes one argument or none.
    pub(crate) implicit_it: bool,
    pub(crate) locals: u16,
    /// Parameters that a closure captures.
    pub(crate) boxed: Vec<u16>,
    pub(crate) captures: Vec<Capture>,
    pub(crate) ops: Vec<Op>,
    pub(crate) places: Vec<Pos>,
    pub(crate) handlers: Vec<Handler>,
    /// Part of Majordomo's own library: may use intrinsics, has no place in the Jenkinsfile.
    pub(crate) prelude: bool,
    pub(crate) class: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ClassDef {
    pub(crate) name: Arc<str>,
    pub(crate) parent: Option<Arc<str>>,
    pub(crate) fields: Vec<Arc<str>>,
    pub(crate) statics: Vec<Arc<str>>,
    /// Name and code; several of one name differ in their parameters.
    pub(crate) methods: Vec<Method>,
    /// Sets the fields of a new instance.
    pub(crate) init: Option<u32>,
    /// Sets the static fields, before the script runs.
    pub(crate) static_init: Option<u32>,
    pub(crate) constants: Vec<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Method {
    pub(crate) name: Arc<str>,
    pub(crate) code: u32,
    pub(crate) is_static: bool,
}

/// Everything that one compilation has made.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Image {
    pub(crate) codes: Vec<Arc<Code>>,
    pub(crate) constants: Vec<Value>,
    /// Functions of the script by name.
    pub(crate) functions: Vec<(Arc<str>, u32)>,
    /// Functions of the library by name.
    pub(crate) library: Vec<(Arc<str>, u32)>,
    pub(crate) classes: Vec<ClassDef>,
    pub(crate) main: u32,
}

impl Image {
    pub(crate) fn functions_named<'i>(&'i self, name: &'i str) -> impl Iterator<Item = u32> + 'i {
        self.functions.iter().filter(move |f| &*f.0 == name).map(|f| f.1)
    }

    pub(crate) fn library(&self, name: &str) -> Option<u32> {
        self.library.binary_search_by(|f| (*f.0).cmp(name)).ok().map(|i| self.library[i].1)
    }

    pub(crate) fn class(&self, name: &str) -> Option<&ClassDef> {
        self.classes.iter().find(|c| &*c.name == name)
    }

    /// The method of the class or of one above it; which of several is the caller's choice.
    pub(crate) fn method(
        &self,
        class: &str,
        name: &str,
        choose: &dyn Fn(Vec<u32>) -> Option<u32>,
    ) -> Option<&Method> {
        let mut class = self.class(class)?;
        for _ in 0..64 {
            let named = class.methods.iter().filter(|m| &*m.name == name);
            if let Some(code) = choose(named.map(|m| m.code).collect()) {
                return class.methods.iter().find(|m| m.code == code);
            }
            class = self.class(class.parent.as_deref()?)?;
        }
        None
    }
}
