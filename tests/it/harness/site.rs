//! What users do often: create a job, build it, wait for its end.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Client, PATIENCE, until};

/// `config.xml` of a Pipeline job with this Jenkinsfile.
pub(crate) fn job_xml(script: &str) -> String {
    let script = script.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<?xml version='1.1' encoding='UTF-8'?>\n<flow-definition plugin=\"workflow-job@1400\">\n  \
         <keepDependencies>false</keepDependencies>\n  \
         <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\" plugin=\"workflow-cps@3900\">\n    \
         <script>{script}</script>\n    <sandbox>true</sandbox>\n  </definition>\n  <triggers/>\n\
         </flow-definition>"
    )
}

/// `config.xml` of a Pipeline job whose Jenkinsfile is in a git repository.
pub(crate) fn scm_xml(url: &str) -> String {
    format!(
        "<?xml version='1.1' encoding='UTF-8'?>\n<flow-definition plugin=\"workflow-job@1400\">\n  \
         <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition\" plugin=\"workflow-cps@3900\">\n    \
         <scm class=\"hudson.plugins.git.GitSCM\" plugin=\"git@5.2\">\n      <configVersion>2</configVersion>\n      \
         <userRemoteConfigs><hudson.plugins.git.UserRemoteConfig><url>{url}</url></hudson.plugins.git.UserRemoteConfig></userRemoteConfigs>\n      \
         <branches><hudson.plugins.git.BranchSpec><name>*/main</name></hudson.plugins.git.BranchSpec></branches>\n    \
         </scm>\n    <scriptPath>Jenkinsfile</scriptPath>\n    <lightweight>true</lightweight>\n  </definition>\n\
         </flow-definition>"
    )
}

impl Client {
    /// Creates a Pipeline job at the top.
    #[track_caller]
    pub(crate) fn create_job(&self, name: &str, script: &str) {
        self.xml(&format!("/createItem?name={name}"), &job_xml(script)).expect(200);
    }

    /// Builds and gives the queue item's path; `how` is `build` or `buildWithParameters?…`.
    #[track_caller]
    pub(crate) fn trigger(&self, job: &str, how: &str) -> String {
        let queued = self.post(&format!("/job/{job}/{how}")).expect(201);
        let place = queued.header("location");
        let base = format!("http://{}", self.address);
        place.strip_prefix(&base).unwrap_or_else(|| panic!("{place}")).to_owned()
    }

    /// Follows a queue item to its build.
    pub(crate) fn follow(&self, item: &str) -> u64 {
        until("the queue item to become a build", || {
            self.json(&format!("{item}api/json"))["executable"]["number"].as_u64()
        })
    }

    /// Waits for the end of a build; gives its result.
    #[track_caller]
    pub(crate) fn result(&self, job: &str, number: u64) -> String {
        let began = Instant::now();
        loop {
            let build = self.json(&format!("/job/{job}/{number}/api/json?tree=result,building"));
            if build["building"] == false {
                return build["result"].as_str().unwrap_or_default().to_owned();
            }
            let console = || self.console(job, number);
            assert!(began.elapsed() < PATIENCE, "{job} #{number} does not end: {}", console());
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    pub(crate) fn console(&self, job: &str, number: u64) -> String {
        self.get(&format!("/job/{job}/{number}/consoleText")).expect(200).text()
    }

    /// Builds and waits; gives the build's number, result and console.
    #[track_caller]
    pub(crate) fn build(&self, job: &str) -> (u64, String, String) {
        let number = self.follow(&self.trigger(job, "build"));
        let result = self.result(job, number);
        (number, result, self.console(job, number))
    }

    /// Creates a job and builds it once.
    #[track_caller]
    pub(crate) fn try_script(&self, job: &str, script: &str) -> (String, String) {
        self.create_job(job, script);
        let (_, result, console) = self.build(job);
        (result, console)
    }

    /// Waits until the console of a build has a text.
    pub(crate) fn console_has(&self, job: &str, number: u64, text: &str) {
        until(&format!("{text:?} in the console of {job}"), || {
            self.console(job, number).contains(text).then_some(())
        });
    }

    pub(crate) fn node(&self, name: &str) -> Value {
        self.json(&format!("/computer/{name}/api/json"))
    }
}
