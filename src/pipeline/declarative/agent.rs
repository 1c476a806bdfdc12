//! `agent any`, `agent none`, `agent { label 'x' }`, `agent { node { … } }`

use super::Checker;
use super::section::{Once, Section, block_of};
use crate::ast::{AgentSpec, ExprKind, Stmt};

const TYPES: &str = "[any, label, node, none]";

impl Checker<'_> {
    pub(super) fn agent(&mut self, section: &Section<'_>) -> Option<AgentSpec> {
        if let Some(body) = section.block() {
            return self.agent_type(section, body);
        }
        match section.only().map(|value| &value.kind) {
            Some(ExprKind::Name(name)) if name == "any" => Some(AgentSpec::Any),
            Some(ExprKind::Name(name)) if name == "none" => Some(AgentSpec::None),
            Some(ExprKind::Name(name) | ExprKind::Str(name)) => {
                let message = format!(
                    "Invalid argument for agent - \"{name}\" - must be map of config options or bare [any, none]"
                );
                self.error(section.pos, message);
                None
            }
            _ => {
                self.error(
                    section.pos,
                    "Invalid argument for agent - must be map of config options or bare [any, none]",
                );
                None
            }
        }
    }

    fn agent_type(&mut self, section: &Section<'_>, body: &[Stmt]) -> Option<AgentSpec> {
        let types = self.sections(body, "Not a valid agent definition");
        let Some(first) = types.first() else {
            if body.is_empty() {
                self.error(section.pos, format!("No agent type specified. Must be one of {TYPES}"));
            }
            return None;
        };
        if let Some(second) = types.get(1) {
            self.error(second.pos, "Only one agent type is allowed per agent section");
        }
        match first.name {
            "any" => Some(AgentSpec::Any),
            "none" => Some(AgentSpec::None),
            "label" => {
                let Some(label) = first.only().filter(|label| block_of(label).is_none()) else {
                    self.error(first.pos, "Expected a string for the label of the agent");
                    return None;
                };
                Some(AgentSpec::Label { label: label.clone() })
            }
            "node" => self.node(first),
            name @ ("docker" | "dockerfile" | "kubernetes") => {
                self.not_yet(first.pos, "agent type", name);
                None
            }
            name => {
                let message = format!("Invalid agent type \"{name}\" specified. Must be one of {TYPES}");
                self.error(first.pos, message);
                None
            }
        }
    }

    /// `node { label 'x' }`: what else Jenkins takes would change where the steps run, so it is not passed over.
    fn node(&mut self, section: &Section<'_>) -> Option<AgentSpec> {
        let body = self.block(section)?;
        let mut label = None;
        let mut once = Once::default();
        for option in self.sections(body, "Not a valid agent definition") {
            if !self.first_time(&mut once, &option) {
                continue;
            }
            match option.name {
                "label" => label = option.only().cloned(),
                name @ ("customWorkspace" | "retries") => {
                    self.error(option.pos, format!("{name} does not run in Majordomo yet"));
                }
                name => {
                    let message = format!(
                        "Invalid config option \"{name}\" for agent type \"node\". \
                         Valid config options are [label]"
                    );
                    self.error(option.pos, message);
                }
            }
        }
        if label.is_none() {
            self.error(section.pos, "Missing required parameter for agent type \"node\": label");
        }
        Some(AgentSpec::Label { label: label? })
    }
}
