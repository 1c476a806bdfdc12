//! The native agent: connects to a controller, starts processes once, spools their output and sends it from any offset.
//!
//! Processes do not depend on the agent: it may be killed and started again while they run. It decides nothing about
//! builds; whoever shows the highest fence of a build commands.
//!
//! What it keeps below the work folder:
//!
//! ```text
//! majordomo/lock                     held while an agent runs
//! majordomo/instance                 random id of this work folder
//! majordomo/fences                   highest fence seen of each build, and of those forgotten lately
//! majordomo/builds/BUILD/STEP/
//!     script  out  stdout            what runs, its output, its standard output when that is the result
//!     started                        made exclusively by the wrapper: boot id, and its pid and start time
//!     exit                           exit status, written by the wrapper
//!     killed                         the last signal with which the agent ended the step
//!     failed                         a sentence: why there is no exit status
//! majordomo/controller               whose builds these are
//! majordomo/trash/                   forgotten builds on their way out
//! ```

mod config;
mod descriptor;
mod error;
mod fences;
mod flags;
mod home;
mod link;
mod ops;
mod service;
mod step;

pub use config::{Config, Secret};
pub use error::Error;
pub use flags::{Flags, HELP};
pub use service::run;
