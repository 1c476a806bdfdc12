//! What is wrong with a Jenkinsfile, and where.

use serde::{Deserialize, Serialize};

use crate::ast::Pos;

/// An error in a Jenkinsfile: line, column and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("WorkflowScript: {line}: {message} @ line {line}, column {column}.")]
pub struct Diagnostic {
    pub line: u32,
    pub column: u32,
    pub message: String,
}

impl Diagnostic {
    pub(crate) fn new(pos: Pos, message: impl Into<String>) -> Self {
        Self { line: pos.line, column: pos.column, message: message.into() }
    }

    pub(crate) fn pos(&self) -> Pos {
        Pos { line: self.line, column: self.column }
    }
}
