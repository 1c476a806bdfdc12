//! JSON, and Python that `ast.literal_eval` reads.

use super::{Format, Object, Value};

/// The value as text. `pretty` as Stapler indents.
pub(crate) fn write(value: &Value, format: Format, pretty: bool) -> String {
    let mut writer = Writer { out: String::new(), python: format == Format::Python, pretty, indent: 0 };
    writer.value(value);
    writer.out
}

struct Writer {
    out: String,
    python: bool,
    pretty: bool,
    indent: usize,
}

impl Writer {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push_str(if self.python { "None" } else { "null" }),
            Value::Bool(flag) => self.out.push_str(match (*flag, self.python) {
                (true, true) => "True",
                (false, true) => "False",
                (true, false) => "true",
                (false, false) => "false",
            }),
            Value::Int(number) => self.out.push_str(&number.to_string()),
            Value::Text(text) => self.text(text),
            Value::List(items) => self.list(items),
            Value::Object(object) => self.object(object),
        }
    }

    fn list(&mut self, items: &[Value]) {
        self.open('[');
        for (index, item) in items.iter().enumerate() {
            self.next(index);
            self.value(item);
        }
        self.close(']');
    }

    fn object(&mut self, object: &Object) {
        self.open('{');
        let mut index = 0;
        if let Some(class) = object.class {
            self.next(index);
            self.key("_class");
            self.text(class);
            index += 1;
        }
        for (name, value) in &object.properties {
            self.next(index);
            self.key(name);
            self.value(value);
            index += 1;
        }
        self.close('}');
    }

    fn key(&mut self, name: &str) {
        self.text(name);
        self.out.push_str(if self.pretty { " : " } else { ":" });
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.indent += 1;
    }

    fn next(&mut self, index: usize) {
        if index > 0 {
            self.out.push(',');
        }
        self.line();
    }

    fn close(&mut self, bracket: char) {
        self.indent -= 1;
        self.line();
        self.out.push(bracket);
    }

    fn line(&mut self) {
        if self.pretty {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", self.indent));
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => {
                    self.out.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}
