//! The text format, written by hand: these names do not keep Prometheus' conventions.

use std::fmt::Write as _;

use meter::escaped;

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _infallible = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// `labels` as they are written, without the braces; empty for none.
    pub(super) fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _infallible = match labels.is_empty() {
            true => writeln!(self.0, "{name} {value}"),
            false => writeln!(self.0, "{name}{{{labels}}} {value}"),
        };
    }

    /// A gauge without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.sample(name, "", float(value));
    }

    pub(super) fn end(self) -> String {
        self.0
    }
}

/// For exact values below 2^53, as Prometheus has all of them.
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

pub(super) fn label(key: &str, value: &str) -> String {
    format!("{key}=\"{}\"", escaped(value))
}
