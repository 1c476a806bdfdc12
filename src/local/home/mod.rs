//! A home on disk: taken, completed when it is new or half made, left as it was when nothing comes of it.

mod check;
mod identity;
mod revisions;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use security::{Keys, Password, hash_password, random_password, random_token, random_uuid, token_hash};

pub use check::ensure_usable;
pub(crate) use revisions::Revisions;

use identity::{FORMAT, Identity, identity};

use crate::bootstrap::{Administrator, Bootstrap, BootstrapItem, BootstrapNode, BootstrapToken};
use crate::files::{private_folder, read_json, read_text, write_json, write_whole};
use crate::{Error, StoreUrl};

/// Everything that may be in a home whose first start was cut short.
const OURS: &[&str] = &[
    "home.json",
    "up.lock",
    "bootstrap.json",
    "admin-password",
    "admin-token",
    "admin-name",
    "metrics-token",
    "secrets",
    "run",
    "logs",
    "agents",
    "objects",
    "example",
    "revisions.json",
    "programs",
];
const DATABASE: &str = "majordomo.db";
/// How `up.lock` begins; the process id follows.
const LOCK_MARK: &str = "majordomo up, process ";
pub(crate) const ADMIN: &str = "admin";
const EXECUTORS: u32 = 2;

/// Where things are in a home.
#[derive(Debug, Clone)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    pub fn new(root: impl Into<PathBuf>) -> Paths {
        Paths { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn master_key(&self) -> PathBuf {
        self.root.join("secrets/master.key")
    }

    pub fn admin_password(&self) -> PathBuf {
        self.root.join("admin-password")
    }

    pub fn admin_token(&self) -> PathBuf {
        self.root.join("admin-token")
    }

    /// Whose `admin-token` is, where the setup wizard has made the first user.
    pub fn admin_name(&self) -> PathBuf {
        self.root.join("admin-name")
    }

    /// What unlocks the setup wizard where nobody has given a password for it.
    pub fn initial_password(&self) -> PathBuf {
        self.root.join("secrets/initialAdminPassword")
    }

    /// Written by the first replica that starts, unless another one is given to all.
    pub fn metrics_token(&self) -> PathBuf {
        self.root.join("metrics-token")
    }

    pub fn bootstrap(&self) -> PathBuf {
        self.root.join("bootstrap.json")
    }

    pub fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    pub fn database(&self) -> PathBuf {
        self.root.join(DATABASE)
    }

    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Written by the replica of that name: [`crate::ReplicaRecord`].
    pub fn replica_record(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.json"))
    }

    /// Why that replica waits for its store: [`crate::ReplicaWait`].
    pub fn replica_wait(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.wait.json"))
    }

    /// Where that replica hands out the listening socket: [`crate::share`].
    pub fn replica_socket(&self, name: &str) -> PathBuf {
        self.run().join(format!("{name}.sock"))
    }

    pub(crate) fn reload_record(&self) -> PathBuf {
        self.run().join("reload.json")
    }

    /// Left by whoever wants the program before back, for the `up` that he tells to reload: the level of the home, or nothing
    /// where nobody can say it.
    pub(crate) fn reload_back(&self) -> PathBuf {
        self.run().join("reload.back")
    }

    pub(crate) fn failover_tests(&self) -> PathBuf {
        self.root.join("failover-tests.jsonl")
    }

    /// Held while a failover test runs.
    pub(crate) fn failover_lock(&self) -> PathBuf {
        self.run().join("failover-test.lock")
    }

    pub fn up_record(&self) -> PathBuf {
        self.run().join("up.json")
    }

    /// What replicas run.
    pub(crate) fn revisions(&self) -> PathBuf {
        self.root.join("revisions.json")
    }

    /// The programs of the revisions.
    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("programs")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("logs").join(format!("{name}.log"))
    }

    pub fn agent_folder(&self, name: &str) -> PathBuf {
        self.root.join("agents").join(name)
    }

    pub fn agent_secret(&self, name: &str) -> PathBuf {
        self.root.join("agents").join(format!("{name}.secret"))
    }

    pub fn example(&self) -> PathBuf {
        self.root.join("example")
    }

    fn identity(&self) -> PathBuf {
        self.root.join("home.json")
    }

    fn lock(&self) -> PathBuf {
        self.root.join("up.lock")
    }
}

/// What `up` wants of a home.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The controller's name when a file gives one.
    pub(crate) name: Option<String>,
    pub(crate) store: Option<StoreUrl>,
    pub(crate) agents: u32,
    pub(crate) example: bool,
}

/// A home that this process holds.
pub(crate) struct Home {
    pub(crate) paths: Paths,
    pub(crate) name: String,
    pub(crate) store: StoreUrl,
    pub(crate) keys: Keys,
    /// Unless the setup wizard has made another one.
    first_admin: String,
    /// Made by this start.
    pub(crate) new: bool,
    /// No start has told the user the first password yet: this one does.
    pub(crate) untold: bool,
    /// Whether replicas create the example.
    pub(crate) example: bool,
    /// Why there is no example although one was wanted.
    pub(crate) no_example: Option<String>,
    _lock: Lock,
}

/// A home that this process has locked but not completed. Dropped, it leaves nothing of a home that was not there.
pub(crate) struct Taken {
    paths: Paths,
    identity: Option<Identity>,
    lock: Option<Lock>,
    made_root: bool,
    /// There is no home here yet: what was made goes again.
    undo: bool,
}

impl Taken {
    /// Looks whether the folder may be the home, and locks it.
    pub(crate) fn take(root: &Path, wanted: &Wanted) -> Result<Taken, Error> {
        ensure_usable(root)?;
        let root = std::path::absolute(root).map_err(Error::io("look at", root))?;
        if let Some(database) = wanted.store.as_ref().and_then(StoreUrl::path) {
            check::ensure_folder_of(database, &root)?;
        }
        let made_root = !root.exists();
        if made_root {
            private_folder(&root)?;
        }
        let root = fs::canonicalize(&root).map_err(Error::io("look at", &root))?;
        let mut taken =
            Taken { paths: Paths::new(root), identity: None, lock: None, made_root, undo: made_root };
        if !made_root {
            // before anything is written: somebody else's folder stays as it is
            taken.identity = identity(&taken.paths, wanted)?;
        }
        taken.lock = Some(lock(&taken.paths)?);
        // again, now that nobody else changes it
        taken.identity = identity(&taken.paths, wanted)?;
        taken.undo = taken.identity.is_none();
        Ok(taken)
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The controller's name, as far as it is known.
    pub(crate) fn name<'a>(&'a self, wanted: &'a Wanted) -> &'a str {
        let given = wanted.name.as_deref();
        self.identity.as_ref().map(|i| i.name.as_str()).or(given).unwrap_or("majordomo")
    }

    /// Makes what is missing, in an order in which any prefix can be completed later: `home.json` comes last.
    pub(crate) fn complete(mut self, wanted: &Wanted) -> Result<Home, Error> {
        let paths = self.paths.clone();
        let name = self.name(wanted).to_owned();
        let new = self.identity.is_none();
        let store = wanted.store.clone().unwrap_or_else(|| StoreUrl::sqlite(&paths.database()));
        for folder in ["secrets", "run", "logs", "agents", "objects"] {
            private_folder(&paths.root().join(folder))?;
        }
        let keys = keys(&paths, new)?;
        let mut bootstrap = match Bootstrap::read(&paths.bootstrap())? {
            Some(bootstrap) => bootstrap,
            None if new => first_bootstrap(&paths, &name)?,
            None => {
                let path = paths.bootstrap();
                return Err(Error::Refused(format!(
                    "{} is missing; restore it from a backup",
                    path.display()
                )));
            }
        };
        bootstrap.nodes = agents(&paths, &keys, wanted.agents)?;
        let mut no_example = None;
        if new && wanted.example {
            match crate::example::create(&paths.example())? {
                Ok(xml) => bootstrap.items = vec![BootstrapItem { name: "example".to_owned(), xml }],
                Err(why) => no_example = Some(why),
            }
        }
        bootstrap.write(&paths.bootstrap())?;
        let place = store.place(paths.root());
        let before = self.identity.take();
        let identity = match before.clone() {
            None => Identity {
                format: FORMAT,
                controller: bootstrap.controller.clone(),
                name: name.clone(),
                store: store.engine().to_owned(),
                place: Some(place),
                told: Some(false),
            },
            // a version that did not write it down is completed
            Some(old) => Identity { place: Some(place), ..old },
        };
        if before.as_ref() != Some(&identity) {
            write_json(&paths.identity(), &identity)?;
        }
        let untold = identity.told == Some(false);
        let example = !bootstrap.items.is_empty();
        self.undo = false;
        let lock = self.lock.take().ok_or_else(|| Error::Refused("the home is not locked".to_owned()))?;
        let first_admin = bootstrap.admin.id;
        Ok(Home { paths, name, store, keys, first_admin, new, untold, example, no_example, _lock: lock })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.undo {
            undo(&self.paths, self.made_root);
        }
    }
}

impl Home {
    /// The first password, when the file is still there.
    pub(crate) fn password(&self) -> Option<Password> {
        let text = read_text(&self.paths.admin_password()).ok().flatten()?;
        Some(Password::new(text.trim()))
    }

    /// Who administers it, and whose the token of the home is.
    pub(crate) fn admin(&self) -> String {
        crate::wizard::admin_name(&self.paths).ok().flatten().unwrap_or_else(|| self.first_admin.clone())
    }

    /// All is created and told: later starts don't create the example again, and don't show the password.
    pub(crate) fn first_start_done(&self) -> Result<(), Error> {
        let path = self.paths.bootstrap();
        match Bootstrap::read(&path)? {
            Some(bootstrap) if !bootstrap.items.is_empty() => {
                Bootstrap { items: Vec::new(), ..bootstrap }.write(&path)?;
            }
            Some(_) | None => {}
        }
        let path = self.paths.identity();
        match read_json::<Identity>(&path)? {
            Some(identity) if identity.told == Some(false) => {
                write_json(&path, &Identity { told: Some(true), ..identity })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Refuses what another home would be.
    pub(crate) fn agrees(&self, wanted: &Wanted) -> Result<(), Error> {
        identity(&self.paths, wanted).map(|_| ())
    }

    /// Whether nothing outside belongs to this home: its database is in it, or no replica has joined, so that none can have
    /// written the controller's identity into another one.
    pub(crate) fn is_all(&self, names: &[String]) -> bool {
        let own = self.store.path().is_some_and(|path| path.starts_with(self.paths.root()));
        own || names.iter().all(|name| !self.paths.replica_record(name).exists())
    }

    /// Nothing came of the first start: leaves no home.
    pub(crate) fn undo_first_start(self) {
        if self.new {
            undo(&self.paths, true);
        }
    }
}

/// Removes what is ours; the folder too when it is empty then and was made by us.
fn undo(paths: &Paths, root: bool) {
    let Ok(entries) = fs::read_dir(paths.root()) else { return };
    for entry in entries.flatten().filter(|entry| is_ours(&entry.file_name())) {
        let path = entry.path();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let _ = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
    if root {
        let _ = fs::remove_dir(paths.root());
    }
}

fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let unfinished = |ours: &str| {
        let stem = ours.strip_suffix(".json").unwrap_or(ours);
        name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.') && rest.ends_with(".tmp"))
    };
    // what SQLite and its turnstile put beside the database has its name first
    name.starts_with(DATABASE) || OURS.iter().any(|ours| name == *ours || unfinished(ours))
}

/// The lock of a home, held.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // closing is not enough: a child has the file, too, between its fork and its exec
        let _ = flock(&self.0, FlockOperation::Unlock);
    }
}

fn lock(paths: &Paths) -> Result<Lock, Error> {
    let path = paths.lock();
    let mut options = OpenOptions::new();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(Error::io("open", &path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        let holder = holder.trim().strip_prefix(LOCK_MARK).unwrap_or("?");
        let place = paths.root().display();
        return Err(Error::Refused(format!(
            "another `majordomo up` (process {holder}) holds the home {place}; stop it or choose another --home"
        )));
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{LOCK_MARK}{}", std::process::id()));
    written.map_err(Error::io("write", &path))?;
    Ok(Lock(file))
}

fn keys(paths: &Paths, new: bool) -> Result<Keys, Error> {
    let path = paths.master_key();
    let refused = |error: security::KeyError| Error::Refused(format!("{error}; restore it from a backup"));
    if new && !path.exists() {
        let keys = Keys::random().map_err(refused)?;
        write_whole(&path, &keys.expose())?;
    }
    Keys::read(&path).map_err(refused)
}

/// The password comes first: whoever finds it without the rest uses it again.
pub(crate) fn first_bootstrap(paths: &Paths, name: &str) -> Result<Bootstrap, Error> {
    let refused = |error: security::PasswordError| Error::Refused(error.to_string());
    let path = paths.admin_password();
    let password = match read_text(&path)? {
        Some(text) => Password::new(text.trim()),
        None => {
            let password = random_password().map_err(refused)?;
            write_whole(&path, &format!("{}\n", password.expose()))?;
            password
        }
    };
    let token = random_token().map_err(refused)?;
    write_whole(&paths.admin_token(), &format!("{}\n", token.expose()))?;
    let token = BootstrapToken { id: random_uuid().map_err(refused)?, hash: token_hash(token.expose()).0 };
    let suffix = random_password().map_err(refused)?;
    let suffix: String = suffix.expose().chars().take(16).collect();
    let admin = Administrator {
        id: ADMIN.to_owned(),
        full_name: "Administrator".to_owned(),
        password_hash: hash_password(&password).map_err(refused)?,
        token: Some(token),
    };
    Ok(Bootstrap { controller: format!("{name}-{suffix}"), admin, nodes: Vec::new(), items: Vec::new() })
}

/// Secrets and nodes of `agent-1` to `agent-N`.
fn agents(paths: &Paths, keys: &Keys, count: u32) -> Result<Vec<BootstrapNode>, Error> {
    let node = |number: u32| {
        let name = format!("agent-{number}");
        write_whole(&paths.agent_secret(&name), &format!("{}\n", keys.agent_secret(&name)))?;
        private_folder(&paths.agent_folder(&name))?;
        let remote_fs = paths.agent_folder(&name).display().to_string();
        Ok(BootstrapNode { name, executors: EXECUTORS, labels: vec!["local".to_owned()], remote_fs })
    };
    (1..=count).map(node).collect()
}

#[cfg(test)]
mod tests;
