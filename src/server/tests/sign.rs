//! Signing in with a browser, and out; attempts that fail.

use super::*;

#[tokio::test]
async fn a_person_who_wants_a_page_signs_in_and_gets_it() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let person = site.anon().with("accept", "text/html,*/*").with("sec-fetch-mode", "navigate");
    let lost = person.get("/job/hello/?x=1").await;
    assert_eq!(lost.status, 302);
    assert_eq!(lost.header("location"), "http://ci:8080/login?from=%2Fjob%2Fhello%2F%3Fx=1");
    let proxied = person.clone().with("x-forwarded-prefix", "/ci");
    for path in ["/job/hello/", "/ci/job/hello/"] {
        let lost = proxied.get(path).await;
        assert_eq!(lost.header("location"), "http://ci:8080/ci/login?from=%2Fci%2Fjob%2Fhello%2F", "{path}");
    }
    let form = person.get("/login?from=%2Fjob%2Fhello%2F%3Fx=1").await;
    assert_eq!(form.status, 200);
    for wanted in
        ["name=\"j_username\"", "name=\"j_password\"", "name=\"remember_me\"", "value=\"/job/hello/?x=1\""]
    {
        assert!(form.text().contains(wanted), "{wanted}: {}", form.text());
    }
    let sent = "j_username=admin&j_password=right&from=%2Fjob%2Fhello%2F%3Fx%3D1&Submit=";
    let answer = person.form("/j_spring_security_check", sent).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "http://ci:8080/job/hello/?x=1"));
    let cookie = answer.header("set-cookie");
    assert!(
        cookie.starts_with("JSESSIONID.") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let signed_in = site.anon().with("cookie", cookie.split(';').next().unwrap());
    let page = signed_in.get("/job/hello/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("The Admin") && page.text().contains("Sign out"), "{}", page.text());
    assert_eq!(signed_in.json("/whoAmI/api/json").await["name"], "admin");
    let me = signed_in.get("/me/").await;
    assert_eq!((me.status.as_u16(), me.header("location")), (302, "http://ci:8080/user/admin/"));
}

#[tokio::test]
async fn the_forms_of_pages_carry_the_crumb_of_their_session() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let browser = site.anon().with("cookie", &site.browse("admin", "right").await);
    let page = browser.get("/job/hello/").await.text();
    let crumb = page.split("name=\"Jenkins-Crumb\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(browser.form("/job/hello/build", "").await.status, 403);
    assert_eq!(browser.form("/job/hello/build", &format!("Jenkins-Crumb={crumb}")).await.status, 201);
    let other = site.anon().with("cookie", &site.browse("admin", "right").await);
    assert_eq!(other.form("/job/hello/build", &format!("Jenkins-Crumb={crumb}")).await.status, 403);
    // who signs in with each request is given a session for it
    let basic = site.basic("admin", "right").get("/job/hello/").await;
    let cookie = basic.header("set-cookie").split(';').next().unwrap().to_owned();
    let crumb = basic.text();
    let crumb = crumb.split("name=\"Jenkins-Crumb\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let again = site.basic("admin", "right").with("cookie", &cookie);
    assert_eq!(again.form("/job/hello/build", &format!("Jenkins-Crumb={crumb}")).await.status, 201);
    assert_eq!(
        site.anon().with("cookie", &cookie).get("/api/json").await.status,
        401,
        "it is no user's session"
    );
}

#[tokio::test]
async fn a_wrong_password_leads_to_a_page_that_says_so_and_not_whether_there_is_the_user() {
    let site = Site::new().await;
    let mut locations = Vec::new();
    for (user, password) in [("admin", "wrong"), ("nobody", "wrong"), ("", ""), ("admin", "")] {
        let form = format!("j_username={user}&j_password={password}&from=/job/a/");
        let answer = site.anon().form("/j_acegi_security_check", &form).await;
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (302, ""));
        locations.push(answer.header("location").to_owned());
    }
    locations.dedup();
    assert_eq!(locations, ["http://ci:8080/loginError?from=%2Fjob%2Fa%2F"]);
    let page = site.anon().with("sec-fetch-mode", "navigate").get("/loginError?from=%2Fjob%2Fa%2F").await;
    assert_eq!((page.status.as_u16(), page.header("www-authenticate")), (401, ""));
    assert!(
        page.text().contains("Invalid user name or password") && page.text().contains("value=\"/job/a/\"")
    );
    assert_eq!(site.anon().get("/j_spring_security_check").await.status, 405);
    let query = site.anon().form("/j_spring_security_check?j_username=admin&j_password=right", "").await;
    assert_eq!(
        (query.status.as_u16(), query.header("set-cookie")),
        (302, ""),
        "addresses are logged by proxies"
    );
}

#[tokio::test]
async fn nobody_is_sent_away_after_signing_in() {
    let site = Site::new().await;
    for from in
        ["https://evil.example/", "//evil.example/", "/%5Cevil.example", "/%09/evil.example", "%0d%0aX: y"]
    {
        let form = format!("j_username=admin&j_password=right&from={from}");
        let answer = site.anon().form("/j_spring_security_check", &form).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "http://ci:8080/"), "{from}");
    }
    let evil = site.anon().with("sec-fetch-site", "cross-site");
    let form = "j_username=admin&j_password=right";
    assert_eq!(evil.form("/j_spring_security_check", form).await.status, 403);
    let login = site.anon().get("/login?from=%22%3E%3Cscript%3E").await;
    assert!(!login.text().contains("\"><script>"), "{}", login.text());
}

#[tokio::test]
async fn a_session_ends_with_sign_out_a_new_password_and_the_user() {
    let site = Site::new().await;
    site.user("bob", false).await;
    let who = async |cookie: &str| site.anon().with("cookie", cookie).json("/whoAmI/api/json").await;
    let (first, second) = (site.browse("bob", "bob").await, site.browse("BOB", "bob").await);
    let out = site.anon().with("cookie", &first).get("/logout").await;
    assert_eq!((out.status.as_u16(), out.header("location")), (302, "http://ci:8080/"));
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.header("set-cookie"));
    assert_eq!(who(&first).await["anonymous"], true);
    assert_eq!(who(&second).await["name"], "bob");
    let evil = site.anon().with("cookie", &second).with("sec-fetch-site", "cross-site");
    assert_eq!(evil.get("/logout").await.status, 403);
    let change = site.admin().form("/user/bob/configSubmit", "password1=new&password2=new").await;
    assert_eq!(change.status, 302);
    assert_eq!(who(&second).await["anonymous"], true);
    let third = site.browse("bob", "new").await;
    assert_eq!(site.admin().post("/user/bob/doDelete").await.status, 302);
    assert_eq!(who(&third).await["anonymous"], true);
}

#[tokio::test]
async fn a_kept_and_secure_session_says_so_to_the_browser() {
    let site = Site::new().await;
    let form = "j_username=admin&j_password=right&remember_me=on";
    let answer = site.anon().with("x-forwarded-proto", "https").form("/j_spring_security_check", form).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Lax; Secure; Max-Age=1209600"), "{cookie}");
}

#[tokio::test]
async fn who_fails_again_and_again_is_told_to_come_later() {
    let site = Site::new().await;
    let there = || site.basic("admin", "wrong").with("x-forwarded-for", "192.0.2.7");
    let all = (0..12).map(|_| {
        let client = there();
        async move { client.get("/api/json").await.status.as_u16() }
    });
    let statuses = futures_util::future::join_all(all).await;
    assert!(statuses.iter().all(|status| *status == 401), "{statuses:?}");
    let refused = there().get("/api/json").await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 14, "{}", refused.header("retry-after"));
    let right = site.basic("admin", "right").with("x-forwarded-for", "192.0.2.7").get("/api/json").await;
    assert_eq!(right.status, 429);
    let form = site.anon().with("x-forwarded-for", "192.0.2.7");
    let form = form.form("/j_spring_security_check", "j_username=admin&j_password=right").await;
    assert_eq!(form.status, 429);
    // a token is no guess, and a session is there already
    assert_eq!(site.admin().with("x-forwarded-for", "192.0.2.7").get("/api/json").await.status, 200);
    let other = site.basic("bob", "wrong").with("x-forwarded-for", "192.0.2.7").get("/api/json").await;
    assert_eq!(other.status, 401);
}

#[tokio::test]
async fn a_page_that_fetches_makes_the_browser_ask_for_no_password() {
    let site = Site::new().await;
    let fetch = site.anon().with("sec-fetch-mode", "cors").get("/api/json").await;
    assert_eq!((fetch.status.as_u16(), fetch.header("www-authenticate")), (401, ""));
    let name = site.browse("admin", "right").await.split('=').next().unwrap().to_owned();
    let old = site.anon().with("cookie", &format!("{name}=0123456789abcdef0123456789abcdef"));
    let answer = old.get("/api/json").await;
    assert_eq!((answer.status.as_u16(), answer.header("www-authenticate")), (401, ""));
}

#[tokio::test]
async fn a_session_stays_good_while_the_store_is_away_and_signing_in_waits() {
    let store = store::Failing::new(Memory::new());
    let site = Site::on(Arc::new(store.clone())).await;
    let browser = site.anon().with("cookie", &site.browse("admin", "right").await);
    assert_eq!(browser.json("/whoAmI/api/json").await["name"], "admin");
    store.fail(store.writes() + 1, store::Fault::Away);
    store.deafen();
    tokio::time::sleep(Duration::from_millis(600)).await;
    for client in [&browser, &site.basic("admin", "right")] {
        // what needs the store says so, and who asks is known
        let answer = client.get("/queue/api/json").await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "2"));
    }
    assert_eq!(browser.json("/whoAmI/api/json").await["name"], "admin");
    assert_eq!(site.admin().get("/whoAmI/api/json").await.status, 503, "this token was not seen before");
    assert_eq!(site.anon().get("/api/json").await.status, 503);
    assert_eq!(site.anon().get("/login").await.status, 200);
    let form = "j_username=admin&j_password=right";
    let answer = site.anon().form("/j_spring_security_check", form).await;
    assert_eq!(answer.status, 503);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(browser.get("/logout").await.status, 503);
    store.heal();
    assert_eq!(site.anon().form("/j_spring_security_check", form).await.status, 302);
}
