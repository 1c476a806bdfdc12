//! A block as a list of sections: `name arguments { … }`, one a statement.

use std::collections::HashSet;

use super::Checker;
use crate::ast::{Arguments, Expr, ExprKind, Pos, Stmt, StmtKind};

/// A statement that is a plain call: what all of Declarative is made of.
#[derive(Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) pos: Pos,
    pub(super) name: &'a str,
    pub(super) arguments: &'a Arguments,
}

impl<'a> Section<'a> {
    pub(super) fn of(statement: &'a Stmt) -> Option<Self> {
        match &statement.kind {
            StmtKind::Expr(value) => Self::of_expr(value),
            _ => None,
        }
    }

    pub(super) fn of_expr(value: &'a Expr) -> Option<Self> {
        let ExprKind::Call { object: None, name, arguments, .. } = &value.kind else { return None };
        let ExprKind::Str(name) = &name.kind else { return None };
        Some(Self { pos: value.pos, name, arguments })
    }

    /// The statements of `name { … }`, if that is all there is.
    pub(super) fn block(&self) -> Option<&'a [Stmt]> {
        match self.arguments.positional.as_slice() {
            [only] if self.arguments.named.is_empty() => block_of(only),
            _ => None,
        }
    }

    /// The statements of the block at the end, whatever else there is.
    pub(super) fn last_block(&self) -> Option<&'a [Stmt]> {
        self.arguments.positional.last().and_then(block_of)
    }

    /// The value of `name value`, if that is all there is.
    pub(super) fn only(&self) -> Option<&'a Expr> {
        match self.arguments.positional.as_slice() {
            [only] if self.arguments.named.is_empty() => Some(only),
            _ => None,
        }
    }

    /// The argument `key: value`.
    pub(super) fn named(&self, key: &str) -> Option<&'a Expr> {
        self.keys().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// The named arguments with constant names.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Expr)> + use<'a> {
        self.arguments.named.iter().filter_map(|(key, value)| match &key.kind {
            ExprKind::Str(key) => Some((key.as_str(), value)),
            _ => None,
        })
    }
}

pub(super) fn block_of(value: &Expr) -> Option<&[Stmt]> {
    match &value.kind {
        ExprKind::Closure { body, .. } => Some(body),
        _ => None,
    }
}

/// Which sections a block has had.
#[derive(Default)]
pub(super) struct Once(HashSet<String>);

impl Once {
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// False the second time.
    pub(super) fn add(&mut self, name: &str) -> bool {
        self.0.insert(name.to_owned())
    }
}

impl Checker<'_> {
    /// The statements of a block, each of which has to be a call.
    pub(super) fn sections<'a>(&mut self, body: &'a [Stmt], otherwise: &str) -> Vec<Section<'a>> {
        let mut sections = Vec::new();
        for statement in body {
            match (Section::of(statement), &statement.kind) {
                (Some(section), _) => sections.push(section),
                (None, StmtKind::Expr(Expr { kind: ExprKind::Name(name), .. })) => {
                    let message = format!("{otherwise}: \"{name}\". Some extra configuration is required.");
                    self.error(statement.pos, message);
                }
                (None, _) => {
                    self.error(statement.pos, format!("{otherwise}. Some extra configuration is required."));
                }
            }
        }
        sections
    }

    /// The statements of `section { … }`; says so when it is anything else.
    pub(super) fn block<'a>(&mut self, section: &Section<'a>) -> Option<&'a [Stmt]> {
        let block = section.block();
        if block.is_none() {
            self.error(section.pos, format!("Expected a block for {}", section.name));
        }
        block
    }

    /// As `block`, and there has to be something in it.
    pub(super) fn filled_block<'a>(&mut self, section: &Section<'a>) -> Option<&'a [Stmt]> {
        let block = self.block(section)?;
        if block.is_empty() {
            self.error(section.pos, format!("\"{}\" section must not be empty", section.name));
        }
        Some(block)
    }

    pub(super) fn first_time(&mut self, once: &mut Once, section: &Section<'_>) -> bool {
        let first = once.add(section.name);
        if !first {
            self.error(section.pos, format!("Multiple occurrences of the {} section", section.name));
        }
        first
    }

    /// Named arguments have to be among `known`.
    pub(super) fn known_keys(&mut self, section: &Section<'_>, known: &[&str]) {
        for (key, value) in section.keys() {
            if !known.contains(&key) {
                let nearest = known.iter().min_by_key(|k| distance(k, key));
                let hint =
                    nearest.map(|nearest| format!(", did you mean \"{nearest}\"?")).unwrap_or_default();
                self.error(value.pos, format!("Invalid parameter \"{key}\"{hint}"));
            }
        }
    }
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(100).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = row.get(j).copied().unwrap_or(0) + usize::from(x != *y);
            let removed = row.get(j + 1).copied().unwrap_or(0) + 1;
            let added = next.get(j).copied().unwrap_or(0) + 1;
            next.push(replaced.min(removed).min(added));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
