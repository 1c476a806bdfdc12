//! What a script can use: steps, methods of values, a few classes, and the objects `env`, `currentBuild`, ….
//!
//! There is nothing else: a name that is not here does not lead out of the machine.

mod builds;
pub(crate) mod classes;
pub(crate) mod date;
mod freestyle;
pub(crate) mod globals;
pub(crate) mod intrinsics;
mod json;
pub(crate) mod methods;
pub(crate) mod regex;
mod statics;
pub(crate) mod steps;
