//! Stories over the router, with a store in memory and clients `anon` and `admin`.

mod bad_input;
mod builds;
mod freestyle;
mod jobs;
mod metrics;
mod nodes;
mod outage;
mod overview;
mod protocol;
mod queue;
mod setup;
mod sign;
mod sockets;
mod users;
mod verify;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use engine::Commands;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use model::{Millis, ReplicaId, ReplicaName, ReplicaState, SystemClock};
use remoting::spools::{SpoolsOf, SpoolsTold};
use security::{Accounts, Keys, Password, Token, hash_password};
use serde_json::Value;
use store::memory::Memory;
use store::{Answer, Chunk, Hidden, Join, Objects, Progress, Store, Taken, User, Write};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::metrics::{Access, Scrapes};
use crate::ports::{
    AgentSockets, App, Arrival, MetricsSource, PeerSockets, Replica, Settings, Spools, Upgraded,
};
use crate::setup::Wizard;
use crate::verify::LogChecks;

pub(super) const PIPELINE: &str = "<?xml version='1.1' encoding='UTF-8'?>\n<flow-definition plugin=\"workflow-job@1400\">\n  <description>d &lt;b&gt;</description>\n  <definition class=\"org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition\"><script>echo 1</script><sandbox>true</sandbox></definition>\n  <disabled>false</disabled>\n</flow-definition>";
pub(super) const FOLDER: &str = "<com.cloudbees.hudson.plugins.folder.Folder><description>f</description></com.cloudbees.hudson.plugins.folder.Folder>";
pub(super) const PARAMETERIZED: &str = "<flow-definition><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>\
    <hudson.model.StringParameterDefinition><name>A</name><description>an a</description><defaultValue>x</defaultValue></hudson.model.StringParameterDefinition>\
    <hudson.model.BooleanParameterDefinition><name>B</name><defaultValue>true</defaultValue></hudson.model.BooleanParameterDefinition>\
    <hudson.model.ChoiceParameterDefinition><name>C</name><choices class=\"java.util.Arrays$ArrayList\"><a class=\"string-array\"><string>one</string><string>two</string></a></choices></hudson.model.ChoiceParameterDefinition>\
    <hudson.model.PasswordParameterDefinition><name>P</name><defaultValue>secret</defaultValue></hudson.model.PasswordParameterDefinition>\
    </parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></flow-definition>";

/// A replica that is ready, and remembers what it was asked.
pub(super) struct Nobody {
    pub(super) state: parking_lot::Mutex<ReplicaState>,
    pub(super) asked: parking_lot::Mutex<Vec<String>>,
    /// What agents say of their spools.
    pub(super) spools: parking_lot::Mutex<Box<SpoolsSay>>,
}

pub(super) type SpoolsSay = dyn Fn(&SpoolsOf) -> Result<SpoolsTold, String> + Send + Sync;

#[async_trait]
impl Spools for Nobody {
    async fn ask(&self, of: &SpoolsOf) -> Result<SpoolsTold, String> {
        (self.spools.lock())(of)
    }

    async fn ask_here(&self, of: &SpoolsOf) -> Result<SpoolsTold, String> {
        self.asked.lock().push(format!("spools of {} {}", of.node, of.instance));
        (self.spools.lock())(of)
    }
}

fn drain(what: &str, within: Option<Duration>) -> String {
    within.map_or_else(|| what.to_owned(), |within| format!("{what} within {} s", within.as_secs()))
}

#[async_trait]
impl Replica for Nobody {
    fn name(&self) -> ReplicaName {
        ReplicaName::parse("acme-0").unwrap()
    }
    fn me(&self) -> ReplicaId {
        ReplicaId { name: self.name(), incarnation: 1 }
    }
    fn drained(&self) -> bool {
        self.asked.lock().iter().any(|asked| asked == "drain")
    }
    fn ends(&self) -> bool {
        self.asked.lock().iter().any(|asked| asked == "stop")
    }
    fn view(&self) -> Arc<cluster::View> {
        let meta = store::Meta {
            controller: "seen before".into(),
            level: 1,
            epoch: 1,
            tick: 1,
            quiet: None,
            restart: store::Restart::default(),
            rollout: None,
            objects: None,
            joined: 1,
        };
        Arc::new(cluster::View { meta, members: vec![], leases: vec![] })
    }
    async fn durability(&self) -> model::overview::Durability {
        model::overview::Durability { engine: "memory".into(), ..Default::default() }
    }
    fn state(&self) -> ReplicaState {
        *self.state.lock()
    }
    fn ready(&self) -> Result<(), String> {
        match self.state() {
            ReplicaState::Ready | ReplicaState::Setup => Ok(()),
            other => Err(format!("it is {}", other.as_str())),
        }
    }
    async fn drain(&self, within: Option<Duration>) {
        self.asked.lock().push(drain("drain", within));
    }
    async fn begin_drain(&self, within: Option<Duration>) {
        self.asked.lock().push(drain("begin drain", within));
    }
    async fn drain_other(&self, who: &ReplicaId, address: &str) -> Result<(), String> {
        self.asked.lock().push(format!("drain {who} at {address}"));
        Ok(())
    }
    async fn stop(&self) {
        self.asked.lock().push("stop".into());
    }
    async fn lapsed(&self, who: ReplicaId) -> Result<bool, store::Error> {
        self.asked.lock().push(format!("lapsed {who}"));
        Ok(true)
    }
}

#[async_trait]
impl AgentSockets for Nobody {
    async fn accept(&self, arrival: Arrival) {
        self.asked.lock().push(format!("agent {} {}", arrival.node, arrival.instance));
    }
}

#[async_trait]
impl PeerSockets for Nobody {
    async fn accept(&self, _remote: Option<std::net::SocketAddr>, _stream: Upgraded) {
        self.asked.lock().push("peer".into());
    }
}

/// What tests count.
const COUNTED: &str = "# HELP majordomo_builds_ended Builds.\n# TYPE majordomo_builds_ended counter\n\
    majordomo_builds_ended_total{replica=\"REPLICA\",result=\"success\"} 3\n\
    # HELP process_start_time_seconds Begin.\n# TYPE process_start_time_seconds gauge\n\
    process_start_time_seconds{replica=\"REPLICA\"} 1700000000.5\n# EOF\n";

#[async_trait]
impl MetricsSource for Nobody {
    fn own(&self) -> String {
        assert!(self.asked.lock().last().is_none_or(|last| last != "panic"), "a test wants it");
        COUNTED.replace("REPLICA", "acme-0")
    }

    async fn others(&self) -> Vec<(ReplicaName, Option<String>)> {
        let name = |name: &str| ReplicaName::parse(name).unwrap();
        vec![(name("acme-1"), Some(COUNTED.replace("REPLICA", "acme-1"))), (name("acme-2"), None)]
    }
}

/// A controller of one replica.
pub(super) struct Site {
    pub(super) store: Arc<dyn Store>,
    pub(super) objects: Arc<dyn Objects>,
    pub(super) keys: Keys,
    pub(super) nobody: Arc<Nobody>,
    pub(super) router: axum::Router,
    pub(super) me: ReplicaId,
    pub(super) accounts: Accounts,
    pub(super) wizard: Wizard,
    /// Of `admin`, whose password is `right`.
    token: Token,
}

/// Hashed once for all tests.
static RIGHT: LazyLock<Hidden> = LazyLock::new(|| Hidden(hash_password(&Password::new("right")).unwrap()));

pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answered {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
}

impl Site {
    pub(super) async fn new() -> Site {
        Site::on(Arc::new(Memory::new())).await
    }

    pub(super) async fn on(store: Arc<dyn Store>) -> Site {
        let (id, full_name) = ("admin".into(), "The Admin".into());
        let user = User { id, full_name, email: String::new(), password: RIGHT.clone(), admin: true };
        store.write(Write::CreateUser(user)).await.unwrap();
        let site = Site::without_users(store).await;
        let (_, token) = site.accounts.generate_token("admin", "tests").await.unwrap();
        Site { token, ..site }
    }

    pub(super) async fn without_users(store: Arc<dyn Store>) -> Site {
        let join = Join {
            name: ReplicaName::parse("acme-0").unwrap(),
            ordinal: 0,
            pid: 42,
            address: "10.0.0.1:1".into(),
            revision: "r1".into(),
            version: "0.1.0".into(),
            level: 1,
            behaviour: 1,
            at: Millis(1_000),
        };
        let Ok(Answer::Joined { incarnation, .. }) = store.write(Write::Join(join.clone())).await else {
            panic!("could not join")
        };
        let me = ReplicaId { name: join.name, incarnation };
        let write = Write::SetState { me: me.clone(), state: ReplicaState::Ready, at: Millis(2_000) };
        store.write(write).await.unwrap();
        let accounts = Accounts::new(Arc::clone(&store));
        let nobody = Arc::new(Nobody {
            state: parking_lot::Mutex::new(ReplicaState::Ready),
            asked: parking_lot::Mutex::default(),
            spools: parking_lot::Mutex::new(Box::new(|_| Err("no connection".to_owned()))),
        });
        let keys = Keys::from_bytes([7; 32]);
        let objects = store.objects();
        let clock = Arc::new(SystemClock::new());
        let wizard = Wizard::default();
        let app = App {
            commands: Commands::alone(Arc::clone(&store), clock),
            accounts: accounts.clone(),
            secrets: Arc::new(keys.clone()),
            agents: Arc::clone(&nobody) as Arc<dyn AgentSockets>,
            peers: Arc::clone(&nobody) as Arc<dyn PeerSockets>,
            spools: Arc::clone(&nobody) as Arc<dyn Spools>,
            replica: Arc::clone(&nobody) as Arc<dyn Replica>,
            metrics: Arc::clone(&nobody) as Arc<dyn MetricsSource>,
            counted: Arc::default(),
            scrapes: Scrapes::default(),
            settings: Settings {
                metrics: Access { open: false, token: Some(keys.metrics_token()) },
                patience: Duration::from_millis(700),
                body_pause: Duration::from_millis(300),
                ..Settings::default()
            },
            log_checks: LogChecks::default(),
            wizard: wizard.clone(),
            tasks: TaskTracker::new(),
        };
        let router = crate::router(app);
        let token = Token::chosen("");
        Site { store, objects, keys, nobody, router, me, accounts, wizard, token }
    }

    /// Someone who has not signed in.
    pub(super) fn anon(&self) -> Client<'_> {
        Client { site: self, headers: vec![] }
    }

    /// With an API token.
    pub(super) fn admin(&self) -> Client<'_> {
        self.basic("admin", self.token.expose())
    }

    pub(super) fn basic(&self, user: &str, secret: &str) -> Client<'_> {
        let pair = STANDARD.encode(format!("{user}:{secret}"));
        self.anon().with("authorization", &format!("Basic {pair}"))
    }

    /// Signs in with a browser; the cookie.
    pub(super) async fn browse(&self, user: &str, password: &str) -> String {
        let form = format!("j_username={user}&j_password={password}");
        let answer = self.anon().form("/j_spring_security_check", &form).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "http://ci:8080/"));
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    }

    /// A user with a password that is like the name; the API token.
    pub(super) async fn user(&self, id: &str, admin: bool) -> String {
        let form = format!("username={id}&password1={id}&password2={id}&fullname=&admin={admin}");
        let answer = self.admin().form("/securityRealm/createAccountByAdmin", &form).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("location")),
            (302, "http://ci:8080/securityRealm/")
        );
        self.accounts.generate_token(id, "t").await.unwrap().1.expose().to_owned()
    }

    /// Whoever looks after the replicas.
    pub(super) fn peer(&self) -> Client<'_> {
        let token = format!("Bearer {}", self.keys.peer_token());
        self.anon().with("authorization", &token)
    }

    pub(super) async fn create(&self, folder: &str, name: &str, xml: &str) {
        let answer = self.admin().xml(&format!("{folder}/createItem?name={name}"), xml).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Takes the oldest item of the queue, as the scheduler does.
    pub(super) async fn take(&self) -> Taken {
        let id = self.store.queue().await.unwrap().first().unwrap().id;
        let owner = self.me.clone();
        let take =
            Write::TakeBuild { id, owner, exclusive: false, behaviour: 1, at: Millis(5_000), executor: None };
        match self.store.write(take).await {
            Ok(Answer::Taken(taken)) => taken,
            other => panic!("{other:?}"),
        }
    }

    /// Commits a guarded write of the build.
    pub(super) async fn progress(&self, taken: &Taken, seq: i64, log: &str, effects: Vec<store::Effect>) {
        let from = self.store.log(taken.build, 0, 0).await.unwrap().unwrap().end;
        let bytes = Bytes::copy_from_slice(log.as_bytes());
        let chunk = Chunk::new(from, String::new(), (0, 0), Millis(1), bytes);
        let progress = Progress {
            build: taken.build,
            owner: taken.owner,
            fence: taken.fence,
            seq,
            first_record: 0,
            records: vec![],
            chunks: if log.is_empty() { vec![] } else { vec![chunk] },
            log_end: from + log.len() as u64,
            effects,
        };
        self.store.write(Write::Progress(Box::new(progress))).await.unwrap();
    }
}

#[derive(Clone)]
pub(super) struct Client<'a> {
    site: &'a Site,
    headers: Vec<(String, String)>,
}

impl Client<'_> {
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(super) async fn send(&self, method: &str, path: &str, body: impl Into<Body>) -> Answered {
        let mut request = Request::builder().method(method).uri(path).header("host", "ci:8080");
        request = request.extension(crate::request::Remote(([127, 0, 0, 1], 4_711).into()));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.site.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { status: head.status, headers: head.headers, body }
    }

    pub(super) async fn get(&self, path: &str) -> Answered {
        self.send("GET", path, Body::empty()).await
    }

    pub(super) async fn post(&self, path: &str) -> Answered {
        self.send("POST", path, Body::empty()).await
    }

    pub(super) async fn xml(&self, path: &str, xml: &str) -> Answered {
        self.clone().with("content-type", "text/xml; charset=utf-8").send("POST", path, xml.to_owned()).await
    }

    pub(super) async fn form(&self, path: &str, form: &str) -> Answered {
        let client = self.clone().with("content-type", "application/x-www-form-urlencoded");
        client.send("POST", path, form.to_owned()).await
    }

    /// The JSON of an answer that must be 200.
    pub(super) async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }
}
