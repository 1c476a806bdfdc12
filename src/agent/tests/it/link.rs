//! The link: how it is made, kept and left.

use std::time::Duration;

use agent::{Config, Secret};
use futures_util::SinkExt;
use remoting::native::Frame;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::process::Agent;
use crate::support::Controller;

#[tokio::test]
async fn an_agent_says_who_it_is() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let link = controller.link().await;
    assert_eq!(link.headers["node-name"], "a-1");
    assert_eq!(link.headers["secret-key"], "s3cret");
    assert_eq!(link.headers["x-majordomo-native"], "1");
    assert_eq!(link.headers["x-majordomo-instance"], link.info.instance);
    assert_eq!((link.info.pid, link.info.os.as_str(), link.info.unix), (agent.pid(), "linux", true));
    assert!(link.info.env.contains_key("PATH"));
    assert_eq!(link.info.work_dir, agent.work_dir().canonicalize().unwrap().display().to_string());
}

#[tokio::test]
async fn a_ping_is_answered_and_a_goodbye_is_followed_by_a_new_link_at_once() {
    let mut controller = Controller::start().await;
    let _agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.frame(Frame::Ping(7)).await;
    assert_eq!(link.next().await, Some(Frame::Pong(7)));
    let instance = link.info.instance.clone();
    link.frame(Frame::Bye { reason: "drained".into() }).await;
    let again = timeout(Duration::from_secs(1), controller.link()).await.unwrap();
    assert_eq!(again.info.instance, instance);
}

#[tokio::test]
async fn a_silent_controller_is_left_after_three_intervals() {
    let mut controller = Controller::start().await;
    let _agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.frame(Frame::Interval { millis: 100 }).await;
    for n in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        link.frame(Frame::Ping(n)).await;
        assert_eq!(link.next().await, Some(Frame::Pong(n)));
    }
    let silent = std::time::Instant::now();
    assert_eq!(link.next().await, None);
    assert!(silent.elapsed() >= Duration::from_millis(250), "{:?}", silent.elapsed());
    controller.link().await;
}

#[tokio::test]
async fn a_controller_that_sends_what_is_no_frame_is_left_and_tried_again() {
    let mut controller = Controller::start().await;
    let _agent = Agent::started(&controller);
    for bad in
        [Message::text("hello"), Message::binary(vec![1, 0]), Frame::Pong(1).encode().slice(..5).into()]
    {
        let mut link = controller.link().await;
        link.socket.send(bad).await.unwrap();
        assert_eq!(link.next().await, None);
    }
    controller.link().await;
}

#[tokio::test]
async fn a_refused_agent_tries_again_after_a_second_and_is_taken_then() {
    let mut controller = Controller::start().await;
    *controller.refusal.lock().unwrap() = Some((403, "wrong secret"));
    let _agent = Agent::started(&controller);
    let first = controller.attempts.recv().await.unwrap();
    *controller.refusal.lock().unwrap() = None;
    let second = controller.attempts.recv().await.unwrap();
    assert!((900..2_000).contains(&(second - first).as_millis()), "{:?}", second - first);
    controller.link().await;
}

#[tokio::test]
async fn an_agent_ends_when_it_is_told_to_or_when_it_may_not_connect_again() {
    for no_reconnect in [false, true] {
        let mut controller = Controller::start().await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(
            vec!["http://127.0.0.1:1/".into(), controller.url()],
            "a".into(),
            Secret::new("s"),
            dir.path().into(),
        );
        config.no_reconnect = no_reconnect;
        let (stop, stopped) = watch::channel(false);
        let agent = tokio::spawn(agent::run(config, stopped));
        let link = controller.link().await;
        if no_reconnect {
            drop(link);
        } else {
            stop.send(true).unwrap();
        }
        timeout(Duration::from_secs(5), agent).await.unwrap().unwrap().unwrap();
    }
}
