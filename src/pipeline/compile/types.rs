//! Declared types: what a variable begins with, and where a value is made to fit.

use std::sync::Arc;

use super::Compiler;
use super::code::Op;
use crate::library::classes;

/// Types that change or refuse what is assigned; the others are as good as `def`.
const TYPES: &[&str] = &[
    "ArrayList",
    "BigDecimal",
    "BigInteger",
    "Boolean",
    "Byte",
    "CharSequence",
    "Character",
    "Closure",
    "Collection",
    "Double",
    "Float",
    "GString",
    "HashMap",
    "HashSet",
    "Integer",
    "LinkedHashMap",
    "LinkedHashSet",
    "LinkedList",
    "List",
    "Long",
    "Map",
    "Number",
    "Set",
    "Short",
    "String",
    "TreeMap",
    "TreeSet",
    "boolean",
    "byte",
    "char",
    "double",
    "float",
    "int",
    "long",
    "short",
];

impl Compiler {
    fn matters(&self, ty: &str) -> bool {
        let simple = classes::simple(ty);
        TYPES.contains(&simple) || ty.ends_with("[]") || self.image.class(simple).is_some()
    }

    /// Makes the value on the stack fit the type.
    pub(super) fn coerce(&mut self, ty: &str) {
        if self.matters(ty) {
            let ty = self.string(ty);
            self.op(Op::Coerce(ty));
        }
    }

    /// What a variable without a value holds.
    pub(super) fn initial(&mut self, ty: Option<&str>) {
        match ty {
            Some("int" | "short" | "byte") => self.push_int(0),
            Some("long") => self.push_long(0),
            Some("double" | "float") => {
                let zero = self.constant(crate::vm::value::Value::Double(0.0));
                self.op(Op::Const(zero));
            }
            Some("boolean") => {
                self.op(Op::False);
            }
            _ => {
                self.op(Op::Null);
            }
        }
    }

    /// A local that keeps its type: later assignments are made to fit, too.
    pub(super) fn declare_typed(&mut self, name: &str, ty: Option<&str>) -> u16 {
        let slot = self.declare(name);
        if let Some(ty) = ty.filter(|ty| self.matters(ty)) {
            self.f().types.insert(slot, Arc::from(ty));
        }
        slot
    }

    /// Makes the value on the stack fit the variable it is about to become.
    pub(super) fn coerce_for(&mut self, name: &str) {
        if let Some(ty) = self.type_of(name) {
            self.coerce(&ty);
        }
    }

    fn type_of(&self, name: &str) -> Option<Arc<str>> {
        for f in self.fns.iter().rev() {
            let found = f.scopes.iter().rev().find_map(|s| s.iter().rev().find(|v| v.0 == name));
            if let Some((_, slot)) = found {
                return f.types.get(slot).cloned();
            }
            if !f.is_closure {
                return None;
            }
        }
        None
    }
}
