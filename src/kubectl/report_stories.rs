//! The archive that is written of a controller, opened again.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::json;

use crate::fake::{Answer, Asked, cluster, found, list, refused};
use crate::stories::{CONTROLLER, PODS, controller, nothing, pod, said, settled};
use crate::{Report, Verdict};

fn reported(secrets: bool) -> impl FnMut(&Asked) -> Answer + Send {
    let log = "2026-11-26T20:00:00Z it said PLANTEDTOO to postgres://u:PLANTED@db/ci\n";
    move |asked| match asked.path.split('?').next().unwrap_or_default() {
        CONTROLLER => {
            let mut object = controller(settled("r"), json!([]));
            object["spec"]["store"] = json!({ "postgres": { "url": "postgres://u:PLANTED@db/ci" } });
            found(object)
        }
        PODS => list(json!([pod(0, "a", "True"), pod(1, "b", "True")])),
        path if path.ends_with("/log") => (200, log.to_owned()),
        path if path.contains("/secrets") && !secrets => refused(403, "alice may not"),
        "/api/v1/namespaces/ci/secrets" => list(json!([{
            "metadata": { "name": "acme-admin" }, "type": "Opaque",
            "data": { "username": "YWRtaW4=", "password": "UExBTlRFRFRPTw==" },
        }])),
        "/api/v1/namespaces/ci/configmaps" => list(json!([{
            "metadata": { "name": "acme" }, "data": { "ci.yaml": "password: |\n  PLANTED\n" },
        }])),
        "/api/v1/namespaces/ci/events" => list(json!([{
            "metadata": { "name": "e" }, "involvedObject": { "name": "acme-0" }, "message": "token=PLANTED",
        }])),
        "/api/v1/nodes/n1" => found(json!({ "metadata": { "name": "n1" }, "status": { "conditions": [] } })),
        "/apis/apps/v1/deployments" => refused(403, "alice sees no other namespace"),
        "/apis" => found(json!({ "kind": "APIGroupList", "groups": [{ "name": "apps", "versions": [] }] })),
        // neither known nor allowed
        path if path.contains("/apis/route.openshift.io") => refused(403, "alice may not"),
        _ => nothing(asked),
    }
}

/// All files of a report: name and text.
fn files(path: &Path) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(path).unwrap()));
    let read = |mut entry: tar::Entry<'_, GzDecoder<File>>| {
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name.trim_start_matches("majordomo-report/").to_owned(), text)
    };
    archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
}

#[tokio::test]
async fn no_planted_secret_is_in_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.tar.gz");
    let (cluster, _) = cluster(reported(true));
    let (done, text) =
        said(async |say| crate::report(&cluster, "acme", Report { file: Some(&path) }, say).await).await;
    assert_eq!(done.unwrap(), Verdict::Good, "{text}");
    let files = files(&path);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    insta::assert_snapshot!(names.join("\n"));
    for (name, text) in &files {
        assert!(!text.contains("PLANTED") && !text.contains("UExBTlRFRFRPTw"), "{name}: {text}");
    }
    let text = |name: &str| &files.iter().find(|(file, _)| file == name).unwrap().1;
    assert!(text("logs/acme-0-majordomo.log").contains("it said *** to postgres://u:***@db/ci"));
    assert!(text("secrets.txt").contains("acme-admin   Opaque   password   10"), "{}", text("secrets.txt"));
    assert!(text("objects/pod-acme-0.yaml").contains("kind: Pod"), "{}", text("objects/pod-acme-0.yaml"));
    let missing = text("missing.txt");
    assert_eq!(missing, "you have no right to list deployments.apps: alice sees no other namespace\n");
}

#[tokio::test]
async fn a_report_without_rights_is_a_part_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.tar.gz");
    let (there, _) = cluster(reported(false));
    let (done, text) =
        said(async |say| crate::report(&there, "acme", Report { file: Some(&path) }, say).await).await;
    assert_eq!(done.unwrap(), Verdict::Good);
    assert!(text.contains("not in it: you have no right to list secrets in namespace ci"), "{text}");
    let all: String = files(&path).into_iter().map(|(_, text)| text).collect();
    // what only a Secret says to be one can't be known
    assert!(!all.contains("PLANTED@") && !all.contains("=PLANTED") && all.contains("PLANTEDTOO"));
    assert_eq!(text.matches("secrets in namespace ci").count(), 1, "{text}");
    let (done, _) =
        said(async |say| crate::report(&there, "acme", Report { file: Some(&path) }, say).await).await;
    assert!(done.unwrap_err().to_string().starts_with("write "));
}
