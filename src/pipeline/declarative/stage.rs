//! `stages { … }` and `stage('x') { … }`

use super::Checker;
use super::option::Scope;
use super::section::{Once, Section};
use super::value;
use crate::ast::{ExprKind, Options, StageBody, StageSpec};

/// Where stages stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Outermost,
    /// In `stages` of a stage.
    Sequential,
    /// In `parallel`, or anywhere in it: there is no `parallel` in there.
    Parallel,
}

/// The sections of a stage, as they were found.
#[derive(Default)]
struct Found<'a> {
    steps: Option<Section<'a>>,
    stages: Option<Section<'a>>,
    parallel: Option<Section<'a>>,
    matrix: bool,
    fail_fast: Option<Section<'a>>,
}

impl Checker<'_> {
    pub(super) fn stages(&mut self, section: &Section<'_>, place: Place) -> Vec<StageSpec> {
        let Some(body) = self.block(section) else { return Vec::new() };
        if body.is_empty() {
            self.error(section.pos, "No stages specified");
        }
        let mut names = Once::default();
        let mut stages = Vec::new();
        for statement in body {
            let stage = Section::of(statement).filter(|stage| stage.name == "stage");
            let Some(stage) = stage else {
                self.error(statement.pos, "Expected a stage");
                continue;
            };
            let Some(spec) = self.stage(&stage, place) else { continue };
            if !names.add(&spec.name) {
                self.error(stage.pos, format!("Duplicate stage name: \"{}\"", spec.name));
            }
            stages.push(spec);
        }
        stages
    }

    fn stage(&mut self, stage: &Section<'_>, place: Place) -> Option<StageSpec> {
        let Some(body) = stage.last_block() else {
            self.error(stage.pos, "Expected a block for stage");
            return None;
        };
        let name = self.stage_name(stage);
        let mut spec = StageSpec {
            pos: stage.pos,
            name: name.unwrap_or_default(),
            agent: None,
            environment: Vec::new(),
            options: Options::default(),
            when: None,
            body: StageBody::Steps(Vec::new()),
            post: Vec::new(),
        };
        let mut found = Found::default();
        let mut once = Once::default();
        for section in self.sections(body, "Not a valid stage section definition") {
            if self.first_time(&mut once, &section) {
                self.stage_section(section, &mut spec, &mut found);
            }
        }
        if found.parallel.is_some() && spec.agent.is_some() {
            let message =
                format!("\"agent\" is not allowed in stage \"{}\" as it contains parallel stages", spec.name);
            self.error(stage.pos, message);
        }
        self.stage_body(stage, place, &mut spec, &found);
        Some(spec)
    }

    /// A name is a constant and comes first.
    fn stage_name(&mut self, stage: &Section<'_>) -> Option<String> {
        let name = match stage.arguments.positional.as_slice() {
            [name, _] if stage.arguments.named.is_empty() => Some(name),
            _ => stage.named("name"),
        };
        let Some(name) = name else {
            self.error(stage.pos, "Expected a stage name but didn't find one");
            return None;
        };
        let text = value::text(name);
        if text.is_none() {
            self.error(name.pos, "Expected string literal");
        }
        if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
            self.error(name.pos, "Stage does not have a name");
        }
        text
    }

    fn stage_section<'a>(&mut self, section: Section<'a>, spec: &mut StageSpec, found: &mut Found<'a>) {
        match section.name {
            "agent" => spec.agent = self.agent(&section),
            "environment" => spec.environment = self.environment(&section),
            "options" => spec.options = self.options(&section, Scope::Stage),
            "when" => spec.when = self.when(&section),
            "post" => spec.post = self.post(&section),
            "steps" => found.steps = Some(section),
            "stages" => found.stages = Some(section),
            "parallel" => found.parallel = Some(section),
            "failFast" => found.fail_fast = Some(section),
            "matrix" => {
                found.matrix = true;
                self.not_yet(section.pos, "section", "matrix");
            }
            name @ ("tools" | "input") => self.not_yet(section.pos, "section", name),
            name => {
                let message = format!(
                    "Unknown stage section \"{name}\". Starting with version 0.5, \
                     steps in a stage must be in a ‘steps’ block."
                );
                self.error(section.pos, message);
            }
        }
    }

    fn stage_body(&mut self, stage: &Section<'_>, place: Place, spec: &mut StageSpec, found: &Found<'_>) {
        let count = [found.steps.is_some(), found.stages.is_some(), found.parallel.is_some(), found.matrix];
        let count = count.iter().filter(|one| **one).count();
        let name = &spec.name;
        if count > 1 {
            let message = format!(
                "Only one of \"matrix\", \"parallel\", \"stages\", or \"steps\" allowed for stage \"{name}\""
            );
            self.error(stage.pos, message);
        } else if count == 0 {
            let message =
                format!("Expected one of \"steps\", \"stages\", or \"parallel\" for stage \"{name}\"");
            self.error(stage.pos, message);
        }
        let fail_fast = found.fail_fast.is_some_and(|section| self.fail_fast(&section, found));
        if let Some(section) = &found.steps {
            if let Some(body) = self.block(section) {
                self.steps(section.pos, body);
                spec.body = StageBody::Steps(body.to_vec());
            }
        } else if let Some(section) = &found.stages {
            let place = if place == Place::Parallel { place } else { Place::Sequential };
            spec.body = StageBody::Stages(self.stages(section, place));
        } else if let Some(section) = &found.parallel {
            if place == Place::Parallel {
                self.error(
                    section.pos,
                    "Parallel stages or branches can only be included in a top-level stage.",
                );
                return;
            }
            spec.body = StageBody::Parallel { stages: self.stages(section, Place::Parallel), fail_fast };
        }
    }

    /// `failFast true`
    fn fail_fast(&mut self, section: &Section<'_>, found: &Found<'_>) -> bool {
        if found.parallel.is_none() && !found.matrix {
            self.error(section.pos, "failFast can only be used in a stage with parallel stages");
        }
        match section.only().map(|value| &value.kind) {
            Some(ExprKind::Bool(flag)) => *flag,
            _ => {
                self.error(section.pos, "Expected a boolean with failFast");
                false
            }
        }
    }
}
