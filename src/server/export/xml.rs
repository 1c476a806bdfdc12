//! XML of an export, and the element tree that `xpath` and `exclude` look at.

use super::{Object, Value};

/// An element: text or children, as exports have no mixed content.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) class: Option<&'static str>,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

/// The document of an export.
pub(crate) fn document(value: &Value) -> Element {
    let name = match value {
        Value::Object(Object { class: Some(class), .. }) => root_name(class),
        _ => "root".to_owned(),
    };
    element(name, value)
}

/// `hudson.model.Queue$LeftItem` → `leftItem`.
fn root_name(class: &str) -> String {
    let simple = class.rsplit(['.', '$']).next().unwrap_or(class);
    let mut letters = simple.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// `jobs` → `job`, `properties` → `property`.
fn singular(name: &str) -> String {
    match name.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => name.strip_suffix('s').unwrap_or(name).to_owned(),
    }
}

/// What may not stand in a name is dropped.
fn legal(name: &str) -> String {
    let kept: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || "_-.".contains(*c)).collect();
    match kept.chars().next() {
        Some(c) if c.is_ascii_alphabetic() || c == '_' => kept,
        _ => format!("_{kept}"),
    }
}

fn element(name: String, value: &Value) -> Element {
    let mut element = Element { name: legal(&name), ..Element::default() };
    match value {
        Value::Null => {}
        Value::Bool(flag) => element.text = flag.to_string(),
        Value::Int(number) => element.text = number.to_string(),
        Value::Text(text) => element.text = text.clone().into_owned(),
        Value::List(items) => element.children = list("item", items),
        Value::Object(object) => {
            element.class = object.class;
            for (name, value) in &object.properties {
                match value {
                    Value::Null => {}
                    Value::List(items) => element.children.extend(list(&singular(name), items)),
                    value => element.children.push(self::element(name.clone().into_owned(), value)),
                }
            }
        }
    }
    element
}

fn list(name: &str, items: &[Value]) -> Vec<Element> {
    items.iter().map(|item| element(name.to_owned(), item)).collect()
}

impl Element {
    pub(crate) fn write(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        if let Some(class) = self.class {
            out.push_str(" _class='");
            escape(class, out);
            out.push('\'');
        }
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        escape(&self.text, out);
        for child in &self.children {
            child.write(out);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }

    /// All text inside.
    pub(crate) fn content(&self) -> String {
        let mut all = self.text.clone();
        self.children.iter().for_each(|c| all.push_str(&c.content()));
        all
    }
}

/// XML 1.0 cannot carry control characters at all, so they become `?`.
pub(crate) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(c),
            '\r' => out.push_str("&#xd;"),
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => out.push('?'),
            c => out.push(c),
        }
    }
}
