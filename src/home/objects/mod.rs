//! Large things by key: in a folder, in the PostgreSQL database itself, or in a bucket.

mod bucket;
mod fault;
mod folder;
mod place;
mod reach;
mod table;
mod url;
mod web;

pub(crate) use folder::Folder;
pub use place::{Marker, Place, PlaceError};
pub(crate) use table::Table;
pub use url::{ObjectsUrl, ObjectsUrlError};
