//! Build parameters in `config.xml`, read and written.

use model::{ParameterDefinition, ParameterKind};

use crate::ConfigError;
use crate::freestyle_xml::class;
use crate::xml::{Element, escape};

const PACKAGE: &str = "hudson.model.";
const PROPERTY: &str = "hudson.model.ParametersDefinitionProperty";
/// Most parameters of a job.
const MAX_PARAMETERS: usize = 1_000;

/// Kinds that have no value here.
const WITHOUT_VALUE: [&str; 2] =
    ["hudson.model.FileParameterDefinition", "hudson.model.RunParameterDefinition"];

/// What the job's `<properties>` define, and a sentence for each that is something else here than in Jenkins: kinds that
/// are not known are texts, for most plugins give a text to the build.
pub(crate) fn definitions(
    properties: &Element,
) -> Result<(Vec<ParameterDefinition>, Vec<String>), ConfigError> {
    let list = properties.at(&[PROPERTY, "parameterDefinitions"]);
    let children = list.map(|l| l.children.as_slice()).unwrap_or_default();
    if children.len() > MAX_PARAMETERS {
        return Err(ConfigError(format!("the job has more than {MAX_PARAMETERS} parameters")));
    }
    let (mut found, mut remarks) = (Vec::with_capacity(children.len()), Vec::new());
    for element in children {
        let name =
            element.word_of("name").ok_or_else(|| ConfigError::new("a parameter has no name"))?.to_owned();
        let class = class(&element.name);
        let kind = match kind(element) {
            Some(kind) => kind,
            None if WITHOUT_VALUE.contains(&class.as_str()) => {
                remarks.push(format!(
                    "the parameter {name} ({class}) does not run in Majordomo yet and is ignored"
                ));
                continue;
            }
            None => {
                remarks.push(format!("the parameter {name} ({class}) is a plain text in Majordomo"));
                ParameterKind::String {
                    default: element.text_of("defaultValue").unwrap_or_default(),
                    trim: false,
                }
            }
        };
        found.push(ParameterDefinition { name, description: element.text_of("description"), kind });
    }
    Ok((found, remarks))
}

fn kind(element: &Element) -> Option<ParameterKind> {
    let default = element.text_of("defaultValue").unwrap_or_default();
    Some(match element.name.strip_prefix(PACKAGE)? {
        "StringParameterDefinition" => {
            ParameterKind::String { default, trim: element.flag_of("trim").unwrap_or(false) }
        }
        "TextParameterDefinition" => ParameterKind::Text { default },
        "BooleanParameterDefinition" => {
            ParameterKind::Boolean { default: element.flag_of("defaultValue").unwrap_or(false) }
        }
        "ChoiceParameterDefinition" => {
            // <choices class="…Arrays$ArrayList"><a class="string-array"><string>, <choices class="string-array"><string>
            // and <choices><string>: all of Jenkins' versions have <string> somewhere below
            let choices = element.child("choices").map(|c| c.all_texts("string")).unwrap_or_default();
            ParameterKind::Choice { choices }
        }
        "PasswordParameterDefinition" => ParameterKind::Password { default: readable(default) },
        _ => return None,
    })
}

/// A secret that another Jenkins encrypted can't be read without its key: there is no default then.
fn readable(secret: String) -> String {
    let encrypted = secret.starts_with('{') && secret.ends_with('}') && secret.len() > 20;
    if encrypted { String::new() } else { secret }
}

/// The definition as Jenkins writes it, indented for `<parameterDefinitions>`.
pub(crate) fn to_xml(definition: &ParameterDefinition) -> String {
    let class = format!("{PACKAGE}{}", definition.class());
    let mut lines = vec![format!("<name>{}</name>", escape(&definition.name))];
    if let Some(text) = &definition.description {
        lines.push(format!("<description>{}</description>", escape(text)));
    }
    match &definition.kind {
        ParameterKind::String { default, trim } => {
            lines.push(format!("<defaultValue>{}</defaultValue>", escape(default)));
            lines.push(format!("<trim>{trim}</trim>"));
        }
        ParameterKind::Text { default } | ParameterKind::Password { default } => {
            lines.push(format!("<defaultValue>{}</defaultValue>", escape(default)));
        }
        ParameterKind::Boolean { default } => lines.push(format!("<defaultValue>{default}</defaultValue>")),
        ParameterKind::Choice { choices } => {
            let strings: String = choices.iter().map(|c| format!("<string>{}</string>", escape(c))).collect();
            lines.push(format!(
                "<choices class=\"java.util.Arrays$ArrayList\"><a class=\"string-array\">{strings}</a></choices>"
            ));
        }
    }
    let body: String = lines.iter().map(|line| format!("          {line}\n")).collect();
    format!("        <{class}>\n{body}        </{class}>\n")
}
