use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use model::Millis;
use store::{Memory, Write, Writer};

use super::*;
use crate::password::{Password, hash_password};

#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Millis {
        Millis(0)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

async fn accounts() -> (Accounts, Arc<Memory>, Arc<Hands>) {
    let store = Arc::new(Memory::new());
    let password = hash_password(&Password::new("right")).unwrap();
    let user = User { id: "Admin".to_owned(), full_name: "The Admin".to_owned(), password };
    store.write(Write::CreateUser(user)).await.unwrap();
    let clock = Arc::new(Hands::default());
    (Accounts::with_clock(store.clone(), clock.clone()), store, clock)
}

#[tokio::test]
async fn the_right_password_and_no_other_lets_in() {
    let (accounts, _, _) = accounts().await;
    let who = Identity { id: "Admin".to_owned(), full_name: "The Admin".to_owned() };
    assert_eq!(accounts.authenticate("admin", "right").await, Ok(who.clone()));
    assert_eq!(accounts.authenticate("ADMIN", "right").await, Ok(who));
    for (user, password) in [
        ("admin", "wrong"),
        ("admin", ""),
        ("admin", "right "),
        ("", "right"),
        ("nobody", "right"),
        ("ad\0min", "right"),
        ("admin", "x".repeat(2_000).as_str()),
    ] {
        assert_eq!(accounts.authenticate(user, password).await, Err(Denied::Wrong), "{user:?}");
    }
}

#[tokio::test]
async fn a_pair_is_remembered_for_a_minute_and_only_that_pair() {
    let (accounts, _, clock) = accounts().await;
    accounts.authenticate("admin", "right").await.unwrap();
    let before = accounts.inner.remembered.lock().len();
    assert_eq!(before, 1);
    // nobody verifies anything now, so only what is remembered is answered
    let slots = accounts.inner.slots.clone().acquire_many_owned(AT_ONCE as u32).await.unwrap();
    assert!(accounts.authenticate("admin", "right").await.is_ok());
    let other = accounts.authenticate("admin", "wrong");
    assert!(tokio::time::timeout(Duration::from_millis(50), other).await.is_err());
    clock.0.store(61, Ordering::SeqCst);
    let late = accounts.authenticate("admin", "right");
    assert!(tokio::time::timeout(Duration::from_millis(50), late).await.is_err());
    drop(slots);
    assert!(accounts.authenticate("admin", "right").await.is_ok());
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_known_one() {
    let (accounts, _, _) = accounts().await;
    let mut took = [Duration::MAX; 2];
    for _ in 0..3 {
        for (n, user) in ["admin", "nobody"].into_iter().enumerate() {
            let began = Instant::now();
            assert_eq!(accounts.authenticate(user, "wrong").await, Err(Denied::Wrong));
            took[n] = took[n].min(began.elapsed());
        }
    }
    assert!(took[1] * 3 > took[0], "{took:?}");
}

#[tokio::test]
async fn a_sixth_attempt_after_five_failures_waits() {
    let (accounts, _, _) = accounts().await;
    for _ in 0..5 {
        assert_eq!(accounts.authenticate("admin", "wrong").await, Err(Denied::Wrong));
    }
    let began = Instant::now();
    assert!(accounts.authenticate("admin", "right").await.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(1));
}
