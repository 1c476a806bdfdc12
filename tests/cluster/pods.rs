//! Replicas as pods have them: told by others what they run, given their secrets in a folder, probed at a port of their
//! own, and looked after over TLS by who has the keys.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use model::ReplicaState;
use model::overview::Overview;
use mutual::{Dial, PeerTls};
use rustix::process::Signal;
use security::KeyList;

use crate::support::controller::{LONG, quiet_address, wait};
use crate::support::http::{Client, Reply, parse};
use crate::support::peers::Parent;
use crate::support::postgres::Server;
use crate::support::processes::{self, mark, send};

const PROGRAM: &str = env!("CARGO_BIN_EXE_majordomo");
const PASSWORD: &str = "hush-hush-one";

/// What all pods of a controller are shown.
struct Shown {
    root: PathBuf,
    secrets: PathBuf,
}

impl Shown {
    fn new(name: &str) -> Shown {
        let root = processes::folder(name);
        let secrets = root.join("secrets");
        std::fs::create_dir_all(secrets.join("admin")).unwrap();
        let shown = Shown { root, secrets };
        shown.put("agent.key", &"0a".repeat(32));
        shown.put("peer.keys", &format!("{}\n{}\n", "0b".repeat(32), "0c".repeat(32)));
        shown.put("encryption.keys", &"0d".repeat(32));
        shown.put("admin/username", "root\n");
        shown.put("admin/password", &format!("{PASSWORD}\n"));
        shown.put("metrics-token", "scrape-scrape\n");
        shown
    }

    /// As kubelet does it: there whole or not at all.
    fn put(&self, name: &str, text: &str) {
        let aside = self.secrets.join("aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(aside, self.secrets.join(name)).unwrap();
    }

    fn token(&self) -> String {
        self.keys().peer_token()
    }

    fn keys(&self) -> KeyList {
        KeyList::read(&self.secrets.join("peer.keys")).unwrap()
    }

    fn pod(&self, ordinal: u32) -> Pod {
        self.pod_of(ordinal, "ci/acme", &[])
    }

    fn pod_of(&self, ordinal: u32, controller: &str, more: &[&str]) -> Pod {
        let name = format!("acme-{ordinal}");
        let [listen, peers, health] = [quiet_address(), quiet_address(), quiet_address()];
        let log = self.root.join(format!("{name}.log"));
        let mut command = Command::new(PROGRAM);
        command.args(["replica", "--name", &name, "--controller", controller, "--revision", "r1"]);
        command.arg("--home").arg(self.root.join(&name)).arg("--secrets").arg(&self.secrets);
        command.args(["--listen", &format!(":{}", listen.port()), "--health-listen"]).arg(health.to_string());
        command.args(["--peer-listen", &format!(":{}", peers.port()), "--peer-address", &peers.to_string()]);
        command.args(more);
        command.env("MAJORDOMO_ORDINAL", ordinal.to_string()).env_remove("MAJORDOMO_STORE");
        command.env("MAJORDOMO_METRICS_TOKEN_FILE", self.secrets.join("metrics-token"));
        mark(&mut command, &self.root);
        let output = std::fs::File::create(&log).unwrap();
        let process =
            command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Pod { process, listen, peers, health, log }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        processes::kill_all(&self.root);
        if !std::thread::panicking() {
            let _gone = std::fs::remove_dir_all(&self.root);
        }
    }
}

struct Pod {
    process: Child,
    listen: SocketAddr,
    peers: SocketAddr,
    health: SocketAddr,
    log: PathBuf,
}

impl Pod {
    /// What a probe gets: the status and the first line; 0: nobody listens.
    fn probe(&self, path: &str) -> (u16, String) {
        match Client::bearer(self.health, "nobody").try_get(path) {
            Ok(reply) => (reply.status, reply.text().lines().next().unwrap_or_default().to_owned()),
            Err(_) => (0, String::new()),
        }
    }

    fn wait_ready(&mut self) {
        wait(LONG, "the pod is ready", || {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.said());
            (self.probe("/readyz").0 == 200).then_some(())
        });
    }

    fn user(&self) -> Client {
        Client::new(self.listen, "root", PASSWORD)
    }

    /// What a user with a password posts: that needs a crumb, and the session that comes with it.
    fn posted(&self, path: &str) -> Reply {
        let issued = self.user().get("/crumbIssuer/api/json");
        let cookie = issued.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let crumb: serde_json::Value = serde_json::from_slice(&issued.body).unwrap();
        let user = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("root:{PASSWORD}"));
        let mut stream = TcpStream::connect(self.listen).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Basic {user}\r\n\
             Cookie: {cookie}\r\nJenkins-Crumb: {}\r\nContent-Length: 0\r\n\r\n",
            self.listen,
            crumb["crumb"].as_str().unwrap()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        parse(&answer).unwrap()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn signal(&self, signal: Signal) {
        assert!(send(self.process.id(), signal));
    }

    /// Its status when it has ended.
    fn ended(&mut self) -> Option<i32> {
        wait(LONG, "the process ends", || self.process.try_wait().unwrap()).code()
    }
}

impl Shown {
    fn operator(&self) -> Parent {
        Parent::of(&self.secrets.join("peer.keys"))
    }
}

fn post(parent: &Parent, pod: &Pod, path: &str, body: &str) -> Reply {
    parent.ask(pod.peers, "POST", path, body).unwrap()
}

fn overview(parent: &Parent, pod: &Pod) -> Overview {
    let reply = parent.ask(pod.peers, "GET", "/admin/overview", "").unwrap();
    assert_eq!(reply.status, 200, "{}", reply.text());
    serde_json::from_slice(&reply.body).unwrap()
}

fn states(seen: &Overview) -> Vec<(&str, Option<ReplicaState>)> {
    seen.members.iter().map(|member| (member.name.as_str(), member.state)).collect()
}

/// A database in which only `ci` is let in, with a password. Its URL with another one. The database `empty` is another one.
fn database(server: &Server) -> impl Fn(&str) -> String {
    server.sql("postgres", "CREATE ROLE ci LOGIN PASSWORD 'right'");
    let url = server.database();
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    server.sql("postgres", &format!("ALTER DATABASE {name} OWNER TO ci"));
    server.sql("postgres", "CREATE DATABASE empty OWNER ci");
    server.require_passwords();
    move |password| url.replace("postgres@", &format!("ci:{password}@"))
}

#[test]
fn a_pod_waits_for_its_database_serves_is_looked_after_and_ends_in_order() {
    let server = Server::start().expect("PostgreSQL is not installed: see tests/run");
    let url = database(&server);
    let shown = Shown::new("pods");
    shown.put("store", &url("wrong-wrong"));
    let mut pods = [shown.pod(0), shown.pod(1)];
    for pod in &pods {
        wait(LONG, "it says what it waits for", || {
            pod.probe("/readyz").1.contains("refuses the user “ci”").then_some(())
        });
        assert_eq!(pod.probe("/healthz"), (200, "ok".to_owned()));
        assert_eq!((pod.probe("/metrics").0, pod.probe("/api/json").0), (503, 404));
        assert!(TcpStream::connect(pod.listen).is_err(), "nobody is served yet");
    }
    // process 1 of a container hears a signal also now
    let mut waiting = shown.pod(7);
    wait(LONG, "it waits", || (waiting.probe("/readyz").0 == 503).then_some(()));
    waiting.signal(Signal::TERM);
    assert_eq!(waiting.ended(), Some(0), "{}", waiting.said());

    shown.put("store", &format!("{}\n", url("right")));
    pods.iter_mut().for_each(Pod::wait_ready);
    assert_eq!(pods[0].user().get("/whoAmI/api/json").status, 200, "the administrator signs in");
    assert_eq!(pods[0].probe("/metrics").0, 403, "a token that is wrong");
    let scraped = Client::bearer(pods[0].health, "scrape-scrape").try_get("/metrics").unwrap();
    assert!(scraped.status == 200 && scraped.text().contains("majordomo_members"), "{}", scraped.text());
    looked_after(&shown, &pods, &server);
    goes(&shown, &mut pods);

    let mut other = shown.pod_of(3, "ci/other", &[]);
    assert_eq!(other.ended(), Some(2), "{}", other.said());
    let said = other.said();
    assert!(said.contains("belongs to another controller, ci/acme; this home is of ci/other"), "{said}");
    // the address of an empty one does not make it a new controller
    let right = url("right");
    let (before, options) = right.split_once('?').unwrap();
    let (server_of, _) = before.rsplit_once('/').unwrap();
    shown.put("store", &format!("{server_of}/empty?{options}\n"));
    let mut emptied = shown.pod_of(4, "ci/acme", &["--expect-home"]);
    assert_eq!(emptied.ended(), Some(2), "{}", emptied.said());
    let said = emptied.said();
    assert!(said.contains("the database is empty, and ci/acme has run before"), "{said}");
    for pod in pods.iter().chain([&waiting, &other, &emptied]) {
        let said = pod.said();
        for secret in ["wrong-wrong", ":right@", PASSWORD, "scrape-scrape", &"0a".repeat(32), &shown.token()]
        {
            assert!(!said.contains(secret), "{secret} is in: {said}");
        }
    }
}

/// By who has the keys, and by nobody else.
fn looked_after(shown: &Shown, pods: &[Pod; 2], server: &Server) {
    let operator = shown.operator();
    let ready = wait(LONG, "both are seen ready", || {
        let seen = overview(&operator, &pods[0]);
        seen.members.iter().all(|member| member.state == Some(ReplicaState::Ready)).then_some(seen)
    });
    assert_eq!(states(&ready).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["acme-0", "acme-1"]);
    assert_eq!((ready.controller.as_str(), ready.replica.as_str()), ("ci/acme", "acme-0"));
    assert!(ready.store_answers && ready.startup.is_none() && !ready.drained, "{ready:?}");
    assert_eq!(ready.durability.engine, "postgres");
    assert_eq!(ready.members[1].address, pods[1].peers.to_string());
    assert_eq!(ready.members[1].revision, "r1");

    // at the public port there is nothing to be looked after, whoever asks
    let public = Client::bearer(pods[0].listen, &operator.token);
    assert_eq!(public.post("/admin/rollout").unwrap().status, 404);
    assert_eq!(public.try_get("/peer/ws").unwrap().status, 404);
    let ask = |dial: Dial, token: &str| {
        let reply = Parent { dial, token: token.to_owned() }.post(pods[0].peers, "/admin/rollout");
        reply.map(|reply| reply.status).map_err(|error| error.to_string())
    };
    let with = |key: &str| {
        let keys = KeyList::parse(key, Path::new("peer.keys")).unwrap();
        (Dial::Tls(PeerTls::new(keys.clone()).unwrap().operator_client().unwrap()), keys.peer_token())
    };
    assert!(ask(Dial::Plain, &operator.token).is_err(), "in the clear");
    assert!(ask(with(&"0e".repeat(32)).0, &operator.token).unwrap_err().contains("UnknownIssuer"));
    assert_eq!(ask(operator.dial.clone(), "no-token"), Ok(403));
    // all keys of the list are taken; one who has the second only does not know the first in turn
    let (_, second) = with(&"0c".repeat(32));
    assert_eq!(ask(operator.dial.clone(), &second), Ok(200));
    let (both, _) = with(&format!("{}\n{}", "0c".repeat(32), "0b".repeat(32)));
    assert_eq!(ask(both, &second), Ok(200));
    let (alone, _) = with(&"0c".repeat(32));
    assert!(ask(alone, &second).unwrap_err().contains("UnknownIssuer"));
    let scraped = Client::bearer(pods[0].health, "scrape-scrape").try_get("/metrics").unwrap().text();
    assert!(
        scraped.contains("majordomo_peer_handshakes_total{replica=\"acme-0\",outcome=\"refused\"}"),
        "{scraped}"
    );

    // a restart is heard, and left to us
    assert_eq!(pods[1].posted("/restart").status, 302);
    let report = r#"{"phase":"settled","revision":"r1","reason":"","restart":0,"failed":null,"message":"hold on",
        "bake":{"secs":600,"nanos":0}}"#;
    let asked: model::RolloutAsked =
        serde_json::from_slice(&post(&operator, &pods[0], "/admin/rollout", report).body).unwrap();
    assert_eq!((asked.restart, asked.by.as_str()), (1, "root"));
    assert_eq!(overview(&operator, &pods[1]).restart.number, 1);
    let shown = pods[1].user().json("/replicas/api/json?tree=rollout[message]");
    assert_eq!(shown["rollout"]["message"], "hold on");

    server.pause();
    let seen = wait(LONG, "it is seen that the database is away", || {
        let began = Instant::now();
        let seen = overview(&operator, &pods[0]);
        assert!(began.elapsed().as_secs() < 3, "{:?}", began.elapsed());
        (!seen.store_answers).then_some(seen)
    });
    server.resume();
    assert_eq!(seen.members.len(), 2);
    assert!(seen.store_error.is_some() && seen.controller == "ci/acme", "{seen:?}");
    assert_eq!(pods[0].probe("/healthz").0, 200);
    let incarnations = |seen: &Overview| seen.members.iter().map(|m| m.incarnation).collect::<Vec<_>>();
    let after = wait(LONG, "the database is back", || {
        Some(overview(&operator, &pods[0])).filter(|seen| seen.store_answers)
    });
    assert_eq!(incarnations(&after), incarnations(&ready), "nobody has restarted anybody");
}

/// One is drained and told to end, the other gets a signal.
fn goes(shown: &Shown, pods: &mut [Pod; 2]) {
    let operator = shown.operator();
    assert_eq!(post(&operator, &pods[1], "/admin/drain", r#"{"wait":false}"#).status, 200);
    wait(LONG, "it is not ready", || (pods[1].probe("/readyz").0 == 503).then_some(()));
    wait(LONG, "it has handed over", || overview(&operator, &pods[1]).drained.then_some(()));
    assert!(TcpStream::connect(pods[1].listen).is_err(), "it lets nobody in any more");
    assert_eq!(pods[1].probe("/healthz").0, 200, "it stays");
    pods[1].signal(Signal::TERM);
    assert_eq!(pods[1].ended(), Some(0), "{}", pods[1].said());
    wait(LONG, "the other one sees it", || {
        let seen = overview(&operator, &pods[0]);
        (seen.members[1].state == Some(ReplicaState::Stopped)).then_some(())
    });

    pods[0].signal(Signal::TERM);
    let (status, line) =
        wait(LONG, "it is not ready", || Some(pods[0].probe("/readyz")).filter(|p| p.0 != 200));
    assert_eq!((status, line.as_str()), (503, "draining: this replica is draining"));
    // whoever has not heard yet is still served
    assert_eq!(pods[0].user().get("/whoAmI/api/json").status, 200);
    assert!(overview(&operator, &pods[0]).ends);
    assert_eq!(pods[0].ended(), Some(0), "{}", pods[0].said());
    assert_eq!(pods[0].probe("/healthz").0, 0);
}
