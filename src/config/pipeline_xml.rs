//! The `config.xml` of a Pipeline job made from values.

use model::BuildDiscarder;

use crate::git::GitScm;
use crate::item::{Definition, JobConfig};
use crate::parameter;
use crate::xml::escape;

/// The `config.xml` that [`crate::ItemConfig::parse`] reads as `job`, which is no Freestyle job and has no source that
/// can't be fetched: of those nobody makes any.
pub fn new_pipeline_xml(job: &JobConfig) -> String {
    let mut out = String::from("<?xml version='1.1' encoding='UTF-8'?>\n<flow-definition>\n  <actions/>\n");
    out.push_str(&optional("description", job.description.as_deref()));
    out.push_str(&optional("displayName", job.display_name.as_deref()));
    out.push_str("  <keepDependencies>false</keepDependencies>\n");
    out.push_str(&properties(job));
    out.push_str(&definition(&job.definition));
    out.push_str("  <triggers/>\n");
    if let Some(seconds) = job.quiet_period {
        out.push_str(&format!("  <quietPeriod>{seconds}</quietPeriod>\n"));
    }
    out.push_str(&optional("authToken", job.auth_token.as_deref()));
    out.push_str(&format!("  <disabled>{}</disabled>\n</flow-definition>\n", job.disabled));
    out
}

fn optional(name: &str, text: Option<&str>) -> String {
    text.map(|text| format!("  <{name}>{}</{name}>\n", escape(text))).unwrap_or_default()
}

fn properties(job: &JobConfig) -> String {
    let mut out = String::new();
    if job.disable_concurrent_builds {
        const CLASS: &str =
            "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty";
        let abort = job.abort_previous;
        out.push_str(&format!(
            "    <{CLASS}>\n      <abortPrevious>{abort}</abortPrevious>\n    </{CLASS}>\n"
        ));
    }
    if let Some(discarder) = &job.discarder {
        out.push_str(&discarder_xml(discarder));
    }
    if !job.parameters.is_empty() {
        let definitions: String = job.parameters.iter().map(parameter::to_xml).collect();
        out.push_str(&format!(
            "    <hudson.model.ParametersDefinitionProperty>\n      <parameterDefinitions>\n{definitions}      \
             </parameterDefinitions>\n    </hudson.model.ParametersDefinitionProperty>\n"
        ));
    }
    if out.is_empty() {
        "  <properties/>\n".to_owned()
    } else {
        format!("  <properties>\n{out}  </properties>\n")
    }
}

fn discarder_xml(discarder: &BuildDiscarder) -> String {
    let limit = |name: &str, value: Option<u32>| {
        let value = value.map_or("-1".to_owned(), |v| v.to_string());
        format!("        <{name}>{value}</{name}>\n")
    };
    format!(
        "    <jenkins.model.BuildDiscarderProperty>\n      <strategy class=\"hudson.tasks.LogRotator\">\n{}{}{}{}      \
         </strategy>\n    </jenkins.model.BuildDiscarderProperty>\n",
        limit("daysToKeep", discarder.days_to_keep),
        limit("numToKeep", discarder.num_to_keep),
        limit("artifactDaysToKeep", discarder.artifact_days_to_keep),
        limit("artifactNumToKeep", discarder.artifact_num_to_keep),
    )
}

fn definition(definition: &Definition) -> String {
    match definition {
        Definition::None | Definition::Freestyle(_) | Definition::Scm { scm: Err(_), .. } => String::new(),
        Definition::Script { text } => format!(
            "  <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\">\n    <script>{}</script>\n    \
             <sandbox>true</sandbox>\n  </definition>\n",
            escape(text)
        ),
        Definition::Scm { scm: Ok(scm), script_path, lightweight } => format!(
            "  <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition\">\n{}    \
             <scriptPath>{}</scriptPath>\n    <lightweight>{lightweight}</lightweight>\n  </definition>\n",
            git(scm),
            escape(script_path)
        ),
    }
}

fn git(scm: &GitScm) -> String {
    let line = |name: &str, text: &str| format!("\n          <{name}>{}</{name}>", escape(text));
    let some = |name: &str, text: &str| if text.is_empty() { String::new() } else { line(name, text) };
    let named = some("name", &scm.remote) + &some("refspec", &scm.refspec);
    let credentials = scm.credentials_id.as_deref().map(|id| line("credentialsId", id)).unwrap_or_default();
    format!(
        "    <scm class=\"hudson.plugins.git.GitSCM\">
      <configVersion>2</configVersion>
      <userRemoteConfigs>
        <hudson.plugins.git.UserRemoteConfig>
          <url>{}</url>{named}{credentials}
        </hudson.plugins.git.UserRemoteConfig>
      </userRemoteConfigs>
      <branches>
        <hudson.plugins.git.BranchSpec>
          <name>{}</name>
        </hudson.plugins.git.BranchSpec>
      </branches>
    </scm>\n",
        escape(&scm.url),
        escape(&scm.branch)
    )
}
