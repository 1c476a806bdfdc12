use std::sync::Arc;

use store::{Failing, Fault, Memory, Users};

use super::*;
use crate::{NewPassword, hash_password};

fn of(store: &Failing<Memory>) -> Accounts {
    Accounts::new(Arc::new(store.clone()))
}

async fn first(accounts: &Accounts, id: &str, password: &str) -> Result<FirstUser, UserError> {
    let password = NewPassword::Clear(Password::new(password));
    let (full_name, email) = (String::new(), String::new());
    accounts.first_user(NewUser { id: id.to_owned(), full_name, email, password, admin: true }).await
}

async fn users(store: &Failing<Memory>) -> Vec<String> {
    store.users(None, 10).await.unwrap().into_iter().map(|user| user.id).collect()
}

#[tokio::test]
async fn only_the_right_password_unlocks_and_guesses_are_refused_in_the_end() {
    let accounts = of(&Failing::new(Memory::new()));
    let key = UnlockKey::hashed(hash_password(&Password::new("right")).unwrap());
    let from = Some([10, 0, 0, 1].into());
    let unlock = async |given: &str| accounts.unlock(&key, &Password::new(given), from).await;
    assert_eq!(unlock("right").await, Ok(()));
    // where somebody has unlocked it, only what fails there counts, and the tenth failure is the last
    for _ in 0..4 {
        assert_eq!(unlock("wrong").await, Err(Denied::Wrong));
    }
    assert_eq!(unlock("").await, Err(Denied::Wrong));
    let source = Source { user: &checked(WIZARD, "x").unwrap(), from };
    let begun = accounts.inner.attempts.lock().begin(source, accounts.inner.clock.elapsed()).unwrap();
    for _ in 0..10 {
        accounts.inner.attempts.lock().end(source, begun, Some(true), accounts.inner.clock.elapsed());
    }
    assert!(matches!(unlock("right").await, Err(Denied::Busy(_))), "even when it is right");
    assert_eq!(accounts.unlock(&key, &Password::new("right"), Some([10, 0, 0, 2].into())).await, Ok(()));
    assert!(!format!("{key:?}").contains("argon2"), "{key:?}");
}

#[tokio::test]
async fn one_of_two_becomes_the_first_user_and_has_the_token() {
    let store = Failing::new(Memory::new());
    let accounts = of(&store);
    let (ann, bob) =
        (first(&accounts, "ann", "x").await.unwrap(), first(&accounts, "bob", "x").await.unwrap());
    assert!(users(&store).await.is_empty(), "nothing is written before");
    let hash = Hidden("hash".to_owned());
    let token = Some(FirstToken { id: "t".to_owned(), hash: hash.clone() });
    assert!(accounts.create_first_user(&ann, token).await.unwrap());
    assert!(!accounts.create_first_user(&bob, None).await.unwrap());
    // another one of that name, who would have another password
    let other = first(&accounts, "Ann", "x").await.unwrap();
    assert!(!accounts.create_first_user(&other, None).await.unwrap());
    assert_eq!(users(&store).await, ["ann"]);
    assert_eq!(store.token(&hash).await.unwrap().unwrap().user, "ann");
    let session = accounts.sign_in_first(&ann).await.unwrap();
    let who = accounts.session(session.expose()).await.unwrap().unwrap();
    assert!(who.id == "ann" && who.admin);
    assert_eq!(accounts.sign_in_first(&bob).await, Err(Denied::Wrong));
}

#[tokio::test]
async fn whose_answer_was_lost_is_told_that_he_is_the_first_when_he_asks_again() {
    for fault in [Fault::Before, Fault::After] {
        let store = Failing::new(Memory::new());
        let accounts = of(&store);
        let ann = first(&accounts, "ann", "x").await.unwrap();
        store.fail(store.writes() + 1, fault);
        assert!(matches!(accounts.create_first_user(&ann, None).await, Err(UserError::Store(_))));
        assert!(accounts.create_first_user(&ann, None).await.unwrap(), "{fault:?}");
        assert_eq!(users(&store).await, ["ann"]);
    }
}

#[tokio::test]
async fn the_first_user_is_checked_as_others_are() {
    let accounts = of(&Failing::new(Memory::new()));
    for (id, password) in [("", "x"), ("a b", "x"), ("system", "x"), ("ann", "")] {
        assert!(
            matches!(first(&accounts, id, password).await, Err(UserError::Invalid(_))),
            "{id} {password}"
        );
    }
}
