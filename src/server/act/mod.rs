//! What users do. Each handler decodes, calls one command, and answers as Jenkins does.

pub(crate) mod builds;
pub(crate) mod controller;
pub(crate) mod items;
pub(crate) mod nodes;
pub(crate) mod users;
