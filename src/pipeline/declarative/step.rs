//! `steps { … }`: outside `script`, every statement is a step.

use super::Checker;
use super::section::{Once, Section, block_of};
use crate::ast::{Expr, ExprKind, Pos, Stmt, StmtKind};

impl Checker<'_> {
    /// Checks the steps of a stage, a branch or a `post` condition: at least one.
    pub(super) fn steps(&mut self, pos: Pos, body: &[Stmt]) {
        if body.is_empty() {
            self.error(pos, "No steps specified for branch");
        }
        let only = body.len() == 1;
        for statement in body {
            match Section::of(statement) {
                Some(step) if step.name == "parallel" && only => self.parallel_step(&step),
                _ => self.step(statement),
            }
        }
    }

    /// One step, and the steps in its block.
    fn step(&mut self, statement: &Stmt) {
        let Some(step) = Section::of(statement) else {
            let message = match &statement.kind {
                StmtKind::Expr(Expr { kind: ExprKind::Call { object: Some(_), .. }, .. }) => {
                    "Method calls on objects not allowed outside \"script\" blocks."
                }
                _ => "Expected a step",
            };
            self.error(statement.pos, message);
            return;
        };
        if let Some(reason) = blocked(step.name) {
            let message =
                format!("Invalid step \"{}\" used - not allowed in this context - {reason}", step.name);
            self.error(step.pos, message);
            return;
        }
        self.step_arguments(&step);
        match (step.name, step.last_block()) {
            ("script", Some(_)) => {
                if step.block().is_none() {
                    self.error(step.pos, "\"script\" takes a block and nothing else");
                }
            }
            ("script", None) => self.error(step.pos, "Expected a block for script"),
            (_, Some(body)) => body.iter().for_each(|statement| self.step(statement)),
            (_, None) => {}
        }
    }

    fn step_arguments(&mut self, step: &Section<'_>) {
        let block = usize::from(step.last_block().is_some());
        let positional = &step.arguments.positional;
        let positional = positional.get(..positional.len() - block).unwrap_or_default();
        for value in positional.iter().chain(step.arguments.named.iter().map(|(_, value)| value)) {
            if Section::of_expr(value).is_some_and(|call| call.name == "$") {
                self.error(value.pos, "${…} outside of quotes is no value: write \"${…}\"");
            }
        }
        if !self.functions.contains(step.name) {
            self.known_step(step, positional);
        }
        let mut keys = Once::default();
        for (key, value) in step.keys() {
            if !keys.add(key) {
                self.error(value.pos, format!("Duplicate named parameter '{key}' found"));
            }
        }
    }

    /// `parallel(a: { … }, failFast: true)` as the only step of a stage.
    fn parallel_step(&mut self, step: &Section<'_>) {
        if step.arguments.named.is_empty() {
            self.error(step.pos, "No branches specified for parallel");
        }
        if let Some(value) = step.arguments.positional.first() {
            self.error(value.pos, "Expected closure or failFast");
        }
        for (key, value) in &step.arguments.named {
            let fail_fast = matches!(&key.kind, ExprKind::Str(name) if name == "failFast");
            match (&value.kind, block_of(value)) {
                (ExprKind::Bool(_), _) if fail_fast => {}
                (_, _) if fail_fast => self.error(value.pos, "Expected a boolean with failFast"),
                (_, Some(body)) => self.steps(value.pos, body),
                (_, None) => self.error(value.pos, "Expected closure or failFast"),
            }
        }
    }
}

/// Why a step is none of Declarative.
fn blocked(name: &str) -> Option<&'static str> {
    match name {
        "stage" => Some("The stage step cannot be used in Declarative Pipelines"),
        "properties" => Some("The properties step cannot be used in Declarative Pipelines"),
        "parallel" => {
            Some("The parallel step can only be used as the only top-level step in a stages step block")
        }
        "pipeline" => Some("The pipeline step cannot be used inside itself"),
        _ => None,
    }
}
