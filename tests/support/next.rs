//! The next version: this one built with the feature `next`: a migration of the busiest table, a pipeline machine whose `echo`
//! differs, and a message to peers that this version does not know.
#![allow(dead_code, clippy::unwrap_used, reason = "test support; no test uses all of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds it, if it is not there yet; its program.
pub(crate) fn next_version() -> PathBuf {
    let this = Path::new(env!("CARGO_BIN_EXE_majordomo"));
    let target = this.ancestors().nth(2).unwrap();
    let folder = target.join("next");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--quiet", "--workspace", "--bin", "majordomo"]);
    build.args(["--features", "majordomo/next", "--target-dir"]).arg(&folder);
    // What both versions have in common is compiled once.
    build.env("CARGO_BUILD_BUILD_DIR", target).current_dir(env!("CARGO_MANIFEST_DIR"));
    // What cargo tells a test of its package would have dependencies whose build scripts look at it compiled anew.
    for (name, _) in std::env::vars_os() {
        let of_package = name.to_string_lossy();
        if of_package.starts_with("CARGO_PKG_") || of_package.starts_with("CARGO_MANIFEST_") {
            build.env_remove(&name);
        }
    }
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let built = build.output().unwrap();
    assert!(built.status.success(), "{}: {}", built.status, String::from_utf8_lossy(&built.stderr));
    folder.join(this.parent().unwrap().file_name().unwrap()).join("majordomo")
}
