//! Names of jobs, nodes and replicas: what they may be, and the sentence for what they may not.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// Longest name of one job, folder or node, in bytes.
pub const MAX_NAME: usize = 200;
/// Longest full name (all folders and the job), in bytes.
const MAX_FULL_NAME: usize = 2_000;
/// What Jenkins refuses in the name of a job (`jenkins.model.Jenkins#checkGoodName`).
const UNSAFE: &str = "?*/\\%!@#$^&|<>[]:;";

/// Why a name is refused. The sentences are those of Jenkins where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("No name is specified")]
    Empty,
    #[error("‘{0}’ is an unsafe character")]
    Unsafe(char),
    #[error("No control code is allowed")]
    Control,
    #[error("A name cannot end with ‘.’")]
    EndsWithDot,
    #[error("“{0}” is not an allowed name")]
    Dots(String),
    #[error("A name cannot begin or end with a space")]
    Space,
    #[error("The name is longer than {MAX_NAME} bytes")]
    Long,
    #[error("The full name is longer than {MAX_FULL_NAME} bytes")]
    Deep,
    #[error("“{0}” has characters other than a-z, 0-9 and ‘-’")]
    NotDns(String),
}

fn check_segment(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(NameError::Dots(name.to_owned()));
    }
    if name.len() > MAX_NAME {
        return Err(NameError::Long);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    if let Some(bad) = name.chars().find(|c| UNSAFE.contains(*c)) {
        return Err(NameError::Unsafe(bad));
    }
    if name.trim() != name {
        return Err(NameError::Space);
    }
    if name.ends_with('.') {
        return Err(NameError::EndsWithDot);
    }
    Ok(())
}

/// The full name of a job or folder: `/` between folders, no leading or trailing one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct JobName(String);

impl JobName {
    pub fn parse(full: &str) -> Result<JobName, NameError> {
        full.split('/').try_for_each(check_segment)?;
        if full.len() > MAX_FULL_NAME {
            return Err(NameError::Deep);
        }
        Ok(JobName(full.to_owned()))
    }

    /// `name` inside the folder `parent`, or at the top.
    pub fn child(parent: Option<&JobName>, name: &str) -> Result<JobName, NameError> {
        check_segment(name)?;
        match parent {
            Some(parent) => JobName::parse(&format!("{}/{name}", parent.0)),
            None => JobName::parse(name),
        }
    }

    /// What `text` in the configuration of this job may mean, the likelier one first: a job seen from its folder, with `..`
    /// for the folder around; a full name, which `/` may begin.
    pub fn seen_from(&self, text: &str) -> Vec<JobName> {
        let text = text.trim();
        let absolute = JobName::parse(text.trim_start_matches('/')).ok();
        let relative = Some(text).filter(|text| !text.starts_with('/')).and_then(|text| self.relative(text));
        let mut names: Vec<JobName> = relative.into_iter().chain(absolute).collect();
        names.dedup();
        names
    }

    fn relative(&self, text: &str) -> Option<JobName> {
        let mut path: Vec<&str> = self.0.split('/').collect();
        path.pop();
        for segment in text.split('/') {
            match segment {
                "." => {}
                ".." => drop(path.pop()?),
                name => path.push(name),
            }
        }
        JobName::parse(&path.join("/")).ok()
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last segment.
    pub fn short(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    pub fn parent(&self) -> Option<JobName> {
        self.0.rsplit_once('/').map(|(parent, _)| JobName(parent.to_owned()))
    }

    /// No two names may be equal under this key.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }

    /// This name once the item `from` is called `to`: its own, or with another folder in it. `None`: it is neither that
    /// item nor inside of it.
    pub fn renamed(&self, from: &JobName, to: &JobName) -> Option<Result<JobName, NameError>> {
        let rest = self.0.strip_prefix(&from.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(JobName::parse(&format!("{to}{rest}")))
    }
}

/// The name of a node (agent).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct NodeName(String);

impl NodeName {
    pub fn parse(name: &str) -> Result<NodeName, NameError> {
        check_segment(name)?;
        Ok(NodeName(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// No two names may be equal under this key.
    pub fn key(&self) -> String {
        self.0.to_lowercase()
    }
}

/// The name of a replica: a DNS label of at most 63 characters, as a pod's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ReplicaName(String);

impl ReplicaName {
    pub fn parse(name: &str) -> Result<ReplicaName, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let fits = name.len() <= 63 && !name.starts_with('-') && !name.ends_with('-');
        if !fits || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return Err(NameError::NotDns(name.to_owned()));
        }
        Ok(ReplicaName(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                $name::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text!(JobName, NodeName, ReplicaName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_dots_slashes_or_control_characters_is_refused_with_a_sentence() {
        for (name, why) in [
            ("", "No name is specified"),
            ("..", "“..” is not an allowed name"),
            ("a/../b", "“..” is not an allowed name"),
            ("a//b", "No name is specified"),
            ("a\u{7}b", "No control code is allowed"),
            ("what?", "‘?’ is an unsafe character"),
            ("end.", "A name cannot end with ‘.’"),
            (" a", "A name cannot begin or end with a space"),
        ] {
            assert_eq!(JobName::parse(name).unwrap_err().to_string(), why, "{name:?}");
        }
        assert!(JobName::parse(&"x".repeat(201)).is_err());
        assert!(JobName::parse(&"x".repeat(200)).is_ok());
        assert!(JobName::parse(&vec!["x".repeat(200); 11].join("/")).is_err());
    }

    #[test]
    fn a_job_names_others_from_where_it_is() {
        let job = JobName::parse("team/web/app").unwrap();
        let seen =
            |text: &str| job.seen_from(text).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        for (text, names) in [
            ("test", "team/web/test test"),
            (" ../api/test ", "team/api/test"),
            ("./test", "team/web/test"),
            ("/team/web/test", "team/web/test"),
            ("../../../../x", ""),
            ("what?", ""),
            ("", ""),
        ] {
            assert_eq!(seen(text), names, "{text:?}");
        }
        assert_eq!(JobName::parse("top").unwrap().seen_from("a").len(), 1);
    }

    #[test]
    fn a_full_name_knows_its_folder_and_its_short_name() {
        let name = JobName::parse("team/web/feature%2Fx".replace('%', "-").as_str()).unwrap();
        assert_eq!(name.short(), "feature-2Fx");
        assert_eq!(name.parent().unwrap().as_str(), "team/web");
        assert_eq!(JobName::parse("a").unwrap().parent(), None);
    }

    #[test]
    fn a_renamed_folder_is_in_the_names_of_all_that_is_in_it() {
        let name = |text: &str| JobName::parse(text).unwrap();
        let renamed = |text: &str| name(text).renamed(&name("team/web"), &name("team/site"));
        assert_eq!(renamed("team/web"), Some(Ok(name("team/site"))));
        assert_eq!(renamed("team/web/app"), Some(Ok(name("team/site/app"))));
        assert_eq!(renamed("team/webapp"), None);
        assert_eq!(renamed("team"), None);
        let (short, long) = (name("a"), name(&"x".repeat(200)));
        let deep = name(&format!("a{}", format!("/{long}").repeat(9)));
        assert_eq!(deep.renamed(&short, &long), Some(Err(NameError::Deep)));
    }

    #[test]
    fn a_replica_name_is_a_dns_label() {
        assert!(ReplicaName::parse("acme-0").is_ok());
        for bad in ["", "A", "a_b", "-a", "a-", "a.b"] {
            assert!(ReplicaName::parse(bad).is_err(), "{bad}");
        }
    }
}
