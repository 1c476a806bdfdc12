//! `environment { NAME = value }`

use super::Checker;
use super::section::{Once, Section};
use crate::ast::{BinaryOp, Expr, ExprKind, Stmt, StmtKind};

const VALUES: &str =
    "Environment variable values must either be single quoted, double quoted, or function calls.";
const JOINED: &str = "Environment variable values can only be joined together with '+'s.";

impl Checker<'_> {
    pub(super) fn environment(&mut self, section: &Section<'_>) -> Vec<(String, Expr)> {
        let Some(body) = self.block(section) else { return Vec::new() };
        if body.is_empty() {
            self.error(section.pos, "No variables specified for environment");
        }
        let mut once = Once::default();
        let mut variables = Vec::new();
        for statement in body {
            let Some((name, value)) = pair(statement) else {
                self.error(statement.pos, "Expected name=value pairs");
                continue;
            };
            if !is_identifier(name) {
                self.error(statement.pos, format!("\"{name}\" is not a valid identifier and cannot be used for an environment variable. Identifiers can contain letters, digits and underscores and must not start with a digit."));
            }
            if !once.add(name) {
                self.error(statement.pos, format!("Duplicate environment variable name: \"{name}\""));
            }
            self.environment_value(value);
            variables.push((name.to_owned(), value.clone()));
        }
        variables
    }

    fn environment_value(&mut self, value: &Expr) {
        match &value.kind {
            ExprKind::Binary { op: BinaryOp::Add, left, right } => {
                self.environment_value(left);
                self.environment_value(right);
            }
            ExprKind::Binary { .. } | ExprKind::Ternary { .. } => self.error(value.pos, JOINED),
            ExprKind::Str(_)
            | ExprKind::GString(_)
            | ExprKind::Int(_)
            | ExprKind::Long(_)
            | ExprKind::Double(_)
            | ExprKind::Decimal(_)
            | ExprKind::Bool(_)
            | ExprKind::Call { .. }
            | ExprKind::Name(_)
            | ExprKind::Property { .. } => {}
            _ => self.error(value.pos, VALUES),
        }
    }
}

/// `name = value`
fn pair(statement: &Stmt) -> Option<(&str, &Expr)> {
    let StmtKind::Expr(Expr { kind: ExprKind::Assign { target, op: None, value }, .. }) = &statement.kind
    else {
        return None;
    };
    match &target.kind {
        ExprKind::Name(name) => Some((name, value)),
        _ => None,
    }
}

/// `[a-zA-Z_]\w*`
fn is_identifier(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    first && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
