//! Operators: assignment, `?:`, the binary ones by precedence, the prefix ones, casts.

use super::{Parsed, Parser, expr};
use crate::ast::{BinaryOp, Expr, ExprKind, Pos, UnaryOp};
use crate::lexer::Tok;

const NOT_ASSIGNABLE: &str =
    "the left side of an assignment is neither a variable nor a property nor an element";

/// What stands between two operands.
#[derive(Clone, Copy, PartialEq)]
enum Infix {
    Binary(BinaryOp),
    Range { inclusive: bool },
    InstanceOf { negated: bool },
    As,
}

/// Operands, and the operators between them that wait for a weaker one; one operand more than operators.
struct Pending {
    operands: Vec<Expr>,
    operators: Vec<(u8, Infix)>,
}

impl Pending {
    /// Joins the last two operands.
    fn reduce(&mut self) {
        let Some((_, infix)) = self.operators.pop() else { return };
        let (Some(right), Some(left)) = (self.operands.pop(), self.operands.pop()) else { return };
        let (pos, left, right) = (left.pos, Box::new(left), Box::new(right));
        let kind = match infix {
            Infix::Range { inclusive } => ExprKind::Range { from: left, to: right, inclusive },
            Infix::Binary(op) => ExprKind::Binary { op, left, right },
            // These take a type, not an operand, and never wait.
            Infix::InstanceOf { .. } | Infix::As => return,
        };
        self.operands.push(expr(pos, kind));
    }

    /// Applies `as` or `instanceof` to the last operand.
    fn typed(&mut self, infix: Infix, ty: String) {
        let Some(left) = self.operands.pop() else { return };
        let (pos, value) = (left.pos, Box::new(left));
        let kind = match infix {
            Infix::InstanceOf { negated } => ExprKind::InstanceOf { value, ty, negated },
            Infix::As | Infix::Binary(_) | Infix::Range { .. } => ExprKind::Cast { value, ty },
        };
        self.operands.push(expr(pos, kind));
    }
}

impl Parser<'_> {
    /// One expression, calls with parentheses.
    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        let outer = self.enter()?;
        let value = self.assignment(false)?;
        self.leave(outer);
        Ok(value)
    }

    /// `command`: a call without parentheses may stand here.
    pub(super) fn assignment(&mut self, command: bool) -> Parsed<Expr> {
        let left = self.ternary()?;
        if command && is_path(&left) && self.at_command(&left) {
            let left = self.command(left)?;
            return self.assigned(left, command);
        }
        self.assigned(left, command)
    }

    /// What follows the left side of an assignment, if it is one.
    fn assigned(&mut self, left: Expr, command: bool) -> Parsed<Expr> {
        let Some(op) = assign_op(self.peek()) else { return Ok(left) };
        if !assignable(&left) {
            return Err(self.error(NOT_ASSIGNABLE));
        }
        self.next();
        self.skip_newlines();
        let value = if command { self.expression_statement() } else { self.expression() };
        let (pos, target, value) = (left.pos, Box::new(left), Box::new(value?));
        Ok(expr(pos, ExprKind::Assign { target, op, value }))
    }

    fn at_command(&self, head: &Expr) -> bool {
        match head.kind {
            // `a(b) c d`: only a name goes on with what a call gave.
            ExprKind::Call { .. } | ExprKind::CallValue { .. } => {
                matches!(self.peek(), Tok::Name(_)) && self.at_argument()
            }
            _ => self.at_argument() || self.at_key() || self.at_string_key(),
        }
    }

    fn ternary(&mut self) -> Parsed<Expr> {
        let condition = self.binary()?;
        match self.after_newlines() {
            Tok::Punct("?" | "?:") => self.alternatives(condition),
            _ => Ok(condition),
        }
    }

    /// `? then : otherwise`, `?: otherwise`
    fn alternatives(&mut self, condition: Expr) -> Parsed<Expr> {
        self.skip_newlines();
        let pos = condition.pos;
        let condition = Box::new(condition);
        let then = if self.eat("?:") { None } else { Some(self.then()?) };
        self.skip_newlines();
        let otherwise = self.alternative()?;
        Ok(expr(pos, ExprKind::Ternary { condition, then, otherwise }))
    }

    /// `? then :`
    fn then(&mut self) -> Parsed<Box<Expr>> {
        self.expect("?")?;
        self.skip_newlines();
        let then = self.expression()?;
        self.skip_newlines();
        self.expect(":")?;
        Ok(Box::new(then))
    }

    fn alternative(&mut self) -> Parsed<Box<Expr>> {
        let outer = self.enter()?;
        let value = Box::new(self.ternary()?);
        self.leave(outer);
        Ok(value)
    }

    /// Binary operators: operands and operators wait on a stack, so that precedence costs no recursion.
    fn binary(&mut self) -> Parsed<Expr> {
        let left = self.unary()?;
        if self.infix().is_none() {
            return Ok(left);
        }
        let mut pending = Pending { operands: vec![left], operators: Vec::new() };
        while let Some((level, infix)) = self.infix() {
            while pending.operators.last().is_some_and(|(waiting, _)| *waiting >= level) {
                pending.reduce();
            }
            self.next();
            if matches!(infix, Infix::InstanceOf { negated: true } | Infix::Binary(BinaryOp::NotIn)) {
                self.next();
            }
            self.skip_newlines();
            self.grow()?;
            match infix {
                Infix::InstanceOf { .. } | Infix::As => pending.typed(infix, self.type_name()?),
                Infix::Binary(_) | Infix::Range { .. } => {
                    pending.operators.push((level, infix));
                    pending.operands.push(self.unary()?);
                }
            }
        }
        while !pending.operators.is_empty() {
            pending.reduce();
        }
        pending.operands.pop().ok_or_else(|| self.unexpected())
    }

    /// The operator that stands here and how strongly it binds.
    fn infix(&self) -> Option<(u8, Infix)> {
        let found = match self.peek() {
            Tok::Name(word) => match word.as_str() {
                "in" => (8, Infix::Binary(BinaryOp::In)),
                "instanceof" => (8, Infix::InstanceOf { negated: false }),
                "as" => (8, Infix::As),
                _ => return None,
            },
            Tok::Punct("!") if self.negated_operator(0) => match &self.token(1).tok {
                Tok::Name(word) if word == "in" => (8, Infix::Binary(BinaryOp::NotIn)),
                _ => (8, Infix::InstanceOf { negated: true }),
            },
            Tok::Punct("..") => (9, Infix::Range { inclusive: true }),
            Tok::Punct("..<") => (9, Infix::Range { inclusive: false }),
            Tok::Punct(punct) => {
                let (level, op) = binary_op(punct)?;
                (level, Infix::Binary(op))
            }
            _ => return None,
        };
        Some(found)
    }

    /// Prefix operators and casts, then `**`.
    pub(super) fn unary(&mut self) -> Parsed<Expr> {
        match self.peek() {
            Tok::Punct("!") => self.prefixed(UnaryOp::Not),
            Tok::Punct("~") => self.prefixed(UnaryOp::BitNot),
            Tok::Punct("-") => self.prefixed(UnaryOp::Minus),
            Tok::Punct("+") => self.prefixed(UnaryOp::Plus),
            Tok::Punct("++" | "--") => self.prefix_step(),
            Tok::Punct("(") if self.at_cast() => self.cast(),
            _ => {
                let base = self.postfix()?;
                if self.at("**") { self.power(base) } else { Ok(base) }
            }
        }
    }

    fn prefixed(&mut self, op: UnaryOp) -> Parsed<Expr> {
        let pos = self.pos();
        let outer = self.enter()?;
        self.next();
        let operand = self.unary()?;
        self.leave(outer);
        let value = negative(pos, op, operand);
        if matches!(op, UnaryOp::Not | UnaryOp::BitNot) { self.power(value) } else { Ok(value) }
    }

    fn prefix_step(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        let increment = self.at("++");
        let outer = self.enter()?;
        self.next();
        let target = self.unary()?;
        self.leave(outer);
        if !assignable(&target) {
            return Err(
                self.refuse(pos, "only a variable, a property or an element can be counted up or down")
            );
        }
        Ok(expr(pos, ExprKind::Step { target: Box::new(target), increment, prefix: true }))
    }

    fn cast(&mut self) -> Parsed<Expr> {
        let pos = self.pos();
        let outer = self.enter()?;
        self.next();
        let ty = self.type_name()?;
        self.expect(")")?;
        let value = Box::new(self.unary()?);
        self.leave(outer);
        Ok(expr(pos, ExprKind::Cast { value, ty }))
    }

    /// `base ** exponent`, which binds more strongly than a sign before it.
    fn power(&mut self, mut base: Expr) -> Parsed<Expr> {
        while self.eat("**") {
            self.skip_newlines();
            self.grow()?;
            let right = self.exponent()?;
            let (pos, left) = (base.pos, Box::new(base));
            base = expr(pos, ExprKind::Binary { op: BinaryOp::Pow, left, right });
        }
        Ok(base)
    }

    fn exponent(&mut self) -> Parsed<Box<Expr>> {
        let outer = self.enter()?;
        let exponent = match self.peek() {
            Tok::Punct("-" | "+" | "!" | "~" | "++" | "--") => self.unary(),
            Tok::Punct("(") if self.at_cast() => self.cast(),
            _ => self.postfix(),
        };
        self.leave(outer);
        exponent.map(Box::new)
    }
}

/// A sign before a number is part of it.
fn negative(pos: Pos, op: UnaryOp, operand: Expr) -> Expr {
    let kind = match (op, operand.kind) {
        (UnaryOp::Minus, ExprKind::Int(value)) if value >= 0 => ExprKind::Int(-value),
        (UnaryOp::Minus, ExprKind::Long(value)) if value >= 0 => ExprKind::Long(-value),
        (UnaryOp::Minus, ExprKind::Double(value)) => ExprKind::Double(-value),
        (UnaryOp::Minus, ExprKind::Decimal(text)) if text == "9223372036854775808" => ExprKind::Int(i64::MIN),
        (UnaryOp::Minus, ExprKind::Decimal(text)) if !text.starts_with('-') => {
            ExprKind::Decimal(format!("-{text}"))
        }
        (op, kind) => ExprKind::Unary { op, operand: Box::new(expr(operand.pos, kind)) },
    };
    expr(pos, kind)
}

/// Whether a call without parentheses can begin with this.
fn is_path(value: &Expr) -> bool {
    matches!(
        value.kind,
        ExprKind::Name(_)
            | ExprKind::Property { .. }
            | ExprKind::Call { .. }
            | ExprKind::CallValue { .. }
            | ExprKind::Index { .. }
    )
}

pub(super) fn assignable(value: &Expr) -> bool {
    matches!(value.kind, ExprKind::Name(_) | ExprKind::Property { .. } | ExprKind::Index { .. })
}

/// The operator that an assignment applies first, if this is an assignment.
fn assign_op(tok: &Tok) -> Option<Option<BinaryOp>> {
    let Tok::Punct(punct) = tok else { return None };
    let op = match *punct {
        "=" => return Some(None),
        "?=" => BinaryOp::Elvis,
        "**=" => BinaryOp::Pow,
        "==" | "!=" | "<=" | ">=" => return None,
        other => binary_op(other.strip_suffix('=')?)?.1,
    };
    Some(Some(op))
}

fn binary_op(punct: &str) -> Option<(u8, BinaryOp)> {
    Some(match punct {
        "||" => (1, BinaryOp::Or),
        "&&" => (2, BinaryOp::And),
        "|" => (3, BinaryOp::BitOr),
        "^" => (4, BinaryOp::BitXor),
        "&" => (5, BinaryOp::BitAnd),
        "=~" => (6, BinaryOp::Find),
        "==~" => (6, BinaryOp::Match),
        "==" => (7, BinaryOp::Equal),
        "!=" => (7, BinaryOp::NotEqual),
        "===" => (7, BinaryOp::Identical),
        "!==" => (7, BinaryOp::NotIdentical),
        "<=>" => (7, BinaryOp::Compare),
        "<" => (8, BinaryOp::Less),
        "<=" => (8, BinaryOp::LessEqual),
        ">" => (8, BinaryOp::Greater),
        ">=" => (8, BinaryOp::GreaterEqual),
        "<<" => (9, BinaryOp::ShiftLeft),
        ">>" => (9, BinaryOp::ShiftRight),
        ">>>" => (9, BinaryOp::ShiftRightUnsigned),
        "+" => (10, BinaryOp::Add),
        "-" => (10, BinaryOp::Sub),
        "*" => (11, BinaryOp::Mul),
        "/" => (11, BinaryOp::Div),
        "%" => (11, BinaryOp::Rem),
        _ => return None,
    })
}
