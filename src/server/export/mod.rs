//! What `api/json` and its like are made of: a selection that says what is wanted, and values that are built to it.
//!
//! Whoever builds an object asks the [`Select`] first and looks up only what that wants, so an answer costs no more
//! than what is in it.

mod json;
mod select;
#[cfg(test)]
mod tests;
mod xml;
mod xpath;

use std::borrow::Cow;

pub(crate) use json::write as write_json;
pub(crate) use select::Select;
pub(crate) use xml::{Element, document, escape as escape_xml};
pub(crate) use xpath::Found;
pub(crate) use xpath::{exclude, find as find_xpath};

/// How an export is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Python,
    Xml,
}

impl Format {
    pub(crate) fn parse(text: &str) -> Option<Format> {
        match text {
            "json" => Some(Format::Json),
            "python" => Some(Format::Python),
            "xml" => Some(Format::Xml),
            _ => None,
        }
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json;charset=UTF-8",
            Format::Python => "text/x-python;charset=UTF-8",
            Format::Xml => "application/xml;charset=UTF-8",
        }
    }
}

/// A value of an export.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Text(Cow<'static, str>),
    List(Vec<Value>),
    Object(Object),
}

/// An object of an export; its properties in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Object {
    /// `_class`; `None` where the class is plain from the context.
    pub(crate) class: Option<&'static str>,
    pub(crate) properties: Vec<(Cow<'static, str>, Value)>,
}

/// An object being built to a selection.
pub(crate) struct Shape<'a> {
    select: &'a Select,
    object: Object,
}

/// Default visibility of a property.
pub(crate) const PLAIN: i32 = 1;
/// Of what is shown of every object, however deep.
pub(crate) const ALWAYS: i32 = 999;

impl<'a> Shape<'a> {
    pub(crate) fn new(class: &'static str, select: &'a Select) -> Shape<'a> {
        Shape { select, object: Object { class: Some(class), properties: Vec::new() } }
    }

    /// An object without `_class`.
    pub(crate) fn plain(select: &'a Select) -> Shape<'a> {
        Shape { select, object: Object::default() }
    }

    /// What is wanted of the property; `None` when it is not.
    pub(crate) fn wants(&self, name: &str, visibility: i32) -> Option<Select> {
        self.select.child(name, visibility)
    }

    /// As `wants`, for a property whose objects count as part of this one.
    pub(crate) fn wants_inline(&self, name: &str, visibility: i32) -> Option<Select> {
        self.select.inline(name, visibility)
    }

    /// A value that costs nothing to find.
    pub(crate) fn put(&mut self, name: &'static str, visibility: i32, value: impl Into<Value>) -> &mut Self {
        if self.wants(name, visibility).is_some() {
            self.set(name, value);
        }
        self
    }

    /// A value that was asked for.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) -> &mut Self {
        self.object.properties.push((Cow::Borrowed(name), value.into()));
        self
    }

    pub(crate) fn done(self) -> Value {
        Value::Object(self.object)
    }
}

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Value {
        Value::Text(Cow::Owned(text.into()))
    }

    /// An object without properties, as Jenkins writes what is not exported.
    pub(crate) fn empty() -> Value {
        Value::Object(Object::default())
    }

    /// How many values this is made of.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> usize {
        1 + match self {
            Value::List(items) => items.iter().map(Value::weight).sum(),
            Value::Object(object) => object.properties.iter().map(|(_, v)| v.weight()).sum(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) => 0usize,
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Value {
        Value::Int(i64::from(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Value {
        Value::from(value as u64)
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Value {
        Value::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Value {
        Value::Text(Cow::Owned(value))
    }
}

impl From<Vec<Value>> for Value {
    fn from(value: Vec<Value>) -> Value {
        Value::List(value)
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}
