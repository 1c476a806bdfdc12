//! Short ways to a home with a running build.

use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use home::Home;
use model::{JobName, Millis, ReplicaId, ReplicaName};
use store::{Answer, Chunk, Effect, Enqueue, ItemKind, Join, Progress, Taken, Write, Writer};

use crate::postgres::Server;

/// The server of all tests that do not stop it.
static SERVER: LazyLock<Option<Mutex<Server>>> = LazyLock::new(|| Server::start().map(Mutex::new));

/// URL of a fresh PostgreSQL database; `None`: no server is installed.
pub(crate) async fn database() -> Option<String> {
    let database = || {
        let server = SERVER.as_ref()?;
        Some(server.lock().unwrap_or_else(PoisonError::into_inner).database())
    };
    tokio::task::spawn_blocking(database).await.unwrap()
}

/// What the server has said of errors, of whatever test they are.
pub(crate) fn server_said() -> String {
    SERVER
        .as_ref()
        .map(|server| server.lock().unwrap_or_else(PoisonError::into_inner).said())
        .unwrap_or_default()
}

pub(crate) fn sqlite_url(dir: &Path) -> String {
    format!("sqlite:{}", dir.join("home.db").display())
}

pub(crate) async fn open(url: &str) -> Home {
    home::open(url, None).await.unwrap()
}

pub(crate) async fn join(home: &Home, name: &str) -> ReplicaId {
    let name = ReplicaName::parse(name).unwrap();
    let join = Join {
        name: name.clone(),
        ordinal: 0,
        pid: std::process::id(),
        address: "localhost:1".to_owned(),
        revision: "r1".to_owned(),
        version: "0.1.0".to_owned(),
        level: 1,
        behaviour: 1,
        at: Millis(1),
    };
    let Answer::Joined { incarnation, .. } = home.write(Write::Join(join)).await.unwrap() else { panic!() };
    ReplicaId { name, incarnation }
}

pub(crate) fn job(name: &str) -> JobName {
    JobName::parse(name).unwrap()
}

pub(crate) fn create(name: &str) -> Write {
    Write::CreateItem {
        name: job(name),
        kind: ItemKind::Pipeline,
        config: "<flow-definition/>".to_owned(),
        disabled: false,
        at: Millis(1),
    }
}

pub(crate) fn enqueue(name: &str) -> Write {
    Write::Enqueue(Enqueue {
        job: job(name),
        params: [].into(),
        causes: vec![],
        at: Millis(2),
        buildable_at: Millis(2),
    })
}

/// A build of the job `name`, which is made if need be.
pub(crate) async fn build(home: &Home, owner: &ReplicaId, name: &str) -> Taken {
    let _ = home.write(create(name)).await;
    let Answer::Queued { id, .. } = home.write(enqueue(name)).await.unwrap() else { panic!() };
    let take = Write::TakeBuild {
        id,
        owner: owner.clone(),
        exclusive: false,
        behaviour: 1,
        at: Millis(3),
        executor: None,
    };
    let Answer::Taken(taken) = home.write(take).await.unwrap() else { panic!() };
    taken
}

/// The write number `n` of a build: one record and one line of ten bytes.
pub(crate) fn step(taken: &Taken, n: i64, effects: Vec<Effect>) -> Write {
    let offset = u64::try_from(n).unwrap() * 10;
    let bytes = Bytes::from(format!("{n:09}\n"));
    let chunk = Chunk::new(offset, "1".to_owned(), (offset, offset + 10), Millis(n), bytes);
    Write::Progress(Box::new(Progress {
        build: taken.build,
        owner: taken.owner,
        fence: taken.fence,
        seq: n,
        first_record: n,
        records: vec![Bytes::from(format!("record {n}"))],
        chunks: vec![chunk],
        log_end: offset + 10,
        effects,
    }))
}
