//! What `majordomo crd` prints.

use std::process::Command;

use crate::harness::BINARY;

#[test]
fn the_definition_that_is_kept_is_the_one_that_is_printed() {
    let crd = |more: &[&str]| Command::new(BINARY).arg("crd").args(more).output().unwrap();
    let printed = crd(&[]);
    assert!(printed.status.success() && printed.stderr.is_empty(), "{printed:?}");
    assert_eq!(String::from_utf8(printed.stdout).unwrap(), include_str!("../../crds/hacontrollers.yaml"));
    assert!(crd(&["--help"]).status.success());
    assert_eq!(crd(&["acme.yaml"]).status.code(), Some(2));
}
