use std::sync::atomic::{AtomicU64, Ordering};

use store::{Failing, Fault, Memory, Users, Writer};
use tokio::time::Instant;

use super::slowed::WRONG_AFTER;
use super::*;
use crate::password::hash_password;

/// Seconds, on both clocks.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Millis {
        Millis(i64::try_from(self.0.load(Ordering::SeqCst) * 1_000).unwrap())
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

impl Hands {
    fn pass(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

struct World {
    accounts: Accounts,
    store: Failing<Memory>,
    clock: Arc<Hands>,
}

impl World {
    /// With `Admin`, whose password is `right`.
    async fn new() -> World {
        let store = Failing::new(Memory::new());
        let password = Hidden(hash_password(&Password::new("right")).unwrap());
        let (id, full_name) = ("Admin".to_owned(), "The Admin".to_owned());
        let user = User { id, full_name, email: String::new(), password, admin: true };
        store.write(Write::CreateUser(user)).await.unwrap();
        let clock = Arc::new(Hands::default());
        clock.pass(1_000);
        World { accounts: replica(&store, &clock), store, clock }
    }

    async fn by_password(&self, user: &str, password: &str) -> Result<Identity, Denied> {
        let (who, by) = self.accounts.authenticate(user, password, None).await?;
        assert_eq!(by, Proof::Password);
        Ok(who)
    }

    async fn sign_in(&self, remember_me: bool) -> Token {
        self.accounts.sign_in("admin", &Password::new("right"), None, remember_me).await.unwrap()
    }
}

fn replica(store: &Failing<Memory>, clock: &Arc<Hands>) -> Accounts {
    Accounts::with_clock(Arc::new(store.clone()), Arc::clone(clock) as Arc<dyn Clock>)
}

fn admin() -> Identity {
    Identity { id: "Admin".to_owned(), full_name: "The Admin".to_owned(), admin: true }
}

fn new_user(id: &str, password: NewPassword) -> NewUser {
    let (full_name, email) = (String::new(), String::new());
    NewUser { id: id.to_owned(), full_name, email, password, admin: false }
}

#[tokio::test]
async fn the_right_password_and_no_other_lets_in() {
    let world = World::new().await;
    assert_eq!(world.by_password("admin", "right").await, Ok(admin()));
    assert_eq!(world.by_password("ADMIN", "right").await, Ok(admin()));
    for (user, password) in [
        ("admin", "wrong"),
        ("admin", ""),
        ("admin", "right "),
        ("", "right"),
        ("nobody", "right"),
        ("ad\0min", "right"),
        ("admin", "x".repeat(2_000).as_str()),
    ] {
        assert_eq!(world.by_password(user, password).await, Err(Denied::Wrong), "{user:?}");
    }
}

#[tokio::test]
async fn a_pair_is_remembered_for_a_minute_and_only_that_pair() {
    let World { accounts, clock, .. } = World::new().await;
    accounts.authenticate("admin", "right", None).await.unwrap();
    assert_eq!(accounts.inner.remembered.lock().len(), 1);
    // nobody verifies anything now, so only what is remembered is answered
    let slots = accounts.inner.slots.clone().acquire_many_owned(AT_ONCE as u32).await.unwrap();
    assert!(accounts.authenticate("admin", "right", None).await.is_ok());
    let other = accounts.authenticate("admin", "wrong", None);
    assert!(tokio::time::timeout(Duration::from_millis(50), other).await.is_err());
    clock.pass(61);
    let late = accounts.authenticate("admin", "right", None);
    assert!(tokio::time::timeout(Duration::from_millis(50), late).await.is_err());
    drop(slots);
    assert!(accounts.authenticate("admin", "right", None).await.is_ok());
}

#[tokio::test]
async fn a_changed_password_is_changed_at_every_replica_though_the_old_one_was_remembered() {
    let world = World::new().await;
    let other = replica(&world.store, &world.clock);
    for accounts in [&world.accounts, &other] {
        accounts.authenticate("admin", "right", None).await.unwrap();
    }
    let password = Some(NewPassword::Clear(Password::new("new")));
    world.accounts.change_user("admin", UserChange { password, ..UserChange::default() }).await.unwrap();
    world.clock.pass(1);
    for accounts in [&world.accounts, &other] {
        assert_eq!(accounts.authenticate("admin", "right", None).await, Err(Denied::Wrong));
        assert!(accounts.authenticate("admin", "new", None).await.is_ok());
    }
}

#[tokio::test]
async fn an_unknown_user_takes_as_long_as_a_known_one() {
    let world = World::new().await;
    let mut took = [Duration::MAX; 2];
    for _ in 0..3 {
        for (n, user) in ["admin", "nobody"].into_iter().enumerate() {
            let began = Instant::now();
            assert_eq!(world.by_password(user, "wrong").await, Err(Denied::Wrong));
            took[n] = took[n].min(began.elapsed());
        }
    }
    assert!(took.iter().all(|took| *took >= WRONG_AFTER), "{took:?}");
}

#[tokio::test]
async fn a_sixth_attempt_after_five_failures_waits() {
    let world = World::new().await;
    for _ in 0..5 {
        assert_eq!(world.by_password("admin", "wrong").await, Err(Denied::Wrong));
    }
    let began = Instant::now();
    assert!(world.by_password("admin", "right").await.is_ok());
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn who_fails_again_and_again_is_refused_at_his_address() {
    let world = World::new().await;
    let here = Some("10.0.0.1".parse().unwrap());
    let wrong = (0..12).map(|_| world.accounts.authenticate("admin", "wrong", here));
    for answer in futures(wrong.collect()).await {
        assert_eq!(answer, Err(Denied::Wrong));
    }
    let refused = world.accounts.authenticate("admin", "right", here).await;
    assert!(matches!(refused, Err(Denied::Busy(wait)) if wait >= Duration::from_secs(15)), "{refused:?}");
}

/// All of them at once.
async fn futures<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| match one.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn a_password_of_jenkins_is_good_and_gets_a_hash_of_ours() {
    let world = World::new().await;
    let hash = Hidden(format!("#jbcrypt:{}", bcrypt::hash("old secret", 4).unwrap()));
    let imported = NewPassword::Imported(hash.clone());
    world.accounts.create_user(new_user("bob", imported)).await.unwrap();
    assert_eq!(world.by_password("bob", "wrong").await, Err(Denied::Wrong));
    assert_eq!(world.store.user("bob").await.unwrap().unwrap().password, hash);
    let name = world.accounts.sign_in("bob", &Password::new("old secret"), None, false).await.unwrap();
    let now = world.store.user("bob").await.unwrap().unwrap().password;
    assert!(now.0.starts_with("$argon2id$"));
    assert!(world.accounts.session(name.expose()).await.unwrap().is_some());
    assert!(replica(&world.store, &world.clock).authenticate("bob", "old secret", None).await.is_ok());
    let bad = NewPassword::Imported(Hidden("old secret".to_owned()));
    assert!(matches!(world.accounts.create_user(new_user("carl", bad)).await, Err(UserError::Invalid(_))));
}

#[tokio::test]
async fn a_session_is_good_at_every_replica_until_it_ends() {
    let world = World::new().await;
    let name = world.sign_in(false).await;
    let other = replica(&world.store, &world.clock);
    assert_eq!(other.session(name.expose()).await, Ok(Some(admin())));
    for wrong in ["", "0123456789abcdef0123456789abcdef", &name.expose().to_uppercase()] {
        assert_eq!(other.session(wrong).await, Ok(None), "{wrong}");
    }
    assert!(
        world.store.session(&Hidden(name.expose().to_owned())).await.unwrap().is_none(),
        "a hash is kept"
    );
    world.accounts.sign_out(name.expose()).await.unwrap();
    assert_eq!(world.accounts.session(name.expose()).await, Ok(None));
    world.clock.pass(1);
    assert_eq!(other.session(name.expose()).await, Ok(None));
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_used_and_in_the_end_though_it_is() {
    let world = World::new().await;
    let (unused, name) = (world.sign_in(false).await, world.sign_in(false).await);
    let kept = world.sign_in(true).await;
    for _ in 0..25 {
        world.clock.pass(55 * 60);
        assert!(world.accounts.session(name.expose()).await.unwrap().is_some());
        world.accounts.settle().await;
    }
    assert!(world.accounts.session(unused.expose()).await.unwrap().is_none());
    assert!(world.accounts.session(kept.expose()).await.unwrap().is_some());
    world.clock.pass(70 * 60);
    assert!(world.accounts.session(name.expose()).await.unwrap().is_none());
    world.clock.pass(14 * 24 * 3_600);
    assert!(world.accounts.session(kept.expose()).await.unwrap().is_none());
}

#[tokio::test]
async fn looking_writes_nothing_until_all_is_written_down_at_once() {
    let world = World::new().await;
    let name = world.sign_in(false).await;
    let (token, secret) = world.accounts.generate_token("admin", "ci").await.unwrap();
    let before = world.store.writes();
    world.clock.pass(60);
    for _ in 0..10 {
        assert!(world.accounts.session(name.expose()).await.unwrap().is_some());
        world.accounts.authenticate("admin", secret.expose(), None).await.unwrap();
    }
    assert_eq!(world.store.writes(), before);
    world.store.fail(before + 2, Fault::Before);
    world.accounts.settle().await;
    world.accounts.settle().await;
    assert_eq!(world.store.writes(), before + 3);
    let token = world.store.token(&token.hash).await.unwrap().unwrap();
    assert_eq!((token.uses, token.used_at), (10, Some(Millis(1_060_000))));
    assert_eq!(world.store.sessions("admin").await.unwrap()[0].seen_at, Millis(1_060_000));
}

#[tokio::test]
async fn a_token_is_good_for_its_user_until_it_is_revoked() {
    let world = World::new().await;
    let (token, secret) = world.accounts.generate_token("admin", " for CI ").await.unwrap();
    assert_eq!((token.name.as_str(), token.uses), ("for CI", 0));
    let other = replica(&world.store, &world.clock);
    assert_eq!(other.authenticate("ADMIN", secret.expose(), None).await, Ok((admin(), Proof::Token)));
    let bob = new_user("bob", NewPassword::Clear(Password::new("b")));
    world.accounts.create_user(bob).await.unwrap();
    assert_eq!(other.authenticate("bob", secret.expose(), None).await, Err(Denied::Wrong));
    let as_password = world.accounts.sign_in("admin", &Password::new(secret.expose()), None, false).await;
    assert_eq!(as_password, Err(Denied::Wrong));
    assert_eq!(world.accounts.revoke_token("bob", &token.id).await, Ok(false));
    assert_eq!(world.accounts.revoke_token("admin", &token.id).await, Ok(true));
    assert_eq!(world.accounts.authenticate("admin", secret.expose(), None).await, Err(Denied::Wrong));
    world.clock.pass(1);
    assert_eq!(other.authenticate("admin", secret.expose(), None).await, Err(Denied::Wrong));
    assert_eq!(world.accounts.rename_token("admin", &token.id, "x").await, Err(UserError::NoToken));
}

#[tokio::test]
async fn users_are_named_as_jenkins_names_them() {
    let World { accounts, store, .. } = World::new().await;
    let clear = || NewPassword::Clear(Password::new("p"));
    for bad in ["", "a b", "a.b", "a@b", "é", "../x", "anonymous", "SYSTEM", &"a".repeat(101)] {
        let refused = accounts.create_user(new_user(bad, clear())).await;
        assert!(matches!(refused, Err(UserError::Invalid(_))), "{bad}: {refused:?}");
    }
    let taken = accounts.create_user(new_user("aDMIN", clear())).await.unwrap_err();
    assert_eq!(taken.to_string(), "User name aDMIN is already taken");
    let bad = NewUser { email: "no address".to_owned(), ..new_user("bob", clear()) };
    assert!(accounts.create_user(bad).await.is_err());
    let bad = NewUser { full_name: "two\nlines".to_owned(), ..new_user("bob", clear()) };
    assert!(accounts.create_user(bad).await.is_err());
    let empty = NewPassword::Clear(Password::new(""));
    assert!(accounts.create_user(new_user("bob", empty)).await.is_err());
    let good = NewUser { email: "b@example.org".to_owned(), ..new_user("Bob_1-x", clear()) };
    accounts.create_user(good).await.unwrap();
    assert_eq!(store.user("bob_1-X").await.unwrap().unwrap().full_name, "Bob_1-x");
    assert_eq!(accounts.delete_user("none").await, Err(UserError::NoUser("none".to_owned())));
    assert!(matches!(accounts.delete_user("admin").await, Err(UserError::Conflict(_))));
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let world = World::new().await;
    let name = world.sign_in(false).await;
    let (token, secret) = world.accounts.generate_token("admin", "").await.unwrap();
    let clear = NewPassword::Clear(Password::new("hush"));
    let printed = format!(
        "{name:?} {token:?} {secret:?} {:?} {:?} {:?}",
        new_user("bob", clear),
        world.store.user("admin").await,
        Write::CreateToken(token.clone()),
    );
    for hidden in ["hush", "argon2", &token.hash.0, name.expose(), secret.expose()] {
        assert!(!printed.contains(hidden), "{hidden} in {printed}");
    }
}

#[tokio::test]
async fn anonymous_read_holds_at_every_replica() {
    let world = World::new().await;
    let other = replica(&world.store, &world.clock);
    assert_eq!(other.anonymous_read().await, Ok(false));
    world.accounts.allow_anonymous_read(true).await.unwrap();
    assert_eq!(world.accounts.anonymous_read().await, Ok(true));
    world.clock.pass(1);
    assert_eq!(other.anonymous_read().await, Ok(true));
}
