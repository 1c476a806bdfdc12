//! What went wrong on the way to the API server, and when it is tried again.

use std::time::Duration;

/// Waits are doubled up to this.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}")]
    Api { what: String, source: Box<kube::Error> },
    #[error("read {what}")]
    Read { what: String, source: serde_json::Error },
    #[error("the object has no {0}")]
    Incomplete(&'static str),
    #[error("the replica at {0}")]
    Replica(String),
    #[error("it took longer than {} s", .0.as_secs())]
    Late(Duration),
    #[error("the system gives no random bytes")]
    NoRandom,
}

/// What kind of error it is; it says when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Somebody else wrote meanwhile: at once.
    Conflict,
    /// The API server refuses it as it is: when something changes, and now and then.
    Refused,
    /// Nobody answers, or the server has too much to do: soon, then less and less often.
    Away,
}

impl Error {
    pub(crate) fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Error {
        let what = what.into();
        move |source| Error::Api { what, source: Box::new(source) }
    }

    pub fn class(&self) -> Class {
        match self {
            Error::Api { source, .. } => match &**source {
                kube::Error::Api(status) => match status.code {
                    409 => Class::Conflict,
                    400 | 403 | 404 | 405 | 413 | 415 | 422 => Class::Refused,
                    // of those who may refuse this kind of objects, one can't be asked; others can be written
                    500 if status.message.contains("failed calling webhook") => Class::Refused,
                    _ => Class::Away,
                },
                _ => Class::Away,
            },
            Error::Read { .. } | Error::Incomplete(_) => Class::Refused,
            Error::Replica(_) | Error::Late(_) | Error::NoRandom => Class::Away,
        }
    }

    /// What the API server says of what it refuses; `None`: it is no refusal.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Error::Api { source, .. } if self.class() == Class::Refused => match &**source {
                kube::Error::Api(status) => Some(&status.message),
                _ => None,
            },
            _ => None,
        }
    }

    /// Stable label for metrics and log fields.
    pub fn reason(&self) -> &'static str {
        match self.class() {
            Class::Conflict => "Conflict",
            Class::Refused => "Refused",
            Class::Away => "Away",
        }
    }
}

/// After how long it is tried again, the `attempt`th time in a row, from 1. `chance` is between 0 and 1 and spreads those that
/// have failed together.
pub(crate) fn wait(class: Class, attempt: u32, chance: f64) -> Duration {
    let (first, longest) = match class {
        Class::Conflict => (Duration::from_millis(50), Duration::from_secs(2)),
        Class::Refused => (Duration::from_secs(10), LONGEST * 5),
        Class::Away => (Duration::from_millis(500), LONGEST),
    };
    let doubled = first.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1).min(16)));
    doubled.min(longest).mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn answered(code: u16, message: &str) -> Error {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        Error::api("write")(kube::Error::Api(Box::new(status)))
    }

    #[test]
    fn a_webhook_that_is_away_refuses_its_kind_of_objects_only() {
        let webhook = "Internal error occurred: failed calling webhook \"validate.nginx\": no endpoints";
        assert_eq!(answered(500, webhook).refusal(), Some(webhook));
        for (code, message) in [(500, "etcdserver: request timed out"), (503, webhook), (429, "later")] {
            assert_eq!(answered(code, message).refusal(), None);
            assert_eq!(answered(code, message).class(), Class::Away);
        }
    }

    #[test]
    fn waits_grow_to_a_limit_and_differ() {
        let of = |class, attempt| wait(class, attempt, 1.0);
        assert_eq!(of(Class::Conflict, 1), Duration::from_millis(50));
        assert_eq!(of(Class::Away, 1), Duration::from_millis(500));
        assert_eq!(of(Class::Away, 4), Duration::from_secs(4));
        for class in [Class::Conflict, Class::Refused, Class::Away] {
            assert!(of(class, u32::MAX) <= LONGEST * 5);
            assert!(wait(class, 3, 0.0) * 2 == wait(class, 3, 1.0));
        }
    }
}
