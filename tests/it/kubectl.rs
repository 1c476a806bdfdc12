//! What `kubectl majordomo` says before a cluster has said anything.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::BINARY;

/// As kubectl calls it, by a user who has named no cluster.
fn plugin(folder: &Path, arguments: &[&str]) -> Output {
    let program = folder.join("kubectl-majordomo");
    if !program.exists() {
        symlink(BINARY, &program).unwrap();
    }
    let mut command = Command::new(program);
    command.args(arguments).env("HOME", folder);
    for variable in ["KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn without_a_cluster_it_says_how_to_name_one() {
    let folder = tempfile::tempdir().unwrap();
    let text = told(&plugin(folder.path(), &["status", "acme"]));
    assert!(text.starts_with("kubectl majordomo: no cluster is named: "), "{text}");
    assert!(text.contains("--kubeconfig FILE"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let text = told(&plugin(folder.path(), &["status", "acme", "--kubeconfig", "/nowhere/at/all"]));
    assert!(text.contains("/nowhere/at/all"), "{text}");
}

#[test]
fn a_cluster_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // whoever listens there goes at once, so that nobody answers
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("http://127.0.0.1:{port}");
    let file = folder.path().join("config");
    let config = format!(
        r#"{{"apiVersion":"v1","kind":"Config","current-context":"c","users":[{{"name":"u","user":{{}}}}],
        "contexts":[{{"name":"c","context":{{"cluster":"c","user":"u"}}}}],
        "clusters":[{{"name":"c","cluster":{{"server":"{server}"}}}}]}}"#
    );
    std::fs::write(&file, config).unwrap();
    let text = told(&plugin(folder.path(), &["restart", "acme", "--kubeconfig", file.to_str().unwrap()]));
    assert!(
        text.starts_with(&format!("kubectl majordomo: the cluster at {server} does not answer: ")),
        "{text}"
    );
    let text = told(&plugin(folder.path(), &["status", "acme", "--context", "other"]));
    assert!(text.starts_with("kubectl majordomo: no cluster is named: "), "{text}");
}

#[test]
fn it_is_the_same_program_under_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let help = plugin(folder.path(), &["--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && text.contains("kubectl majordomo status acme"), "{text}");
    let same = Command::new(BINARY).args(["kubectl", "status", "--help"]).output().unwrap();
    assert!(same.status.success() && String::from_utf8(same.stdout).unwrap().contains("Example"));
}
