//! What waits, seen and ended from outside; and what builds leave, fetched at once.

use crate::harness::{shared, until};

#[test]
fn a_step_that_no_node_suits_is_seen_in_the_queue_and_cancelled_there() {
    let it = shared();
    it.admin.create_job("nowhere", "node('no-such-label') { echo 'never' }");
    let number = it.admin.follow(&it.admin.trigger("nowhere", "build"));
    let item = until("the step to stand in the queue", || {
        let queue = it.admin.json("/queue/api/json");
        let items = queue["items"].as_array().unwrap();
        items.iter().find(|item| item["task"]["name"] == "part of nowhere #1").cloned()
    });
    assert_eq!(item["why"], "There are no nodes with the label ‘no-such-label’");
    assert_eq!((item["stuck"].as_bool(), item["buildable"].as_bool()), (Some(true), Some(true)));
    let id = item["id"].as_i64().unwrap();
    for replica in it.each_replica() {
        assert_eq!(replica.json(&format!("/queue/item/{id}/api/json"))["id"], id);
        let page = replica.get("/job/nowhere/").expect(200).text();
        assert!(page.contains("There are no nodes with the label"), "{page}");
    }
    it.admin.post(&format!("/queue/cancelItem?id={id}")).expect(204);
    assert_eq!(it.admin.result("nowhere", number), "ABORTED");
    it.admin.get(&format!("/queue/item/{id}/api/json")).expect(404);
    it.unharmed();
}

#[test]
fn all_artifacts_of_a_build_come_as_one_zip_from_every_replica() {
    let it = shared();
    let script = "node { sh 'mkdir -p out/deep; echo hello > out/deep/a.txt; head -c 3000000 /dev/urandom > out/b.bin'\n \
                  archiveArtifacts 'out/**' }";
    it.admin.create_job("zipped", script);
    let number = it.admin.follow(&it.admin.trigger("zipped", "build"));
    assert_eq!(it.admin.result("zipped", number), "SUCCESS");
    for replica in it.each_replica() {
        let zip = replica.get(&format!("/job/zipped/{number}/artifact/*zip*/archive.zip")).expect(200);
        let holds = |wanted: &[u8]| zip.body.windows(wanted.len()).any(|bytes| bytes == wanted);
        assert!(zip.body.len() > 3_000_000 && zip.body.starts_with(b"PK\x03\x04"), "{}", zip.body.len());
        assert!(holds(b"archive/out/deep/a.txt") && holds(b"archive/out/b.bin") && holds(b"PK\x05\x06"));
        let part = replica.get(&format!("/job/zipped/{number}/artifact/out/deep/*zip*/deep.zip")).expect(200);
        assert!(part.body.len() < 1_000 && part.body.windows(10).any(|bytes| bytes == b"deep/a.txt"));
    }
    it.admin.get(&format!("/job/zipped/{number}/artifact/none/*zip*/none.zip")).expect(404);
    it.unharmed();
}
