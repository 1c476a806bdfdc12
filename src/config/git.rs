//! The Git source of a job: one repository, and which of its references builds are made of.

use model::short;

use crate::ConfigError;
use crate::xml::Element;

const GIT: &str = "hudson.plugins.git.GitSCM";
/// What a remote is called that nobody has named.
const ORIGIN: &str = "origin";

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitScm {
    pub url: String,
    pub credentials_id: Option<String>,
    /// What the branch may begin with; empty is `origin`.
    pub remote: String,
    /// As written; empty brings all branches.
    pub refspec: String,
    /// As written: `*/main`, `main`, `refs/tags/v1`, a commit. Empty: whatever the repository has checked out.
    pub branch: String,
}

impl GitScm {
    fn remote(&self) -> &str {
        if self.remote.is_empty() { ORIGIN } else { &self.remote }
    }

    /// What is to be fetched, as the repository names it: `main`, `refs/pull/7/head`, `refs/tags/v1`, a commit, `HEAD`. Of a
    /// source in which parameters were replaced already.
    pub fn reference(&self) -> Result<String, ConfigError> {
        let branch = self.branch.trim();
        if matches!(branch, "" | "**" | "HEAD") {
            return Ok("HEAD".to_owned());
        }
        let refused = |what: &str| {
            let branch = short(branch);
            Err(ConfigError(format!(
                "the branch {branch} of the Git SCM is {what}; Majordomo takes one branch so far"
            )))
        };
        if branch.starts_with(':') {
            return refused("a regular expression");
        }
        let remote = self.remote();
        let heads = ["*/", "refs/heads/"].into_iter().find_map(|head| branch.strip_prefix(head));
        let of_remote = branch.strip_prefix("refs/").unwrap_or(branch);
        let of_remote =
            of_remote.strip_prefix("remotes/").unwrap_or(if of_remote == branch { branch } else { "" });
        let of_remote = of_remote.strip_prefix(remote).and_then(|rest| rest.strip_prefix('/'));
        let name = heads.or(of_remote).unwrap_or(branch);
        if name.contains('*') {
            return refused("a pattern");
        }
        Ok(self.fetched_as(name).unwrap_or_else(|| name.to_owned()))
    }

    /// The reference that the refspec brings here under this name.
    fn fetched_as(&self, name: &str) -> Option<String> {
        let local = format!("refs/remotes/{}/{name}", self.remote());
        self.refspec.split_whitespace().find_map(|spec| {
            let (from, to) = spec.strip_prefix('+').unwrap_or(spec).split_once(':')?;
            let (Some((from, tail)), Some((to, end))) = (from.split_once('*'), to.split_once('*')) else {
                return (to == local && !from.contains('*')).then(|| heads_off(from));
            };
            let star = local.strip_prefix(to)?.strip_suffix(end)?;
            Some(heads_off(&format!("{from}{star}{tail}")))
        })
    }

    /// What of it means something to Jenkins and nothing here.
    pub(crate) fn ignored(&self) -> Vec<String> {
        let credentials = self.credentials_id.as_ref().map(|_| "credentialsId".to_owned());
        let remote = Some(self.remote()).filter(|remote| *remote != ORIGIN);
        // the branch is found all the same
        let remote = remote.map(|remote| format!("the name {} of the remote (it is origin)", short(remote)));
        credentials.into_iter().chain(remote).collect()
    }
}

fn heads_off(reference: &str) -> String {
    reference.strip_prefix("refs/heads/").unwrap_or(reference).to_owned()
}

pub(crate) fn git(scm: &Element) -> Result<GitScm, ConfigError> {
    let class = scm.attribute("class").unwrap_or_default();
    if class != GIT {
        return Err(ConfigError(format!("an SCM of class “{}” does not run in Majordomo yet", short(class))));
    }
    let named = |list: &str, name: &str| -> Vec<&Element> {
        let list = scm.child(list).map(|l| l.children.as_slice()).unwrap_or_default();
        list.iter().filter(|c| c.name == name).collect()
    };
    let remotes = named("userRemoteConfigs", "hudson.plugins.git.UserRemoteConfig");
    let branches = named("branches", "hudson.plugins.git.BranchSpec");
    let remote = match remotes.as_slice() {
        [] => return Err(ConfigError::new("the Git SCM has no repository")),
        [one] => one,
        more => {
            let count = more.len();
            return Err(ConfigError(format!(
                "the Git SCM has {count} repositories; Majordomo takes one so far"
            )));
        }
    };
    if branches.len() > 1 {
        let count = branches.len();
        return Err(ConfigError(format!("the Git SCM has {count} branches; Majordomo takes one so far")));
    }
    let url = remote.word_of("url").ok_or_else(|| ConfigError::new("the Git SCM has no <url>"))?;
    let word = |name: &str| remote.word_of(name).unwrap_or_default().to_owned();
    let git = GitScm {
        url: url.to_owned(),
        credentials_id: remote.word_of("credentialsId").map(str::to_owned),
        remote: word("name"),
        refspec: word("refspec"),
        branch: branches.first().and_then(|b| b.word_of("name")).unwrap_or_default().to_owned(),
    };
    // where a parameter is named, what it is is seen later
    git.reference()?;
    Ok(git)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(remote: &str, refspec: &str, branch: &str) -> Result<String, String> {
        let (remote, refspec, branch) = (remote.to_owned(), refspec.to_owned(), branch.to_owned());
        GitScm { remote, refspec, branch, ..GitScm::default() }.reference().map_err(|e| e.to_string())
    }

    #[test]
    fn a_branch_is_found_however_it_is_written() {
        for (remote, branch, wanted) in [
            ("", "*/main", "main"),
            ("", "main", "main"),
            ("", "origin/main", "main"),
            ("", "refs/heads/a/b", "a/b"),
            ("", "refs/remotes/origin/a/b", "a/b"),
            ("", "remotes/origin/main", "main"),
            ("upstream", "upstream/main", "main"),
            ("upstream", "refs/remotes/upstream/main", "main"),
            ("upstream", "upstreams/main", "upstreams/main"),
            ("upstream", "*/main", "main"),
            ("", "refs/tags/v1", "refs/tags/v1"),
            ("", "refs/pull/7/head", "refs/pull/7/head"),
            ("", "feature/x", "feature/x"),
            ("", "${BRANCH}", "${BRANCH}"),
            ("", "", "HEAD"),
            ("", "**", "HEAD"),
        ] {
            assert_eq!(reference(remote, "", branch).unwrap(), wanted, "{branch}");
        }
    }

    #[test]
    fn a_refspec_says_what_a_branch_is_called_in_the_repository() {
        let all = "+refs/heads/*:refs/remotes/origin/*";
        let pulls = "+refs/pull/*:refs/remotes/origin/pr/*";
        for (refspec, branch, wanted) in [
            (all, "*/main", "main"),
            (pulls, "origin/pr/7/head", "refs/pull/7/head"),
            (pulls, "pr/7/merge", "refs/pull/7/merge"),
            (&format!("{all} +refs/pull/*/head:refs/remotes/origin/pr/*"), "*/pr/7", "pr/7"),
            (&format!("+refs/pull/*/head:refs/remotes/origin/pr/* {all}"), "*/pr/7", "refs/pull/7/head"),
            ("+refs/pull/7/head:refs/remotes/origin/PR-7", "PR-7", "refs/pull/7/head"),
            (pulls, "main", "main"),
            ("main", "main", "main"),
        ] {
            assert_eq!(reference("", refspec, branch).unwrap(), wanted, "{refspec} {branch}");
        }
    }

    #[test]
    fn a_pattern_of_branches_is_refused_with_a_sentence() {
        let why = reference("", "", "*/feature/*").unwrap_err();
        assert_eq!(
            why,
            "the branch */feature/* of the Git SCM is a pattern; Majordomo takes one branch so far"
        );
        assert!(reference("", "", ":^(?!main).*").unwrap_err().contains("is a regular expression;"));
        assert!(reference("", "", "*").is_err());
    }
}
