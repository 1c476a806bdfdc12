//! What is known of the objects of all controllers without asking: one watch for each kind. Nothing is listed again and again, and
//! whoever wants those of one controller looks at these only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use kube::api::DynamicObject;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use resource::HAController;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::index::Index;
use crate::kept::Kept;
use crate::kinds::Kind;
use crate::names::{Component, FIELD_MANAGER, Owner};
use crate::plan::Apis;

/// For so long it is waited for all that is watched: a namespace or a kind that nobody may watch keeps nobody else waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// A watch that has not brought all there is by then is told.
const SLOW: Duration = Duration::from_secs(30);

/// So many objects are read at once in the beginning: the memory that a page takes stays with the process.
const PAGE: u32 = 100;

/// A controller, or why it can't be read: it may have been written under another definition.
pub(crate) type Guarded = DeserializeGuard<HAController>;

/// All that is watched in one namespace, or in all.
#[derive(Clone)]
pub(crate) struct Caches {
    pub controllers: Store<Guarded>,
    objects: BTreeMap<Kind, Store<Kept>>,
    names: BTreeMap<Kind, Arc<Index>>,
    since: Instant,
    ready: Arc<OnceCell<()>>,
    whole: Arc<OnceCell<()>>,
}

/// What the watches bring: to be polled, or nothing is known.
pub(crate) struct Watches {
    /// Controllers that were written.
    pub controllers: BoxStream<'static, Result<Guarded, watcher::Error>>,
    /// Controllers of which an object has changed.
    pub touched: BoxStream<'static, ObjectRef<Guarded>>,
}

/// Begins to watch a namespace; `None`: all of them.
pub(crate) fn watch(client: &Client, namespace: Option<&str>, apis: Apis) -> (Caches, Watches) {
    let api = match namespace {
        None => Api::<Guarded>::all(client.clone()),
        Some(name) => Api::namespaced(client.clone(), name),
    };
    let (controllers, writer) = reflector::store();
    let written = watcher(api, watcher::Config::default()).default_backoff();
    let written = written.modify(|object| object.managed_fields_mut().clear());
    let written = reflector::reflector(writer, written).applied_objects().boxed();
    let (mut objects, mut names, mut touched) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for kind in Kind::ALL.into_iter().filter(|kind| kind.known(apis)) {
        let resource = kind.resource();
        let api = match namespace {
            None => Api::<DynamicObject>::all_with(client.clone(), &resource),
            Some(name) => Api::namespaced_with(client.clone(), name, &resource),
        };
        let writer = reflector::store::Writer::new(kind);
        objects.insert(kind, writer.as_reader());
        let labels = format!("app.kubernetes.io/managed-by={FIELD_MANAGER}");
        let config = watcher::Config::default().labels(&labels).page_size(PAGE);
        let changes = watcher(api, config).default_backoff().map_ok(move |event| kept(kind, event));
        let index = Arc::new(Index::default());
        names.insert(kind, Arc::clone(&index));
        let changes = reflector::reflector(writer, changes);
        let changes = changes.inspect_ok(move |event| index.hear(event)).touched_objects();
        touched.push(changes.filter_map(move |object| async move { owner(&told(kind, object)?) }).boxed());
    }
    let touched = futures_util::stream::select_all(touched).boxed();
    let caches = Caches::new(controllers, objects, names);
    (caches, Watches { controllers: written, touched })
}

/// The controller that an object belongs to.
fn owner(object: &Kept) -> Option<ObjectRef<Guarded>> {
    let (namespace, name) = object.controller()?;
    Some(ObjectRef::new(name).within(namespace))
}

/// A watch that fails is begun again, later each time.
fn told(kind: Kind, object: Result<Kept, watcher::Error>) -> Option<Kept> {
    let what = kind.resource().plural;
    object.inspect_err(|error| tracing::warn!(what, %error, "watch objects of controllers")).ok()
}

/// Without it nothing is done, so somebody must hear why, who may have to give the operator a right.
async fn patient<T>(kind: Kind, known: impl Future<Output = T>) {
    let mut known = std::pin::pin!(known);
    if tokio::time::timeout(SLOW, &mut known).await.is_err() {
        let what = kind.resource().plural;
        tracing::error!(what, "nothing is done before it is known what there is of these");
        known.await;
    }
}

/// What of it is kept.
fn kept(kind: Kind, event: watcher::Event<DynamicObject>) -> watcher::Event<Kept> {
    let of = |mut object| {
        strip(kind, &mut object);
        Kept::new(kind, &object)
    };
    match event {
        watcher::Event::Init => watcher::Event::Init,
        watcher::Event::InitApply(object) => watcher::Event::InitApply(of(object)),
        watcher::Event::InitDone => watcher::Event::InitDone,
        watcher::Event::Apply(object) => watcher::Event::Apply(of(object)),
        watcher::Event::Delete(object) => watcher::Event::Delete(of(object)),
    }
}

/// Drops what nobody looks at, which is most of it.
fn strip(kind: Kind, object: &mut DynamicObject) {
    object.metadata.managed_fields = None;
    if kind == Kind::ControllerRevision && !Component::Revision.has(object) {
        // those of StatefulSets carry the labels of their pods
        object.data = Value::Null;
    }
    if kind == Kind::Pod
        && let Some(spec) = object.data.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.retain(|field, _| field == "nodeName");
        // what a pod must have to be one
        spec.insert("containers".to_owned(), Value::Array(Vec::new()));
    }
}

impl Caches {
    fn new(
        controllers: Store<Guarded>,
        objects: BTreeMap<Kind, Store<Kept>>,
        names: BTreeMap<Kind, Arc<Index>>,
    ) -> Caches {
        let (ready, whole) = (Arc::default(), Arc::default());
        Caches { controllers, objects, names, since: Instant::now(), ready, whole }
    }

    /// Once it is known what there is. A store wakes only the last one of those who wait for it, so one waits for all.
    pub(crate) async fn ready(&self) {
        let all = async || {
            // an error says that the watch has ended, with which the process does
            let _ended = self.controllers.wait_until_ready().await;
            // an operator that may not look at what only some clusters have works without it
            for (kind, store) in self.objects.iter().filter(|(kind, _)| kind.known(Apis::default())) {
                patient(*kind, store.wait_until_ready()).await;
            }
        };
        self.ready.get_or_init(all).await;
    }

    /// The same, and for what only some clusters have, as far as it can be had: who decides what another controller has must
    /// know all of them.
    pub(crate) async fn whole(&self) {
        let all = async || {
            self.ready().await;
            for store in self.objects.values() {
                let _ended = store.wait_until_ready().await;
            }
        };
        let _late =
            tokio::time::timeout(PATIENCE.saturating_sub(self.age()), self.whole.get_or_init(all)).await;
    }

    /// For how long it is watched.
    pub(crate) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// One of a controller: another one may have an object of that name.
    pub(crate) fn get(&self, kind: Kind, owner: &Owner, name: &str) -> Option<Arc<Kept>> {
        let of = ObjectRef::new_with(name, kind).within(&owner.namespace);
        let ours = (owner.namespace.as_str(), owner.name.as_str());
        self.objects.get(&kind)?.get(&of).filter(|object| object.controller() == Some(ours))
    }

    /// Those of any controller for which this holds, which is asked of each of them.
    pub(crate) fn filtered(&self, kind: Kind, holds: impl Fn(&Kept) -> bool) -> Vec<Arc<Kept>> {
        self.objects.get(&kind).map(|store| store.state_filter(holds)).unwrap_or_default()
    }

    /// All of a controller.
    pub(crate) fn of(&self, kind: Kind, owner: &Owner) -> Vec<Arc<Kept>> {
        let names = self.names.get(&kind).map(|index| index.of(owner)).unwrap_or_default();
        names.iter().filter_map(|name| self.get(kind, owner, name)).collect()
    }

    /// How many objects are known.
    pub(crate) fn len(&self) -> usize {
        self.objects.values().map(Store::len).sum::<usize>() + self.controllers.len()
    }
}

#[cfg(test)]
impl Caches {
    /// What watches would have brought by now.
    pub(crate) fn known(controllers: Vec<Guarded>, objects: Vec<(Kind, DynamicObject)>) -> Caches {
        let (known, mut writer) = reflector::store();
        fill(&mut writer, controllers);
        let (mut stores, mut names) = (BTreeMap::new(), BTreeMap::new());
        for kind in Kind::ALL {
            let mut writer = reflector::store::Writer::new(kind);
            stores.insert(kind, writer.as_reader());
            let of_kind = objects.iter().filter(|(of, _)| *of == kind);
            let of_kind: Vec<Kept> = of_kind.map(|(_, object)| Kept::new(kind, object)).collect();
            let index = Index::default();
            of_kind.iter().for_each(|object| index.add(object));
            names.insert(kind, Arc::new(index));
            fill(&mut writer, of_kind);
        }
        Caches::new(known, stores, names)
    }
}

#[cfg(test)]
fn fill<K>(writer: &mut reflector::store::Writer<K>, objects: Vec<K>)
where
    K: reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    writer.apply_watcher_event(&watcher::Event::Init);
    for object in objects {
        writer.apply_watcher_event(&watcher::Event::InitApply(object));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_for_what_there_is_go_on_when_it_is_known() {
        let mut caches = Caches::known(Vec::new(), Vec::new());
        let mut writer = reflector::store::Writer::new(Kind::Service);
        caches.objects.insert(Kind::Service, writer.as_reader());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let caches = caches.clone();
                tokio::spawn(async move { caches.ready().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|one| !one.is_finished()));
        fill(&mut writer, Vec::new());
        for one in waiting {
            tokio::time::timeout(PATIENCE, one).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_kind_that_nobody_may_watch_is_waited_for_and_not_for_ever() {
        assert!(Caches::known(Vec::new(), Vec::new()).whole().now_or_never().is_some());
        let mut caches = Caches::known(Vec::new(), Vec::new());
        let writer = reflector::store::Writer::new(Kind::Route);
        caches.objects.insert(Kind::Route, writer.as_reader());
        assert!(caches.ready().now_or_never().is_some(), "not each cluster has it");
        assert!(caches.whole().now_or_never().is_none());
        caches.since = Instant::now().checked_sub(PATIENCE).unwrap();
        caches.whole().await;
    }
}
