//! One life of a home with a write of every kind. Crash tests tell it with a fault at each write in turn.

use bytes::Bytes;
use model::{BuildResult, Millis, ReplicaId, ReplicaName, ReplicaState, RestartWhen};

use super::support::*;
use crate::{
    Adopted, Answer, Effect, Enqueue, Hidden, ItemKind, Load, Node, Offline, Progress, Store, Taken,
    UserEdit, Write,
};

/// The writes of a life, one after the other through `write`, which gives the answer that was committed.
pub async fn live<S: Store>(store: &S, write: impl AsyncFn(Write) -> Answer) {
    let (a, b) = found(&write).await;
    let build = begin(store, &write, &a).await;
    work(store, &write, &build, &b).await;
    forget(&write, &build, &b).await;
}

async fn member(write: &impl AsyncFn(Write) -> Answer, replica: &str) -> ReplicaId {
    let Answer::Joined { incarnation, .. } = write(Write::Join(join_as(replica, 0))).await else { panic!() };
    ReplicaId { name: ReplicaName::parse(replica).unwrap(), incarnation }
}

/// Home, members, jobs, nodes.
async fn found(write: &impl AsyncFn(Write) -> Answer) -> (ReplicaId, ReplicaId) {
    write(Write::Identify { controller: "acme".into() }).await;
    write(Write::RaiseEpoch { above: 1 }).await;
    write(Write::PlaceObjects { was: None, place: Some(a_place("1")), joined: 0 }).await;
    write(Write::RaiseLevel { level: 1 }).await;
    write(Write::SetQuiet { reason: Some("maintenance".into()) }).await;
    write(Write::AskRestart { seen: 0, when: RestartWhen::Idle, by: "ann".into(), reload: true }).await;
    write(Write::WithdrawRestart { number: 1 }).await;
    write(Write::ReportRollout { report: a_report() }).await;
    people(write).await;
    let (a, b) = (member(write, "r-0").await, member(write, "r-1").await);
    write(Write::AcquireLease { lease: "startup".into(), me: a.clone(), seen: None, at: Millis(10) }).await;
    write(Write::SetState { me: a.clone(), state: ReplicaState::Ready, at: Millis(20) }).await;
    write(Write::Beat { me: a.clone(), load: Load { builds: 1, agents: 2, busy: 1 } }).await;
    let fence = model::Fence::first(2);
    let note = "how far it is".into();
    write(Write::NoteLease { lease: "startup".into(), me: a.clone(), fence, note }).await;
    write(Write::ReleaseLease { lease: "startup".into(), me: a.clone(), fence }).await;
    write(create("f", ItemKind::Folder)).await;
    write(create("f/app", ItemKind::Pipeline)).await;
    write(Write::ConfigureItem { name: name("f/app"), config: "<new/>".into(), disabled: false }).await;
    write(Write::CreateNode(a_node("mac", 1))).await;
    let offline = Some(Offline { reason: "new".into(), by: "ann".into(), at: Millis(1) });
    write(Write::SetNodeOffline { name: node_name("mac"), offline }).await;
    write(Write::ConfigureNode(Node { remote_fs: "/new".into(), ..a_node("mac", 2) })).await;
    write(Write::SetNodeOffline { name: node_name("mac"), offline: None }).await;
    write(link_up("mac", &a)).await;
    (a, b)
}

/// Users come and go.
async fn people(write: &impl AsyncFn(Write) -> Answer) {
    write(Write::CreateFirstUser { user: a_user("ann", true), token: Some(a_token("t0", "ann", 1)) }).await;
    write(Write::CreateUser(a_user("bob", false))).await;
    let (was, password) = (Hidden("hash of bob".into()), Hidden("$2".into()));
    write(Write::RehashPassword { id: "bob".into(), was, password: password.clone() }).await;
    let session = a_session("s1", "Bob", 10);
    write(Write::CreateSession { session: session.clone(), password: password.clone() }).await;
    write(Write::TouchSession { hash: session.hash.clone(), at: Millis(20) }).await;
    write(Write::EndSession { hash: session.hash }).await;
    write(Write::CreateSession { session: a_session("s2", "bob", 30), password }).await;
    write(Write::ForgetSessions { now: Millis(1_000_000) }).await;
    write(Write::CreateToken(a_token("t1", "bob", 40))).await;
    write(Write::CreateToken(a_token("t2", "bob", 41))).await;
    write(Write::UseToken { id: "t1".into(), at: Millis(50), uses: 3 }).await;
    write(Write::RenameToken { user: "bob".into(), id: "t1".into(), name: "new".into() }).await;
    write(Write::RevokeToken { user: "bob".into(), id: "t2".into() }).await;
    write(Write::RevokeTokens { user: "bob".into(), except: None }).await;
    let edit = UserEdit { full_name: Some("Bob B.".into()), admin: Some(true), ..UserEdit::default() };
    write(Write::EditUser { id: "bob".into(), edit }).await;
    write(Write::DeleteUser { id: "bob".into() }).await;
    write(Write::AllowAnonymousRead { allowed: true }).await;
}

/// From the queue to a build with an executor and a delivery.
async fn begin<S: Store>(store: &S, write: &impl AsyncFn(Write) -> Answer, owner: &ReplicaId) -> Driver {
    let Answer::Queued { id, .. } = write(Write::Enqueue(want("f/app"))).await else { panic!() };
    let Answer::Taken(Taken { build, number, owner, fence }) = write(take_on(id, owner, "mac", 0)).await
    else {
        panic!()
    };
    let mut driver = Driver { build, number, owner, fence, seq: 0, records: 0, log_end: 0 };
    let source = Effect::Source { hash: "h".into(), text: "pipeline {}".into() };
    let wait = Effect::WaitNode { step: "1".into(), label: None, since: Millis(1) };
    let records = vec![Bytes::from_static(b"begun")];
    let first = Progress { records, effects: vec![source, wait], ..driver.progress() };
    write(Write::Progress(Box::new(first))).await;
    (driver.seq, driver.records) = (1, 1);
    let wait = store.waits().await.unwrap()[0].id;
    write(Write::Grant { wait, node: node_name("mac"), slot: 1, body: "{}".into() }).await;
    write(Write::Deliver { build, key: "input:1".into(), body: "{}".into() }).await;
    driver
}

/// The first owner is lost, the second brings the build to its end.
async fn work<S: Store>(store: &S, write: &impl AsyncFn(Write) -> Answer, build: &Driver, b: &ReplicaId) {
    let a = ReplicaId { name: ReplicaName::parse("r-0").unwrap(), incarnation: b.incarnation - 1 };
    write(lapse(&a, None)).await;
    let adopt = Write::Adopt { build: build.build, seen: build.fence, owner: b.clone() };
    let Answer::Adopted(Adopted { fence, seq, log_end: 0 }) = write(adopt).await else { panic!() };
    let (adopted_at, resumed_at) = (Some(Millis(6_000)), Some(Millis(7_000)));
    write(Write::NoteFailover { lost: a.incarnation, adopted_at, resumed_at }).await;
    let mut driver = Driver { owner: b.incarnation, fence, seq, ..build.clone() };
    let middle = Progress {
        records: vec![Bytes::from_static(b"granted"), Bytes::from_static(b"answered")],
        chunks: vec![chunk(0, "1", 0, "hello\n")],
        log_end: 6,
        effects: vec![
            Effect::Consume { key: "granted:0".into() },
            Effect::Consume { key: "granted:1".into() },
            Effect::Consume { key: "input:1".into() },
            Effect::DisplayName { name: "v1".into() },
            Effect::Description { text: "text".into() },
            Effect::Result { result: BuildResult::Unstable },
            Effect::Artifact { path: "a".into(), size: 1, object: "o/1".into() },
            Effect::Artifact { path: "a".into(), size: 1, object: "o/2".into() },
            Effect::Stash { name: "s".into(), size: 1, object: "o/3".into() },
            Effect::ReleaseExecutor { step: "1".into() },
            Effect::WaitNode { step: "2".into(), label: Some("mac".into()), since: Millis(1) },
            Effect::CancelWait { step: "2".into() },
            Effect::Enqueue(want("f/app")),
        ],
        ..driver.progress()
    };
    write(Write::Progress(Box::new(middle))).await;
    (driver.seq, driver.log_end) = (driver.seq + 1, 6);
    let finish = Effect::Finish { result: BuildResult::Unstable, at: Millis(8_000), archive: true };
    write(Write::Progress(Box::new(Progress { effects: vec![finish], ..driver.progress() }))).await;
    let log = super::logs::pack(store, build.build, 1).await;
    write(Write::LogArchived { build: build.build, log }).await;
}

/// All that was made goes.
async fn forget(write: &impl AsyncFn(Write) -> Answer, build: &Driver, b: &ReplicaId) {
    let again = Enqueue { causes: vec![user("bob")], ..want("f/app") };
    let Answer::Queued { id, .. } = write(Write::Enqueue(again)).await else { panic!() };
    write(Write::CancelQueued { id, at: Millis(9_000) }).await;
    write(Write::ForgetLeft { before: Millis(5_000) }).await;
    for keep in [true, false] {
        write(Write::KeepBuild { job: name("f/app"), number: 1, keep }).await;
    }
    let (job, build) = (name("f/app"), build.build);
    write(Write::DeleteArtifacts { job, number: 1, build }).await;
    write(Write::DeleteBuild { job: name("f/app"), number: 1, build: None }).await;
    write(Write::ForgetObjects { keys: vec!["o/1".into(), "o/3".into()] }).await;
    write(Write::Erase).await;
    let Answer::Linked { number } = write(link_up("mac", b)).await else { panic!() };
    write(Write::LinkDown { node: node_name("mac"), number, reason: "drained".into(), at: Millis(9_500) })
        .await;
    write(Write::DeleteNode { name: node_name("mac") }).await;
    write(Write::RenameItem { name: name("f"), to: name("g") }).await;
    write(Write::DeleteItem { name: name("g") }).await;
    write(Write::SetState { me: b.clone(), state: ReplicaState::Stopped, at: Millis(9_900) }).await;
}

/// The name of a variant; a new one does not compile before it has one here.
pub fn kind(write: &Write) -> &'static str {
    match write {
        Write::Identify { .. } => "Identify",
        Write::SetQuiet { .. } => "SetQuiet",
        Write::AskRestart { .. } => "AskRestart",
        Write::WithdrawRestart { .. } => "WithdrawRestart",
        Write::ReportRollout { .. } => "ReportRollout",
        Write::PlaceObjects { .. } => "PlaceObjects",
        Write::RaiseLevel { .. } => "RaiseLevel",
        Write::RaiseEpoch { .. } => "RaiseEpoch",
        Write::CreateFirstUser { .. } => "CreateFirstUser",
        Write::CreateUser(_) => "CreateUser",
        Write::EditUser { .. } => "EditUser",
        Write::RehashPassword { .. } => "RehashPassword",
        Write::DeleteUser { .. } => "DeleteUser",
        Write::CreateSession { .. } => "CreateSession",
        Write::TouchSession { .. } => "TouchSession",
        Write::EndSession { .. } => "EndSession",
        Write::ForgetSessions { .. } => "ForgetSessions",
        Write::CreateToken(_) => "CreateToken",
        Write::RenameToken { .. } => "RenameToken",
        Write::RevokeToken { .. } => "RevokeToken",
        Write::RevokeTokens { .. } => "RevokeTokens",
        Write::UseToken { .. } => "UseToken",
        Write::AllowAnonymousRead { .. } => "AllowAnonymousRead",
        Write::Join(_) => "Join",
        Write::Beat { .. } => "Beat",
        Write::SetState { .. } => "SetState",
        Write::Lapse { .. } => "Lapse",
        Write::AcquireLease { .. } => "AcquireLease",
        Write::ReleaseLease { .. } => "ReleaseLease",
        Write::NoteLease { .. } => "NoteLease",
        Write::NoteFailover { .. } => "NoteFailover",
        Write::CreateItem { .. } => "CreateItem",
        Write::ConfigureItem { .. } => "ConfigureItem",
        Write::RenameItem { .. } => "RenameItem",
        Write::DeleteItem { .. } => "DeleteItem",
        Write::CreateNode(_) => "CreateNode",
        Write::ConfigureNode(_) => "ConfigureNode",
        Write::DeleteNode { .. } => "DeleteNode",
        Write::SetNodeOffline { .. } => "SetNodeOffline",
        Write::LinkUp { .. } => "LinkUp",
        Write::LinkDown { .. } => "LinkDown",
        Write::Enqueue(_) => "Enqueue",
        Write::CancelQueued { .. } => "CancelQueued",
        Write::TakeBuild { .. } => "TakeBuild",
        Write::Grant { .. } => "Grant",
        Write::ForgetLeft { .. } => "ForgetLeft",
        Write::Progress(_) => "Progress",
        Write::Adopt { .. } => "Adopt",
        Write::Deliver { .. } => "Deliver",
        Write::DeleteBuild { .. } => "DeleteBuild",
        Write::DeleteArtifacts { .. } => "DeleteArtifacts",
        Write::KeepBuild { .. } => "KeepBuild",
        Write::LogArchived { .. } => "LogArchived",
        Write::Erase => "Erase",
        Write::ForgetObjects { .. } => "ForgetObjects",
    }
}

/// How many variants [`kind`] knows.
pub const KINDS: usize = 55;
