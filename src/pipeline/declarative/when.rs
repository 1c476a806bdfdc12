//! `when { … }`

use super::Checker;
use super::section::{Once, Section};
use crate::ast::{Expr, ExprKind, Stmt, When, WhenCondition};

const VALID: &str = "allOf, anyOf, branch, buildingTag, changeRequest, changelog, changeset, environment, equals, \
    expression, isRestartedRun, not, tag, triggeredBy";

impl Checker<'_> {
    pub(super) fn when(&mut self, section: &Section<'_>) -> Option<When> {
        let body = self.block(section)?;
        let mut when = When { conditions: Vec::new(), before_agent: false };
        let mut once = Once::default();
        for entry in self.when_sections(body) {
            match entry.name {
                "beforeAgent" | "beforeInput" | "beforeOptions" => {
                    self.first_time(&mut once, &entry);
                    let flag = self.before(&entry);
                    match entry.name {
                        "beforeAgent" => when.before_agent = flag,
                        "beforeOptions" if flag => self.not_yet(entry.pos, "condition", "beforeOptions"),
                        // There is no `input` that could come before or after.
                        _ => {}
                    }
                }
                _ => when.conditions.extend(self.condition(&entry)),
            }
        }
        if body.is_empty() {
            self.error(section.pos, "Empty when closure, remove the property or add some content.");
        }
        Some(when)
    }

    fn when_sections<'a>(&mut self, body: &'a [Stmt]) -> Vec<Section<'a>> {
        let mut sections = Vec::new();
        for statement in body {
            match Section::of(statement) {
                Some(section) => sections.push(section),
                None => self.error(statement.pos, "Expected a when condition"),
            }
        }
        sections
    }

    fn before(&mut self, entry: &Section<'_>) -> bool {
        match entry.only().map(|value| &value.kind) {
            Some(ExprKind::Bool(flag)) => *flag,
            _ => {
                self.error(entry.pos, format!("Expected a boolean with {}", entry.name));
                false
            }
        }
    }

    fn condition(&mut self, entry: &Section<'_>) -> Option<WhenCondition> {
        match entry.name {
            "environment" => self.environment_condition(entry),
            "expression" => {
                let Some(body) = entry.block() else {
                    self.error(entry.pos, "Expected a block for expression");
                    return None;
                };
                Some(WhenCondition::Expression(body.to_vec()))
            }
            "equals" => {
                self.known_keys(entry, &["expected", "actual"]);
                let expected = self.required(entry, "expected");
                let actual = self.required(entry, "actual");
                Some(WhenCondition::Equals { expected: expected?, actual: actual? })
            }
            "allOf" => Some(WhenCondition::AllOf(self.nested(entry)?)),
            "anyOf" => Some(WhenCondition::AnyOf(self.nested(entry)?)),
            "not" => {
                let mut conditions = self.nested(entry)?;
                if conditions.len() > 1 {
                    self.error(entry.pos, "\"not\" takes exactly one nested condition");
                }
                conditions.pop().map(|condition| WhenCondition::Not(Box::new(condition)))
            }
            name @ ("branch" | "tag" | "changeset" | "changeRequest" | "buildingTag" | "changelog"
            | "triggeredBy" | "isRestartedRun") => {
                if entry.last_block().is_some() {
                    self.error(entry.pos, format!("Nested conditions are not allowed in \"{name}\""));
                }
                self.not_yet(entry.pos, "condition", name);
                None
            }
            name => {
                self.error(entry.pos, format!("Unknown conditional {name}. Valid conditionals are: {VALID}"));
                None
            }
        }
    }

    fn environment_condition(&mut self, entry: &Section<'_>) -> Option<WhenCondition> {
        self.known_keys(entry, &["name", "value", "ignoreCase"]);
        let name = self.required(entry, "name");
        let value = self.required(entry, "value");
        let ignore_case = entry.named("ignoreCase").map(|flag| self.constant_flag(flag, "ignoreCase"));
        let ignore_case = ignore_case.flatten().unwrap_or(false);
        Some(WhenCondition::Environment { name: name?, value: value?, ignore_case })
    }

    fn required(&mut self, entry: &Section<'_>, key: &str) -> Option<Expr> {
        let value = entry.named(key).cloned();
        if value.is_none() {
            self.error(entry.pos, format!("Missing required parameter: \"{key}\""));
        }
        value
    }

    /// The conditions in `allOf { … }`, at least one.
    fn nested(&mut self, entry: &Section<'_>) -> Option<Vec<WhenCondition>> {
        let Some(body) = entry.block() else {
            let only_block = entry.last_block().is_none();
            let what = if only_block { "Expected a block for" } else { "No arguments are allowed in" };
            self.error(entry.pos, format!("{what} {}", entry.name));
            return None;
        };
        if body.is_empty() {
            self.error(entry.pos, format!("Expected at least one nested condition in \"{}\"", entry.name));
        }
        let sections = self.when_sections(body);
        Some(sections.iter().filter_map(|section| self.condition(section)).collect())
    }
}
