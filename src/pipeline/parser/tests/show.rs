//! Writes a tree in one line, so that a test can say what it expects.

use crate::ast::{Arguments, Expr, ExprKind, Function, Parameter, Part, Script, Stmt, StmtKind};

pub(super) fn script(script: &Script) -> String {
    let mut lines: Vec<String> = script.classes.iter().map(class).collect();
    lines.extend(script.functions.iter().map(function));
    lines.extend(script.statements.iter().map(stmt));
    lines.join("; ")
}

fn class(class: &crate::ast::Class) -> String {
    let mut members: Vec<String> = class.constants.clone();
    members.extend(class.fields.iter().map(|f| match &f.value {
        Some(value) => format!("{} = {}", f.name, expr(value)),
        None => f.name.clone(),
    }));
    members.extend(class.methods.iter().map(function));
    let extends = class.extends.as_ref().map(|e| format!(" : {e}")).unwrap_or_default();
    format!("class {}{extends} {{{}}}", class.name, members.join("; "))
}

fn function(f: &Function) -> String {
    let is_static = if f.is_static { "static " } else { "" };
    format!("{is_static}def {}({}) {}", f.name, parameters(&f.parameters), block(&f.body))
}

fn parameters(parameters: &[Parameter]) -> String {
    let one = |p: &Parameter| {
        let ty = p.ty.as_ref().map(|t| format!("{t} ")).unwrap_or_default();
        let dots = if p.varargs { "..." } else { "" };
        let default = p.default.as_ref().map(|d| format!(" = {}", expr(d))).unwrap_or_default();
        format!("{ty}{dots}{}{default}", p.name)
    };
    parameters.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn block(statements: &[Stmt]) -> String {
    format!("{{{}}}", statements.iter().map(stmt).collect::<Vec<_>>().join("; "))
}

fn stmt(stmt: &Stmt) -> String {
    let labelled = |label: &Option<String>| label.as_ref().map(|l| format!("{l}: ")).unwrap_or_default();
    let jump = |word: &str, label: &Option<String>| match label {
        Some(label) => format!("{word} {label}"),
        None => word.to_owned(),
    };
    match &stmt.kind {
        StmtKind::Expr(value) => expr(value),
        StmtKind::Define { names, tuple, value } => {
            let name = |l: &crate::ast::Local| match &l.ty {
                Some(ty) => format!("{ty} {}", l.name),
                None => l.name.clone(),
            };
            let names = names.iter().map(name).collect::<Vec<_>>().join(", ");
            let names = if *tuple { format!("({names})") } else { names };
            match value {
                Some(value) => format!("def {names} = {}", expr(value)),
                None => format!("def {names}"),
            }
        }
        StmtKind::Field { name, value } => {
            let ty = name.ty.as_ref().map(|ty| format!("{ty} ")).unwrap_or_default();
            let value = value.as_ref().map(|value| format!(" = {}", expr(value))).unwrap_or_default();
            format!("field {ty}{}{value}", name.name)
        }
        StmtKind::If { condition, then, otherwise } => {
            format!("if {} {} else {}", expr(condition), block(then), block(otherwise))
        }
        StmtKind::While { label, condition, body, body_first } => {
            let word = if *body_first { "do-while" } else { "while" };
            format!("{}{word} {} {}", labelled(label), expr(condition), block(body))
        }
        StmtKind::ForIn { label, variable, iterable, body } => {
            format!("{}for {variable} in {} {}", labelled(label), expr(iterable), block(body))
        }
        StmtKind::For { label, init, condition, update, body } => format!(
            "{}for {} {} {} {}",
            labelled(label),
            block(init),
            condition.as_ref().map(expr).unwrap_or_default(),
            list(update),
            block(body)
        ),
        StmtKind::Switch { subject, cases } => {
            let cases: Vec<String> = cases
                .iter()
                .map(|c| {
                    let value = c.value.as_ref().map_or("default".to_owned(), expr);
                    format!("{value}: {}", block(&c.body))
                })
                .collect();
            format!("switch {} {{{}}}", expr(subject), cases.join(" "))
        }
        StmtKind::Try { body, catches, finally } => {
            let catches: Vec<String> = catches
                .iter()
                .map(|c| format!(" catch ({} {}) {}", c.types.join("|"), c.name, block(&c.body)))
                .collect();
            format!("try {}{} finally {}", block(body), catches.concat(), block(finally))
        }
        StmtKind::Throw(value) => format!("throw {}", expr(value)),
        StmtKind::Return(value) => format!("return {}", value.as_ref().map(expr).unwrap_or_default()),
        StmtKind::Break(label) => jump("break", label),
        StmtKind::Continue(label) => jump("continue", label),
        StmtKind::Block(statements) => format!("block {}", block(statements)),
        StmtKind::Assert { condition, message, source } => {
            let message = message.as_ref().map(expr).unwrap_or_default();
            format!("assert {} <{source}> {message}", expr(condition))
        }
    }
}

fn list(values: &[Expr]) -> String {
    values.iter().map(expr).collect::<Vec<_>>().join(", ")
}

fn pairs(pairs: &[(Expr, Expr)]) -> String {
    pairs.iter().map(|(k, v)| format!("{}: {}", expr(k), expr(v))).collect::<Vec<_>>().join(", ")
}

fn arguments(arguments: &Arguments) -> String {
    let both = [list(&arguments.positional), pairs(&arguments.named)];
    both.iter().filter(|s| !s.is_empty()).cloned().collect::<Vec<_>>().join(", ")
}

/// A member's name: plain when it is a `Str`.
fn name(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Str(name) => name.clone(),
        _ => expr(value),
    }
}

pub(super) fn expr(value: &Expr) -> String {
    match &value.kind {
        ExprKind::Null => "null".to_owned(),
        ExprKind::Bool(value) => value.to_string(),
        ExprKind::Int(value) => value.to_string(),
        ExprKind::Long(value) => format!("{value}L"),
        ExprKind::Double(value) => format!("{value}D"),
        ExprKind::Decimal(text) => format!("{text}d"),
        ExprKind::Str(text) => format!("{text:?}"),
        ExprKind::GString(parts) => {
            let part = |p: &Part| match p {
                Part::Text(text) => format!("{text:?}"),
                Part::Expr(value) => format!("${{{}}}", expr(value)),
            };
            format!("g({})", parts.iter().map(part).collect::<Vec<_>>().join(" "))
        }
        ExprKind::List(items) => format!("[{}]", list(items)),
        ExprKind::Map(entries) if entries.is_empty() => "[:]".to_owned(),
        ExprKind::Map(entries) => format!("[{}]", pairs(entries)),
        ExprKind::Range { from, to, inclusive } => {
            format!("({}{}{})", expr(from), if *inclusive { ".." } else { "..<" }, expr(to))
        }
        ExprKind::Name(name) => name.clone(),
        ExprKind::This => "this".to_owned(),
        ExprKind::Super => "super".to_owned(),
        ExprKind::Property { object, name: n, safe, spread } => {
            format!("{}{}{}", expr(object), dot(*safe, *spread), name(n))
        }
        ExprKind::Index { object, index, .. } => format!("{}[{}]", expr(object), expr(index)),
        ExprKind::Call { object, name: n, arguments: a, safe, spread } => {
            let object =
                object.as_ref().map(|o| format!("{}{}", expr(o), dot(*safe, *spread))).unwrap_or_default();
            format!("{object}{}({})", name(n), arguments(a))
        }
        ExprKind::CallValue { callee, arguments: a } => format!("<{}>({})", expr(callee), arguments(a)),
        ExprKind::New { class, arguments: a } => format!("new {class}({})", arguments(a)),
        ExprKind::Closure { parameters: None, body } => block(body),
        ExprKind::Closure { parameters: Some(p), body } => format!("|{}| {}", parameters(p), block(body)),
        ExprKind::Unary { op, operand } => format!("{op:?}({})", expr(operand)),
        ExprKind::Step { target, increment, prefix } => {
            let op = if *increment { "++" } else { "--" };
            if *prefix { format!("{op}{}", expr(target)) } else { format!("{}{op}", expr(target)) }
        }
        ExprKind::Binary { op, left, right } => format!("({} {op:?} {})", expr(left), expr(right)),
        ExprKind::Assign { target, op, value } => {
            let op = op.map(|op| format!("{op:?}")).unwrap_or_default();
            format!("{} {op}= {}", expr(target), expr(value))
        }
        ExprKind::Ternary { condition, then: Some(then), otherwise } => {
            format!("({} ? {} : {})", expr(condition), expr(then), expr(otherwise))
        }
        ExprKind::Ternary { condition, then: None, otherwise } => {
            format!("({} ?: {})", expr(condition), expr(otherwise))
        }
        ExprKind::InstanceOf { value, ty, negated } => {
            format!("({} {}is {ty})", expr(value), if *negated { "!" } else { "" })
        }
        ExprKind::Cast { value, ty } => format!("({} as {ty})", expr(value)),
        ExprKind::MethodPointer { object, name } => format!("{}.&{name}", expr(object)),
        ExprKind::Spread(value) => format!("*{}", expr(value)),
    }
}

fn dot(safe: bool, spread: bool) -> &'static str {
    if spread {
        "*."
    } else if safe {
        "?."
    } else {
        "."
    }
}
