//! Who may do what: the controller's keys, passwords, and the accounts behind basic authentication.
//!
//! Everything secret here is a type that prints `***`. Nothing is kept per replica that another could not work out: a
//! crumb or an agent's secret that one replica gave out is good at all of them.

mod accounts;
mod attempts;
mod keys;
mod password;

pub use accounts::{Accounts, Denied, Identity};
pub use keys::{KeyError, Keys};
pub use password::{Password, PasswordError, hash_password, random_password};
