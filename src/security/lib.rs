//! Who may do what: the controller's keys, passwords, API tokens, sessions, and the accounts behind them.
//!
//! Everything secret here is a type that prints `***`. Nothing is kept per replica that another could not work out or read:
//! a crumb, an agent's secret, a session or a token that one replica gave out is good at all of them.

mod accounts;
mod attempts;
mod key_list;
mod keys;
mod known;
mod metrics;
mod password;
mod token;

pub use accounts::{
    Accounts, Denied, FirstToken, FirstUser, Identity, NewPassword, NewUser, Proof, REMEMBER_ME, UnlockKey,
    UserChange, UserError, check_user_name,
};
pub use key_list::KeyList;
pub use keys::{KeyError, Keys};
pub use metrics::Metrics;
pub use password::{Password, PasswordError, check_password, hash_password, random_password};
pub use token::{Token, random_token, random_uuid, token_hash};
