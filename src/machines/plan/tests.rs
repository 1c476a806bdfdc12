use std::collections::BTreeMap;

use model::{Millis, ReplicaId, ReplicaName, ReplicaState, RestartWhen, RolloutPhase};
use proptest::prelude::*;
use store::{Load, Member, Restart};

use super::*;

fn name(text: &str) -> ReplicaName {
    ReplicaName::parse(text).unwrap()
}

pub(crate) fn member(at: u32, revision: &str, state: ReplicaState) -> Member {
    Member {
        id: ReplicaId { name: name(&format!("ci-{at}")), incarnation: i64::from(at) + 1 },
        ordinal: at,
        pid: 0,
        address: String::new(),
        state,
        since: Millis(0),
        revision: revision.to_owned(),
        version: "1".to_owned(),
        level: 1,
        behaviour: 1,
        beat: 0,
        load: Load::default(),
    }
}

fn rev(text: &str) -> Revision {
    Revision(text.to_owned())
}

fn asked(number: i64, reload: bool) -> Restart {
    Restart { number, when: RestartWhen::Immediately, by: "ann".to_owned(), reload, withdrawn: false }
}

/// Three machines and whoever holds the lease, one look a second.
struct World {
    members: Vec<Member>,
    gave_up: BTreeMap<ReplicaName, GaveUp>,
    plan: Plan,
    memory: Memory,
    now: u64,
    busy: u64,
    withdrawn: bool,
    report: Option<RolloutReport>,
    /// Never comes back once it has ended.
    off: Option<usize>,
}

impl World {
    fn new() -> World {
        let members: Vec<_> = (0..3).map(|at| member(at, "1.0", ReplicaState::Ready)).collect();
        let plan = Plan::first(&members, 0);
        let (gave_up, memory) = (BTreeMap::new(), Memory::default());
        World { members, gave_up, plan, memory, now: 0, busy: 0, withdrawn: false, report: None, off: None }
    }

    fn ask(&mut self, restart: &Restart) {
        self.withdrawn = restart.withdrawn;
        self.plan = self.plan.clone().hear(restart, Millis(self.wall()));
    }

    fn wall(&self) -> i64 {
        i64::try_from(self.now * 1_000).unwrap()
    }

    /// One look, after a second.
    fn look(&mut self) {
        self.now += 1;
        let seen = Seen {
            now: Duration::from_secs(self.now),
            wall: Millis(self.wall()),
            members: &self.members,
            gave_up: &self.gave_up,
            withdrawn: self.withdrawn,
            busy: Some(self.busy),
        };
        // each time as it is read back
        let plan = Plan::read(&self.plan.write().unwrap()).unwrap();
        let Next { plan, report } = plan.step(&seen, &mut self.memory, Policy::default());
        (self.plan, self.report) = (plan, Some(report));
    }

    fn phase(&self) -> RolloutPhase {
        self.report.as_ref().unwrap().phase
    }

    fn message(&self) -> &str {
        &self.report.as_ref().unwrap().message
    }

    /// What the replica at that place is told.
    fn order(&self, at: usize) -> Option<Order> {
        let member = &self.members[at];
        let gave_up = self.gave_up.get(&member.id.name).map(|gave_up| &gave_up.revision);
        self.plan.order(&member.id.name, &rev(&member.revision), gave_up)
    }

    /// Each replica moves on by one; those that are told end, and what `starts` says starts there.
    fn live(&mut self, starts: &mut impl FnMut(usize, &Revision) -> bool) {
        for at in 0..self.members.len() {
            let order = self.order(at);
            let member = &mut self.members[at];
            match (member.state, order) {
                (ReplicaState::Stopped, _) if self.off == Some(at) => {}
                (ReplicaState::Stopped, _) => {
                    (member.state, member.id.incarnation) =
                        (ReplicaState::Starting, member.id.incarnation + 10);
                }
                (_, Some(order)) => {
                    member.state = ReplicaState::Stopped;
                    if starts(at, &order.revision) {
                        member.revision = order.revision.0;
                    } else {
                        let why = "it ended 3 times".to_owned();
                        let gave_up = GaveUp { revision: order.revision, why };
                        self.gave_up.insert(member.id.name.clone(), gave_up);
                    }
                }
                (ReplicaState::Starting, None) => member.state = ReplicaState::Ready,
                (_, None) => {}
            }
        }
    }

    fn serving(&self) -> usize {
        self.members.iter().filter(|m| m.state == ReplicaState::Ready).count()
    }

    /// Until it rests; at least two serve all the time.
    fn run(&mut self, mut starts: impl FnMut(usize, &Revision) -> bool) {
        for _ in 0..200 {
            self.look();
            assert!(self.serving() >= 2, "{:?}", self.members);
            if matches!(self.phase(), RolloutPhase::Settled | RolloutPhase::Halted) && self.serving() == 3 {
                return;
            }
            self.live(&mut starts);
        }
        panic!("it does not come to rest: {:?} {:?}", self.report, self.members);
    }

    /// Until it rests, with one machine that does not come back.
    fn rest(&mut self) {
        for _ in 0..(4 * AWAY.as_secs()) {
            self.look();
            self.live(&mut |_, _| true);
            if self.at_rest() {
                return;
            }
        }
        panic!("it does not come to rest: {:?} {:?}", self.report, self.members);
    }

    fn at_rest(&self) -> bool {
        matches!(self.phase(), RolloutPhase::Settled | RolloutPhase::Halted) && self.serving() >= 2
    }

    fn revisions(&self) -> Vec<&str> {
        self.members.iter().map(|m| m.revision.as_str()).collect()
    }
}

#[test]
fn a_restart_reaches_all_one_after_the_other() {
    let mut world = World::new();
    world.ask(&asked(1, false));
    world.run(|_, _| true);
    assert_eq!((world.phase(), world.revisions()), (RolloutPhase::Settled, vec!["1.1"; 3]));
    world.ask(&asked(1, false));
    world.ask(&asked(2, true));
    world.run(|_, _| true);
    assert_eq!(world.revisions(), ["2.0"; 3]);
    assert_eq!(world.plan.good, rev("2.0"));
}

#[test]
fn a_program_that_one_machine_can_not_start_is_given_up_on_all() {
    for bad in 0..3 {
        let mut world = World::new();
        world.ask(&asked(1, true));
        let mut kept = Vec::new();
        world.run(|at, revision| {
            kept.push((at, revision.0.clone()));
            at != bad || revision.0 != "2.0"
        });
        assert_eq!((world.phase(), world.revisions()), (RolloutPhase::Halted, vec!["1.0"; 3]), "{bad}");
        let failed = world.report.as_ref().unwrap().failed.clone().unwrap();
        assert_eq!(failed, format!("ci-{bad} can't start it: it ended 3 times"));
        let touched: BTreeSet<usize> = kept.iter().map(|(at, _)| *at).collect();
        assert_eq!(touched, (0..=bad).collect(), "those after it are left alone");
        // it stays so, and the next attempt has a number of its own
        world.look();
        assert_eq!(world.phase(), RolloutPhase::Halted);
        world.ask(&asked(2, true));
        world.run(|_, _| true);
        assert_eq!(world.revisions(), ["3.0"; 3]);
        // a restart after one that has failed is one of what runs
        world.ask(&asked(3, true));
        world.run(|_, revision| revision.0 != "4.0");
        world.ask(&asked(4, false));
        world.run(|_, _| true);
        assert_eq!(world.revisions(), ["3.1"; 3]);
    }
}

#[test]
fn only_the_one_whose_turn_it_is_is_told_to_go() {
    let mut world = World::new();
    assert!((0..3).all(|at| world.order(at).is_none()));
    world.ask(&asked(1, true));
    world.look();
    let order = Order { revision: rev("2.0"), source: Source::Installed, keep: rev("1.0") };
    assert_eq!(world.order(0), Some(order));
    assert!(world.order(1).is_none() && world.order(2).is_none());
    // it has the new program now
    world.members[0].revision = "2.0".to_owned();
    assert_eq!(world.order(0), None);
    // it could not start it
    world.members[0].revision = "1.0".to_owned();
    assert_eq!(world.plan.order(&name("ci-0"), &rev("1.0"), Some(&rev("2.0"))), None);
    // what is gone back to is kept here
    world.plan.failed = Some("it is broken".to_owned());
    assert_eq!(world.plan.order(&name("ci-0"), &rev("2.0"), None).unwrap().source, Source::Kept);
}

#[test]
fn nobody_goes_while_another_one_is_away_and_a_lost_one_is_not_waited_for_long() {
    let mut world = World::new();
    world.members[1].state = ReplicaState::Stopped;
    world.look();
    world.ask(&asked(1, false));
    world.look();
    assert_eq!(world.plan.turn, None);
    assert_eq!(world.message(), "revision 1.1 waits until all others are ready: ci-1");
    world.now += AWAY.as_secs();
    world.look();
    assert!(world.plan.names(&name("ci-0")));
    // of two that are left, the last one never goes alone
    let mut world = World::new();
    (world.members[1].state, world.members[2].state) = (ReplicaState::Stopped, ReplicaState::Stopped);
    world.look();
    world.ask(&asked(1, false));
    world.now += AWAY.as_secs();
    world.look();
    assert_eq!(world.plan.turn, None);
    // unless nobody has seen them for a day
    world.now += 25 * 60 * 60;
    world.look();
    assert!(world.plan.names(&name("ci-0")));
}

#[test]
fn one_that_was_away_is_told_what_to_run_when_it_is_back() {
    let mut world = World::new();
    world.members[2].state = ReplicaState::Stopped;
    world.look();
    world.ask(&asked(1, true));
    world.now += AWAY.as_secs();
    let away = world.members.pop().unwrap();
    for _ in 0..40 {
        world.members.push(away.clone());
        world.look();
        world.members.pop();
        world.live(&mut |_, _| true);
    }
    assert_eq!(world.revisions(), ["2.0"; 2]);
    world.members.push(Member { state: ReplicaState::Starting, ..away });
    world.run(|_, _| true);
    assert_eq!(world.revisions(), ["2.0"; 3]);
}

#[test]
fn a_machine_that_is_lost_in_its_turn_is_not_waited_for_and_told_when_it_is_back() {
    let mut world = World::new();
    world.ask(&asked(1, false));
    world.off = Some(0);
    world.rest();
    assert_eq!((world.phase(), &world.revisions()[1..]), (RolloutPhase::Settled, &["1.1"; 2][..]));
    // what is asked for later is not held up either
    world.ask(&asked(2, true));
    world.rest();
    assert_eq!((world.phase(), &world.revisions()[1..]), (RolloutPhase::Settled, &["2.0"; 2][..]));
    world.off = None;
    world.members[0].revision = "1.1".to_owned();
    world.run(|_, _| true);
    assert_eq!((world.phase(), world.revisions()), (RolloutPhase::Settled, vec!["2.0"; 3]));
}

#[test]
fn the_next_holder_does_not_wait_once_more_for_a_machine_that_is_away() {
    let mut world = World::new();
    world.ask(&asked(1, false));
    world.off = Some(0);
    let begun = world.now;
    let mut turn = None;
    for _ in 0..(AWAY.as_secs() + 60) {
        world.look();
        // holders let go of the lease before they go
        let now = world.plan.turn.as_ref().map(|turn| turn.name.clone());
        if std::mem::replace(&mut turn, now.clone()) != now && world.now > begun + AWAY.as_secs() {
            world.memory = Memory::default();
        }
        world.live(&mut |_, _| true);
    }
    assert_eq!((world.phase(), &world.revisions()[1..]), (RolloutPhase::Settled, &["1.1"; 2][..]));
}

#[test]
fn a_program_is_not_given_up_because_of_a_machine_that_was_lost_before_it_was_told() {
    let mut world = World::new();
    world.ask(&asked(1, false));
    world.off = Some(0);
    for _ in 0..100 {
        world.look();
        world.live(&mut |_, _| true);
    }
    assert_eq!(world.message(), "ci-0 starts with revision 1.1");
    world.ask(&asked(2, true));
    world.rest();
    assert_eq!((world.phase(), &world.revisions()[1..]), (RolloutPhase::Settled, &["2.0"; 2][..]));
}

#[test]
fn a_new_program_that_no_machine_has_come_back_with_is_given_up() {
    let mut world = World::new();
    world.ask(&asked(1, true));
    world.off = Some(0);
    for _ in 0..(2 * AWAY.as_secs()) {
        world.look();
        // the next holder waits as long
        if world.now == 20 {
            world.memory = Memory::default();
        }
        world.live(&mut |_, _| true);
    }
    world.rest();
    assert_eq!(world.report.as_ref().unwrap().failed.as_deref(), Some("it was not ready after 300 s"));
    assert_eq!((world.phase(), &world.revisions()[1..]), (RolloutPhase::Halted, &["1.0"; 2][..]));
    // the next attempt is not held up by it
    world.ask(&asked(2, true));
    world.rest();
    assert_eq!((world.phase(), &world.revisions()[1..]), (RolloutPhase::Settled, &["3.0"; 2][..]));
}

#[test]
fn a_restart_of_machines_that_were_all_drained_begins_with_one_of_them() {
    let mut world = World::new();
    for member in &mut world.members {
        member.state = ReplicaState::Draining;
    }
    world.ask(&asked(1, false));
    for _ in 0..60 {
        world.look();
        world.live(&mut |_, _| true);
    }
    assert_eq!((world.phase(), world.revisions()), (RolloutPhase::Settled, vec!["1.1"; 3]));
    assert_eq!(world.serving(), 3);
}

#[test]
fn a_restart_that_waits_for_idle_waits_a_day_at_most() {
    let mut world = World::new();
    world.busy = 1;
    world.ask(&Restart { when: RestartWhen::Idle, ..asked(1, false) });
    world.look();
    assert_eq!((world.phase(), world.plan.turn.clone()), (RolloutPhase::Waiting, None));
    // another holder knows since when
    (world.memory, world.now) = (Memory::default(), world.now + 24 * 60 * 60);
    world.look();
    assert!(world.plan.turn.is_some());
}

#[test]
fn a_restart_that_waits_is_withdrawn_and_the_next_one_has_another_number() {
    let idle = |number| Restart { when: RestartWhen::Idle, ..asked(number, false) };
    let withdrawn = |number| Restart { withdrawn: true, ..idle(number) };
    let mut world = World::new();
    world.busy = 1;
    world.ask(&idle(1));
    world.look();
    assert_eq!((world.phase(), world.plan.wanted.clone()), (RolloutPhase::Waiting, rev("1.1")));
    world.ask(&withdrawn(1));
    for _ in 0..2 {
        world.look();
        assert_eq!((world.phase(), world.plan.target().clone()), (RolloutPhase::Settled, rev("1.0")));
        assert_eq!(world.report.as_ref().unwrap().restart, 1);
        world.memory = Memory::default();
    }
    // of one that was withdrawn before anybody has heard of it, nothing comes
    world.ask(&withdrawn(2));
    world.look();
    assert_eq!((world.phase(), world.revisions()), (RolloutPhase::Settled, vec!["1.0"; 3]));
    // nor does it keep a later one from being carried out
    world.busy = 0;
    world.ask(&idle(3));
    world.look();
    assert_eq!(world.plan.wanted, rev("1.2"));
    // this one has begun
    world.ask(&withdrawn(3));
    world.run(|_, _| true);
    assert_eq!(world.revisions(), ["1.2"; 3]);
}

#[test]
fn a_restart_before_the_store_was_set_back_is_not_done_again() {
    let mut world = World::new();
    world.ask(&asked(7, false));
    world.run(|_, _| true);
    world.ask(&asked(5, false));
    assert_eq!(world.plan.wanted, rev("1.1"));
    world.ask(&asked(6, false));
    assert_eq!(world.plan.wanted, rev("1.2"));
}

#[test]
fn a_plan_that_only_another_version_can_read_is_left_as_it_is() {
    let note = World::new().plan.write().unwrap();
    assert!(Plan::read(&note).is_some() && !Plan::foreign(&note));
    assert!(!Plan::foreign(""), "there is none");
    let newer = note.replace("\"format\":1", "\"format\":2");
    for foreign in [newer.as_str(), "{}", "?"] {
        assert!(Plan::read(foreign).is_none() && Plan::foreign(foreign), "{foreign}");
    }
}

proptest! {
    /// Holders are lost between any two looks, and replicas are killed: all come to rest where they are to be.
    #[test]
    fn whatever_is_lost_meanwhile_all_run_one_revision_in_the_end(
        losses in prop::collection::vec((0..120u64, 0..4usize), 0..8),
        reload: bool,
        bad in 0..6usize,
    ) {
        let mut world = World::new();
        world.ask(&asked(1, reload));
        let wanted = world.plan.wanted.0.clone();
        for step in 0..400 {
            for (_, what) in losses.iter().filter(|(at, _)| *at == step) {
                match what {
                    // the holder: the next one knows what is in the store
                    3 => world.memory = Memory::default(),
                    // a kill: it is started again as it was
                    at => if world.members[*at].state != ReplicaState::Stopped {
                        world.members[*at].state = ReplicaState::Stopped;
                    },
                }
            }
            world.look();
            world.live(&mut |at, revision| at != bad || revision.0 != wanted);
        }
        let one = if bad < 3 { "1.0" } else { wanted.as_str() };
        // those that were restarted before the restart was given up have the program that is to run
        let same = |runs: &&str| *runs == one || (!reload && *runs == wanted);
        prop_assert!(world.revisions().iter().all(same), "{:?}", world.revisions());
        prop_assert_eq!(world.serving(), 3);
        let phase = if bad < 3 { RolloutPhase::Halted } else { RolloutPhase::Settled };
        prop_assert_eq!(world.phase(), phase);
    }
    /// One machine never comes back, whenever it is lost: what was asked for before and after comes to rest.
    #[test]
    fn a_machine_that_never_comes_back_holds_nobody_up(
        lost in (0..60u64, 0..3usize),
        holders in prop::collection::vec(0..600u64, 0..3),
        reload: bool,
        reload_later: bool,
        starts: bool,
    ) {
        let (at, off) = lost;
        let mut world = World::new();
        world.ask(&asked(1, reload));
        let wanted = world.plan.wanted.0.clone();
        for step in 0..(5 * AWAY.as_secs()) {
            if step == at {
                (world.off, world.members[off].state) = (Some(off), ReplicaState::Stopped);
            }
            if holders.contains(&step) {
                world.memory = Memory::default();
            }
            world.look();
            prop_assert!(step < at || world.serving() >= 1);
            world.live(&mut |_, revision| starts || revision.0 != wanted);
        }
        prop_assert!(world.at_rest(), "{:?} {:?}", world.report, world.members);
        world.ask(&asked(2, reload_later));
        world.rest();
        prop_assert_eq!(world.phase(), RolloutPhase::Settled);
        let target = world.plan.wanted.0.clone();
        prop_assert!(world.members.iter().filter(|m| m.live()).all(|m| m.revision == target));
    }
}
