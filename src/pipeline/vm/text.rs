//! Values as text, the way Groovy prints them.

use super::Vm;
use super::compare::DEPTH;
use super::value::{Global, HEAP_LIMIT, Object, Value};
use crate::library::{classes, date};

#[derive(Clone, Copy, PartialEq)]
enum Style {
    Groovy,
    /// As `inspect()` shows it: texts in quotes.
    Quoted,
    /// As `String.valueOf` shows it: `{a=1}` for a map.
    Java,
}

impl Vm {
    pub(crate) fn text(&self, value: &Value) -> String {
        if let Value::Str(text) = value {
            return text.to_string();
        }
        let mut out = String::new();
        self.write(value, Style::Groovy, 0, &mut out);
        out
    }

    /// As `inspect()` shows it: texts in quotes.
    pub(crate) fn inspected(&self, value: &Value) -> String {
        let mut out = String::new();
        self.write(value, Style::Quoted, 0, &mut out);
        out
    }

    /// As `println` shows it.
    pub(crate) fn text_of_java(&self, value: &Value) -> String {
        let mut out = String::new();
        self.write(value, Style::Java, 0, &mut out);
        out
    }

    fn write(&self, value: &Value, style: Style, depth: u32, out: &mut String) {
        if depth > DEPTH || out.len() > HEAP_LIMIT {
            return out.push('…');
        }
        match value {
            Value::Null | Value::Absent => out.push_str("null"),
            Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Int(number) => out.push_str(&number.to_string()),
            Value::Long(number) => out.push_str(&number.to_string()),
            Value::Double(number) => out.push_str(&double(*number)),
            Value::Decimal(number) => out.push_str(&number.to_string()),
            Value::Str(text) if style == Style::Quoted => {
                out.push('\'');
                out.push_str(&text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n"));
                out.push('\'');
            }
            Value::Str(text) => out.push_str(text),
            Value::Range(from, to) if style == Style::Java => out.push_str(&format!("{from}..{to}")),
            Value::Range(from, to) => {
                for (at, item) in
                    super::object::range_items(*from, (*to).clamp(from - 100_000, from + 100_000))
                        .iter()
                        .enumerate()
                {
                    out.push_str(if at == 0 { "[" } else { ", " });
                    self.write(item, style, depth + 1, out);
                }
                out.push(']');
            }
            Value::Class(name) => {
                out.push_str("class ");
                out.push_str(&self.full_name(name));
            }
            Value::Pattern(regex) => out.push_str(&regex.source),
            Value::Global(global) => out.push_str(match global {
                Global::Script => "WorkflowScript",
                Global::Env => "env",
                Global::CurrentBuild | Global::Earlier(_) => "currentBuild",
                Global::Scm => "scm",
                Global::Steps => "steps",
            }),
            Value::Ref(at) => self.write_object(self.heap.get(*at), style, depth, out),
        }
    }

    fn write_object(&self, object: &Object, style: Style, depth: u32, out: &mut String) {
        match object {
            Object::List(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    self.write(item, style, depth + 1, out);
                }
                out.push(']');
            }
            Object::Set(set) => {
                out.push('[');
                for (at, (item, _)) in set.iter().enumerate() {
                    if at > 0 {
                        out.push_str(", ");
                    }
                    self.write(item, style, depth + 1, out);
                }
                out.push(']');
            }
            Object::Map(map) if style == Style::Java => {
                out.push('{');
                for (at, (key, value)) in map.iter().enumerate() {
                    out.push_str(if at == 0 { "" } else { ", " });
                    self.write(key, style, depth + 1, out);
                    out.push('=');
                    self.write(value, style, depth + 1, out);
                }
                out.push('}');
            }
            Object::Map(map) if map.is_empty() => out.push_str("[:]"),
            Object::Map(map) => {
                for (at, (key, value)) in map.iter().enumerate() {
                    out.push_str(if at == 0 { "[" } else { ", " });
                    self.write(key, style, depth + 1, out);
                    out.push(':');
                    self.write(value, style, depth + 1, out);
                }
                out.push(']');
            }
            Object::Entry(key, value) => {
                self.write(key, style, depth + 1, out);
                out.push('=');
                self.write(value, style, depth + 1, out);
            }
            Object::Instance(instance) if *instance.class == *date::CLASS => {
                out.push_str(&date::shown(instance))
            }
            Object::Instance(instance) => match (&instance.thrown, instance.fields.get_str("$name")) {
                (Some(thrown), _) => {
                    out.push_str(&instance.class);
                    if let Some(message) = &thrown.message {
                        out.push_str(": ");
                        out.push_str(message);
                    }
                }
                (None, Some(name)) => self.write(name, Style::Groovy, depth, out),
                (None, None) => {
                    out.push_str(&instance.class);
                    out.push_str("@object");
                }
            },
            Object::Cell(value) => self.write(value, style, depth, out),
            Object::Closure(_) | Object::Pointer(..) => out.push_str("WorkflowScript$_closure"),
            Object::Iterator(_) => out.push_str("iterator"),
            Object::Matcher(matcher) => {
                out.push_str(&format!("java.util.regex.Matcher[pattern={}]", matcher.regex.source));
            }
            Object::Builder(text) => out.push_str(text),
        }
    }

    /// The class of a value, as `getClass().name` says it.
    pub(crate) fn type_name(&self, value: &Value) -> String {
        let name = match value {
            Value::Null | Value::Absent => "null",
            Value::Bool(_) => "java.lang.Boolean",
            Value::Int(_) => "java.lang.Integer",
            Value::Long(_) => "java.lang.Long",
            Value::Double(_) => "java.lang.Double",
            Value::Decimal(_) => "java.math.BigDecimal",
            Value::Str(_) => "java.lang.String",
            Value::Range(..) => "groovy.lang.IntRange",
            Value::Class(_) => "java.lang.Class",
            Value::Pattern(_) => "java.util.regex.Pattern",
            Value::Global(Global::Script) => "WorkflowScript",
            Value::Global(Global::Env) => "org.jenkinsci.plugins.workflow.cps.EnvActionImpl",
            Value::Global(Global::Scm) => "hudson.plugins.git.GitSCM",
            Value::Global(Global::Steps) => "org.jenkinsci.plugins.workflow.cps.DSL",
            Value::Global(_) => "org.jenkinsci.plugins.workflow.support.steps.build.RunWrapper",
            Value::Ref(at) => match self.heap.get(*at) {
                Object::List(_) => "java.util.ArrayList",
                Object::Map(_) => "java.util.LinkedHashMap",
                Object::Set(_) => "java.util.LinkedHashSet",
                Object::Entry(..) => "java.util.LinkedHashMap$Entry",
                Object::Instance(instance) => return instance.class.to_string(),
                Object::Matcher(_) => "java.util.regex.Matcher",
                Object::Builder(_) => "java.lang.StringBuilder",
                Object::Iterator(_) => "java.util.Iterator",
                _ => "org.jenkinsci.plugins.workflow.cps.CpsClosure2",
            },
        };
        name.to_owned()
    }

    pub(crate) fn full_name(&self, class: &str) -> String {
        match self.program.image.class(class) {
            Some(_) => class.to_owned(),
            None => classes::full(class).to_owned(),
        }
    }
}

/// A `Double` always shows a point.
fn double(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if number.is_finite() && (number.abs() >= 1e7 || number != 0.0 && number.abs() < 1e-3) {
        let text = format!("{number:E}");
        return match text.split_once('E') {
            Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
            _ => text,
        };
    }
    if number.fract() == 0.0 { format!("{number:.1}") } else { number.to_string() }
}
