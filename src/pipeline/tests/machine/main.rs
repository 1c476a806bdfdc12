//! Stories of builds, told through the public face of the machine.

mod abort;
mod corpus;
mod declarative;
mod language;
mod limits;
mod replay;
mod steps;
mod support;
