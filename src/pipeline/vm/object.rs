//! Collections as lists of their items, elements by index, and conversions between types.

use std::sync::Arc;

use super::exec::RANGE_LIMIT;
use super::fault::{Fault, class};
use super::ordered::OrderedMap;
use super::value::{Cursor, Object, Value};
use super::{Vm, compare};
use crate::library::classes;

fn range_len(from: i64, to: i64) -> i64 {
    from.abs_diff(to).try_into().unwrap_or(i64::MAX - 1) + 1
}

pub(crate) fn range_items(from: i64, to: i64) -> Vec<Value> {
    if from <= to {
        (from..=to).map(Value::from).collect()
    } else {
        (to..=from).rev().map(Value::from).collect()
    }
}

impl Vm {
    pub(crate) fn is_collection(&self, value: &Value) -> bool {
        matches!(value, Value::Range(..))
            || matches!(self.heap.object(value), Some(Object::List(_) | Object::Set(_) | Object::Map(_)))
    }

    /// The items of a list or range.
    pub(crate) fn list_items(&self, value: &Value) -> Option<Vec<Value>> {
        match value {
            Value::Range(from, to) if range_len(*from, *to) <= RANGE_LIMIT => Some(range_items(*from, *to)),
            value => match self.heap.object(value)? {
                Object::List(items) => Some(items.clone()),
                _ => None,
            },
        }
    }

    /// What a loop over the value sees.
    pub(crate) fn items(&mut self, value: &Value) -> Result<Vec<Value>, Fault> {
        if let Value::Range(from, to) = value
            && range_len(*from, *to) > RANGE_LIMIT
        {
            let message = format!("a range of more than {RANGE_LIMIT} numbers cannot become a list");
            return Err(Fault::new(class::MEMORY, message));
        }
        self.heap.work += self.weight(value);
        if let Some(items) = self.list_items(value) {
            self.heap.charge(items.len() * 24);
            return Ok(items);
        }
        if let Value::Str(text) = value {
            return Ok(text.chars().map(|c| Value::from(c.to_string())).collect());
        }
        if let Value::Class(name) = value {
            return Ok(self.enum_constants(&name.clone()));
        }
        match self.heap.object(value) {
            Some(Object::Set(set)) => Ok(set.iter().map(|(shown, _)| shown.clone()).collect()),
            Some(Object::Map(map)) => {
                let pairs: Vec<_> = map.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
                Ok(pairs.into_iter().map(|(k, v)| self.heap.add(Object::Entry(k, v))).collect())
            }
            Some(Object::Matcher(matcher)) => {
                let matcher = matcher.clone();
                let found = matcher.regex.all(&matcher.text, &mut self.heap.work)?;
                Ok(found.iter().map(|found| self.match_value(&matcher, found)).collect())
            }
            Some(Object::Entry(key, value)) => Ok(vec![key.clone(), value.clone()]),
            Some(Object::Iterator(Cursor::Items(items, at))) => Ok(items[(*at).min(items.len())..].to_vec()),
            _ if value.is_null() => Ok(Vec::new()),
            _ => Ok(vec![value.clone()]),
        }
    }

    pub(crate) fn cursor(&mut self, value: &Value) -> Result<Cursor, Fault> {
        match value {
            Value::Range(from, to) => Ok(Cursor::Range { next: *from, last: *to, done: false }),
            value => Ok(Cursor::Items(self.items(value)?, 0)),
        }
    }

    /// The pairs of a map; nothing for anything else.
    pub(crate) fn pairs(&self, value: &Value) -> Vec<(Value, Value)> {
        match self.heap.object(value) {
            Some(Object::Map(map)) => map.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn contains(&mut self, all: &Value, value: &Value) -> Result<bool, Fault> {
        if let Value::Str(text) = all {
            return Ok(text.contains(&self.text(value)));
        }
        if let (Value::Range(from, to), Some(at)) = (all, compare::whole(value)) {
            return Ok((*from.min(to)..=*from.max(to)).contains(&at));
        }
        match self.heap.object(all) {
            Some(Object::Map(map) | Object::Set(map)) => Ok(map.has(&self.key(value))),
            Some(Object::List(items)) => Ok(items.iter().any(|item| self.equal(item, value))),
            _ => Ok(false),
        }
    }

    /// Reads what a map with a default gives a key that it does not have; says whether it does.
    pub(crate) fn reads_default(&mut self, map: &Value, key: &Value) -> Result<bool, Fault> {
        let Some(Object::Map(own)) = self.heap.object(map) else { return Ok(false) };
        let Some(default) = own.default.clone().filter(|_| !own.has(&self.key(key))) else {
            return Ok(false);
        };
        let Some(code) = self.program.image.library("$putDefault") else { return Ok(false) };
        let script = Value::Global(super::value::Global::Script);
        self.call_code(code, vec![map.clone(), key.clone(), default], script, super::Ret::Push)?;
        Ok(true)
    }

    // -- elements --------------------------------------------------------------------------------

    pub(crate) fn get_index(&mut self, object: &Value, index: &Value) -> Result<Value, Fault> {
        if object.is_null() {
            return Err(Fault::new(class::NULL, "Cannot invoke method getAt() on null object"));
        }
        if let (Some(Object::List(items)), Some(at)) = (self.heap.object(object), compare::whole(index)) {
            let at = position(at, items.len());
            return Ok(at.and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null));
        }
        self.heap.work += self.weight(object);
        if let Value::Str(text) = object {
            let chars: Vec<char> = text.chars().collect();
            return match self.list_items(index) {
                Some(_) if let Value::Range(from, to) = index => match span(*from, *to, chars.len()) {
                    Some(span) => Ok(Value::from(span.map(|at| chars[at]).collect::<String>())),
                    None => Err(Fault::new(
                        class::STRING_BOUNDS,
                        format!("the range {from}..{to} is outside of a text of {}", chars.len()),
                    )),
                },
                Some(at) => {
                    let picked = at.iter().map(|at| char_at(&chars, compare::whole(at).unwrap_or(0)));
                    Ok(Value::from(picked.collect::<Result<String, Fault>>()?))
                }
                None => Ok(Value::from(char_at(&chars, compare::whole(index).unwrap_or(0))?.to_string())),
            };
        }
        match self.heap.object(object) {
            Some(Object::Map(map)) => Ok(map.get(&self.key(index)).cloned().unwrap_or(Value::Null)),
            Some(Object::Matcher(matcher)) => {
                let matcher = matcher.clone();
                let all = matcher.regex.all(&matcher.text, &mut self.heap.work)?;
                let at = position(compare::whole(index).unwrap_or(0), all.len());
                match at.and_then(|at| all.get(at)) {
                    Some(found) => Ok(self.match_value(&matcher, found)),
                    None => {
                        let at = self.text(index);
                        Err(Fault::new(
                            class::BOUNDS,
                            format!("index is out of range 0..{} (index = {at})", all.len()),
                        ))
                    }
                }
            }
            Some(Object::Set(_) | Object::Entry(..)) => {
                let items = self.items(object)?;
                Ok(element(&items, index))
            }
            Some(Object::Instance(_)) => self.plain_property(object, &self.text(index)),
            _ => match (self.list_items(object), self.list_items(index)) {
                (Some(items), Some(at)) => self.slice(&items, index, &at),
                (Some(items), None) => Ok(element(&items, index)),
                _ => match object {
                    Value::Global(_) => self.plain_property(object, &self.text(index)),
                    _ => {
                        let what = self.type_name(object);
                        Err(Fault::new(
                            class::METHOD,
                            format!("No signature of method: {what}.getAt() is applicable"),
                        ))
                    }
                },
            },
        }
    }

    fn slice(&mut self, items: &[Value], index: &Value, at: &[Value]) -> Result<Value, Fault> {
        let picked: Vec<Value> = match index {
            Value::Range(from, to) => {
                let Some(span) = span(*from, *to, items.len()) else {
                    let message = format!("the range {from}..{to} is outside of a list of {}", items.len());
                    return Err(Fault::new(class::BOUNDS, message));
                };
                span.map(|at| items[at].clone()).collect()
            }
            _ => at.iter().map(|at| element(items, at)).collect(),
        };
        Ok(self.heap.list(picked))
    }

    pub(crate) fn set_index(&mut self, object: &Value, index: &Value, value: Value) -> Result<(), Fault> {
        let at = compare::whole(index);
        self.writable(object)?;
        self.heap.charge(24);
        match self.heap.object_mut(object) {
            Some(Object::List(items)) => {
                let wanted = at.unwrap_or(0);
                let at = if wanted < 0 { wanted + i64::try_from(items.len()).unwrap_or(0) } else { wanted };
                let Some(at) = usize::try_from(at).ok().filter(|at| *at < 1_000_000) else {
                    return Err(Fault::new(class::BOUNDS, format!("Index: {wanted}, Size: {}", items.len())));
                };
                if at >= items.len() {
                    items.resize(at + 1, Value::Null);
                }
                items[at] = value;
                Ok(())
            }
            Some(Object::Map(_)) => {
                self.map_put(object, index.clone(), value);
                Ok(())
            }
            _ if object.is_null() => {
                Err(Fault::new(class::NULL, "Cannot invoke method putAt() on null object"))
            }
            _ => {
                let name = self.text(index);
                self.set_plain_property(object, &name, value)
            }
        }
    }

    /// What a match is in a loop or by index: a text, or a list with the groups.
    pub(crate) fn match_value(
        &mut self,
        matcher: &super::value::Matcher,
        found: &crate::library::regex::Found,
    ) -> Value {
        let mut groups: Vec<Value> = found
            .groups
            .iter()
            .map(|g| g.map_or(Value::Null, |(from, to)| Value::str(&matcher.text[from..to])))
            .collect();
        if groups.len() == 1 { groups.remove(0) } else { self.heap.list(groups) }
    }

    pub(crate) fn enum_constants(&mut self, name: &str) -> Vec<Value> {
        let Some(def) = self.program.image.class(name) else { return Vec::new() };
        let constants = def.constants.clone();
        constants.iter().filter_map(|c| self.class_constant(name, c)).collect()
    }

    // -- conversions -----------------------------------------------------------------------------

    /// `value as Type`, `(Type) value`
    pub(crate) fn cast(&mut self, value: Value, ty: &str) -> Result<Value, Fault> {
        let ty = classes::simple(ty);
        if value.is_null() {
            return Ok(if ty == "boolean" { Value::Bool(false) } else { Value::Null });
        }
        match ty {
            "String" | "GString" | "CharSequence" => Ok(Value::from(self.text(&value))),
            "boolean" | "Boolean" => Ok(Value::Bool(self.truth(&value))),
            "int" | "Integer" | "long" | "Long" | "short" | "Short" | "byte" | "Byte" | "BigInteger" => {
                self.to_whole(&value, ty)
            }
            "double" | "Double" | "float" | "Float" if compare::is_number(&value) => {
                Ok(Value::Double(compare::double(&value)))
            }
            "double" | "Double" | "float" | "Float" => {
                let text = self.text(&value);
                text.trim().parse().map(Value::Double).map_err(|_| number_error(&text))
            }
            "char" | "Character" => self.char_for(value),
            "BigDecimal" => {
                let text = self.text(&value);
                let number =
                    super::decimal::Decimal::parse(text.trim()).ok_or_else(|| number_error(&text))?;
                Ok(Vm::decimal_value(number))
            }
            "List" | "ArrayList" | "Object[]" | "String[]" | "LinkedList" | "Collection" => {
                if self.list_items(&value).is_some() && !matches!(value, Value::Range(..)) {
                    return Ok(value);
                }
                let items = self.items(&value)?;
                Ok(self.heap.list(items))
            }
            "Set" | "LinkedHashSet" | "HashSet" | "TreeSet"
                if matches!(self.heap.object(&value), Some(Object::Set(_))) =>
            {
                Ok(value)
            }
            "Set" | "LinkedHashSet" | "HashSet" | "TreeSet" => {
                let mut items = self.items(&value)?;
                if ty == "TreeSet" {
                    items = self.sorted(items)?;
                }
                Ok(self.set_of(items))
            }
            "Pattern" => Ok(Value::Pattern(self.regex(&value)?)),
            ty if self.program.image.class(ty).is_some() && !self.instance_of(&value, ty) => {
                if let Some(constant) = self.class_constant(ty, &self.text(&value)) {
                    return Ok(constant);
                }
                Err(self.cast_error(&value, ty))
            }
            _ => Ok(value),
        }
    }

    fn to_whole(&self, value: &Value, ty: &str) -> Result<Value, Fault> {
        match value {
            Value::Str(text) => super::coerce::parsed(text, 10, ty),
            value => super::coerce::narrowed(value, ty).ok_or_else(|| self.cast_error(value, ty)),
        }
    }

    /// What an operation over all of a value costs, in instructions.
    pub(crate) fn weight(&self, value: &Value) -> u64 {
        let len = match value {
            Value::Str(text) => text.len() / 64,
            value => match self.heap.object(value) {
                Some(Object::List(items)) => items.len() / 4,
                Some(Object::Map(map) | Object::Set(map)) => map.len() / 4,
                Some(Object::Builder(text)) => text.len() / 64,
                _ => 0,
            },
        };
        len as u64
    }

    /// In natural order; equal ones keep their places.
    pub(crate) fn sorted(&mut self, mut items: Vec<Value>) -> Result<Vec<Value>, Fault> {
        self.heap.work += items.len() as u64 * u64::from(items.len().max(1).ilog2()) / 2;
        let mut failed = None;
        items.sort_by(|a, b| {
            self.compare(a, b).unwrap_or_else(|fault| {
                failed.get_or_insert(fault);
                std::cmp::Ordering::Equal
            })
        });
        failed.map_or(Ok(items), Err)
    }

    pub(crate) fn map_from(&mut self, pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
        let mut map = OrderedMap::default();
        for (name, value) in pairs {
            map.put_str(&name, value);
        }
        self.heap.add(Object::Map(map))
    }
}

pub(crate) fn number_error(text: &str) -> Fault {
    Fault::new(class::NUMBER, format!("For input string: \"{text}\""))
}

/// Where an index that may count from the end stands.
pub(crate) fn position(at: i64, len: usize) -> Option<usize> {
    let at = if at < 0 { at + i64::try_from(len).unwrap_or(0) } else { at };
    usize::try_from(at).ok()
}

/// The places that a range stands for, in its direction; an end below 0 counts from the back.
fn span(from: i64, to: i64, len: usize) -> Option<Box<dyn Iterator<Item = usize>>> {
    let inside = |at| position(at, len).filter(|at| *at < len);
    let (from, to) = (inside(from)?, inside(to)?);
    Some(if from <= to { Box::new(from..=to) } else { Box::new((to..=from).rev()) })
}

fn element(items: &[Value], index: &Value) -> Value {
    let at = compare::whole(index).and_then(|at| position(at, items.len()));
    at.and_then(|at| items.get(at)).cloned().unwrap_or(Value::Null)
}

fn char_at(chars: &[char], at: i64) -> Result<char, Fault> {
    let found = position(at, chars.len()).and_then(|at| chars.get(at)).copied();
    found.ok_or_else(|| Fault::new(class::STRING_BOUNDS, format!("String index out of range: {at}")))
}

impl Vm {
    /// A constant of an enum, made when it is first asked for.
    pub(crate) fn class_constant(&mut self, class: &str, name: &str) -> Option<Value> {
        let def = self.program.image.class(class)?;
        let ordinal = def.constants.iter().position(|c| &**c == name)?;
        let (class, name) = (def.name.clone(), def.constants[ordinal].clone());
        if let Some(value) = self.statics.get(&(class.clone(), name.clone())) {
            return Some(value.clone());
        }
        let mut fields = OrderedMap::default();
        fields.put_str("$name", Value::Str(name.clone()));
        fields.put_str("$ordinal", Value::from(ordinal));
        let instance = super::value::Instance { class: Arc::clone(&class), fields, thrown: None };
        let value = self.heap.add(Object::Instance(instance));
        self.statics.insert((class, name), value.clone());
        Some(value)
    }
}
