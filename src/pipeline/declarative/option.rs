//! `options { … }` of a pipeline and of a stage.

use super::Checker;
use super::section::{Once, Section};
use crate::ast::{BuildDiscarder, Expr, ExprKind, Options, Pos, Timeout};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Pipeline,
    Stage,
}

/// What a stage takes, too.
const BOTH: &[&str] = &[
    "ansiColor",
    "catchError",
    "lock",
    "retry",
    "script",
    "skipDefaultCheckout",
    "throttle",
    "timeout",
    "timestamps",
    "waitUntil",
    "warnError",
    "withCredentials",
    "withEnv",
];

const PIPELINE_ONLY: &[&str] = &[
    "authorizationMatrix",
    "buildDiscarder",
    "checkoutToSubdirectory",
    "copyArtifactPermission",
    "disableConcurrentBuilds",
    "disableRestartFromStage",
    "disableResume",
    "durabilityHint",
    "newContainerPerStage",
    "overrideIndexTriggers",
    "parallelsAlwaysFailFast",
    "preserveStashes",
    "quietPeriod",
    "rateLimitBuilds",
    "skipStagesAfterUnstable",
    "throttleJobProperty",
];

/// Have no effect here, and none that a build could see.
const HARMLESS: &[&str] = &[
    "ansiColor",
    "disableResume",
    "disableRestartFromStage",
    "durabilityHint",
    "newContainerPerStage",
    "overrideIndexTriggers",
    "preserveStashes",
];

const UNITS: &[&str] =
    &["NANOSECONDS", "MICROSECONDS", "MILLISECONDS", "SECONDS", "MINUTES", "HOURS", "DAYS"];

impl Checker<'_> {
    pub(super) fn options(&mut self, section: &Section<'_>, scope: Scope) -> Options {
        let mut options = Options::default();
        let Some(body) = self.filled_block(section) else { return options };
        let mut once = Once::default();
        for option in self.sections(body, "Not a valid option definition") {
            if !once.add(option.name) {
                self.error(option.pos, format!("Duplicate option name: \"{}\"", option.name));
            } else if self.option_allowed(&option, scope) {
                self.option(&option, &mut options);
            }
        }
        options
    }

    fn option_allowed(&mut self, option: &Section<'_>, scope: Scope) -> bool {
        let known =
            BOTH.contains(&option.name) || (scope == Scope::Pipeline && PIPELINE_ONLY.contains(&option.name));
        if !known {
            let mut valid = BOTH.to_vec();
            if scope == Scope::Pipeline {
                valid.extend(PIPELINE_ONLY);
            }
            valid.sort_unstable();
            let message = format!(
                "Invalid option type \"{}\". Valid option types: [{}]",
                option.name,
                valid.join(", ")
            );
            self.error(option.pos, message);
        } else if option.last_block().is_some() {
            self.error(option.pos, "Options cannot have blocks");
            return false;
        }
        known
    }

    fn option(&mut self, option: &Section<'_>, options: &mut Options) {
        match option.name {
            "timeout" => options.timeout = self.timeout(option),
            "retry" => {
                options.retry = option.only().or_else(|| option.named("count")).cloned();
                self.known_keys(option, &["count", "conditions"]);
                match options.retry.clone() {
                    Some(count) => self.number_or_later(&count, "count"),
                    None => self.missing(option.pos, "count"),
                }
            }
            "timestamps" => {
                self.nothing(option);
                options.timestamps = true;
            }
            "skipDefaultCheckout" => options.skip_default_checkout = self.switch(option),
            "disableConcurrentBuilds" => {
                self.known_keys(option, &["abortPrevious"]);
                options.disable_concurrent_builds = true;
                if let Some(value) = option.named("abortPrevious") {
                    options.abort_previous = self.constant_flag(value, "abortPrevious").unwrap_or(false);
                }
            }
            "buildDiscarder" => options.build_discarder = self.build_discarder(option),
            "parallelsAlwaysFailFast" => {
                self.nothing(option);
                options.parallels_always_fail_fast = true;
            }
            "skipStagesAfterUnstable" => {
                self.nothing(option);
                options.skip_stages_after_unstable = true;
            }
            name if HARMLESS.contains(&name) => {}
            name => self.not_yet(option.pos, "option", name),
        }
    }

    /// An option that takes nothing was given something.
    fn nothing(&mut self, option: &Section<'_>) {
        if !option.arguments.positional.is_empty() || !option.arguments.named.is_empty() {
            self.error(option.pos, format!("The option \"{}\" takes no parameters", option.name));
        }
    }

    fn missing(&mut self, pos: Pos, key: &str) {
        self.error(pos, format!("Missing required parameter: \"{key}\""));
    }

    /// `name()` and `name(true)` switch on, `name(false)` does not.
    fn switch(&mut self, option: &Section<'_>) -> bool {
        match option.only() {
            Some(value) => self.constant_flag(value, option.name).unwrap_or(false),
            None => true,
        }
    }

    /// `timeout(5)`, `timeout(time: 1, unit: 'HOURS', activity: true)`
    fn timeout(&mut self, option: &Section<'_>) -> Option<Timeout> {
        self.known_keys(option, &["time", "unit", "activity"]);
        let Some(time) = option.only().or_else(|| option.named("time")) else {
            self.missing(option.pos, "time");
            return None;
        };
        self.number_or_later(time, "time");
        let unit = option.named("unit").map_or(Some("MINUTES".to_owned()), |unit| self.unit(unit));
        let activity =
            option.named("activity").map_or(Some(false), |value| self.constant_flag(value, "activity"));
        Some(Timeout { time: time.clone(), unit: unit?, activity: activity? })
    }

    /// What is known now must be a number.
    fn number_or_later(&mut self, value: &Expr, key: &str) {
        if matches!(value.kind, ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::List(_) | ExprKind::Map(_)) {
            self.constant_limit(value, key);
        }
    }

    fn unit(&mut self, unit: &Expr) -> Option<String> {
        let name = self.constant_text(unit, "unit")?;
        if !UNITS.contains(&name.as_str()) {
            let message = format!("\"{name}\" is no unit of time: must be one of [{}]", UNITS.join(", "));
            self.error(unit.pos, message);
        }
        Some(name)
    }

    /// `buildDiscarder(logRotator(numToKeepStr: '5'))`
    fn build_discarder(&mut self, option: &Section<'_>) -> Option<BuildDiscarder> {
        let rotator = option.only().or_else(|| option.named("strategy")).and_then(Section::of_expr);
        let Some(rotator) = rotator.filter(|rotator| rotator.name == "logRotator") else {
            self.error(option.pos, "Expected logRotator(…) for parameter \"strategy\" of buildDiscarder");
            return None;
        };
        let mut discarder = BuildDiscarder::default();
        for (key, value) in rotator.keys() {
            let limit = match key {
                "daysToKeepStr" | "daysToKeep" => &mut discarder.days_to_keep,
                "numToKeepStr" | "numToKeep" => &mut discarder.num_to_keep,
                "artifactDaysToKeepStr" | "artifactDaysToKeep" => &mut discarder.artifact_days_to_keep,
                "artifactNumToKeepStr" | "artifactNumToKeep" => &mut discarder.artifact_num_to_keep,
                _ => continue,
            };
            *limit = self.constant_limit(value, key);
        }
        let known = [
            "daysToKeepStr",
            "numToKeepStr",
            "artifactDaysToKeepStr",
            "artifactNumToKeepStr",
            "daysToKeep",
            "numToKeep",
            "artifactDaysToKeep",
            "artifactNumToKeep",
            "removeLastBuild",
        ];
        self.known_keys(&rotator, &known);
        Some(discarder)
    }
}
