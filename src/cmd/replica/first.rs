//! The start under the startup lock: what a new controller is given is made there, once.

use std::sync::Arc;

use anyhow::{Context, Result};
use config::NodeConfig;
use local::{Administrator, Bootstrap, BootstrapToken, FirstAdmin, Paths};
use model::{Clock, JobName, ReplicaState, SystemClock};
use security::FirstToken;
use store::{Hidden, Store, User, Write};

use super::begin::of;
use super::given::First;
use super::this::This;
use super::wizard;

/// Starts under the startup lock, and shows the setup wizard there if a person is to make the first user.
pub(super) async fn start(
    cluster: &cluster::Handle,
    (store, paths): (&Arc<dyn Store>, &Paths),
    first: &First,
    (this, shown): (&This, &server::Wizard),
) -> Result<()> {
    let under_lock = async || {
        make(cluster, store, first).await?;
        let unlock = wizard::wanted(store, first, paths).await?;
        anyhow::Ok(unlock.map(|unlock| wizard::show(store, first, paths, (this, shown), unlock)))
    };
    tokio::select! {
        started = cluster.start(under_lock) => started.context("start")?,
        // Whoever is to go does not become ready any more.
        () = this.ordered() => return Ok(()),
    }
    this.set(ReplicaState::Ready);
    shown.close();
    tracing::info!(replica = %cluster.me(), "ready");
    Ok(())
}

/// Creates what is to be there; done again, it changes nothing.
async fn make(cluster: &cluster::Handle, store: &Arc<dyn Store>, first: &First) -> Result<()> {
    tracing::info!(replica = %cluster.me(), "it has the startup lock");
    if let Some(bootstrap) = Bootstrap::read(&first.bootstrap)? {
        return as_given(store, bootstrap, first.wizard).await;
    }
    if let Some(controller) = &first.controller {
        identify(store, controller).await?;
    }
    if let Some(FirstAdmin { id: Some(id), password, file: _ }) =
        first.admin.as_ref().filter(|_| !first.wizard)
        && store.users(None, 1).await?.is_empty()
    {
        let password = password.clone();
        let hashed = tokio::task::spawn_blocking(move || security::hash_password(&password));
        let password_hash = hashed.await.context("hash the first password")??;
        let full_name = "Administrator".to_owned();
        let admin = Administrator { id: id.clone(), full_name, password_hash, token: None };
        store.write(first_user(admin)).await?;
    }
    Ok(())
}

async fn identify(store: &Arc<dyn Store>, controller: &str) -> Result<()> {
    let answer = store.write(Write::Identify { controller: controller.to_owned() }).await?;
    match answer {
        store::Answer::Controller(found) => of(controller, &found),
        _ => Ok(()),
    }
}

/// What `up` or `majordomo init` wants to be there.
async fn as_given(store: &Arc<dyn Store>, wanted: Bootstrap, wizard: bool) -> Result<()> {
    let Bootstrap { controller, admin, nodes, items } = wanted;
    identify(store, &controller).await?;
    if !wizard {
        store.write(first_user(admin)).await?;
    }
    for node in nodes {
        let mut config = NodeConfig {
            name: node.name,
            description: String::new(),
            executors: node.executors,
            labels: node.labels,
            exclusive: false,
            remote_fs: node.remote_fs,
            xml: String::new(),
        };
        config.xml = config.to_xml();
        unless_there(store.write(Write::CreateNode(config.to_node()?)).await)?;
    }
    for item in items {
        let config = config::ItemConfig::parse(&item.xml)?;
        let create = Write::CreateItem {
            name: JobName::parse(&item.name)?,
            kind: config.kind(),
            disabled: config.disabled(),
            config: item.xml,
            at: SystemClock::new().now(),
        };
        unless_there(store.write(create).await)?;
    }
    Ok(())
}

/// The administrator of the first start. Later there are users, whoever they are by then.
fn first_user(admin: Administrator) -> Write {
    let Administrator { id, full_name, password_hash, token } = admin;
    let token = token.map(|token| first_token(token).of(&id, SystemClock::new().now()));
    let password = Hidden(password_hash);
    Write::CreateFirstUser {
        user: User { id, full_name, email: String::new(), password, admin: true },
        token,
    }
}

pub(super) fn first_token(BootstrapToken { id, hash }: BootstrapToken) -> FirstToken {
    FirstToken { id, hash: Hidden(hash) }
}

fn unless_there(answer: store::Result<store::Answer>) -> Result<()> {
    match answer {
        Ok(_) | Err(store::Error::Exists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
