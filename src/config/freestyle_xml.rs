//! The `config.xml` of a Freestyle job: what its builds do.
//!
//! What does not run is no reason to refuse the configuration: the job may still be kept, and shown, and edited. It is named
//! instead, so that each build can say what it leaves out.

use std::collections::BTreeSet;

use model::{BuildResult, BuildTimeout, Builder, Freestyle, Publisher, short};

use crate::ConfigError;
use crate::git::{GIT, git};
use crate::item::{Elastic, FreestyleJob, steps_limit};
use crate::xml::Element;

/// Longest class name that is shown.
const MAX_CLASS: usize = 200;

const SHELL: &str = "hudson.tasks.Shell";
const BATCH: &str = "hudson.tasks.BatchFile";
const ARCHIVER: &str = "hudson.tasks.ArtifactArchiver";
const TRIGGER: &str = "hudson.tasks.BuildTrigger";
const TIMEOUT: &str = "hudson.plugins.build__timeout.BuildTimeoutWrapper";
const CLEAN_BEFORE: &str = "hudson.plugins.ws__cleanup.PreBuildCleanup";
const CLEAN_AFTER: &str = "hudson.plugins.ws__cleanup.WsCleanup";
/// Most jobs of one list that is triggered: they are enqueued by one write.
const MAX_TRIGGERED: usize = 200;
/// Longest label expression, in bytes, as of a `node` step.
const MAX_LABEL: usize = 2000;
const TIMEOUTS: &str = "hudson.plugins.build_timeout.";
/// Minutes of a time-out that says none, as Jenkins proposes.
const DEFAULT_MINUTES: &str = "3";
/// After so many a build without others before it is taken to be stuck.
const STUCK_MINUTES: &str = "1440";
/// Parts of the names of publishers that judge, in lower case.
const JUDGES: [&str; 16] = [
    "analysis",
    "checkstyle",
    "cobertura",
    "coverage",
    "cucumber",
    "findbugs",
    "gatling",
    "groovypostbuild",
    "jacoco",
    "junit",
    "performance",
    "pmd",
    "robot",
    "testng",
    "textfinder",
    "xunit",
];
const NO_SCM: &str = "hudson.scm.NullSCM";
/// Shown by the log's readers as they like, in Pipelines too.
const ONLY_SHOWN: [&str; 2] =
    ["hudson.plugins.timestamper.TimestamperBuildWrapper", "hudson.plugins.ansicolor.AnsiColorBuildWrapper"];
/// What is read elsewhere, means nothing here, or is Jenkins' own bookkeeping.
const KNOWN: [&str; 20] = [
    "actions",
    "assignedNode",
    "authToken",
    "blockBuildWhenDownstreamBuilding",
    "blockBuildWhenUpstreamBuilding",
    "builders",
    "buildWrappers",
    "canRoam",
    "concurrentBuild",
    "customWorkspace",
    "description",
    "disabled",
    "displayName",
    "keepDependencies",
    "logRotator",
    "properties",
    "publishers",
    "quietPeriod",
    "scm",
    "triggers",
];
const KNOWN_PROPERTIES: [&str; 2] =
    ["hudson.model.ParametersDefinitionProperty", "jenkins.model.BuildDiscarderProperty"];

/// Reads what builds do.
pub(crate) fn freestyle(root: &Element) -> Result<FreestyleJob, ConfigError> {
    let mut ignored = ignored(root);
    let scm = match root.child("scm").map(|scm| (scm, scm.attribute("class").unwrap_or_default())) {
        Some((scm, GIT)) => {
            let git = git(scm)?;
            ignored.extend(git.ignored());
            let extensions = scm.child("extensions").map(|e| e.children.as_slice()).unwrap_or_default();
            ignored.extend(extensions.iter().map(|extension| class(&extension.name)));
            Some(git)
        }
        None | Some((_, NO_SCM | "")) => None,
        Some((_, other)) => {
            let class = short(other);
            return Err(ConfigError(format!("an SCM of class “{class}” does not run in Majordomo yet")));
        }
    };
    let mut steps = Freestyle {
        label: label(root)?,
        custom_workspace: root.word_of("customWorkspace").map(str::to_owned),
        ..Freestyle::default()
    };
    let mut elastic = None;
    for wrapper in children(root, "buildWrappers")? {
        match wrapper.name.as_str() {
            TIMEOUT => (steps.timeout, elastic) = timeout(wrapper, &mut ignored).unzip(),
            CLEAN_BEFORE if whole(wrapper) => steps.clean_before = true,
            name if ONLY_SHOWN.contains(&name) => {}
            other => ignored.push(class(other)),
        }
    }
    for builder in children(root, "builders")? {
        steps.builders.push(self::builder(builder)?);
    }
    for publisher in children(root, "publishers")? {
        match self::publisher(publisher)? {
            Some(publisher) => steps.publishers.push(publisher),
            None => {
                let class = class(&publisher.name);
                steps.unheard.extend(judges(&class).then(|| class.clone()));
                ignored.push(class);
            }
        }
    }
    if steps.downstream().next().is_none() {
        // nothing depends on the result
        steps.unheard.clear();
    }
    let mut named = BTreeSet::new();
    ignored.retain(|name| named.insert(name.clone()));
    Ok(FreestyleJob { steps, elastic: elastic.flatten(), scm, ignored })
}

/// Elements of the job itself that mean something to Jenkins and nothing here.
fn ignored(root: &Element) -> Vec<String> {
    let unknown = root.children.iter().filter(|child| !KNOWN.contains(&child.name.as_str()) && !idle(child));
    let mut ignored: Vec<String> = unknown.map(|child| class(&child.name)).collect();
    let asked = ["blockBuildWhenDownstreamBuilding", "blockBuildWhenUpstreamBuilding"];
    ignored.extend(asked.into_iter().filter(|name| root.flag_of(name) == Some(true)).map(str::to_owned));
    let below = |list: &str| root.child(list).map(|l| l.children.as_slice()).unwrap_or_default();
    ignored.extend(below("triggers").iter().map(|trigger| class(&trigger.name)));
    let properties = below("properties").iter().filter(|p| !KNOWN_PROPERTIES.contains(&p.name.as_str()));
    ignored.extend(properties.map(|property| class(&property.name)));
    ignored
}

/// Whether it says only what holds without it.
fn idle(element: &Element) -> bool {
    let text = element.text.trim();
    match element.name.as_str() {
        "jdk" => text.is_empty() || text.starts_with('('),
        "scmCheckoutRetryCount" => matches!(text, "" | "0"),
        "scmCheckoutStrategy" => {
            element.attribute("class") == Some("hudson.scm.DefaultSCMCheckoutStrategyImpl")
        }
        _ => false,
    }
}

/// The class that an element is named after: in names of elements, `_` is written twice.
pub(crate) fn class(name: &str) -> String {
    name.replace("__", "_").chars().take(MAX_CLASS).collect()
}

fn children<'a>(root: &'a Element, list: &str) -> Result<&'a [Element], ConfigError> {
    let children = root.child(list).map(|list| list.children.as_slice()).unwrap_or_default();
    steps_limit(list, children.len())?;
    Ok(children)
}

fn label(root: &Element) -> Result<Option<String>, ConfigError> {
    if root.flag_of("canRoam") == Some(true) {
        return Ok(None);
    }
    let label = root.word_of("assignedNode").map(str::to_owned);
    match label.as_ref().map(String::len) {
        Some(size) if size > MAX_LABEL => {
            Err(ConfigError(format!("<assignedNode> has {size} bytes, over the limit of {MAX_LABEL}")))
        }
        _ => Ok(label),
    }
}

fn builder(element: &Element) -> Result<Builder, ConfigError> {
    let command = || element.child("command").map(|c| c.text.clone()).unwrap_or_default();
    // 0 is Jenkins' word for none.
    let unstable =
        element.number_of("unstableReturn")?.and_then(|n| i32::try_from(n).ok()).filter(|n| *n != 0);
    Ok(match element.name.as_str() {
        SHELL => Builder::Shell { command: command(), unstable },
        BATCH => Builder::Batch { command: command(), unstable },
        other => Builder::Unknown { class: class(other) },
    })
}

/// A strategy that is not known says nothing of minutes: no time-out is better than one that nobody has asked for.
fn timeout(wrapper: &Element, ignored: &mut Vec<String>) -> Option<(BuildTimeout, Option<Elastic>)> {
    let none = Element::default();
    let strategy = wrapper.child("strategy").unwrap_or(&none);
    let name = class(strategy.attribute("class").unwrap_or_default());
    let kind = name.strip_prefix(TIMEOUTS).and_then(|c| c.strip_prefix("impl."));
    let word = |element: &Element, name: &str| element.word_of(name).map(str::to_owned);
    let (time, elastic) = match kind {
        Some("NoActivityTimeOutStrategy") => {
            (word(strategy, "timeoutSecondsString").or_else(|| word(strategy, "timeout")), None)
        }
        Some("AbsoluteTimeOutStrategy") => (word(strategy, "timeoutMinutes"), None),
        Some("ElasticTimeOutStrategy") => {
            let percentage = word(strategy, "timeoutPercentage").unwrap_or_else(|| "0".to_owned());
            let builds = word(strategy, "numberOfBuilds").unwrap_or_else(|| "3".to_owned());
            let fail_safe = strategy.flag_of("failSafeTimeoutDuration") == Some(true);
            let minutes = word(strategy, "timeoutMinutesElasticDefault");
            (minutes, Some(Elastic { percentage, builds, fail_safe }))
        }
        Some("LikelyStuckTimeOutStrategy") => (Some(STUCK_MINUTES.to_owned()), Some(Elastic::likely_stuck())),
        // older jobs have it in the wrapper itself
        None if name.is_empty() => (word(wrapper, "timeoutMinutes"), None),
        Some(_) | None => {
            ignored.push(name);
            return None;
        }
    };
    let (fails, operations) = operations(wrapper);
    ignored.extend(operations);
    ignored.extend(wrapper.word_of("timeoutEnvVar").map(|_| "timeoutEnvVar".to_owned()));
    let activity = kind == Some("NoActivityTimeOutStrategy");
    let time = time.unwrap_or_else(|| DEFAULT_MINUTES.to_owned());
    Some((BuildTimeout { time, activity, fails }, elastic))
}

/// Whether a time-out fails the build, and what else it would do that is not done here.
fn operations(wrapper: &Element) -> (bool, Vec<String>) {
    let operations = wrapper.child("operationList").map(|l| l.children.as_slice()).unwrap_or_default();
    let mut fails = wrapper.flag_of("failBuild") == Some(true);
    let mut ignored = Vec::new();
    for operation in operations {
        let name = class(&operation.name);
        match name.strip_prefix(TIMEOUTS).and_then(|name| name.strip_prefix("operations.")) {
            Some("FailOperation") => fails = true,
            Some("AbortOperation") => {}
            Some(_) | None => ignored.push(name),
        }
    }
    (fails, ignored)
}

/// Whether a publisher of that class can make the result worse by what it finds.
fn judges(class: &str) -> bool {
    let class = class.to_lowercase();
    JUDGES.iter().any(|judge| class.contains(judge))
}

/// Whether a clean-up is of the whole workspace, as it is done here.
fn whole(element: &Element) -> bool {
    let empty = |name: &str| element.child(name).is_none_or(|e| e.children.is_empty());
    let unset = |name: &str| element.word_of(name).is_none();
    empty("patterns") && unset("cleanupParameter") && unset("externalDelete")
}

fn publisher(element: &Element) -> Result<Option<Publisher>, ConfigError> {
    let flag = |name: &str, default: bool| element.flag_of(name).unwrap_or(default);
    let text = |name: &str| element.text_of(name).unwrap_or_default();
    Ok(match element.name.as_str() {
        ARCHIVER => Some(Publisher::Archive {
            artifacts: text("artifacts"),
            excludes: text("excludes"),
            allow_empty: flag("allowEmptyArchive", false),
            only_if_successful: flag("onlyIfSuccessful", false),
            default_excludes: flag("defaultExcludes", true),
            case_sensitive: flag("caseSensitive", true),
        }),
        TRIGGER => {
            let names = text("childProjects");
            let jobs = names.split(',').map(str::trim).filter(|name| !name.is_empty());
            let jobs: Vec<String> = jobs.map(str::to_owned).collect();
            if jobs.len() > MAX_TRIGGERED {
                let count = jobs.len();
                return Err(ConfigError(format!(
                    "<childProjects> names {count} jobs, over the limit of {MAX_TRIGGERED}"
                )));
            }
            let threshold = element.at(&["threshold", "name"]).map(|name| name.text.trim().to_owned());
            let threshold = threshold.and_then(|name| BuildResult::parse(&name));
            Some(Publisher::Trigger { jobs, threshold: threshold.unwrap_or(BuildResult::Success) })
        }
        CLEAN_AFTER if whole(element) => {
            let results = [
                ("cleanWhenSuccess", BuildResult::Success),
                ("cleanWhenUnstable", BuildResult::Unstable),
                ("cleanWhenFailure", BuildResult::Failure),
                ("cleanWhenNotBuilt", BuildResult::NotBuilt),
                ("cleanWhenAborted", BuildResult::Aborted),
            ];
            let wanted = results.into_iter().filter(|(name, _)| flag(name, true));
            Some(Publisher::Clean { results: wanted.map(|(_, result)| result).collect() })
        }
        _ => None,
    })
}

#[cfg(test)]
#[path = "freestyle_tests.rs"]
mod tests;
