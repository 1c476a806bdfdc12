//! Large things by key: in a folder, or in the PostgreSQL database itself.

mod folder;
mod table;

pub(crate) use folder::Folder;
pub(crate) use table::Table;
