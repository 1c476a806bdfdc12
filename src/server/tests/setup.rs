//! The setup wizard, walked through by requests.

use security::UnlockKey;
use store::{Failing, Fault};

use super::*;
use crate::setup::Unlock;

const USER: &str = "/setupWizard/createAdminUser";
const INSTANCE: &str = "/setupWizard/configureInstance";
const ANN: &str = "username=ann&password1=x&password2=x&fullname=Ann+Onymous&email=ann%40example.org";

/// A new controller whose wizard is unlocked with `right`.
async fn new(store: Arc<dyn Store>) -> Site {
    let site = Site::without_users(store).await;
    *site.nobody.state.lock() = ReplicaState::Setup;
    let key = UnlockKey::hashed(RIGHT.0.clone());
    site.wizard.show(Unlock { key, place: "/home/<b>".to_owned(), token: None });
    // the replica waits for the end and becomes ready
    let (wizard, nobody) = (site.wizard.clone(), Arc::clone(&site.nobody));
    tokio::spawn(async move {
        wizard.ended().await;
        *nobody.state.lock() = ReplicaState::Ready;
        wizard.close();
    });
    site
}

/// A browser that has unlocked the wizard, and its crumb.
async fn unlocked(site: &Site) -> (Client<'_>, String) {
    let answer = site.anon().form("/setupWizard/unlock", "password=right%0A").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, &*format!("http://ci:8080{USER}")));
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
    let browser = site.anon().with("cookie", cookie.split(';').next().unwrap());
    let page = browser.get(USER).await.text();
    let crumb = page.split("name=\"Jenkins-Crumb\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let crumb = format!("Jenkins-Crumb={crumb}");
    (browser, crumb)
}

async fn users(site: &Site) -> Vec<String> {
    site.store.users(None, 10).await.unwrap().into_iter().map(|user| user.id).collect()
}

#[tokio::test]
async fn a_person_walks_through_the_wizard_and_is_signed_in() {
    let site = new(Arc::new(Memory::new())).await;
    let locked = site.anon().get("/setupWizard/").await;
    assert_eq!(locked.status, 200);
    for wanted in ["Unlock Majordomo", "/home/&lt;b&gt;", "<code>acme-0</code>"] {
        assert!(locked.text().contains(wanted), "{wanted}: {}", locked.text());
    }
    let (browser, crumb) = unlocked(&site).await;
    let answer = browser.form(USER, &format!("{crumb}&{ANN}")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (303, &*format!("http://ci:8080{INSTANCE}"))
    );
    assert!(users(&site).await.is_empty(), "nothing is written before the end");
    // he comes back to where he was, and can correct what he has typed
    assert_eq!(browser.get("/setupWizard/").await.header("location"), format!("http://ci:8080{INSTANCE}"));
    assert!(browser.get(USER).await.text().contains("value=\"Ann Onymous\""));
    let page = browser.get(INSTANCE).await;
    assert!(
        page.text().contains("<pre>http://ci:8080/</pre>") && page.text().contains("--url"),
        "{}",
        page.text()
    );
    let ready = browser.form(INSTANCE, &crumb).await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("Majordomo is ready!"), "{}", ready.text());
    assert_eq!(users(&site).await, ["ann"]);
    let session = ready.header("set-cookie").split(';').next().unwrap();
    let who = site.anon().with("cookie", session).json("/whoAmI/api/json").await;
    assert_eq!(who["name"], "ann");
    let user = site.store.user("ann").await.unwrap().unwrap();
    assert!(user.admin && user.email == "ann@example.org" && user.full_name == "Ann Onymous");
    // loading the last page again does no harm, and the wizard is over
    assert!(browser.form(INSTANCE, &crumb).await.text().contains("Majordomo is ready!"));
    assert_eq!(site.anon().form(INSTANCE, "").await.status, 409);
    assert_eq!(site.anon().get("/setupWizard/").await.header("location"), "http://ci:8080/");
    assert_eq!(users(&site).await, ["ann"]);
}

#[tokio::test]
async fn while_the_wizard_is_shown_nothing_else_is() {
    let site = new(Arc::new(Memory::new())).await;
    let person = site.anon().with("accept", "text/html,*/*");
    for path in ["/", "/login", "/job/a/", "/nothing", "/securityRealm/", "/metrics"] {
        let answer = person.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (302, "http://ci:8080/setupWizard/"),
            "{path}"
        );
    }
    for path in
        ["/", "/api/json", "/login", "/whoAmI/api/json", "/wsagents/", "/crumbIssuer/api/json", "/metrics"]
    {
        let answer = site.anon().get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(
            !answer.header("retry-after").is_empty() && answer.text().contains("/setupWizard/"),
            "{path}"
        );
    }
    let signs_in = "j_username=setup+wizard&j_password=right";
    assert_eq!(person.form("/j_spring_security_check", signs_in).await.status, 503);
    assert_eq!(person.form("/createItem?name=a", "").await.status, 503);
    // for who looks after the replica, and for whoever scrapes
    let readyz = site.anon().get("/readyz").await;
    assert_eq!((readyz.status.as_u16(), readyz.text().as_str()), (200, "setup\n"));
    assert_eq!(site.anon().get("/healthz").await.status, 200);
    assert_eq!(person.get("/static/main.css").await.status, 200);
    let token = format!("Bearer {}", site.keys.metrics_token().expose());
    assert_eq!(site.anon().with("authorization", &token).get("/metrics").await.status, 200);
    assert_eq!(site.peer().post("/admin/rollout").await.status, 200);
}

#[tokio::test]
async fn a_replica_that_goes_in_the_setup_serves_nothing_any_more() {
    let site = new(Arc::new(Memory::new())).await;
    let (browser, crumb) = unlocked(&site).await;
    *site.nobody.state.lock() = ReplicaState::Draining;
    for (method, path) in
        [("GET", "/setupWizard/"), ("GET", USER), ("POST", INSTANCE), ("GET", "/login"), ("GET", "/api/json")]
    {
        let answer = browser.send(method, path, crumb.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "2"), "{method} {path}");
    }
    assert!(users(&site).await.is_empty());
}

#[tokio::test]
async fn only_who_has_unlocked_it_goes_on_and_from_the_wizards_own_forms() {
    let site = new(Arc::new(Memory::new())).await;
    for (method, path) in [("GET", USER), ("GET", INSTANCE), ("POST", USER), ("POST", INSTANCE)] {
        let answer = site.anon().send(method, path, "").await;
        assert_eq!(answer.header("location"), "http://ci:8080/setupWizard/", "{method} {path}");
    }
    let wrong = site.anon().form("/setupWizard/unlock", "password=wrong").await;
    assert_eq!((wrong.status.as_u16(), wrong.header("set-cookie")), (401, ""));
    assert!(wrong.text().contains("role=\"alert\""), "{}", wrong.text());
    let (browser, crumb) = unlocked(&site).await;
    assert_eq!(browser.form(USER, ANN).await.status, 403);
    assert_eq!(browser.form(USER, &format!("Jenkins-Crumb=x&{ANN}")).await.status, 403);
    let (other, _) = unlocked(&site).await;
    assert_eq!(other.form(USER, &format!("{crumb}&{ANN}")).await.status, 403, "it is of another browser");
    let elsewhere = browser.clone().with("sec-fetch-site", "cross-site");
    assert_eq!(elsewhere.form(USER, &format!("{crumb}&{ANN}")).await.status, 403);
    assert_eq!(elsewhere.form("/setupWizard/unlock", "password=right").await.status, 403);
    assert_eq!(browser.form(INSTANCE, &crumb).await.header("location"), format!("http://ci:8080{USER}"));
    assert_eq!(browser.send("PUT", USER, "").await.status, 405);
    assert!(users(&site).await.is_empty());
}

#[tokio::test]
async fn a_user_who_can_not_be_is_refused_with_a_sentence_and_what_was_typed_stays() {
    let site = new(Arc::new(Memory::new())).await;
    let (browser, crumb) = unlocked(&site).await;
    for (form, said) in [
        ("username=&password1=x&password2=x", "User name is required"),
        ("username=a+b&password1=x&password2=x", "User name must only contain"),
        ("username=ann&password1=x&password2=y", "Password didn&#39;t match"),
        ("username=ann&password1=&password2=", "Password is required"),
        ("username=ann&password1=x&password2=x&email=x", "Invalid e-mail address"),
        ("username=system&password1=x&password2=x", "prohibited"),
    ] {
        let answer = browser.form(USER, &format!("{crumb}&{form}&fullname=Ann%22")).await;
        assert_eq!(answer.status, 400, "{form}");
        let text = answer.text();
        assert!(text.contains(said) && text.contains("value=\"Ann&quot;\""), "{form}: {text}");
    }
    assert!(users(&site).await.is_empty());
}

#[tokio::test]
async fn of_two_browsers_one_makes_the_user_and_the_other_is_told() {
    let site = new(Arc::new(Memory::new())).await;
    let ((one, first), (two, second)) = (unlocked(&site).await, unlocked(&site).await);
    one.form(USER, &format!("{first}&{ANN}")).await;
    two.form(USER, &format!("{second}&username=bob&password1=x&password2=x")).await;
    let (one, two) = tokio::join!(one.form(INSTANCE, &first), two.form(INSTANCE, &second));
    let mut status = [one.status.as_u16(), two.status.as_u16()];
    status.sort_unstable();
    assert_eq!(status, [200, 409]);
    let told = if one.status == 409 { one } else { two };
    assert!(told.text().contains("The setup is complete already"), "{}", told.text());
    assert_eq!(users(&site).await.len(), 1);
}

#[tokio::test]
async fn an_answer_of_the_store_that_was_lost_is_asked_for_once_more() {
    for fault in [Fault::Before, Fault::After] {
        let store = Failing::new(Memory::new());
        let site = new(Arc::new(store.clone())).await;
        let (browser, crumb) = unlocked(&site).await;
        browser.form(USER, &format!("{crumb}&{ANN}")).await;
        store.fail(store.writes() + 1, fault);
        let answer = browser.form(INSTANCE, &crumb).await;
        assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text());
        assert_eq!(users(&site).await, ["ann"]);
    }
}
