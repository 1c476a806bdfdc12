//! Why a configuration is refused.

/// Why a configuration is refused; a sentence for users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl ConfigError {
    pub(crate) fn new(sentence: impl Into<String>) -> ConfigError {
        ConfigError(sentence.into())
    }
}
