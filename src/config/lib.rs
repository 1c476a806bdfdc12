//! Configuration as values: `config.xml` of jobs, folders and nodes. Pure.
//!
//! Everything here comes from outside: sizes are limited, and whatever is refused is refused with a sentence.

mod error;
mod freestyle_xml;
mod git;
mod item;
mod node;
mod parameter;
mod pipeline_xml;
mod xml;

pub use error::ConfigError;
pub use git::GitScm;
pub use item::{Definition, Elastic, FreestyleJob, ItemConfig, JobConfig, with_disabled};
pub use node::{MAX_EXECUTORS, NodeConfig};
pub use pipeline_xml::new_pipeline_xml;

#[cfg(test)]
mod mutation;
