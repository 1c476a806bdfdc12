//! Checkouts with the real git: an act becomes a script that runs as a durable process on the agent.
//!
//! The script prints its log to standard error and `NAME=value` lines to standard output, which are the outcome.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pipeline::act::{Act, ActKind, Data, Failure, FailureKind, Outcome, Returns, Scm, Shell};
use remoting::ops::StartSpec;

/// A git repository and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitSource {
    pub url: String,
    /// As written: `*/main`, `main`, `refs/tags/v1`, a commit.
    pub branch: String,
    /// The branch that was written, when `branch` is the commit that was found there.
    pub name: Option<String>,
    pub shallow: bool,
}

/// The process that performs an act; `None` for acts that are no processes.
pub(crate) fn process(act: &Act, job: Option<&GitSource>) -> Option<StartSpec> {
    match &act.kind {
        ActKind::Process(process) => {
            let shell = match process.shell {
                Shell::Sh => "sh",
                Shell::Bat => "bat",
                Shell::Powershell => "powershell",
                Shell::Pwsh => "pwsh",
            };
            Some(StartSpec {
                shell: shell.to_owned(),
                script: process.script.clone(),
                dir: process.place.dir.clone(),
                env: process.env.clone(),
                capture: process.returns == Returns::Stdout,
            })
        }
        ActKind::Checkout { place, scm } => {
            let script = match (scm, job) {
                (Scm::Git { url, branch, shallow, local_branch, .. }, _) => {
                    let (url, branch) = (url.clone(), branch.clone());
                    script(&GitSource { url, branch, name: None, shallow: *shallow }, *local_branch)
                }
                (Scm::Job, Some(job)) => script(job, false),
                (Scm::Job, None) => "echo 'the job has no source to check out' >&2; exit 1\n".to_owned(),
            };
            let env = BTreeMap::from([("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned())]);
            Some(StartSpec { shell: "sh".to_owned(), script, dir: place.dir.clone(), env, capture: true })
        }
        _ => None,
    }
}

/// The branch without `*/`, `origin/` and `refs/heads/`.
fn reference(branch: &str) -> &str {
    let branch = branch.strip_prefix("*/").or_else(|| branch.strip_prefix("origin/")).unwrap_or(branch);
    let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    if branch.is_empty() || branch == "**" { "HEAD" } else { branch }
}

/// Fetches one reference into the folder and checks it out as the git plugin does: detached, or, for its step `git`, as a
/// local branch. A whole history comes with the tags, for `git describe`; a shallow one without, or each would bring its commit.
pub(crate) fn script(source: &GitSource, local_branch: bool) -> String {
    let wanted = reference(&source.branch);
    let name = quote(reference(source.name.as_ref().unwrap_or(&source.branch)));
    let what = if source.shallow { "--no-tags --force --depth=1" } else { "--tags --force" };
    let here = if local_branch { "$name" } else { "" };
    // The first line keeps the agent from tracing each command into the log.
    let mut script = String::from("#!/bin/sh\nset -e\nexec 3>&1 1>&2\n");
    let (url, wanted) = (quote(&source.url), quote(wanted));
    let _infallible = write!(
        script,
        r#"url={url}
ref={wanted}
name={name}
case "$url" in -*|ext::*|'') echo "The repository URL $url is not allowed"; exit 1;; esac
case "$ref" in -*) echo "The branch $ref is not allowed"; exit 1;; esac
echo "Cloning repository $url"
if [ "$(git rev-parse --show-prefix 2>/dev/null || echo none)" != "" ] || [ ! -e .git ]; then
  git init --quiet .
fi
git config remote.origin.url "$url"
rm -f .git/index.lock .git/shallow.lock .git/HEAD.lock
echo " > git fetch {what} -- origin $ref"
git -c protocol.ext.allow=never fetch {what} --quiet -- origin "$ref"
commit=$(git rev-parse --verify 'FETCH_HEAD^{{commit}}')
echo "Checking out Revision $commit (origin/$name)"
here="{here}"
case "$name" in HEAD|refs/*|"$commit") here=;; *) git update-ref "refs/remotes/origin/$name" "$commit";; esac
if [ "$here" ]; then
  git checkout --force --quiet -B "$here" "$commit"
else
  git checkout --force --quiet --detach "$commit"
fi
echo "Commit message: \"$(git log -1 --format=%s)\""
printf 'GIT_COMMIT=%s\nGIT_URL=%s\nGIT_BRANCH=%s\n' "$commit" "$url" "origin/$name" >&3
[ -z "$here" ] || printf 'GIT_LOCAL_BRANCH=%s\n' "$here" >&3
"#
    );
    script
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What the script's end means.
pub(crate) fn outcome(status: i32, stdout: &str) -> Outcome {
    if status != 0 {
        let message = format!("git ended with status {status}; the log says why");
        return Outcome::Failed(Failure { kind: FailureKind::Abort, message });
    }
    let pairs = stdout.lines().filter_map(|line| line.split_once('='));
    Outcome::Done(Data::Map(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_named_as_git_fetches_it() {
        for (written, wanted) in [
            ("*/main", "main"),
            ("origin/main", "main"),
            ("refs/heads/a/b", "a/b"),
            ("refs/tags/v1", "refs/tags/v1"),
            ("", "HEAD"),
            ("**", "HEAD"),
        ] {
            assert_eq!(reference(written), wanted);
        }
    }

    #[test]
    fn an_url_with_quotes_stays_one_word() {
        let url = "http://x/'; rm -rf /; '".to_owned();
        let source = GitSource { url, branch: "main".to_owned(), name: None, shallow: true };
        assert!(script(&source, false).contains(r"url='http://x/'\''; rm -rf /; '\'''"));
    }

    #[test]
    fn the_step_git_checks_a_local_branch_out_and_brings_the_tags() {
        let run = |folder: &std::path::Path, script: &str| {
            let output =
                std::process::Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        run(
            from.path(),
            "git init --quiet . && git symbolic-ref HEAD refs/heads/main && git config user.name n && \
             git config user.email n@x && git commit --quiet --allow-empty -m one && git tag v1 && \
             git commit --quiet --allow-empty -m two",
        );
        let source = |shallow| GitSource {
            url: from.path().to_string_lossy().into_owned(),
            branch: "*/main".to_owned(),
            name: None,
            shallow,
        };
        for _again in 0..2 {
            let told = run(to.path(), &script(&source(false), true));
            assert!(told.contains("GIT_BRANCH=origin/main\nGIT_LOCAL_BRANCH=main\n"), "{told}");
            assert_eq!(
                run(to.path(), "git rev-parse --abbrev-ref HEAD; git describe --tags --abbrev=0"),
                "main\nv1\n"
            );
        }
        let told = run(to.path(), &script(&source(false), false));
        assert!(!told.contains("GIT_LOCAL_BRANCH"), "{told}");
        assert_eq!(run(to.path(), "git rev-parse --abbrev-ref HEAD"), "HEAD\n");
        let shallow = tempfile::tempdir().unwrap();
        run(
            shallow.path(),
            &script(&GitSource { url: format!("file://{}", from.path().display()), ..source(true) }, false),
        );
        assert_eq!(run(shallow.path(), "git rev-list --count HEAD; git tag"), "1\n");
    }
}
