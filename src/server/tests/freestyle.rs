//! Freestyle jobs, as clients see them.

use model::JobName;
use serde_json::json;
use store::ItemKind;

use super::*;

const FREESTYLE: &str = "<project><assignedNode>mac</assignedNode><builders><hudson.tasks.Shell><command>make</command>\
    </hudson.tasks.Shell><com.example.Odd/></builders><publishers><hudson.tasks.BuildTrigger><childProjects>below, none, below</childProjects>\
    <threshold><name>SUCCESS</name></threshold></hudson.tasks.BuildTrigger></publishers></project>";

#[tokio::test]
async fn a_freestyle_job_is_created_and_shown_under_its_class() {
    let site = Site::new().await;
    site.create("", "free", FREESTYLE).await;
    site.create("", "below", "<project/>").await;
    let admin = site.admin();
    let item = site.store.item(&JobName::parse("free").unwrap()).await.unwrap().unwrap();
    assert_eq!(item.summary.kind, ItemKind::Freestyle);
    assert_eq!(admin.get("/job/free/config.xml").await.text(), FREESTYLE);
    let shown = admin
        .json("/job/free/api/json?tree=_class,concurrentBuild,labelExpression,scm[*],downstreamProjects[name],resumeBlocked")
        .await;
    assert_eq!(
        shown,
        json!({
            "_class": "hudson.model.FreeStyleProject",
            "concurrentBuild": false,
            "labelExpression": "mac",
            "scm": {"_class": "hudson.scm.NullSCM"},
            "downstreamProjects": [{"_class": "hudson.model.FreeStyleProject", "name": "below"}],
        })
    );
    let wrong = admin.xml("/job/free/config.xml", "<flow-definition/>").await;
    assert_eq!(wrong.status, 409, "{}", wrong.text());
    assert_eq!(admin.get("/job/free/").await.status, 200);
    let made = admin.form("/createItem", "name=made&mode=hudson.model.FreeStyleProject").await;
    assert_eq!(made.status, 302, "{}", made.text());
    let made = admin.json("/job/made/api/json?tree=name").await;
    assert_eq!(made, json!({"_class": "hudson.model.FreeStyleProject", "name": "made"}));
}

#[tokio::test]
async fn its_items_wait_in_the_queue_for_their_executor() {
    let site = Site::new().await;
    site.create("", "free", FREESTYLE).await;
    let admin = site.admin();
    assert_eq!(admin.post("/job/free/build?delay=0sec").await.status, 201);
    let item = admin.json("/queue/api/json").await["items"][0].clone();
    assert_eq!(item["_class"], "hudson.model.Queue$BuildableItem", "{item}");
    assert_eq!(item["why"], "There are no nodes with the label ‘mac’");
    assert_eq!((&item["stuck"], &item["buildable"]), (&json!(true), &json!(true)));
    assert_eq!(item["task"]["_class"], "hudson.model.FreeStyleProject");
    let roams = FREESTYLE.replace("<assignedNode>", "<canRoam>true</canRoam><assignedNode>");
    assert_eq!(admin.xml("/job/free/config.xml", &roams).await.status, 200);
    let item = admin.json("/queue/api/json").await["items"][0].clone();
    assert_eq!(item["why"], "Waiting for next available executor");
}

#[tokio::test]
async fn its_builds_have_what_freestyle_builds_have() {
    let site = Site::new().await;
    site.create("", "free", FREESTYLE).await;
    let admin = site.admin();
    admin.post("/job/free/build").await;
    site.take().await;
    let build = admin.json("/job/free/1/api/json").await;
    assert_eq!(build["_class"], "hudson.model.FreeStyleBuild");
    assert_eq!(build["builtOn"], "");
    assert_eq!(
        build["changeSet"],
        json!({"_class": "hudson.scm.EmptyChangeLogSet", "items": [], "kind": Value::Null})
    );
    assert!(build.get("changeSets").is_none());
    let one_off = admin.json("/computer/(built-in)/api/json?depth=2&tree=oneOffExecutors[*],idle").await;
    assert_eq!((&one_off["oneOffExecutors"], &one_off["idle"]), (&json!([]), &json!(true)), "{one_off}");
    for gone in ["term", "kill"] {
        assert_eq!(admin.post(&format!("/job/free/1/{gone}")).await.status, 404);
    }
    assert_eq!(admin.post("/job/free/1/stop").await.status, 302);
}
