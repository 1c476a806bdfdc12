//! What the operator may do, in the cluster and on its node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::helm::{Helm, OPERATOR, only};

const IMAGE: &str = "image.repository=r.example/majordomo,crds.install=false";

fn made(helm: &Helm, more: &[&str]) -> Vec<Value> {
    helm.objects("majordomo-operator", OPERATOR, &[&["--set", IMAGE], more].concat())
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().unwrap())
}

/// Verbs by `group/resource`.
type Rights = BTreeMap<String, BTreeSet<String>>;

fn rights<'a>(roles: impl IntoIterator<Item = &'a Value>) -> Rights {
    let mut rights = Rights::new();
    for rule in roles.into_iter().flat_map(|role| role["rules"].as_array().unwrap()) {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                let verbs = texts(&rule["verbs"]).map(str::to_owned);
                rights.entry(format!("{group}/{resource}")).or_default().extend(verbs);
            }
        }
    }
    rights
}

/// The roles that the operator itself has: those that are bound.
fn bound<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let bindings = objects.iter().filter(|object| object["kind"] == format!("{kind}Binding"));
    let role = |binding: &'a Value| {
        let (name, namespace) = (&binding["roleRef"]["name"], &binding["metadata"]["namespace"]);
        let is = |object: &&Value| {
            let metadata = &object["metadata"];
            object["kind"] == kind && metadata["name"] == *name && metadata["namespace"] == *namespace
        };
        assert_eq!(binding["subjects"].as_array().unwrap().len(), 1);
        assert_eq!(binding["subjects"][0]["name"], "majordomo-operator");
        objects.iter().find(is).unwrap_or_else(|| panic!("{name} is bound and not there"))
    };
    bindings.map(role).collect()
}

#[test]
fn the_operator_has_no_right_that_it_could_make_more_of() {
    let Some(helm) = Helm::find("rights of the operator") else { return };
    for more in [&[][..], &["--set", "namespaces={ci,team}"]] {
        let objects = made(&helm, more);
        let all = rights(bound(&objects, "ClusterRole").into_iter().chain(bound(&objects, "Role")));
        assert!(all.len() > 15, "{all:?}");
        for (resource, verbs) in &all {
            assert!(!resource.contains('*'), "{resource}");
            for never in ["*", "escalate", "bind", "impersonate", "deletecollection", "approve", "sign"] {
                assert!(!verbs.contains(never), "{resource}: {never}");
            }
        }
        for never in
            ["/pods/exec", "/pods/attach", "/pods/portforward", "/serviceaccounts/token", "/nodes/proxy"]
        {
            assert!(!all.contains_key(never), "{never}");
        }
        let may = |resource: &str, verb: &str| all.get(resource).is_some_and(|verbs| verbs.contains(verb));
        assert!(!may("/pods", "create") && !may("/persistentvolumeclaims", "delete"));
        assert!(may("/secrets", "create") && !may("/secrets", "delete") && !may("/secrets", "patch"));
        assert!(all.keys().all(|resource| !resource.starts_with("rbac.authorization.k8s.io/")));
        assert!(
            !may("majordomo.dev/hacontrollers", "delete") && !may("majordomo.dev/hacontrollers", "create")
        );
    }
}

#[test]
fn with_namespaces_it_has_the_same_rights_there_and_none_elsewhere() {
    let Some(helm) = Helm::find("rights in namespaces") else { return };
    let objects = made(&helm, &[]);
    let everywhere = rights(bound(&objects, "ClusterRole"));
    assert!(everywhere.contains_key("/secrets") && everywhere.contains_key("/nodes"));

    let objects = made(&helm, &["--set", "namespaces={ci,team,ci}"]);
    let cluster = rights(bound(&objects, "ClusterRole"));
    let of = |namespace: &str| {
        let roles = bound(&objects, "Role");
        rights(roles.into_iter().filter(|role| role["metadata"]["namespace"] == namespace))
    };
    let (ci, team, own) = (of("ci"), of("team"), of("majordomo"));
    assert_eq!(ci, team);
    let both: Rights = ci.into_iter().chain(cluster.clone()).collect();
    assert_eq!(both, everywhere);
    for (resource, verbs) in &cluster {
        assert!(verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str())), "{resource}");
    }
    assert_eq!(
        cluster.keys().map(String::as_str).collect::<Vec<_>>(),
        ["/nodes", "networking.k8s.io/ingressclasses", "storage.k8s.io/storageclasses"]
    );
    assert_eq!(own.keys().map(String::as_str).collect::<Vec<_>>(), ["coordination.k8s.io/leases"]);

    let objects = made(&helm, &["--set", "namespaces={ci},rbac.clusterScope=false,rbac.aggregate=false"]);
    assert!(objects.iter().all(|object| !object["kind"].as_str().unwrap().starts_with("ClusterRole")));
}

#[test]
fn the_operator_can_change_the_lease_that_it_is_told_and_no_other() {
    let Some(helm) = Helm::find("the right to the lease") else { return };
    for (more, name) in [("replicas=2", "majordomo-operator"), ("leaseName=leader", "leader")] {
        let objects = made(&helm, &["--set", more]);
        let container = only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0].clone();
        assert!(texts(&container["args"]).any(|arg| arg == format!("--lease-name={name}")), "{container}");
        let roles = bound(&objects, "Role");
        let rules = roles[0]["rules"].as_array().unwrap();
        for rule in rules {
            let makes = rule["verbs"] == json!(["create"]);
            assert!(makes || rule["resourceNames"] == json!([name]), "{rule}");
        }
    }
}

/// What the policy `restricted` asks for, and a root file system that can't be written.
#[test]
fn pods_of_the_operator_are_restricted_whatever_is_chosen() {
    let Some(helm) = Helm::find("security of the operator's pods") else { return };
    let users = "podSecurityContext.runAsUser=null,podSecurityContext.runAsGroup=null";
    for more in ["replicas=2", users, "podLabels.app\\.kubernetes\\.io/name=other"] {
        let objects = made(&helm, &["--set", more]);
        let deployment = only(&objects, "Deployment");
        let template = &deployment["spec"]["template"];
        let pod = &template["spec"];
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["seccompProfile"], json!({ "type": "RuntimeDefault" }));
        assert_eq!(security["runAsUser"], if more == users { Value::Null } else { json!(65532) });
        for field in ["hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"] {
            assert_eq!(pod[field], Value::Null, "{field}");
        }
        let containers = pod["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1);
        assert_eq!(
            containers[0]["securityContext"],
            json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
            })
        );
        // its pods stay its own, by which policies of controllers let them in
        let chosen = deployment["spec"]["selector"]["matchLabels"].as_object().unwrap();
        assert_eq!(chosen["app.kubernetes.io/name"], "majordomo-operator");
        assert!(chosen.iter().all(|(name, value)| template["metadata"]["labels"][name] == *value));
    }
}
