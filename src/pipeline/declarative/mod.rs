//! Declarative: `pipeline { … }` checked and turned into a model.
//!
//! Accepts and refuses what Jenkins does, with its sentences where users know them. What Jenkins accepts and
//! Majordomo cannot do yet is refused too and named. Every error of a file is found, not only the first.

mod agent;
mod environment;
mod known;
mod option;
mod parameter;
mod post;
mod section;
mod stage;
mod step;
#[cfg(test)]
mod tests;
mod value;
mod when;

use std::collections::HashSet;

use crate::ast::{AgentSpec, Declarative, Options, Pos, Script, Stmt};
use crate::diagnostic::Diagnostic;
pub(crate) use known::keys;
use section::{Once, Section};

/// Reads the `pipeline { … }` of a script. `Ok(None)` when there is none: the script is a scripted one.
///
/// What stands before and after it (`def`, functions, calls) is ordinary Groovy and not looked at.
pub fn check(script: &Script) -> Result<Option<Declarative>, Vec<Diagnostic>> {
    let mut blocks = script.statements.iter().filter_map(pipeline_block);
    let Some(first) = blocks.next() else {
        let nested = script.statements.iter().find_map(nested_pipeline);
        return match nested {
            Some(pos) => Err(vec![Diagnostic::new(pos, NOT_AT_TOP)]),
            None => Ok(None),
        };
    };
    let functions = script.functions.iter().map(|function| function.name.as_str()).collect();
    let mut checker = Checker { errors: Vec::new(), functions };
    let pipeline = checker.pipeline(&first);
    for other in blocks {
        checker.error(other.pos, "Only one pipeline { ... } block can be executed in a single run.");
    }
    checker.errors.sort_by_key(|error| (error.line, error.column));
    match pipeline {
        Some(pipeline) if checker.errors.is_empty() => Ok(Some(pipeline)),
        _ => Err(checker.errors),
    }
}

/// Whether this statement is the `pipeline { … }` of a Declarative script.
pub fn is_pipeline(statement: &Stmt) -> bool {
    pipeline_block(statement).is_some()
}

fn pipeline_block(statement: &Stmt) -> Option<Section<'_>> {
    let section = Section::of(statement)?;
    (section.name == "pipeline" && section.block().is_some()).then_some(section)
}

/// Where a `pipeline { … }` stands inside other blocks.
fn nested_pipeline(statement: &Stmt) -> Option<Pos> {
    let body = Section::of(statement)?.last_block()?;
    body.iter().find_map(|inner| match pipeline_block(inner) {
        Some(pipeline) => Some(pipeline.pos),
        None => nested_pipeline(inner),
    })
}

const NOT_AT_TOP: &str = "pipeline block must be at the top-level, not within another block.";

/// Collects what is wrong. Its methods return `None` only after they have said why.
struct Checker<'s> {
    errors: Vec<Diagnostic>,
    /// Functions of the script, which hide steps of the same name.
    functions: HashSet<&'s str>,
}

impl Checker<'_> {
    fn error(&mut self, pos: Pos, message: impl Into<String>) {
        self.errors.push(Diagnostic::new(pos, message));
    }

    /// Something that Jenkins has and Majordomo does not, yet.
    fn not_yet(&mut self, pos: Pos, what: &str, name: &str) {
        self.error(pos, format!("{what} \"{name}\" does not run in Majordomo yet"));
    }

    fn pipeline(&mut self, pipeline: &Section<'_>) -> Option<Declarative> {
        let mut found = Declarative {
            pos: pipeline.pos,
            agent: AgentSpec::Any,
            environment: Vec::new(),
            options: Options::default(),
            parameters: Vec::new(),
            stages: Vec::new(),
            post: Vec::new(),
        };
        let mut once = Once::default();
        for section in self.sections(pipeline.block()?, "Not a valid section definition") {
            if !self.first_time(&mut once, &section) {
                continue;
            }
            match section.name {
                "agent" => found.agent = self.agent(&section).unwrap_or(AgentSpec::Any),
                "environment" => found.environment = self.environment(&section),
                "options" => found.options = self.options(&section, option::Scope::Pipeline),
                "parameters" => found.parameters = self.parameters(&section),
                "stages" => found.stages = self.stages(&section, stage::Place::Outermost),
                "post" => found.post = self.post(&section),
                "triggers" | "tools" | "libraries" => self.not_yet(section.pos, "section", section.name),
                "notifications" => {
                    self.error(section.pos, "The \"notifications\" section has been renamed to \"post\".");
                }
                name => self.error(section.pos, format!("Undefined section \"{name}\"")),
            }
        }
        for required in ["agent", "stages"] {
            if !once.has(required) {
                self.error(pipeline.pos, format!("Missing required section \"{required}\""));
            }
        }
        Some(found)
    }
}
