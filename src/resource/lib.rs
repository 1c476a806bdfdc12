//! The `HAController` resource: one description of a controller for Kubernetes and for `majordomo up -f`. Its types, what is
//! refused, what Kubernetes is told of it, and what a run on one machine makes of it. Pure: it talks to no API server.
//!
//! Everything here comes from outside: sizes are limited, and whatever is refused is refused with a sentence.

mod condition;
mod definition;
mod document;
mod error;
mod expose;
mod limits;
mod local;
mod rules;
mod schema;
mod spec;
mod status;
mod store;
mod text;
mod words;

pub use condition::{ConditionType, Reason};
pub use definition::{definition, definition_yaml, known};
pub use error::Error;
pub use expose::*;
pub use local::{LocalPlan, LocalRollout, LocalStore, Warning, local_plan};
pub use spec::*;
pub use status::*;
pub use store::*;
pub use text::{Size, Span, TimeOfDay};

pub const API_VERSION: &str = "majordomo.dev/v1alpha1";
pub const KIND: &str = "HAController";

#[cfg(test)]
mod definition_tests;
#[cfg(test)]
mod document_tests;
