//! `config.xml` of nodes (`<slave>`).

use model::{NameError, NodeName};
use store::Node;

use crate::ConfigError;

/// A node's configuration; what it does not know is kept in `xml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    pub name: String,
    pub description: String,
    pub executors: u32,
    pub labels: Vec<String>,
    pub exclusive: bool,
    pub remote_fs: String,
    /// As posted, or made from the fields.
    pub xml: String,
}

impl NodeConfig {
    pub fn parse(_xml: &str) -> Result<NodeConfig, ConfigError> {
        Err(ConfigError("configuration can't be read yet".to_owned()))
    }

    pub fn to_node(&self) -> Result<Node, NameError> {
        Ok(Node {
            name: NodeName::parse(&self.name)?,
            description: self.description.clone(),
            executors: self.executors,
            labels: self.labels.clone(),
            exclusive: self.exclusive,
            remote_fs: self.remote_fs.clone(),
            offline: None,
            config: self.xml.clone(),
        })
    }
}
