//! Planted secrets, in all the places where they were ever met.

use serde_json::{Value, json};

use crate::scrub::Scrubber;

fn values() -> Vec<(String, Vec<u8>)> {
    let long = "0123456789abcdef".repeat(4);
    [
        ("password", "hunter2!x".to_owned()),
        ("username", "majordomo".to_owned()),
        ("encryption.keys", format!("{long}\n{}\n", long.replace('0', "f"))),
        ("url", "postgres://ci:Sl@sh/ed%20pw@db/ci".to_owned()),
        ("ci.yaml", "jenkins:\n  password: \"swordfish\"\n  systemMessage: hello\n".to_owned()),
        (".dockerconfigjson", r#"{"auths":{"r":{"username":"registry","password":"pa55word"}}}"#.to_owned()),
        ("short", "abc".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value.into_bytes()))
    .into()
}

fn scrubbed(text: &str) -> String {
    Scrubber::new(&values()).text(text)
}

#[test]
fn values_of_secrets_are_found_wherever_they_are() {
    for (text, clean) in [
        ("it said hunter2!x loudly", "it said *** loudly"),
        ("aHVudGVyMiF4 and hunter2%21x", "*** and ***"),
        ("[0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef]", "[***]"),
        ("it is swordfish", "it is ***"),
        ("pa55word of registry", "*** of registry"),
        ("Sl@sh/ed%20pw was refused", "*** was refused"),
        // what every text is full of stays
        ("user majordomo of jenkins: abc", "user majordomo of jenkins: abc"),
    ] {
        assert_eq!(scrubbed(text), clean);
    }
}

#[test]
fn what_looks_like_a_secret_is_hidden_though_nobody_knows_it() {
    let scrubber = Scrubber::new(&[]);
    let token = format!("11{}", "ab".repeat(16));
    let key = "c0ffee00".repeat(8);
    for (text, clean) in [
        ("store=postgres://u:PASS@db:5432/ci?x=1", "store=postgres://u:***@db:5432/ci?x=1"),
        ("at postgresql://u:p@ss/w:rd@db/ci failed", "at postgresql://u:***@db/ci failed"),
        ("redis://:PASSWORD@h", "redis://:***@h"),
        ("postgres://u:pa'ss<w@rd@db/ci failed", "postgres://u:***@db/ci failed"),
        ("https://ghp_0123456789abcdefghij@github.com/x", "https://***@github.com/x"),
        ("postgres://db/ci?user=me&password=PASS&x=1", "postgres://db/ci?user=me&password=***&x=1"),
        ("PGPASSWORD=PASS psql", "PGPASSWORD=*** psql"),
        ("api_key: PASS, next: x", "api_key: ***, next: x"),
        (r#"{"password":"PA\"SS","next":1}"#, r#"{"password":***,"next":1}"#),
        (r#"said "{\"token\":\"PASS\",\"next\":1}""#, r#"said "{\"token\":***,\"next\":1}""#),
        ("Authorization: Bearer PASSPASSPASS x", "Authorization: *** x"),
        ("sent basic dTpwYXNzd29yZA== along", "sent basic *** along"),
        ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl then", "got *** then"),
        ("key -----BEGIN EC PRIVATE KEY-----\nPASS\n-----END EC PRIVATE KEY----- end", "key *** end"),
        ("cut -----BEGIN PRIVATE KEY-----\nPASS", "cut ***"),
        ("a:\n  password: |-\n    PASS\n\n    PASS\n  next: x\n", "a:\n  password: ***\n  next: x\n"),
        (&format!("user said {token}."), "user said ***."),
        (&format!("[{key}]"), "[***]"),
    ] {
        assert_eq!(scrubber.text(text), clean);
    }
}

#[test]
fn what_support_needs_stays() {
    let scrubber = Scrubber::new(&values());
    let image = format!("registry/ci@sha256:{}", "c0ffee00".repeat(8));
    for text in [
        image.as_str(),
        "2026-11-26T20:00:00Z INFO replica: ready in 3.1 s http://ci.example.com:80/job/x",
        "postgres://db:5432/ci?sslmode=require",
        "fence 7, revision 0123456789, -----BEGIN CERTIFICATE-----",
        "mail to a@b, see https://h/x:y",
    ] {
        assert_eq!(scrubber.text(text), text);
    }
}

#[test]
fn objects_are_scrubbed_by_the_names_of_their_fields() {
    let mut pod = json!({
        "metadata": {
            "managedFields": [{}],
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "PASS",
                "note": "postgres://u:PASS@h/ci",
            },
        },
        "spec": {
            "containers": [{
                "args": ["--url", "http://h/", "--api-token", "PASS", "--x=y", "--password=PASS"],
                "env": [
                    { "name": "DB_PASSWORD", "value": "PASS" },
                    { "name": "STORE", "value": "postgres://u:PASS@h/ci" },
                    { "name": "TOKEN", "valueFrom": { "secretKeyRef": { "name": "acme", "key": "token" } } },
                ],
            }],
            "volumes": [{ "secret": { "secretName": "acme-keys" } }],
            "automountServiceAccountToken": false,
            "tokens": ["PASS", { "name": "kept" }],
            "configurationAsCode": { "inline": { "jenkins": { "adminPassword": "PASS", "pin_password": 1234 } } },
        },
        "data": { "ci.yaml": "a:\n  secret: PASS\n", "password": "PASS" },
    });
    Scrubber::new(&[]).value(&mut pod);
    let text = pod.to_string();
    assert!(!text.contains("PASS\"") && !text.contains("PASS@") && !text.contains("1234"), "{text}");
    assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], "acme-keys");
    assert_eq!(pod["spec"]["containers"][0]["env"][2]["valueFrom"]["secretKeyRef"]["name"], "acme");
    assert_eq!(pod["spec"]["automountServiceAccountToken"], Value::Bool(false));
    assert_eq!(
        pod["spec"]["containers"][0]["args"],
        json!(["--url", "http://h/", "--api-token", "***", "--x=y", "--password=***"])
    );
    assert_eq!(pod["spec"]["tokens"], json!(["***", { "name": "kept" }]));
    assert_eq!(pod["metadata"], json!({ "annotations": { "note": "postgres://u:***@h/ci" } }));
    assert_eq!(pod["data"]["ci.yaml"], "a:\n  secret: ***\n");
}
