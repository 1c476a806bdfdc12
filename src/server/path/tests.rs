use super::*;

fn job(name: &str) -> JobName {
    JobName::parse(name).unwrap()
}

#[test]
fn slashes_and_junk_do_not_matter() {
    let config = Route::Do(Action::ItemConfig(job("a")));
    for path in
        ["/job/a/config.xml", "//job//a/config.xml/", "/job/a/config.xml/api/json", "job/a/config.xml"]
    {
        assert_eq!(parse(path), config, "{path}");
    }
    let root = Route::Export(Thing::Root, Format::Json);
    for path in ["/api/json", "//api/json/", "/api/json/junk"] {
        assert_eq!(parse(path), root, "{path}");
    }
    assert_eq!(parse("/"), Route::Page(Thing::Root));
    assert_eq!(parse(""), Route::Page(Thing::Root));
    assert_eq!(parse("//createItem"), Route::Do(Action::CreateItem(None)));
    assert_eq!(parse("/createItem/api/json"), Route::Do(Action::CreateItem(None)));
}

#[test]
fn folders_nest_and_names_are_decoded_one_by_one() {
    let web = job("team/my web");
    assert_eq!(parse("/job/team/job/my%20web/"), Route::Page(Thing::Item(web.clone())));
    assert_eq!(parse("/job/team/job/my%20web/7/api/python"), {
        Route::Export(Thing::Build(web.clone(), Which::Number(7)), Format::Python)
    });
    assert_eq!(parse("/job/team/createItem"), Route::Do(Action::CreateItem(Some(job("team")))));
    assert_eq!(parse("/view/all/job/team/view/All/job/my%20web/build"), Route::Do(Action::Build(web)));
    assert_eq!(parse("/job/team/view/all/api/json"), {
        Route::Export(Thing::View(Some(job("team"))), Format::Json)
    });
}

#[test]
fn the_steps_of_the_setup_wizard_have_their_addresses() {
    for (path, step) in [
        ("/setupWizard", Step::Unlock),
        ("/setupWizard/unlock", Step::Unlock),
        ("/setupWizard/createAdminUser/", Step::User),
        ("/setupWizard/configureInstance", Step::Instance),
    ] {
        let route = parse(path);
        assert_eq!(route, Route::Setup(step), "{path}");
        assert!(route.open() && route.beside_setup());
    }
    assert_eq!(parse("/setupWizard/completeInstall"), Route::NotFound);
}

#[test]
fn a_name_that_cannot_exist_is_not_found() {
    for path in [
        "/job/..",
        "/job/a%2Fb",
        "/job/a%00",
        "/job/%ff",
        "/job/a/job//job/b/",
        "/job",
        "/view/other",
        "/job/a/artifact",
        "/nothing",
    ] {
        assert_eq!(parse(path), Route::NotFound, "{path}");
    }
    assert_eq!(parse(&"/job/a".repeat(10_000)), Route::NotFound);
}

#[test]
fn builds_are_found_by_number_and_permalink() {
    let a = || job("a");
    for (path, action) in [
        ("/job/a/1/stop", Action::BuildStop(a(), Which::Number(1))),
        ("/job/a/1/kill/", Action::BuildKill(a(), Which::Number(1))),
        ("/job/a/lastBuild/consoleText/", Action::ConsoleText(a(), Which::Last)),
        ("/job/a/2/logText/progressiveText/api/json", Action::ProgressiveText(a(), Which::Number(2))),
        ("/job/a/7/verifyLog/api/json", Action::VerifyLog(a(), Which::Number(7))),
        ("/job/a/lastStableBuild/buildNumber", Action::BuildNumber(a(), Which::LastStable)),
        ("/job/a/3/artifact/x/y%20z.txt/", Action::Artifact(a(), Which::Number(3), "x/y z.txt".into())),
    ] {
        assert_eq!(parse(path), Route::Do(action), "{path}");
    }
    for path in ["/job/a/3/artifact/..%2fetc", "/job/a/3/artifact/x/../y", "/job/a/3/artifact/a%5Cb"] {
        assert_eq!(parse(path), Route::NotFound, "{path}");
    }
    for path in ["/job/a/99999999999999999999", "/job/a/-1", "/job/a/1x"] {
        assert_eq!(parse(path), Route::NotFound, "{path}");
    }
}

#[test]
fn the_rest_of_the_map() {
    for (path, route) in [
        ("/login", Route::Login),
        ("/login?from=x".split('?').next().unwrap(), Route::Login),
        ("/wsagents/", Route::Agent),
        ("/peer/ws", Route::Peer),
        ("/peer/spools", Route::Admin(Admin::Spools)),
        ("/peer", Route::NotFound),
        ("/admin/drain", Route::Admin(Admin::Drain)),
        ("/crumbIssuer/api/xml", Route::Export(Thing::CrumbIssuer, Format::Xml)),
        ("/queue/item/12/api/json", Route::Export(Thing::QueueItem(QueueId(12)), Format::Json)),
        ("/queue/item/x/api/json", Route::NotFound),
        ("/queue/item/3/cancelQueue", Route::Do(Action::QueueItemCancel(QueueId(3)))),
        ("/computer/api/json", Route::Export(Thing::Computers, Format::Json)),
        ("/computer/(built-in)/api/json", Route::Export(Thing::Computer("(built-in)".into()), Format::Json)),
        ("/computer/n%201/slave-agent.jnlp", Route::Do(Action::NodeJnlp("n 1".into()))),
        ("/replicas/api/json", Route::Export(Thing::Replicas, Format::Json)),
        ("/job/a/01/", Route::NotFound),
        ("/job/a/0/", Route::Page(Thing::Build(job("a"), Which::Number(0)))),
        ("/pluginManager/api/python?", Route::NotFound),
        ("/pluginManager/api/python", Route::Export(Thing::Plugins, Format::Python)),
        ("/tcpSlaveAgentListener/", Route::NotFound),
        ("/api/ruby", Route::NotFound),
    ] {
        assert_eq!(parse(path), route, "{path}");
    }
}

#[test]
fn what_changes_something_takes_post_only() {
    assert_eq!(parse("/job/a/doDelete").allow(), "POST");
    assert!(!parse("/computer/n/toggleOffline").takes(&Method::GET));
    assert!(parse("/job/a/1/logText/progressiveText").takes(&Method::POST));
    assert!(parse("/").takes(&Method::HEAD));
    assert!(!parse("/").takes(&Method::OPTIONS));
}
