//! Creating, nesting, configuring, copying and deleting.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_created_job_is_listed_and_its_configuration_comes_back_byte_for_byte() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    let root = admin.json("/api/json?tree=jobs[name,url,color],_class").await;
    assert_eq!(
        root,
        json!({"_class": "hudson.model.Hudson", "jobs": [{
            "_class": "org.jenkinsci.plugins.workflow.job.WorkflowJob",
            "name": "hello", "url": "http://ci:8080/job/hello/", "color": "notbuilt"}]})
    );
    let config = admin.get("/job/hello/config.xml").await;
    assert_eq!(config.header("content-type"), "application/xml;charset=utf-8");
    assert_eq!(config.text(), PIPELINE);
    let changed = PIPELINE.replace("echo 1", "echo 2");
    assert_eq!(admin.xml("/job/hello/config.xml/api/json", &changed).await.status, 200);
    assert_eq!(admin.get("//job/hello//config.xml/").await.text(), changed);
}

#[tokio::test]
async fn a_job_has_every_field_that_clients_rely_on() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let shown = site.admin().get("/job/hello/api/json").await.text();
    assert_eq!(
        shown,
        "{\"_class\":\"org.jenkinsci.plugins.workflow.job.WorkflowJob\",\"actions\":[],\"description\":\"d <b>\",\
         \"displayName\":\"hello\",\"displayNameOrNull\":null,\"fullDisplayName\":\"hello\",\"fullName\":\"hello\",\
         \"name\":\"hello\",\"url\":\"http://ci:8080/job/hello/\",\"buildable\":true,\"builds\":[],\"firstBuild\":null,\
         \"lastBuild\":null,\"lastCompletedBuild\":null,\"lastFailedBuild\":null,\"lastStableBuild\":null,\
         \"lastSuccessfulBuild\":null,\"lastUnstableBuild\":null,\"lastUnsuccessfulBuild\":null,\"healthReport\":[],\
         \"inQueue\":false,\"queueItem\":null,\"keepDependencies\":false,\"nextBuildNumber\":1,\"property\":[],\
         \"color\":\"notbuilt\",\"concurrentBuild\":true,\"disabled\":false,\"resumeBlocked\":false,\
         \"downstreamProjects\":[],\"upstreamProjects\":[]}"
    );
}

#[tokio::test]
async fn folders_nest() {
    let site = Site::new().await;
    site.create("", "team", FOLDER).await;
    site.create("/job/team", "web", FOLDER).await;
    site.create("/job/team/job/web", "my%20app", PIPELINE).await;
    let admin = site.admin();
    let all = admin.json("/api/json?tree=jobs[name,color,jobs[name,jobs[name,fullName,url]]]").await;
    let team = &all["jobs"][0];
    assert_eq!(team["_class"], "com.cloudbees.hudson.plugins.folder.Folder");
    assert!(team.get("color").is_none());
    let app = &team["jobs"][0]["jobs"][0];
    assert_eq!(app["fullName"], "team/web/my app");
    assert_eq!(app["url"], "http://ci:8080/job/team/job/web/job/my%20app/");
    let full = admin.json("/job/team/job/web/job/my%20app/api/json").await;
    assert_eq!(full["fullDisplayName"], "team » web » my app");
    let folder = admin.json("/job/team/api/json").await;
    assert_eq!(folder["jobs"][0]["name"], "web");
    assert_eq!(folder["primaryView"]["name"], "all");
    assert_eq!(folder["views"][0]["url"], "http://ci:8080/job/team/");
    assert_eq!(folder["primaryView"]["url"], "http://ci:8080/job/team/");
    assert_eq!(admin.json("/job/team/view/All/api/json").await["jobs"][0]["name"], "web");
    let into_job = admin.xml("/job/team/job/web/job/my%20app/createItem?name=x", PIPELINE).await;
    assert!(into_job.status.is_client_error(), "{}", into_job.status);
    let nowhere = admin.xml("/job/nobody/createItem?name=x", PIPELINE).await;
    assert_eq!(nowhere.status, 404);
}

#[tokio::test]
async fn a_name_is_taken_once_whatever_its_case() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    for name in ["hello", "Hello"] {
        let again = site.admin().xml(&format!("/createItem?name={name}"), PIPELINE).await;
        assert_eq!(again.status, 400);
        assert_eq!(again.header("x-error"), format!("A job already exists with the name '{name}'"));
    }
}

#[tokio::test]
async fn a_job_is_copied() {
    let site = Site::new().await;
    site.create("", "team", FOLDER).await;
    site.create("", "one", PIPELINE).await;
    let admin = site.admin();
    let copied = admin.post("/createItem?name=two&mode=copy&from=one").await;
    assert_eq!(
        (copied.status.as_u16(), copied.header("location")),
        (302, "http://ci:8080/job/two/configure")
    );
    assert_eq!(admin.get("/job/two/configure").await.status, 200);
    let into = admin.form("/job/team/createItem", "name=three&mode=copy&from=%2Fone").await;
    assert_eq!(into.status, 302);
    assert_eq!(admin.get("/job/team/job/three/config.xml").await.text(), PIPELINE);
    let folder = "name=new&mode=com.cloudbees.hudson.plugins.folder.Folder&json=%7B%7D";
    assert_eq!(admin.form("/createItem", folder).await.status, 302);
    assert_eq!(
        admin
            .post("/job/new/createItem?name=j&mode=org.jenkinsci.plugins.workflow.job.WorkflowJob")
            .await
            .status,
        302
    );
    assert_eq!(admin.get("/job/new/job/j/api/json").await.status, 200);
    let nothing = admin.post("/createItem?name=four&mode=copy&from=nobody").await;
    assert_eq!((nothing.status.as_u16(), nothing.header("x-error")), (400, "No such job: nobody"));
}

#[tokio::test]
async fn a_job_is_disabled_enabled_and_deleted() {
    let site = Site::new().await;
    site.create("", "hello", PIPELINE).await;
    let admin = site.admin();
    for _again in 0..2 {
        let off = admin.post("/job/hello/disable/api/json").await;
        assert_eq!((off.status.as_u16(), off.header("location")), (302, "http://ci:8080/job/hello/"));
    }
    let shown = admin.json("/job/hello/api/json?tree=color,buildable,disabled").await;
    assert_eq!((shown["color"].as_str(), shown["buildable"].as_bool()), (Some("disabled"), Some(false)));
    assert_eq!(admin.post("/job/hello/build").await.status, 409);
    assert_eq!(admin.post("/job/hello/enable").await.status, 302);
    assert_eq!(admin.json("/job/hello/api/json?tree=disabled").await["disabled"], false);
    let gone = admin.post("/job/hello/doDelete").await;
    assert_eq!((gone.status.as_u16(), gone.header("location")), (302, "http://ci:8080/"));
    assert_eq!(admin.get("/job/hello/api/json").await.status, 404);
    assert_eq!(admin.get("/job/hello/config.xml").await.status, 404);
}

#[tokio::test]
async fn a_job_is_renamed_as_clients_of_all_ages_ask_for_it() {
    let site = Site::new().await;
    site.create("", "team", FOLDER).await;
    site.create("/job/team", "one", PIPELINE).await;
    let admin = site.admin();
    assert_eq!(admin.get("/job/team/confirmRename?newName=x").await.status, 405);
    let renamed = admin.post("/job/team/job/one/confirmRename?newName=%20two%20").await;
    let location = "http://ci:8080/job/team/job/two/";
    assert_eq!((renamed.status.as_u16(), renamed.header("location")), (302, location));
    assert_eq!(admin.get("/job/team/job/one/api/json").await.status, 404);
    assert_eq!(admin.get("/job/team/job/two/config.xml").await.text(), PIPELINE);
    let folder = admin.form("/job/team/doRename", "newName=my+team").await;
    assert_eq!((folder.status.as_u16(), folder.header("location")), (302, "http://ci:8080/job/my%20team/"));
    let inside = admin.json("/job/my%20team/job/two/api/json?tree=fullName").await;
    assert_eq!(inside["fullName"], "my team/two");
    // another case of its own name is free
    assert_eq!(admin.post("/job/my%20team/job/two/confirmRename?newName=TWO").await.status, 302);
    assert_eq!(admin.get("/job/my%20team/job/TWO/").await.status, 200);
}

#[tokio::test]
async fn a_name_that_no_job_can_get_is_refused_with_a_sentence() {
    let site = Site::new().await;
    site.create("", "one", PIPELINE).await;
    site.create("", "Two", PIPELINE).await;
    for (query, why) in [
        ("", "Query parameter 'newName' is required"),
        ("?newName=", "No name is specified"),
        ("?newName=a%2Fb", "'/' is an unsafe character"),
        ("?newName=one", "The new name is the same as the current name."),
        ("?newName=two", "The name \"two\" is already in use."),
    ] {
        let refused = site.admin().post(&format!("/job/one/confirmRename{query}")).await;
        assert_eq!((refused.status.as_u16(), refused.header("x-error")), (400, why), "{query}");
    }
    assert_eq!(site.admin().post("/job/none/doRename?newName=x").await.status, 404);
    assert_eq!(site.anon().post("/job/one/doRename?newName=x").await.status, 401);
    assert_eq!(site.admin().get("/job/one/api/json").await.status, 200);
}

#[tokio::test]
async fn every_page_that_a_redirect_leads_to_is_there() {
    let site = Site::new().await;
    site.create("", "team", FOLDER).await;
    site.create("/job/team", "app", PIPELINE).await;
    for path in [
        "/",
        "/job/team/",
        "/job/team/job/app/",
        "/computer/",
        "/queue/",
        "/replicas/",
        "/view/all/",
        "/user/admin/",
    ] {
        let page = site.admin().get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("content-type"), "text/html;charset=utf-8");
        assert!(page.text().contains("</html>"));
    }
    assert!(site.admin().get("/job/team/job/app/").await.text().contains("d &lt;b&gt;"));
}

#[tokio::test]
async fn a_range_reads_no_further_than_it_reaches() {
    let site = Site::new().await;
    for name in ["a", "b", "c", "d"] {
        site.create("", name, PIPELINE).await;
    }
    let names = async |tree: &str| {
        let root = site.admin().json(&format!("/api/json?tree=jobs[name]{tree}")).await;
        let jobs = root["jobs"].as_array().unwrap().clone();
        jobs.iter().map(|j| j["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    assert_eq!(names("%7B0,2%7D").await, "ab");
    assert_eq!(names("%7B1,3%7D").await, "bc");
    assert_eq!(names("%7B3,%7D").await, "d");
    assert_eq!(names("%7B9%7D").await, "");
}
