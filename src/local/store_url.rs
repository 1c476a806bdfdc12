//! Where state is kept, as `--store` and the environment say it.

use std::fmt;
use std::path::{Path, PathBuf, absolute};

use crate::Error;
use crate::files;

/// Environment variable with the URL; children get it there, because arguments show in `ps`.
pub const STORE_ENV: &str = "MAJORDOMO_STORE";

/// `sqlite:PATH` or `postgres://…`. Prints without password.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(String);

impl StoreUrl {
    /// Reads a URL, or `@FILE` with one in it.
    pub fn parse(text: &str) -> Result<StoreUrl, Error> {
        let text = text.trim();
        match text.strip_prefix('@') {
            None => StoreUrl::checked(text),
            Some(file) => {
                let missing = || Error::Refused(format!("--store: there is no file {file}"));
                let content = files::read_given(Path::new(file))?.ok_or_else(missing)?;
                StoreUrl::checked(content.trim())
            }
        }
    }

    /// Reads a URL of PostgreSQL; `None` when it is none.
    pub(crate) fn postgres(url: &str) -> Option<StoreUrl> {
        let url = url.trim();
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme))?;
        (!rest.is_empty() && !rest.contains(char::is_whitespace)).then(|| StoreUrl(url.to_owned()))
    }

    fn checked(url: &str) -> Result<StoreUrl, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Error::Refused("--store: sqlite: needs a path".to_owned()));
            }
            return Ok(StoreUrl::sqlite(&absolute(path).map_err(Error::io("look at", Path::new(path)))?));
        }
        StoreUrl::postgres(url).ok_or_else(|| {
            Error::Refused(
                "--store takes sqlite:PATH, postgres://… or @FILE with one of them in it".to_owned(),
            )
        })
    }

    pub(crate) fn sqlite(path: &Path) -> StoreUrl {
        StoreUrl(format!("sqlite:{}", path.display()))
    }

    /// `sqlite` or `postgres`.
    pub(crate) fn engine(&self) -> &'static str {
        if self.0.starts_with("sqlite:") { "sqlite" } else { "postgres" }
    }

    /// Of a SQLite database.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.0.strip_prefix("sqlite:").map(Path::new)
    }

    /// Where the database is, for people and to be compared: a path, relative for what is in the home, which may be moved;
    /// or `HOST:PORT/DATABASE`, without user and password.
    pub(crate) fn place(&self, home: &Path) -> String {
        match self.path() {
            Some(path) => {
                let path = real(path);
                path.strip_prefix(home).unwrap_or(&path).display().to_string()
            }
            None => postgres_place(&self.0),
        }
    }

    /// Whether both are one database, whoever logs in there and with whatever password.
    pub fn same_place(&self, other: &StoreUrl) -> bool {
        self.place(Path::new("/")) == other.place(Path::new("/"))
    }

    /// With its password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Without symbolic links in its folder, as far as that is there.
fn real(path: &Path) -> PathBuf {
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}

/// What the URL says; what it leaves out is what servers have by default.
fn postgres_place(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    // a password may hold an @ that nobody has encoded
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (server, ""),
    };
    let (mut host, mut port, mut database) = (host, port, database);
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "host" | "hostaddr" => host = value,
            "port" => port = value,
            "dbname" => database = value,
            _ => {}
        }
    }
    let host = if host.is_empty() { "localhost" } else { host }.to_lowercase();
    let port = if port.is_empty() { "5432" } else { port };
    // a password that nobody has encoded may reach up to here: such a URL is refused later, but told before
    let port = if port.chars().all(|c| c.is_ascii_digit()) { port } else { "?" };
    let database = database.rsplit('@').next().unwrap_or_default();
    format!("{host}:{port}/{database}")
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({}:***)", self.engine())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_without_user_and_password() {
        let place = |url: &str| StoreUrl::parse(url).unwrap().place(Path::new("/h"));
        for (url, wanted) in [
            ("sqlite:/h/majordomo.db", "majordomo.db"),
            ("sqlite:/elsewhere/x.db", "/elsewhere/x.db"),
            ("postgres://u:secret@Db.example:6000/ci?sslmode=require", "db.example:6000/ci"),
            ("postgres://u:se:c@ret@h/ci", "h:5432/ci"),
            ("postgresql://u@[::1]/ci", "[::1]:5432/ci"),
            ("postgres://u@[::1]:6000/ci", "[::1]:6000/ci"),
            ("postgres:///ci?host=/run/pg&port=6000", "/run/pg:6000/ci"),
            ("postgres://h", "h:5432/"),
            ("postgres://u:sec/ret@h/ci", "u:?/h/ci"),
            ("postgres://u:sec?ret@h/ci", "u:?/"),
        ] {
            assert_eq!(place(url), wanted, "{url}");
        }
    }

    #[test]
    fn a_new_password_changes_no_place() {
        let url = |text: &str| StoreUrl::parse(text).unwrap();
        let before = url("postgres://ci:one@db/ci");
        assert!(before.same_place(&url("postgres://other:two@db:5432/ci?sslmode=require")));
        assert!(!before.same_place(&url("postgres://ci:one@db/other")));
        assert!(!before.same_place(&url("postgres://ci:one@db2/ci")));
        assert!(!before.same_place(&url("sqlite:/ci")));
    }

    #[test]
    fn urls_are_read_and_rubbish_is_refused() {
        assert_eq!(StoreUrl::parse("sqlite:/a/b.db").unwrap().expose(), "sqlite:/a/b.db");
        assert_eq!(StoreUrl::parse("sqlite:///a/b.db").unwrap().expose(), "sqlite:/a/b.db");
        assert!(StoreUrl::parse("sqlite:b.db").unwrap().expose().starts_with("sqlite:/"));
        let secret = StoreUrl::parse("postgres://u:secret@h/d").unwrap();
        assert_eq!(format!("{secret:?}"), "StoreUrl(postgres:***)");
        for bad in ["", "sqlite:", "postgres://", "mysql://x", "@/no/such/file", "postgres://a b"] {
            let said = StoreUrl::parse(bad).unwrap_err().to_string();
            assert!(said.starts_with("--store"), "{bad}: {said}");
        }
    }
}
