//! One fault at each write of a build, in turn: the store fails, the owner dies, a user ends the build. Whatever it was,
//! the build ends as it does without.

use std::rc::Rc;

use model::BuildResult;

use crate::faults::Chaos;
use crate::home::Trap;
use crate::workload::{Programs, SOURCES};
use crate::world::{Outcome, World};

const SEED: u64 = 11;

fn told(pipeline: usize, trap: Option<(u64, Trap)>, programs: &Rc<Programs>) -> Outcome {
    let mut world = World::with(SEED, Chaos::quiet(pipeline), None, programs);
    world.home.trap = trap;
    let outcome = world.run();
    assert_eq!(outcome.broken, None, "pipeline {pipeline} with {trap:?}");
    outcome
}

/// Every pipeline with the fault at its first write, its second, …
fn every(trap: Trap, same: impl Fn(&Outcome, &Outcome) -> bool) {
    let programs = Rc::new(Programs::new());
    for pipeline in 0..SOURCES.len() {
        let plain = told(pipeline, None, &programs);
        assert!(plain.writes > 3, "pipeline {pipeline} writes");
        for n in 1..=plain.writes {
            let other = told(pipeline, Some((n, trap)), &programs);
            let (results, wanted) = (&other.results, &plain.results);
            assert!(
                same(&other, &plain),
                "pipeline {pipeline}, {trap:?} at write {n}: {results:?}, not {wanted:?}"
            );
        }
    }
}

fn same_result(other: &Outcome, plain: &Outcome) -> bool {
    other.results == plain.results
}

#[test]
fn a_write_that_the_store_refuses_changes_nothing() {
    every(Trap::Refused, same_result);
}

#[test]
fn a_commit_that_nobody_hears_of_changes_nothing() {
    every(Trap::Unheard, same_result);
}

#[test]
fn an_owner_that_dies_before_a_write_changes_nothing() {
    every(Trap::DiesBefore, same_result);
}

#[test]
fn an_owner_that_dies_after_a_write_changes_nothing() {
    every(Trap::DiesAfter, same_result);
}

#[test]
fn a_build_can_be_ended_at_every_moment() {
    let ended = |result: Option<BuildResult>| result.is_some_and(|r| r == BuildResult::Aborted);
    every(Trap::Abort, |other, plain| {
        other.results == plain.results || other.results.iter().all(|r| ended(*r))
    });
}

#[test]
fn everything_may_be_said_twice() {
    let programs = Rc::new(Programs::new());
    for pipeline in 0..SOURCES.len() {
        let plain = told(pipeline, None, &programs);
        for seed in 0..8 {
            let mut chaos = Chaos::quiet(pipeline);
            chaos.doubled = 500;
            let outcome = World::with(seed, chaos, None, &programs).run();
            assert_eq!(outcome.broken, None, "pipeline {pipeline}, seed {seed}");
            assert_eq!(outcome.results, plain.results, "pipeline {pipeline}, seed {seed}");
        }
    }
}
