//! `config.xml` of jobs and folders.
//!
//! Only what a build needs is read; unknown elements never refuse a configuration, because the text itself is what is
//! kept and given back. Job types that could not run are refused by name; a job whose source can't be fetched is kept, and its
//! builds fail and say why.

use model::{BuildDiscarder, Freestyle, ParameterDefinition, short};
use store::ItemKind;

use crate::ConfigError;
use crate::freestyle_xml::freestyle;
use crate::git::{GitScm, git};
use crate::parameter;
use crate::xml::{self, Element};

#[derive(Debug, Clone, PartialEq)]
pub enum ItemConfig {
    Job(Box<JobConfig>),
    Folder { description: Option<String>, display_name: Option<String> },
}

/// A Pipeline or Freestyle job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JobConfig {
    pub description: Option<String>,
    pub display_name: Option<String>,
    pub disabled: bool,
    pub definition: Definition,
    pub parameters: Vec<ParameterDefinition>,
    /// `DisableConcurrentBuildsJobProperty`; Freestyle jobs build one at a time unless they say otherwise.
    pub disable_concurrent_builds: bool,
    pub abort_previous: bool,
    /// Seconds.
    pub quiet_period: Option<u32>,
    pub discarder: Option<BuildDiscarder>,
    /// What of it runs otherwise than in Jenkins or not at all, one sentence each, for the log of each build.
    pub remarks: Vec<String>,
    /// Token of *trigger builds remotely*.
    pub auth_token: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Definition {
    /// No definition: a build fails and says so.
    #[default]
    None,
    /// `CpsFlowDefinition`
    Script { text: String },
    /// `CpsScmFlowDefinition`. A source that can't be fetched says why, and so does each build.
    Scm { scm: Result<GitScm, ConfigError>, script_path: String, lightweight: bool },
    /// No Pipeline at all.
    Freestyle(Box<FreestyleJob>),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct FreestyleJob {
    pub steps: Freestyle,
    /// The time-out follows from earlier builds; without any it is the one that `steps` says.
    pub elastic: Option<Elastic>,
    /// One that can't be fetched says why, and so does each build.
    pub scm: Option<Result<GitScm, ConfigError>>,
    /// Names of elements that do not run, each once: builds go on without them.
    pub ignored: Vec<String>,
}

impl FreestyleJob {
    /// Why nothing of its builds can run, if that is so.
    pub fn unfit(&self) -> Option<String> {
        if let Some(class) = self.steps.unknown_builder() {
            return Some(format!(
                "the builder {class} does not run in Majordomo yet, so nothing of this build does"
            ));
        }
        self.scm.as_ref()?.as_ref().err().map(ToString::to_string)
    }
}

/// How a time-out follows from the builds before. Parameters may be named in the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elastic {
    /// Of the average duration of the builds that were not worse than unstable.
    pub percentage: String,
    /// How many of them are looked at, the newest first.
    pub builds: String,
    /// It is never less than what holds without earlier builds.
    pub fail_safe: bool,
}

impl Elastic {
    /// Ten times what it took before.
    pub(crate) fn likely_stuck() -> Elastic {
        Elastic { percentage: "1000".to_owned(), builds: "3".to_owned(), fail_safe: false }
    }
}

const PIPELINE: &str = "flow-definition";
const FREESTYLE: &str = "project";
const FOLDER: &str = "com.cloudbees.hudson.plugins.folder.Folder";
const SCRIPT: &str = "org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition";
const FROM_SCM: &str = "org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition";
const NO_CONCURRENT_BUILDS: &str =
    "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty";
/// Most builders, wrappers or publishers of a job.
const MAX_STEPS: usize = 1_000;
/// Longest quiet period: a year.
const MAX_QUIET: i64 = 365 * 24 * 3600;

impl ItemConfig {
    pub fn parse(text: &str) -> Result<ItemConfig, ConfigError> {
        let root = xml::parse(text)?;
        match root.name.as_str() {
            PIPELINE => {
                let definition = definition(root.child("definition"))?;
                Ok(ItemConfig::Job(Box::new(job(&root, definition)?)))
            }
            FREESTYLE => {
                let definition = Definition::Freestyle(Box::new(freestyle(&root)?));
                Ok(ItemConfig::Job(Box::new(job(&root, definition)?)))
            }
            FOLDER => Ok(ItemConfig::Folder {
                description: root.text_of("description"),
                display_name: root.text_of("displayName"),
            }),
            other => Err(ConfigError(format!("job type {} does not run in Majordomo yet", type_name(other)))),
        }
    }

    pub fn kind(&self) -> ItemKind {
        match self {
            ItemConfig::Job(job) => match job.definition {
                Definition::Freestyle(_) => ItemKind::Freestyle,
                Definition::None | Definition::Script { .. } | Definition::Scm { .. } => ItemKind::Pipeline,
            },
            ItemConfig::Folder { .. } => ItemKind::Folder,
        }
    }

    pub fn disabled(&self) -> bool {
        match self {
            ItemConfig::Job(job) => job.disabled,
            ItemConfig::Folder { .. } => false,
        }
    }
}

/// What people call the job type with this root element.
fn type_name(root: &str) -> String {
    match root {
        "matrix-project" => "Multi-configuration".to_owned(),
        "maven2-moduleset" => "Maven".to_owned(),
        "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject" => {
            "Multibranch Pipeline".to_owned()
        }
        "jenkins.branch.OrganizationFolder" => "Organization Folder".to_owned(),
        other => short(other),
    }
}

fn job(root: &Element, definition: Definition) -> Result<JobConfig, ConfigError> {
    let none = Element::default();
    let properties = root.child("properties").unwrap_or(&none);
    let alone = properties.child(NO_CONCURRENT_BUILDS);
    let together = root.flag_of("concurrentBuild").unwrap_or(!matches!(definition, Definition::Freestyle(_)));
    let (parameters, remarks) = parameter::definitions(properties)?;
    Ok(JobConfig {
        description: root.text_of("description"),
        display_name: root.text_of("displayName"),
        disabled: root.flag_of("disabled").unwrap_or(false),
        definition,
        parameters,
        remarks,
        // older jobs say it at the root instead
        disable_concurrent_builds: alone.is_some() || !together,
        abort_previous: alone.is_some_and(|a| a.flag_of("abortPrevious") == Some(true)),
        quiet_period: quiet_period(root)?,
        discarder: discarder(root, properties)?,
        auth_token: root.word_of("authToken").map(str::to_owned),
    })
}

fn quiet_period(root: &Element) -> Result<Option<u32>, ConfigError> {
    match root.number_of("quietPeriod")? {
        None => Ok(None),
        Some(seconds @ 0..=MAX_QUIET) => Ok(u32::try_from(seconds).ok()),
        Some(other) => Err(ConfigError(format!("<quietPeriod> of {other} s is not between 0 s and a year"))),
    }
}

fn discarder(root: &Element, properties: &Element) -> Result<Option<BuildDiscarder>, ConfigError> {
    let strategy = properties.at(&["jenkins.model.BuildDiscarderProperty", "strategy"]);
    // older jobs have it at the root
    let Some(rotator) = strategy.or(root.child("logRotator")) else { return Ok(None) };
    let limit = |name: &str| -> Result<Option<u32>, ConfigError> {
        // -1 is Jenkins' word for no limit
        Ok(rotator.number_of(name)?.filter(|n| *n > 0).map(|n| u32::try_from(n).unwrap_or(u32::MAX)))
    };
    Ok(Some(BuildDiscarder {
        days_to_keep: limit("daysToKeep")?,
        num_to_keep: limit("numToKeep")?,
        artifact_days_to_keep: limit("artifactDaysToKeep")?,
        artifact_num_to_keep: limit("artifactNumToKeep")?,
    }))
}

fn definition(element: Option<&Element>) -> Result<Definition, ConfigError> {
    let Some(element) = element else { return Ok(Definition::None) };
    match element.attribute("class") {
        None => Ok(Definition::None),
        Some(SCRIPT) => {
            let text = element.child("script").map(|s| s.text.clone()).unwrap_or_default();
            Ok(Definition::Script { text })
        }
        Some(FROM_SCM) => {
            let missing = || ConfigError::new("the definition has no <scm>");
            Ok(Definition::Scm {
                scm: element.child("scm").ok_or_else(missing).and_then(git),
                script_path: element.word_of("scriptPath").unwrap_or("Jenkinsfile").to_owned(),
                lightweight: element.flag_of("lightweight").unwrap_or(false),
            })
        }
        Some(other) => {
            Err(ConfigError(format!("a definition of class {} does not run in Majordomo yet", short(other))))
        }
    }
}

/// Refuses a list that no job of people has.
pub(crate) fn steps_limit(list: &str, count: usize) -> Result<(), ConfigError> {
    match count {
        0..=MAX_STEPS => Ok(()),
        more => Err(ConfigError(format!("<{list}> has {more} elements, over the limit of {MAX_STEPS}"))),
    }
}

/// The same configuration with `<disabled>` set; everything else byte for byte.
pub fn with_disabled(text: &str, disabled: bool) -> Result<String, ConfigError> {
    let root = xml::parse(text)?;
    let splice = |range: std::ops::Range<usize>, new: &str| -> String {
        let before = text.get(..range.start).unwrap_or_default();
        let after = text.get(range.end..).unwrap_or_default();
        format!("{before}{new}{after}")
    };
    let element = format!("<disabled>{disabled}</disabled>");
    match (root.child("disabled"), &root.inner) {
        (Some(old), _) if root.flag_of("disabled") == Some(disabled) && old.inner.is_some() => {
            Ok(text.to_owned())
        }
        (Some(old), _) => match &old.inner {
            Some(inner) => Ok(splice(inner.clone(), if disabled { "true" } else { "false" })),
            None => Ok(splice(old.span.clone(), &element)),
        },
        (None, _) if !disabled => Ok(text.to_owned()),
        (None, Some(inner)) => {
            let body = text.get(inner.clone()).unwrap_or_default();
            let new = if body.ends_with('\n') { format!("  {element}\n") } else { element };
            Ok(splice(inner.end..inner.end, &new))
        }
        (None, None) => {
            // <name …/> becomes <name …>…</name>
            let slash = text.get(root.span.clone()).and_then(|tag| tag.rfind('/')).unwrap_or_default();
            let from = root.span.start + slash;
            Ok(splice(from..root.span.end, &format!(">{element}</{}>", root.name)))
        }
    }
}

#[cfg(test)]
#[path = "item_tests.rs"]
mod tests;
