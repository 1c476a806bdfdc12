//! Wire formats: bytes in, values out. No sockets, no clock.
//!
//! [`ops`] and [`spools`] say what can be asked of an agent, whatever its link. [`native`] is the wire format of the native agent;
//! the formats of stock agents and of the stock CLI come beside it.

pub mod native;
pub mod ops;
pub mod peer;
pub mod spools;
