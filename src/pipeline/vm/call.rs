//! Calls: by name, of methods, of closures, of constructors; and what happens when one returns.

use std::cmp::Ordering;
use std::sync::Arc;

use super::branch::{Frame, Ret};
use super::fault::{Fault, class};
use super::value::{Closure, Global, Object, Ref, Value};
use super::{Context, Vm};
use crate::compile::code::{Code, Method};
use crate::library;

/// Frames of one branch.
const DEPTH: usize = 1_000;

impl Vm {
    // -- by name ---------------------------------------------------------------------------------

    pub(crate) fn call_name(&mut self, name: &str, args: Vec<Value>, named: bool) -> Result<(), Fault> {
        let Some(frame) = self.cur.frames.last() else { return Ok(()) };
        if self.program.image.codes[frame.code as usize].prelude {
            return match self.program.image.library(name) {
                Some(code) => self.call_code(code, args, Value::Global(Global::Script), Ret::Push),
                None => library::intrinsics::call(self, name, args),
            };
        }
        let (this, closure) = (frame.this.clone(), frame.closure.clone());
        let delegate = self.delegate(&closure);
        if let Some((delegate, true)) = &delegate
            && self.responds(delegate, name, &args)
        {
            return self.call_method(delegate.clone(), name, args, named);
        }
        let own = match &this {
            Value::Class(class) => {
                let method = self.method_of(class, name, &args);
                method.filter(|m| m.is_static).map(|m| m.code)
            }
            this => self.own_method(this, name, &args),
        };
        if let Some(code) = own {
            return self.call_code(code, args, this, Ret::Push);
        }
        if let Some(code) = self.function(name, &args) {
            return self.call_code(code, args, Value::Global(Global::Script), Ret::Push);
        }
        if let Some(value) = self.variable_named(&this, name)
            && self.is_callable(&value)
        {
            return self.call_value(value, args, Ret::Push);
        }
        if let Some((delegate, false)) = delegate
            && !library::steps::is_step(name)
            && self.responds(&delegate, name, &args)
        {
            return self.call_method(delegate, name, args, named);
        }
        if matches!(name, "name" | "ordinal") && self.enum_ordinal(&this).is_some() {
            return library::methods::call(self, this, name, args);
        }
        if name == "getBinding" {
            self.push(Value::Global(Global::Script));
            return Ok(());
        }
        library::steps::call(self, name, args, named)
    }

    /// A field of `this` or a variable of the script.
    fn variable_named(&self, this: &Value, name: &str) -> Option<Value> {
        if let Some(Object::Instance(instance)) = self.heap.object(this)
            && let Some(value) = instance.fields.get_str(name)
        {
            return Some(value.clone());
        }
        self.binding.get(name).cloned()
    }

    pub(crate) fn delegate(&self, closure: &Value) -> Option<(Value, bool)> {
        match self.heap.object(closure)? {
            Object::Closure(c) if !c.delegate.is_null() => Some((c.delegate.clone(), c.delegate_first)),
            _ => None,
        }
    }

    fn responds(&self, object: &Value, name: &str, args: &[Value]) -> bool {
        match object {
            Value::Global(Global::Script | Global::Steps) => false,
            object => {
                self.own_method(object, name, args).is_some()
                    || library::methods::has(self, object, name)
                    || matches!(self.heap.object(object), Some(Object::Map(map)) if map.get_str(name).is_some())
            }
        }
    }

    /// The method that the class of an object of the script defines.
    pub(crate) fn own_method(&self, object: &Value, name: &str, args: &[Value]) -> Option<u32> {
        match self.heap.object(object)? {
            Object::Instance(instance) => self.method_of(&instance.class, name, args).map(|m| m.code),
            _ => None,
        }
    }

    pub(super) fn method_of(&self, class: &str, name: &str, args: &[Value]) -> Option<&Method> {
        self.program.image.method(class, name, &|codes| self.choose(codes.into_iter(), args))
    }

    fn is_callable(&self, value: &Value) -> bool {
        matches!(self.heap.object(value), Some(Object::Closure(_) | Object::Pointer(..)))
            || self.own_method(value, "call", &[]).is_some()
    }

    // -- methods ---------------------------------------------------------------------------------

    pub(crate) fn call_method(
        &mut self,
        object: Value,
        name: &str,
        args: Vec<Value>,
        named: bool,
    ) -> Result<(), Fault> {
        if object.is_null() && !matches!(name, "toString" | "equals" | "is" | "with" | "getClass") {
            return Err(Fault::new(class::NULL, format!("Cannot invoke method {name}() on null object")));
        }
        match &object {
            Value::Global(Global::Script | Global::Steps) => {
                return match name {
                    "getClass" | "toString" | "hashCode" | "getBinding" | "hasVariable" | "getVariable"
                    | "getVariables" | "setVariable"
                        if self.function(name, &args).is_none() =>
                    {
                        library::methods::call(self, object, name, args)
                    }
                    _ => self.call_name(name, args, named),
                };
            }
            Value::Class(class) => {
                if let Some(method) = self.method_of(class, name, &args).filter(|m| m.is_static) {
                    let code = method.code;
                    return self.call_code(code, args, object, Ret::Push);
                }
            }
            _ => {}
        }
        if let Some(code) = self.own_method(&object, name, &args) {
            return self.call_code(code, args, object, Ret::Push);
        }
        let called = match self.heap.object(&object) {
            Some(Object::Closure(_) | Object::Pointer(..)) if matches!(name, "call" | "doCall") => {
                Some(object.clone())
            }
            Some(Object::Map(map)) => map.get_str(name).cloned().filter(|v| self.is_callable(v)),
            Some(Object::Instance(instance)) => {
                instance.fields.get_str(name).cloned().filter(|v| self.is_callable(v))
            }
            _ => None,
        };
        match called {
            Some(called) => self.call_value(called, args, Ret::Push),
            None => library::methods::call(self, object, name, args),
        }
    }

    // -- closures and functions ------------------------------------------------------------------

    pub(crate) fn call_value(&mut self, callee: Value, mut args: Vec<Value>, ret: Ret) -> Result<(), Fault> {
        match self.heap.object(&callee) {
            Some(Object::Closure(closure)) => {
                let closure = closure.clone();
                if !closure.bound.is_empty() {
                    args.splice(0..0, closure.bound.iter().cloned());
                }
                let ret = if closure.then.is_empty() { ret } else { Ret::Then(closure.then.clone()) };
                self.enter_closure(callee, &closure, args, ret)
            }
            Some(Object::Pointer(object, name)) => {
                let (object, name) = (object.clone(), name.clone());
                self.call_pointer(object, &name, args, ret)
            }
            _ => {
                if let Some(code) = self.own_method(&callee, "call", &args) {
                    return self.call_code(code, args, callee, ret);
                }
                let what = self.type_name(&callee);
                Err(Fault::new(class::METHOD, format!("No signature of method: {what}.call() is applicable")))
            }
        }
    }

    /// `object.&name`: means the same wherever it is called, also in the library, whose own names it does not see.
    fn call_pointer(&mut self, object: Value, name: &str, args: Vec<Value>, ret: Ret) -> Result<(), Fault> {
        let before = self.cur.frames.len();
        if matches!(object, Value::Global(Global::Script | Global::Steps)) {
            if let Some(code) = self.function(name, &args) {
                let program = self.program.clone();
                let args = self.spread_args(&program.image.codes[code as usize], args);
                return self.call_code(code, args, Value::Global(Global::Script), ret);
            }
            match self.binding.get(name).cloned().filter(|value| self.is_callable(value)) {
                Some(value) => return self.call_value(value, args, ret),
                None => library::steps::call(self, name, args, false)?,
            }
        } else {
            self.call_method(object, name, args, false)?;
        }
        if self.cur.frames.len() > before
            && let Some(frame) = self.cur.frames.last_mut()
        {
            frame.ret = ret;
            return Ok(());
        }
        if self.cur.state != super::State::Ready {
            return Ok(());
        }
        let value = self.pop();
        self.hand_back(value, ret)
    }

    fn enter_closure(
        &mut self,
        me: Value,
        closure: &Closure,
        args: Vec<Value>,
        ret: Ret,
    ) -> Result<(), Fault> {
        let program = self.program.clone();
        let code = &program.image.codes[closure.code as usize];
        let args = self.spread_args(code, args);
        let locals = self.bind(code, args)?;
        self.enter(closure.code, locals, closure.this.clone(), closure.captures.clone(), me, ret)
    }

    /// A closure of several parameters takes a list, or an entry of a map, apart.
    fn spread_args(&mut self, code: &Code, args: Vec<Value>) -> Vec<Value> {
        let wanted = code.params.len();
        if wanted <= args.len() || code.params.last().is_some_and(|p| p.varargs) {
            return args;
        }
        let Some((last, before)) = args.split_last() else { return args };
        let parts = match self.heap.object(last) {
            Some(Object::Entry(key, value)) if args.len() + 1 == wanted => vec![key.clone(), value.clone()],
            Some(Object::List(items)) if args.len() == 1 && items.len() == wanted => items.clone(),
            _ => return args,
        };
        before.iter().cloned().chain(parts).collect()
    }

    pub(crate) fn call_code(
        &mut self,
        code: u32,
        args: Vec<Value>,
        this: Value,
        ret: Ret,
    ) -> Result<(), Fault> {
        let program = self.program.clone();
        let locals = self.bind(&program.image.codes[code as usize], args)?;
        self.enter(code, locals, this, Arc::from([]), Value::Null, ret)
    }

    /// Arguments become the first locals.
    fn bind(&mut self, code: &Code, args: Vec<Value>) -> Result<Vec<Value>, Fault> {
        if !code.params.iter().any(|p| p.ty.is_some()) {
            return self.placed(code, args);
        }
        let shown = args.clone();
        let args = self.placed(code, args)?;
        let typed = self.typed(&code.params, args);
        typed.map_err(|fault| fault.unwrap_or_else(|| self.no_signature(code, &shown)))
    }

    /// Each argument at the place of its parameter, the rest in a list, and gaps for what is left out.
    fn placed(&mut self, code: &Code, mut args: Vec<Value>) -> Result<Vec<Value>, Fault> {
        if code.implicit_it {
            if args.len() > 1 {
                return Err(self.no_signature(code, &args));
            }
            args.resize(1, Value::Null);
            return Ok(args);
        }
        let wanted = code.params.len();
        if code.params.last().is_some_and(|p| p.varargs) {
            let one_list = args.len() == wanted && self.list_items(&args[wanted - 1]).is_some();
            if !one_list && args.len() + 1 >= wanted {
                let rest = args.split_off(wanted - 1);
                let rest = self.heap.list(rest);
                args.push(rest);
            }
        }
        if args.len() > wanted {
            return Err(self.no_signature(code, &args));
        }
        let mut left_out = wanted - args.len();
        if left_out == 0 {
            return Ok(args);
        }
        if left_out == 1 && args.is_empty() && wanted == 1 && !code.params[0].optional {
            return Ok(vec![Value::Null]);
        }
        let mut absent = vec![false; wanted];
        for (at, param) in code.params.iter().enumerate().rev() {
            if left_out > 0 && param.optional {
                absent[at] = true;
                left_out -= 1;
            }
        }
        if left_out > 0 {
            return Err(self.no_signature(code, &args));
        }
        let mut given = args.into_iter();
        let fill = absent
            .into_iter()
            .map(|absent| if absent { Value::Absent } else { given.next().unwrap_or(Value::Null) });
        Ok(fill.collect())
    }

    fn no_signature(&self, code: &Code, args: &[Value]) -> Fault {
        let types: Vec<String> = args.iter().map(|a| self.type_name(a)).collect();
        let values: Vec<String> = args.iter().map(|a| self.text(a)).collect();
        let message = format!(
            "No signature of method: {}() is applicable for argument types: ({}) values: [{}]",
            code.name,
            types.join(", "),
            values.join(", ")
        );
        Fault::new(class::METHOD, message)
    }

    fn enter(
        &mut self,
        code: u32,
        locals: Vec<Value>,
        this: Value,
        captures: Arc<[Ref]>,
        closure: Value,
        ret: Ret,
    ) -> Result<(), Fault> {
        if self.cur.frames.len() >= DEPTH {
            return Err(Fault::new(class::STACK, format!("calls are nested more than {DEPTH} deep")));
        }
        let context = self.cur.context();
        let base = self.cur.stack.len();
        let program = self.program.clone();
        let def = &program.image.codes[code as usize];
        self.cur.stack.extend(locals);
        self.cur.stack.resize(base + def.locals as usize, Value::Null);
        for slot in &def.boxed {
            let at = base + *slot as usize;
            let value = std::mem::replace(&mut self.cur.stack[at], Value::Null);
            self.cur.stack[at] = self.heap.add(Object::Cell(value));
        }
        self.cur.frames.push(Frame { code, pc: 0, base, this, captures, closure, context, ret });
        Ok(())
    }

    /// Calls a closure with other surroundings.
    pub(crate) fn call_within(
        &mut self,
        body: Value,
        args: Vec<Value>,
        context: Context,
    ) -> Result<(), Fault> {
        let before = self.cur.frames.len();
        self.call_value(body, args, Ret::Push)?;
        if self.cur.frames.len() > before
            && let Some(frame) = self.cur.frames.last_mut()
        {
            frame.context = Arc::new(context);
        }
        Ok(())
    }

    pub(crate) fn returns(&mut self, value: Value) -> Result<(), Fault> {
        let Some(frame) = self.cur.frames.pop() else { return Ok(()) };
        self.cur.stack.truncate(frame.base);
        if self.cur.frames.is_empty() {
            self.branch_ends(Ok(value));
            return Ok(());
        }
        self.hand_back(value, frame.ret)
    }

    /// Makes of a value what the caller wants of it.
    fn hand_back(&mut self, value: Value, ret: Ret) -> Result<(), Fault> {
        let value = match ret {
            Ret::Push => value,
            Ret::Discard => return Ok(()),
            Ret::Truth => Value::Bool(self.truth(&value)),
            Ret::Not => Value::Bool(!self.truth(&value)),
            Ret::Compare(op) => {
                let sign = super::compare::whole(&value).unwrap_or(0).cmp(&0);
                Vm::ordered(op, if sign == Ordering::Equal { Ordering::Equal } else { sign })
            }
            Ret::Then(mut closures) => {
                let next = closures.remove(0);
                let ret = if closures.is_empty() { Ret::Push } else { Ret::Then(closures) };
                return self.call_value(next, vec![value], ret);
            }
        };
        self.push(value);
        Ok(())
    }
}
