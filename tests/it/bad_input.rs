//! Clients that send rubbish, too much, or too slowly.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::harness::{Answer, Client, Controller, job_xml, shared};

fn jobs(it: &Controller) -> Vec<String> {
    let root = it.admin.json("/api/json?tree=jobs[name]");
    root["jobs"].as_array().unwrap().iter().map(|j| j["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn names_that_cannot_be_are_refused_and_make_nothing() {
    let it = shared();
    it.admin.create_job("Case", "echo 'x'");
    let long = "n".repeat(201);
    let names = ["..", ".", "a%2Fb", "a%5Cb", "a%00b", "a%0Ab", "a%1Bb", "", "x.", "a%3Cb", "cASE", &long];
    for name in names {
        let refused = it.admin.xml(&format!("/createItem?name={name}"), &job_xml("x"));
        assert_eq!(refused.status, 400, "{name}: {}", refused.text());
        assert!(!refused.header("x-error").is_empty(), "{name}");
        let json = "json=%7B%22numExecutors%22%3A1%2C%22remoteFS%22%3A%22%2Fx%22%7D";
        if name != "cASE" {
            let refused = it
                .admin
                .form(&format!("/computer/doCreateItem?name={name}&type=hudson.slaves.DumbSlave"), json);
            assert_eq!(refused.status, 400, "node {name}: {}", refused.text());
        }
    }
    let same = jobs(it).iter().filter(|j| j.eq_ignore_ascii_case("case")).count();
    assert_eq!(same, 1);
    it.admin.get("/job/cASE/api/json").expect(404);
    for path in [
        "/job/../../etc/passwd",
        "/job/..%2f..%2fetc/config.xml",
        "/static/..%2f..%2fhome.json",
        "/%00",
        "/job/%ff/",
    ] {
        let status = it.admin.get(path).status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
    it.unharmed();
}

#[test]
fn configurations_that_are_no_xml_or_bombs_are_refused() {
    let it = shared();
    it.admin.create_job("kept", "echo 'kept'");
    let before = it.admin.get("/job/kept/config.xml").text();
    let mut bomb = String::from("<!DOCTYPE x [<!ENTITY a0 \"ha\">");
    for n in 1..20 {
        bomb.push_str(&format!("<!ENTITY a{n} \"{}\">", format!("&a{};", n - 1).repeat(10)));
    }
    bomb.push_str("]><flow-definition><description>&a19;</description></flow-definition>");
    let file = "<!DOCTYPE x [<!ENTITY f SYSTEM \"file:///etc/passwd\">]><flow-definition><description>&f;</description></flow-definition>";
    let deep = "<a>".repeat(100_000);
    let attributes = format!(
        "<flow-definition {}/>",
        (0..50_000).map(|n| format!("a{n}=''")).collect::<Vec<_>>().join(" ")
    );
    for xml in ["", "{}", "<flow-definition>", "<a/><b/>", "<unknown/>", "\u{0}", &bomb, file, &deep] {
        for path in ["/createItem?name=bomb", "/job/kept/config.xml"] {
            let refused = it.admin.xml(path, xml);
            let shown: String = xml.chars().take(30).collect();
            assert_eq!(refused.status, 400, "{path} {shown}");
            let said = refused.header("x-error");
            assert!(!said.is_empty() && !said.contains("root:"), "{shown}: {said}");
        }
    }
    let odd = it.admin.xml("/createItem?name=bomb", &attributes);
    assert!(matches!(odd.status, 200 | 400), "{}", odd.status);
    assert_eq!(it.admin.get("/job/kept/config.xml").text(), before);
    assert!(odd.status == 200 || !jobs(it).contains(&"bomb".to_owned()));
    it.unharmed();
}

#[test]
fn forms_and_parameters_that_are_rubbish_are_refused() {
    let it = shared();
    let script = "properties([parameters([string(name: 'A', defaultValue: '1')])])\necho 'x'";
    it.admin.create_job("forms", script);
    let deep = "[".repeat(200_000);
    for json in ["", "{", "[]", "1", "%00", deep.as_str()] {
        let refused = it.admin.form(
            "/computer/doCreateItem?name=rubbish&type=hudson.slaves.DumbSlave",
            &format!("json={json}"),
        );
        assert_eq!(refused.status, 400, "{}", &json[..json.len().min(20)]);
    }
    for path in [
        "/queue/cancelItem",
        "/queue/cancelItem?id=x",
        "/job/forms/build?delay=soon",
        "/computer/doCreateItem?type=hudson.slaves.DumbSlave",
    ] {
        let status = it.admin.post(path).status;
        assert!(matches!(status, 400 | 404), "{path}: {status}");
    }
    it.admin.post("/queue/cancelItem?id=999999999").expect(404);
    for query in ["depth=x", "tree=a%5B", "tree=%5D", "start=x"] {
        let path =
            if query.starts_with("start") { "/job/forms/1/logText/progressiveText" } else { "/api/json" };
        let status = it.admin.get(&format!("{path}?{query}")).status;
        assert!(matches!(status, 400 | 404), "{query}: {status}");
    }
    let nested = format!("/api/json?tree={}a{}", "a[".repeat(10_000), "]".repeat(10_000));
    assert!(matches!(it.admin.get(&nested).status, 400 | 414 | 431));
    it.admin.get("/api/json?depth=999").expect(200);
    it.admin.get("/computer/rubbish/api/json").expect(404);
    it.unharmed();
}

#[test]
fn bodies_that_are_too_large_are_refused_with_413() {
    // its memory is looked at
    let it = &Controller::start(1, 1);
    let before = it.memory();
    let large = vec![b'x'; 64 << 20];
    for path in ["/createItem?name=large", "/computer/doCreateItem?name=large", "/job/nothing/build"] {
        assert_eq!(
            it.admin.send("POST", path, &[("Content-Type", "text/xml")], &large).status,
            413,
            "{path}"
        );
    }
    // chunks without end
    let mut stream = it.admin.connect();
    let authorization = it.admin.authorization.clone().unwrap();
    let head = format!(
        "POST /createItem?name=large HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
    for _ in 0..512 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let answer = Answer::read(&mut stream, false).expect("an answer");
    assert_eq!(answer.status, 413);
    assert!(it.memory() < before + 100, "{} MiB", it.memory());
    // heads
    let huge = "h".repeat(1_000_000);
    let status = it.admin.send("GET", "/", &[("X-Huge", &huge)], b"").status;
    assert!(matches!(status, 400 | 431), "{status}");
    it.unharmed();
}

#[test]
fn slow_clients_are_left_and_others_are_served_meanwhile() {
    let it = shared();
    let mut slow: Vec<_> = (0..200).map(|_| it.admin.connect()).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /api/json HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    }
    let mut body = it.admin.connect();
    let authorization = it.admin.authorization.clone().unwrap();
    let head = format!(
        "POST /createItem?name=slow HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: 1000\r\n\r\n<flow"
    );
    body.write_all(head.as_bytes()).unwrap();
    let began = Instant::now();
    let mut served = 0;
    let mut left = false;
    while began.elapsed() < Duration::from_secs(45) && !left {
        let asked = Instant::now();
        it.admin.get("/api/json?tree=mode").expect(200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        served += 1;
        for stream in &mut slow {
            let _one_more_byte = stream.write_all(b"s");
        }
        std::thread::sleep(Duration::from_millis(500));
        let mut byte = [0];
        let ended = |stream: &mut std::net::TcpStream| {
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            match stream.read(&mut byte) {
                Ok(read) => read < 2,
                Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        };
        left = slow.iter_mut().all(ended);
    }
    assert!(left && served > 1);
    let answer = Answer::read(&mut body, false).expect("an answer to the slow body");
    assert_eq!(answer.status, 408);
    it.admin.get("/job/slow/api/json").expect(404);
    it.unharmed();
}

#[test]
fn wrong_passwords_are_slowed_down_and_the_right_one_still_works() {
    let it = shared();
    let mut statuses = Vec::new();
    for n in 0..15 {
        statuses.push(
            Client::user(it.admin.address, "nobody-at-all", &format!("guess {n}")).get("/api/json").status,
        );
    }
    assert!(statuses.iter().all(|s| matches!(s, 401 | 429)), "{statuses:?}");
    for authorization in ["Basic", "Basic !!!", "Basic YQ==", "Bearer x", "Digest username=admin", "\u{7f}"] {
        let client = Client { address: it.admin.address, authorization: Some(authorization.to_owned()) };
        let status = client.get("/api/json").status;
        assert!(matches!(status, 400 | 401), "{authorization}: {status}");
    }
    it.admin.get("/api/json").expect(200);
    for path in ["/admin/stop", "/admin/drain", "/admin/lapsed", "/peer/ws"] {
        let method = if path == "/peer/ws" { "GET" } else { "POST" };
        let status = it.admin.send(method, path, &[], b"{}").status;
        assert!(matches!(status, 400 | 401 | 403), "{path}: {status}");
    }
    it.unharmed();
}

#[test]
fn what_is_no_http_harms_nobody() {
    let it = shared();
    let noise: Vec<Vec<u8>> = vec![
        b"\0\0\0\0".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        [b"GET /".as_slice(), &[b'a'; 200_000], b" HTTP/1.1\r\n\r\n"].concat(),
        [b"GET / HTTP/1.1\r\n".as_slice(), &b"A: b\r\n".repeat(10_000), b"\r\n"].concat(),
        b"POST /createItem HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /createItem HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_vec(),
    ];
    for bytes in noise {
        let mut stream = it.admin.connect();
        let _refused = stream.write_all(&bytes);
        let _done = stream.shutdown(std::net::Shutdown::Write);
        if let Some(answer) = Answer::read(&mut stream, false) {
            assert!((400..=505).contains(&answer.status) && answer.status != 500, "{}", answer.text());
        }
    }
    it.unharmed();
}

#[test]
fn jenkinsfiles_made_to_hurt_end_with_a_sentence() {
    let it = shared();
    let nested = format!("def x = {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    let closures = "{".repeat(20_000);
    for (name, script) in [
        ("nested", nested.as_str()),
        ("closures", &closures),
        ("recursive", "def f(n) { return f(n + 1) }\nf(0)"),
        ("growing", "def s = 'x'\nwhile (true) { s = s + s }"),
        ("list", "def l = [1]\nwhile (true) { l.addAll(l) }"),
        ("string", "def s = 'abc' * 2000000000\necho s"),
        ("host", "println new File('/etc/passwd').text"),
        ("process", "'id'.execute()"),
        ("system", "System.exit(1)"),
        ("jenkins", "Jenkins.instance.doExit()"),
    ] {
        let (result, console) = it.admin.try_script(&format!("hurt-{name}"), script);
        assert_eq!(result, "FAILURE", "{name}: {console}");
        assert!(console.len() < 100_000 && !console.contains("root:"), "{name}");
        assert!(console.lines().count() >= 3, "{name}: {console}");
    }
    // one that never ends starves nobody, and can be stopped
    it.admin.create_job("hurt-loop", "while (true) { }");
    let number = it.admin.follow(&it.admin.trigger("hurt-loop", "build"));
    let (result, _) = it.admin.try_script("beside-the-loop", "node { sh 'echo alive' }");
    assert_eq!(result, "SUCCESS");
    it.admin.post(&format!("/job/hurt-loop/{number}/stop")).expect(302);
    let ended = it.admin.result("hurt-loop", number);
    assert!(matches!(ended.as_str(), "ABORTED" | "FAILURE"), "{ended}");
    it.unharmed();
}
