//! What a job is configured with, wherever it was said: in `config.xml` or in a Jenkinsfile.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BuildDiscarder {
    pub days_to_keep: Option<u32>,
    pub num_to_keep: Option<u32>,
    pub artifact_days_to_keep: Option<u32>,
    pub artifact_num_to_keep: Option<u32>,
}

/// A build parameter, as `parameters { … }` and `config.xml` define it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterDefinition {
    pub name: String,
    pub description: Option<String>,
    pub kind: ParameterKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum ParameterKind {
    String {
        default: String,
        trim: bool,
    },
    Text {
        default: String,
    },
    Boolean {
        default: bool,
    },
    /// The first choice is the default.
    Choice {
        choices: Vec<String>,
    },
    Password {
        default: String,
    },
}

impl ParameterDefinition {
    /// The value of a build that gives none.
    pub fn default_value(&self) -> crate::ParamValue {
        use crate::ParamValue::{Flag, Secret, Text};
        match &self.kind {
            ParameterKind::String { default, .. } | ParameterKind::Text { default } => Text(default.clone()),
            ParameterKind::Password { default } => Secret { secret: default.clone() },
            ParameterKind::Boolean { default } => Flag(*default),
            ParameterKind::Choice { choices } => Text(choices.first().cloned().unwrap_or_default()),
        }
    }

    /// Simple name of the class that Jenkins has for it.
    pub fn class(&self) -> &'static str {
        match self.kind {
            ParameterKind::String { .. } => "StringParameterDefinition",
            ParameterKind::Text { .. } => "TextParameterDefinition",
            ParameterKind::Boolean { .. } => "BooleanParameterDefinition",
            ParameterKind::Choice { .. } => "ChoiceParameterDefinition",
            ParameterKind::Password { .. } => "PasswordParameterDefinition",
        }
    }
}
