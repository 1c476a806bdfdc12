//! What is secret is in Secrets alone.

use super::{EVERY, everything, list, owner, plan, spec};
use crate::build::objects;
use crate::plan::{Front, NewKeys};

#[test]
fn no_secret_is_seen_outside_of_secrets() {
    let plan = plan(owner(), spec(""), EVERY);
    let made = objects(&plan);
    let NewKeys { agent, encryption, peer } = plan.secrets.keys.clone().unwrap();
    let all = [plan.secrets.admin, plan.secrets.metrics, plan.secrets.postgres].map(Option::unwrap);
    let shown = format!("{made:?}");
    let others: Vec<_> = list(&made).into_iter().filter(|object| object["kind"] != "Secret").collect();
    assert_eq!(list(&made).len() - others.len(), 4);
    let others = serde_json::to_string(&others).unwrap();
    for secret in all.iter().chain([&agent, &encryption, &peer]) {
        // of what is in an object, the numbers of its bytes would be shown
        let bytes = format!("{:?}", secret.as_bytes());
        for (text, of) in [(&shown, "debug"), (&others, "objects")] {
            assert!(!text.contains(secret.as_str()) && !text.contains(&bytes), "{of}");
        }
    }
    assert!(shown.contains("acme-keys"), "{shown}");
}

#[test]
fn secrets_that_are_there_are_not_made_and_what_all_would_be_lost_with_stays() {
    let mut plan = plan(owner(), spec("objects: { volume: {} }"), EVERY);
    let made = objects(&plan);
    let kept: Vec<_> = list(&made)
        .iter()
        .filter(|object| object["metadata"]["ownerReferences"].is_null())
        .map(|object| {
            format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        kept,
        [
            "Secret acme-admin",
            "Secret acme-keys",
            "Secret acme-postgres",
            "PersistentVolumeClaim acme-postgres",
            "PersistentVolumeClaim acme-objects"
        ]
    );
    plan.secrets = crate::plan::NewSecrets::default();
    assert!(objects(&plan).secrets.is_empty());
}

#[test]
fn the_address_of_the_database_bears_any_password() {
    let mut plan = plan(owner(), spec(""), EVERY);
    plan.secrets.postgres = Some("a/b@c:d%".to_owned());
    let made = objects(&plan);
    let secret = made.secrets.iter().find(|s| s.metadata.name.as_deref() == Some("acme-postgres")).unwrap();
    let url = &secret.data.as_ref().unwrap()["url"].0;
    let expected = "postgres://majordomo:a%2Fb%40c%3Ad%25@acme-postgres.ci.svc:5432/majordomo";
    assert_eq!(String::from_utf8_lossy(url), expected);
}

#[test]
fn nothing_is_put_in_front_when_another_has_the_host_or_the_cluster_knows_no_such_thing() {
    let mut taken = plan(owner(), everything(), EVERY);
    taken.taken = vec![Front::Ingress, Front::Gateway, Front::Route];
    let made = objects(&taken);
    assert_eq!((made.ingress, made.http_route, made.route), (None, None, None));
    taken.taken = vec![Front::Gateway];
    let made = objects(&taken);
    assert_eq!((made.ingress.is_some(), made.http_route, made.route.is_some()), (true, None, true));
    let plain = objects(&plan(owner(), everything(), crate::plan::Apis::default()));
    assert_eq!(
        (plain.http_route, plain.route, plain.monitor, plain.cloud_native_pg),
        (None, None, None, None)
    );
    assert!(plain.ingress.is_some());
}

#[test]
fn an_empty_list_of_who_may_connect_means_nobody() {
    let ports = |fields: &str| {
        let made = objects(&plan(owner(), spec(fields), EVERY));
        let of_replicas = made.network_policies.into_iter().next()?.spec?.ingress?;
        let ports = of_replicas.into_iter().flat_map(|rule| rule.ports.unwrap());
        Some(ports.map(|port| format!("{:?}", port.port.unwrap())).collect::<Vec<_>>())
    };
    assert_eq!(ports("").unwrap(), ["Int(8080)", "Int(8081)", "Int(8082)"]);
    assert_eq!(ports("networkPolicy: { from: [] }").unwrap(), ["Int(8081)", "Int(8082)"]);
    assert_eq!(ports("networkPolicy: { enabled: false }"), None);
}
