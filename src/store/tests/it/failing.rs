//! Faults at each write of a life: a refused write changes nothing, a hidden answer changes no outcome.

use std::cell::RefCell;
use std::collections::BTreeSet;

use store::contract::life::{KINDS, kind, live};
use store::memory::State;
use store::{Answer, Error, Failing, Fault, Memory, Write, Writer};

/// What a life answers, and the state after each of its writes.
#[derive(Default)]
struct Told {
    answers: Vec<Answer>,
    states: Vec<State>,
    kinds: BTreeSet<&'static str>,
}

fn state(store: &Failing<Memory>) -> State {
    store.inner().with(|state| state.clone())
}

async fn faultless() -> Told {
    let store = Failing::new(Memory::new());
    let told = RefCell::new(Told::default());
    live(&store, async |write: Write| {
        let kind = kind(&write);
        let answer = store.write(write).await.unwrap();
        let mut told = told.borrow_mut();
        told.kinds.insert(kind);
        told.answers.push(answer.clone());
        told.states.push(state(&store));
        answer
    })
    .await;
    assert_eq!(store.writes(), told.borrow().answers.len() as u64);
    told.into_inner()
}

#[tokio::test]
async fn a_life_has_a_write_of_every_kind() {
    assert_eq!(faultless().await.kinds.len(), KINDS);
}

#[tokio::test]
async fn a_write_refused_before_it_is_applied_changes_nothing_and_succeeds_later() {
    let told = faultless().await;
    for n in 1..=told.answers.len() as u64 {
        let store = Failing::new(Memory::new());
        store.fail(n, Fault::Before);
        live(&store, async |write: Write| {
            let before = state(&store);
            match store.write(write.clone()).await {
                Ok(answer) => answer,
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable(_)) && error.passing(), "{error}");
                    assert!(state(&store) == before, "write {n} was refused and changed something");
                    store.write(write).await.unwrap()
                }
            }
        })
        .await;
        assert_eq!(store.writes(), told.answers.len() as u64 + 1);
        assert!(Some(&state(&store)) == told.states.last(), "after a fault at {n}");
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_hidden_was_applied() {
    let told = faultless().await;
    for n in 1..=told.answers.len() {
        let store = Failing::new(Memory::new());
        store.fail(n as u64, Fault::After);
        live(&store, async |write: Write| match store.write(write).await {
            Ok(answer) => answer,
            Err(error) => {
                assert!(matches!(error, Error::Unknown(_)) && error.passing(), "{error}");
                assert!(state(&store) == told.states[n - 1], "write {n} was not applied");
                told.answers[n - 1].clone()
            }
        })
        .await;
        assert!(Some(&state(&store)) == told.states.last(), "after a fault at {n}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_stays_so_until_it_heals() {
    let store = Failing::new(Memory::new());
    store.fail(2, Fault::Away);
    let write = |controller: &str| store.write(Write::Identify { controller: controller.into() });
    assert!(write("acme").await.is_ok());
    for _ in 0..3 {
        assert_eq!(write("acme").await.unwrap_err().reason(), "Unavailable");
    }
    store.heal();
    assert!(write("acme").await.is_ok());
    assert_eq!(store.writes(), 5);
}
