//! Values that have to be known before a build begins.

use super::Checker;
use crate::ast::{BinaryOp, Expr, ExprKind, Part};

/// The text of a constant string, also of `'a' + 'b'` and of a GString without holes.
pub(super) fn text(value: &Expr) -> Option<String> {
    match &value.kind {
        ExprKind::Str(text) => Some(text.clone()),
        ExprKind::GString(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(text.clone()),
                Part::Expr(value) => text(value),
            })
            .collect(),
        ExprKind::Binary { op: BinaryOp::Add, left, right } => Some(text(left)? + &text(right)?),
        _ => None,
    }
}

/// A short name of the type of a literal, for "expecting … but got …".
fn shown(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Str(text) => format!("\"{text}\" of type class java.lang.String"),
        ExprKind::Int(number) => format!("\"{number}\" of type class java.lang.Integer"),
        ExprKind::Long(number) => format!("\"{number}\" of type class java.lang.Long"),
        ExprKind::Bool(flag) => format!("\"{flag}\" of type class java.lang.Boolean"),
        _ => "a value that is known only when the build runs".to_owned(),
    }
}

impl Checker<'_> {
    fn wrong_type(&mut self, value: &Expr, key: &str, wanted: &str) {
        let message =
            format!("Expecting \"{wanted}\" for parameter \"{key}\" but got {} instead", shown(value));
        self.error(value.pos, message);
    }

    pub(super) fn constant_text(&mut self, value: &Expr, key: &str) -> Option<String> {
        let found = text(value);
        if found.is_none() {
            self.wrong_type(value, key, "class java.lang.String");
        }
        found
    }

    pub(super) fn constant_flag(&mut self, value: &Expr, key: &str) -> Option<bool> {
        if let ExprKind::Bool(flag) = value.kind {
            return Some(flag);
        }
        self.wrong_type(value, key, "boolean");
        None
    }

    /// A number, also one in quotes as `numToKeepStr: '5'`; `-1` and `''` are "no limit".
    pub(super) fn constant_limit(&mut self, value: &Expr, key: &str) -> Option<u32> {
        let number = match &value.kind {
            ExprKind::Int(number) | ExprKind::Long(number) => Some(*number),
            _ => match text(value) {
                Some(text) if text.trim().is_empty() => return None,
                Some(text) => text.trim().parse().ok(),
                None => None,
            },
        };
        match number {
            Some(number) if number < 0 => None,
            Some(number) => Some(u32::try_from(number).unwrap_or(u32::MAX)),
            None => {
                self.wrong_type(value, key, "int");
                None
            }
        }
    }
}
