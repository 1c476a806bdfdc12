//! Who may do what: the controller's keys, passwords, API tokens, sessions, and the accounts behind them.
//!
//! Everything secret here is a type that prints `***`. Nothing is kept per replica that another could not work out or read:
//! a crumb, an agent's secret, a session or a token that one replica gave out is good at all of them.

mod accounts;
mod attempts;
mod keys;
mod known;
mod metrics;
mod password;
mod token;

pub use accounts::{
    Accounts, Denied, Identity, NewPassword, NewUser, Proof, REMEMBER_ME, UserChange, UserError,
};
pub use keys::{KeyError, Keys};
pub use metrics::Metrics;
pub use password::{Password, PasswordError, hash_password, random_password};
pub use token::{Token, random_token, random_uuid, token_hash};
