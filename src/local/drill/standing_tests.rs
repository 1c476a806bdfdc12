use super::*;

fn replica(name: &str, state: &str, incarnation: i64, builds: &[u64]) -> Replica {
    let builds = builds.iter().map(|n| build(*n)).collect();
    Replica { name: name.to_owned(), state: state.to_owned(), incarnation, pid: Some(7), builds }
}

fn build(number: u64) -> Build {
    Build { job: "a".to_owned(), number }
}

#[test]
fn the_busiest_is_picked_or_the_one_that_is_named() {
    let all = [
        replica("r-0", "ready", 1, &[1]),
        replica("r-1", "ready", 2, &[2, 3]),
        replica("r-2", "ready", 3, &[4, 5]),
        replica("r-3", "draining", 4, &[6, 7, 8]),
    ];
    assert_eq!(pick(&all, None).unwrap().name, "r-1");
    assert_eq!(pick(&all, Some("r-0")).unwrap().name, "r-0");
    let why = pick(&all, Some("r-3")).unwrap_err().to_string();
    assert_eq!(why, "no replica r-3 is ready; there are r-0, r-1, r-2");
    let why = pick(&all[2..], None).unwrap_err().to_string();
    assert!(why.starts_with("1 replicas are ready; two must be"), "{why}");
}

#[test]
fn a_sample_is_spread_over_all() {
    let builds: Vec<Build> = (0..250).map(build).collect();
    assert_eq!(sample(&builds[..100], 100), builds[..100]);
    let some = sample(&builds, 100);
    assert_eq!((some.len(), some[0].number, some[99].number), (100, 0, 247));
    let numbers: HashSet<u64> = some.iter().map(|b| b.number).collect();
    assert_eq!(numbers.len(), 100);
}

#[test]
fn a_build_has_resumed_when_its_log_is_longer_than_it_was_after_the_kill() {
    let mut watched = Watched::new(build(1), Some(Noted { bytes: 10, sha256: "s".to_owned() }));
    // what it had committed before the kill proves nothing, were it noted or not
    watched.glance(Glance::Runs { length: 25 });
    assert_eq!(watched.fate, Fate::Waits);
    watched.glance(Glance::Runs { length: 25 });
    assert_eq!(watched.fate, Fate::Waits);
    watched.glance(Glance::Runs { length: 26 });
    assert_eq!(watched.fate, Fate::Resumed);
    watched.glance(Glance::Runs { length: 26 });
    assert_eq!(watched.fate, Fate::Resumed);
    watched.glance(Glance::Ended);
    assert_eq!(watched.fate, Fate::Ended);
    watched.glance(Glance::Gone);
    assert_eq!(watched.fate, Fate::Gone);
}

fn seen(replicas: Vec<Replica>, moments: Option<(u64, Option<u64>)>) -> Seen {
    let row = |(adopted, resumed_millis)| Failover {
        incarnation: 2,
        adopted_millis: Some(adopted),
        resumed_millis,
    };
    Seen { replicas, failovers: moments.map(row).into_iter().collect() }
}

/// The builds of these numbers, with what became of them.
fn watched(fates: &[(u64, Fate)]) -> Vec<Watched> {
    fates.iter().map(|(number, fate)| Watched { fate: *fate, ..Watched::new(build(*number), None) }).collect()
}

#[test]
fn all_builds_are_adopted_or_over_and_resumed_before_the_test_is() {
    let lost = replica("r-1", "ready", 2, &[1, 2, 3]);
    let second = Duration::from_secs(1);
    let none = HashSet::new();
    let other = |builds: &[u64]| replica("r-0", "ready", 1, builds);
    let wait = watched(&[(1, Fate::Waits), (2, Fate::Waits), (3, Fate::Waits)]);
    // nobody has noticed yet
    let look = seen(vec![other(&[9]), lost.clone()], None);
    assert!(nobodys(&lost, &look).is_empty());
    let standing = Standing::default().next(&lost, &look, &none, &wait, second);
    assert_eq!((standing.left, standing.ready), (3, None), "the lost one itself is not back");
    // one adopted, and the new one starts
    let look = seen(vec![other(&[9, 1]), replica("r-1", "starting", 5, &[])], Some((200, None)));
    assert_eq!(nobodys(&lost, &look), [&build(2), &build(3)]);
    let standing = standing.next(&lost, &look, &none, &wait, 2 * second);
    assert_eq!((standing.left, standing.ready), (2, None));
    // all adopted or over, one resumed, and it is back
    let over = HashSet::from([build(3)]);
    let look = seen(vec![other(&[9, 1, 2]), replica("r-1", "ready", 5, &[])], Some((300, Some(400))));
    let some = watched(&[(1, Fate::Resumed), (2, Fate::Waits), (3, Fate::Ended)]);
    let standing = standing.next(&lost, &look, &over, &some, 3 * second);
    assert_eq!((standing.left, standing.waiting, standing.ready), (0, 1, Some(3 * second)));
    assert!(!standing.over(&lost, 62 * second), "one that goes on says nothing of another one");
    assert!(standing.over(&lost, 63 * second), "the other one only waits, or hangs");
    // the last one resumes
    let all = watched(&[(1, Fate::Resumed), (2, Fate::Resumed), (3, Fate::Ended)]);
    let look = seen(look.replicas, Some((300, Some(2_600))));
    let standing = standing.next(&lost, &look, &over, &all, 5 * second);
    assert!(!standing.over(&lost, 7 * second) && standing.over(&lost, 8 * second));
    assert_eq!((standing.adopted_millis, standing.resumed_millis), (Some(300), Some(2_600)));
}

#[test]
fn without_builds_only_the_return_counts() {
    let lost = replica("r-1", "ready", 2, &[]);
    let step =
        |look: &Seen| Standing::default().next(&lost, look, &HashSet::new(), &[], Duration::from_secs(1));
    assert!(!step(&seen(vec![lost.clone()], None)).over(&lost, Duration::from_secs(9)));
    let back = step(&seen(vec![replica("r-1", "ready", 5, &[])], None));
    assert!(back.over(&lost, Duration::from_secs(1)));
}
