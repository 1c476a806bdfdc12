//! The home itself: identity, epoch.

use super::support::*;
use model::{BuildResult, Millis, ReplicaState, RestartWhen, RolloutPhase, RolloutReport};

use crate::{
    Answer, ArchivedLog, Effect, Join, MAX_EPOCH, MAX_PLACE, MAX_REASON, MAX_REPORT, ObjectPlace, Restart,
    Store, Write, archive,
};

pub async fn a_new_home_has_no_controller<S: Store>(store: &S) {
    let meta = store.meta().await.unwrap();
    assert_eq!((meta.controller.as_str(), meta.level, meta.epoch, meta.tick), ("", 1, 1, 0));
    assert!(store.members().await.unwrap().is_empty());
    assert!(store.queue().await.unwrap().is_empty());
    assert!(store.garbage(10).await.unwrap().is_empty());
}

/// Moves objects, as they are seen to be.
async fn place<S: Store>(store: &S, id: Option<&str>) -> Write {
    let meta = store.meta().await.unwrap();
    Write::PlaceObjects { was: meta.objects, place: id.map(a_place), joined: meta.joined }
}

pub async fn objects_change_their_place_only_while_there_are_none<S: Store>(store: &S) {
    assert_eq!(store.meta().await.unwrap().objects, None);
    for id in [Some("1"), Some("1"), Some("2"), None, Some("1")] {
        assert!(claim(store, place(store, id).await).await);
        assert_eq!(store.meta().await.unwrap().objects, id.map(a_place));
    }
    let was = Some(a_place("1"));
    let long = Some(ObjectPlace { id: String::new(), address: "x".repeat(MAX_PLACE + 1) });
    refused(store, Write::PlaceObjects { was, place: long, joined: 0 }, "Limit").await;

    let me = join(store, "r-0").await;
    pipeline(store, "app").await;
    let mut plain = start(store, "app", &me).await;
    refused(store, place(store, Some("2")).await, "Conflict").await;
    refused(store, place(store, Some("1")).await, "Conflict").await;
    plain.finish(store, BuildResult::Success).await;
    assert!(claim(store, place(store, Some("2")).await).await);

    let mut keeps = start(store, "app", &me).await;
    keeps.effects(store, [Effect::Artifact { path: "a".into(), size: 1, object: "o/1".into() }]).await;
    keeps.finish(store, BuildResult::Success).await;
    refused(store, place(store, None).await, "Conflict").await;
    ok(store, Write::DeleteBuild { job: name("app"), number: 2, build: None }).await;
    refused(store, place(store, None).await, "Conflict").await;
    ok(store, Write::ForgetObjects { keys: vec!["o/1".into()] }).await;
    assert!(claim(store, place(store, None).await).await);

    let mut printed = start(store, "app", &me).await;
    printed.say(store, "hello\n").await;
    let end = Effect::Finish { result: BuildResult::Success, at: Millis(9), archive: true };
    printed.effects(store, [end]).await;
    assert!(claim(store, place(store, Some("3")).await).await);
    // of an object that is elsewhere the store knows nothing, and believes whoever has read it back
    let object = format!("{}/1.gz", archive::prefix(printed.build));
    let log = ArchivedLog { object, directory: 1, size: 2 };
    assert_eq!(ok(store, Write::LogArchived { build: printed.build, log }).await, Answer::Bool(true));
    // there is no such object to be read, so no picture is taken
    let error = store.write(place(store, None).await).await.unwrap_err();
    assert_eq!(error.reason(), "Conflict");
}

pub async fn of_two_who_place_objects_the_second_looks_again<S: Store>(store: &S) {
    let (first, second) = (place(store, Some("1")).await, place(store, Some("2")).await);
    assert!(claim(store, first).await);
    declined(store, second).await;
    let seen = place(store, Some("2")).await;
    let me = join(store, "r-0").await;
    assert_eq!(store.meta().await.unwrap().joined, me.incarnation);
    declined(store, seen).await;
    assert!(claim(store, place(store, Some("2")).await).await);
}

pub async fn the_first_identity_stays<S: Store>(store: &S) {
    for brought in ["acme", "other", "acme"] {
        let answer = ok(store, Write::Identify { controller: brought.into() }).await;
        assert_eq!(answer, Answer::Controller("acme".into()));
    }
    assert_eq!(store.meta().await.unwrap().controller, "acme");
}

pub async fn the_epoch_only_rises<S: Store>(store: &S) {
    for (above, epoch) in [(0, 1), (1, 2), (1, 2), (6, 7), (3, 7)] {
        assert_eq!(ok(store, Write::RaiseEpoch { above }).await, Answer::Epoch(epoch));
        assert_eq!(store.meta().await.unwrap().epoch, epoch);
    }
    match ok(store, Write::Join(join_as("r-0", 0))).await {
        Answer::Joined { epoch, .. } => assert_eq!(epoch, 7),
        other => panic!("{other:?}"),
    }
}

pub async fn an_epoch_that_no_fence_can_show_is_refused<S: Store>(store: &S) {
    refused(store, Write::RaiseEpoch { above: MAX_EPOCH }, "Limit").await;
    refused(store, Write::RaiseEpoch { above: u32::MAX }, "Limit").await;
    assert_eq!(ok(store, Write::RaiseEpoch { above: MAX_EPOCH - 1 }).await, Answer::Epoch(MAX_EPOCH));
}

pub async fn a_level_is_raised_once_every_live_member_knows_it_and_keeps_out_who_does_not<S: Store>(
    store: &S,
) {
    let newer = |name: &str| Write::Join(Join { level: 7, ..join_as(name, 0) });
    let raise = async |level: i64| ok(store, Write::RaiseLevel { level }).await;
    let older = join(store, "r-0").await;
    ok(store, newer("r-1")).await;
    assert_eq!(raise(7).await, Answer::Level(1));
    let stopped = Write::SetState { me: older, state: ReplicaState::Stopped, at: Millis(3) };
    ok(store, stopped).await;
    for (level, is) in [(8, 1), (6, 6), (7, 7), (2, 7), (7, 7), (9, 7)] {
        assert_eq!((raise(level).await, store.meta().await.unwrap().level), (Answer::Level(is), is));
    }
    refused(store, Write::Join(join_as("r-0", 0)), "Conflict").await;
    refused(store, Write::Join(join_as("r-1", 0)), "Conflict").await;
    let members = store.members().await.unwrap();
    assert!(
        members.iter().any(|m| m.id.name.as_str() == "r-1" && m.live()),
        "nothing was changed: {members:?}"
    );
    ok(store, newer("r-0")).await;
}

pub async fn a_quiet_period_has_a_reason<S: Store>(store: &S) {
    assert_eq!(store.meta().await.unwrap().quiet, None);
    for reason in [Some("the disk is changed"), Some(""), None] {
        let reason = reason.map(str::to_owned);
        assert_eq!(ok(store, Write::SetQuiet { reason: reason.clone() }).await, Answer::Unit);
        assert_eq!(store.meta().await.unwrap().quiet, reason);
    }
    refused(store, Write::SetQuiet { reason: Some("x".repeat(MAX_REASON + 1)) }, "Limit").await;
}

pub async fn each_restart_that_is_asked_for_has_a_number<S: Store>(store: &S) {
    assert_eq!(store.meta().await.unwrap().restart, Restart::default());
    for (seen, number, when, by) in [
        (0, 1, RestartWhen::Idle, "ann"),
        (1, 2, RestartWhen::Immediately, "bob"),
        (1, 2, RestartWhen::Immediately, "bob"),
    ] {
        let ask = Write::AskRestart { seen, when, by: by.into(), reload: false };
        assert_eq!(ok(store, ask).await, Answer::Id(number));
        let wanted = Restart { number, when, by: by.into(), ..Restart::default() };
        assert_eq!(store.meta().await.unwrap().restart, wanted);
    }
}

pub async fn a_restart_serves_nobody_who_asks_for_a_reload<S: Store>(store: &S) {
    for (seen, number, asked, reload) in [
        (0, 1, false, false),
        (0, 2, true, true),
        (1, 2, true, true),
        (1, 2, false, true),
        (2, 3, false, false),
    ] {
        let ask = Write::AskRestart { seen, when: RestartWhen::Idle, by: "ann".into(), reload: asked };
        assert_eq!(ok(store, ask).await, Answer::Id(number));
        assert_eq!(store.meta().await.unwrap().restart.reload, reload, "{seen} {asked}");
    }
}

pub async fn a_restart_is_withdrawn_until_another_one_is_asked_for<S: Store>(store: &S) {
    let ask = |seen| Write::AskRestart { seen, when: RestartWhen::Idle, by: "ann".into(), reload: false };
    assert_eq!(ok(store, ask(0)).await, Answer::Id(1));
    for (number, last) in [(0, false), (1, true), (1, true), (2, false)] {
        assert_eq!(ok(store, Write::WithdrawRestart { number }).await, Answer::Bool(last));
        let restart = store.meta().await.unwrap().restart;
        assert_eq!((restart.number, restart.withdrawn), (1, number > 0), "{number}");
    }
    // who has not seen it asks for one of his own
    for _ in 0..2 {
        assert_eq!(ok(store, ask(0)).await, Answer::Id(2));
        assert!(!store.meta().await.unwrap().restart.withdrawn);
    }
    assert_eq!(ok(store, Write::WithdrawRestart { number: 1 }).await, Answer::Bool(false));
    assert!(!store.meta().await.unwrap().restart.withdrawn);
}

pub async fn the_last_report_of_a_rollout_is_kept<S: Store>(store: &S) {
    assert_eq!(store.meta().await.unwrap().rollout, None);
    for (phase, failed) in
        [(RolloutPhase::Rolling, None), (RolloutPhase::Halted, Some("it is broken".to_owned()))]
    {
        let report = RolloutReport { phase, failed, ..a_report() };
        assert_eq!(ok(store, Write::ReportRollout { report: report.clone() }).await, Answer::Unit);
        assert_eq!(store.meta().await.unwrap().rollout, Some(report));
    }
    let report = RolloutReport { message: "x".repeat(MAX_REPORT), ..a_report() };
    refused(store, Write::ReportRollout { report }, "Limit").await;
}
