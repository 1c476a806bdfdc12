//! Users, their sessions and tokens.

use std::time::Duration;

use model::Millis;

use super::support::*;
use super::together::together;
use crate::{Answer, ApiToken, Hidden, MAX_SESSIONS, MAX_TOKENS, Session, Store, User, UserEdit, Write};

fn edit(id: &str, edit: UserEdit) -> Write {
    Write::EditUser { id: id.into(), edit }
}

fn delete(id: &str) -> Write {
    Write::DeleteUser { id: id.into() }
}

/// The user signs in, with the password that `a_user` has.
fn sign_in(hash: &str, user: &str, at: i64) -> Write {
    let password = Hidden(format!("hash of {}", user.to_lowercase()));
    Write::CreateSession { session: a_session(hash, user, at), password }
}

async fn found<S: Store>(store: &S, hash: &str) -> Option<Session> {
    store.session(&Hidden(hash.into())).await.unwrap()
}

async fn token<S: Store>(store: &S, id: &str) -> Option<ApiToken> {
    store.token(&Hidden(format!("hash of {id}"))).await.unwrap()
}

async fn users<S: Store>(store: &S) {
    for (id, admin) in [("ann", true), ("Bob", false)] {
        let user = User { password: Hidden(format!("hash of {}", id.to_lowercase())), ..a_user(id, admin) };
        assert!(claim(store, Write::CreateUser(user)).await);
    }
}

pub async fn the_first_user_has_a_token_and_comes_once<S: Store>(store: &S) {
    let first = |id: &str| Write::CreateFirstUser {
        user: a_user(id, true),
        token: Some(a_token(&format!("t-{id}"), id, 1)),
    };
    assert!(claim(store, first("ann")).await);
    declined(store, first("ann")).await;
    declined(store, first("bob")).await;
    assert_eq!(token(store, "t-ann").await, Some(a_token("t-ann", "ann", 1)));
    assert_eq!(store.users(None, 10).await.unwrap(), [a_user("ann", true)]);
}

pub async fn a_user_is_created_once_whatever_the_case<S: Store>(store: &S) {
    let ann = a_user("Ann", true);
    assert!(claim(store, Write::CreateUser(ann.clone())).await);
    declined(store, Write::CreateUser(a_user("aNN", false))).await;
    assert_eq!(store.user("Ann").await.unwrap(), Some(ann.clone()));
    assert_eq!(store.user("ann").await.unwrap(), Some(ann));
    assert_eq!(store.user("bob").await.unwrap(), None);
}

pub async fn users_come_by_id_in_pages<S: Store>(store: &S) {
    for id in ["b", "Z", "a_b", "A"] {
        assert!(claim(store, Write::CreateUser(a_user(id, false))).await);
    }
    let page = async |after: Option<&str>, limit| {
        let users = store.users(after, limit).await.unwrap();
        users.into_iter().map(|user| user.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["A", "a_b", "b", "Z"]);
    assert_eq!(page(None, 2).await, ["A", "a_b"]);
    assert_eq!(page(Some("A_B"), 10).await, ["b", "Z"]);
    assert_eq!(page(Some("x"), 10).await, ["Z"]);
    assert!(page(Some("z"), 10).await.is_empty());
}

pub async fn a_user_is_edited<S: Store>(store: &S) {
    users(store).await;
    ok(store, sign_in("s", "bob", 1)).await;
    let (name, email) = (Some("Robert".to_owned()), Some(String::new()));
    let change = UserEdit { full_name: name, email, password: None, admin: Some(true) };
    assert_eq!(ok(store, edit("BOB", change)).await, Answer::Unit);
    let bob = store.user("bob").await.unwrap().unwrap();
    assert_eq!((bob.id.as_str(), bob.full_name.as_str(), bob.email.as_str()), ("Bob", "Robert", ""));
    assert!(bob.admin);
    assert_eq!(bob.password, Hidden("hash of bob".into()));
    let before = picture(store).await;
    ok(store, edit("bob", UserEdit::default())).await;
    assert_eq!(picture(store).await, before);
    refused(store, edit("none", UserEdit::default()), "NotFound").await;
    assert!(found(store, "s").await.is_some());
}

pub async fn one_administrator_always_stays<S: Store>(store: &S) {
    users(store).await;
    let no_more = UserEdit { admin: Some(false), ..UserEdit::default() };
    refused(store, edit("Ann", no_more.clone()), "Conflict").await;
    refused(store, delete("ANN"), "Conflict").await;
    ok(store, edit("bob", no_more.clone())).await;
    ok(store, edit("bob", UserEdit { admin: Some(true), ..UserEdit::default() })).await;
    ok(store, edit("ann", no_more)).await;
    refused(store, delete("bob"), "Conflict").await;
    ok(store, delete("ann")).await;
}

pub async fn one_of_two_administrators_stays<S: Store>(store: &S) {
    users(store).await;
    ok(store, edit("bob", UserEdit { admin: Some(true), ..UserEdit::default() })).await;
    let answers = together(store, vec![delete("ann"), delete("bob")]).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(store.users(None, 10).await.unwrap().len(), 1);
}

pub async fn a_new_hash_of_the_same_password_keeps_sessions<S: Store>(store: &S) {
    users(store).await;
    ok(store, sign_in("s", "bob", 1)).await;
    let rehash = |was: &str| Write::RehashPassword {
        id: "bOb".into(),
        was: Hidden(was.into()),
        password: Hidden("new".into()),
    };
    declined(store, rehash("other")).await;
    assert!(claim(store, rehash("hash of bob")).await);
    declined(store, rehash("hash of bob")).await;
    assert_eq!(store.user("bob").await.unwrap().unwrap().password, Hidden("new".into()));
    assert!(found(store, "s").await.is_some());
}

pub async fn a_session_is_kept_until_it_is_ended<S: Store>(store: &S) {
    users(store).await;
    refused(store, sign_in("s", "none", 5), "NotFound").await;
    assert_eq!(ok(store, sign_in("s", "BOB", 5)).await, Answer::Unit);
    ok(store, sign_in("t", "ann", 6)).await;
    let session = found(store, "s").await.unwrap();
    assert_eq!((session.user.as_str(), session.created_at, session.seen_at), ("Bob", Millis(5), Millis(5)));
    assert_eq!((session.idle, session.expires_at), (Duration::from_secs(1), Millis(10_005)));
    let touch = |at| Write::TouchSession { hash: Hidden("s".into()), at: Millis(at) };
    assert!(claim(store, touch(9)).await);
    declined(store, touch(9)).await;
    declined(store, touch(8)).await;
    assert_eq!(found(store, "s").await.unwrap().seen_at, Millis(9));
    assert!(claim(store, Write::EndSession { hash: Hidden("s".into()) }).await);
    declined(store, Write::EndSession { hash: Hidden("s".into()) }).await;
    declined(store, touch(20)).await;
    assert!(found(store, "s").await.is_none() && found(store, "t").await.is_some());
}

pub async fn a_new_password_ends_all_sessions<S: Store>(store: &S) {
    users(store).await;
    for (hash, user) in [("s", "bob"), ("t", "Bob"), ("u", "ann")] {
        ok(store, sign_in(hash, user, 1)).await;
    }
    let change = UserEdit { password: Some(Hidden("new".into())), ..UserEdit::default() };
    ok(store, edit("bob", change)).await;
    assert!(store.sessions("bob").await.unwrap().is_empty());
    assert!(found(store, "u").await.is_some());
}

pub async fn a_session_of_an_old_password_is_not_made<S: Store>(store: &S) {
    users(store).await;
    let change = UserEdit { password: Some(Hidden("new".into())), ..UserEdit::default() };
    ok(store, edit("bob", change)).await;
    refused(store, sign_in("s", "bob", 1), "Conflict").await;
}

pub async fn sessions_that_are_over_are_forgotten<S: Store>(store: &S) {
    users(store).await;
    for (hash, at) in [("idle", 1), ("young", 5_000), ("used", 2)] {
        ok(store, sign_in(hash, "bob", at)).await;
    }
    ok(store, Write::TouchSession { hash: Hidden("used".into()), at: Millis(4_500) }).await;
    ok(store, Write::ForgetSessions { now: Millis(5_000) }).await;
    assert!(found(store, "idle").await.is_none());
    assert!(found(store, "used").await.is_some() && found(store, "young").await.is_some());
    ok(store, Write::TouchSession { hash: Hidden("used".into()), at: Millis(10_000) }).await;
    ok(store, Write::ForgetSessions { now: Millis(10_002) }).await;
    assert!(store.sessions("bob").await.unwrap().is_empty());
}

pub async fn only_so_many_sessions_are_kept<S: Store>(store: &S) {
    users(store).await;
    ok(store, sign_in("ann", "ann", 1)).await;
    let many = i64::try_from(MAX_SESSIONS).unwrap() + 2;
    for n in 0..many {
        ok(store, sign_in(&format!("s{n}"), "bob", n + 1)).await;
        ok(store, Write::TouchSession { hash: Hidden("s0".into()), at: Millis(n + 2) }).await;
    }
    let left = store.sessions("bob").await.unwrap();
    assert_eq!(left.len(), MAX_SESSIONS);
    assert_eq!(left[0].hash, Hidden("s0".into()));
    assert!(left.iter().all(|session| session.hash != Hidden("s1".into())));
    assert!(found(store, "ann").await.is_some());
}

pub async fn a_token_is_found_by_its_hash<S: Store>(store: &S) {
    users(store).await;
    let wanted = ApiToken { user: "Bob".into(), ..a_token("t2", "bob", 5) };
    assert_eq!(ok(store, Write::CreateToken(a_token("t2", "bOB", 5))).await, Answer::Unit);
    assert_eq!(token(store, "t2").await, Some(wanted.clone()));
    assert_eq!(token(store, "t1").await, None);
    refused(store, Write::CreateToken(a_token("t2", "bob", 5)), "Exists").await;
    let same = ApiToken { hash: wanted.hash.clone(), ..a_token("t3", "ann", 5) };
    refused(store, Write::CreateToken(same), "Exists").await;
    refused(store, Write::CreateToken(a_token("t4", "none", 5)), "NotFound").await;
    ok(store, Write::CreateToken(a_token("t1", "bob", 5))).await;
    ok(store, Write::CreateToken(a_token("t3", "bob", 4))).await;
    let ids: Vec<_> = store.tokens("BOB").await.unwrap().into_iter().map(|token| token.id).collect();
    assert_eq!(ids, ["t3", "t1", "t2"]);
    assert!(store.tokens("ann").await.unwrap().is_empty());
}

pub async fn a_token_is_renamed_and_revoked_by_its_user<S: Store>(store: &S) {
    users(store).await;
    ok(store, Write::CreateToken(a_token("t", "bob", 1))).await;
    let rename = |user: &str| Write::RenameToken { user: user.into(), id: "t".into(), name: "for é".into() };
    refused(store, rename("ann"), "NotFound").await;
    assert_eq!(ok(store, rename("BOB")).await, Answer::Unit);
    assert_eq!(token(store, "t").await.unwrap().name, "for é");
    let revoke = |user: &str| Write::RevokeToken { user: user.into(), id: "t".into() };
    declined(store, revoke("ann")).await;
    assert!(claim(store, revoke("Bob")).await);
    declined(store, revoke("bob")).await;
    assert_eq!(token(store, "t").await, None);
    refused(store, rename("bob"), "NotFound").await;
}

pub async fn all_tokens_are_revoked_but_one<S: Store>(store: &S) {
    users(store).await;
    for (id, user) in [("a", "bob"), ("b", "bob"), ("c", "bob"), ("d", "ann")] {
        ok(store, Write::CreateToken(a_token(id, user, 1))).await;
    }
    ok(store, Write::RevokeTokens { user: "BOB".into(), except: Some("b".into()) }).await;
    assert_eq!(store.tokens("bob").await.unwrap().len(), 1);
    ok(store, Write::RevokeTokens { user: "bob".into(), except: None }).await;
    assert!(store.tokens("bob").await.unwrap().is_empty());
    assert!(token(store, "d").await.is_some());
}

pub async fn uses_of_a_token_are_counted_once<S: Store>(store: &S) {
    users(store).await;
    ok(store, Write::CreateToken(a_token("t", "bob", 1))).await;
    let used = |at| Write::UseToken { id: "t".into(), at: Millis(at), uses: 2 };
    assert!(claim(store, used(7)).await);
    declined(store, used(7)).await;
    declined(store, used(6)).await;
    assert!(claim(store, used(8)).await);
    let token = token(store, "t").await.unwrap();
    assert_eq!((token.used_at, token.uses), (Some(Millis(8)), 4));
    declined(store, Write::UseToken { id: "none".into(), at: Millis(9), uses: 1 }).await;
}

pub async fn only_so_many_tokens_are_kept<S: Store>(store: &S) {
    users(store).await;
    for n in 0..MAX_TOKENS {
        ok(store, Write::CreateToken(a_token(&format!("t{n}"), "bob", 1))).await;
    }
    refused(store, Write::CreateToken(a_token("more", "bob", 1)), "Limit").await;
    ok(store, Write::CreateToken(a_token("more", "ann", 1))).await;
}

pub async fn a_deleted_user_leaves_nothing<S: Store>(store: &S) {
    users(store).await;
    let before = picture(store).await;
    assert!(claim(store, Write::CreateUser(a_user("carl", false))).await);
    ok(store, sign_in("s", "carl", 1)).await;
    ok(store, Write::CreateToken(a_token("t", "carl", 1))).await;
    assert_eq!(ok(store, delete("CARL")).await, Answer::Unit);
    refused(store, delete("carl"), "NotFound").await;
    assert_eq!(picture(store).await, before);
    assert!(found(store, "s").await.is_none() && token(store, "t").await.is_none());
    assert!(claim(store, Write::CreateUser(a_user("carl", false))).await);
    assert!(store.tokens("carl").await.unwrap().is_empty());
}

pub async fn anonymous_read_is_switched<S: Store>(store: &S) {
    assert!(!store.anonymous_read().await.unwrap());
    for allowed in [true, true, false] {
        assert_eq!(ok(store, Write::AllowAnonymousRead { allowed }).await, Answer::Unit);
        assert_eq!(store.anonymous_read().await.unwrap(), allowed);
    }
}
