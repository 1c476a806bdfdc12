//! The example: a small git repository in the home, and a job that checks it out and tests it in parallel.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use config::{Definition, JobConfig, new_pipeline_xml};

use crate::Error;

const README: &str =
    "A tiny project for a first look at Majordomo. Change it, commit, and build the job again.\n";

/// Prints for a while, so that there is time to kill something.
const CHECK: &str = r#"#!/bin/sh
# check.sh NAME SECONDS: a test that takes its time and says so.
set -eu
for second in $(seq 1 "$2"); do
    echo "$1: check $second of $2"
    sleep 1
done
grep -q '[a-z]' README.md
echo "$1: all checks passed"
"#;

/// Creates the repository and answers with the job's `config.xml`; the inner error says why there can't be one.
pub(crate) fn create(folder: &Path) -> Result<Result<String, String>, Error> {
    // a repository that is there whole, from a start that was cut short, is as good as a new one
    if !folder.exists()
        && let Err(why) = create_repository(folder)?
    {
        return Ok(Err(why));
    }
    let job = JobConfig {
        description: Some(
            "Checks out a real repository and tests it in parallel. Kill a replica meanwhile.".to_owned(),
        ),
        definition: Definition::Script { text: script(folder) },
        ..JobConfig::default()
    };
    Ok(Ok(new_pipeline_xml(&job)))
}

fn create_repository(folder: &Path) -> Result<Result<(), String>, Error> {
    let aside = folder.with_extension("tmp");
    if aside.exists() {
        fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))?;
    }
    fs::create_dir_all(&aside).map_err(Error::io("create", &aside))?;
    let check = aside.join("check.sh");
    fs::write(aside.join("README.md"), README).map_err(Error::io("write", &aside))?;
    fs::write(&check, CHECK).map_err(Error::io("write", &check))?;
    fs::set_permissions(&check, fs::Permissions::from_mode(0o755)).map_err(Error::io("write", &check))?;
    let steps: [&[&str]; 4] = [
        &["init", "--quiet"],
        // `init -b` is younger than some gits
        &["symbolic-ref", "HEAD", "refs/heads/main"],
        &["add", "--all"],
        &["commit", "--quiet", "--message", "A tiny project"],
    ];
    for arguments in steps {
        if let Err(why) = git(&aside, arguments) {
            fs::remove_dir_all(&aside).map_err(Error::io("remove", &aside))?;
            return Ok(Err(why));
        }
    }
    fs::rename(&aside, folder).map_err(Error::io("create", folder))?;
    Ok(Ok(()))
}

/// Without the user's own settings: no signing, no hooks, no templates.
fn git(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"]);
    command.args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("GIT_") {
            command.env_remove(name);
        }
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Majordomo");
        command.env(format!("GIT_{who}_EMAIL"), "majordomo@localhost");
    }
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("git says: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err("there is no git on this machine".to_owned())
        }
        Err(error) => Err(format!("start git: {error}")),
    }
}

fn script(folder: &Path) -> String {
    let url = folder.display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
    format!(
        r#"pipeline {{
    agent any
    options {{
        timeout(time: 10, unit: 'MINUTES')
    }}
    stages {{
        stage('Look') {{
            steps {{
                git url: '{url}', branch: 'main'
                sh 'git log -1 --format="building %h: %s"'
            }}
        }}
        stage('Test') {{
            parallel {{
                stage('Unit') {{
                    agent any
                    steps {{
                        git url: '{url}', branch: 'main'
                        sh './check.sh unit 20'
                    }}
                }}
                stage('Integration') {{
                    agent any
                    steps {{
                        git url: '{url}', branch: 'main'
                        sh './check.sh integration 30'
                    }}
                }}
                stage('Style') {{
                    agent any
                    steps {{
                        git url: '{url}', branch: 'main'
                        sh './check.sh style 10'
                    }}
                }}
            }}
        }}
        stage('Report') {{
            steps {{
                sh './check.sh report 3'
            }}
        }}
    }}
    post {{
        success {{
            echo 'Not a line was lost, whatever you killed.'
        }}
    }}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_job_with_a_repository_that_can_be_cloned() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("it's an example");
        let Ok(xml) = create(&place).unwrap() else { return };
        assert!(matches!(config::ItemConfig::parse(&xml), Ok(config::ItemConfig::Job(_))), "{xml}");
        assert!(script(&place).contains("it\\'s an example"));
        git(folder.path(), &["clone", "--quiet", place.to_str().unwrap(), "copy"]).unwrap();
        assert!(folder.path().join("copy/check.sh").exists());
        // found from a start that was cut short
        assert_eq!(create(&place).unwrap(), Ok(xml));
    }
}
