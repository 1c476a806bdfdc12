//! Objects of the script's own classes, and their constructors.

use std::sync::Arc;

use super::Vm;
use super::branch::Ret;
use super::fault::Fault;
use super::ordered::OrderedMap;
use super::value::{Instance, Object, Value};
use crate::library;

impl Vm {
    pub(crate) fn call_super(&mut self, this: Value, name: &str, args: Vec<Value>) -> Result<(), Fault> {
        let Some(frame) = self.cur.frames.last() else { return Ok(()) };
        let at = self.program.image.codes[frame.code as usize].class;
        let def = at.and_then(|at| self.program.image.classes.get(at as usize)).cloned().unwrap_or_default();
        let parent = def.parent.clone().unwrap_or_else(|| Arc::from("Object"));
        let (from, method) = match name {
            "super" => (&parent, "<init>"),
            "this" => (&def.name, "<init>"),
            name => (&parent, name),
        };
        if let Some(code) = self.method_of(from, method, &args).map(|m| m.code) {
            return self.call_code(code, args, this, Ret::Push);
        }
        if method == "<init>" {
            self.set_thrown(&this, &args);
            self.push(Value::Null);
            return Ok(());
        }
        library::methods::call(self, this, method, args)
    }

    /// `new Name(…)`
    pub(crate) fn construct(&mut self, name: &str, args: Vec<Value>, named: bool) -> Result<(), Fault> {
        if self.program.image.class(name).is_none() {
            let value = library::classes::construct(self, name, args)?;
            self.push(value);
            return Ok(());
        }
        let program = self.program.clone();
        let mut chain = Vec::new();
        let mut at = program.image.class(name);
        let mut thrown = false;
        while let Some(def) = at {
            chain.push(def);
            let parent = def.parent.as_deref();
            thrown |= parent.is_some_and(library::classes::is_exception);
            at = parent.and_then(|p| program.image.class(p)).filter(|_| chain.len() < 64);
        }
        let mut fields = OrderedMap::default();
        for field in chain.iter().rev().flat_map(|c| &c.fields) {
            fields.put_str(field, Value::Null);
        }
        let thrown = thrown.then(|| Box::new(self.empty_thrown()));
        let object =
            self.heap.add(Object::Instance(Instance { class: chain[0].name.clone(), fields, thrown }));
        self.push(object.clone());
        let constructor = self.method_of(name, "<init>", &args).map(|m| m.code);
        let map = named
            || matches!(args.as_slice(), [one] if matches!(self.heap.object(one), Some(Object::Map(_))));
        let takes = |code: &u32| !self.program.image.codes[*code as usize].params.is_empty();
        match constructor {
            Some(code) if !map || takes(&code) => {
                self.call_code(code, args, object.clone(), Ret::Discard)?;
            }
            // Without a constructor for a map, its pairs are set after all.
            constructor if map => {
                // Below the frames that set the fields to what the class says, so it comes after them.
                if let Some(code) = self.program.image.library("$fill") {
                    let script = Value::Global(super::value::Global::Script);
                    self.call_code(code, vec![object.clone(), args[0].clone()], script, Ret::Discard)?;
                }
                if let Some(code) = constructor {
                    self.call_code(code, Vec::new(), object.clone(), Ret::Discard)?;
                }
            }
            Some(_) => {}
            None => self.set_thrown(&object, &args),
        }
        for def in chain {
            if let Some(init) = def.init {
                self.call_code(init, Vec::new(), object.clone(), Ret::Discard)?;
            }
        }
        Ok(())
    }

    pub(crate) fn put_field(&mut self, object: &Value, name: &str, value: Value) {
        self.heap.charge(120);
        if let Some(Object::Instance(instance)) = self.heap.object_mut(object) {
            instance.fields.put_str(name, value);
        }
    }
}
