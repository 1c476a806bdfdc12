//! `home.json`: what a home is. Read and compared here, before anything is written.

use std::fs;

use serde::{Deserialize, Serialize};

use super::{LOCK_MARK, Paths, Wanted, is_ours};
use crate::files::{read_json, read_text};
use crate::{Error, StoreUrl};

/// Newest layout that this version knows.
pub(super) const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) format: u32,
    /// Identity that the store has, too.
    pub(super) controller: String,
    /// Name of the controller.
    pub(super) name: String,
    /// `sqlite` or `postgres`.
    pub(super) store: String,
    /// [`StoreUrl::place`]; missing where an older version has made the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
    /// Whether the user was told the first password and what to try; missing where an older version has made the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) told: Option<bool>,
}

/// What the home says it is, checked against what is wanted. `None`: a new one, or one that is half made.
pub(super) fn identity(paths: &Paths, wanted: &Wanted) -> Result<Option<Identity>, Error> {
    let home = paths.root().display();
    // the format first: a newer layout may have other fields
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Some(Format { format }) = read_json(&paths.identity())? else {
        if !is_half_made(paths)? {
            return Err(Error::Refused(format!(
                "{home} is not empty and no home of a controller; choose another --home"
            )));
        }
        return Ok(None);
    };
    if format > FORMAT {
        return Err(Error::Refused(format!(
            "the home {home} has format {format} of a newer Majordomo, this one knows {FORMAT}; use the newer program"
        )));
    }
    let identity: Option<Identity> = read_json(&paths.identity())?;
    if let Some(identity) = &identity {
        agrees(identity, paths, wanted)?;
    }
    Ok(identity)
}

fn agrees(identity: &Identity, paths: &Paths, wanted: &Wanted) -> Result<(), Error> {
    let Identity { format: _, controller: _, name, store, place, told: _ } = identity;
    let home = paths.root().display();
    if let Some(other) = wanted.name.as_ref().filter(|wanted| *wanted != name) {
        return Err(Error::Refused(format!(
            "the home {home} belongs to the controller {name}, not {other}; choose another --home"
        )));
    }
    let own = StoreUrl::sqlite(&paths.database());
    let given = wanted.store.as_ref().unwrap_or(&own);
    let what = if store == "sqlite" { "SQLite" } else { "PostgreSQL" };
    if given.engine() != store {
        return Err(Error::Refused(format!(
            "the home {home} keeps its state in {what}; give the same --store as at its first start, or another --home"
        )));
    }
    let other = given.place(paths.root());
    if let Some(place) = place.as_ref().filter(|place| **place != other) {
        return Err(Error::Refused(format!(
            "the home {home} keeps its state in {what} at {place}, not at {other}; give the same --store as at its first \
             start, choose another --home, or, when the database was moved, correct \"place\" in {}",
            paths.identity().display()
        )));
    }
    Ok(())
}

/// Whether there is nothing but what a first start that was cut short leaves. It begins with the lock, so a folder of
/// somebody else that happens to have our names is not ours.
fn is_half_made(paths: &Paths) -> Result<bool, Error> {
    let entries = fs::read_dir(paths.root()).map_err(Error::io("read", paths.root()))?;
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    // killed between the making of the lock and the writing of its mark, a start leaves it empty
    let mark = |text: String| text.is_empty() || text.starts_with(LOCK_MARK);
    let began = || read_text(&paths.lock()).ok().flatten().is_some_and(mark);
    Ok(names.is_empty() || (began() && names.iter().all(|name| is_ours(name))))
}
