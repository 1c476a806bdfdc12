//! The variables of one `environment { }` in an order in which each finds what it refers to.
//!
//! Jenkins works a variable out when it is asked for. Here they are worked out one after the other, those first
//! that others name; of two that name each other the first does not find the second.

use crate::ast::{Expr, ExprKind, Part};

/// As they were written where nothing speaks against it.
pub(super) fn ordered(pairs: &[(String, Expr)]) -> Vec<&(String, Expr)> {
    let mut seen = vec![false; pairs.len()];
    let mut out = Vec::new();
    for at in 0..pairs.len() {
        visit(pairs, at, &mut seen, &mut out);
    }
    out
}

fn visit<'a>(pairs: &'a [(String, Expr)], at: usize, seen: &mut [bool], out: &mut Vec<&'a (String, Expr)>) {
    if std::mem::replace(&mut seen[at], true) {
        return;
    }
    let mut names = Vec::new();
    references(&pairs[at].1, &mut names);
    for name in names {
        if let Some(other) = pairs.iter().position(|pair| pair.0 == name) {
            visit(pairs, other, seen, out);
        }
    }
    out.push(&pairs[at]);
}

/// Names that the value may read from the environment, bare or as `env.NAME`.
fn references<'a>(value: &'a Expr, names: &mut Vec<&'a str>) {
    let mut all = |values: &mut dyn Iterator<Item = &'a Expr>| values.for_each(|v| references(v, names));
    match &value.kind {
        ExprKind::Name(name) => names.push(name),
        ExprKind::Property { object, name, .. } | ExprKind::Index { object, index: name, .. } => {
            match (&object.kind, &name.kind) {
                (ExprKind::Name(env), ExprKind::Str(name)) if env == "env" => names.push(name),
                (_, ExprKind::Str(_)) => all(&mut [&**object].into_iter()),
                _ => all(&mut [&**object, &**name].into_iter()),
            }
        }
        ExprKind::Str(text) => expanded(text, names),
        ExprKind::GString(parts) => {
            for part in parts {
                match part {
                    Part::Text(text) => expanded(text, names),
                    Part::Expr(value) => references(value, names),
                }
            }
        }
        ExprKind::Binary { left, right, .. } => all(&mut [&**left, &**right].into_iter()),
        ExprKind::Ternary { condition, then, otherwise } => {
            all(&mut [Some(condition), then.as_ref(), Some(otherwise)].into_iter().flatten().map(|v| &**v));
        }
        ExprKind::Call { object, arguments, .. } => {
            all(&mut object.iter().map(|o| &**o));
            let given = arguments.positional.iter().chain(arguments.named.iter().map(|(_, value)| value));
            given.for_each(|v| references(v, names));
        }
        ExprKind::Cast { value, .. } | ExprKind::Unary { operand: value, .. } => references(value, names),
        ExprKind::List(items) => all(&mut items.iter()),
        _ => {}
    }
}

/// `$NAME` and `${NAME}` in a text, which are filled in when the environment is laid over.
fn expanded<'a>(text: &'a str, names: &mut Vec<&'a str>) {
    for part in text.split('$').skip(1) {
        let name = part.strip_prefix('{').unwrap_or(part);
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
        names.push(&name[..end]);
    }
}
