//! Where pods find state and objects, for each kind of them.

use k8s_openapi::api::core::v1::PodSpec;

use super::{EVERY, owner, plan, pods, spec};
use crate::build::objects;

fn pod(fields: &str) -> PodSpec {
    pods(&spec(fields)).unwrap().spec.unwrap()
}

/// What the environment says: a text, or a key of a Secret.
fn said(pod: &PodSpec, name: &str) -> Option<String> {
    let variable = pod.containers[0].env.iter().flatten().find(|variable| variable.name == name)?;
    let secret = || {
        let key = variable.value_from.as_ref()?.secret_key_ref.as_ref()?;
        Some(format!("{}/{}", key.name, key.key))
    };
    variable.value.clone().or_else(secret)
}

/// The key of a Secret from which a file in the folder of secrets is.
fn from(pod: &PodSpec, path: &str) -> Option<String> {
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == "secrets")?;
    let sources = volume.projected.as_ref()?.sources.as_ref()?;
    sources.iter().filter_map(|source| source.secret.as_ref()).find_map(|secret| {
        let item = secret.items.iter().flatten().find(|item| item.path == path)?;
        Some(format!("{}/{}", secret.name, item.key))
    })
}

/// The claim that is mounted at a path; empty for a folder that begins empty.
fn at(pod: &PodSpec, path: &str) -> Option<String> {
    let mount = pod.containers[0].volume_mounts.iter().flatten().find(|mount| mount.mount_path == path)?;
    let volume = pod.volumes.iter().flatten().find(|volume| volume.name == mount.name)?;
    let claim = volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone());
    claim.or_else(|| volume.empty_dir.as_ref().map(|_| String::new()))
}

#[test]
fn the_store_is_found_where_it_is() {
    // fields, the file, the variable, the claim of the home
    let table = [
        ("", Some("acme-postgres/url"), None, ""),
        ("store: { builtin: { storage: { size: 1Gi } } }", Some("acme-postgres/url"), None, ""),
        ("store: { postgres: { secretRef: { name: db } } }", Some("db/url"), None, ""),
        ("store: { postgres: { secretRef: { name: db, key: dsn } } }", Some("db/dsn"), None, ""),
        (
            "store: { postgres: { url: \"postgres://ci:a$(POD_NAME)@db/ci\" } }",
            None,
            Some("postgres://ci:a$$(POD_NAME)@db/ci"),
            "",
        ),
        ("store: { cloudNativePG: {} }", Some("acme-db-app/uri"), None, ""),
        ("store: { cloudNativePG: { cluster: data } }", Some("data-app/uri"), None, ""),
        ("replicas: 1\nstore: { sqlite: {} }", None, None, "acme-home"),
        ("replicas: 1\nstore: { sqlite: { storage: { claimName: mine } } }", None, None, "mine"),
    ];
    for (fields, file, variable, home) in table {
        let pod = pod(fields);
        assert_eq!(from(&pod, "store").as_deref(), file, "{fields}");
        assert_eq!(said(&pod, "MAJORDOMO_STORE").as_deref(), variable, "{fields}");
        assert_eq!(at(&pod, "/var/lib/majordomo").as_deref(), Some(home), "{fields}");
    }
}

#[test]
fn objects_are_found_where_they_are() {
    let table: [(&str, Option<&str>); 7] = [
        ("", None),
        ("objects: { store: {} }", None),
        ("objects: { s3: { bucket: b } }", Some("s3://b/acme?region=us-east-1")),
        (
            "objects: { s3: { bucket: b, region: eu, endpoint: \"http://m:9000\", prefix: /a b/c/, pathStyle: true } }",
            Some("s3://b/a%20b/c?region=eu&endpoint=http%3A%2F%2Fm%3A9000&path-style=true"),
        ),
        ("objects: { gcs: { bucket: b, prefix: p } }", Some("gs://b/p")),
        ("objects: { azure: { account: a, container: c } }", Some("azure://a/c/acme")),
        ("objects: { volume: {} }", Some("folder:/var/lib/majordomo-objects")),
    ];
    for (fields, address) in table {
        assert_eq!(said(&pod(fields), "MAJORDOMO_OBJECTS").as_deref(), address, "{fields}");
    }
    for name in ["AWS_ACCESS_KEY_ID", "GOOGLE_APPLICATION_CREDENTIALS", "AZURE_STORAGE_ACCOUNT_KEY"] {
        assert_eq!(said(&pod("objects: { s3: { bucket: b } }"), name), None);
    }
}

#[test]
fn what_opens_a_bucket_comes_from_its_secret() {
    let s3 = pod("objects: { s3: { bucket: b, secretRef: { name: k } } }");
    assert_eq!(said(&s3, "AWS_ACCESS_KEY_ID").as_deref(), Some("k/access-key-id"));
    assert_eq!(said(&s3, "AWS_SECRET_ACCESS_KEY").as_deref(), Some("k/secret-access-key"));
    let gcs = pod("objects: { gcs: { bucket: b, secretRef: { name: k } } }");
    let file = said(&gcs, "GOOGLE_APPLICATION_CREDENTIALS").unwrap();
    let file = file.strip_prefix("/etc/majordomo/secrets/").unwrap();
    assert_eq!(from(&gcs, file).as_deref(), Some("k/credentials.json"));
    let azure = pod("objects: { azure: { account: a, container: c, secretRef: { name: k } } }");
    assert_eq!(said(&azure, "AZURE_STORAGE_ACCOUNT_KEY").as_deref(), Some("k/account-key"));
}

#[test]
fn volumes_are_made_unless_they_are_there() {
    let made = |fields: &str| {
        let made = objects(&plan(owner(), spec(fields), EVERY)).claims.into_iter();
        made.map(|claim| (claim.metadata.name.unwrap(), claim.spec.unwrap().access_modes.unwrap()[0].clone()))
            .collect::<Vec<_>>()
    };
    let one = |name: &str, mode: &str| (name.to_owned(), mode.to_owned());
    assert_eq!(made(""), [one("acme-postgres", "ReadWriteOnce")]);
    assert_eq!(made("store: { builtin: { storage: { claimName: mine } } }"), []);
    assert_eq!(made("replicas: 1\nstore: { sqlite: {} }"), [one("acme-home", "ReadWriteOnce")]);
    let shared = "store: { postgres: { secretRef: { name: db } } }\nobjects: { volume:";
    assert_eq!(made(&format!("{shared} {{ size: 1Ti }} }}")), [one("acme-objects", "ReadWriteMany")]);
    assert_eq!(made(&format!("{shared} {{ claimName: mine }} }}")), []);
    let mounted = pod(&format!("{shared} {{ claimName: mine }} }}"));
    assert_eq!(at(&mounted, "/var/lib/majordomo-objects").as_deref(), Some("mine"));
}

#[test]
fn secrets_that_are_named_are_taken_instead_of_ours() {
    let ours = pod("");
    assert_eq!(from(&ours, "agent.key").as_deref(), Some("acme-keys/agent.key"));
    assert_eq!(from(&ours, "admin/password").as_deref(), Some("acme-admin/password"));
    let named = pod("security: { keysSecretRef: { name: k }, adminSecretRef: { name: a } }");
    for file in ["agent.key", "encryption.keys", "peer.keys"] {
        assert_eq!(from(&named, file), Some(format!("k/{file}")));
    }
    assert_eq!(from(&named, "admin/username").as_deref(), Some("a/username"));
    assert_eq!(from(&named, "metrics-token").as_deref(), Some("acme-metrics/token"));
}

#[test]
fn the_wizard_is_told_to_replicas_with_the_way_to_its_password() {
    let told = |spec: &str| {
        let container = pod(spec).containers.remove(0);
        let asked = container.args.unwrap().contains(&"--setup-wizard".to_owned());
        let place =
            container.env.unwrap().into_iter().find(|env| env.name == "MAJORDOMO_SETUP_PASSWORD_PLACE");
        (asked, place.and_then(|place| place.value))
    };
    for spec in ["", "security: { setupWizard: false }"] {
        assert_eq!(told(spec), (false, None), "{spec:?}");
    }
    for (spec, secret) in [
        ("security: { setupWizard: true }", "acme-admin"),
        ("security: { setupWizard: true, adminSecretRef: { name: a } }", "a"),
    ] {
        let way = format!(
            "kubectl get secret {secret} --namespace ci --output go-template='{{{{.data.password|base64decode}}}}'"
        );
        assert_eq!(told(spec), (true, Some(way)));
    }
}
