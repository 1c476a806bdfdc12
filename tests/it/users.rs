//! Users over several replicas: what one of them has given, all take, and what one has taken away, all refuse.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Answer, Client, Controller, Up, run, shared, until, within};

const TOKENS: &str = "/me/descriptorByName/jenkins.security.ApiTokenProperty";
/// What was revoked or switched is so at every replica.
const SOON: Duration = Duration::from_secs(1);

/// A user whose password is `secret of ID`.
fn create_user(it: &Controller, id: &str) -> Client {
    let form = format!("username={id}&password1=secret+of+{id}&password2=secret+of+{id}&fullname=&email=");
    it.admin.form("/securityRealm/createAccountByAdmin", &form).expect(302);
    Client::user(it.admin.address, id, &format!("secret of {id}"))
}

/// Signs in with a browser at that address; the cookie.
fn sign_in(at: &Client, id: &str) -> String {
    let form = format!("j_username={id}&j_password=secret+of+{id}&from=%2F");
    let answer = at.form("/j_spring_security_check", &form).expect(302);
    assert!(!answer.header("location").contains("loginError"), "{:?}", answer.headers);
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

fn with_cookie(at: &Client, method: &str, path: &str, cookie: &str, headers: &[(&str, &str)]) -> Answer {
    let anonymous = Client::anonymous(at.address);
    anonymous.send(method, path, &[headers, &[("Cookie", cookie)]].concat(), b"")
}

fn name(at: &Client, cookie: &str) -> String {
    let answer = with_cookie(at, "GET", "/whoAmI/api/json", cookie, &[]).expect(200);
    serde_json::from_slice::<Value>(&answer.body).unwrap()["name"].as_str().unwrap().to_owned()
}

/// The token's value and id.
fn generate(client: &Client, headers: &[(&str, &str)]) -> (String, String) {
    let answer = client.send("POST", &format!("{TOKENS}/generateNewToken?newTokenName=ci"), headers, b"");
    let made: Value = serde_json::from_slice(&answer.expect(200).body).unwrap();
    let of = |name: &str| made["data"][name].as_str().unwrap().to_owned();
    (of("tokenValue"), of("tokenUuid"))
}

/// The crumb of the session.
fn crumb(at: &Client, cookie: &str) -> String {
    let path = "/crumbIssuer/api/xml?xpath=concat(//crumbRequestField,%22:%22,//crumb)";
    let text = with_cookie(at, "GET", path, cookie, &[]).expect(200).text();
    text.strip_prefix("Jenkins-Crumb:").unwrap().to_owned()
}

#[test]
fn a_session_of_one_replica_is_good_at_all_until_it_ends_at_one() {
    let it = shared();
    create_user(it, "session-user");
    let replicas = it.each_replica();
    let cookie = sign_in(&replicas[0], "session-user");
    for replica in &replicas {
        assert_eq!(name(replica, &cookie), "session-user");
    }
    let crumb = crumb(&replicas[1], &cookie);
    it.admin.create_job("of-session", "echo 'x'");
    for replica in &replicas {
        let headers = [("Jenkins-Crumb", crumb.as_str())];
        with_cookie(replica, "POST", "/job/of-session/disable", &cookie, &headers).expect(302);
        with_cookie(replica, "POST", "/job/of-session/disable", &cookie, &[]).expect(403);
    }
    with_cookie(&replicas[2], "GET", "/logout", &cookie, &[]).expect(302);
    for replica in &replicas {
        within(SOON, "the end of the session", || (name(replica, &cookie) == "anonymous").then_some(()));
    }
    it.admin.post("/job/of-session/doDelete").expect(302);
    it.admin.post("/user/session-user/doDelete").expect(302);
    it.unharmed();
}

#[test]
fn a_session_and_a_token_outlive_all_replicas() {
    let it = Controller::start(2, 0);
    let user = create_user(&it, "bob");
    let cookie = sign_in(&it.admin, "bob");
    let crumb = crumb(&it.admin, &cookie);
    let (token, _) =
        generate(&Client::anonymous(user.address), &[("Cookie", &cookie), ("Jenkins-Crumb", &crumb)]);
    for pid in it.pids.values() {
        run("kill", &["-9", &pid.to_string()], &it.home);
    }
    until("new replicas", || {
        let alive = std::panic::catch_unwind(|| it.pids_now()).ok()?;
        let ready = std::panic::catch_unwind(|| it.each_replica()).ok()?;
        let ready = ready
            .iter()
            .all(|r| std::panic::catch_unwind(|| r.get("/readyz").status == 200).unwrap_or(false));
        (ready && alive.len() == 2 && alive.values().all(|pid| !it.pids.values().any(|old| old == pid)))
            .then_some(())
    });
    for replica in it.each_replica() {
        assert_eq!(name(&replica, &cookie), "bob");
        let again =
            with_cookie(&replica, "POST", "/createItem?name=x", &cookie, &[("Jenkins-Crumb", &crumb)]);
        assert_eq!(again.expect(400).header("x-error"), "the request has no XML", "the crumb is good still");
        let me = Client::user(replica.address, "bob", &token).json("/me/api/json");
        assert_eq!(me["id"], "bob");
    }
}

#[test]
fn a_revoked_token_is_refused_at_every_replica() {
    let it = shared();
    create_user(it, "token-user");
    let cookie = sign_in(&it.admin, "token-user");
    let crumb = crumb(&it.admin, &cookie);
    let headers = [("Cookie", cookie.as_str()), ("Jenkins-Crumb", crumb.as_str())];
    let (token, id) = generate(&Client::anonymous(it.admin.address), &headers);
    let replicas: Vec<Client> =
        it.each_replica().iter().map(|r| Client::user(r.address, "token-user", &token)).collect();
    for replica in &replicas {
        replica.get("/api/json").expect(200);
        replica.xml("/createItem?name=never", "no xml").expect(400);
    }
    let path = format!("{TOKENS}/revoke?tokenUuid={id}");
    replicas[1].post(&path).expect(200);
    for replica in &replicas {
        within(SOON, "the token to be refused", || (replica.get("/api/json").status == 401).then_some(()));
    }
    it.admin.post("/user/token-user/doDelete").expect(302);
    it.unharmed();
}

#[test]
fn a_user_who_is_deleted_is_out_at_every_replica() {
    let it = shared();
    let user = create_user(it, "short-lived");
    let cookie = sign_in(&it.admin, "short-lived");
    let replicas = it.each_replica();
    for replica in &replicas {
        user.at(replica.address).get("/api/json").expect(200);
    }
    it.admin.post("/securityRealm/user/short-lived/doDelete").expect(302);
    for replica in &replicas {
        within(SOON, "the session to end", || (name(replica, &cookie) == "anonymous").then_some(()));
        let refused = || (user.at(replica.address).get("/api/json").status == 401).then_some(());
        within(SOON, "the password to be refused", refused);
    }
    it.unharmed();
}

#[test]
fn who_guesses_is_refused_after_a_while() {
    let it = shared();
    let user = create_user(it, "guessed");
    let replica = it.each_replica().remove(0);
    let guess = Client::user(replica.address, "guessed", "wrong");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(|| guess.get("/api/json").status)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    let refused = guess.get("/api/json").expect(429);
    assert!(refused.header("retry-after").parse::<u32>().unwrap() > 0);
    user.at(replica.address).get("/api/json").expect(429);
    // others from there go on
    it.admin.at(replica.address).get("/api/json").expect(200);
    it.admin.post("/user/guessed/doDelete").expect(302);
    it.unharmed();
}

#[test]
fn anonymous_read_is_switched_for_all_replicas() {
    let it = Controller::start(2, 0);
    it.admin.create_job("seen", "echo 'x'");
    let switch = |allowed: bool, status: u16| {
        it.admin.post(&format!("/securityRealm/anonymousRead?allowed={allowed}")).expect(302);
        for replica in it.each_replica() {
            let anonymous = Client::anonymous(replica.address);
            within(SOON, "the switch", || {
                (anonymous.get("/job/seen/api/json").status == status).then_some(())
            });
            anonymous.post("/job/seen/build").expect(401);
            anonymous.get("/people/api/json").expect(401);
        }
    };
    switch(true, 200);
    switch(false, 401);
    it.unharmed();
}

#[test]
fn no_secret_is_in_a_log_or_in_the_list_of_processes() {
    let it = Controller::of(Up { log: Some("trace"), ..Up::new(1, 0) });
    let user = create_user(&it, "secretive");
    let cookie = sign_in(&it.admin, "secretive");
    let crumb = crumb(&it.admin, &cookie);
    let headers = [("Cookie", cookie.as_str()), ("Jenkins-Crumb", crumb.as_str())];
    let (token, id) = generate(&Client::anonymous(it.admin.address), &headers);
    user.get("/api/json").expect(200);
    Client::user(it.admin.address, "secretive", "wrong secret").get("/api/json").expect(401);
    Client::user(it.admin.address, "secretive", &token).get("/api/json").expect(200);
    let change = "password1=another+secret&password2=another+secret";
    it.admin.form("/user/secretive/configSubmit", change).expect(302);
    it.admin.form("/user/secretive/configSubmit", "password1=hidden&password2=differs").expect(400);
    it.admin
        .post(&format!(
            "/user/secretive/descriptorByName/jenkins.security.ApiTokenProperty/revoke?tokenUuid={id}"
        ))
        .expect(200);
    with_cookie(&it.admin, "GET", "/logout", &cookie, &[]).expect(302);
    let own = fs::read_to_string(it.home.join("admin-token")).unwrap();
    let session = cookie.split('=').nth(1).unwrap();
    let secrets = [
        "secret of secretive",
        "secret+of+secretive",
        "wrong secret",
        "another secret",
        "another+secret",
        "argon2id",
        own.trim(),
        &it.password(),
        &token,
        session,
        &crumb,
    ];
    let mut told = 0;
    for entry in fs::read_dir(it.home.join("logs")).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap();
        told += text.matches("a user was created").count() + text.matches("a user was changed").count();
        for secret in secrets {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{}: {line:?}", entry.path().display());
        }
    }
    assert_eq!(told, 2, "the logs do not tell the story");
    for pid in it.pids.values() {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(secrets.iter().all(|secret| !command.contains(secret)), "{command}");
    }
}
