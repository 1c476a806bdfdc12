//! The cluster of this test process, how to speak with it, and the operator's controllers in it.

pub(crate) mod agent;
pub(crate) mod cluster;
pub(crate) mod container;
pub(crate) mod controller;
pub(crate) mod kubectl;
mod objects;
pub(crate) mod operator;
pub(crate) mod pulse;
pub(crate) mod scene;
pub(crate) mod traffic;
pub(crate) mod watch;

pub(crate) use crate::common::http;
