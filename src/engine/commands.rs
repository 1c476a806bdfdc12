//! What users can ask of the controller. Each command is one committed write (delete: several), then a hint.
//!
//! Called by the HTTP server and the CLI of every replica; none of them depends on which replica it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use config::{GitScm, ItemConfig, JobConfig, NodeConfig};
use model::{
    Cause, Clock, JobName, Millis, NodeName, ParamValue, ParameterDefinition, QueueId, RestartWhen,
    RolloutPhase,
};
use store::{Answer, Enqueue, ItemKind, Offline, Store, Which, Write};

use crate::definition::{self, Effective};
use crate::error::Error;
use crate::hints::Hints;
use crate::history;
use crate::programs::Programs;

/// How long a delete waits for the builds that it has stopped.
const STOP_WAIT: Duration = Duration::from_secs(15);
/// All parameters of a build as JSON: they are part of the first record of its journal.
const MAX_PARAMETERS: usize = 16 * 1024;

/// The commands; cheap to clone.
#[derive(Clone)]
pub struct Commands {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    hints: Hints,
    programs: Arc<Programs>,
}

/// A job of which a build can go into the queue.
#[derive(Debug)]
pub struct Buildable {
    job: JobName,
    quiet: Duration,
    /// Those it asks for; a build of a job that has none is given none.
    pub parameters: Vec<ParameterDefinition>,
    /// Token of *trigger builds remotely*.
    pub auth_token: Option<String>,
    /// Parameters may be named in it.
    scm: Option<GitScm>,
}

/// What `build` answers: the queue item, and whether an equal one waited already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    pub id: QueueId,
    pub existing: bool,
}

impl Commands {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        hints: Hints,
        programs: Arc<Programs>,
    ) -> Commands {
        Commands { store, clock, hints, programs }
    }

    /// For tests of what stands above the engine: commands on a store that no engine looks at.
    pub fn alone(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Commands {
        Commands::new(store, clock, Hints::new(), Arc::default())
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub fn now(&self) -> Millis {
        self.clock.now()
    }

    /// What holds for a job, whether `config.xml` or the Jenkinsfile in it says so.
    pub async fn effective(&self, job: &JobConfig) -> Effective {
        definition::effective(job, &self.programs).await
    }

    /// Creates a job or folder from its `config.xml`.
    pub async fn create_item(
        &self,
        parent: Option<&JobName>,
        name: &str,
        xml: &str,
    ) -> Result<JobName, Error> {
        let name = JobName::child(parent, name)?;
        let config = ItemConfig::parse(xml).map_err(|e| Error::Config(e.to_string()))?;
        let write = Write::CreateItem {
            name: name.clone(),
            kind: config.kind(),
            config: xml.to_owned(),
            disabled: config.disabled(),
            at: self.clock.now(),
        };
        match self.store.write(write).await {
            Err(store::Error::Exists(_)) => {
                Err(Error::Exists(format!("A job already exists with the name ‘{}’", name.short())))
            }
            other => other.map(|_| name).map_err(Error::from),
        }
    }

    /// Replaces the `config.xml` of a job or folder; its kind can't change.
    pub async fn configure_item(&self, name: &JobName, xml: &str) -> Result<(), Error> {
        let config = ItemConfig::parse(xml).map_err(|e| Error::Config(e.to_string()))?;
        let item = self.store.item(name).await?.ok_or_else(|| no_item(name))?;
        if item.summary.kind != config.kind() {
            return Err(Error::Conflict(format!(
                "{name} is a {}; its type can't be changed",
                item.summary.kind.as_str()
            )));
        }
        let write =
            Write::ConfigureItem { name: name.clone(), config: xml.to_owned(), disabled: config.disabled() };
        self.store.write(write).await?;
        self.hints.queue();
        Ok(())
    }

    pub async fn set_disabled(&self, name: &JobName, disabled: bool) -> Result<(), Error> {
        let item = self.store.item(name).await?.ok_or_else(|| no_item(name))?;
        if item.summary.kind == ItemKind::Folder {
            return Err(Error::Conflict(format!("{name} is a folder and can't be disabled")));
        }
        if item.summary.disabled == disabled {
            return Ok(());
        }
        let xml = config::with_disabled(&item.config, disabled).map_err(|e| Error::Config(e.to_string()))?;
        self.configure_item(name, &xml).await
    }

    /// Gives a job or folder another name in its folder. Builds that run go on: nothing but what users see of a build knows
    /// the name. What a build was told when it began (`JOB_NAME`, `BUILD_URL`) stays.
    pub async fn rename_item(&self, name: &JobName, new: &str) -> Result<JobName, Error> {
        let to = JobName::child(name.parent().as_ref(), new)?;
        match self.store.write(Write::RenameItem { name: name.clone(), to: to.clone() }).await {
            Err(store::Error::NotFound(_)) => Err(no_item(name)),
            Err(store::Error::Exists(_)) if to == *name => {
                Err(Error::Exists("The new name is the same as the current name.".to_owned()))
            }
            Err(store::Error::Exists(_)) => {
                Err(Error::Exists(format!("The name “{}” is already in use.", to.short())))
            }
            other => other.map(|_| to).map_err(Error::from),
        }
    }

    /// Stops the running builds of a job (or of all jobs of a folder), waits for their end and deletes it.
    pub async fn delete_item(&self, name: &JobName, by: &str) -> Result<(), Error> {
        let deadline = self.clock.elapsed() + STOP_WAIT;
        self.store.item(name).await?.ok_or_else(|| no_item(name))?;
        let mut asked = BTreeSet::new();
        loop {
            // Each once: asked a second time, a build would leave out its `post`.
            for running in self.store.running(None).await? {
                let below = running.job == *name || running.job.as_str().starts_with(&format!("{name}/"));
                if below && asked.insert(running.build) {
                    self.stop(&running.job, running.number, by).await?;
                }
            }
            match self.store.write(Write::DeleteItem { name: name.clone() }).await {
                Err(store::Error::Conflict(why)) if self.clock.elapsed() >= deadline => {
                    return Err(Error::Conflict(why));
                }
                Err(store::Error::Conflict(_)) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(error) => return Err(error.into()),
                Ok(answer) => {
                    history::forget_soon(&self.store, answer);
                    return Ok(());
                }
            }
        }
    }

    /// What builds of the job would run. An error when there can be none: it is a folder, or disabled.
    pub async fn buildable(&self, name: &JobName) -> Result<Buildable, Error> {
        let item = self.store.item(name).await?.ok_or_else(|| no_item(name))?;
        let ItemConfig::Job(config) =
            ItemConfig::parse(&item.config).map_err(|e| Error::Config(e.to_string()))?
        else {
            return Err(Error::NotFound(format!("{name} is a folder and can't be built")));
        };
        if config.disabled {
            return Err(Error::Conflict(format!("{name} is disabled")));
        }
        let parameters = definition::effective(&config, &self.programs).await.parameters;
        let quiet = Duration::from_secs(u64::from(config.quiet_period.unwrap_or(0)));
        let scm = definition::scm(&config).cloned();
        Ok(Buildable { job: name.clone(), quiet, parameters, scm, auth_token: config.auth_token })
    }

    /// Puts a build into the queue. `given`: parameters by name, `None` for a build without any.
    pub async fn build(
        &self,
        buildable: Buildable,
        given: Option<&BTreeMap<String, String>>,
        cause: Cause,
        delay: Option<Duration>,
    ) -> Result<Queued, Error> {
        let Buildable { job, quiet, parameters, scm, auth_token: _ } = buildable;
        let params = checked(&parameters, given)?;
        definition::fits(scm.as_ref(), &params).map_err(Error::Config)?;
        let now = self.clock.now();
        let buildable_at = now.plus(delay.unwrap_or(quiet));
        let enqueue = Enqueue { job, params, causes: vec![cause], at: now, buildable_at };
        match self.store.write(Write::Enqueue(enqueue)).await? {
            Answer::Queued { id, existing } => {
                self.hints.queue();
                Ok(Queued { id, existing })
            }
            other => Err(unexpected(&other)),
        }
    }

    pub async fn cancel_queued(&self, id: QueueId) -> Result<bool, Error> {
        let answer = self.store.write(Write::CancelQueued { id, at: self.clock.now() }).await?;
        Ok(answer == Answer::Bool(true))
    }

    /// Asks a running build to end. Asked again, it ends without waiting for `post` and `finally`.
    /// Nothing happens when it has ended already.
    pub async fn stop(&self, job: &JobName, number: u64, by: &str) -> Result<(), Error> {
        let build =
            self.store.build(job, Which::Number(number)).await?.ok_or_else(|| no_build(job, number))?;
        if !build.building() {
            return Ok(());
        }
        let body = crate::inbox::abort(by);
        for key in ["abort:1", "abort:2"] {
            let deliver = Write::Deliver { build: build.id, key: key.to_owned(), body: body.clone() };
            match self.store.write(deliver).await {
                Ok(Answer::Bool(false)) => {}
                Ok(_) => {
                    self.hints.inbox(build.id);
                    return Ok(());
                }
                Err(store::Error::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub async fn delete_build(&self, job: &JobName, number: u64) -> Result<(), Error> {
        let answer = self.store.write(Write::DeleteBuild { job: job.clone(), number, build: None }).await?;
        history::forget_soon(&self.store, answer);
        Ok(())
    }

    pub async fn keep_build(&self, job: &JobName, number: u64, keep: bool) -> Result<(), Error> {
        self.store.write(Write::KeepBuild { job: job.clone(), number, keep }).await?;
        Ok(())
    }

    pub async fn create_node(&self, config: &NodeConfig) -> Result<(), Error> {
        self.store.write(Write::CreateNode(config.to_node()?)).await?;
        Ok(())
    }

    /// Replaces a node's `config.xml`. The name in it must be the node's own.
    pub async fn configure_node(&self, name: &NodeName, xml: &str) -> Result<(), Error> {
        let config = NodeConfig::parse(xml).map_err(|e| Error::Config(e.to_string()))?;
        let node = config.to_node()?;
        if node.name != *name {
            return Err(Error::Conflict(format!(
                "the name in the configuration is {}, not {name}",
                node.name
            )));
        }
        self.store.write(Write::ConfigureNode(node)).await?;
        self.hints.queue();
        Ok(())
    }

    pub async fn set_offline(&self, name: &NodeName, offline: Option<(String, String)>) -> Result<(), Error> {
        let at = self.clock.now();
        let offline = offline.map(|(reason, by)| Offline { reason, by, at });
        self.store.write(Write::SetNodeOffline { name: name.clone(), offline }).await?;
        self.hints.queue();
        Ok(())
    }

    /// With a reason no build begins; those that run go on.
    pub async fn set_quiet(&self, reason: Option<String>) -> Result<(), Error> {
        self.store.write(Write::SetQuiet { reason }).await?;
        self.hints.queue();
        Ok(())
    }

    /// Asks whoever restarts the replicas to do so, one after the other; with `reload` they run then what is installed as
    /// their program. Gives the number of the restart.
    pub async fn restart(&self, when: RestartWhen, by: &str, reload: bool) -> Result<i64, Error> {
        let meta = self.store.meta().await?;
        let seen = meta.restart.number;
        let (when, reload) = joined(&meta, when, reload);
        match self.store.write(Write::AskRestart { seen, when, by: by.to_owned(), reload }).await? {
            Answer::Id(number) => Ok(number),
            other => Err(unexpected(&other)),
        }
    }

    /// Withdraws the restart that was asked for last, if it waits until no act is in flight: what has begun goes on. Gives its
    /// number; `None`: none waits.
    pub async fn withdraw_restart(&self) -> Result<Option<i64>, Error> {
        let meta = self.store.meta().await?;
        let number = meta.restart.number;
        if !waits(&meta) {
            return Ok(None);
        }
        match self.store.write(Write::WithdrawRestart { number }).await? {
            Answer::Bool(last) => Ok(last.then_some(number)),
            other => Err(unexpected(&other)),
        }
    }

    pub async fn delete_node(&self, name: &NodeName) -> Result<(), Error> {
        self.store.write(Write::DeleteNode { name: name.clone() }).await?;
        self.hints.links();
        Ok(())
    }
}

fn no_item(name: &JobName) -> Error {
    Error::NotFound(format!("there is no job {name}"))
}

fn no_build(job: &JobName, number: u64) -> Error {
    Error::NotFound(format!("there is no build {job} #{number}"))
}

pub(crate) fn unexpected(answer: &Answer) -> Error {
    Error::Store(store::Error::Corrupt(format!("the store gave an answer of another kind: {answer:?}")))
}

/// The values of a build that nobody gives any.
pub(crate) fn defaults(definitions: &[ParameterDefinition]) -> Result<BTreeMap<String, ParamValue>, Error> {
    checked(definitions, None)
}

/// Given values checked against the definitions; defaults for the rest. Values that no definition names are dropped, as
/// Jenkins does (SECURITY-170).
fn checked(
    definitions: &[ParameterDefinition],
    given: Option<&BTreeMap<String, String>>,
) -> Result<BTreeMap<String, ParamValue>, Error> {
    let mut values = BTreeMap::new();
    for definition in definitions {
        let value = match given.and_then(|g| g.get(&definition.name)) {
            None => definition.default_value(),
            Some(text) => parameter(definition, text)?,
        };
        values.insert(definition.name.clone(), value);
    }
    let size = serde_json::to_vec(&values).map_or(usize::MAX, |json| json.len());
    if size > MAX_PARAMETERS {
        return Err(Error::Config(format!(
            "the parameters have {size} bytes, over the limit of {MAX_PARAMETERS}"
        )));
    }
    Ok(values)
}

fn parameter(definition: &ParameterDefinition, text: &str) -> Result<ParamValue, Error> {
    use model::ParameterKind;
    Ok(match &definition.kind {
        ParameterKind::Boolean { .. } => ParamValue::Flag(matches!(text, "true" | "on" | "yes" | "1")),
        ParameterKind::String { trim: true, .. } => ParamValue::Text(text.trim().to_owned()),
        ParameterKind::Choice { choices } if !choices.iter().any(|c| c == text) => {
            let name = &definition.name;
            return Err(Error::Config(format!("Illegal choice for parameter {name}: {text}")));
        }
        ParameterKind::String { .. } | ParameterKind::Text { .. } | ParameterKind::Choice { .. } => {
            ParamValue::Text(text.to_owned())
        }
        ParameterKind::Password { .. } => ParamValue::Secret { secret: text.to_owned() },
    })
}

/// What is asked for now, with what was asked for before and nobody has heard yet.
fn joined(meta: &store::Meta, when: RestartWhen, reload: bool) -> (RestartWhen, bool) {
    let heard = meta.rollout.as_ref().map_or(0, |report| report.restart);
    let before = &meta.restart;
    if before.number <= heard || before.withdrawn {
        return (when, reload);
    }
    let at_once = [when, before.when].contains(&RestartWhen::Immediately);
    (if at_once { RestartWhen::Immediately } else { RestartWhen::Idle }, reload || before.reload)
}

/// Whether the restart that was asked for last has not begun, as far as it is known here.
fn waits(meta: &store::Meta) -> bool {
    let restart = &meta.restart;
    let heard = meta.rollout.as_ref().filter(|report| report.restart >= restart.number);
    restart.when == RestartWhen::Idle
        && !restart.withdrawn
        && heard.is_none_or(|report| report.phase == RolloutPhase::Waiting)
}

#[cfg(test)]
mod tests {
    use model::RolloutReport;
    use store::{Meta, Restart};

    use super::*;

    /// Number 4 was asked for.
    fn meta(heard: i64, when: RestartWhen, reload: bool) -> Meta {
        Meta {
            controller: "acme".to_owned(),
            level: 1,
            epoch: 1,
            tick: 1,
            quiet: None,
            restart: Restart { number: 4, when, by: "ann".to_owned(), reload, withdrawn: false },
            objects: None,
            joined: 1,
            rollout: Some(RolloutReport {
                phase: RolloutPhase::Settled,
                revision: "1".to_owned(),
                reason: String::new(),
                restart: heard,
                failed: None,
                message: String::new(),
                bake: None,
            }),
        }
    }

    #[test]
    fn only_a_restart_that_nobody_has_begun_with_is_withdrawn() {
        let (at_once, idle) = (RestartWhen::Immediately, RestartWhen::Idle);
        assert!(waits(&meta(3, idle, false)), "nobody has heard of it");
        assert!(waits(&Meta { rollout: None, ..meta(0, idle, false) }));
        assert!(!waits(&meta(3, at_once, false)));
        for phase in RolloutPhase::ALL {
            let mut seen = meta(4, idle, false);
            if let Some(report) = &mut seen.rollout {
                report.phase = phase;
            }
            assert_eq!(waits(&seen), phase == RolloutPhase::Waiting, "{phase:?}");
            seen.restart.withdrawn = true;
            assert!(!waits(&seen), "{phase:?}");
        }
    }

    #[test]
    fn a_restart_does_not_undo_what_was_asked_for_and_is_not_heard_yet() {
        let (at_once, idle) = (RestartWhen::Immediately, RestartWhen::Idle);
        assert_eq!(joined(&meta(3, at_once, true), idle, false), (at_once, true));
        assert_eq!(joined(&meta(3, idle, false), at_once, true), (at_once, true));
        assert_eq!(joined(&meta(3, idle, false), idle, false), (idle, false));
        assert_eq!(joined(&meta(4, at_once, true), idle, false), (idle, false));
        assert_eq!(joined(&Meta { rollout: None, ..meta(0, at_once, true) }, idle, false), (at_once, true));
        let mut withdrawn = meta(3, idle, true);
        withdrawn.restart.withdrawn = true;
        assert_eq!(joined(&withdrawn, idle, false), (idle, false));
    }
}
