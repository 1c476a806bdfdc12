//! Harness of tests with real processes. A test crate takes it in by `#[path = "../support/mod.rs"] mod support;`.

pub(crate) mod controller;
pub(crate) mod front;
pub(crate) mod http;
pub(crate) mod items;
pub(crate) mod machines;
pub(crate) mod next;
pub(crate) mod peers;
pub(crate) mod postgres;
pub(crate) mod processes;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod s3;
pub(crate) mod unit;
