//! A compiled Jenkinsfile, or what a Freestyle job is configured with, compiled alike.

use model::Freestyle;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::act::Language;
use crate::compile::code::Image;
use crate::diagnostic::Diagnostic;
use crate::{ast, compile, declarative, parser};

/// Bytecode with its constants and places in the source, and what Declarative says about the job.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub(crate) image: Image,
    language: Language,
    hash: String,
    properties: Properties,
}

/// What `options` and `parameters` of a Declarative pipeline say about its job.
#[derive(Default, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Properties {
    pub declarative: bool,
    pub parameters: Vec<ast::ParameterDefinition>,
    pub disable_concurrent_builds: bool,
    pub abort_previous: bool,
    pub build_discarder: Option<ast::BuildDiscarder>,
    pub timestamps: bool,
}

impl Program {
    /// Parses, checks and compiles. All diagnostics in source order.
    pub fn compile(source: &str) -> Result<Program, Vec<Diagnostic>> {
        let script = parser::parse(source).map_err(|diagnostic| vec![diagnostic])?;
        let model = declarative::check(&script)?;
        let properties = model.as_ref().map(Properties::of).unwrap_or_default();
        let image = match &model {
            Some(model) => compile::compile(&compile::desugar(&script, model))?,
            None => compile::compile(&script)?,
        };
        Ok(Program { image, language: Language::Pipeline, hash: hex(&Sha256::digest(source)), properties })
    }

    /// Compiles a source in its language.
    pub fn compile_in(language: Language, source: &str) -> Result<Program, Vec<Diagnostic>> {
        match language {
            Language::Pipeline => Program::compile(source),
            Language::Freestyle => {
                let unreadable = |e: serde_json::Error| {
                    let message = format!("the steps of the Freestyle job can't be read: {e}");
                    vec![Diagnostic { line: 1, column: 1, message }]
                };
                let job: Freestyle = serde_json::from_str(source).map_err(unreadable)?;
                let image = compile::compile(&compile::freestyle::script(&job))?;
                let hash = hex(&Sha256::digest(source));
                Ok(Program { image, language, hash, properties: Properties::default() })
            }
        }
    }

    /// The source of a Freestyle job's program.
    pub fn freestyle_source(job: &Freestyle) -> String {
        serde_json::to_string(job).expect("the steps of a job are plain data with string keys")
    }

    pub fn language(&self) -> Language {
        self.language
    }

    /// SHA-256 of the source, hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    pub fn properties(&self) -> &Properties {
        &self.properties
    }
}

impl Properties {
    fn of(model: &ast::Declarative) -> Properties {
        Properties {
            declarative: true,
            parameters: model.parameters.clone(),
            disable_concurrent_builds: model.options.disable_concurrent_builds,
            abort_previous: model.options.abort_previous,
            build_discarder: model.options.build_discarder.clone(),
            timestamps: model.options.timestamps,
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
