//! A PostgreSQL server that goes away: what is waited for, what is unknown, and that repeating it gives the right answer.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use model::{BuildResult, Millis};
use store::{Answer, Builds, Effect, Error, Items, Write, Writer};
use tempfile::TempDir;

use crate::postgres::Server;
use crate::proxy::{Next, Proxy};
use crate::support::{build, create, enqueue, job, join, open, sqlite_url, step};

/// A server, and a home that reaches it through a proxy.
async fn through_proxy() -> Option<(Server, Proxy, home::Home)> {
    let server = Server::start()?;
    let url = server.database();
    let proxy = Proxy::start(server.port()).await;
    let url = url.replace(&format!(":{}/", server.port()), &format!(":{}/", proxy.port()));
    let home = open(&url).await;
    Some((server, proxy, home))
}

#[tokio::test]
async fn an_unknown_commit_is_answered_rightly_when_it_is_written_again() {
    let Some((_server, proxy, home)) = through_proxy().await else { return };
    let me = join(&home, "a").await;
    for next in [Next::Lost, Next::Unanswered] {
        let name = format!("{next:?}");
        home.write(create(&name)).await.unwrap();
        let Answer::Queued { id, .. } = home.write(enqueue(&name)).await.unwrap() else { panic!() };
        let take = Write::TakeBuild {
            id,
            owner: me.clone(),
            exclusive: true,
            behaviour: 1,
            at: Millis(3),
            executor: None,
        };
        let answer = unknown_then_again(&home, &proxy, next, take).await;
        let Answer::Taken(taken) = answer else { panic!("{answer:?}") };
        assert_eq!(taken.number, 1);

        let answer = unknown_then_again(&home, &proxy, next, step(&taken, 0, vec![])).await;
        assert_eq!(answer, Answer::Unit);
        assert_eq!(home.journal(taken.build, 0).await.unwrap().len(), 1);

        let adopt = Write::Adopt { build: taken.build, seen: taken.fence, owner: me.clone() };
        let answer = unknown_then_again(&home, &proxy, next, adopt).await;
        let Answer::Adopted(adopted) = answer else { panic!("{answer:?}") };
        assert_eq!((adopted.fence, adopted.seq, adopted.log_end), (taken.fence.next(1), 1, 10));
    }
}

/// What waited while a standby that had not heard all was put in the server's place.
#[tokio::test]
async fn what_was_asked_for_before_the_store_was_set_back_is_refused() {
    let Some(server) = Server::start() else { return };
    let home = open(&server.database()).await;
    let me = join(&home, "a").await;
    home.write(create("app")).await.unwrap();
    let Answer::Queued { id, .. } = home.write(enqueue("app")).await.unwrap() else { panic!() };
    let take = Write::TakeBuild {
        id,
        owner: me.clone(),
        exclusive: true,
        behaviour: 1,
        at: Millis(3),
        executor: None,
    };
    for _ in 0..3 {
        home.write(Write::Beat { me: me.clone(), load: store::Load::default() }).await.unwrap();
    }
    server.sql("home0", "UPDATE meta SET tick = tick - 1");
    let others = "pg_stat_activity WHERE application_name = 'majordomo'";
    server.sql("home0", &format!("SELECT pg_terminate_backend(pid) FROM {others}"));
    assert_eq!(home.write(take).await, Err(Error::Fenced { current: None }));
    let beat = Write::Beat { me, load: store::Load::default() };
    assert_eq!(home.write(beat).await, Err(Error::Fenced { current: None }));
    home.write(Write::RaiseEpoch { above: 1 }).await.unwrap();
}

async fn unknown_then_again(home: &home::Home, proxy: &Proxy, next: Next, write: Write) -> Answer {
    proxy.next_commit(next);
    let error = home.write(write.clone()).await.unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error}");
    home.write(write).await.unwrap()
}

#[tokio::test]
async fn a_write_that_ends_the_connection_each_time_is_given_up_and_its_companions_are_kept() {
    let Some((_server, _proxy, home)) = through_proxy().await else { return };
    let names: Vec<String> =
        (0..20).map(|n| if n == 7 { "deadly".to_owned() } else { format!("job-{n}") }).collect();
    let writes = join_all(names.iter().map(|name| home.write(create(name))));
    let answers = tokio::time::timeout(Duration::from_secs(8), writes).await.unwrap();
    for (name, answer) in names.iter().zip(answers) {
        assert_eq!(answer.is_err(), name == "deadly", "{name}: {answer:?}");
    }
}

#[tokio::test]
async fn an_unknown_end_of_a_build_is_read_from_the_build() {
    let Some((_server, proxy, home)) = through_proxy().await else { return };
    let me = join(&home, "a").await;
    let taken = build(&home, &me, "job").await;
    let finish = Effect::Finish { result: BuildResult::Success, at: Millis(9), archive: false };
    let last = step(&taken, 0, vec![finish]);
    proxy.next_commit(Next::Unanswered);
    assert!(matches!(home.write(last.clone()).await, Err(Error::Unknown(_))));
    assert_eq!(home.write(last).await, Err(Error::Fenced { current: None }));
    let build = home.build_by_id(taken.build).await.unwrap().unwrap();
    assert_eq!((build.result, build.log_end), (Some(BuildResult::Success), 10));
}

#[tokio::test]
async fn writes_and_reads_wait_for_a_server_that_comes_back() {
    let Some(mut server) = Server::start_durable() else { return };
    let home = open(&server.database()).await;
    let me = join(&home, "a").await;
    let taken = build(&home, &me, "job").await;
    server.kill();
    let (writer, reader) = (home.clone(), home.clone());
    let writes = tokio::spawn(async move {
        join_all((0..20).map(|n| writer.write(step(&taken, n, vec![]))).collect::<Vec<_>>()).await
    });
    let read = tokio::spawn(async move { reader.item(&job("job")).await });
    tokio::task::spawn_blocking(move || {
        server.begin();
        server
    })
    .await
    .map(std::mem::forget)
    .unwrap();
    let answers = writes.await.unwrap();
    assert!(answers.iter().all(|a| *a == Ok(Answer::Unit)), "{answers:?}");
    assert!(read.await.unwrap().unwrap().is_some());
    assert!(home.stats().lost > 0);
}

#[tokio::test]
async fn a_write_outlasts_a_server_that_is_silent_for_a_while() {
    let Some(server) = Server::start() else { return };
    let home = open(&server.database()).await;
    home.write(create("a")).await.unwrap();
    server.pause();
    let writer = home.clone();
    let mut write = tokio::spawn(async move { writer.write(create("b")).await });
    // Longer than a connection is given to answer, so that it is made again.
    tokio::time::timeout(Duration::from_secs(4), &mut write).await.unwrap_err();
    server.resume();
    assert!(matches!(write.await.unwrap(), Ok(Answer::Id(_))));
    assert!(home.stats().lost > 0);
}

#[tokio::test]
async fn a_server_that_stays_away_is_unavailable_after_ten_seconds() {
    let Some(mut server) = Server::start() else { return };
    let home = open(&server.database()).await;
    server.stop();
    let begun = Instant::now();
    let name = job("job");
    let (write, read) = tokio::join!(home.write(create("job")), home.item(&name));
    let waited = begun.elapsed();
    assert!(matches!(write, Err(Error::Unavailable(_))), "{write:?}");
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    assert!(waited > Duration::from_secs(9) && waited < Duration::from_secs(12), "{waited:?}");
    server.begin();
    // What was given up is not done later.
    assert_eq!(home.item(&job("job")).await, Ok(None));
}

#[tokio::test]
async fn a_write_waits_for_its_turn_and_is_withdrawn_after_ten_seconds() {
    let dir = TempDir::new().unwrap();
    let home = open(&sqlite_url(dir.path())).await;
    home.write(create("a")).await.unwrap();
    // As a process does that was stopped inside its turn.
    let turn = std::fs::File::open(dir.path().join("home.db.turn")).unwrap();
    rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let error = home.write(create("b")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    let writer = home.clone();
    let later = tokio::spawn(async move { writer.write(create("c")).await });
    drop(turn);
    later.await.unwrap().unwrap();
    let names: Vec<String> =
        home.children(None, None, 9).await.unwrap().iter().map(|i| i.name.to_string()).collect();
    assert_eq!(names, ["a", "c"]);
}
