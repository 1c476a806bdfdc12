//! Users, what they may, and their API tokens.

use super::*;

const TOKENS: &str = "descriptorByName/jenkins.security.ApiTokenProperty";

#[tokio::test]
async fn an_administrator_creates_changes_and_deletes_users() {
    let site = Site::new().await;
    site.user("Bob", false).await;
    let create = async |form: &str| site.admin().form("/securityRealm/createAccountByAdmin", form).await;
    for (form, why) in [
        ("username=bOB&password1=x&password2=x", "User name bOB is already taken"),
        ("username=carl&password1=x&password2=y", "Password didn't match"),
        ("username=carl", "Password is required"),
        ("password1=x&password2=x", "User name is required"),
        (
            "username=c.d&password1=x&password2=x",
            "User name must only contain alphanumeric characters, underscore and dash",
        ),
        (
            "username=system&password1=x&password2=x",
            "system is prohibited as a user name for security reasons",
        ),
        ("username=carl&password1=x&password2=x&email=no", "Invalid e-mail address"),
        (
            "username=carl&passwordHash=x",
            "this is no hash that can be imported: it is to begin with #jbcrypt:$2a$ and have a cost of 4 to 16",
        ),
    ] {
        let answer = create(form).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-error")), (400, why), "{form}");
    }
    let change = "fullName=Robert+B.&email=bob%40example.org&password1=&password2=";
    let answer = site.admin().form("/securityRealm/user/bob/configSubmit", change).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "http://ci:8080/user/Bob/"));
    let bob = site.admin().json("/user/bob/api/json").await;
    assert_eq!((bob["id"].as_str(), bob["fullName"].as_str()), (Some("Bob"), Some("Robert B.")));
    assert_eq!(bob["absoluteUrl"], "http://ci:8080/user/Bob");
    assert_eq!(bob["property"][1]["address"], "bob@example.org");
    assert_eq!(site.basic("bob", "Bob").get("/api/json").await.status, 200, "the password is the old one");
    for path in ["/people/api/json", "/asynchPeople/api/json?tree=users[user[id,absoluteUrl,fullName]]"] {
        let people = site.admin().json(path).await;
        let names = people["users"].as_array().unwrap().iter().map(|u| u["user"]["fullName"].as_str());
        assert_eq!(names.collect::<Vec<_>>(), [Some("The Admin"), Some("Robert B.")], "{path}");
        assert_eq!(people["users"][1]["user"]["absoluteUrl"], "http://ci:8080/user/Bob");
    }
    for path in
        ["/people/", "/asynchPeople/", "/securityRealm/", "/securityRealm/addUser", "/user/bob/", "/whoAmI/"]
    {
        assert_eq!(site.admin().get(path).await.status, 200, "{path}");
    }
    let own = site.admin().post("/user/Admin/doDelete").await;
    assert_eq!((own.status.as_u16(), own.header("x-error")), (400, "Cannot delete self"));
    let deleted = site.admin().post("/securityRealm/user/BOB/doDelete").await;
    assert_eq!((deleted.status.as_u16(), deleted.header("location")), (302, "http://ci:8080/"));
    assert_eq!(site.admin().get("/user/bob/api/json").await.status, 404);
    assert_eq!(site.admin().post("/user/bob/doDelete").await.status, 404);
    assert_eq!(site.basic("bob", "Bob").get("/api/json").await.status, 401);
}

#[tokio::test]
async fn who_is_no_administrator_administers_nothing_and_does_all_else() {
    let site = Site::new().await;
    let token = site.user("bob", false).await;
    site.user("carl", false).await;
    let bob = site.basic("bob", &token);
    assert_eq!(bob.xml("/createItem?name=hello", PIPELINE).await.status, 200);
    assert_eq!(bob.post("/job/hello/build").await.status, 201);
    assert_eq!(bob.get("/user/carl/api/json").await.status, 200);
    let json = "/computer/doCreateItem?name=n&json=%7B%22numExecutors%22%3A1%7D";
    assert_eq!(site.admin().post(json).await.status, 302);
    assert_eq!(bob.get("/computer/n/config.xml").await.status, 200);
    for (method, path) in [
        ("POST", json),
        ("POST", "/computer/n/config.xml"),
        ("POST", "/computer/n/toggleOffline"),
        ("POST", "/computer/n/doDelete"),
        ("GET", "/computer/n/jenkins-agent.jnlp"),
        ("GET", "/securityRealm/"),
        ("POST", "/securityRealm/createAccountByAdmin?username=x&password1=x&password2=x"),
        ("POST", "/securityRealm/anonymousRead?allowed=true"),
        ("POST", "/user/carl/doDelete"),
        ("POST", "/user/carl/configSubmit?fullName=x"),
        ("POST", "/me/configSubmit?admin=true"),
        ("POST", "/me/configSubmit?passwordHash=x"),
        ("POST", "/user/carl/descriptorByName/jenkins.security.ApiTokenProperty/revokeAll"),
        ("POST", "/user/none/configSubmit?fullName=x"),
    ] {
        let answer = bob.send(method, path, Body::empty()).await;
        assert_eq!(answer.status, 403, "{method} {path}");
    }
    assert_eq!(bob.post("/me/configSubmit?fullName=Bobby").await.status, 302);
    assert_eq!(bob.json("/me/api/json").await["fullName"], "Bobby");
    assert_eq!(site.admin().post("/user/bob/configSubmit?admin=true").await.status, 302);
    assert_eq!(bob.get("/securityRealm/").await.status, 200);
    assert_eq!(site.admin().post("/me/configSubmit?admin=false").await.status, 403);
    assert_eq!(bob.post("/user/admin/configSubmit?admin=false").await.status, 302);
    assert_eq!(site.admin().get("/securityRealm/").await.status, 403);
}

#[tokio::test]
async fn a_token_is_shown_once_and_good_until_it_is_revoked() {
    let site = Site::new().await;
    let bob = site.user("bob", false).await;
    let bob = site.basic("bob", &bob);
    let made = bob.form(&format!("/me/{TOKENS}/generateNewToken"), "newTokenName=ci").await;
    assert_eq!(made.status, 200);
    assert_eq!(
        (made.json()["status"].as_str(), made.json()["data"]["tokenName"].as_str()),
        (Some("ok"), Some("ci"))
    );
    let value = made.json()["data"]["tokenValue"].as_str().unwrap().to_owned();
    let uuid = made.json()["data"]["tokenUuid"].as_str().unwrap().to_owned();
    assert!(value.len() == 34 && value.starts_with("11"), "a token of another form");
    let second = bob.post(&format!("/user/BOB/{TOKENS}/generateNewToken")).await.json();
    assert!(second["data"]["tokenName"].as_str().unwrap().starts_with("Token created on 2"), "{second}");
    let ci = site.basic("bob", &value);
    assert_eq!(ci.json("/whoAmI/api/json").await["name"], "bob");
    assert_eq!(site.basic("admin", &value).get("/api/json").await.status, 401);
    site.accounts.settle().await;
    let rename =
        bob.form(&format!("/me/{TOKENS}/rename"), &format!("tokenUuid={uuid}&newName=new+name")).await;
    assert_eq!(rename.json()["status"], "ok");
    let unknown = bob.form(&format!("/me/{TOKENS}/rename"), "tokenUuid=none&newName=x").await;
    assert_eq!((unknown.status.as_u16(), unknown.json()["status"].as_str()), (200, Some("error")));
    let shown = bob.json("/me/api/json").await;
    let tokens = shown["property"][0]["tokenList"].as_array().unwrap();
    let token = tokens.iter().find(|t| t["uuid"] == uuid.as_str()).unwrap();
    assert_eq!((token["name"].as_str(), token["useCounter"].as_u64()), (Some("new name"), Some(1)));
    assert!(token["lastUseDate"].as_i64() >= token["creationDate"].as_i64());
    let page = bob.get("/user/bob/").await.text();
    assert!(page.contains("new name") && !page.contains(&value) && !shown.to_string().contains(&value));
    // others see no tokens, and generate none for somebody else
    let carl = site.user("carl", false).await;
    let carl = site.basic("carl", &carl);
    assert!(!carl.get("/user/bob/").await.text().contains("new name"));
    assert_eq!(carl.json("/user/bob/api/json").await["property"].as_array().unwrap().len(), 0);
    assert_eq!(site.admin().post(&format!("/user/bob/{TOKENS}/generateNewToken")).await.status, 403);
    let empty = bob.form(&format!("/me/{TOKENS}/revoke"), "tokenUuid=").await;
    assert_eq!((empty.status.as_u16(), empty.header("x-error")), (400, "The tokenUuid cannot be empty"));
    let revoked = bob.form(&format!("/me/{TOKENS}/revoke"), &format!("tokenUuid={uuid}")).await;
    assert_eq!(revoked.status, 200);
    assert_eq!(ci.get("/api/json").await.status, 401);
    assert_eq!(site.admin().post(&format!("/user/bob/{TOKENS}/revokeAll")).await.status, 200);
    assert_eq!(bob.get("/api/json").await.status, 401);
}

#[tokio::test]
async fn tokens_have_a_number_and_a_name_of_a_size() {
    let site = Site::new().await;
    let path = format!("/me/{TOKENS}/generateNewToken");
    let long = site.admin().form(&path, &format!("newTokenName={}", "x".repeat(201))).await;
    assert_eq!(long.status, 400);
    for _ in 1..store::MAX_TOKENS {
        assert_eq!(site.admin().post(&path).await.status, 200);
    }
    assert_eq!(site.admin().post(&path).await.status, 409);
    assert_eq!(site.admin().post(&format!("/me/{TOKENS}/revokeAll")).await.status, 200);
    assert_eq!(site.admin().get("/api/json").await.status, 401);
}

#[tokio::test]
async fn a_browser_generates_and_revokes_tokens() {
    let site = Site::new().await;
    let browser =
        site.anon().with("cookie", &site.browse("admin", "right").await).with("sec-fetch-mode", "navigate");
    let page = browser.get("/user/admin/").await.text();
    let crumb = page.split("name=\"Jenkins-Crumb\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let form = format!("Jenkins-Crumb={crumb}&newTokenName=%3Cb%3E");
    let made = browser.form(&format!("/user/admin/{TOKENS}/generateNewToken"), &form).await;
    assert!(made.text().contains("<pre>11") && made.text().contains("&lt;b&gt;"), "no token on the page");
    let uuid = site.store.tokens("admin").await.unwrap().into_iter().find(|t| t.name == "<b>").unwrap().id;
    let form = format!("Jenkins-Crumb={crumb}&tokenUuid={uuid}&newName=for+%3Ci%3E");
    assert_eq!(browser.form(&format!("/user/admin/{TOKENS}/rename"), &form).await.status, 303);
    let page = browser.get("/user/admin/").await.text();
    assert!(page.contains("value=\"for &lt;i&gt;\""), "{page}");
    let form = format!("Jenkins-Crumb={crumb}&tokenUuid={uuid}");
    let revoked = browser.form(&format!("/user/admin/{TOKENS}/revoke"), &form).await;
    assert_eq!((revoked.status.as_u16(), revoked.header("location")), (303, "http://ci:8080/user/admin/"));
}

#[tokio::test]
async fn who_has_not_signed_in_looks_when_that_is_allowed() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let readable = [
        "/",
        "/api/json",
        "/job/hello/",
        "/job/hello/api/json",
        "/queue/api/json",
        "/computer/api/json",
        "/replicas/api/json",
    ];
    let hidden = [
        "/job/hello/config.xml",
        "/people/api/json",
        "/user/admin/api/json",
        "/me/api/json",
        "/metrics",
        "/securityRealm/api/json",
    ];
    for path in readable {
        assert_eq!(site.anon().get(path).await.status, 401, "{path}");
    }
    assert_eq!(site.admin().post("/securityRealm/anonymousRead?allowed=x").await.status, 400);
    assert_eq!(site.admin().post("/securityRealm/anonymousRead?allowed=true").await.status, 302);
    assert_eq!(site.admin().json("/securityRealm/api/json").await["anonymousRead"], true);
    for path in readable {
        assert_eq!(site.anon().get(path).await.status, 200, "{path}");
    }
    for path in hidden {
        assert_eq!(site.anon().get(path).await.status, 401, "{path}");
    }
    assert_eq!(site.anon().get("/nothing").await.status, 404);
    for path in ["/job/hello/build", "/job/hello/doDelete", "/createItem?name=x", "/computer/doCreateItem"] {
        assert_eq!(site.anon().post(path).await.status, 401, "{path}");
    }
    let page = site.anon().get("/job/hello/").await.text();
    assert!(!page.contains("<form") && page.contains("Sign in"), "{page}");
    let me = site.anon().json("/whoAmI/api/json").await;
    assert_eq!((&me["name"], &me["anonymous"]), (&"anonymous".into(), &true.into()));
    assert_eq!(
        site.basic("admin", "wrong").get("/api/json").await.status,
        401,
        "who shows something shows the right"
    );
    assert_eq!(site.admin().post("/securityRealm/anonymousRead?allowed=false").await.status, 302);
    assert_eq!(site.anon().get("/api/json").await.status, 401);
}
