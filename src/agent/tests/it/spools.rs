//! Whoever checks a log may look at spools, without a claim and without a trace.

use model::BuildId;
use remoting::native::Frame;
use remoting::ops::Command;
use remoting::spools::{Held, MAX_SPOOLS, Spool, SpoolAsked, SpoolsAsked, SpoolsTold};
use sha2::{Digest, Sha256};

use crate::process::{Agent, until};
use crate::support::{Controller, Followed, Link, build, fence};

impl Link {
    /// Asks about steps and so many first bytes of each.
    async fn ask(&mut self, build: BuildId, steps: &[(&str, u64)]) -> SpoolsTold {
        let steps = steps.iter().map(|(step, first)| SpoolAsked { step: (*step).to_owned(), first: *first });
        let asked = SpoolsAsked { build, millis: 20_000, steps: steps.collect() };
        self.frame(Frame::Spools { ask: 77, asked }).await;
        self.told().await
    }

    async fn told(&mut self) -> SpoolsTold {
        loop {
            match self.next().await.expect("the link has ended") {
                Frame::Spooled { ask: 77, told } => return told,
                Frame::Report(_) | Frame::Builds { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

fn kept(told: SpoolsTold) -> Vec<Spool> {
    match told {
        SpoolsTold::Kept { rebooted: false, spools } => spools,
        other => panic!("{other:?}"),
    }
}

fn spool(step: &str, end: u64, summed: Option<&[u8]>) -> Spool {
    let sha256 = summed.map(|bytes| hex::encode(Sha256::digest(bytes)));
    Spool { step: step.to_owned(), held: Held::Spool { end, sha256 } }
}

#[tokio::test]
async fn the_spools_of_a_build_are_summed_while_a_step_writes_on() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    assert!(link.info.spools);
    link.claim(build(1), fence(1)).await;
    let go = agent.workspace().join("go");
    let script = format!(
        "#!/bin/sh\nprintf one; while [ ! -e '{}' ]; do sleep 0.05; done; printf two; sleep 60",
        go.display()
    );
    link.start(build(1), fence(1), "1", &script, &agent.workspace()).await;
    let mut got = Vec::new();
    assert!(matches!(link.follow(build(1), fence(1), "1", &mut got, 3).await, Followed::Stopped));
    let spools = kept(link.ask(build(1), &[("1", 3), ("1", 4), ("2", 1)]).await);
    let none = Spool { step: "2".to_owned(), held: Held::Nothing };
    assert_eq!(spools, [spool("1", 3, Some(b"one")), spool("1", 3, None), none]);
    std::fs::write(go, "").unwrap();
    assert!(matches!(link.follow(build(1), fence(1), "1", &mut got, 6).await, Followed::Stopped));
    let spools = kept(link.ask(build(1), &[("1", 3), ("1", 6)]).await);
    assert_eq!(spools, [spool("1", 6, Some(b"one")), spool("1", 6, Some(b"onetwo"))]);
    // a link that knows of no claim may ask as well
    drop(link);
    let mut link = controller.link().await;
    assert_eq!(kept(link.ask(build(1), &[]).await), []);
    assert_eq!(kept(link.ask(build(1), &[("1", 6)]).await), [spool("1", 6, Some(b"onetwo"))]);
    link.tell(build(1), fence(1), Command::Forget).await;
    let mut told = link.ask(build(1), &[("1", 6)]).await;
    while told != SpoolsTold::Nothing {
        told = link.ask(build(1), &[("1", 6)]).await;
    }
}

#[tokio::test]
async fn questions_about_what_there_is_not_are_answered_and_leave_nothing_behind() {
    let mut controller = Controller::start().await;
    let agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    for id in [0, -1, 2, i64::MIN, i64::MAX] {
        assert_eq!(link.ask(build(id), &[("1", u64::MAX)]).await, SpoolsTold::Nothing);
    }
    let strange = ["", "..", "../1", "/etc/passwd", "99.9/9"];
    let steps: Vec<(&str, u64)> = strange.iter().map(|step| (*step, u64::MAX)).collect();
    assert!(kept(link.ask(build(1), &steps).await).iter().all(|spool| spool.held == Held::Nothing));
    let many = vec![("1", u64::MAX); MAX_SPOOLS];
    assert_eq!(kept(link.ask(build(1), &many).await).len(), MAX_SPOOLS);
    for millis in [0, 1, u64::MAX] {
        let steps = vec![SpoolAsked { step: "1".to_owned(), first: 1 }];
        link.frame(Frame::Spools { ask: 77, asked: SpoolsAsked { build: build(1), millis, steps } }).await;
        assert_eq!(kept(link.told().await).len(), 1, "{millis}");
    }
    // nothing was claimed by asking
    let builds = agent.work_dir().join("majordomo/builds");
    let folders = || std::fs::read_dir(&builds).unwrap().count();
    until("no folder is left", || folders() == 0).await;
    assert!(link.claim(build(2), fence(1)).await.is_empty());
}

#[tokio::test]
async fn more_questions_than_are_answered_at_once_are_all_answered() {
    let mut controller = Controller::start().await;
    let _agent = Agent::started(&controller);
    let mut link = controller.link().await;
    link.claim(build(1), fence(1)).await;
    let (mut kept, mut failed) = (0, 0);
    for _ in 0..100 {
        let asked = SpoolsAsked { build: build(1), millis: 20_000, steps: Vec::new() };
        link.frame(Frame::Spools { ask: 77, asked }).await;
    }
    for _ in 0..100 {
        match link.told().await {
            SpoolsTold::Kept { .. } => kept += 1,
            SpoolsTold::Failed { why } => {
                assert_eq!(why, "16 other questions about spools wait already");
                failed += 1;
            }
            SpoolsTold::Nothing => panic!("the build is kept"),
        }
    }
    assert!(kept >= 18 && kept + failed == 100, "{kept} {failed}");
}
