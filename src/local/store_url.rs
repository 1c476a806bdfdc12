//! Where state is kept, as `--store` and the environment say it.

use std::fmt;
use std::path::{Path, absolute};

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
        match text.strip_prefix('@') {
            None => StoreUrl::checked(text.trim()),
            Some(file) => {
                let missing = || Error::Refused(format!("--store: there is no file {file}"));
                let content = files::read_text(Path::new(file))?.ok_or_else(missing)?;
                StoreUrl::checked(content.trim())
            }
        }
    }

    fn checked(url: &str) -> Result<StoreUrl, Error> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(Error::Refused("--store: sqlite: needs a path".to_owned()));
            }
            return Ok(StoreUrl::sqlite(&absolute(path).map_err(Error::io("look at", Path::new(path)))?));
        }
        let postgres =
            ["postgres://", "postgresql://"].iter().any(|p| url.starts_with(p) && url.len() > p.len());
        if postgres && !url.contains(char::is_whitespace) {
            return Ok(StoreUrl(url.to_owned()));
        }
        Err(Error::Refused(
            "--store takes sqlite:PATH, postgres://… or @FILE with one of them in it".to_owned(),
        ))
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

    /// With its password.
    pub fn expose(&self) -> &str {
        &self.0
    }
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
