//! What stands in the queue, and why.

use serde_json::json;
use store::Effect;

use super::*;

fn waits(step: usize, label: &str) -> Effect {
    Effect::WaitNode { step: step.to_string(), label: Some(label.into()), since: Millis(5) }
}

#[tokio::test]
async fn ten_thousand_waiting_steps_are_shown_in_ranges() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    admin.post("/job/hello/build").await;
    let taken = site.take().await;
    let steps = (0..10_000).map(|n| waits(n, if n % 2 == 0 { "mac" } else { "gpu" })).collect();
    site.progress(&taken, 0, "", steps).await;
    let newest = admin.json("/queue/api/json?tree=items[id,why,stuck,task[displayName]]{0,2}").await;
    let class = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask";
    let item = |at: usize, label: &str| {
        json!({
            "_class": "hudson.model.Queue$BuildableItem", "id": newest["items"][at]["id"], "stuck": true,
            "task": {"_class": class, "displayName": "part of hello #1"},
            "why": format!("There are no nodes with the label ‘{label}’"),
        })
    };
    assert_eq!(newest["items"], json!([item(0, "gpu"), item(1, "mac")]));
    assert!(newest["items"][0]["id"].as_i64() > newest["items"][1]["id"].as_i64(), "the newest first");
    let last = admin.json("/queue/api/json?tree=items[id]{9999,}").await;
    assert_eq!(last["items"].as_array().unwrap().len(), 1);
    assert!(last["items"][0]["id"].as_i64() > Some(1 << 40));
    // more than an answer may have
    let all = admin.get("/queue/api/json").await;
    assert_eq!(all.status, 400);
    assert!(all.header("x-error").contains("select less with tree"));
    assert!(admin.get("/queue/").await.text().contains("There are no nodes with the label ‘mac’"));
}

#[tokio::test]
async fn a_job_that_builds_one_at_a_time_says_which_build_it_waits_for() {
    let site = Site::new().await;
    let property = "<properties><org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty/></properties><definition";
    site.create("", "one", &PIPELINE.replace("<definition", property)).await;
    let admin = site.admin();
    admin.post("/job/one/build").await;
    site.take().await;
    admin.post("/job/one/build").await;
    let item = admin.json("/queue/item/2/api/json").await;
    assert_eq!(item["_class"], "hudson.model.Queue$BlockedItem");
    assert_eq!(item["why"], "Build #1 is already in progress (ETA: N/A)");
    admin.post("/queue/cancelItem?id=2").await;
    admin.post("/job/one/build?delay=20sec").await;
    let item = admin.json("/queue/item/3/api/json").await;
    assert_eq!(item["why"], "In the quiet period. Expires in 20 sec");
    let page = admin.get("/job/one/").await.text();
    assert!(page.contains("In the quiet period. Expires in "), "{page}");
}
