//! Values that are refused, and with which words.

use std::io::Write;

use crate::helm::{CONTROLLER, Helm, OPERATOR, only};

/// Chart, what is set besides what is needed, and what of it the refusal must say.
const REFUSED: &[(&str, &str, &str)] = &[
    (OPERATOR, "image.repository=", "image.repository is needed"),
    (OPERATOR, "image.repository=registry/Upper", "repository"),
    (OPERATOR, "image.repository=registry.example.com/majordomo:1", "that is said with image.tag"),
    (OPERATOR, "image.tag=-x", "tag"),
    (OPERATOR, "image.digest=sha256:12", "digest"),
    (OPERATOR, "image.pullPolicy=Sometimes", "pullPolicy"),
    (OPERATOR, "replica=3", "replica"),
    (OPERATOR, "replicas=-1", "replicas"),
    (OPERATOR, "replicas=10", "replicas"),
    (OPERATOR, "replicas=two", "replicas"),
    (OPERATOR, "namespaces=ci", "namespaces"),
    (OPERATOR, "namespaces={Ci}", "namespaces"),
    (OPERATOR, "fullnameOverride=a_b", "fullnameOverride"),
    (OPERATOR, "crds.instal=false", "instal"),
    (OPERATOR, "log.format=xml", "format"),
    (OPERATOR, "log.level=warning", "level"),
    (OPERATOR, "replicas=null", "replicas"),
    (OPERATOR, "leaseDurationSeconds=4", "leaseDurationSeconds"),
    (OPERATOR, "podSecurityContext.runAsUser=0", "runAsUser"),
    (OPERATOR, "podSecurityContext.privileged=true", "privileged"),
    (OPERATOR, "resources.limits.memory=lots", "memory"),
    (OPERATOR, "resources.limit.memory=1Gi", "limit"),
    (OPERATOR, "terminationGracePeriodSeconds=0", "terminationGracePeriodSeconds"),
    (OPERATOR, "serviceAccount.create=false", "serviceAccount.name is needed"),
    (OPERATOR, "rbac.clusterScope=false", "needs namespaces"),
    (OPERATOR, "metrics.service=false,metrics.serviceMonitor.enabled=true", "needs metrics.service"),
    (OPERATOR, "metrics.serviceMonitor.interval=often", "interval"),
    (CONTROLLER, "replica=3", "replica"),
    (CONTROLLER, "replicas=10", "replicas"),
    (CONTROLLER, "name=Acme", "name"),
    (CONTROLLER, "restartedAt=now", "restartedAt"),
    (CONTROLLER, "store.mysql.url=x", "mysql"),
    (CONTROLLER, "store.sqlite.x=y,store.builtin.x=y", "store"),
    (CONTROLLER, "objects.ftp.x=y", "ftp"),
    (CONTROLLER, "imagePullSecrets[0]=registry", "imagePullSecrets"),
    (CONTROLLER, "imagePullPolicy=Sometimes", "imagePullPolicy"),
    (CONTROLLER, "plugins[0].version=1", "plugins"),
    (CONTROLLER, "ingress=ci.example.com", "ingress"),
    (CONTROLLER, "ingress.enabled=false", "enabled"),
    (CONTROLLER, "route.enabled=false", "enabled"),
    (CONTROLLER, "gateway.host=ci.example.com", "parentRefs"),
    (CONTROLLER, "monitoring.enable=false", "enable"),
    (CONTROLLER, "rollout.draintimeout=5m", "draintimeout"),
    (CONTROLLER, "rollout.when=Sometimes", "when"),
    (CONTROLLER, "objects.s3.buckett=b", "buckett"),
    (CONTROLLER, "service.type=loadBalancer", "type"),
];

#[test]
fn wrong_values_are_refused_and_named() {
    let Some(helm) = Helm::find("values that are refused") else { return };
    let good = |chart| if chart == OPERATOR { "image.repository=r.example/majordomo" } else { "replicas=3" };
    for chart in [OPERATOR, CONTROLLER] {
        helm.template("acme", chart, &["--set", good(chart)]).unwrap_or_else(|why| panic!("{why}"));
    }
    for (chart, set, says) in REFUSED {
        let made = helm.template("acme", chart, &["--set", good(chart), "--set", set]);
        let why = made.expect_err(set);
        assert!(why.contains(says), "{set}: {why}");
    }
}

#[test]
fn an_autoscaler_alone_says_how_many_replicas_there_are() {
    let Some(helm) = Helm::find("replicas that are left out") else { return };
    let made = |set| only(&helm.objects("acme", CONTROLLER, &["--set", set]), "HAController")["spec"].clone();
    assert_eq!(made("replicas=0")["replicas"], 0);
    assert!(made("replicas=null").get("replicas").is_none());
}

#[test]
fn what_is_taken_back_with_null_is_taken() {
    let Some(helm) = Helm::find("values that are null") else { return };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let values = "ingress: {host: ci.example.com, tls: null, className: null}\n\
                  resources: {limits: {cpu: null, memory: 1Gi}}\nrollout: {when: null}\nstore: {postgres: {url: null}}\n";
    file.write_all(values.as_bytes()).unwrap();
    let made = helm.objects("acme", CONTROLLER, &["--values", file.path().to_str().unwrap()]);
    assert_eq!(only(&made, "HAController")["spec"]["ingress"]["host"], "ci.example.com");
}

#[test]
fn a_release_whose_name_no_controller_may_have_says_what_to_do() {
    let Some(helm) = Helm::find("names of releases") else { return };
    for name in ["1acme", "a.b", "a-name-that-helm-takes-because-it-has-53-of-them-abcd"] {
        let why = helm.template(name, CONTROLLER, &[]).expect_err(name);
        assert!(why.contains("say --set name="), "{name}: {why}");
        helm.template(name, CONTROLLER, &["--set", "name=acme"]).unwrap_or_else(|why| panic!("{why}"));
    }
}
