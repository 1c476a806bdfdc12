//! What a replica is given by whoever starts it: keys, whose home it is, and where that is.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use local::{Bootstrap, FirstAdmin, Paths, Secrets, StoreUrl};
use model::ReplicaName;
use mutual::PeerTls;
use security::Keys;

use super::ReplicaArgs;

/// What all replicas of a controller share.
pub(super) struct Given {
    pub(super) keys: Keys,
    /// `None`: nothing between replicas is encrypted.
    pub(super) tls: Option<PeerTls>,
    pub(super) first: First,
    pub(super) store: Place,
    /// A file.
    pub(super) metrics_token: Option<PathBuf>,
}

/// What a new controller gets.
#[derive(Debug)]
pub(super) struct First {
    /// What is created when it is missing; need not be there.
    pub(super) bootstrap: PathBuf,
    /// Identity of the controller, where that says none.
    pub(super) controller: Option<String>,
    /// The first user, where that has none, or what unlocks the wizard.
    pub(super) admin: Option<FirstAdmin>,
    /// A person makes the first user.
    pub(super) wizard: bool,
    /// What the wizard says of where its password is.
    pub(super) password_place: Option<String>,
}

/// Where the database is.
#[derive(Debug)]
pub(super) enum Place {
    Url(StoreUrl),
    /// A file that says it; a new password comes into it.
    File(PathBuf),
}

impl Given {
    pub(super) fn read(args: &ReplicaArgs, paths: &Paths) -> Result<Given> {
        let (controller, wizard) = (args.controller.clone(), args.setup_wizard);
        let password_place = args.setup_password_place.clone();
        let Some(folder) = &args.secrets else {
            let keys = Keys::read(&paths.master_key()).context("read the key of the controller")?;
            let bootstrap = paths.bootstrap();
            let first = First { bootstrap, controller, admin: None, wizard, password_place };
            let store = Place::of(args, paths, None)?;
            return Given { keys, tls: None, first, store, metrics_token: None }.checked();
        };
        let Secrets { keys, admin, bootstrap, store, metrics_token } = Secrets::read(folder, wizard)?;
        let tls = keys.peers().cloned().map(PeerTls::new).transpose()?;
        let store = Place::of(args, paths, store)?;
        let first = First { bootstrap, controller, admin, wizard, password_place };
        Given { keys, tls, first, store, metrics_token }.checked()
    }

    fn checked(self) -> Result<Given> {
        let First { bootstrap, controller: Some(controller), .. } = &self.first else {
            return Ok(self);
        };
        if let Some(other) = Bootstrap::read(bootstrap)?.filter(|other| other.controller != *controller) {
            bail!(
                "--controller says {controller}, and {} is of {}: leave one of them out",
                bootstrap.display(),
                other.controller
            );
        }
        Ok(self)
    }
}

impl First {
    /// Whose home it must be; `None`: nobody says.
    pub(super) fn identity(&self) -> Result<Option<String>> {
        let bootstrap = Bootstrap::read(&self.bootstrap)?;
        Ok(bootstrap.map(|bootstrap| bootstrap.controller).or_else(|| self.controller.clone()))
    }
}

impl Place {
    fn of(args: &ReplicaArgs, paths: &Paths, file: Option<PathBuf>) -> Result<Place> {
        let place = match (args.store.as_deref().map(str::trim).filter(|store| !store.is_empty()), file) {
            (Some(store), _) => match store.strip_prefix('@') {
                Some(file) => Place::File(PathBuf::from(file)),
                None => Place::Url(StoreUrl::parse(store)?),
            },
            (None, Some(file)) => Place::File(file),
            (None, None) => Place::Url(StoreUrl::parse(&format!("sqlite:{}", paths.database().display()))?),
        };
        place.url()?;
        Ok(place)
    }

    /// As it is now.
    pub(super) fn url(&self) -> Result<StoreUrl> {
        match self {
            Place::Url(url) => Ok(url.clone()),
            Place::File(file) => Ok(StoreUrl::parse(&format!("@{}", file.display()))?),
        }
    }

    /// Whether what it says may be corrected while we run.
    pub(super) fn may_change(&self) -> bool {
        matches!(self, Place::File(_))
    }
}

/// `NAME` or `NAMESPACE/NAME`, each a DNS label.
pub(super) fn controller(text: &str) -> Result<String> {
    let (namespace, name) = match text.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, text),
    };
    if namespace.into_iter().chain([name]).any(|label| ReplicaName::parse(label).is_err()) {
        return Err(anyhow!("{text:?} is not of the form NAME or NAMESPACE/NAME, in small letters"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_is_a_name_with_or_without_its_namespace() {
        for good in ["acme", "ci/acme", "a-1/b-2"] {
            assert_eq!(controller(good).unwrap(), good);
        }
        for bad in ["", "/", "ci/", "/acme", "a/b/c", "Acme", "a b", "acme-"] {
            let said = controller(bad).unwrap_err().to_string();
            assert!(said.ends_with("is not of the form NAME or NAMESPACE/NAME, in small letters"), "{said}");
        }
    }
}
