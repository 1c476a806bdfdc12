//! What the stories have in common: short ways to write, and the picture of all that can be read.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use model::{
    BuildId, BuildResult, Cause, Fence, JobName, Millis, NodeName, QueueId, ReplicaId, ReplicaName,
    ReplicaState, RolloutPhase, RolloutReport,
};

use crate::{
    Answer, ApiToken, Chunk, Effect, Enqueue, Error, Executor, Hidden, ItemKind, Join, Load, Node,
    ObjectPlace, Progress, Session, Store, Taken, User, Write,
};

/// A place of objects that is not the store's own.
pub fn a_place(id: &str) -> ObjectPlace {
    ObjectPlace { id: id.to_owned(), address: format!("s3://bucket/{id}") }
}

/// Writes what must succeed.
pub async fn ok<S: Store>(store: &S, write: Write) -> Answer {
    let shown = format!("{write:?}");
    store.write(write).await.unwrap_or_else(|e| panic!("{e} at {}", brief(&shown)))
}

/// Writes what answers a claim.
pub async fn claim<S: Store>(store: &S, write: Write) -> bool {
    match ok(store, write).await {
        Answer::Bool(claim) => claim,
        other => panic!("a claim, not {other:?}"),
    }
}

/// Writes what must be refused for `reason`, and sees that nothing changed.
pub async fn refused<S: Store>(store: &S, write: Write, reason: &str) -> Error {
    let before = picture(store).await;
    let shown = format!("{write:?}");
    let error = match store.write(write).await {
        Ok(answer) => panic!("{answer:?} instead of {reason} at {}", brief(&shown)),
        Err(error) => error,
    };
    assert_eq!(error.reason(), reason, "{error} at {}", brief(&shown));
    assert_eq!(picture(store).await, before, "a refused write changed something: {}", brief(&shown));
    error
}

/// Writes what answers `false` and changes nothing.
pub async fn declined<S: Store>(store: &S, write: Write) {
    let before = picture(store).await;
    let shown = format!("{write:?}");
    assert!(!claim(store, write).await, "{}", brief(&shown));
    assert_eq!(picture(store).await, before, "a declined write changed something: {}", brief(&shown));
}

fn brief(shown: &str) -> String {
    shown.chars().take(300).collect()
}

/// All that can be read, a line for each thing.
pub async fn picture<S: Store>(store: &S) -> Vec<String> {
    let mut lines = vec![format!("{:?}", store.meta().await.unwrap())];
    let mut add = |line: String| lines.push(line);
    store.members().await.unwrap().iter().for_each(|m| add(format!("{m:?}")));
    store.leases().await.unwrap().iter().for_each(|l| add(format!("{l:?}")));
    store.failovers(1_000).await.unwrap().iter().for_each(|f| add(format!("{f:?}")));
    store.queue().await.unwrap().iter().for_each(|q| add(format!("{q:?}")));
    store.waits().await.unwrap().iter().for_each(|w| add(format!("{w:?}")));
    store.busy().await.unwrap().iter().for_each(|b| add(format!("{b:?}")));
    store.nodes().await.unwrap().iter().for_each(|n| add(format!("{n:?}")));
    store.links().await.unwrap().iter().for_each(|l| add(format!("{l:?}")));
    store.running(None).await.unwrap().iter().for_each(|r| add(format!("{r:?}")));
    for user in store.users(None, 1_000).await.unwrap() {
        add(format!("{user:?} {}", user.password.0));
        store.sessions(&user.id).await.unwrap().iter().for_each(|s| add(format!("{s:?} {}", s.hash.0)));
        store.tokens(&user.id).await.unwrap().iter().for_each(|t| add(format!("{t:?} {}", t.hash.0)));
    }
    add(format!("anonymous read: {}", store.anonymous_read().await.unwrap()));
    add(format!("garbage {:?}", store.garbage(1_000).await.unwrap()));
    let mut folders = vec![None];
    while let Some(parent) = folders.pop() {
        for child in store.children(parent.as_ref(), None, 1_000).await.unwrap() {
            add(format!("{:?}", store.item(&child.name).await.unwrap()));
            for build in store.builds(&child.name, None, 1_000).await.unwrap() {
                add(format!("{build:?}"));
                picture_build(store, build.id, build.queue_id, &mut add).await;
            }
            if child.kind == ItemKind::Folder {
                folders.push(Some(child.name));
            }
        }
    }
    lines
}

async fn picture_build<S: Store>(store: &S, build: BuildId, queued: QueueId, add: &mut impl FnMut(String)) {
    add(format!("{:?}", store.queue_item(queued).await.unwrap()));
    add(format!("journal {:?}", store.journal(build, 0).await.unwrap()));
    add(format!("inbox {:?}", store.inbox(build).await.unwrap()));
    add(format!("log {:?}", store.log(build, 0, 1 << 20).await.unwrap()));
    add(format!("archived {:?}", store.archived(build).await.unwrap()));
    add(format!("artifacts {:?}", store.artifacts(build, None, 1_000).await.unwrap()));
    add(format!("stash {:?}", store.stash(build, "s").await.unwrap()));
}

pub fn name(text: &str) -> JobName {
    JobName::parse(text).unwrap()
}

pub fn a_user(id: &str, admin: bool) -> User {
    let (full_name, email) = (format!("{id} Ä"), format!("{id}@example.org"));
    User { id: id.into(), full_name, email, password: Hidden(format!("hash of {id}")), admin }
}

/// It ends 1 s after its last use, at most 10 s after its begin.
pub fn a_session(hash: &str, user: &str, at: i64) -> Session {
    Session {
        hash: Hidden(hash.into()),
        user: user.into(),
        created_at: Millis(at),
        seen_at: Millis(at),
        idle: Duration::from_secs(1),
        expires_at: Millis(at + 10_000),
    }
}

pub fn a_token(id: &str, user: &str, at: i64) -> ApiToken {
    ApiToken {
        id: id.into(),
        user: user.into(),
        name: format!("name of {id}"),
        hash: Hidden(format!("hash of {id}")),
        created_at: Millis(at),
        used_at: None,
        uses: 0,
    }
}

pub fn node_name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub fn join_as(replica: &str, ordinal: u32) -> Join {
    Join {
        name: ReplicaName::parse(replica).unwrap(),
        ordinal,
        pid: 100 + ordinal,
        address: format!("127.0.0.1:{}", 7000 + ordinal),
        revision: "rev-1".into(),
        version: "0.1.0".into(),
        level: 1,
        behaviour: 1,
        at: Millis(1_000),
    }
}

/// A live member of that name.
pub async fn join<S: Store>(store: &S, replica: &str) -> ReplicaId {
    match ok(store, Write::Join(join_as(replica, 0))).await {
        Answer::Joined { incarnation, .. } => {
            ReplicaId { name: ReplicaName::parse(replica).unwrap(), incarnation }
        }
        other => panic!("{other:?}"),
    }
}

pub async fn stop<S: Store>(store: &S, me: &ReplicaId) {
    ok(store, Write::SetState { me: me.clone(), state: ReplicaState::Stopped, at: Millis(9_000) }).await;
}

pub fn beat(me: &ReplicaId) -> Write {
    Write::Beat { me: me.clone(), load: Load::default() }
}

pub fn lapse(who: &ReplicaId, beat: Option<i64>) -> Write {
    Write::Lapse { who: who.clone(), beat, at: Millis(5_000) }
}

pub fn create(item: &str, kind: ItemKind) -> Write {
    Write::CreateItem { name: name(item), kind, config: format!("<{item}/>"), disabled: false, at: Millis(1) }
}

pub async fn pipeline<S: Store>(store: &S, item: &str) {
    ok(store, create(item, ItemKind::Pipeline)).await;
}

pub async fn folder<S: Store>(store: &S, item: &str) {
    ok(store, create(item, ItemKind::Folder)).await;
}

pub fn user(id: &str) -> Cause {
    Cause::User { id: id.into(), name: id.to_uppercase() }
}

pub fn want(job: &str) -> Enqueue {
    Enqueue {
        job: name(job),
        params: BTreeMap::new(),
        causes: vec![user("ann")],
        at: Millis(2_000),
        buildable_at: Millis(2_500),
    }
}

pub async fn enqueue<S: Store>(store: &S, wanted: Enqueue) -> QueueId {
    match ok(store, Write::Enqueue(wanted)).await {
        Answer::Queued { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

pub fn take(id: QueueId, owner: &ReplicaId) -> Write {
    Write::TakeBuild {
        id,
        owner: owner.clone(),
        exclusive: false,
        behaviour: 1,
        at: Millis(3_000),
        executor: None,
    }
}

/// As `take`, with an executor.
pub fn take_on(id: QueueId, owner: &ReplicaId, node: &str, slot: u32) -> Write {
    let executor = Executor { node: node_name(node), slot, body: format!("{{\"slot\":{slot}}}") };
    Write::TakeBuild {
        id,
        owner: owner.clone(),
        exclusive: true,
        behaviour: 1,
        at: Millis(3_000),
        executor: Some(executor),
    }
}

pub fn a_node(text: &str, executors: u32) -> Node {
    Node {
        name: node_name(text),
        description: format!("the node {text}"),
        executors,
        labels: vec!["linux".into(), "x64".into()],
        exclusive: false,
        remote_fs: "/work".into(),
        offline: None,
        config: "<slave/>".into(),
    }
}

pub fn link_up(node: &str, holder: &ReplicaId) -> Write {
    Write::LinkUp {
        node: node_name(node),
        holder: holder.clone(),
        instance: "i-1".into(),
        info: "{}".into(),
        at: Millis(4_000),
    }
}

/// A node with its link held by `holder`.
pub async fn linked_node<S: Store>(store: &S, node: &str, executors: u32, holder: &ReplicaId) {
    ok(store, Write::CreateNode(a_node(node, executors))).await;
    ok(store, link_up(node, holder)).await;
}

/// What an owner knows of its build, and the guarded writes it makes from that.
#[derive(Debug, Clone)]
pub struct Driver {
    pub build: BuildId,
    pub number: u64,
    pub owner: i64,
    pub fence: Fence,
    pub seq: i64,
    pub records: i64,
    pub log_end: u64,
}

/// Queues a build of `job` and takes it.
pub async fn start<S: Store>(store: &S, job: &str, owner: &ReplicaId) -> Driver {
    let id = enqueue(store, want(job)).await;
    match ok(store, take(id, owner)).await {
        Answer::Taken(Taken { build, number, owner, fence }) => {
            Driver { build, number, owner, fence, seq: 0, records: 0, log_end: 0 }
        }
        other => panic!("{other:?}"),
    }
}

/// A build that has ended.
pub async fn built<S: Store>(store: &S, job: &str, owner: &ReplicaId, result: BuildResult) -> Driver {
    let mut driver = start(store, job, owner).await;
    driver.finish(store, result).await;
    driver
}

pub fn chunk(offset: u64, step: &str, raw_from: u64, text: &str) -> Chunk {
    let raw_to = raw_from + text.len() as u64;
    Chunk::new(offset, step.into(), (raw_from, raw_to), Millis(3_500), Bytes::from(text.to_owned()))
}

impl Driver {
    /// The next guarded write, with nothing in it yet.
    pub fn progress(&self) -> Progress {
        Progress {
            build: self.build,
            owner: self.owner,
            fence: self.fence,
            seq: self.seq,
            first_record: self.records,
            records: Vec::new(),
            chunks: Vec::new(),
            log_end: self.log_end,
            effects: Vec::new(),
        }
    }

    pub async fn write<S: Store>(&mut self, store: &S, progress: Progress) {
        self.records += progress.records.len() as i64;
        self.log_end = progress.log_end;
        assert_eq!(ok(store, Write::Progress(Box::new(progress))).await, Answer::Unit);
        self.seq += 1;
    }

    pub async fn effects<S: Store>(&mut self, store: &S, effects: impl IntoIterator<Item = Effect>) {
        let progress = Progress { effects: effects.into_iter().collect(), ..self.progress() };
        self.write(store, progress).await;
    }

    pub async fn journal<S: Store>(&mut self, store: &S, records: &[&str]) {
        let records = records.iter().map(|r| Bytes::from((*r).to_owned())).collect();
        self.write(store, Progress { records, ..self.progress() }).await;
    }

    /// The controller says `text` in the log.
    pub async fn say<S: Store>(&mut self, store: &S, text: &str) {
        let mut said = chunk(self.log_end, "", 0, text);
        said.raw_to = 0;
        let progress =
            Progress { chunks: vec![said], log_end: self.log_end + text.len() as u64, ..self.progress() };
        self.write(store, progress).await;
    }

    pub async fn finish<S: Store>(&mut self, store: &S, result: BuildResult) {
        self.effects(store, [Effect::Finish { result, at: Millis(8_000), archive: false }]).await;
    }

    /// The guarded write `change` must be refused for `reason`.
    pub async fn refused<S: Store>(&self, store: &S, change: Progress, reason: &str) -> Error {
        refused(store, Write::Progress(Box::new(change)), reason).await
    }
}

pub(crate) fn a_report() -> RolloutReport {
    RolloutReport {
        phase: RolloutPhase::Settled,
        revision: "7".into(),
        reason: "asked for by ann".into(),
        restart: 3,
        failed: None,
        message: "all replicas run it".into(),
        bake: Some(std::time::Duration::from_millis(1_500)),
    }
}
