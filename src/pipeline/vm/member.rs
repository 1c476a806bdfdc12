//! Bare names and properties.

use std::sync::Arc;

use super::Vm;
use super::branch::Ret;
use super::fault::{Fault, class};
use super::value::{Global, Object, Value};
use crate::library::{classes, globals, methods};

impl Vm {
    /// Pushes what a name that is no local stands for.
    pub(crate) fn get_name(&mut self, name: &str) -> Result<(), Fault> {
        let Some(frame) = self.cur.frames.last() else { return Ok(()) };
        let (this, closure) = (frame.this.clone(), frame.closure.clone());
        let delegate = self.delegate(&closure);
        if let Some((object, first)) = &delegate {
            match name {
                "delegate" => return self.give(object.clone()),
                _ if *first && self.has_property(object, name) => {
                    return self.get_property(&object.clone(), name);
                }
                _ => {}
            }
        }
        if matches!(name, "delegate" | "owner") {
            return self.give(this);
        }
        if self.is_member(&this, name) {
            return self.get_property(&this, name);
        }
        if let Some(value) = self.binding.get(name) {
            let value = value.clone();
            return self.give(value);
        }
        if let Some(value) = globals::global(self, name) {
            return self.give(value);
        }
        if self.program.image.class(name).is_some() || classes::is_known(name) {
            return self.give(Value::str_class(name));
        }
        if let Some(value) = self.env(name) {
            return self.give(Value::from(value));
        }
        if let Some((object, false)) = &delegate
            && self.has_property(object, name)
        {
            return self.get_property(&object.clone(), name);
        }
        if let Some(fault) = globals::absent(name) {
            return Err(fault);
        }
        if classes::is_beyond(name) {
            return Err(classes::refused(name));
        }
        Err(Fault::new(class::PROPERTY, format!("No such property: {name} for class: groovy.lang.Binding")))
    }

    fn give(&mut self, value: Value) -> Result<(), Fault> {
        self.push(value);
        Ok(())
    }

    /// Whether code of a class means its own field or getter with this name.
    fn is_member(&self, this: &Value, name: &str) -> bool {
        match this {
            Value::Class(class) => self.statics_of(class).any(|(_, n)| **n == *name),
            this => match self.heap.object(this) {
                Some(Object::Instance(i)) => {
                    i.fields.get_str(name).is_some()
                        || self.statics_of(&i.class).any(|(_, n)| **n == *name)
                        || self.getter(this, name).is_some()
                        || i.thrown.is_some() && matches!(name, "message" | "cause")
                }
                _ => false,
            },
        }
    }

    /// Names of static fields and constants of a class and those above it.
    fn statics_of<'v>(&'v self, class: &str) -> impl Iterator<Item = (&'v Arc<str>, &'v Arc<str>)> {
        let mut at = self.program.image.class(class);
        let chain = std::iter::from_fn(move || {
            let def = at?;
            at = def.parent.as_deref().and_then(|p| self.program.image.class(p));
            Some(def)
        });
        chain.take(64).flat_map(|def| def.statics.iter().chain(&def.constants).map(move |n| (&def.name, n)))
    }

    fn getter(&self, object: &Value, name: &str) -> Option<u32> {
        let mut chars = name.chars();
        let tail = chars.next()?.to_uppercase().chain(chars).collect::<String>();
        self.own_method(object, &format!("get{tail}"), &[])
            .or_else(|| self.own_method(object, &format!("is{tail}"), &[]))
    }

    fn has_property(&self, object: &Value, name: &str) -> bool {
        match self.heap.object(object) {
            Some(Object::Map(map)) => map.get_str(name).is_some(),
            Some(Object::Instance(_)) => self.is_member(object, name),
            _ => matches!(object, Value::Global(Global::Env)) && self.env(name).is_some(),
        }
    }

    pub(crate) fn set_name(&mut self, name: Arc<str>, value: Value) -> Result<(), Fault> {
        let Some(frame) = self.cur.frames.last() else { return Ok(()) };
        let (this, closure) = (frame.this.clone(), frame.closure.clone());
        if let Some((object, true)) = self.delegate(&closure)
            && (self.has_property(&object, &name)
                || matches!(self.heap.object(&object), Some(Object::Map(_))))
        {
            return self.set_plain_property(&object, &name, value);
        }
        if self.is_member(&this, &name) {
            return self.set_plain_property(&this, &name, value);
        }
        if matches!(&*name, "env" | "params" | "currentBuild" | "scm" | "steps") {
            return Err(Fault::new(class::STATE, format!("{name} cannot be assigned to")));
        }
        self.heap.charge(64);
        self.binding.insert(name, value);
        Ok(())
    }

    // -- properties ------------------------------------------------------------------------------

    /// Pushes `object.name`; a getter of the script runs in a frame of its own.
    pub(crate) fn get_property(&mut self, object: &Value, name: &str) -> Result<(), Fault> {
        let is_field =
            matches!(self.heap.object(object), Some(Object::Instance(i)) if i.fields.get_str(name).is_some());
        let inside = self.cur.frames.last().is_some_and(|f| f.this == *object);
        if (!is_field || !inside)
            && let Some(code) = self.getter(object, name)
        {
            return self.call_code(code, Vec::new(), object.clone(), Ret::Push);
        }
        if self.reads_default(object, &Value::str(name))? {
            return Ok(());
        }
        let value = self.plain_property(object, name)?;
        self.push(value);
        Ok(())
    }

    pub(crate) fn plain_property(&mut self, object: &Value, name: &str) -> Result<Value, Fault> {
        match object {
            Value::Null | Value::Absent => {
                return Err(Fault::new(class::NULL, format!("Cannot get property '{name}' on null object")));
            }
            Value::Global(global) => return globals::property(self, *global, name),
            Value::Class(class) => return self.class_property(&class.clone(), name),
            _ => {}
        }
        if let Some(value) = self.object_property(object, name)? {
            return Ok(value);
        }
        if let Some(value) = methods::property(self, object, name)? {
            return Ok(value);
        }
        if !self.is_collection(object) {
            return Err(self.no_property(object, name));
        }
        let mut found = Vec::new();
        for item in self.items(object)? {
            // One level only: what a script builds may be nested as deep as it likes.
            if self.is_collection(&item) && !matches!(self.heap.object(&item), Some(Object::Map(_))) {
                return Err(self.no_property(&item, name));
            }
            found.push(self.plain_property(&item, name)?);
        }
        Ok(self.heap.list(found))
    }

    fn object_property(&mut self, object: &Value, name: &str) -> Result<Option<Value>, Fault> {
        Ok(match self.heap.object(object) {
            Some(Object::Map(map)) => Some(map.get_str(name).cloned().unwrap_or(Value::Null)),
            Some(Object::Instance(instance)) => {
                let class = instance.class.clone();
                match instance.fields.get_str(name) {
                    Some(value) => Some(value.clone()),
                    None => self.static_property(&class, name),
                }
            }
            Some(Object::Entry(key, value)) => match name {
                "key" => Some(key.clone()),
                "value" => Some(value.clone()),
                _ => None,
            },
            Some(Object::Closure(closure)) => match name {
                "delegate" if closure.delegate.is_null() => Some(closure.this.clone()),
                "delegate" => Some(closure.delegate.clone()),
                "owner" | "thisObject" => Some(closure.this.clone()),
                _ => None,
            },
            _ => None,
        })
    }

    fn static_property(&mut self, class: &str, name: &str) -> Option<Value> {
        let owner = self.statics_of(class).find(|(_, n)| &***n == name).map(|(owner, _)| owner.clone())?;
        if let Some(constant) = self.class_constant(&owner, name) {
            return Some(constant);
        }
        Some(self.statics.get(&(owner, Arc::from(name))).cloned().unwrap_or(Value::Null))
    }

    fn class_property(&mut self, class: &str, name: &str) -> Result<Value, Fault> {
        if let Some(value) = self.static_property(class, name) {
            return Ok(value);
        }
        match name {
            "name" => Ok(Value::from(self.full_name(class))),
            "simpleName" => Ok(Value::str(classes::simple(class))),
            "class" => Ok(Value::str_class("Class")),
            _ => classes::constant(class, name).ok_or_else(|| {
                Fault::new(
                    class::PROPERTY,
                    format!("No such property: {name} for class: {}", self.full_name(class)),
                )
            }),
        }
    }

    fn no_property(&self, object: &Value, name: &str) -> Fault {
        let what = self.type_name(object);
        Fault::new(class::PROPERTY, format!("No such property: {name} for class: {what}"))
    }

    pub(crate) fn set_property(&mut self, object: &Value, name: &str, value: Value) -> Result<(), Fault> {
        let inside = self.cur.frames.last().is_some_and(|f| f.this == *object);
        let mut chars = name.chars();
        let tail: String = chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default();
        if !inside
            && let Some(code) = self.own_method(object, &format!("set{tail}"), std::slice::from_ref(&value))
        {
            self.push(value.clone());
            return self.call_code(code, vec![value], object.clone(), Ret::Discard);
        }
        if let Value::Global(global) = object {
            return globals::set_property(self, *global, name, value);
        }
        self.set_plain_property(object, name, value.clone())?;
        self.push(value);
        Ok(())
    }

    /// What the build was given does not change.
    pub(crate) fn writable(&self, object: &Value) -> Result<(), Fault> {
        if self.globals.params.as_ref() == Some(object) {
            return Err(Fault::new(class::UNSUPPORTED, "params is read-only: use a variable or env instead"));
        }
        Ok(())
    }

    /// Without setters and acts.
    pub(crate) fn set_plain_property(
        &mut self,
        object: &Value,
        name: &str,
        value: Value,
    ) -> Result<(), Fault> {
        match object {
            Value::Null | Value::Absent => {
                return Err(Fault::new(class::NULL, format!("Cannot set property '{name}' on null object")));
            }
            Value::Global(Global::Env) => {
                let text = self.text(&value);
                self.globals.env.insert(name.to_owned(), text);
                return Ok(());
            }
            Value::Global(Global::Script) => {
                self.binding.insert(Arc::from(name), value);
                return Ok(());
            }
            Value::Class(class) => {
                let owner =
                    self.statics_of(class).find(|(_, n)| &***n == name).map(|(owner, _)| owner.clone());
                let Some(owner) = owner else { return Err(self.no_property(object, name)) };
                self.statics.insert((owner, Arc::from(name)), value);
                return Ok(());
            }
            _ => {}
        }
        self.writable(object)?;
        let first = name == "delegate";
        match self.heap.object_mut(object) {
            Some(Object::Map(_)) => {
                self.map_put(object, Value::str(name), value);
                Ok(())
            }
            Some(Object::Closure(closure)) if first => {
                closure.delegate = value;
                Ok(())
            }
            Some(Object::Closure(closure)) if name == "resolveStrategy" => {
                closure.delegate_first = matches!(value, Value::Int(1 | 3));
                Ok(())
            }
            Some(Object::Instance(instance)) => {
                let class = instance.class.clone();
                if instance.fields.get_str(name).is_some() {
                    instance.fields.put_str(name, value);
                    return Ok(());
                }
                let owner =
                    self.statics_of(&class).find(|(_, n)| &***n == name).map(|(owner, _)| owner.clone());
                match owner {
                    Some(owner) => {
                        self.statics.insert((owner, Arc::from(name)), value);
                        Ok(())
                    }
                    None => Err(self.no_property(object, name)),
                }
            }
            _ => Err(self.no_property(object, name)),
        }
    }
}

impl Value {
    pub(crate) fn str_class(name: &str) -> Value {
        Value::Class(Arc::from(classes::simple(name)))
    }
}
