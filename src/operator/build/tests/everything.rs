//! Whatever is asked for: names and labels that Kubernetes takes, the same pods each time.

use proptest::prelude::*;
use resource::{
    Azure, Builtin, CloudNativePg, Gateway, Gcs, Ingress, KeyRef, Named, NetworkPolicy, Objects, ParentRef,
    PodMetadata, PodTemplate, Postgres, Route, S3, Spec, Sqlite, Storage, Store, Tls,
};
use serde_json::Value;

use super::{EVERY, images, inputs_of, list, owner_called, plan, revision};
use crate::build::{label, objects, template};

fn word() -> impl Strategy<Value = String> {
    "[a-z]([-a-z0-9]{0,20}[a-z0-9])?"
}

/// What a user may write anywhere.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{1,30}", "\\PC{1,30}", Just("$(POD_NAME)".to_owned())]
}

fn storage() -> impl Strategy<Value = Option<Storage>> {
    let some = (proptest::option::of(word()), proptest::option::of(word()))
        .prop_map(|(class_name, claim_name)| Storage { size: None, class_name, claim_name });
    proptest::option::of(some)
}

fn store() -> impl Strategy<Value = Option<Store>> {
    let secret = (word(), proptest::option::of(word()))
        .prop_map(|(name, key)| Postgres { secret_ref: Some(KeyRef { name, key }), url: None });
    let url = text().prop_map(|url| Postgres { secret_ref: None, url: Some(url) });
    let postgres =
        prop_oneof![secret, url].prop_map(|postgres| Store { postgres: Some(postgres), ..Store::default() });
    let builtin = storage().prop_map(|storage| Store {
        builtin: Some(Builtin { storage, ..Builtin::default() }),
        ..Store::default()
    });
    let sqlite = storage().prop_map(|storage| Store { sqlite: Some(Sqlite { storage }), ..Store::default() });
    let cluster =
        (proptest::option::of(word()), proptest::option::of(1..=9u32)).prop_map(|(cluster, instances)| {
            Store {
                cloud_native_pg: Some(CloudNativePg { cluster, instances, ..CloudNativePg::default() }),
                ..Store::default()
            }
        });
    proptest::option::of(prop_oneof![postgres, builtin, sqlite, cluster])
}

fn kept() -> impl Strategy<Value = Option<Objects>> {
    let secret = || proptest::option::of(word().prop_map(|name| Named { name }));
    let s3 = (word(), text(), proptest::option::of(text()), any::<bool>(), secret()).prop_map(
        |(bucket, endpoint, prefix, path_style, secret_ref)| Objects {
            s3: Some(S3 { bucket, region: None, endpoint: Some(endpoint), prefix, path_style, secret_ref }),
            ..Objects::default()
        },
    );
    let gcs = (word(), proptest::option::of(text()), secret()).prop_map(|(bucket, prefix, secret_ref)| {
        Objects { gcs: Some(Gcs { bucket, prefix, secret_ref }), ..Objects::default() }
    });
    let azure = (word(), word(), secret()).prop_map(|(account, container, secret_ref)| Objects {
        azure: Some(Azure { account, container, prefix: None, secret_ref }),
        ..Objects::default()
    });
    let volume = storage().prop_map(|storage| Objects { volume: storage, ..Objects::default() });
    proptest::option::of(prop_oneof![s3, gcs, azure, volume])
}

fn front(spec: Spec) -> impl Strategy<Value = Spec> {
    let front =
        (proptest::option::of(word()), proptest::option::of(text()), any::<bool>(), any::<[bool; 3]>());
    front.prop_map(move |(host, path, secure, [ingress, gateway, route])| {
        let host = || host.clone();
        let parent = ParentRef { name: "outer".to_owned(), namespace: None, section_name: None };
        Spec {
            ingress: ingress.then(|| Ingress {
                host: host(),
                path: path.clone(),
                tls: secure.then(Tls::default),
                ..Ingress::default()
            }),
            gateway: gateway.then(|| Gateway { parent_refs: vec![parent], host: host(), annotations: None }),
            route: route.then(|| Route { host: host(), annotations: None }),
            ..spec.clone()
        }
    })
}

fn any_spec() -> impl Strategy<Value = Spec> {
    let labels = proptest::option::of(proptest::collection::btree_map(word(), word(), 0..4));
    let base = (0..=9u32, proptest::option::of(text()), store(), kept(), labels, any::<bool>());
    let base = base.prop_map(|(replicas, image, store, objects, labels, guarded)| Spec {
        replicas,
        image,
        store,
        objects,
        pod_template: labels.map(|labels| PodTemplate {
            metadata: Some(PodMetadata { labels: Some(labels), annotations: None }),
            spec: None,
        }),
        network_policy: Some(NetworkPolicy { enabled: guarded, from: None }),
        ..Spec::default()
    });
    base.prop_flat_map(front)
}

fn check_labels(labels: &Value) {
    for (name, value) in labels.as_object().into_iter().flatten() {
        assert!(label::name(name) && label::value(value.as_str().unwrap()), "{name}: {value}");
    }
}

/// What the pods of a set will carry: its name, a dash, and up to ten digits.
const HASH: usize = 11;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_asked_for_names_and_labels_are_taken(
        spec in any_spec(),
        name in "[a-z]([-a-z0-9]{0,50}[a-z0-9])?",
    ) {
        let owner = owner_called(&name);
        let made = objects(&plan(owner, spec, EVERY));
        let mut seen = Vec::new();
        for object in list(&made) {
            let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            prop_assert!(name.len() <= 63, "{kind} {name}");
            prop_assert!(label::value(name) && !name.contains(['_', '.']) && name == name.to_lowercase());
            if kind == "StatefulSet" {
                prop_assert!(name.len() + HASH <= 63, "{name}");
                check_labels(&object["spec"]["template"]["metadata"]["labels"]);
            }
            prop_assert_eq!(&object["metadata"]["namespace"], "ci");
            check_labels(&object["metadata"]["labels"]);
            let once = (kind.to_owned(), name.to_owned());
            prop_assert!(!seen.contains(&once), "{:?}", once);
            seen.push(once);
        }
    }

    #[test]
    fn the_same_inputs_make_the_same_pods(spec in any_spec()) {
        let pods = || template(&inputs_of(&spec), &images(), &owner_called("acme"), &revision()).unwrap();
        let text = || serde_json::to_string(&pods()).unwrap();
        prop_assert_eq!(text(), text());
    }

    /// Kubernetes reads `$(NAME)` as another variable: only what we have written may be read so.
    #[test]
    fn what_users_write_names_no_variable(spec in any_spec()) {
        let pods = template(&inputs_of(&spec), &images(), &owner_called("acme"), &revision()).unwrap();
        let container = &pods.spec.unwrap().containers[0];
        let said = container.env.iter().flatten().filter_map(|variable| variable.value.clone());
        for text in said.chain(container.args.clone().unwrap()) {
            let ours = ["$(POD_NAME)", "$(POD_IP):8081"].contains(&text.as_str());
            prop_assert!(ours || !text.replace("$$", "").contains('$'), "{text}");
        }
    }
}
