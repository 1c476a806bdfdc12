//! What a replica is given in a folder that all replicas of its controller share: made by `majordomo init`, or shown to a
//! pod. Each file that is there and can't be used is a sentence; nothing of what they hold is ever logged.

use std::path::{Path, PathBuf};

use security::{KeyError, KeyList, Keys, Password, check_password, check_user_name};

use crate::Error;
use crate::files::read_given;

/// Longest file of the first administrator.
const MAX_ADMIN: usize = 4 * 1024;

/// What is in the folder.
#[derive(Debug)]
pub struct Secrets {
    /// All keys, those of peers and of encryption too, as far as they are there.
    pub keys: Keys,
    /// The first administrator, unless `bootstrap.json` has one or the setup wizard makes one.
    pub admin: Option<FirstAdmin>,
    /// What else may be there.
    pub bootstrap: PathBuf,
    pub store: Option<PathBuf>,
    pub metrics_token: Option<PathBuf>,
}

/// Who is made when there are no users, or with what a person unlocks the setup wizard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAdmin {
    /// `None`: only the password is given, which is enough for the wizard.
    pub id: Option<String>,
    pub password: Password,
    /// Where the password is.
    pub file: PathBuf,
}

impl Secrets {
    /// `wizard`: a person makes the first administrator, so that a password is enough.
    pub fn read(folder: &Path, wizard: bool) -> Result<Secrets, Error> {
        let there = |name: &str| Some(folder.join(name)).filter(|file| file.exists());
        let mut keys = Keys::read(&key(folder)?).map_err(|error| match error {
            KeyError::Missing(path) => Error::Refused(format!(
                "there is no key at {}: `majordomo init` makes it on one machine, and you copy it to the others",
                path.display()
            )),
            error => refused(error),
        })?;
        if let Some(file) = there("peer.keys") {
            keys = keys.with_peers(KeyList::read(&file).map_err(refused)?);
        }
        if let Some(file) = there("encryption.keys") {
            keys = keys.with_encryption(KeyList::read(&file).map_err(refused)?);
        }
        let bootstrap = folder.join("bootstrap.json");
        let (store, metrics_token) = (there("store"), there("metrics-token"));
        Ok(Secrets { keys, admin: first_admin(folder, wizard)?, bootstrap, store, metrics_token })
    }
}

/// An error with what is behind it.
fn refused(error: KeyError) -> Error {
    match &error {
        KeyError::Read { path, source } => {
            Error::Refused(format!("read {}: {}", path.display(), crate::error::of_given(source)))
        }
        _ => Error::Refused(error.to_string()),
    }
}

/// The key from which those of agents follow: machines have it as `master.key`, pods as `agent.key`.
fn key(folder: &Path) -> Result<PathBuf, Error> {
    let (master, agent) = (folder.join("master.key"), folder.join("agent.key"));
    match (master.exists(), agent.exists()) {
        (true, true) => Err(Error::Refused(format!(
            "{} holds master.key and agent.key, which are two names for one key: keep the one that agents have got \
             their secrets from",
            folder.display()
        ))),
        (false, true) => Ok(agent),
        (_, false) => Ok(master),
    }
}

/// The files `username` and `password` of the folder `admin`.
fn first_admin(folder: &Path, wizard: bool) -> Result<Option<FirstAdmin>, Error> {
    let (name, word) = (folder.join("admin/username"), folder.join("admin/password"));
    let (id, password) = match (line(&name)?, line(&word)?) {
        (None, None) => return Ok(None),
        (Some(id), Some(password)) => (Some(id), Password::new(password)),
        (None, Some(password)) if wizard => (None, Password::new(password)),
        (Some(_), None) | (None, Some(_)) => {
            return Err(Error::Refused(format!(
                "of {} and {} one is missing: give both, or neither",
                name.display(),
                word.display()
            )));
        }
    };
    if let Some(id) = &id {
        check_user_name(id).map_err(|why| Error::Refused(format!("{}: {why}", name.display())))?;
    }
    check_password(&password).map_err(|why| Error::Refused(format!("{}: {why}", word.display())))?;
    Ok(Some(FirstAdmin { id, password, file: word }))
}

/// A file without the end of its last line.
fn line(path: &Path) -> Result<Option<String>, Error> {
    let Some(text) = read_given(path)? else { return Ok(None) };
    if text.len() > MAX_ADMIN {
        return Err(Error::Refused(format!("{} is longer than {MAX_ADMIN} bytes", path.display())));
    }
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Error::Refused(format!("{} is empty", path.display())));
    }
    Ok(Some(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// What reading a folder with these files comes to.
    fn read(files: &[(&str, &str)]) -> Result<Secrets, String> {
        read_for(files, false)
    }

    fn read_for(files: &[(&str, &str)], wizard: bool) -> Result<Secrets, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("admin")).unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let here = format!("{}/", folder.path().display());
        Secrets::read(folder.path(), wizard).map_err(|error| error.to_string().replace(&here, ""))
    }

    const KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";
    const OTHER: &str = "0808080808080808080808080808080808080808080808080808080808080808";

    #[test]
    fn what_pods_are_given_is_read_and_prints_stars() {
        let lists = format!("{OTHER}\n{KEY}\n");
        let secrets = read(&[
            ("agent.key", KEY),
            ("peer.keys", &lists),
            ("encryption.keys", &lists),
            ("admin/username", "root-1\n"),
            ("admin/password", " with spaces \r\n"),
            ("store", "postgres://ci:secret@db/ci"),
            ("metrics-token", "tokentoken"),
        ])
        .unwrap();
        let plain = read(&[("master.key", KEY)]).unwrap();
        assert_eq!(secrets.keys.agent_secret("a"), plain.keys.agent_secret("a"));
        assert_ne!(secrets.keys.peer_token(), plain.keys.peer_token());
        assert!(secrets.keys.encryption().is_some() && plain.keys.encryption().is_none());
        let admin = secrets.admin.clone().unwrap();
        assert_eq!((admin.id.as_deref(), admin.password.expose()), (Some("root-1"), " with spaces "));
        let alone = read_for(&[("agent.key", KEY), ("admin/password", "x\n")], true).unwrap().admin.unwrap();
        assert!(
            alone.id.is_none() && alone.password.expose() == "x" && alone.file.ends_with("admin/password")
        );
        let named = [("agent.key", KEY), ("admin/username", "root")];
        assert!(read_for(&named, true).unwrap_err().contains("one is missing"));
        assert!(secrets.store.is_some() && secrets.metrics_token.is_some());
        assert!(plain.admin.is_none() && plain.store.is_none() && plain.metrics_token.is_none());
        let printed = format!("{secrets:?}");
        for secret in [KEY, OTHER, "with spaces", "postgres", "tokentoken"] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }

    #[test]
    fn what_is_wrong_is_one_sentence() {
        let long = "x".repeat(5_000);
        let long_word = "x".repeat(2_000);
        let key = ("agent.key", KEY);
        for (files, said) in [
            (&[][..], "there is no key at master.key"),
            (&[key, ("master.key", KEY)], "holds master.key and agent.key"),
            (&[("agent.key", "")], "the key at agent.key is not 64 hexadecimal digits"),
            (&[key, ("peer.keys", "")], "peer.keys holds no key"),
            (&[key, ("peer.keys", "x")], "line 1 of peer.keys is not a key"),
            (&[key, ("encryption.keys", "\n")], "encryption.keys holds no key"),
            (&[key, ("admin/username", "root")], "of admin/username and admin/password one is missing"),
            (&[key, ("admin/password", "x")], "of admin/username and admin/password one is missing"),
            (&[key, ("admin/username", "\n"), ("admin/password", "x")], "admin/username is empty"),
            (&[key, ("admin/username", "root"), ("admin/password", "")], "admin/password is empty"),
            (
                &[key, ("admin/username", "a b"), ("admin/password", "x")],
                "admin/username: User name must only",
            ),
            (&[key, ("admin/username", "a"), ("admin/password", &long)], "is longer than 4096 bytes"),
            (
                &[key, ("admin/username", "a"), ("admin/password", &long_word)],
                "a password has 1 to 1024 bytes",
            ),
        ] {
            let refused = read(files).unwrap_err();
            assert!(refused.contains(said), "{refused} is not: {said}");
            assert!(!refused.contains('\n') && !refused.contains(KEY), "{refused}");
        }
    }
}
