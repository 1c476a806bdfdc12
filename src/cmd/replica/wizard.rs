//! The setup wizard of a first start: whether there is to be one, with what it is unlocked, and its end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use local::{Bootstrap, Paths};
use model::ReplicaState;
use security::{Password, UnlockKey};
use server::Unlock;
use store::Store;

use super::first::first_token;
use super::given::First;
use super::this::This;

/// How often it is looked whether another replica has ended the setup: one that was taken for dead may have.
const LOOK: Duration = Duration::from_secs(1);

/// With what the wizard is unlocked; `None`: there is to be none, or there are users already.
pub(super) async fn wanted(store: &Arc<dyn Store>, first: &First, paths: &Paths) -> Result<Option<Unlock>> {
    if !first.wizard || !store.users(None, 1).await?.is_empty() {
        return Ok(None);
    }
    let mut unlock = match (Bootstrap::read(&first.bootstrap)?, &first.admin) {
        (Some(bootstrap), _) => Unlock {
            key: UnlockKey::hashed(bootstrap.admin.password_hash),
            place: beside(&first.bootstrap),
            token: bootstrap.admin.token.map(first_token),
        },
        (None, Some(admin)) => given(admin.password.clone(), &admin.file).await?,
        (None, None) => given(local::initial_password(paths)?, &paths.initial_password()).await?,
    };
    if let Some(place) = &first.password_place {
        unlock.place.clone_from(place);
    }
    Ok(Some(unlock))
}

async fn given(password: Password, file: &Path) -> Result<Unlock> {
    let key = tokio::task::spawn_blocking(move || UnlockKey::of(&password)).await;
    let key = key.context("hash the initial password")??;
    Ok(Unlock { key, place: file.display().to_string(), token: None })
}

/// Where `up` and `init` have left the password of `bootstrap.json`; the machines that it was copied to need not have it.
fn beside(bootstrap: &Path) -> String {
    let file = bootstrap.with_file_name("admin-password");
    match file.exists() {
        true => file.display().to_string(),
        false => "admin-password, in the folder that `majordomo init` has made, on the machine where it ran"
            .to_owned(),
    }
}

/// Serves nothing but the wizard until there is a user.
pub(super) async fn show(
    store: &Arc<dyn Store>,
    first: &First,
    paths: &Paths,
    (this, shown): (&This, &server::Wizard),
    unlock: Unlock,
) {
    tracing::info!(
        password = unlock.place,
        "the setup wizard waits for a person at /setupWizard/, and asks for the initial administrator password"
    );
    shown.show(unlock);
    this.set(ReplicaState::Setup);
    let user = somebody(store, shown).await;
    let shared = first.bootstrap.parent().unwrap_or(paths.root());
    // a folder of secrets may be read-only
    if let Err(error) = local::setup_done(paths, shared, &user) {
        tracing::info!(%error, "the initial administrator password is good for nothing any more; remove it yourself");
    }
}

/// The name of the first user, when there is one.
async fn somebody(store: &Arc<dyn Store>, shown: &server::Wizard) -> String {
    loop {
        match store.users(None, 1).await {
            Ok(users) => {
                if let Some(user) = users.into_iter().next() {
                    return user.id;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "look whether the setup has ended");
                tokio::time::sleep(LOOK).await;
            }
        }
        let _look = tokio::time::timeout(LOOK, shown.ended()).await;
    }
}
