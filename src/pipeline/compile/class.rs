//! Classes and enums of the script.

use std::sync::Arc;

use super::code::{ClassDef, Method, Op};
use super::{Compiler, FnState};
use crate::ast::{Class, Field};

/// Types of fields that hold something before anybody sets them.
const PRIMITIVES: [&str; 7] = ["int", "long", "short", "byte", "double", "float", "boolean"];

impl Compiler {
    /// All names first, so that classes may use each other.
    pub(super) fn classes(&mut self, classes: &[Class]) {
        let first = self.image.classes.len();
        for class in classes {
            self.pos = class.pos;
            if self.image.class(&class.name).is_some() {
                self.error(format!("Invalid duplicate class definition of class {}", class.name));
            }
            let names = |is_static: bool| {
                let fields = class.fields.iter().filter(move |f| f.is_static == is_static);
                fields.map(|f| Arc::from(f.name.as_str())).collect()
            };
            self.image.classes.push(ClassDef {
                name: Arc::from(class.name.as_str()),
                parent: class.extends.as_deref().map(Arc::from),
                fields: names(false),
                statics: names(true),
                constants: class.constants.iter().map(|c| Arc::from(c.as_str())).collect(),
                ..ClassDef::default()
            });
        }
        for (at, class) in classes.iter().enumerate() {
            self.class(first + at, class);
        }
    }

    fn class(&mut self, at: usize, class: &Class) {
        let number = Some(super::number(at));
        let mut methods = Vec::new();
        for function in &class.methods {
            let code = self.function(function, number);
            let name = Arc::from(function.name.as_str());
            methods.push(Method { name, code, is_static: function.is_static });
        }
        let init = self.initializer(class, number, false);
        let static_init = self.initializer(class, number, true);
        let def = &mut self.image.classes[at];
        def.methods = methods;
        def.init = init;
        def.static_init = static_init;
    }

    fn initializer(&mut self, class: &Class, number: Option<u32>, is_static: bool) -> Option<u32> {
        let set = |f: &&Field| {
            f.is_static == is_static
                && (f.value.is_some() || f.ty.as_deref().is_some_and(|ty| PRIMITIVES.contains(&ty)))
        };
        if !class.fields.iter().any(|f| set(&f)) {
            return None;
        }
        self.begin(FnState { name: "<init>".into(), class: number, ..FnState::default() });
        for field in class.fields.iter().filter(set) {
            self.pos = field.pos;
            self.op(Op::This);
            match &field.value {
                Some(value) => {
                    self.expr(value);
                    field.ty.iter().for_each(|ty| self.coerce(ty));
                }
                None => self.initial(field.ty.as_deref()),
            }
            let name = self.string(&field.name);
            self.op(Op::SetProperty(name));
            self.op(Op::Pop);
        }
        self.op(Op::Null);
        self.op(Op::Return);
        Some(self.end())
    }
}
