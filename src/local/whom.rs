//! Whom `majordomo replicas` asks, and with which token or password. What a home has goes to that home's own address and
//! nowhere else, unless the user names both.

use std::path::Path;

use crate::home::ADMIN;
use crate::table::Auth;
use crate::{Error, Paths, UpRecord, files, wizard};

/// What the user has said; `None` where nothing was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    pub home: Option<&'a Path>,
    pub url: Option<&'a str>,
    /// `USER:PASSWORD`, or `@FILE` with that in it.
    pub auth: Option<&'a str>,
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct Whom {
    pub(crate) url: String,
    pub(crate) auth: Auth,
    /// The replicas that `up` keeps running; empty when that is not known.
    pub(crate) replicas: Vec<String>,
}

/// The address to ask, and who asks.
pub fn whom(said: Said<'_>, default_home: &Path) -> Result<Whom, Error> {
    let home = said.home.unwrap_or(default_home);
    let paths = Paths::new(home);
    let own = UpRecord::read(&paths.up_record());
    let url = match said.url {
        Some(url) => url.to_owned(),
        None => {
            let nobody = || {
                let home = home.display();
                Error::Refused(format!("no controller has run in {home}; use --home or --url"))
            };
            own.as_ref().map_err(|e| Error::Refused(e.to_string()))?.as_ref().ok_or_else(nobody)?.url.clone()
        }
    };
    let own = own.ok().flatten().filter(|own| same(&own.url, &url));
    let is_own = own.is_some();
    let replicas = own.map(|own| own.replicas).unwrap_or_default();
    if let Some(auth) = said.auth {
        let auth = match auth.strip_prefix('@') {
            Some(file) => text(Path::new(file), "--auth")?,
            None => auth.to_owned(),
        };
        return Ok(Whom { url, auth: Auth::parse(&auth)?, replicas });
    }
    if said.home.is_none() && !is_own {
        return Err(Error::Refused(format!(
            "{url} is not the address of {}, so its password is not sent there; say who asks with --auth @FILE \
             (USER:PASSWORD in it), or name the controller's folder with --home",
            home.display()
        )));
    }
    // the password may have been changed since
    let token = files::read_given(&paths.admin_token())?.map(|token| token.trim().to_owned());
    let secret = token.map_or_else(|| text(&paths.admin_password(), "use --auth"), Ok)?;
    let admin = wizard::admin_name(&paths)?.unwrap_or_else(|| ADMIN.to_owned());
    Ok(Whom { url, auth: Auth::parse(&format!("{admin}:{secret}"))?, replicas })
}

fn text(file: &Path, what: &str) -> Result<String, Error> {
    let missing = || Error::Refused(format!("{what}: there is no file {}", file.display()));
    Ok(files::read_given(file)?.ok_or_else(missing)?.trim().to_owned())
}

/// Whether both mean one address, however the last `/` and the host's letters are written.
fn same(own: &str, given: &str) -> bool {
    own.trim_end_matches('/').eq_ignore_ascii_case(given.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        std::fs::write(folder.path().join("admin-password"), "first\n").unwrap();
        let replicas = vec!["majordomo-0".to_owned()];
        let record = UpRecord { pid: 1, url: "http://127.0.0.1:8080/".to_owned(), replicas };
        record.write(&Paths::new(folder.path()).up_record()).unwrap();
        folder
    }

    #[test]
    fn the_password_of_a_home_is_not_sent_to_another_address() {
        let home = home();
        let said = |url| Said { url: Some(url), ..Said::default() };
        for url in [
            "http://evil.example/",
            "http://127.0.0.1:8081/",
            "http://127.0.0.1:8080.evil.example/",
            "http://127.0.0.1:8080@evil.example/",
            "http://127.0.0.1:8080/other",
        ] {
            let why = whom(said(url), home.path()).unwrap_err().to_string();
            assert!(why.contains("its password is not sent there; say who asks with --auth"), "{url}: {why}");
        }
        // its own address, however it is written
        for url in ["http://127.0.0.1:8080", "HTTP://127.0.0.1:8080//"] {
            let Whom { auth, replicas, .. } = whom(said(url), home.path()).unwrap();
            assert_eq!(auth.expose(), "admin:first", "{url}");
            assert_eq!(replicas, ["majordomo-0"]);
        }
        // a token outlives a changed password
        std::fs::write(home.path().join("admin-token"), "11abc\n").unwrap();
        assert_eq!(whom(said("http://127.0.0.1:8080"), home.path()).unwrap().auth.expose(), "admin:11abc");
        // of the user whom the setup wizard has made
        std::fs::write(home.path().join("admin-name"), "ann\n").unwrap();
        assert_eq!(whom(said("http://127.0.0.1:8080"), home.path()).unwrap().auth.expose(), "ann:11abc");
        std::fs::remove_file(home.path().join("admin-name")).unwrap();
        std::fs::remove_file(home.path().join("admin-token")).unwrap();
        // both named: it is wanted
        let both = Said { home: Some(home.path()), ..said("http://ci.example/") };
        let both = whom(both, Path::new("/nowhere")).unwrap();
        assert_eq!(both.auth.expose(), "admin:first");
        // which replicas another controller has is not known here
        assert!(both.replicas.is_empty());
    }

    #[test]
    fn without_a_home_the_address_and_the_user_are_enough() {
        let nowhere = Path::new("/no/such/home");
        let said = Said { url: Some("http://ci.example/"), auth: Some("me:mine"), home: None };
        let Whom { url, auth, .. } = whom(said, nowhere).unwrap();
        assert_eq!((url.as_str(), auth.expose()), ("http://ci.example/", "me:mine"));
        assert!(whom(Said { auth: None, ..said }, nowhere).is_err());
        let said = Said { auth: Some("@/no/such/file"), ..said };
        assert_eq!(whom(said, nowhere).unwrap_err().to_string(), "--auth: there is no file /no/such/file");
        let why = whom(Said::default(), nowhere).unwrap_err().to_string();
        assert!(why.contains("no controller has run in /no/such/home"), "{why}");
    }
}
