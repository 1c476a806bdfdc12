//! What a declared type does: to a value that is assigned, to the choice among functions of one name, to arguments.
//!
//! A number is cut off and wrapped as Java does it; what cannot become the type is refused with Groovy's sentence.

use super::Vm;
use super::compare;
use super::decimal::Decimal;
use super::fault::{Fault, class};
use super::value::{Object, Value};
use crate::compile::code::Param;
use crate::library::classes;

/// What a declared type asks for.
enum Kind {
    Text,
    Truth,
    Whole,
    Number,
    Char,
    List,
    Set,
    Map,
    Closure,
    /// A class of the script.
    Own,
    Anything,
}

/// Types that are never null.
fn is_primitive(ty: &str) -> bool {
    matches!(ty, "int" | "long" | "short" | "byte" | "double" | "float" | "char" | "boolean")
}

impl Vm {
    fn kind(&self, ty: &str) -> Kind {
        match ty {
            "String" | "GString" | "CharSequence" => Kind::Text,
            "boolean" | "Boolean" => Kind::Truth,
            "int" | "Integer" | "long" | "Long" | "short" | "Short" | "byte" | "Byte" | "BigInteger" => {
                Kind::Whole
            }
            "double" | "Double" | "float" | "Float" | "BigDecimal" | "Number" => Kind::Number,
            "char" | "Character" => Kind::Char,
            "List" | "ArrayList" | "LinkedList" | "Collection" => Kind::List,
            "Set" | "LinkedHashSet" | "HashSet" | "TreeSet" => Kind::Set,
            "Map" | "LinkedHashMap" | "HashMap" | "TreeMap" => Kind::Map,
            "Closure" => Kind::Closure,
            ty if ty.ends_with("[]") => Kind::List,
            ty if self.program.image.class(ty).is_some() => Kind::Own,
            _ => Kind::Anything,
        }
    }

    /// `Type x = value`
    pub(crate) fn coerce(&mut self, value: Value, ty: &str) -> Result<Value, Fault> {
        let ty = classes::simple(ty);
        if value.is_null() {
            return match ty {
                "boolean" => Ok(Value::Bool(false)),
                ty if is_primitive(ty) => Err(self.cast_error(&Value::Null, ty)),
                _ => Ok(Value::Null),
            };
        }
        match self.kind(ty) {
            Kind::Anything => Ok(value),
            Kind::Text if self.thrown(&value).is_some() => Ok(value),
            Kind::Text => Ok(Value::from(self.text(&value))),
            Kind::Truth => Ok(Value::Bool(self.truth(&value))),
            Kind::Whole | Kind::Number => self.number_for(&value, ty),
            Kind::Char => self.char_for(value),
            Kind::List if matches!(self.heap.object(&value), Some(Object::Set(_))) => {
                let items = self.items(&value)?;
                Ok(self.heap.list(items))
            }
            Kind::Set if self.list_items(&value).is_some() => {
                let items = self.items(&value)?;
                Ok(self.set_of(items))
            }
            Kind::Own if matches!(value, Value::Str(_)) => {
                let constant = self.class_constant(ty, &self.text(&value));
                constant.ok_or_else(|| self.cast_error(&value, ty))
            }
            _ if self.fits(&value, ty) > 0 => Ok(value),
            _ => Err(self.cast_error(&value, ty)),
        }
    }

    /// A text of one letter is the number of the letter, as everywhere in Groovy.
    fn number_for(&mut self, value: &Value, ty: &str) -> Result<Value, Fault> {
        let letter = match value {
            Value::Str(text) => {
                let mut chars = text.chars();
                chars.next().filter(|_| chars.next().is_none()).map(|c| Value::from(i64::from(u32::from(c))))
            }
            _ => None,
        };
        let value = &letter.unwrap_or_else(|| value.clone());
        if !compare::is_number(value) {
            return Err(self.cast_error(value, ty));
        }
        match ty {
            "Number" => Ok(value.clone()),
            "double" | "Double" | "float" | "Float" => Ok(Value::Double(compare::double(value))),
            "BigDecimal" => self.cast(value.clone(), ty),
            _ => narrowed(value, ty).ok_or_else(|| self.cast_error(value, ty)),
        }
    }

    pub(super) fn char_for(&self, value: Value) -> Result<Value, Fault> {
        match &value {
            Value::Str(text) if text.chars().count() == 1 => Ok(value),
            Value::Int(code) => {
                let letter = u32::try_from(*code).ok().and_then(char::from_u32);
                letter.map(|c| Value::from(c.to_string())).ok_or_else(|| self.cast_error(&value, "char"))
            }
            _ => Err(self.cast_error(&value, "char")),
        }
    }

    pub(super) fn cast_error(&self, value: &Value, ty: &str) -> Fault {
        let (text, what) = (self.text(value), self.type_name(value));
        let mut message =
            format!("Cannot cast object '{text}' with class '{what}' to class '{}'", self.full_name(ty));
        if value.is_null() {
            let boxed = match ty {
                "int" => "Integer".to_owned(),
                "char" => "Character".to_owned(),
                ty => ty[..1].to_uppercase() + &ty[1..],
            };
            message.push_str(&format!(". Try 'java.lang.{boxed}' instead"));
        }
        Fault::new(class::CAST, message)
    }

    // -- which function --------------------------------------------------------------------------

    /// How well a value fits a parameter of this type; 0 is not at all.
    fn fits(&self, value: &Value, ty: &str) -> u32 {
        let ty = classes::simple(ty);
        if value.is_null() {
            return u32::from(!is_primitive(ty));
        }
        let object = self.heap.object(value);
        let own_object = matches!(object, Some(Object::Instance(_) | Object::Builder(_)));
        let plain = matches!(value, Value::Str(_) | Value::Bool(_)) || compare::is_number(value);
        let closure = matches!(object, Some(Object::Closure(_) | Object::Pointer(..)));
        let list = matches!(value, Value::Range(..)) || matches!(object, Some(Object::List(_)));
        let (set, map) = (matches!(object, Some(Object::Set(_))), matches!(object, Some(Object::Map(_))));
        let shaped = plain || closure || list || set || map;
        let when = |fits: bool, score: u32| if fits { score } else { u32::from(!shaped) };
        match self.kind(ty) {
            Kind::Text => when(matches!(value, Value::Str(_)), 5),
            Kind::Truth => when(matches!(value, Value::Bool(_)), 5),
            Kind::Whole => match value {
                Value::Int(_) => 4 + u32::from(matches!(ty, "int" | "Integer")),
                Value::Long(_) if matches!(ty, "long" | "Long") => 5,
                Value::Decimal(_) | Value::Long(_) if ty == "BigInteger" => 4,
                _ => 0,
            },
            Kind::Number => match (value, ty) {
                (Value::Decimal(_), "BigDecimal") | (Value::Double(_), "double" | "Double") => 5,
                (Value::Decimal(_) | Value::Double(_), _) => 4,
                (Value::Int(_) | Value::Long(_), _) => 3,
                _ => 0,
            },
            Kind::Char => when(matches!(value, Value::Str(text) if text.chars().count() == 1), 2),
            Kind::List => when(list, 5).max(when(set, 2)),
            Kind::Set => when(set, 5).max(when(list, 2)),
            Kind::Map => when(map, 5),
            Kind::Closure => when(closure, 5),
            // What a class implements is not kept, so any object may be one of the interface.
            Kind::Own if own_object && self.instance_of(value, ty) => {
                4 + u32::from(self.type_name(value) == ty)
            }
            Kind::Own => u32::from(!plain),
            Kind::Anything if self.instance_of(value, ty) => {
                2 + u32::from(classes::simple(&self.type_name(value)) == ty)
            }
            Kind::Anything => 1,
        }
    }

    /// How well arguments fit; `None` when one does not, or their number is wrong.
    fn fitting(&self, params: &[Param], args: &[Value]) -> Option<u32> {
        let needed = params.iter().filter(|p| !p.optional && !p.varargs).count();
        let open = params.last().is_some_and(|p| p.varargs);
        if args.len() < needed || !open && args.len() > params.len() {
            return None;
        }
        let mut sum = 0;
        for (param, arg) in params.iter().filter(|p| !p.varargs).zip(args) {
            sum += match &param.ty {
                Some(ty) => Some(self.fits(arg, ty)).filter(|score| *score > 0)?,
                None => 1,
            };
        }
        Some(sum)
    }

    /// The code whose parameters fit the arguments best. When none does, one that takes so many, else the first: it
    /// will say what is wrong.
    pub(super) fn choose(&self, codes: impl Iterator<Item = u32>, args: &[Value]) -> Option<u32> {
        let codes: Vec<u32> = codes.collect();
        if codes.len() < 2 {
            return codes.first().copied();
        }
        let params = |code: &u32| &self.program.image.codes[*code as usize].params;
        let mut best: Option<(u32, u32)> = None;
        for code in &codes {
            if let Some(score) = self.fitting(params(code), args)
                && best.is_none_or(|(_, other)| score > other)
            {
                best = Some((*code, score));
            }
        }
        let takes = |code: &&u32| params(code).len() == args.len();
        best.map(|(code, _)| code).or_else(|| codes.iter().find(takes).or(codes.first()).copied())
    }

    /// The function of the script that a call by name means.
    pub(crate) fn function(&self, name: &str, args: &[Value]) -> Option<u32> {
        self.choose(self.program.image.functions_named(name), args)
    }

    /// Arguments as the types of the parameters say; `Err(None)` when one does not fit.
    pub(super) fn typed(
        &mut self,
        params: &[Param],
        mut args: Vec<Value>,
    ) -> Result<Vec<Value>, Option<Fault>> {
        for (param, arg) in params.iter().zip(&mut args) {
            let Some(ty) = param.ty.as_deref().filter(|_| !param.varargs && *arg != Value::Absent) else {
                continue;
            };
            if self.fits(arg, ty) == 0 {
                return Err(None);
            }
            *arg = self.coerce(std::mem::replace(arg, Value::Null), ty).map_err(Some)?;
        }
        Ok(args)
    }
}

/// A number cut to the size of the type: a `double` stops at the ends, everything else wraps.
#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
pub(crate) fn narrowed(value: &Value, ty: &str) -> Option<Value> {
    if let (Value::Decimal(number), "BigInteger") = (value, ty) {
        return Some(Vm::decimal_value(Decimal::new(number.whole(), 0)));
    }
    let number = compare::whole(value)?;
    Some(match ty {
        "int" | "Integer" => Value::Int(match value {
            Value::Double(number) => *number as i32,
            _ => number as i32,
        }),
        "short" | "Short" => Value::Int(i32::from(number as i16)),
        "byte" | "Byte" => Value::Int(i32::from(number as i8)),
        "BigInteger" => Vm::decimal_value(Decimal::from_int(number)),
        _ => Value::Long(number),
    })
}

/// A text as a whole number of this type.
pub(crate) fn parsed(text: &str, radix: u32, ty: &str) -> Result<Value, Fault> {
    let bare = text.trim();
    let value = match ty {
        "int" | "Integer" => i32::from_str_radix(bare, radix).ok().map(Value::Int),
        "short" | "Short" => i16::from_str_radix(bare, radix).ok().map(|n| Value::Int(i32::from(n))),
        "byte" | "Byte" => i8::from_str_radix(bare, radix).ok().map(|n| Value::Int(i32::from(n))),
        "BigInteger" => i128::from_str_radix(bare, radix).ok().map(|n| Vm::decimal_value(Decimal::new(n, 0))),
        _ => i64::from_str_radix(bare, radix).ok().map(Value::Long),
    };
    value.ok_or_else(|| super::number_error(text))
}
