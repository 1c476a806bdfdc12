//! `podTemplate`: what wins, what stays, and what is refused with a sentence.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use proptest::prelude::*;
use resource::{PodTemplate, Spec};
use serde_json::Value;

use super::{Labels, pods, spec};

/// The pods' spec under an overlay.
fn under(over: &str) -> PodSpec {
    let indented: String = over.lines().map(|line| format!("    {line}\n")).collect();
    pods(&spec(&format!("podTemplate:\n  spec:\n{indented}"))).unwrap().spec.unwrap()
}

fn refused(over: &str) -> String {
    let indented: String = over.lines().map(|line| format!("    {line}\n")).collect();
    pods(&spec(&format!("podTemplate:\n  spec:\n{indented}"))).unwrap_err().to_string()
}

fn plain() -> PodSpec {
    pods(&spec("")).unwrap().spec.unwrap()
}

fn ours(pod: &PodSpec) -> &Container {
    pod.containers.iter().find(|container| container.name == "majordomo").unwrap()
}

#[test]
fn what_nothing_is_said_of_stays() {
    assert_eq!(under("nodeSelector: { disk: ssd }"), {
        let selector = Labels::from([("disk".to_owned(), "ssd".to_owned())]);
        PodSpec { node_selector: Some(selector), ..plain() }
    });
}

#[test]
fn maps_are_joined_and_null_takes_away() {
    let pod =
        under("securityContext: { runAsUser: null, fsGroup: 7, supplementalGroups: [9] }\naffinity: null");
    let context = pod.security_context.unwrap();
    assert_eq!((context.run_as_user, context.fs_group, context.run_as_non_root), (None, Some(7), Some(true)));
    assert_eq!(pod.affinity, None);
    let pod = under("affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } }");
    let affinity = pod.affinity.unwrap();
    assert!(affinity.node_affinity.is_some() && affinity.pod_anti_affinity.is_some());
}

#[test]
fn lists_without_names_are_replaced() {
    let pod = under("topologySpreadConstraints: []");
    assert_eq!(pod.topology_spread_constraints, Some(Vec::new()));
}

#[test]
fn things_with_names_are_joined_by_these() {
    let pod = under(
        "containers:
- name: proxy
  image: proxy:1
  env: [{ name: A, value: b }]
- name: majordomo
  env: [{ name: RUST_LOG, value: debug }]
  volumeMounts: [{ name: ca, mountPath: /etc/ssl/ours }]
  resources: { limits: { cpu: 2 } }
initContainers: [{ name: first, image: first:1 }]
volumes: [{ name: ca, configMap: { name: ca } }]
imagePullSecrets: [{ name: other }]",
    );
    let names: Vec<_> = pod.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["majordomo", "proxy"]);
    let (container, before) = (ours(&pod), plain());
    let before = ours(&before);
    let env = |container: &Container| container.env.clone().unwrap();
    assert_eq!(env(container).len(), env(before).len() + 1);
    assert_eq!(env(container).last().unwrap().value.as_deref(), Some("debug"));
    let mounts = |container: &Container| container.volume_mounts.clone().unwrap();
    assert_eq!(mounts(container).len(), mounts(before).len() + 1);
    let limits = container.resources.clone().unwrap().limits.unwrap();
    assert_eq!(limits["cpu"].0, "2");
    assert_eq!(pod.init_containers.unwrap()[0].image.as_deref(), Some("first:1"));
    assert_eq!(pod.image_pull_secrets.unwrap()[0].name, "other");
    assert_eq!(pod.volumes.unwrap().len(), plain().volumes.unwrap().len() + 1);
}

#[test]
fn what_begins_empty_may_be_of_another_kind() {
    let pod =
        under("volumes:\n- { name: tmp, emptyDir: { medium: Memory } }\n- { name: home, ephemeral: {} }");
    let volumes = pod.volumes.unwrap();
    let volume = |name: &str| volumes.iter().find(|volume| volume.name == name).unwrap();
    assert_eq!(volume("tmp").empty_dir.as_ref().unwrap().medium.as_deref(), Some("Memory"));
    assert!(volume("home").ephemeral.is_some() && volume("home").empty_dir.is_none());
}

/// Each would make a pod that nobody finds, reaches, or can end in order.
#[test]
fn what_the_operator_needs_stays() {
    let attempts = [
        "restartPolicy: Never",
        "serviceAccountName: other",
        "serviceAccount: other",
        "containers: null",
        "containers: []",
        "volumes: null",
        "containers: [{ name: majordomo, command: [sh], args: [-c, exit] }]",
        "containers: [{ name: majordomo, command: null, args: null, ports: null, env: null, volumeMounts: null }]",
        "containers: [{ name: majordomo, readinessProbe: null, livenessProbe: null, startupProbe: null }]",
        "containers: [{ name: majordomo, readinessProbe: { httpGet: { path: /, port: 1 } } }]",
        "containers: [{ name: majordomo, livenessProbe: { periodSeconds: 1 } }]",
        "containers: [{ name: majordomo, ports: [{ name: http, containerPort: 1 }] }]",
        "containers: [{ name: majordomo, ports: [{ name: web, containerPort: 8080 }] }]",
        "containers: [{ name: majordomo, env: [{ name: POD_NAME, value: x }] }]",
        "containers: [{ name: majordomo, env: [{ name: MAJORDOMO_ORDINAL, value: \"7\" }] }]",
        "containers: [{ name: majordomo, volumeMounts: [{ name: tmp, mountPath: /etc/majordomo/secrets }] }]",
        "volumes: [{ name: secrets, emptyDir: {} }]",
        "volumes: [{ name: secrets, projected: { sources: [] } }]",
    ];
    let plain = plain();
    for attempt in attempts {
        let mut pod = under(attempt);
        // their order means nothing
        let by_name = |pod: &mut PodSpec| {
            pod.volumes.as_mut().unwrap().sort_by(|one, other| one.name.cmp(&other.name));
        };
        let mut plain = plain.clone();
        by_name(&mut pod);
        by_name(&mut plain);
        assert_eq!(pod, plain, "{attempt}");
    }
}

#[test]
fn the_volume_of_a_database_stays() {
    let over = "store: { sqlite: {} }\npodTemplate:\n  spec:\n    volumes: [{ name: home, emptyDir: {} }]";
    let pod = pods(&spec(over)).unwrap().spec.unwrap();
    let home = pod.volumes.unwrap().into_iter().find(|volume| volume.name == "home").unwrap();
    assert_eq!(home.persistent_volume_claim.unwrap().claim_name, "acme-home");
    assert_eq!(home.empty_dir, None);
}

#[test]
fn labels_of_ours_stay_and_others_are_added() {
    let over = "podTemplate:\n  metadata:\n    labels: { a: b, majordomo.dev/controller: x, majordomo.dev/revision: x }\n    annotations: { c: d }";
    let metadata = pods(&spec(over)).unwrap().metadata.unwrap();
    let mut expected = pods(&spec("")).unwrap().metadata.unwrap().labels.unwrap();
    expected.insert("a".to_owned(), "b".to_owned());
    assert_eq!(metadata.labels.unwrap(), expected);
    assert_eq!(metadata.annotations.unwrap()["c"], "d");
}

#[test]
fn what_is_no_pod_is_refused_with_path_and_sentence() {
    let table = [
        ("nodeSelektor: {}", "spec.podTemplate.spec: there is no field “nodeSelektor”"),
        (
            "containers: [{ name: p }, { name: majordomo, resources: { limit: {} } }]",
            "spec.podTemplate.spec.containers[majordomo].resources: there is no field “limit”",
        ),
        ("containers: [{ image: x }]", "spec.podTemplate.spec.containers[0]: the field name is missing"),
        ("containers: [{ name: a }, { name: a }]", "spec.podTemplate.spec.containers[a]: it is there twice"),
        (
            "initContainers: [{ name: a, env: [{ value: b }] }]",
            "spec.podTemplate.spec.initContainers[a].env[0]: the field name is missing",
        ),
        (
            "volumes: [{ name: x, secret: { $patch: delete } }]",
            "spec.podTemplate.spec.volumes[x].secret: there is no field “$patch”",
        ),
        (
            "containers: [{ name: proxy, ports: [{ containerPort: many }] }]",
            "spec.podTemplate.spec.containers[proxy].ports[0].containerPort: this is string \"many\", and should be i32",
        ),
        (
            "hostNetwork: 3",
            "spec.podTemplate.spec.hostNetwork: this is integer `3`, and should be true or false",
        ),
        (
            "containers: [{ name: majordomo, env: [{ name: MAJORDOMO_STORE, value: x }] }]",
            "spec.podTemplate.spec.containers[majordomo].env[MAJORDOMO_STORE]: spec.store says it",
        ),
    ];
    for (over, sentence) in table {
        assert_eq!(refused(over), sentence, "{over}");
    }
    for over in ["containers: x", "containers: { a: b }", "volumes: 3", "tolerations: [3]"] {
        let sentence = refused(over);
        assert!(
            sentence.starts_with("spec.podTemplate.spec.") && sentence.contains("should be"),
            "{sentence}"
        );
    }
}

#[test]
fn labels_that_kubernetes_does_not_take_are_refused() {
    let of = |labels: &str| {
        pods(&spec(&format!("podTemplate: {{ metadata: {labels} }}"))).unwrap_err().to_string()
    };
    assert_eq!(
        of("{ labels: { \"a b\": c } }"),
        "spec.podTemplate.metadata.labels[a b]: this is no name of a label"
    );
    assert!(
        of("{ labels: { a: \"b c\" } }")
            .starts_with("spec.podTemplate.metadata.labels[a]: “b c” is no value")
    );
    assert_eq!(
        of("{ annotations: { /a: c } }"),
        "spec.podTemplate.metadata.annotations[/a]: this is no name of an annotation"
    );
}

/// Fields and names that mean something in a pod, put together as nobody would.
fn anything() -> impl Strategy<Value = Value> {
    let word = || {
        prop::sample::select(vec![
            "majordomo",
            "home",
            "tmp",
            "secrets",
            "http",
            "POD_NAME",
            "MAJORDOMO_STORE",
            "Never",
            "/tmp",
            "/etc/majordomo/secrets",
            "other",
            "",
        ])
    };
    let leaf = prop_oneof![
        word().prop_map(Value::from),
        (0..9000i32).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(5, 60, 5, move |inner| {
        let field = prop::sample::select(vec![
            "containers",
            "initContainers",
            "volumes",
            "env",
            "ports",
            "volumeMounts",
            "mountPath",
            "name",
            "value",
            "command",
            "args",
            "image",
            "restartPolicy",
            "serviceAccountName",
            "emptyDir",
            "secret",
            "livenessProbe",
            "containerPort",
            "securityContext",
            "other",
        ]);
        let fields = prop::collection::btree_map(field.prop_map(str::to_owned), inner.clone(), 0..5);
        let named = (word(), fields.clone()).prop_map(|(name, mut fields)| {
            fields.insert("name".to_owned(), name.into());
            Value::from_iter(fields)
        });
        prop_oneof![
            2 => prop::collection::vec(named, 0..3).prop_map(Value::from),
            1 => prop::collection::vec(inner, 0..3).prop_map(Value::from),
            3 => fields.prop_map(Value::from_iter),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_laid_over_ours_stays_or_it_is_refused(
        over in prop::collection::btree_map(
            prop::sample::select(vec!["containers", "volumes", "initContainers", "restartPolicy", "imagePullSecrets"])
                .prop_map(str::to_owned),
            anything(),
            0..4,
        ),
    ) {
        let template = PodTemplate { metadata: None, spec: Some(over) };
        match pods(&Spec { pod_template: Some(template), ..Spec::default() }) {
            Err(refused) => prop_assert!(refused.path.starts_with("spec.podTemplate.spec") && !refused.sentence.is_empty()),
            Ok(template) => {
                let (pod, plain) = (template.spec.unwrap(), plain());
                prop_assert_eq!(&pod.restart_policy, &plain.restart_policy);
                prop_assert_eq!(&pod.service_account_name, &plain.service_account_name);
                let (container, before) = (ours(&pod), ours(&plain));
                prop_assert_eq!(&container.command, &before.command);
                prop_assert_eq!(&container.args, &before.args);
                prop_assert_eq!(&container.liveness_probe, &before.liveness_probe);
                let env = (container.env.as_ref().unwrap(), before.env.as_ref().unwrap());
                prop_assert!(env.0.starts_with(env.1));
                let ports = (container.ports.as_ref().unwrap(), before.ports.as_ref().unwrap());
                prop_assert!(ports.0.starts_with(ports.1));
                let mounts = (container.volume_mounts.as_ref().unwrap(), before.volume_mounts.as_ref().unwrap());
                prop_assert!(mounts.0.starts_with(mounts.1));
                let volumes = pod.volumes.unwrap();
                for volume in plain.volumes.unwrap() {
                    let found: Vec<_> = volumes.iter().filter(|other| other.name == volume.name).collect();
                    prop_assert_eq!(found.len(), 1);
                    prop_assert!(volume.name != "secrets" || *found[0] == volume);
                }
            }
        }
    }
}

#[test]
fn what_nobody_says_of_processor_and_memory_is_a_little_of_both() {
    let asks = |fields: &str| {
        let pod = pods(&spec(fields)).unwrap().spec.unwrap();
        let resources = ours(&pod).resources.clone().unwrap_or_default();
        let text = |of: Option<BTreeMap<String, Quantity>>| {
            let of = of.unwrap_or_default();
            of.into_iter().map(|(name, Quantity(amount))| format!("{name}={amount}")).collect::<Vec<_>>()
        };
        (text(resources.requests).join(" "), text(resources.limits).join(" "))
    };
    let is = |requests: &str, limits: &str| (requests.to_owned(), limits.to_owned());
    let over = |resources: &str| {
        let container = format!("{{ name: majordomo, resources: {resources} }}");
        asks(&format!("podTemplate: {{ spec: {{ containers: [{container}] }} }}"))
    };
    assert_eq!(asks(""), is("cpu=100m memory=256Mi", ""));
    assert_eq!(asks("resources: {}"), is("", ""));
    assert_eq!(asks("resources: { requests: { cpu: 2 } }"), is("cpu=2", ""));
    assert_eq!(over("{ requests: { cpu: 50m } }"), is("cpu=50m memory=256Mi", ""));
    // a request may not be above a limit
    assert_eq!(over("{ limits: { memory: 200Mi } }"), is("cpu=100m", "memory=200Mi"));
}
