//! What a Groovy value is, and the heap that holds those with an identity.
//!
//! Plain data without pointers into the machine: a machine is cloned by cloning its fields. Sizes are counted the
//! same on every machine, so the heap limit strikes at the same instruction in replay.

use std::collections::HashSet;
use std::sync::Arc;

use super::decimal::Decimal;
use super::ordered::OrderedMap;
use crate::library::regex::{Found, Regex};

/// How many bytes a build's values may take.
pub(crate) const HEAP_LIMIT: usize = 64 << 20;
/// The first collection, and the least distance between two.
const HEAP_STEP: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ref(u32);

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// `Integer`: 32 bits, wraps.
    Int(i32),
    /// `Long`: 64 bits, wraps.
    Long(i64),
    Double(f64),
    /// `BigDecimal` and `BigInteger`.
    Decimal(Arc<Decimal>),
    Str(Arc<str>),
    /// Both ends are in it; it may run downwards. An empty range is an empty list.
    Range(i64, i64),
    Class(Arc<str>),
    Pattern(Arc<Regex>),
    Global(Global),
    Ref(Ref),
    /// A parameter that the caller left out; never seen by a script.
    Absent,
}

/// Objects that are there before the script begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    Script,
    Env,
    CurrentBuild,
    /// A build before this one, by its place in `Began::earlier`.
    Earlier(u16),
    Scm,
    Steps,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Object {
    List(Vec<Value>),
    Map(OrderedMap),
    Set(OrderedMap),
    Entry(Value, Value),
    Cell(Value),
    Closure(Closure),
    /// `object.&name`
    Pointer(Value, Arc<str>),
    Instance(Instance),
    Iterator(Cursor),
    Matcher(Matcher),
    Builder(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Closure {
    pub(crate) code: u32,
    pub(crate) captures: Arc<[Ref]>,
    pub(crate) this: Value,
    pub(crate) delegate: Value,
    pub(crate) delegate_first: bool,
    /// Arguments that `curry` gave.
    pub(crate) bound: Vec<Value>,
    /// Closures that `>>` runs on the result.
    pub(crate) then: Vec<Value>,
}

/// An object of a class: an exception, or of a class of the script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Instance {
    /// Fully qualified for classes of Java.
    pub(crate) class: Arc<str>,
    pub(crate) fields: OrderedMap,
    pub(crate) thrown: Option<Box<Thrown>>,
}

/// What an exception is besides its fields.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Thrown {
    pub(crate) message: Option<Arc<str>>,
    pub(crate) cause: Value,
    /// Where in the Jenkinsfile it was made; all 0 when nowhere.
    pub(crate) pos: crate::ast::Pos,
    /// The second abort: no `catch` or `finally` of the script sees it.
    pub(crate) fatal: bool,
    /// The result that an interruption gives the build.
    pub(crate) result: Option<crate::act::BuildResult>,
    /// Of an interruption by a `timeout`: its timer, until the block is left.
    pub(crate) timer: Option<crate::act::StepId>,
    /// Left its `timeout`: a failure like any other, which `retry` tries again.
    pub(crate) expired: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cursor {
    Items(Vec<Value>, usize),
    Range { next: i64, last: i64, done: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matcher {
    pub(crate) regex: Arc<Regex>,
    pub(crate) text: Arc<str>,
    /// Whether there is a match at all.
    pub(crate) found: bool,
    pub(crate) current: Option<Found>,
    /// Where `find()` goes on, in bytes.
    pub(crate) from: usize,
}

impl Value {
    pub(crate) fn str(text: impl AsRef<str>) -> Value {
        Value::Str(Arc::from(text.as_ref()))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::Absent)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Bool(flag)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(Arc::from(text))
    }
}

impl From<i64> for Value {
    /// An `Integer` if it fits.
    fn from(number: i64) -> Value {
        i32::try_from(number).map_or(Value::Long(number), Value::Int)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::from(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// The arena of objects.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heap {
    slots: Vec<Option<Object>>,
    free: Vec<u32>,
    /// Bytes in use after the last collection plus all asked for since.
    charged: usize,
    threshold: usize,
    /// What long operations have cost, in instructions, since somebody asked.
    pub(crate) work: u64,
}

impl Heap {
    pub(crate) fn add(&mut self, object: Object) -> Value {
        Value::Ref(self.add_ref(object))
    }

    pub(crate) fn add_ref(&mut self, object: Object) -> Ref {
        self.charged += size(&object);
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(object);
                Ref(slot)
            }
            None => {
                self.slots.push(Some(object));
                Ref(u32::try_from(self.slots.len() - 1).expect("the heap limit comes before 2^32 objects"))
            }
        }
    }

    pub(crate) fn list(&mut self, items: Vec<Value>) -> Value {
        self.add(Object::List(items))
    }

    pub(crate) fn get(&self, at: Ref) -> &Object {
        self.slots[at.0 as usize].as_ref().expect("a reference keeps its object alive")
    }

    pub(crate) fn get_mut(&mut self, at: Ref) -> &mut Object {
        self.slots[at.0 as usize].as_mut().expect("a reference keeps its object alive")
    }

    /// The object behind a value, if it has one.
    pub(crate) fn object(&self, value: &Value) -> Option<&Object> {
        match value {
            Value::Ref(at) => Some(self.get(*at)),
            _ => None,
        }
    }

    pub(crate) fn object_mut(&mut self, value: &Value) -> Option<&mut Object> {
        match value {
            Value::Ref(at) => Some(self.get_mut(*at)),
            _ => None,
        }
    }

    pub(crate) fn cell(&self, at: Ref) -> Value {
        match self.get(at) {
            Object::Cell(value) => value.clone(),
            _ => Value::Null,
        }
    }

    pub(crate) fn set_cell(&mut self, at: Ref, value: Value) {
        if let Object::Cell(old) = self.get_mut(at) {
            *old = value;
        }
    }

    /// Counts bytes that a string or a growing collection takes.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.charged += bytes;
        self.work += bytes as u64 / 64;
    }

    pub(crate) fn wants_collection(&self) -> bool {
        self.charged >= self.threshold.max(HEAP_STEP)
    }

    /// Marks from the roots, frees the rest, and says how many bytes live.
    pub(crate) fn collect(&mut self, roots: Vec<Value>) -> usize {
        let mut marked = vec![false; self.slots.len()];
        let mut strings = HashSet::new();
        let mut live = 0;
        let mut todo = roots;
        while let Some(value) = todo.pop() {
            match &value {
                Value::Str(text) if text.len() > 32 && strings.insert(Arc::as_ptr(text).cast::<u8>()) => {
                    live += text.len();
                }
                Value::Ref(at) if !marked[at.0 as usize] => {
                    marked[at.0 as usize] = true;
                    let object = self.get(*at);
                    live += size(object);
                    children(object, &mut todo);
                }
                _ => {}
            }
        }
        for (slot, marked) in marked.iter().enumerate().rev() {
            if !marked && self.slots[slot].take().is_some() {
                self.free.push(u32::try_from(slot).unwrap_or(0));
            }
        }
        self.charged = live;
        self.threshold = live * 2;
        live
    }
}

fn size(object: &Object) -> usize {
    let inner = match object {
        Object::List(items) => items.len() * 24,
        Object::Map(map) | Object::Set(map) => map.len() * 120,
        Object::Closure(closure) => 96 + closure.captures.len() * 4,
        Object::Instance(instance) => 96 + instance.fields.len() * 120,
        Object::Iterator(Cursor::Items(items, _)) => items.len() * 24,
        Object::Builder(text) => text.len(),
        _ => 32,
    };
    inner + 32
}

fn children(object: &Object, todo: &mut Vec<Value>) {
    let pairs = |map: &OrderedMap, todo: &mut Vec<Value>| {
        for (key, value) in map.iter() {
            todo.push(key.clone());
            todo.push(value.clone());
        }
        todo.extend(map.default.clone());
    };
    match object {
        Object::List(items) | Object::Iterator(Cursor::Items(items, _)) => todo.extend(items.iter().cloned()),
        Object::Map(map) | Object::Set(map) => pairs(map, todo),
        Object::Entry(key, value) => todo.extend([key.clone(), value.clone()]),
        Object::Cell(value) | Object::Pointer(value, _) => todo.push(value.clone()),
        Object::Closure(closure) => {
            todo.extend(closure.captures.iter().map(|at| Value::Ref(*at)));
            todo.extend([closure.this.clone(), closure.delegate.clone()]);
            todo.extend(closure.bound.iter().chain(&closure.then).cloned());
        }
        Object::Instance(instance) => {
            pairs(&instance.fields, todo);
            if let Some(thrown) = &instance.thrown {
                todo.push(thrown.cause.clone());
            }
        }
        Object::Matcher(matcher) => todo.push(Value::Str(matcher.text.clone())),
        Object::Iterator(Cursor::Range { .. }) | Object::Builder(_) => {}
    }
}
