//! Bad input gets a clear error with the right status, and changes nothing.

use super::*;

#[tokio::test]
async fn bad_names_are_refused_with_a_sentence() {
    let site = Site::new().await;
    for (name, why) in [
        ("..", "\"..\" is not an allowed name"),
        ("a%2Fb", "'/' is an unsafe character"),
        ("a%07b", "No control code is allowed"),
        ("%00", "No control code is allowed"),
        ("", "No name is specified"),
        ("a*", "'*' is an unsafe character"),
        ("end.", "A name cannot end with '.'"),
    ] {
        let answer = site.admin().xml(&format!("/createItem?name={name}"), PIPELINE).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-error")), (400, why), "{name}");
    }
    let long = site.admin().xml(&format!("/createItem?name={}", "x".repeat(300)), PIPELINE).await;
    assert_eq!(long.header("x-error"), "The name is longer than 200 bytes");
    let none = site.admin().xml("/createItem", PIPELINE).await;
    assert_eq!(none.header("x-error"), "Query parameter 'name' is required");
    assert!(site.store.children(None, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn bad_xml_is_refused_with_a_sentence() {
    let site = Site::new().await;
    site.create("", "good", PIPELINE).await;
    let bomb = "<!DOCTYPE a [<!ENTITY x \"xxxxxxxxxx\"><!ENTITY y \"&x;&x;&x;\">]><flow-definition>&y;</flow-definition>";
    let deep = "<a>".repeat(20_000);
    for xml in [
        "",
        "  ",
        "<",
        "<flow-definition>",
        "<flow-definition></a>",
        "not xml",
        "<matrix-project/>",
        bomb,
        &deep,
    ] {
        for path in ["/createItem?name=x", "/job/good/config.xml"] {
            let answer = site.admin().xml(path, xml).await;
            let shown = xml.get(..20).unwrap_or(xml);
            assert_eq!(answer.status, 400, "{path} {shown}");
            assert!(!answer.header("x-error").is_empty(), "{shown}");
        }
    }
    let latin = site.admin().send("POST", "/createItem?name=x", vec![b'<', 0xe9, b'>']).await;
    assert_eq!(latin.header("x-error"), "the XML is not UTF-8");
    let folder = site.admin().xml("/job/good/config.xml", FOLDER).await;
    assert_eq!(folder.status, 409);
    assert_eq!(site.admin().get("/job/good/config.xml").await.text(), PIPELINE);
    assert_eq!(site.store.children(None, None, 10).await.unwrap().len(), 1);
    let unknown = site.admin().form("/createItem", "name=x&mode=hudson.matrix.MatrixProject").await;
    assert!(unknown.header("x-error").starts_with("Unknown mode"), "{}", unknown.header("x-error"));
}

#[tokio::test]
async fn huge_bodies_are_refused() {
    let site = Site::new().await;
    let xml =
        format!("<flow-definition><description>{}</description></flow-definition>", "x".repeat(5_000_000));
    assert_eq!(site.admin().xml("/createItem?name=x", &xml).await.status, 413);
    let form = format!("json={}", "x".repeat(1_100_000));
    assert_eq!(site.admin().form("/computer/doCreateItem?name=n", &form).await.status, 413);
    let many = "a=1&".repeat(3_000);
    assert_eq!(site.admin().form("/computer/doCreateItem", &many).await.status, 400);
    let said = site.admin().with("content-length", "999999999999");
    assert_eq!(said.post("/createItem?name=x").await.status, 413);
    assert_eq!(site.anon().xml("/createItem?name=x", &xml).await.status, 401);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let site = Site::new().await;
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let slow = site.admin().send("POST", "/createItem?name=x", never).await;
    assert_eq!((slow.status.as_u16(), slow.header("connection")), (408, "close"));
    let cut = futures_util::stream::iter([Ok(Bytes::from_static(b"<")), Err(std::io::Error::other("cut"))]);
    let cut = site.admin().send("POST", "/createItem?name=x", Body::from_stream(cut)).await;
    assert_eq!(cut.status, 400);
}

#[tokio::test]
async fn export_bombs_are_harmless() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    let deep = format!("/api/json?tree={}a{}", "a[".repeat(10_000), "]".repeat(10_000));
    let answer = admin.get(&deep).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-error")),
        (400, "tree is nested deeper than 64 levels")
    );
    let posted = format!("tree={}a{}", "a[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(admin.form("/api/json", &posted).await.status, 400);
    for tree in ["", "a[", "jobs[name", "]", "a,,b", "jobs{x}"] {
        let tree = tree.replace('{', "%7B").replace('}', "%7D");
        assert_eq!(admin.get(&format!("/api/json?tree={tree}")).await.status, 400, "{tree}");
    }
    let nested = format!("/api/json?tree={}name{}", "views[jobs[".repeat(31), "]]".repeat(31));
    assert_eq!(admin.get(&nested).await.status, 200);
    assert_eq!(admin.get("/api/json?depth=999").await.status, 200);
    assert_eq!(admin.get("/api/json?depth=-5").await.status, 200);
    assert_eq!(admin.get("/api/json?depth=1e9").await.header("x-error"), "depth is not a number");
}

#[tokio::test]
async fn an_answer_has_a_bound() {
    let site = Site::new().await;
    for level in 0..12 {
        let folder = "/job/f".repeat(level);
        site.create(&folder, "f", FOLDER).await;
        site.create(&folder, "a", PIPELINE).await;
    }
    // each folder shows what is in it three times: by itself, in its views, and in its primary view
    let deep = site.admin().get("/api/json?depth=10").await;
    assert_eq!(deep.status, 400);
    assert_eq!(deep.header("x-error"), "the answer has more than 5000 values; select less with tree");
}

#[tokio::test]
async fn paths_that_lead_nowhere_are_not_found() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    for path in [
        "/job/nobody/",
        "/job/hello/77/",
        "/job/hello/77/api/json",
        "/job/hello/lastBuild/api/json",
        "/job/..%2f..%2fetc/api/json",
        "/job/hello/ws/",
        "/job/Hello/api/json",
        "/static/..%2f..%2fCargo.toml",
        "/user/nobody/api/json",
        "/%ff",
    ] {
        assert_eq!(site.admin().get(path).await.status, 404, "{path}");
    }
}

/// Strings over an alphabet of what parsers look at; the same ones each time.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize
    }

    fn text(&mut self, pieces: &[&str]) -> String {
        let length = self.next() % 24;
        (0..length).map(|_| pieces[self.next() % pieces.len()]).collect()
    }
}

#[tokio::test]
async fn no_noise_brings_a_handler_down() {
    let site = Site::new().await;
    site.create("", "a", PARAMETERIZED).await;
    site.admin().form("/job/a/buildWithParameters", "A=1").await;
    let path = [
        "/",
        "job",
        "/a",
        "%2e%2e",
        "%00",
        "%ff",
        "/api/json",
        "/1",
        "lastBuild",
        "queue",
        "/item",
        "/computer",
        "x",
        "*",
        "~",
        ";",
        "%25",
    ];
    let query = [
        "tree=", "depth=", "jobs", "[", "]", "%7B", "%7D", ",", "1", "*", "&", "=", "xpath=", "//", "/*",
        "wrapper=", "start=", "-", "pretty", "%",
    ];
    let form = [
        "json=",
        "{",
        "}",
        "\"parameter\"",
        ":",
        "[",
        "]",
        "\"name\"",
        "null",
        "&",
        "name=",
        "mode=copy",
        "from=",
        "delay=",
        "9",
        "é",
        "\u{0}",
    ];
    let part = [
        "--q",
        "\r\n",
        "Content-Disposition: form-data; name=",
        "\"",
        "; filename=",
        "A",
        "--",
        ":",
        "\u{1}",
    ];
    let mut noise = Noise(0x5eed);
    for round in 0..1_500 {
        let address = format!("/{}?{}", noise.text(&path), noise.text(&query));
        let known = ["/api/json?", "/api/xml?", "/job/a/api/python?", "/queue/api/xml?"][round % 4];
        for address in [address, format!("{known}{}", noise.text(&query))] {
            let answer = site.admin().get(&address).await;
            assert_ne!(answer.status, 500, "GET {address}");
        }
        let target = ["/createItem", "/job/a/build", "/job/a/buildWithParameters", "/computer/doCreateItem"]
            [round % 4];
        let body = noise.text(&form);
        assert_ne!(site.admin().form(target, &body).await.status, 500, "{target} {body:?}");
        let body = noise.text(&part);
        let client = site.admin().with("content-type", "multipart/form-data; boundary=q");
        assert_ne!(client.send("POST", target, body.clone()).await.status, 500, "{target} {body:?}");
    }
}
