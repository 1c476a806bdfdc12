//! What a command can answer instead of doing it.

/// Why a command was refused. The sentences are for users.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Name(#[from] model::NameError),
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Exists(String),
    /// It can't be done in this state: disabled, running, not parameterized.
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    Limit(String),
    #[error("{0}")]
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Error {
        match error {
            store::Error::NotFound(what) => Error::NotFound(format!("{what} does not exist")),
            store::Error::Exists(what) => Error::Exists(format!("{what} already exists")),
            store::Error::Conflict(why) => Error::Conflict(why),
            store::Error::Limit(why) => Error::Limit(why),
            error @ (store::Error::Fenced { .. }
            | store::Error::Unavailable(_)
            | store::Error::Unknown(_)
            | store::Error::Corrupt(_)) => Error::Store(error),
        }
    }
}

impl Error {
    /// Stable label for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Error::Name(_) => "Name",
            Error::Config(_) => "Config",
            Error::NotFound(_) => "NotFound",
            Error::Exists(_) => "Exists",
            Error::Conflict(_) => "Conflict",
            Error::Limit(_) => "Limit",
            Error::Store(error) => error.reason(),
        }
    }
}
