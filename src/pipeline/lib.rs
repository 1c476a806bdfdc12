//! The language of Jenkinsfiles: lexer, parser, Declarative checker, compiler, virtual machine, journal.
//!
//! Pure: text and committed journal records in, acts out. It does no I/O, reads no clock and draws no random
//! number, so a build that is replayed from its journal stands exactly where it stood.

pub mod act;
pub mod ast;
mod compile;
pub mod declarative;
pub mod diagnostic;
pub mod journal;
mod lexer;
mod library;
pub mod machine;
pub mod parser;
pub mod program;
mod vm;
