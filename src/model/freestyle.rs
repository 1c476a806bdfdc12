//! What a build of a Freestyle job does, as its `config.xml` says it. Its JSON is the source of the build's program.

use serde::{Deserialize, Serialize};

use crate::BuildResult;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Freestyle {
    /// Label expression; `None` is any node.
    pub label: Option<String>,
    /// Relative to the work folder of the node. Variables in it are the build's business.
    pub custom_workspace: Option<String>,
    /// The workspace is emptied before anything else.
    pub clean_before: bool,
    pub timeout: Option<BuildTimeout>,
    pub builders: Vec<Builder>,
    pub publishers: Vec<Publisher>,
    /// Classes of publishers that do not run and could make the result worse, if builds of other jobs depend on that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unheard: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Builder {
    /// `unstable`: the exit status that makes the build unstable.
    Shell {
        command: String,
        unstable: Option<i32>,
    },
    Batch {
        command: String,
        unstable: Option<i32>,
    },
    /// Of a class that does not run: nothing of its build does.
    Unknown {
        class: String,
    },
}

/// The builders may take so long. Variables in `time` are the build's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildTimeout {
    pub time: String,
    /// `time` is in seconds without any output; otherwise in minutes since the first builder began.
    pub activity: bool,
    /// The build fails then; otherwise it is aborted.
    pub fails: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Publisher {
    #[serde(rename_all = "camelCase")]
    Archive {
        artifacts: String,
        excludes: String,
        allow_empty: bool,
        only_if_successful: bool,
        default_excludes: bool,
        case_sensitive: bool,
    },
    /// Empties the workspace after builds with one of these results.
    Clean { results: Vec<BuildResult> },
    /// Builds of other jobs, by their names as they are written, if the result is not worse than `threshold`.
    Trigger { jobs: Vec<String>, threshold: BuildResult },
}

impl Freestyle {
    /// The class of the first builder that does not run.
    pub fn unknown_builder(&self) -> Option<&str> {
        self.builders.iter().find_map(|builder| match builder {
            Builder::Unknown { class } => Some(class.as_str()),
            Builder::Shell { .. } | Builder::Batch { .. } => None,
        })
    }

    /// The jobs that a build triggers, as they are written.
    pub fn downstream(&self) -> impl Iterator<Item = &str> {
        self.publishers
            .iter()
            .flat_map(|publisher| match publisher {
                Publisher::Trigger { jobs, .. } => jobs.as_slice(),
                Publisher::Archive { .. } | Publisher::Clean { .. } => &[],
            })
            .map(String::as_str)
    }
}
