//! Links to agents over a pipe, with the store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use std::time::Duration;

use model::{BuildId, BuildResult, Fence, Millis};
use remoting::native::{AgentInfo, Frame};
use remoting::ops::{Command, ToAgent};
use store::{Nodes, Write};
use support::{Agent, Replica, joined, mac, replica};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn an_agent_forgets_what_it_keeps_of_builds_that_are_over() {
    use store::contract::support::{built, pipeline, start};
    let replica = replica().await;
    pipeline(&replica.store, "app").await;
    let running = start(&replica.store, "app", &replica.me).await;
    let ended = built(&replica.store, "app", &replica.me, BuildResult::Success).await;
    let last = start(&replica.store, "app", &replica.me).await;
    let (mut agent, _) = Agent::welcomed(&replica, "i-1").await;
    let fence = Fence::first(7);
    // Also one of which the store knows nothing: it may have been set back in time.
    let unknown = BuildId(last.build.0 + 1);
    let kept = |builds: &[BuildId]| Frame::Builds { builds: builds.iter().map(|b| (*b, fence)).collect() };
    agent.say(kept(&[running.build, unknown, ended.build, last.build])).await;
    let forget = |build| Frame::Command(ToAgent { build, fence, command: Command::Forget });
    assert_eq!(agent.hear().await, forget(ended.build));
    let mut last = last;
    last.finish(&replica.store, BuildResult::Failure).await;
    agent.say(kept(&[running.build, unknown, last.build])).await;
    assert_eq!(agent.hear().await, forget(last.build), "nothing was said of the others");
}

/// Dials and is refused with a sentence.
async fn refused(replica: &Replica, info: AgentInfo) -> String {
    let mut agent = Agent::dial_as(replica, info).await;
    match agent.hear().await {
        Frame::Bye { reason } => reason,
        other => panic!("{other:?}"),
    }
}

fn instance(instance: &str) -> AgentInfo {
    AgentInfo { instance: instance.into(), ..AgentInfo::default() }
}

#[tokio::test]
async fn a_second_machine_under_a_name_is_refused_while_the_first_one_answers() {
    let here = replica().await;
    let there = joined(here.store.clone(), "r-1").await;
    let (mut first, number) = Agent::welcomed(&here, "i-1").await;
    for replica in [&here, &there] {
        let why = refused(replica, instance("i-2")).await;
        assert_eq!(why, "another machine is connected as “mac”: give each its own node");
    }
    assert_eq!(here.links.held(), [(mac(), number)]);
    first.say(Frame::Bye { reason: "stop".into() }).await;
    let ended = async || here.store.link(&mac()).await.unwrap().unwrap().holder.is_none();
    until("the end of the first is noted", ended).await;
    let (_second, next) = Agent::welcomed(&there, "i-2").await;
    assert_eq!(next, number + 1);
    // The same machine may come again at once, wherever it was.
    let (_again, last) = Agent::welcomed(&here, "i-2").await;
    assert_eq!(last, next + 1);
}

#[tokio::test]
async fn an_agent_that_says_too_much_about_itself_is_refused() {
    let replica = replica().await;
    let env = [("LONG".to_owned(), "x".repeat(70_000))].into();
    let why = refused(&replica, AgentInfo { env, ..instance("i-1") }).await;
    assert!(why.ends_with("bytes, over the limit of 65536"), "{why}");
    assert!(replica.links.held().is_empty());
}

#[tokio::test]
async fn a_link_that_only_the_store_knows_is_ended() {
    let replica = replica().await;
    let other = store::contract::support::a_node("linux", 1);
    let (node, me) = (other.name.clone(), replica.me.clone());
    let up = Write::LinkUp {
        node: node.clone(),
        holder: me,
        instance: "i".into(),
        info: "{}".into(),
        at: Millis(1),
    };
    for write in [Write::CreateNode(other), up] {
        replica.store.with(|state| state.apply(&write)).unwrap();
    }
    let (_agent, number) = Agent::welcomed(&replica, "i-1").await;
    let links = replica.links.clone();
    tokio::spawn(async move { links.run().await });
    let ended = async || replica.store.link(&node).await.unwrap().unwrap().holder.is_none();
    until("the link is ended", ended).await;
    assert_eq!(replica.links.held(), [(mac(), number)]);
    assert_eq!(replica.store.link(&mac()).await.unwrap().unwrap().holder, Some(replica.me));
}
