//! What is counted of those who show who they are.

use meter::{Name, Pairs, Registry, labels};

use crate::accounts::{Denied, Proof};

const AUTHENTICATIONS: Name = Name::new(
    "majordomo_authentications_total",
    "Passwords, API tokens and tokens of jobs that were shown, by what became of it; refused: too many had failed before",
);

labels! {
    /// What was shown.
    pub(crate) enum Shown("proof") {
        Password => "password",
        Token => "token",
        Session => "session",
        Job => "job",
    }
}

impl From<Proof> for Shown {
    fn from(proof: Proof) -> Shown {
        match proof {
            Proof::Password => Shown::Password,
            Proof::Token => Shown::Token,
            Proof::Session => Shown::Session,
        }
    }
}

labels! {
    pub(crate) enum Outcome("outcome") {
        Ok => "ok",
        Wrong => "wrong",
        Refused => "refused",
        Unavailable => "unavailable",
    }
}

/// Filled by the accounts; read when somebody asks.
#[derive(Debug, Default)]
pub struct Metrics {
    authentications: Pairs<Shown, Outcome>,
}

impl Metrics {
    pub fn register(&self, to: &mut Registry) {
        self.authentications.add_to(to, AUTHENTICATIONS);
    }

    pub(crate) fn shown<T>(&self, proof: impl Into<Shown>, result: &Result<T, Denied>) {
        let outcome = match result {
            Ok(_) => Outcome::Ok,
            Err(Denied::Wrong) => Outcome::Wrong,
            Err(Denied::Busy(_)) => Outcome::Refused,
            Err(Denied::Store(_)) => Outcome::Unavailable,
        };
        self.authentications.inc(proof.into(), outcome);
    }
}
