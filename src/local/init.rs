//! What all machines of a controller share: made once, on one of them, and copied to the others.

use std::fs;
use std::path::{Path, PathBuf};

use security::{KeyList, Keys};

use crate::files::{private_folder, write_json, write_whole};
use crate::home::{Paths, first_bootstrap};
use crate::{Error, StoreUrl};

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initialised {
    pub folder: PathBuf,
    /// Where the first password of the administrator is.
    pub password: PathBuf,
    /// Where the address of the database is to be written, when none was given.
    pub store_missing: Option<PathBuf>,
}

/// Makes the folder: the key, the one that replicas know each other by, the identity of the controller, its first administrator, and where its database is. One that
/// is there already is left alone: other machines may have it.
pub fn init(folder: &Path, name: &str, store: Option<&StoreUrl>) -> Result<Initialised, Error> {
    let key = folder.join("master.key");
    if key.exists() {
        return Err(Error::Refused(format!(
            "{} is there already; a controller has one key for ever: copy this folder to its other machines, or choose \
             another one",
            key.display()
        )));
    }
    if store.is_some_and(|store| store.engine() != "postgres") {
        return Err(Error::Refused("--store: replicas on several machines need PostgreSQL".to_owned()));
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    private_folder(folder)?;
    let paths = Paths::new(folder);
    let bootstrap = first_bootstrap(&paths, name)?;
    write_json(&paths.bootstrap(), &bootstrap)?;
    let place = folder.join("store");
    if let Some(store) = store {
        write_whole(&place, &format!("{}\n", store.expose()))?;
    }
    let refused = |error: security::KeyError| Error::Refused(error.to_string());
    write_whole(&folder.join("peer.keys"), &KeyList::random().map_err(refused)?.expose())?;
    // The key comes last: with it, all is there.
    let keys = Keys::random().map_err(refused)?;
    write_whole(&key, &keys.expose())?;
    let store_missing = (!place.exists()).then_some(place);
    Ok(Initialised { folder: folder.to_owned(), password: paths.admin_password(), store_missing })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_machines_share_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("etc/majordomo");
        let url = StoreUrl::parse("postgres://ci:secret@db/ci").unwrap();
        let made = init(&at, "ci", Some(&url)).unwrap();
        assert_eq!(made.store_missing, None);
        let mut names: Vec<_> =
            fs::read_dir(&at).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(
            names,
            ["admin-password", "admin-token", "bootstrap.json", "master.key", "peer.keys", "store"]
        );
        let key = fs::read_to_string(at.join("master.key")).unwrap();
        let again = init(&at, "ci", None).unwrap_err().to_string();
        assert!(again.contains("is there already"), "{again}");
        assert_eq!(fs::read_to_string(at.join("master.key")).unwrap(), key);
        Keys::read(&at.join("master.key")).unwrap();
        KeyList::read(&at.join("peer.keys")).unwrap();
    }

    #[test]
    fn replicas_on_several_machines_share_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let url = StoreUrl::parse("sqlite:/x.db").unwrap();
        let refused = init(&folder.path().join("x"), "ci", Some(&url)).unwrap_err().to_string();
        assert!(refused.contains("need PostgreSQL"), "{refused}");
        let made = init(&folder.path().join("x"), "ci", None).unwrap();
        assert_eq!(made.store_missing, Some(folder.path().join("x/store")));
    }
}
