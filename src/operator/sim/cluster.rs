//! A cluster in memory: objects, a StatefulSet controller, and replicas that start, drain and end, one tick after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use kube::api::DynamicObject;
use resource::{HAController, Status};
use rollout::Revision;
use serde_json::{Value, json};

use super::sets;
use crate::decide::{Decision, Outcome, decide};
use crate::kept::Kept;
use crate::kinds::Kind;
use crate::names::{FINALIZER, Owner, REVISION_LABEL, ordinal};
use crate::perform::{Applied, Live, perform};
use crate::plan::{Apis, Images};
use crate::record::Record;
use crate::remove::remove;
use crate::roll::Deed;
use crate::secrets::fresh;
use crate::seen::{SecretSeen, Seen};
use crate::status::status;
use crate::told::Told;
use crate::world::{Doomed, Removal, World};
use model::overview::{AskedRestart, Overview};
use model::{ReplicaState, RestartWhen};

/// Ticks that a replica needs to start, to drain and to end.
pub(super) const START: u32 = 2;
pub(super) const DRAIN: u32 = 2;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replica {
    pub(super) uid: String,
    pub(super) revision: String,
    /// As the StatefulSet controller knows it.
    pub(super) hash: String,
    pub(super) state: Doing,
    pub(super) restarts: i32,
    /// By a StatefulSet.
    pub(super) owned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    Starting(u32),
    Ready,
    Draining(u32),
    Drained,
    /// Its pod was removed.
    Ending(u32),
}

#[derive(Debug, Default, Clone)]
pub(super) struct State {
    pub(super) objects: BTreeMap<(Kind, String), DynamicObject>,
    pub(super) replicas: BTreeMap<usize, Replica>,
    /// Revisions of the StatefulSet: the one that all pods were ready with last, and the template's.
    pub(super) current: String,
    pub(super) update: String,
    status: Option<Status>,
    held: bool,
    pub(super) uids: u64,
    now: i64,
    writes: u32,
    /// The operator is killed at this write: before it, or after it.
    killed_at: Option<(u32, Moment)>,
    /// Pods that served and were removed by the operator without a drain.
    pub(super) torn: Vec<String>,
    /// Who was told to drain, and how long that may take.
    drains: Vec<(String, Duration)>,
    busy: u64,
    restart: AskedRestart,
    store_away: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

/// Why a write did not come to pass, as far as its writer knows.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    #[error("the operator was killed")]
    Killed,
    #[error("somebody else has written it meanwhile")]
    Conflict,
    #[error("{0}")]
    Refused(&'static str),
}

pub(super) struct Cluster {
    pub(super) controller: HAController,
    /// Images with which no replica becomes ready.
    pub(super) broken: BTreeSet<String>,
    /// Images that can't be had.
    pub(super) absent: BTreeSet<String>,
    /// Images with which replicas serve, and never answer the operator.
    pub(super) silent: BTreeSet<String>,
    /// Ordinals whose pods no node takes.
    pub(super) nowhere: BTreeSet<usize>,
    /// Replicas that serve, and whose probes fail.
    pub(super) blinking: BTreeSet<usize>,
    /// For so many seconds.
    pub(super) blinks: i64,
    /// Somebody lets nobody remove these.
    pub(super) locked: BTreeSet<Kind>,
    /// By so many ticks the watches are late.
    pub(super) lag: usize,
    /// Of the operator.
    pub(super) images: Images,
    state: Mutex<State>,
    /// How all was at each tick.
    past: Mutex<Vec<State>>,
}

impl Cluster {
    pub(super) fn new(controller: HAController) -> Cluster {
        let images = Images { replica: "ours:1".to_owned(), postgres: "postgres:1".to_owned() };
        Cluster {
            controller,
            broken: BTreeSet::new(),
            absent: BTreeSet::new(),
            silent: BTreeSet::new(),
            nowhere: BTreeSet::new(),
            blinking: BTreeSet::new(),
            blinks: 0,
            locked: BTreeSet::new(),
            lag: 0,
            images,
            state: Mutex::default(),
            past: Mutex::default(),
        }
    }

    /// Another one that is as this one is now.
    pub(super) fn copy(&self) -> Cluster {
        let state = Mutex::new(self.state().clone());
        let past = Mutex::new(self.past.lock().unwrap().clone());
        Cluster {
            controller: self.controller.clone(),
            broken: self.broken.clone(),
            absent: self.absent.clone(),
            silent: self.silent.clone(),
            nowhere: self.nowhere.clone(),
            blinking: self.blinking.clone(),
            blinks: self.blinks,
            locked: self.locked.clone(),
            lag: self.lag,
            images: self.images.clone(),
            state,
            past,
        }
    }

    /// Of the pod of this ordinal, whether it serves or not.
    pub(super) fn image(&self, ordinal: usize) -> String {
        let state = self.state();
        state.replicas.get(&ordinal).map(|replica| image_of(&state, &replica.revision)).unwrap_or_default()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What the watches have brought.
    fn view<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        let past = self.past.lock().unwrap();
        let late = past.len().checked_sub(self.lag).filter(|_| self.lag > 0).and_then(|at| past.get(at));
        match late {
            Some(late) => look(late),
            None => look(&self.state()),
        }
    }

    pub(super) fn kill_at(&self, write: u32, moment: Moment) {
        let mut state = self.state();
        state.killed_at = Some((state.writes + write, moment));
    }

    pub(super) fn writes(&self) -> u32 {
        self.state().writes
    }

    pub(super) fn torn(&self) -> Vec<String> {
        self.state().torn.clone()
    }

    pub(super) fn drains(&self) -> Vec<(String, Duration)> {
        self.state().drains.clone()
    }

    /// Whether the finalizer is still there.
    pub(super) fn held(&self) -> bool {
        self.state().held
    }

    /// Somebody removes the controller.
    pub(super) fn delete(&mut self) {
        let now = Timestamp::from_second(1_800_000_000 + self.state().now).unwrap();
        self.controller.metadata.deletion_timestamp = Some(Time(now));
    }

    pub(super) fn busy(&self, busy: u64) {
        self.state().busy = busy;
    }

    pub(super) fn ask(&self, number: i64, when: RestartWhen, withdrawn: bool) {
        let restart = AskedRestart { number, when, by: "admin".to_owned(), withdrawn, reload: false };
        self.state().restart = restart;
    }

    /// The database is away, or back.
    pub(super) fn store_away(&self, away: bool) {
        self.state().store_away = away;
    }

    /// A pod is gone at once, as by `kubectl delete --force`.
    pub(super) fn lose(&self, ordinal: usize) {
        self.state().replicas.remove(&ordinal);
    }

    pub(super) fn remove_object(&self, kind: Kind, name: &str) {
        self.state().objects.remove(&(kind, name.to_owned()));
    }

    pub(super) fn change(&self, kind: Kind, name: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        state.uids += 1;
        let version = state.uids.to_string();
        let object = state.objects.get_mut(&(kind, name.to_owned())).unwrap();
        object.metadata.resource_version = Some(version);
        change(&mut object.data);
    }

    pub(super) fn object(&self, kind: Kind, name: &str) -> Option<DynamicObject> {
        self.state().objects.get(&(kind, name.to_owned())).cloned()
    }

    pub(super) fn names(&self, kind: Kind) -> Vec<String> {
        self.state().objects.keys().filter(|(of, _)| *of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Images of the pods, by ordinal; those that serve only.
    pub(super) fn serving(&self) -> Vec<(usize, String)> {
        let state = self.state();
        let ready = state.replicas.iter().filter(|(_, replica)| replica.state == Doing::Ready);
        ready.map(|(ordinal, replica)| (*ordinal, image_of(&state, &replica.revision))).collect()
    }

    /// Of the pod of this ordinal.
    pub(super) fn uid(&self, ordinal: usize) -> String {
        self.state().replicas.get(&ordinal).map(|replica| replica.uid.clone()).unwrap_or_default()
    }

    /// Pods that are about to end.
    pub(super) fn ending(&self) -> usize {
        let state = self.state();
        state.replicas.values().filter(|replica| matches!(replica.state, Doing::Ending(_))).count()
    }

    pub(super) fn pods(&self) -> usize {
        self.state().replicas.len()
    }

    fn owner(&self) -> Owner {
        Owner { namespace: "ci".to_owned(), name: "acme".to_owned(), uid: "uid-1".to_owned() }
    }

    pub(super) fn seen(&self) -> Seen {
        let state = self.view(State::clone);
        let typed = |kind, name: &str| state.objects.get(&(kind, name.to_owned()));
        let mut set = typed(Kind::StatefulSet, "acme").and_then(from::<StatefulSet>);
        if let Some(set) = set.as_mut().filter(|_| !state.current.is_empty()) {
            let current_revision = Some("known".to_owned());
            set.status = Some(StatefulSetStatus { current_revision, ..StatefulSetStatus::default() });
        }
        let records = state.objects.iter().filter(|((kind, _), _)| *kind == Kind::ControllerRevision);
        let records = records.filter_map(|(_, object)| Record::read(&from(object)?)).collect();
        let secrets =
            state.objects.iter().filter(|((kind, _), _)| *kind == Kind::Secret).map(|((_, name), object)| {
                let keys =
                    ["data", "stringData"].iter().filter_map(|field| object.data.get(field)?.as_object());
                let keys = keys.flat_map(|map| map.keys().cloned()).collect();
                (name.clone(), SecretSeen { keys, digest: object.uid().unwrap() })
            });
        let mut controller = self.controller.clone();
        // what was told last is remembered
        controller.status.clone_from(&self.state().status);
        if state.held {
            controller.finalizers_mut().push(FINALIZER.to_owned());
        }
        // what follows is one expression: whoever is locked in it stays locked to its end
        let now = self.state();
        Seen {
            now: Timestamp::from_second(1_800_000_000 + now.now).unwrap(),
            owner: self.owner(),
            controller,
            apis: Apis::default(),
            records,
            below: set.as_ref().and_then(|_| revision_of(&state.current)).map(Revision),
            set,
            pods: state
                .replicas
                .iter()
                .map(|(ordinal, replica)| self.pod(&state, *ordinal, replica))
                .collect(),
            postgres: typed(Kind::StatefulSet, "acme-postgres").and_then(from::<StatefulSet>),
            postgres_pods: Vec::new(),
            secrets: secrets.collect(),
            config_maps: BTreeMap::new(),
            claims: BTreeMap::new(),
            storage_classes: None,
            address: None,
            class_known: None,
            told: {
                let silent = |ordinal: &usize| {
                    let replica = now.replicas.get(ordinal);
                    replica.is_some_and(|replica| self.silent.contains(&image_of(&now, &replica.revision)))
                };
                told(&now, &state).into_iter().filter(|(ordinal, _)| !silent(ordinal)).collect()
            },
            lost_nodes: BTreeMap::new(),
            disruptions_allowed: None,
            held: None,
            others: Vec::new(),
            databases: Vec::new(),
        }
    }

    fn pod(&self, state: &State, ordinal: usize, replica: &Replica) -> Pod {
        let ready = matches!(replica.state, Doing::Ready) && !self.blinking.contains(&ordinal);
        let absent = self.absent.contains(&image_of(state, &replica.revision));
        let mut pod = json!({
            "metadata": {
                "name": format!("acme-{ordinal}"),
                "uid": replica.uid,
                "labels": { REVISION_LABEL: replica.revision },
                "ownerReferences": if replica.owned {
                    json!([{ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "acme", "uid": "set" }])
                } else {
                    json!([])
                },
            },
            "spec": { "containers": [] },
            "status": {
                "phase": "Running",
                "conditions": [{
                    "type": "Ready",
                    "status": if ready { "True" } else { "False" },
                    "lastTransitionTime": Timestamp::from_second(1_800_000_000 + state.now - self.blinks).unwrap(),
                }],
                "containerStatuses": [{
                    "name": "majordomo", "image": "", "imageID": "", "ready": ready,
                    "restartCount": replica.restarts,
                    "state": if absent {
                        json!({ "waiting": { "reason": "ErrImagePull", "message": "not found" } })
                    } else {
                        json!({ "running": {} })
                    },
                    "lastState": if replica.restarts > 0 {
                        json!({ "terminated": { "exitCode": 1, "message": "it is broken" } })
                    } else {
                        json!({})
                    },
                }],
            },
        });
        if matches!(replica.state, Doing::Ending(_)) {
            pod["metadata"]["deletionTimestamp"] = json!("2027-01-15T08:00:00Z");
        }
        serde_json::from_value(pod).unwrap()
    }

    /// One reconcile; whether the operator has lived through it.
    pub(super) async fn reconcile(&self, applied: &Applied) -> Result<Decision, Failed> {
        let seen = self.seen();
        if seen.controller.metadata.deletion_timestamp.is_some() {
            return self.end(&seen).await;
        }
        if !self.state().held {
            self.hold(&seen.owner, true).await?;
        }
        let mut decision = decide(&seen, &self.images, &fresh().unwrap());
        let refused = perform(self, &seen, &decision, self, applied).await?;
        decision.outcome.faults.extend(refused);
        let after = status(&seen, &decision.outcome, &seen.controller.status.clone().unwrap_or_default());
        if seen.controller.status.as_ref() != Some(&after) {
            self.tell(&seen.owner, &after).await?;
        }
        Ok(decision)
    }

    /// The same for one that is being removed.
    async fn end(&self, seen: &Seen) -> Result<Decision, Failed> {
        let outcome = Outcome { faults: Vec::new(), rolled: None, wanted: None };
        let nothing = Decision { objects: None, forget: Vec::new(), deed: Deed::Nothing, outcome };
        let held = self.state().held;
        if held && remove(self, seen).await? {
            self.hold(&seen.owner, false).await?;
        } else if held {
            let before = seen.controller.status.clone().unwrap_or_default();
            let after = status(seen, &nothing.outcome, &before);
            if before != after {
                self.tell(&seen.owner, &after).await?;
            }
        }
        Ok(nothing)
    }

    /// What everybody but the operator does in a second.
    pub(super) fn tick(&self) {
        let mut state = self.state();
        let mut past = self.past.lock().unwrap();
        past.push(state.clone());
        if past.len() > self.lag + 1 {
            past.remove(0);
        }
        drop(past);
        state.now += 1;
        let away = state.store_away;
        let is =
            |of: &BTreeSet<String>, state: &State, revision: &str| of.contains(&image_of(state, revision));
        let mut gone = Vec::new();
        let states: Vec<_> = state.replicas.iter().map(|(o, r)| (*o, r.clone())).collect();
        for (ordinal, replica) in states {
            let bad = is(&self.broken, &state, &replica.revision);
            let absent = is(&self.absent, &state, &replica.revision);
            let Some(replica) = state.replicas.get_mut(&ordinal) else { continue };
            replica.state = match replica.state {
                Doing::Starting(_) if bad => {
                    replica.restarts += 1;
                    Doing::Starting(START)
                }
                same @ Doing::Starting(_) if absent || self.nowhere.contains(&ordinal) => same,
                // it waits for the startup lock, and hands nothing over
                same @ (Doing::Starting(_) | Doing::Draining(_)) if away => same,
                Doing::Starting(0) => Doing::Ready,
                Doing::Starting(left) => Doing::Starting(left - 1),
                Doing::Draining(0) => Doing::Drained,
                Doing::Draining(left) => Doing::Draining(left - 1),
                Doing::Ending(0) => {
                    gone.push(ordinal);
                    Doing::Ending(0)
                }
                Doing::Ending(left) => Doing::Ending(left - 1),
                same => same,
            };
        }
        for ordinal in gone {
            state.replicas.remove(&ordinal);
        }
        sets::control(&mut state);
    }

    /// Reconciles and ticks until nothing changes any more; the operator is started again when it was killed.
    pub(super) async fn settle(&self, mut each: impl FnMut(&Cluster)) {
        let mut applied = Applied::default();
        let mut quiet = 0;
        for _ in 0..400 {
            let before = (self.writes(), self.state().replicas.clone());
            if self.reconcile(&applied).await.err() == Some(Failed::Killed) {
                // another process, which knows nothing
                applied = Applied::default();
                self.state().killed_at = None;
            }
            each(self);
            self.tick();
            let after = (self.writes(), self.state().replicas.clone());
            quiet = if before == after { quiet + 1 } else { 0 };
            if quiet > 3 + self.lag {
                return;
            }
        }
        panic!("it does not come to rest: {:#?}", self.state().status);
    }

    fn write(&self, write: impl FnOnce(&mut State)) -> Result<(), Failed> {
        let mut state = self.state();
        state.writes += 1;
        match state.killed_at {
            Some((at, Moment::Before)) if state.writes >= at => return Err(Failed::Killed),
            _ => write(&mut state),
        }
        match state.killed_at {
            Some((at, Moment::After)) if state.writes >= at => Err(Failed::Killed),
            _ => Ok(()),
        }
    }
}

fn from<T: serde::de::DeserializeOwned>(object: &DynamicObject) -> Option<T> {
    serde_json::from_value(serde_json::to_value(object).unwrap()).ok()
}

/// The revision that a template says.
pub(super) fn revision_of(template: &str) -> Option<String> {
    let template: Value = serde_json::from_str(template).ok()?;
    Some(template["metadata"]["labels"][REVISION_LABEL].as_str()?.to_owned())
}

fn image_of(state: &State, revision: &str) -> String {
    let record = state.objects.get(&(Kind::ControllerRevision, format!("acme-revision-{revision}")));
    let image = record.and_then(|r| r.data.pointer("/data/template/spec/containers/0/image")?.as_str());
    image.unwrap_or_default().to_owned()
}

/// Pods are asked where they were seen.
fn told(state: &State, view: &State) -> BTreeMap<usize, Told> {
    let word = |doing| match doing {
        Doing::Starting(_) => ReplicaState::Starting,
        Doing::Ready => ReplicaState::Ready,
        Doing::Draining(_) | Doing::Drained | Doing::Ending(_) => ReplicaState::Draining,
    };
    let members: Vec<model::overview::Seen> = state
        .replicas
        .iter()
        .map(|(ordinal, replica)| model::overview::Seen {
            name: format!("acme-{ordinal}"),
            state: Some(word(replica.state)),
            ..model::overview::Seen::default()
        })
        .collect();
    let seen =
        |ordinal, replica: &Replica| view.replicas.get(ordinal).is_some_and(|then| then.uid == replica.uid);
    let answers = state
        .replicas
        .iter()
        .filter(|(ordinal, replica)| !matches!(replica.state, Doing::Starting(_)) && seen(*ordinal, replica));
    let of = |replica: &Replica| Overview {
        state: Some(word(replica.state)),
        drained: replica.state == Doing::Drained,
        members: members.clone(),
        busy: state.busy,
        restart: state.restart.clone(),
        store_answers: !state.store_away,
        ..Overview::default()
    };
    answers.map(|(ordinal, replica)| (*ordinal, Told::Overview(Box::new(of(replica))))).collect()
}

impl World for Cluster {
    type Error = Failed;

    async fn apply(&self, _: &Owner, kind: Kind, object: &DynamicObject) -> Result<DynamicObject, Failed> {
        let there = self.object(kind, &object.name_any());
        let version = |object: &DynamicObject| object.metadata.resource_version.clone();
        if let Some(given) = version(object)
            && there.as_ref().and_then(version) != Some(given)
        {
            return Err(Failed::Conflict);
        }
        if kind == Kind::StatefulSet && there.is_some_and(|there| !sets::can_become(&there, object)) {
            return Err(Failed::Refused(sets::UNCHANGEABLE));
        }
        self.write(|state| put(state, kind, object))?;
        Ok(self.object(kind, &object.name_any()).unwrap_or_else(|| object.clone()))
    }

    async fn create(&self, _: &Owner, kind: Kind, object: &DynamicObject) -> Result<(), Failed> {
        self.write(|state| {
            if !state.objects.contains_key(&(kind, object.name_any())) {
                put(state, kind, object);
            }
        })
    }

    async fn foreign(&self, owner: &Owner, kind: Kind, name: &str) -> Result<bool, Failed> {
        let object = self.object(kind, name);
        Ok(object.is_some_and(|object| !owner.has(&object)))
    }

    async fn remove(&self, _: &Owner, doomed: &Doomed) -> Result<(), Failed> {
        let removed = self.controller.metadata.deletion_timestamp.is_some();
        if self.locked.contains(&doomed.kind) {
            return Err(Failed::Refused("nobody may remove it"));
        }
        self.write(|state| {
            if doomed.kind == Kind::StatefulSet && doomed.name == "acme" {
                return sets::remove(state, doomed.how == Removal::Orphan);
            }
            if doomed.kind != Kind::Pod {
                state.objects.remove(&(doomed.kind, doomed.name.clone()));
                return;
            }
            let ordinal = ordinal("acme", &doomed.name).unwrap();
            let same = state.replicas.get(&ordinal).filter(|r| Some(&r.uid) == doomed.uid.as_ref());
            let Some(replica) = same.cloned() else { return };
            if replica.state == Doing::Ready && doomed.how == Removal::Plain && !removed {
                state.torn.push(doomed.name.clone());
            }
            sets::end(state, ordinal);
        })
    }

    async fn drain(&self, _: &Owner, pod: &str, within: Duration) -> Result<(), Failed> {
        self.write(|state| {
            state.drains.push((pod.to_owned(), within));
            let replica = ordinal("acme", pod).and_then(|ordinal| state.replicas.get_mut(&ordinal));
            if let Some(replica) = replica.filter(|replica| replica.state == Doing::Ready) {
                replica.state = Doing::Draining(DRAIN);
            }
        })
    }

    async fn tell(&self, _: &Owner, status: &Status) -> Result<(), Failed> {
        self.write(|state| state.status = Some(status.clone()))
    }

    async fn hold(&self, _: &Owner, held: bool) -> Result<(), Failed> {
        self.write(|state| state.held = held)
    }

    fn refusal(error: &Failed) -> Option<String> {
        match error {
            Failed::Refused(said) => Some((*said).to_owned()),
            Failed::Killed | Failed::Conflict => None,
        }
    }
}

fn put(state: &mut State, kind: Kind, object: &DynamicObject) {
    let mut object = object.clone();
    let key = (kind, object.name_any());
    let there = state.objects.get(&key).map(|there| &there.metadata);
    let before = there.and_then(|there| there.uid.clone());
    object.metadata.deletion_timestamp = there.and_then(|there| there.deletion_timestamp.clone());
    object.metadata.uid = Some(before.unwrap_or_else(|| {
        state.uids += 1;
        format!("uid-of-{}", state.uids)
    }));
    let same = |before: &DynamicObject| {
        before.data == object.data && before.metadata.annotations == object.metadata.annotations
    };
    let version = state
        .objects
        .get(&key)
        .filter(|before| same(before))
        .and_then(|b| b.metadata.resource_version.clone());
    object.metadata.resource_version = Some(version.unwrap_or_else(|| {
        state.uids += 1;
        state.uids.to_string()
    }));
    state.objects.insert(key, object);
}

impl Live for Cluster {
    fn get(&self, kind: Kind, name: &str) -> Option<Arc<Kept>> {
        self.view(|state| state.objects.get(&(kind, name.to_owned())).map(|it| Arc::new(Kept::new(kind, it))))
    }

    fn all(&self) -> Vec<(Kind, Arc<Kept>)> {
        self.view(|state| {
            let all = state.objects.iter().filter(|((kind, _), _)| kind.pruned());
            all.map(|((kind, _), object)| (*kind, Arc::new(Kept::new(*kind, object)))).collect()
        })
    }
}

/// So much later, for what waits long.
impl Cluster {
    pub(super) fn later(&self, by: SignedDuration) {
        self.state().now += by.as_secs();
    }

    pub(super) fn told(&self) -> Status {
        self.state().status.clone().unwrap_or_default()
    }
}
