//! The cluster that all tests of this process share: stood up by the first that asks, taken down when the process ends, in
//! whatever way. The scripts of `tests/kube/cluster` do the work.
//!
//! `MAJORDOMO_KUBE=required`: not to run is a failure; `off`: nothing runs. `MAJORDOMO_KUBE_ID=`: the id of a cluster that stands
//! already (`NS` of `up.sh`) and is left standing.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "test support; no test uses all of it")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::kubectl::Kubectl;
use super::objects::Objects;
use crate::common::processes::folder;

pub(crate) const NODES: u8 = 3;
/// Where tests are in the cluster's network: behind it, as users are. NodePorts answer there too.
pub(crate) const OUTSIDE: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 10, 0, 100);
/// The ingress controller's port at `OUTSIDE`, which leads to that of any node.
pub(crate) const INGRESS: u16 = 30080;

/// The ingress controller of a node; nodes are counted from 1.
pub(crate) fn node_ingress(node: u8) -> SocketAddr {
    SocketAddr::from(([10, 10, 0, node], 80))
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_majordomo");

pub(crate) struct Cluster {
    id: String,
    state: PathBuf,
    /// Images of this process.
    images: PathBuf,
    /// Takes the cluster down when its input ends: that is when this process does. Nothing for one that somebody stood up by hand.
    holder: Option<Child>,
    /// Whoever breaks what others need is alone.
    peace: RwLock<()>,
    runtime: OnceLock<tokio::runtime::Runtime>,
    objects: OnceLock<Objects>,
}

/// Why there is none.
enum No {
    /// The machine can't.
    NotHere(String),
    /// It should stand, and does not.
    Fallen(String),
}

/// The cluster; nothing where the machine can't carry it, said on stderr.
pub(crate) fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Result<Cluster, No>> = OnceLock::new();
    match CLUSTER.get_or_init(Cluster::stand_up) {
        Ok(cluster) => Some(cluster),
        Err(No::NotHere(why)) => {
            not_run(why);
            None
        }
        Err(No::Fallen(why)) => panic!("the cluster does not stand: {why}"),
    }
}

/// Says aloud that the calling test shows nothing.
pub(crate) fn not_run(why: &str) {
    let required = std::env::var("MAJORDOMO_KUBE").is_ok_and(|value| value == "required");
    assert!(!required, "NOT RUN: {why}");
    // not by `eprintln!`, which is hidden when the test passes
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    std::io::stderr().write_all(format!("NOT RUN: {test}: {why}\n").as_bytes()).unwrap();
}

/// The newest PostgreSQL of this machine, of which `images.sh` makes the image `postgres:VERSION`.
pub(crate) fn postgres() -> Option<u32> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).max()
}

/// Looks until there is something to be seen.
pub(crate) fn wait<T>(most: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    wait_or(most, what, look, String::new)
}

/// As `wait`; says why not, when it gives up.
pub(crate) fn wait_or<T>(
    most: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    why: impl FnOnce() -> String,
) -> T {
    let deadline = Instant::now() + most;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() > deadline {
            panic!("waited {most:?} in vain until {what}\n{}", why());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

impl Cluster {
    fn stand_up() -> Result<Cluster, No> {
        let by_hand = std::env::var("MAJORDOMO_KUBE_ID").ok();
        let id = by_hand.clone().unwrap_or_else(|| format!("mjd{}", std::process::id()));
        let state = Path::new("/run/majordomo-kube").join(&id);
        let images = folder("kube");
        let mut cluster = Cluster {
            id,
            state,
            images,
            holder: None,
            peace: RwLock::default(),
            runtime: OnceLock::new(),
            objects: OnceLock::new(),
        };
        cluster.prepare().map_err(No::NotHere)?;
        if by_hand.is_none() {
            cluster.holder = Some(cluster.hold());
        }
        cluster.fill().map_err(No::Fallen)?;
        Ok(cluster)
    }

    fn prepare(&self) -> Result<(), String> {
        if std::env::var("MAJORDOMO_KUBE").is_ok_and(|value| value == "off") {
            return Err("MAJORDOMO_KUBE=off".to_owned());
        }
        self.attempt("check.sh", &[])?;
        // at once when they are built; that they can't be is no fault of what is tested
        self.attempt("build.sh", &[])?;
        self.attempt("images.sh", &["base"])
    }

    /// Makes the images while the cluster comes up, and gives them to it.
    fn fill(&mut self) -> Result<(), String> {
        let mut archives = vec![self.try_image("broken", &[])?];
        archives.push(self.try_image("majordomo", &[PROGRAM, "dev"])?);
        archives.push(self.try_image("agent", &[PROGRAM, "dev"])?);
        if postgres().is_some() {
            archives.push(self.try_image("postgres", &[])?);
        }
        if let Some(said) = self.holder.as_mut().and_then(|holder| holder.stdout.as_mut()) {
            let mut line = String::new();
            BufReader::new(said).read_line(&mut line).map_err(|e| e.to_string())?;
            if line != "ready\n" {
                return Err("what hold.sh has said is above".to_owned());
            }
        }
        self.try_load(&archives)?;
        // 300 MB that nobody needs any more
        archives.iter().try_for_each(std::fs::remove_file).map_err(|e| e.to_string())
    }

    fn hold(&self) -> Child {
        let mut hold = self.script("hold.sh");
        hold.env("NODES", NODES.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        // in a group of its own an interrupt at the terminal does not reach it: it has to take the cluster down
        hold.process_group(0).spawn().unwrap()
    }

    /// Makes an image; its archive. `images.sh` says which there are.
    pub(crate) fn image(&self, kind: &str, arguments: &[&str]) -> PathBuf {
        self.try_image(kind, arguments).unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_image(&self, kind: &str, arguments: &[&str]) -> Result<PathBuf, String> {
        let name: Vec<&str> = [kind].iter().chain(arguments.get(1)).copied().collect();
        let archive = self.images.join(format!("{}.tar", name.join("-")));
        let mut all = vec![kind];
        all.extend(arguments);
        all.push(archive.to_str().ok_or("the folder for images has no proper name")?);
        self.attempt("images.sh", &all)?;
        Ok(archive)
    }

    /// Gives images to all nodes.
    pub(crate) fn load(&self, archives: &[PathBuf]) {
        self.try_load(archives).unwrap_or_else(|why| panic!("{why}"));
    }

    fn try_load(&self, archives: &[PathBuf]) -> Result<(), String> {
        let archives: Vec<&str> = archives.iter().filter_map(|path| path.to_str()).collect();
        self.attempt("load-image", &archives)
    }

    fn script(&self, name: &str) -> Command {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube/cluster").join(name);
        let mut script = Command::new(path);
        script.env("NS", &self.id).env("STATE", &self.state);
        script
    }

    fn attempt(&self, script: &str, arguments: &[&str]) -> Result<(), String> {
        let Output { status, stderr, .. } = self.script(script).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        if status.success() { Ok(()) } else { Err(format!("{script} {arguments:?}: {}", said.trim())) }
    }

    fn run(&self, script: &str, arguments: &[&str]) {
        self.attempt(script, arguments).unwrap_or_else(|why| panic!("{why}"));
    }

    /// Breaks a part, as `faults.sh` says. It is mended at the latest when the value is dropped.
    pub(crate) fn broken(&self, fault: &[&str]) -> Broken<'_> {
        let mend = match fault {
            [verb, node] if verb.starts_with("node-") => vec!["node-start".to_owned(), (*node).to_owned()],
            ["api-stop"] => vec!["api-start".to_owned()],
            ["api-pause"] => vec!["api-resume".to_owned()],
            other => panic!("nobody knows how to mend {other:?}"),
        };
        self.run("faults.sh", fault);
        Broken { cluster: self, mend }
    }

    /// For tests that need all nodes and the API server; they run beside each other.
    pub(crate) fn peace(&self) -> RwLockReadGuard<'_, ()> {
        self.peace.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// For tests that break what others need. They mend it before they let go.
    pub(crate) fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.peace.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A program in the cluster's network.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.net().display())).arg("--").arg(program);
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }

    /// `kubectl` outside of any namespace; `Kubectl::namespace` makes one.
    pub(crate) fn kubectl(&self) -> Kubectl {
        let k = self.script("k").get_program().into();
        let objects = || Objects::new(&self.kubeconfig(), self.runtime().handle());
        let objects = self.objects.get_or_init(objects).clone();
        Kubectl::new(k, [("NS", self.id.clone().into()), ("STATE", self.state.clone().into())], objects)
    }

    /// Helm, as an administrator of the cluster.
    pub(crate) fn helm(&self) -> Command {
        self.script("helm")
    }

    fn net(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.id)
    }

    /// Executes it on a thread that is in the cluster's network.
    pub(crate) fn inside<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let net = File::open(self.net()).unwrap();
        let inside = || {
            enter(&net);
            act()
        };
        std::thread::scope(|scope| match scope.spawn(inside).join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }

    /// A runtime whose threads are in the cluster's network. What is given to its `block_on` is *not*, as it runs on the
    /// caller's thread; `block_on` of the cluster takes care of that.
    pub(crate) fn runtime(&self) -> &tokio::runtime::Runtime {
        self.runtime.get_or_init(|| {
            let net = File::open(self.net()).unwrap();
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(2).enable_all().on_thread_start(move || enter(&net)).build().unwrap()
        })
    }

    /// Waits for it, on a thread in the cluster's network.
    pub(crate) fn block_on<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> T {
        match self.runtime().block_on(self.runtime().spawn(task)) {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// A part of the cluster that does not work now.
pub(crate) struct Broken<'a> {
    cluster: &'a Cluster,
    /// Empty: it is mended.
    mend: Vec<String>,
}

impl Broken<'_> {
    pub(crate) fn mend(mut self) {
        self.act().unwrap_or_else(|why| panic!("{why}"));
    }

    fn act(&mut self) -> Result<(), String> {
        let mend = std::mem::take(&mut self.mend);
        let mend: Vec<&str> = mend.iter().map(String::as_str).collect();
        if mend.is_empty() { Ok(()) } else { self.cluster.attempt("faults.sh", &mend) }
    }
}

impl Drop for Broken<'_> {
    fn drop(&mut self) {
        if let Err(why) = self.act() {
            eprintln!("{why}");
        }
    }
}

/// The calling thread is in this network from now on.
fn enter(net: &File) {
    move_into_link_name_space(net.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}
