//! `failover-test`: a replica is taken away at once, as when its node vanishes, and what becomes of it is followed in the
//! resource. What can't be seen there, the bytes of logs, is not judged here.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Preconditions};
use resource::{Counters, Failover, Member, MemberState, RolloutPhase};

use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::drain::{called, pick, ready};
use crate::error::Error;
use crate::overview::replicas;
use crate::paint::line;
use crate::times::took;
use crate::wait::{Next, Waiting, until};
use crate::{Say, Verdict};

/// How long the others may take to notice, once the replica is back already.
const NOTICE: Duration = Duration::from_secs(30);

/// What `failover-test` is asked for.
pub struct FailoverTest<'a> {
    /// Pod of the replica; without it: the one with most builds.
    pub replica: Option<&'a str>,
    /// Shows what is to be done, and says whether the user wants it.
    pub sure: &'a dyn Fn(&str) -> Result<bool, Error>,
    pub waiting: Waiting,
}

/// How it was before.
#[derive(Debug, Clone, PartialEq)]
struct Noted {
    victim: Member,
    uid: Option<String>,
    counters: Option<Counters>,
    failovers: Vec<Failover>,
}

/// What was seen since, and how long after.
#[derive(Debug, Clone, PartialEq, Default)]
struct Course {
    noticed: Option<(Duration, Failover)>,
    /// Its next pod was there.
    made: Option<Duration>,
    ready: Option<Duration>,
    /// The fewest replicas that were ready at once.
    fewest: Option<usize>,
    counters: Option<Counters>,
}

pub async fn failover_test(
    cluster: &Cluster,
    name: &str,
    asked: FailoverTest<'_>,
    say: Say<'_>,
) -> Result<Verdict, Error> {
    let controller = cluster.controller(name).await?;
    let pods = replicas(cluster, name).await?;
    let victim = choose(&controller, &pods, asked.replica)?;
    let uid = pick(name, &victim.pod, &pods)?.metadata.uid.clone();
    let plan = format!(
        "{}: its pod is deleted at once, without a chance to hand over {} builds and {} agents.",
        line(&victim.pod),
        victim.builds,
        victim.agents
    );
    if !(asked.sure)(&plan)? {
        say("Nothing was done.");
        return Ok(Verdict::Unknown);
    }
    let noted = Noted {
        uid: uid.clone(),
        victim,
        counters: controller.status.counters.clone(),
        failovers: controller.status.failovers.clone(),
    };
    let params = DeleteParams::default().grace_period(0);
    let params = params.preconditions(Preconditions { uid, resource_version: None });
    let begin = Instant::now();
    let done = cluster.api::<Pod>().delete(&noted.victim.pod, &params).await;
    done.map_err(cluster.error::<Pod>("delete"))?;
    say(&format!("{}: deleted", noted.victim.pod));
    let mut course = Course::default();
    until(cluster, asked.waiting, say, async || {
        let pods = replicas(cluster, name).await?;
        let controller = cluster.controller(name).await?;
        Ok(see(&mut course, &noted, &controller, &pods, begin.elapsed()))
    })
    .await?;
    let (text, verdict) = judged(&noted, &course, asked.waiting.timeout);
    say(&text);
    Ok(verdict)
}

/// Who is taken away. All must be ready: what the test shows is what the loss of one does.
fn choose(controller: &Controller, pods: &[Pod], asked: Option<&str>) -> Result<Member, Error> {
    let name = controller.name();
    let serving = |member: &&Member| {
        let pod = pods.iter().find(|pod| called(pod) == member.pod);
        member.state == MemberState::Ready && pod.is_some_and(ready)
    };
    let members: Vec<&Member> = controller.status.members.iter().filter(serving).collect();
    let wanted = usize::try_from(controller.wanted()).unwrap_or(usize::MAX);
    if wanted < 2 {
        return Err(Error::Refused(format!(
            "{name} has {wanted} replicas: nobody could go on with its builds"
        )));
    }
    if members.len() < wanted {
        return Err(Error::Refused(format!(
            "{} of {wanted} replicas of {name} are ready: the test needs all",
            members.len()
        )));
    }
    let rollout = controller.status.rollout.as_ref().map(|rollout| rollout.phase);
    if let Some(phase @ (RolloutPhase::Rolling | RolloutPhase::GoingBack)) = rollout {
        return Err(Error::Refused(format!("{name} is being rolled ({phase}): wait until that has ended")));
    }
    match asked {
        Some(asked) => {
            let asked = called(pick(name, asked, pods)?);
            let found = members.into_iter().find(|member| member.pod == asked);
            found
                .cloned()
                .ok_or_else(|| Error::Refused(format!("{asked} is no replica of {name} that serves")))
        }
        None => {
            let most = members.into_iter().min_by_key(|member| (-i64::from(member.builds), member.ordinal));
            most.cloned().ok_or_else(|| Error::Refused(format!("{name} has no replica that serves")))
        }
    }
}

/// Notes what is new, and says whether there is more to come.
fn see(
    course: &mut Course,
    noted: &Noted,
    controller: &Controller,
    pods: &[Pod],
    elapsed: Duration,
) -> Next<()> {
    let status = &controller.status;
    let new = status
        .failovers
        .iter()
        .find(|lost| lost.replica == noted.victim.pod && !noted.failovers.contains(lost));
    if let (None, Some(lost)) = (&course.noticed, new) {
        course.noticed = Some((elapsed, lost.clone()));
    }
    if let (Some((_, first)), Some(lost)) = (&mut course.noticed, new) {
        // more builds may be counted to it later
        first.builds = first.builds.max(lost.builds);
    }
    let next = pods.iter().find(|pod| called(pod) == noted.victim.pod && pod.metadata.uid != noted.uid);
    if next.is_some() {
        course.made.get_or_insert(elapsed);
    }
    if next.is_some_and(ready) {
        course.ready.get_or_insert(elapsed);
    }
    let now = pods.iter().filter(|pod| ready(pod)).count();
    course.fewest = Some(course.fewest.map_or(now, |fewest| fewest.min(now)));
    course.counters.clone_from(&status.counters);
    let pod = &noted.victim.pod;
    match (&course.noticed, course.ready) {
        (Some(_), Some(_)) => Next::End(()),
        (None, Some(ready)) if elapsed.saturating_sub(ready) >= NOTICE => Next::End(()),
        (None, Some(_)) => {
            Next::Wait(format!("{pod}: ready again; the status does not tell of the loss yet"))
        }
        (Some((_, lost)), None) => Next::Wait(format!(
            "{pod}: the loss was noticed, {} builds went on; it is to come back",
            lost.builds
        )),
        (None, None) => Next::Wait(format!("{pod}: gone; {now} replicas are ready")),
    }
}

fn judged(noted: &Noted, course: &Course, timeout: Duration) -> (String, Verdict) {
    let mut lines = Vec::new();
    let mut verdict = Verdict::Good;
    let mut worse = |to: Verdict| {
        if verdict == Verdict::Good || to == Verdict::Bad {
            verdict = to;
        }
    };
    let after = |time: Option<Duration>| time.map_or_else(|| "never".to_owned(), took);
    lines.push(format!("Noticed      {}", after(course.noticed.as_ref().map(|(time, _)| *time))));
    lines.push(format!("Next pod     {}", after(course.made)));
    lines.push(format!("Ready again  {}", after(course.ready)));
    lines.push(format!("Ready        {} replicas at least, all the time", course.fewest.unwrap_or_default()));
    let had = noted.victim.builds;
    match &course.noticed {
        Some((_, lost)) => {
            lines.push(format!("Builds       {had} before, {} went on at others", lost.builds));
            if had > 0 && lost.builds == 0 {
                worse(Verdict::Unknown);
                lines.push(
                    "None of its builds is known to have gone on: they may have ended just before."
                        .to_owned(),
                );
            } else if lost.builds < had {
                lines.push("Fewer went on than were counted before: counts are up to 10 s old.".to_owned());
            }
        }
        None => {
            worse(Verdict::Bad);
            lines.push("Nobody has told of the loss: is the operator running?".to_owned());
        }
    }
    if let (Some(before), Some(after)) = (&noted.counters, &course.counters) {
        lines.push(format!("Running      {} builds before, {} now", before.builds, after.builds));
        lines.push(format!("Agents       {} before, {} now", before.agents, after.agents));
    }
    if course.ready.is_none() {
        worse(Verdict::Bad);
        lines.push(format!("It was not ready again in {}.", took(timeout)));
    }
    if course.fewest == Some(0) {
        worse(Verdict::Bad);
        lines.push("For a while no replica was ready: nobody served.".to_owned());
    }
    let outcome = match verdict {
        Verdict::Good => "The loss was survived.",
        Verdict::Bad => "The loss was not survived as it should be.",
        Verdict::Unknown => "Not all of it could be seen.",
    };
    lines.push(format!(
        "{outcome} Times are from the deletion, looked at every second. Whether logs are whole is not seen here: \
         majordomo verify-log JOB NUMBER --url URL"
    ));
    (lines.join("\n"), verdict)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn member(ordinal: i32, state: &str, builds: i32) -> Value {
        let pod = format!("acme-{ordinal}");
        json!({ "ordinal": ordinal, "pod": pod, "state": state, "revision": "r", "builds": builds, "agents": 1 })
    }

    fn controller(members: Value, failovers: Value, phase: &str, replicas: u32) -> Controller {
        let rollout = json!({ "phase": phase, "good": "r", "wanted": "r" });
        let counters = json!({ "builds": 5, "queue": 0, "agents": 3 });
        let status =
            json!({ "members": members, "failovers": failovers, "rollout": rollout, "counters": counters });
        let object =
            json!({ "metadata": { "name": "acme" }, "spec": { "replicas": replicas }, "status": status });
        Controller::read(serde_json::from_value(object).unwrap()).unwrap()
    }

    fn pod(ordinal: i32, uid: &str, ready: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": format!("acme-{ordinal}"), "uid": uid },
            "status": { "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }

    fn pods() -> Vec<Pod> {
        (0..3).map(|ordinal| pod(ordinal, "old", "True")).collect()
    }

    fn three() -> Value {
        json!([member(0, "Ready", 1), member(1, "Ready", 4), member(2, "Ready", 4)])
    }

    #[test]
    fn the_one_with_most_builds_goes_if_all_are_ready() {
        let chosen = |members: Value, phase: &str, replicas, asked| {
            let controller = controller(members, json!([]), phase, replicas);
            choose(&controller, &pods(), asked).map(|member| member.pod).map_err(|error| error.to_string())
        };
        assert_eq!(chosen(three(), "Settled", 3, None).unwrap(), "acme-1");
        assert_eq!(chosen(three(), "Settled", 3, Some("acme-0")).unwrap(), "acme-0");
        let drained = json!([member(0, "Ready", 1), member(1, "Draining", 4), member(2, "Ready", 4)]);
        assert!(chosen(drained, "Settled", 3, None).unwrap_err().starts_with("2 of 3 replicas"));
        assert!(chosen(three(), "Rolling", 3, None).unwrap_err().contains("is being rolled"));
        assert!(
            chosen(json!([member(0, "Ready", 1)]), "Settled", 1, None).unwrap_err().contains("nobody could")
        );
        assert!(chosen(three(), "Settled", 3, Some("acme-7")).unwrap_err().contains("there are: acme-0"));
    }

    fn noted(old: Value) -> Noted {
        let before = controller(three(), old, "Settled", 3);
        Noted {
            victim: choose(&before, &pods(), None).unwrap(),
            uid: Some("old".to_owned()),
            counters: before.status.counters,
            failovers: before.status.failovers,
        }
    }

    fn lost(at: &str, builds: i32) -> Value {
        json!({ "replica": "acme-1", "at": format!("2026-11-26T20:{at}:00Z"), "builds": builds })
    }

    #[test]
    fn a_loss_is_followed_to_its_end() {
        // an older loss of the same replica is not this one
        let noted = noted(json!([lost("00", 9)]));
        let mut course = Course::default();
        let gone = [pod(0, "old", "True"), pod(2, "old", "True")];
        let next = [pod(0, "old", "True"), pod(1, "new", "False"), pod(2, "old", "True")];
        let back = [pod(0, "old", "True"), pod(1, "new", "True"), pod(2, "old", "True")];
        let (unseen, seen) = (json!([lost("00", 9)]), json!([lost("05", 4), lost("00", 9)]));
        for (second, failovers, pods, ends) in
            [(1, &unseen, &gone[..], false), (2, &seen, &next[..], false), (9, &seen, &back[..], true)]
        {
            let now = controller(three(), failovers.clone(), "Settled", 3);
            let end = see(&mut course, &noted, &now, pods, Duration::from_secs(second));
            assert_eq!(end == Next::End(()), ends, "{second}");
        }
        assert_eq!(course.noticed.as_ref().map(|(time, lost)| (time.as_secs(), lost.builds)), Some((2, 4)));
        assert_eq!((course.made, course.ready), (Some(Duration::from_secs(2)), Some(Duration::from_secs(9))));
        let (text, verdict) = judged(&noted, &course, Duration::from_secs(60));
        assert_eq!(verdict, Verdict::Good, "{text}");
        assert!(text.contains("Builds       4 before, 4 went on at others"), "{text}");
        assert!(text.contains("Ready        2 replicas at least"), "{text}");
    }

    #[test]
    fn a_loss_that_nobody_tells_of_ends_the_test_as_failed() {
        let noted = noted(json!([]));
        let mut course = Course::default();
        let now = controller(three(), json!([]), "Settled", 3);
        let back = [pod(0, "old", "True"), pod(1, "new", "True")];
        assert_ne!(see(&mut course, &noted, &now, &back, Duration::from_secs(5)), Next::End(()));
        assert_eq!(see(&mut course, &noted, &now, &back, Duration::from_secs(35)), Next::End(()));
        let (text, verdict) = judged(&noted, &course, Duration::from_secs(60));
        assert_eq!(verdict, Verdict::Bad);
        assert!(text.contains("is the operator running?"), "{text}");
    }

    #[test]
    fn each_defect_has_its_verdict() {
        let noted = noted(json!([]));
        let lost = |builds| serde_json::from_value(lost("05", builds)).unwrap();
        let second = Duration::from_secs(1);
        let good = Course {
            noticed: Some((second, lost(4))),
            made: Some(second),
            ready: Some(second),
            fewest: Some(2),
            counters: None,
        };
        for (course, verdict) in [
            (good.clone(), Verdict::Good),
            (Course { noticed: Some((second, lost(3))), ..good.clone() }, Verdict::Good),
            (Course { noticed: Some((second, lost(0))), ..good.clone() }, Verdict::Unknown),
            (Course { noticed: Some((second, lost(0))), ready: None, ..good.clone() }, Verdict::Bad),
            (Course { fewest: Some(0), ..good.clone() }, Verdict::Bad),
            (Course { noticed: None, ..good }, Verdict::Bad),
        ] {
            let (text, got) = judged(&noted, &course, second);
            assert_eq!(got, verdict, "{text}");
        }
    }
}
