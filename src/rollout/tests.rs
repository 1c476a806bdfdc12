use proptest::prelude::*;

use super::*;

fn rev(name: &str) -> Revision {
    Revision(name.to_owned())
}

fn slot(revision: &str, state: State) -> Slot {
    Slot { revision: rev(revision), state, broken: None }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn rolling(turn: Option<(usize, Stage, u64)>) -> Rollout {
    let turn = turn.map(|(ordinal, stage, since)| Turn { ordinal, stage, since: secs(since) });
    Rollout { turn, ..Rollout::settled(rev("1")).want(rev("2"), secs(0)) }
}

/// One line: the turn, the slots, and what is to be done after 100 s.
#[test]
fn each_state_has_its_act() {
    use State::{Drained, Draining, Ready, Starting};
    let (drain, start) = (Stage::Drain, Stage::Start);
    let replace = |ordinal| Act::Replace(ordinal, rev("2"));
    let table = [
        ("nothing to do", None, vec![slot("2", Ready), slot("2", Ready)], Act::Nothing),
        ("the first goes first", None, vec![slot("1", Ready), slot("1", Ready)], Act::Drain(0)),
        ("others must be ready", None, vec![slot("1", Ready), slot("2", Starting)], Act::Nothing),
        ("one that is down goes first", None, vec![slot("1", Ready), slot("1", Starting)], replace(1)),
        ("all are down", None, vec![slot("1", Starting), slot("1", Starting)], replace(0)),
        ("drained by hand", None, vec![slot("1", Ready), slot("1", Drained)], replace(1)),
        ("said again", Some((0, drain, 90)), vec![slot("1", Ready), slot("1", Ready)], Act::Drain(0)),
        ("drains", Some((0, drain, 90)), vec![slot("1", Draining), slot("1", Ready)], Act::Nothing),
        ("drained", Some((0, drain, 90)), vec![slot("1", Drained), slot("1", Ready)], replace(0)),
        ("killed meanwhile", Some((0, drain, 90)), vec![slot("1", Starting), slot("1", Ready)], replace(0)),
        ("starts", Some((0, start, 90)), vec![slot("2", Starting), slot("1", Ready)], Act::Nothing),
        (
            "serves, as far as one can tell",
            Some((0, start, 90)),
            vec![slot("2", Draining), slot("1", Ready)],
            Act::Nothing,
        ),
        ("the next one", Some((0, start, 90)), vec![slot("2", Ready), slot("1", Ready)], Act::Drain(1)),
        ("one lost meanwhile", Some((0, start, 90)), vec![slot("2", Ready), slot("1", Starting)], replace(1)),
        ("the last", Some((1, start, 90)), vec![slot("2", Ready), slot("2", Ready)], Act::Nothing),
        ("a slot that is gone", Some((2, start, 90)), vec![slot("2", Ready)], Act::Nothing),
    ];
    for (name, turn, slots, wanted) in table {
        let observed = Observed { now: secs(100), slots: &slots, busy: None };
        let (after, act) = step(rolling(turn), &observed, &Policy::default());
        assert_eq!(act, wanted, "{name}");
        let again = step(after.clone(), &observed, &Policy::default());
        assert_eq!(again, (after, wanted), "{name}, said again");
    }
}

#[test]
fn a_drain_has_a_limit() {
    let slots = [slot("1", State::Draining), slot("1", State::Ready)];
    let at = |now| {
        let observed = Observed { now: secs(now), slots: &slots, busy: None };
        step(rolling(Some((0, Stage::Drain, 0))), &observed, &Policy::default()).1
    };
    assert_eq!(at(299), Act::Nothing);
    assert_eq!(at(300), Act::Replace(0, rev("2")));
}

#[test]
fn what_does_not_become_ready_is_given_up_and_all_go_back() {
    let policy = Policy::default();
    let mut slots = vec![slot("2", State::Ready), slot("2", State::Starting), slot("1", State::Ready)];
    let at = |now, slots: &[Slot], rollout| {
        step(rollout, &Observed { now: secs(now), slots, busy: None }, &policy)
    };
    let (rollout, act) = at(299, &slots, rolling(Some((1, Stage::Start, 0))));
    assert_eq!((act, &rollout.failed), (Act::Nothing, &None));
    let (rollout, act) = at(300, &slots, rollout);
    assert_eq!(act, Act::Replace(1, rev("1")));
    assert_eq!(rollout.failed.as_deref(), Some("it was not ready after 300 s"));
    slots[1] = slot("1", State::Starting);
    let (rollout, act) = at(301, &slots, rollout);
    assert_eq!(act, Act::Nothing);
    slots[1].state = State::Ready;
    let (rollout, act) = at(302, &slots, rollout);
    assert_eq!(act, Act::Drain(0), "also those that were ready go back");
    slots[0].state = State::Drained;
    let (rollout, act) = at(303, &slots, rollout);
    assert_eq!(act, Act::Replace(0, rev("1")));
    slots[0] = slot("1", State::Ready);
    let (rollout, act) = at(304, &slots, rollout);
    assert_eq!((act, rollout.good.clone()), (Act::Nothing, rev("1")));
    let observed = Observed { now: secs(305), slots: &slots, busy: None };
    assert_eq!(rollout.phase(&observed, &policy), Phase::Halted);
    let rollout = rollout.want(rev("3"), secs(306));
    assert_eq!((rollout.failed.clone(), step(rollout, &observed, &policy).1), (None, Act::Drain(0)));
}

/// Something else is wanted by now, and it may serve.
#[test]
fn one_that_seems_to_drain_is_drained_before_it_is_replaced_once_more() {
    for state in [State::Ready, State::Draining] {
        let slots = [slot("1", state), slot("1", State::Ready)];
        let observed = Observed { now: secs(100), slots: &slots, busy: None };
        let (after, act) = step(rolling(Some((0, Stage::Start, 90))), &observed, &Policy::default());
        assert_eq!((act, after.turn.map(|turn| turn.stage)), (Act::Drain(0), Some(Stage::Drain)));
    }
}

/// Nobody remembers who was begun with: another life of whoever starts the replicas goes on.
#[test]
fn one_that_hangs_is_given_up_also_when_it_had_no_turn() {
    let all_hang = vec![slot("2", State::Starting), slot("2", State::Starting)];
    let one_hangs = vec![slot("2", State::Starting), slot("1", State::Ready)];
    for slots in [all_hang, one_hangs] {
        let at = |now, rollout| {
            step(rollout, &Observed { now: secs(now), slots: &slots, busy: None }, &Policy::default())
        };
        let (rollout, act) = at(10, rolling(None));
        assert_eq!((act, rollout.turn.map(|turn| turn.ordinal)), (Act::Nothing, Some(0)));
        let (rollout, act) = at(309, rollout);
        assert_eq!((act, &rollout.failed), (Act::Nothing, &None));
        assert_eq!(at(310, rollout).1, Act::Replace(0, rev("1")));
    }
}

#[test]
fn what_says_that_it_can_not_start_is_given_up_at_once() {
    let mut slots = vec![slot("2", State::Starting), slot("1", State::Ready)];
    slots[0].broken = Some("the home is newer".to_owned());
    let observed = Observed { now: secs(1), slots: &slots, busy: None };
    let (rollout, act) = step(rolling(Some((0, Stage::Start, 0))), &observed, &Policy::default());
    assert_eq!((act, rollout.failed.as_deref()), (Act::Replace(0, rev("1")), Some("the home is newer")));
}

#[test]
fn one_that_waits_to_be_idle_does_not_begin_before() {
    let policy = Policy { when: RestartWhen::Idle, ..Policy::default() };
    let ready = [slot("1", State::Ready), slot("1", State::Ready)];
    let half = [slot("2", State::Ready), slot("1", State::Ready)];
    let left = [slot("1", State::Ready), slot("1.5", State::Ready)];
    let hour = 60 * 60;
    for (now, slots, busy, wanted) in [
        (hour, &ready, Some(1), Act::Nothing),
        (hour, &ready, None, Act::Nothing),
        (hour, &ready, Some(0), Act::Drain(0)),
        (hour, &half, Some(1), Act::Drain(1)),
        (hour, &left, Some(1), Act::Drain(0)),
        (24 * hour, &ready, Some(1), Act::Drain(0)),
    ] {
        let observed = Observed { now: secs(now), slots, busy };
        let waits = wanted == Act::Nothing;
        assert_eq!(rolling(None).phase(&observed, &policy) == Phase::Waiting, waits);
        assert_eq!(step(rolling(None), &observed, &policy).1, wanted, "{now} {busy:?}");
    }
}

/// One line: when it was asked for, the turn, the slots, and what is wanted after it was withdrawn.
#[test]
fn only_what_waits_and_has_not_begun_is_withdrawn() {
    let (idle, at_once) = (RestartWhen::Idle, RestartWhen::Immediately);
    let ready = vec![slot("1", State::Ready), slot("1", State::Ready)];
    let one_away = vec![slot("1", State::Ready), slot("1", State::Starting)];
    let half = vec![slot("2", State::Ready), slot("1", State::Ready)];
    let lost = vec![slot("1", State::Ready), slot("2", State::Away)];
    let table = [
        ("it waits", idle, None, &ready, "1"),
        ("what is away was not replaced", idle, None, &lost, "1"),
        ("it would wait for another one, too", idle, None, &one_away, "1"),
        ("it drains", idle, Some((0, Stage::Drain, 90)), &ready, "2"),
        ("one was replaced", idle, None, &half, "2"),
        ("nobody waits", at_once, None, &ready, "2"),
    ];
    for (name, when, turn, slots, wanted) in table {
        let policy = Policy { when, ..Policy::default() };
        for busy in [None, Some(0), Some(1)] {
            let observed = Observed { now: secs(100), slots, busy };
            let after = rolling(turn).withdraw(&observed, &policy);
            assert_eq!(after.wanted, rev(wanted), "{name}, {busy:?}");
            assert_eq!(after.clone().withdraw(&observed, &policy), after, "{name}, said again");
        }
    }
    let policy = Policy { when: idle, ..Policy::default() };
    let observed = Observed { now: secs(100), slots: &ready, busy: Some(1) };
    let after = rolling(None).withdraw(&observed, &policy);
    assert_eq!(
        (after.phase(&observed, &policy), step(after, &observed, &policy).1),
        (Phase::Settled, Act::Nothing)
    );
    let failed = Rollout { failed: Some("it is broken".to_owned()), ..rolling(None) };
    assert_eq!(failed.clone().withdraw(&observed, &policy), failed, "what has failed is told on");
}

#[test]
fn what_is_held_does_not_begin_and_what_has_begun_is_finished() {
    use State::{Drained, Ready};
    let ready = vec![slot("1", Ready), slot("1", Ready)];
    let half = vec![slot("2", Ready), slot("1", Ready)];
    let drained = vec![slot("1", Drained), slot("1", Ready)];
    let drains = Some((0, Stage::Drain, 90));
    let table = [
        ("paused", Hold::Paused, None, &ready, Act::Nothing, Phase::Rolling),
        ("paused half-way", Hold::Paused, None, &half, Act::Nothing, Phase::Rolling),
        ("paused, one at work", Hold::Paused, drains, &drained, Act::Replace(0, rev("2")), Phase::Rolling),
        ("not the time", Hold::Closed, None, &ready, Act::Nothing, Phase::Waiting),
        ("begun in time", Hold::Closed, None, &half, Act::Drain(1), Phase::Rolling),
        ("one at work in time", Hold::Closed, drains, &drained, Act::Replace(0, rev("2")), Phase::Rolling),
    ];
    for (name, hold, turn, slots, wanted, phase) in table {
        let policy = Policy { hold: Some(hold), ..Policy::default() };
        let observed = Observed { now: secs(100), slots, busy: None };
        assert_eq!(rolling(turn).phase(&observed, &policy), phase, "{name}");
        assert_eq!(step(rolling(turn), &observed, &policy).1, wanted, "{name}");
    }
}

#[test]
fn slots_that_must_go_in_order_do_not_wait_for_one_that_is_broken() {
    use State::{Ready, Starting};
    let policy = Policy { order: Order::Listed, ..Policy::default() };
    let broken = Slot { broken: Some("no node takes it".to_owned()), ..slot("1", Starting) };
    let table = [
        ("in order", vec![slot("1", Ready), slot("1", Ready)], Act::Drain(0)),
        ("one starts", vec![slot("1", Ready), slot("1", Ready), slot("1", Starting)], Act::Nothing),
        ("one is broken", vec![slot("1", Ready), slot("1", Ready), broken.clone()], Act::Drain(0)),
        ("nobody else would serve", vec![slot("1", Ready), broken.clone()], Act::Nothing),
        ("all are broken", vec![broken.clone(), broken.clone()], Act::Replace(0, rev("2"))),
        ("the broken one's turn", vec![slot("2", Ready), broken], Act::Replace(1, rev("2"))),
        ("a single one", vec![slot("1", Ready)], Act::Drain(0)),
    ];
    for (name, slots, wanted) in table {
        let observed = Observed { now: secs(100), slots: &slots, busy: None };
        assert_eq!(step(rolling(None), &observed, &policy).1, wanted, "{name}");
    }
}

/// What may happen to a slot, or to the wish, between two steps.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Progress(usize),
    Lost(usize),
    DrainedByHand(usize),
    Wanted(u8),
    Time(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        8 => (0..5usize).prop_map(Happens::Progress),
        1 => (0..5usize).prop_map(Happens::Lost),
        1 => (0..5usize).prop_map(Happens::DrainedByHand),
        1 => (2..6u8).prop_map(Happens::Wanted),
        2 => (1..200u64).prop_map(Happens::Time),
    ]
}

/// Revision 3 never starts.
const BROKEN: &str = "3";

fn progress(slot: &mut Slot) {
    match slot.state {
        State::Starting if slot.revision.0 == BROKEN => slot.broken = Some("it is broken".to_owned()),
        State::Starting => slot.state = State::Ready,
        State::Draining => slot.state = State::Drained,
        State::Ready | State::Drained | State::Away => {}
    }
}

fn perform(act: Act, slots: &mut [Slot]) -> Result<(), TestCaseError> {
    match act {
        Act::Nothing => {}
        Act::Drain(ordinal) => {
            let unready = slots.iter().enumerate().filter(|(n, s)| *n != ordinal && s.state != State::Ready);
            prop_assert!(matches!(slots[ordinal].state, State::Ready | State::Draining));
            prop_assert_eq!(unready.count(), 0, "one at a time");
            slots[ordinal].state = State::Draining;
        }
        Act::Replace(ordinal, revision) => {
            prop_assert!(slots[ordinal].state != State::Ready, "it serves and was not drained");
            slots[ordinal] = Slot { revision, state: State::Starting, broken: None };
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn whatever_happens_one_slot_is_taken_at_a_time_and_all_come_to_rest(
        count in 1..5usize,
        story in proptest::collection::vec(happens(), 0..80),
    ) {
        let policy = Policy::default();
        let mut slots = vec![slot("1", State::Ready); count];
        let mut rollout = Rollout::settled(rev("1"));
        let mut now = Duration::ZERO;
        // a slot that somebody else takes while one drains is not the rollout's doing
        for event in story {
            match event {
                Happens::Progress(n) => progress(&mut slots[n % count]),
                Happens::Lost(n) if rollout.turn.is_none() => slots[n % count].state = State::Starting,
                Happens::DrainedByHand(n) if rollout.turn.is_none() => slots[n % count].state = State::Drained,
                Happens::Lost(_) | Happens::DrainedByHand(_) => {}
                Happens::Wanted(n) => rollout = rollout.want(rev(&n.to_string()), now),
                Happens::Time(seconds) => now += secs(seconds),
            }
            let (next, act) = step(rollout, &Observed { now, slots: &slots, busy: Some(0) }, &policy);
            rollout = next;
            perform(act, &mut slots)?;
        }
        // whoever drained a slot by hand starts it again
        for slot in slots.iter_mut().filter(|s| s.state == State::Drained) {
            slot.state = State::Starting;
        }
        for _ in 0..200 {
            slots.iter_mut().for_each(progress);
            now += secs(1);
            let (next, act) = step(rollout, &Observed { now, slots: &slots, busy: Some(0) }, &policy);
            rollout = next;
            perform(act, &mut slots)?;
        }
        let expected = rollout.target().clone();
        prop_assert!(rollout.good.0 != BROKEN);
        for slot in &slots {
            prop_assert_eq!(slot, &Slot { revision: expected.clone(), state: State::Ready, broken: None });
        }
        let late = rollout.failed.as_deref().is_some_and(|why| why.starts_with("it was not ready"));
        prop_assert_eq!(rollout.failed.is_some(), rollout.wanted.0 == BROKEN || late);
        prop_assert_eq!(rollout.turn, None);
    }
}
