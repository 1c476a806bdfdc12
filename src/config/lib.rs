//! Configuration as values: `config.xml` of jobs, folders and nodes, and the `HAController` resource. Pure.

mod item;
mod node;

pub use item::{ConfigError, Definition, GitScm, ItemConfig, JobConfig, with_disabled};
pub use node::NodeConfig;
