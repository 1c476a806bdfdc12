//! What the blocks around a step say about it: executor, folder, environment, timers, stage.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Vm;
use super::fault::{Fault, class};
use crate::act::{BuildResult, Granted, Place, StepId};

/// Handed from frame to frame; a block changes a copy, so leaving it restores everything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    pub(crate) node: Option<Arc<NodeContext>>,
    pub(crate) dir: String,
    /// What `withEnv` and `environment` add.
    pub(crate) env: Arc<BTreeMap<String, String>>,
    pub(crate) timers: Vec<StepId>,
    pub(crate) stage: Option<StepId>,
    /// Inside a `post` condition: the result that the build has there, with the error that is still to be thrown.
    pub(crate) shown: Option<BuildResult>,
}

#[derive(Debug, Clone)]
pub(crate) struct NodeContext {
    pub(crate) act: StepId,
    pub(crate) grant: Arc<Granted>,
}

impl NodeContext {
    fn variable(&self, name: &str) -> Option<String> {
        Some(match name {
            "NODE_NAME" => self.grant.node.clone(),
            "EXECUTOR_NUMBER" => self.grant.executor.to_string(),
            "WORKSPACE" => self.grant.workspace.clone(),
            "WORKSPACE_TMP" => format!("{}@tmp", self.grant.workspace),
            "NODE_LABELS" => self.grant.labels.join(" "),
            _ => return None,
        })
    }
}

const NODE_VARIABLES: [&str; 5] =
    ["EXECUTOR_NUMBER", "NODE_LABELS", "NODE_NAME", "WORKSPACE", "WORKSPACE_TMP"];

impl Vm {
    /// Where the step with this name would do its work.
    pub(crate) fn place(&self, step: &str) -> Result<Place, Fault> {
        let context = self.cur.context();
        match &context.node {
            Some(node) => {
                Ok(Place { node: node.act.clone(), name: node.grant.node.clone(), dir: context.dir.clone() })
            }
            None => Err(missing(step)),
        }
    }

    pub(crate) fn node(&self, step: &str) -> Result<Arc<NodeContext>, Fault> {
        self.cur.context().node.clone().ok_or_else(|| missing(step))
    }

    /// The result of the build as the code that runs sees it.
    pub(crate) fn result_shown(&self) -> Option<BuildResult> {
        self.globals.result.max(self.cur.context().shown)
    }

    /// A variable as `env.X` sees it.
    pub(crate) fn env(&self, name: &str) -> Option<String> {
        let context = self.cur.context();
        if let Some(value) = context.env.get(name).or_else(|| self.globals.env.get(name)) {
            return Some(value.clone());
        }
        let node = context.node.as_deref();
        node.and_then(|n| n.variable(name))
            .or_else(|| self.began.params.get(name).map(ToString::to_string))
            .or_else(|| self.began.env.get(name).cloned())
            .or_else(|| node.and_then(|n| n.grant.env.get(name).cloned()))
    }

    /// What a process gets on top of the agent's own environment.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        let context = self.cur.context();
        let mut all = self.began.env.clone();
        all.extend(self.began.params.iter().map(|(name, value)| (name.clone(), value.to_string())));
        if let Some(node) = &context.node {
            for name in NODE_VARIABLES {
                all.extend(node.variable(name).map(|value| (name.to_owned(), value)));
            }
        }
        all.extend(self.globals.env.clone());
        all.extend(context.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        all
    }

    /// The text with the variables that it names, where they are known.
    pub(crate) fn expanded(&self, text: &str) -> String {
        expand(text, &|name| self.env(name))
    }

    /// The environment with `NAME=value` and `PATH+X=value` added.
    pub(crate) fn overlaid(&self, settings: &[String]) -> Result<Arc<BTreeMap<String, String>>, Fault> {
        let context = self.cur.context();
        let mut env = (*context.env).clone();
        let unix = context.node.as_ref().is_none_or(|n| n.grant.unix);
        for setting in settings {
            let Some((name, value)) = setting.split_once('=') else {
                return Err(Fault::argument(format!("{setting:?} is not of the form NAME=value")));
            };
            let look = |name: &str| env.get(name).cloned().or_else(|| self.env(name));
            let value = expand(value, &look);
            match name.split_once('+') {
                Some((base, _)) => {
                    let old = look(base).filter(|old| !old.is_empty());
                    let joined = match old {
                        Some(old) => format!("{value}{}{old}", if unix { ':' } else { ';' }),
                        None => value,
                    };
                    env.insert(base.to_owned(), joined);
                }
                None => {
                    env.insert(name.to_owned(), value);
                }
            }
        }
        Ok(Arc::new(env))
    }
}

fn missing(step: &str) -> Fault {
    let message = format!(
        "Required context class hudson.FilePath is missing\n\
         Perhaps you forgot to surround the {step} step with a step that provides this, such as: node"
    );
    Fault::new(class::CONTEXT, message)
}

/// Replaces `$NAME` and `${NAME}` where the name is known.
fn expand(text: &str, look: &dyn Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let braced = rest.strip_prefix("${").and_then(|r| r.split_once('}'));
        let plain = rest[1..]
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .map_or(&rest[1..], |n| &rest[1..=n]);
        let (name, used) = braced.map_or((plain, plain.len() + 1), |(name, _)| (name, name.len() + 3));
        match look(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(&value),
            None => out.push_str(&rest[..used]),
        }
        rest = &rest[used..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    #[test]
    fn known_names_are_expanded_and_others_stay() {
        let look = |name: &str| (name == "A").then(|| "x".to_owned());
        assert_eq!(super::expand("$A/${A}b/$B/${C}$", &look), "x/xb/$B/${C}$");
    }
}
