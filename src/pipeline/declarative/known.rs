//! The parameters of the steps that everybody uses, so that a misspelt one is found before the build runs.

use super::Checker;
use super::section::Section;
use crate::ast::{Expr, ExprKind};

struct Step {
    name: &'static str,
    /// The first is the one that a single value without a name is for.
    keys: &'static [&'static str],
    /// How many of them, from the first, must be given.
    required: usize,
}

const fn step(name: &'static str, keys: &'static [&'static str], required: usize) -> Step {
    Step { name, keys, required }
}

const SHELL: &[&str] = &["script", "encoding", "label", "returnStatus", "returnStdout"];

const STEPS: &[Step] = &[
    step("bat", SHELL, 1),
    step("catchError", &["message", "buildResult", "stageResult", "catchInterruptions"], 0),
    step("deleteDir", &[], 0),
    step("dir", &["path"], 1),
    step("echo", &["message"], 1),
    step("error", &["message"], 1),
    step("fileExists", &["file"], 1),
    step("git", &["url", "branch", "changelog", "credentialsId", "poll"], 1),
    step("isUnix", &[], 0),
    step("node", &["label"], 0),
    step("powershell", SHELL, 1),
    step("pwd", &["tmp"], 0),
    step("pwsh", SHELL, 1),
    step("readFile", &["file", "encoding"], 1),
    step("retry", &["count", "conditions"], 1),
    step("sh", SHELL, 1),
    step("sleep", &["time", "unit"], 1),
    step("stash", &["name", "allowEmpty", "excludes", "includes", "useDefaultExcludes"], 1),
    step("timeout", &["time", "unit", "activity"], 1),
    step("unstable", &["message"], 1),
    step("unstash", &["name"], 1),
    step("warnError", &["message", "catchInterruptions"], 1),
    step("withEnv", &["overrides"], 1),
    step("writeFile", &["file", "text", "encoding"], 2),
];

/// The named arguments that a step takes, if everybody uses it.
pub(crate) fn keys(step: &str) -> Option<&'static [&'static str]> {
    STEPS.iter().find(|known| known.name == step).map(|known| known.keys)
}

impl Checker<'_> {
    /// `positional`: the values without a name, apart from the block.
    pub(super) fn known_step(&mut self, step: &Section<'_>, positional: &[Expr]) {
        let Some(known) = STEPS.iter().find(|known| known.name == step.name) else { return };
        self.known_keys(step, known.keys);
        if !positional.is_empty() && !step.arguments.named.is_empty() {
            self.error(step.pos, "Can't mix named and unnamed parameters");
        }
        // `*: map` and keys that are computed may be any of them.
        if positional.is_empty() && step.keys().count() == step.arguments.named.len() {
            for key in known.keys.iter().take(known.required).filter(|key| step.named(key).is_none()) {
                self.error(step.pos, format!("Missing required parameter: \"{key}\""));
            }
        }
        match step.name {
            "timeout" | "sleep" => self.number(step, "time", positional),
            "retry" => self.number(step, "count", positional),
            _ => {}
        }
    }

    /// A string or a boolean is no number.
    fn number(&mut self, step: &Section<'_>, key: &str, positional: &[Expr]) {
        let value = step.named(key).or(positional.first());
        if let Some(value @ Expr { kind: ExprKind::Str(_) | ExprKind::Bool(_), .. }) = value {
            self.constant_limit(value, key);
        }
    }
}
