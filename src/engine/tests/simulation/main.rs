//! The build protocol under every fault that a seed can draw, with virtual time.
//!
//! Real: the drivers of builds, the pure parts of membership, the pipeline machine, the fences and folders of agents, the
//! memory store. Modelled: processes, agents, links, clocks, the store's network. `MAJORDOMO_SEED=n` repeats one seed
//! (`MAJORDOMO_TRACE=1` tells its story), `MAJORDOMO_SEEDS=n` says how many are tried, `MAJORDOMO_FROM=n` where they begin.
//! `MAJORDOMO_ROUGH=1` makes them rougher than they draw.
//!
//! Each rule of the protocol can be switched off; then some seed must break an invariant.

mod agent;
mod back;
mod drive;
mod engine_of;
mod faults;
mod files;
mod home;
mod host;
mod links;
mod member;
mod mutation;
mod oracle;
mod owner;
mod peers;
mod random;
mod replica;
mod steps;
mod traps;
mod verdict;
mod workload;
mod world;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use faults::Chaos;
use mutation::Mutation;
use random::Random;
use workload::Programs;
use world::World;

/// Seeds within which each mutation must be caught.
const WITHIN: u64 = 2_000;
/// Broken seeds after which it is enough.
const MOST_BROKEN: usize = 20;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn no_fault_breaks_the_build_protocol() {
    let programs = Rc::new(Programs::new());
    let seeds = match number("MAJORDOMO_SEED") {
        Some(seed) => seed..seed + 1,
        None => number("MAJORDOMO_FROM").unwrap_or(0)..number("MAJORDOMO_SEEDS").unwrap_or(3_000),
    };
    let began = Instant::now();
    let (mut builds, mut seconds, mut events, mut counts) = (0, 0, 0, BTreeMap::<&str, u64>::new());
    let many = seeds.end - seeds.start;
    let mut broken = Vec::new();
    for seed in seeds {
        let mut chaos = Chaos::draw(&mut Random::new(seed));
        if std::env::var_os("MAJORDOMO_ROUGH").is_some() {
            rough(&mut chaos);
        }
        let outcome = World::with(seed, chaos, None, &programs).run();
        builds += outcome.builds;
        seconds += outcome.seconds;
        events += outcome.events;
        for (what, count) in outcome.counts {
            *counts.entry(what).or_default() += count;
        }
        if let Some(why) = outcome.broken {
            broken.push(format!("MAJORDOMO_SEED={seed}: {why}"));
            if broken.len() >= MOST_BROKEN {
                break;
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    println!(
        "{many} seeds in {took:.1} s ({:.0}/s): {builds} builds, {seconds} virtual seconds, {events} events",
        many as f64 / took
    );
    println!("{counts:?}");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Much goes wrong, and the store is set back.
fn rough(chaos: &mut Chaos) {
    chaos.set_back = true;
    chaos.zombies = false;
    chaos.faults = 8;
}

/// Some seed must notice that the rule does not hold.
fn noticed(mutations: &[Mutation]) {
    noticed_when(mutations, |_| {});
}

/// As [`noticed`], in seeds that are rougher than they draw.
fn noticed_when(mutations: &[Mutation], rougher: impl Fn(&mut Chaos)) {
    let programs = Rc::new(Programs::new());
    for mutation in mutations {
        let began = Instant::now();
        let caught = (0..WITHIN).find_map(|seed| {
            let mut chaos = Chaos::draw(&mut Random::new(seed));
            rougher(&mut chaos);
            let outcome = World::with(seed, chaos, Some(*mutation), &programs).run();
            outcome.broken.map(|why| (seed, why))
        });
        assert!(caught.is_some(), "{mutation:?} is not noticed within {WITHIN} seeds");
        let took = began.elapsed().as_secs_f64();
        caught.iter().for_each(|(seed, why)| println!("{mutation:?}: seed {seed} ({took:.1} s): {why}"));
    }
}

#[test]
fn rule_1_writes_of_a_build_are_guarded() {
    noticed(&[Mutation::NoGuard]);
}

#[test]
fn rule_1_a_fence_has_one_driver() {
    noticed_when(&[Mutation::FenceTwice], |chaos| chaos.faults = 8);
}

#[test]
fn rule_2_a_fenced_write_is_skipped_and_its_companions_commit() {
    noticed(&[Mutation::CompanionsLost]);
}

#[test]
fn rule_3_intents_come_first_and_results_are_committed_before_use() {
    noticed(&[Mutation::IntentLater, Mutation::ResultEarly]);
}

#[test]
fn rule_4_a_delivery_is_journaled_once() {
    noticed(&[Mutation::KeysNotUnique, Mutation::RowsStay, Mutation::RowsReadOnce]);
}

#[test]
fn rule_5_agents_check_fences_and_are_claimed_first() {
    noticed(&[Mutation::FencesIgnored, Mutation::FencesForgotten, Mutation::NoClaim]);
}

#[test]
fn rule_6_a_program_starts_once() {
    noticed(&[Mutation::StartedTwice, Mutation::AnyInstance, Mutation::RebootHidden, Mutation::NoTombstones]);
}

#[test]
fn an_agent_that_comes_back_anywhere_is_found_by_its_builds() {
    noticed(&[Mutation::PeersNotAsked]);
}

#[test]
fn rule_7_acts_are_done_again_or_wait_as_their_class_says() {
    noticed(&[Mutation::NotRepeated, Mutation::NoDeadlines]);
}

#[test]
fn rule_8_output_is_followed_from_what_is_committed_with_the_log() {
    noticed(&[Mutation::FollowedFromMemory, Mutation::OffsetsLater]);
}

#[test]
fn rule_9_a_lease_lapses_when_it_stood_still_and_its_holder_is_silent_before() {
    noticed(&[Mutation::LapsedEarly, Mutation::SentOn]);
}

#[test]
fn rule_10_the_epoch_is_raised_when_the_store_was_set_back() {
    noticed(&[Mutation::EpochStays]);
    noticed_when(&[Mutation::MomentForgotten], rough);
}

#[test]
fn rule_11_only_who_knows_a_behaviour_adopts_its_builds() {
    noticed(&[Mutation::AnyBehaviour]);
}
