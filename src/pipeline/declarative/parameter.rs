//! `parameters { … }`: what a build asks its user for. All of it has to be constant.

use super::Checker;
use super::section::{Once, Section};
use crate::ast::{Expr, ExprKind, ParameterDefinition, ParameterKind};

const VALID: &str = "[booleanParam, choice, password, string, text]";

/// Jenkins and its usual plugins have these.
const NOT_YET: &[&str] = &[
    "activeChoice",
    "activeChoiceParam",
    "credentials",
    "extendedChoice",
    "file",
    "fileParam",
    "base64File",
    "stashedFile",
    "gitParameter",
    "imageTag",
    "listGitBranches",
    "run",
    "runParam",
    "separator",
];

impl Checker<'_> {
    pub(super) fn parameters(&mut self, section: &Section<'_>) -> Vec<ParameterDefinition> {
        let Some(body) = self.filled_block(section) else { return Vec::new() };
        let mut once = Once::default();
        let mut parameters = Vec::new();
        for parameter in self.sections(body, "Not a valid parameter definition") {
            if parameter.last_block().is_some() {
                self.error(parameter.pos, "Parameters cannot have blocks");
                continue;
            }
            let Some(definition) = self.parameter(&parameter) else { continue };
            if !once.add(&definition.name) {
                self.error(parameter.pos, format!("Duplicate parameter name: \"{}\"", definition.name));
            }
            parameters.push(definition);
        }
        parameters
    }

    fn parameter(&mut self, parameter: &Section<'_>) -> Option<ParameterDefinition> {
        let default = parameter.named("defaultValue");
        let kind = match parameter.name {
            "string" | "stringParam" => {
                let trim = parameter.named("trim").map(|value| self.constant_flag(value, "trim"));
                ParameterKind::String {
                    default: self.default_text(default),
                    trim: trim.flatten().unwrap_or(false),
                }
            }
            "text" | "textParam" => ParameterKind::Text { default: self.default_text(default) },
            "password" | "nonStoredPasswordParam" => {
                ParameterKind::Password { default: self.default_text(default) }
            }
            "booleanParam" => {
                let default = default.and_then(|value| self.constant_flag(value, "defaultValue"));
                ParameterKind::Boolean { default: default.unwrap_or(false) }
            }
            "choice" | "choiceParam" => ParameterKind::Choice { choices: self.choices(parameter)? },
            name if NOT_YET.contains(&name) => {
                self.not_yet(parameter.pos, "parameter type", name);
                return None;
            }
            name => {
                let message = format!("Invalid parameter type \"{name}\". Valid parameter types: {VALID}");
                self.error(parameter.pos, message);
                return None;
            }
        };
        self.known_keys(parameter, keys(&kind));
        let Some(name) = parameter.named("name") else {
            self.error(parameter.pos, "Missing required parameter: \"name\"");
            return None;
        };
        let description =
            parameter.named("description").and_then(|value| self.constant_text(value, "description"));
        let name_text = self.constant_text(name, "name")?;
        if name_text.trim().is_empty() {
            self.error(name.pos, "the name of a parameter must not be empty");
        }
        Some(ParameterDefinition { name: name_text, description, kind })
    }

    fn default_text(&mut self, value: Option<&Expr>) -> String {
        value
            .filter(|value| value.kind != ExprKind::Null)
            .and_then(|value| self.constant_text(value, "defaultValue"))
            .unwrap_or_default()
    }

    /// A list, or text with a choice a line.
    fn choices(&mut self, parameter: &Section<'_>) -> Option<Vec<String>> {
        let Some(value) = parameter.named("choices") else {
            self.error(parameter.pos, "Missing required parameter: \"choices\"");
            return None;
        };
        let choices: Vec<String> = match &value.kind {
            ExprKind::List(items) => items.iter().filter_map(|item| self.choice(item)).collect(),
            _ => {
                let text = self.constant_text(value, "choices")?;
                text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
            }
        };
        if choices.is_empty() {
            self.error(value.pos, "a choice parameter needs at least one choice");
        }
        Some(choices)
    }

    fn choice(&mut self, item: &Expr) -> Option<String> {
        match &item.kind {
            ExprKind::Int(number) | ExprKind::Long(number) => Some(number.to_string()),
            ExprKind::Bool(flag) => Some(flag.to_string()),
            ExprKind::Decimal(text) => Some(text.clone()),
            _ => self.constant_text(item, "choices"),
        }
    }
}

fn keys(kind: &ParameterKind) -> &'static [&'static str] {
    match kind {
        ParameterKind::String { .. } => &["name", "defaultValue", "description", "trim"],
        ParameterKind::Text { .. } => &["name", "defaultValue", "description", "trim"],
        ParameterKind::Password { .. } | ParameterKind::Boolean { .. } => {
            &["name", "defaultValue", "description"]
        }
        ParameterKind::Choice { .. } => &["name", "choices", "description"],
    }
}
