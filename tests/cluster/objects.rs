//! Replicas that keep their objects in a bucket: all in the same, whoever asks, and also after it was away.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::controller::{Controller, LONG, Options, quiet_address, wait};
use crate::support::http::Client;
use crate::support::machines::init;
use crate::support::postgres::Server;
use crate::support::processes::{self, mark};
use crate::support::s3;

const PROGRAM: &str = env!("CARGO_BIN_EXE_majordomo");

/// Longer than what stays in the database, without an agent.
const SCRIPT: &str =
    "for (int i = 0; i < 2000; i++) { echo \"line ${i} of a text that is long enough to be moved\" }";

/// What all replicas of a controller are given.
struct Given {
    root: PathBuf,
    secrets: PathBuf,
}

impl Given {
    fn new(name: &str, server: &Server) -> Given {
        let root = processes::folder(name);
        let secrets = root.join("etc");
        init(&root, &secrets, &server.database());
        Given { root, secrets }
    }

    fn replica(&self, ordinal: u32, objects: &str) -> Replica {
        let name = format!("ci-{ordinal}");
        let (listen, health) = (quiet_address(), quiet_address());
        let log = self.root.join(format!("{name}.log"));
        let mut command = Command::new(PROGRAM);
        command.args(["replica", "--name", &name, "--revision", "r1", "--objects", objects]);
        command.arg("--home").arg(self.root.join(&name)).arg("--secrets").arg(&self.secrets);
        command.args(["--listen", &listen.to_string(), "--health-listen", &health.to_string()]);
        command.env_remove("MAJORDOMO_STORE").envs(s3::environment());
        mark(&mut command, &self.root);
        let output = std::fs::File::create(&log).unwrap();
        let process =
            command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Replica { process, listen, health, log }
    }

    /// All processes end with the first of them that is dropped.
    fn controller(&self, at: &Replica) -> Controller {
        let options = Options { name: "objects", store: None, replicas: 2, agents: 0 };
        Controller::of_machines(self.root.clone(), self.secrets.clone(), at.listen, options)
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        processes::kill_all(&self.root);
        if !std::thread::panicking() {
            let _gone = std::fs::remove_dir_all(&self.root);
        }
    }
}

struct Replica {
    process: Child,
    listen: SocketAddr,
    health: SocketAddr,
    log: PathBuf,
}

impl Replica {
    fn readiness(&self) -> String {
        let reply = Client::bearer(self.health, "nobody").try_get("/readyz");
        reply.map(|reply| reply.text()).unwrap_or_default()
    }

    fn wait_ready(&mut self) {
        wait(LONG, "the replica is ready", || {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", self.said());
            let reply = Client::bearer(self.health, "nobody").try_get("/readyz");
            reply.is_ok_and(|reply| reply.status == 200).then_some(())
        });
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// What it says when it does not start.
    fn refused(mut self) -> String {
        let ended = wait(LONG, "the process ends", || self.process.try_wait().unwrap());
        assert!(!ended.success());
        self.said()
    }

    /// One that waits for somebody to mend something, and says so.
    fn waits(mut self, what: &str) -> String {
        let said = wait(LONG, what, || Some(self.readiness()).filter(|said| said.contains(what)));
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        said
    }
}

fn build(controller: &Controller, number: u64) {
    let asked = controller.client().post(&format!("/job/long/buildWithParameters?ID={number}"));
    assert_eq!(asked.unwrap().status, 201);
    wait(LONG, "the build ends", || {
        let path = format!("/job/long/{number}/api/json?tree=building,result");
        let reply = controller.client().try_get(&path).ok().filter(|reply| reply.status == 200)?;
        let build: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        (build["building"] == false).then(|| assert_eq!(build["result"], "SUCCESS"))
    });
}

fn text(controller: &Controller, number: u64) -> String {
    let text = controller.client().get(&format!("/job/long/{number}/consoleText")).text();
    assert!(text.contains("line 0 of") && text.contains("line 1999 of"), "{} bytes", text.len());
    text
}

fn object(controller: &Controller, number: u64) -> Option<String> {
    let checked = controller.client().json(&format!("/job/long/{number}/verifyLog/api/json"));
    checked["object"].as_str().map(str::to_owned)
}

#[test]
fn logs_go_to_a_bucket_that_all_replicas_share_and_wait_for_one_that_is_away() {
    let server = Server::start().expect("PostgreSQL is not installed: see tests/run");
    let Some(bucket) = s3::Server::start() else { return };
    let url = bucket.url(s3::BUCKET, "ci/acme");
    let given = Given::new("objects", &server);
    let mut replicas = [given.replica(0, &url), given.replica(1, &url)];
    replicas.iter_mut().for_each(Replica::wait_ready);
    let [first, second] = [given.controller(&replicas[0]), given.controller(&replicas[1])];
    first.create_job("long", SCRIPT);
    build(&first, 1);
    let before = text(&first, 1);
    let key = wait(LONG, "the log is an object", || object(&first, 1));
    assert!(key.starts_with("logs/"), "{key}");
    assert_eq!((text(&first, 1) == before, text(&second, 1) == before), (true, true));
    assert!(!first.home.join("objects").exists(), "nothing is beside it");

    others_are_refused(&given, &server, &bucket);
    bucket.pause();
    build(&first, 2);
    let before = text(&second, 2);
    let mut late = given.replica(3, &url);
    wait(LONG, "it says what it waits for", || {
        late.readiness().contains("the object store s3://objects/ci/acme at http://127.0.0.1:").then_some(())
    });
    bucket.resume();
    late.wait_ready();
    wait(Duration::from_secs(120), "the log is an object, later", || object(&first, 2));
    assert_eq!(text(&given.controller(&late), 2), before);
}

/// Each with a sentence, and without harm to those that run.
fn others_are_refused(given: &Given, server: &Server, bucket: &s3::Server) {
    let missing = given.replica(2, &bucket.url("none", "p")).waits("has no such bucket");
    assert!(missing.contains("s3://none/p"), "{missing}");
    let read_only = given.replica(2, &bucket.url(s3::READ_ONLY, "p"));
    read_only.waits("may not write objects in the object store s3://readonly/p");

    for elsewhere in ["", &bucket.url(s3::BUCKET, "elsewhere")] {
        let said = given.replica(2, elsewhere).refused();
        assert!(said.contains("have theirs in s3://objects/ci/acme"), "{said}");
    }
    let said = given.replica(2, "s3://me:hunter2@objects/p").refused();
    assert!(said.contains("a secret stands in the address") && !said.contains("hunter2"), "{said}");

    let other = Given::new("objects-other", server);
    let said = other.replica(0, &bucket.url(s3::BUCKET, "ci/acme")).refused();
    assert!(said.contains("has objects of another home"), "{said}");
}

#[test]
fn a_home_in_which_nothing_is_kept_moves_and_one_with_objects_stays() {
    let server = Server::start().expect("PostgreSQL is not installed: see tests/run");
    let given = Given::new("objects-move", &server);
    let folder = |name: &str| format!("folder:{}", given.root.join(name).display());
    let stop = |mut replica: Replica| {
        replica.process.kill().unwrap();
        replica.process.wait().unwrap();
    };
    // whoever was killed is not waited for longer than a lease
    for place in [String::new(), folder("a"), folder("b")] {
        let mut replica = given.replica(0, &place);
        replica.wait_ready();
        stop(replica);
    }
    let mut replica = given.replica(0, &folder("b"));
    replica.wait_ready();
    let controller = given.controller(&replica);
    controller.create_job("long", SCRIPT);
    build(&controller, 1);
    let key = wait(LONG, "the log is an object", || object(&controller, 1));
    assert!(given.root.join("b").join(key).exists());
    stop(replica);
    for place in ["", &folder("new")] {
        let said = given.replica(0, place).refused();
        assert!(said.contains("none of them would be found: give the former address"), "{place}: {said}");
    }
    let said = given.replica(0, &folder("a")).refused();
    assert!(said.contains("or of this one before it moved"), "{said}");
    // the same folder at another path is the same place; an empty one is not
    std::fs::rename(given.root.join("b"), given.root.join("c")).unwrap();
    let said = given.replica(0, &folder("b")).refused();
    assert!(said.contains("majordomo.json is missing"), "{said}");
    let mut replica = given.replica(0, &folder("c"));
    replica.wait_ready();
    assert!(given.root.join("c/majordomo.json").exists());
    text(&given.controller(&replica), 1);
}
