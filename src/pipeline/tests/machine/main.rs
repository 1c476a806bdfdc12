//! Stories of builds, told through the public face of the machine.

mod language;
mod support;
