//! The memory store under the contract, and what only it has.

mod contract;
mod failing;
mod memory;
