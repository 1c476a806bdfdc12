//! What an address means. Pure: a path goes in, a [`Route`] comes out; whether the thing exists is asked later.
//!
//! As Stapler has it: `//` is `/`, a trailing `/` does not matter, and what follows the name of an action is ignored.

mod item;
#[cfg(test)]
mod tests;

use http::Method;
use model::{JobName, QueueId, RestartWhen};
use percent_encoding::percent_decode_str;
use store::Which;

use crate::export::Format;

/// Longest path that is looked at.
const MAX_PATH: usize = 16 * 1024;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Login,
    /// Where a failed sign-in leads.
    LoginError,
    /// `j_spring_security_check`
    SignIn,
    /// `logout`
    SignOut,
    Healthz,
    Readyz,
    Metrics,
    /// Under the names of Jenkins' plugin. `slash`: the address ends with `/`, as it must.
    Prometheus {
        slash: bool,
    },
    /// `metrics/KEY/…` with the key.
    MetricsOf(String, MetricsOf),
    Static(String),
    /// `jenkins-agent.jnlp?encrypt=true` of the node. The query decides, so no path means it.
    SealedJnlp(String),
    /// An agent's WebSocket.
    Agent,
    /// Another replica's WebSocket.
    Peer,
    Admin(Admin),
    /// `setupWizard`: a step of the first start.
    Setup(Step),
    /// `api/json` and its like.
    Export(Thing, Format),
    Page(Thing),
    /// Asks a person once more.
    Confirm(Confirm),
    Do(Action),
    /// Jenkins has it, we don't: 501 with this sentence.
    NotServed(&'static str),
    NotFound,
}

/// A step of the setup wizard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Unlock,
    User,
    Instance,
}

/// What those who look after a replica ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admin {
    Drain,
    Lapsed,
    /// How this replica sees the controller.
    Overview,
    /// Takes a report of the rollout; answers what is asked of it.
    Rollout,
    /// What the agent whose socket is here says of spools.
    Spools,
    Stop,
}

/// What Jenkins' metrics plugin shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricsOf {
    Metrics,
    Ping,
    Healthcheck,
}

/// What can be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    Root,
    /// The view `all` of a folder or of the top.
    View(Option<JobName>),
    Item(JobName),
    Build(JobName, Which),
    Queue,
    QueueItem(QueueId),
    Computers,
    /// As written: a node's name, or one of the names of the built-in node.
    Computer(String),
    CrumbIssuer,
    WhoAmI,
    Me,
    User(String),
    People,
    AsynchPeople,
    /// `securityRealm`: users and what those may who have not signed in, for administrators.
    Realm,
    Replicas,
    Plugins,
}

/// What is done with a button of a page of its own when a person comes to its address, which takes POST only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Confirm {
    Restart(RestartWhen),
    Quiet(bool),
}

/// Whose user's something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    Mine,
    Of(String),
}

/// What can be done, or is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    CreateItem(Option<JobName>),
    ItemConfig(JobName),
    ItemDelete(JobName),
    ItemRename(JobName),
    ItemEnable(JobName),
    ItemDisable(JobName),
    Build(JobName),
    BuildWithParameters(JobName),
    BuildDelete(JobName, Which),
    BuildKeep(JobName, Which),
    BuildStop(JobName, Which),
    BuildTerm(JobName, Which),
    BuildKill(JobName, Which),
    BuildNumber(JobName, Which),
    ConsoleText(JobName, Which),
    ProgressiveText(JobName, Which),
    ProgressiveHtml(JobName, Which),
    Console(JobName, Which),
    /// `verifyLog/api/json`
    VerifyLog(JobName, Which),
    /// Path of the file; empty for the list.
    Artifact(JobName, Which, String),
    /// All in the folder of that path as a zip; empty for all.
    ArtifactZip(JobName, Which, String),
    Restart(RestartWhen),
    /// As `Restart`, with what is installed as their program.
    Reload,
    /// A restart that waits is withdrawn.
    CancelRestart,
    /// One replica, by its name, hands over what it does.
    Drain(String),
    Quiet(bool),
    QueueCancel,
    QueueItemCancel(QueueId),
    NodeCreate,
    NodeConfig(String),
    NodeDelete(String),
    NodeToggleOffline(String),
    /// `jenkins-agent.jnlp`
    NodeJnlp(String),
    UserCreate,
    UserConfigure(Whose),
    UserDelete(Whose),
    /// Whether who has not signed in may look.
    AnonymousRead,
    TokenGenerate(Whose),
    TokenRename(Whose),
    TokenRevoke(Whose),
    TokenRevokeAll(Whose),
    TokenRevokeAllExcept(Whose),
}

impl Route {
    /// Methods that the route takes, as `Allow` says them.
    pub(crate) fn allow(&self) -> &'static str {
        match self {
            Route::Admin(Admin::Overview) => "GET, HEAD",
            Route::Admin(_) | Route::SignIn => "POST",
            Route::SignOut => "GET, POST",
            Route::Setup(_) => "GET, HEAD, POST",
            Route::Do(action) => action.allow(),
            Route::Export(..) => "GET, HEAD, POST",
            Route::Login
            | Route::LoginError
            | Route::Healthz
            | Route::Readyz
            | Route::Metrics
            | Route::Prometheus { .. }
            | Route::MetricsOf(..)
            | Route::Static(_)
            | Route::SealedJnlp(_)
            | Route::Agent
            | Route::Peer
            | Route::Page(_)
            | Route::Confirm(_) => "GET, HEAD",
            Route::NotServed(_) | Route::NotFound => "GET, HEAD, POST, PUT, DELETE, PATCH",
        }
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        self.allow().split(", ").any(|m| m == method.as_str())
    }

    /// What is served to a person who only looks at the address of something that is done.
    pub(crate) fn confirmed(self) -> Route {
        match self {
            Route::Do(Action::Restart(when)) => Route::Confirm(Confirm::Restart(when)),
            Route::Do(Action::Quiet(quiet)) => Route::Confirm(Confirm::Quiet(quiet)),
            route => route,
        }
    }

    /// Served without a user: by nobody's name, or under a secret of its own.
    pub(crate) fn open(&self) -> bool {
        match self {
            Route::Login
            | Route::LoginError
            | Route::SignIn
            | Route::SignOut
            | Route::Setup(_)
            | Route::Healthz
            | Route::Readyz
            | Route::Static(_)
            | Route::SealedJnlp(_)
            | Route::Agent
            | Route::Peer
            | Route::Admin(_) => true,
            Route::Metrics
            | Route::Prometheus { .. }
            | Route::MetricsOf(..)
            | Route::Export(..)
            | Route::Page(_)
            | Route::Confirm(_)
            | Route::Do(_)
            | Route::NotServed(_)
            | Route::NotFound => false,
        }
    }
}

impl Route {
    /// Whether a replica that shows the setup wizard serves it, too: what looks after replicas and agents does not wait for
    /// a person. Metrics are served to who shows their token.
    pub(crate) fn beside_setup(&self) -> bool {
        match self {
            Route::Setup(_)
            | Route::Healthz
            | Route::Readyz
            | Route::Static(_)
            | Route::Peer
            | Route::Admin(_) => true,
            Route::Login
            | Route::LoginError
            | Route::SignIn
            | Route::SignOut
            | Route::Metrics
            | Route::Prometheus { .. }
            | Route::MetricsOf(..)
            | Route::SealedJnlp(_)
            | Route::Agent
            | Route::Export(..)
            | Route::Page(_)
            | Route::Confirm(_)
            | Route::Do(_)
            | Route::NotServed(_)
            | Route::NotFound => false,
        }
    }

    /// Whether it is one of the pages that have a frame. What everybody may see says nothing of the controller.
    pub(crate) fn page(&self) -> bool {
        match self {
            Route::Page(thing) => *thing != Thing::WhoAmI,
            route => matches!(route, Route::Confirm(_) | Route::Do(Action::Console(..))),
        }
    }

    /// Whether it shows metrics, which have a token of their own.
    pub(crate) fn metrics(&self) -> bool {
        matches!(self, Route::Metrics | Route::Prometheus { .. } | Route::MetricsOf(..))
    }
}

impl Action {
    fn allow(&self) -> &'static str {
        match self {
            Action::CreateItem(_)
            | Action::ItemDelete(_)
            | Action::ItemRename(_)
            | Action::ItemEnable(_)
            | Action::ItemDisable(_)
            | Action::Build(_)
            | Action::BuildWithParameters(_)
            | Action::BuildDelete(..)
            | Action::BuildKeep(..)
            | Action::BuildStop(..)
            | Action::BuildTerm(..)
            | Action::BuildKill(..)
            | Action::Restart(_)
            | Action::Reload
            | Action::CancelRestart
            | Action::Drain(_)
            | Action::Quiet(_)
            | Action::QueueCancel
            | Action::QueueItemCancel(_)
            | Action::NodeCreate
            | Action::NodeDelete(_)
            | Action::NodeToggleOffline(_)
            | Action::UserCreate
            | Action::UserConfigure(_)
            | Action::UserDelete(_)
            | Action::AnonymousRead
            | Action::TokenGenerate(_)
            | Action::TokenRename(_)
            | Action::TokenRevoke(_)
            | Action::TokenRevokeAll(_)
            | Action::TokenRevokeAllExcept(_) => "POST",
            Action::ItemConfig(_)
            | Action::NodeConfig(_)
            | Action::ProgressiveText(..)
            | Action::ProgressiveHtml(..) => "GET, HEAD, POST",
            Action::BuildNumber(..)
            | Action::ConsoleText(..)
            | Action::Console(..)
            | Action::VerifyLog(..)
            | Action::Artifact(..)
            | Action::ArtifactZip(..)
            | Action::NodeJnlp(_) => "GET, HEAD",
        }
    }
}

/// What `path` (without the query) means.
pub(crate) fn parse(path: &str) -> Route {
    if path.len() > MAX_PATH {
        return Route::NotFound;
    }
    let decoded: Option<Vec<String>> = path
        .split('/')
        .filter(|s| !s.is_empty())
        .map(|s| percent_decode_str(s).decode_utf8().ok().map(|text| text.into_owned()))
        .collect();
    match decoded {
        Some(segments) => {
            let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
            match top(&parts) {
                Route::Prometheus { .. } => Route::Prometheus { slash: path.ends_with('/') },
                route => route,
            }
        }
        None => Route::NotFound,
    }
}

fn top(parts: &[&str]) -> Route {
    match parts {
        [] | ["configure" | "manage", ..] => Route::Page(Thing::Root),
        ["job", ..] | ["view", ..] | ["createItem", ..] => item::parse(parts),
        ["login", ..] => Route::Login,
        ["loginError", ..] => Route::LoginError,
        ["logout", ..] => Route::SignOut,
        ["j_spring_security_check" | "j_acegi_security_check", ..] => Route::SignIn,
        ["setupWizard"] | ["setupWizard", "unlock"] => Route::Setup(Step::Unlock),
        ["setupWizard", "createAdminUser"] => Route::Setup(Step::User),
        ["setupWizard", "configureInstance"] => Route::Setup(Step::Instance),
        ["healthz"] => Route::Healthz,
        ["readyz"] => Route::Readyz,
        ["metrics"] => Route::Metrics,
        ["metrics", key, what] => match *what {
            "metrics" => Route::MetricsOf((*key).to_owned(), MetricsOf::Metrics),
            "ping" => Route::MetricsOf((*key).to_owned(), MetricsOf::Ping),
            "healthcheck" => Route::MetricsOf((*key).to_owned(), MetricsOf::Healthcheck),
            "threads" => Route::NotServed("there are no threads of a Java machine"),
            _ => Route::NotFound,
        },
        ["prometheus"] => Route::Prometheus { slash: false },
        ["favicon.ico"] => Route::Static("favicon.svg".to_owned()),
        ["static", name] => Route::Static((*name).to_owned()),
        ["wsagents"] => Route::Agent,
        ["peer", "ws"] => Route::Peer,
        ["peer", "spools"] => Route::Admin(Admin::Spools),
        ["admin", "rollout"] => Route::Admin(Admin::Rollout),
        ["restart", ..] => Route::Do(Action::Restart(RestartWhen::Immediately)),
        ["safeRestart", ..] => Route::Do(Action::Restart(RestartWhen::Idle)),
        ["quietDown", ..] => Route::Do(Action::Quiet(true)),
        ["cancelQuietDown", ..] => Route::Do(Action::Quiet(false)),
        ["exit" | "safeExit"] => Route::NotServed("replicas are stopped by whoever has started them"),
        ["admin", "drain"] => Route::Admin(Admin::Drain),
        ["admin", "lapsed"] => Route::Admin(Admin::Lapsed),
        ["admin", "overview"] => Route::Admin(Admin::Overview),
        ["admin", "stop"] => Route::Admin(Admin::Stop),
        ["queue", rest @ ..] => queue(rest),
        ["computer", rest @ ..] => computer(rest),
        ["crumbIssuer", rest @ ..] => thing(Thing::CrumbIssuer, rest),
        ["whoAmI", rest @ ..] => thing(Thing::WhoAmI, rest),
        ["me", rest @ ..] => of_user(Whose::Mine, rest),
        ["user", id, rest @ ..] => of_user(Whose::Of((*id).to_owned()), rest),
        ["people", rest @ ..] => thing(Thing::People, rest),
        ["asynchPeople", rest @ ..] => thing(Thing::AsynchPeople, rest),
        ["securityRealm", rest @ ..] => realm(rest),
        ["replicas", "reload"] => Route::Do(Action::Reload),
        ["replicas", "cancelRestart"] => Route::Do(Action::CancelRestart),
        ["replicas", name, "drain"] => Route::Do(Action::Drain((*name).to_owned())),
        ["replicas", rest @ ..] => thing(Thing::Replicas, rest),
        ["pluginManager", rest @ ..] => thing(Thing::Plugins, rest),
        ["cli", ..] => Route::NotServed("the command line client is not served yet; use the REST API"),
        ["script" | "scriptText", ..] => Route::NotServed("there is no script console"),
        rest => thing(Thing::Root, rest),
    }
}

/// The page of a thing or its `api/…`.
fn thing(thing: Thing, rest: &[&str]) -> Route {
    match rest {
        [] => Route::Page(thing),
        ["api", format, ..] => Format::parse(format).map_or(Route::NotFound, |f| Route::Export(thing, f)),
        ["api"] => Route::NotServed("there is no help page; see api/json"),
        _ => Route::NotFound,
    }
}

fn realm(rest: &[&str]) -> Route {
    match rest {
        ["addUser", ..] => Route::Page(Thing::Realm),
        ["createAccountByAdmin", ..] => Route::Do(Action::UserCreate),
        ["anonymousRead", ..] => Route::Do(Action::AnonymousRead),
        ["user", id, rest @ ..] => of_user(Whose::Of((*id).to_owned()), rest),
        rest => thing(Thing::Realm, rest),
    }
}

fn of_user(whose: Whose, rest: &[&str]) -> Route {
    Route::Do(match rest {
        ["doDelete", ..] => Action::UserDelete(whose),
        ["configSubmit", ..] | ["account" | "security", "configSubmit", ..] => Action::UserConfigure(whose),
        ["descriptorByName", "jenkins.security.ApiTokenProperty", verb, ..] => match *verb {
            "generateNewToken" => Action::TokenGenerate(whose),
            "rename" => Action::TokenRename(whose),
            "revoke" => Action::TokenRevoke(whose),
            "revokeAll" => Action::TokenRevokeAll(whose),
            "revokeAllExcept" => Action::TokenRevokeAllExcept(whose),
            _ => return Route::NotFound,
        },
        rest => {
            let shown = match whose {
                Whose::Mine => Thing::Me,
                Whose::Of(id) => Thing::User(id),
            };
            return match rest {
                ["configure" | "account" | "security", ..] => Route::Page(shown),
                rest => thing(shown, rest),
            };
        }
    })
}

fn queue(rest: &[&str]) -> Route {
    match rest {
        ["cancelItem", ..] => Route::Do(Action::QueueCancel),
        ["item", id, rest @ ..] => match (number(id).and_then(|n| i64::try_from(n).ok()), rest) {
            (Some(id), ["cancelQueue", ..]) => Route::Do(Action::QueueItemCancel(QueueId(id))),
            (Some(id), rest) => thing(Thing::QueueItem(QueueId(id)), rest),
            (None, _) => Route::NotFound,
        },
        rest => thing(Thing::Queue, rest),
    }
}

fn computer(rest: &[&str]) -> Route {
    let owned = |name: &&str| (*name).to_owned();
    match rest {
        [] | ["new", ..] => Route::Page(Thing::Computers),
        ["api", ..] => thing(Thing::Computers, rest),
        ["doCreateItem", ..] => Route::Do(Action::NodeCreate),
        [name, "config.xml", ..] => Route::Do(Action::NodeConfig(owned(name))),
        [name, "doDelete", ..] => Route::Do(Action::NodeDelete(owned(name))),
        [name, "toggleOffline", ..] => Route::Do(Action::NodeToggleOffline(owned(name))),
        [name, "jenkins-agent.jnlp" | "slave-agent.jnlp", ..] => Route::Do(Action::NodeJnlp(owned(name))),
        [name, "configure", ..] => Route::Page(Thing::Computer(owned(name))),
        [name, rest @ ..] => thing(Thing::Computer(owned(name)), rest),
    }
}

/// Digits only, as a build number is written: no sign, no leading zero but `0` itself.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let padded = text.len() > 1 && text.starts_with('0');
    (digits && !padded && text.len() <= 18).then(|| text.parse().ok()).flatten()
}
