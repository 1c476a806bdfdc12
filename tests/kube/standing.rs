//! The cluster stands, and what the tests need of it works: nodes, DNS, volumes, ingress, our images; and it can be broken and
//! mended.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::cluster::{
    Cluster, INGRESS, NODES, OUTSIDE, cluster, node_ingress, not_run, postgres, wait,
};
use crate::support::kubectl::{Kubectl, LONG, is_ready};

/// A pod as restricted pod security wants it, with a root that nobody can write to and a `/tmp`.
fn pod(name: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 5,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": name, "image": format!("registry.local/{image}"), "args": command,
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
            }],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        },
    })
}

#[test]
fn the_nodes_are_ready_and_names_are_found() {
    let Some(cluster) = cluster() else { return };
    let _peace = cluster.peace();
    let nodes = cluster.kubectl().get(&["nodes"]);
    let nodes = nodes["items"].as_array().unwrap();
    assert_eq!(nodes.len(), usize::from(NODES));
    assert!(nodes.iter().all(is_ready), "{nodes:#?}");

    let namespace = cluster.kubectl().namespace("names");
    // the agent's image has a shell and getent's way to ask: the C library
    let look = "for name in kubernetes.default.svc.cluster.local kube-dns.kube-system; do getent ahostsv4 $name || exit 1; done";
    namespace.apply(&pod("names", "agent:dev", &[]).with_command(&["sh", "-c", look]).to_string());
    let said = namespace.wait_ended("names");
    assert!(said.contains("10.96.0.1 ") && said.contains("10.96.0.10 "), "{said}");
}

#[test]
fn our_program_runs_in_its_image_and_another_product_tells_that_it_is_another() {
    let Some(cluster) = cluster() else { return };
    let _peace = cluster.peace();
    let namespace = cluster.kubectl().namespace("images");
    namespace.apply(&pod("majordomo", "majordomo:dev", &["--version"]).to_string());
    namespace.apply(&pod("agent", "agent:dev", &[]).with_command(&["git", "--version"]).to_string());
    namespace.apply(&pod("broken", "broken:1", &["replica"]).to_string());
    namespace.apply(&pod("missing", "majordomo:never-made", &[]).to_string());
    let version = concat!("majordomo ", env!("CARGO_PKG_VERSION"));
    assert!(namespace.wait_ended("majordomo").starts_with(version));
    assert!(namespace.wait_ended("agent").starts_with("git version 2."));
    assert_eq!(namespace.wait_ended("broken"), "usage: frobnicate [--fast] FILE...\n");
    assert_eq!(namespace.get(&["pod", "broken"])["status"]["phase"], "Failed");
    wait(LONG, "an image that is not there is told", || {
        let pod = namespace.look(&["pod", "missing"])?;
        let reason = pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].as_str()?.to_owned();
        matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff").then_some(())
    });
}

#[test]
fn what_restricted_pod_security_does_not_allow_is_refused() {
    let Some(cluster) = cluster() else { return };
    let _peace = cluster.peace();
    let namespace = cluster.kubectl().namespace("refused");
    let mut root = pod("root", "majordomo:dev", &["--version"]);
    root["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
    let why = namespace.try_apply(&root.to_string()).unwrap_err();
    assert!(why.contains("violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation"), "{why}");
}

#[test]
fn postgresql_runs_on_a_volume_that_grows_and_follows_it_to_another_node() {
    let Some(cluster) = cluster() else { return };
    let Some(version) = postgres() else { return not_run("PostgreSQL is not installed") };
    let _peace = cluster.peace();
    let namespace = cluster.kubectl().namespace("postgres");
    let claim = |size: &str| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
        })
        .to_string()
    };
    namespace.apply(&claim("1Gi"));
    // fsGroup lets the group in each time that the volume is mounted, and the server refuses such a folder
    let start = "set -e; [ -e /data/pg ] || { initdb --auth=trust --username=postgres --no-sync -D /data/new; mv /data/new /data/pg; }; chmod 700 /data/pg; \
                 exec postgres -D /data/pg -c listen_addresses='*' -c unix_socket_directories=/tmp";
    let server = |name: &str, node: &str| {
        let mut server = pod(name, &format!("postgres:{version}"), &[]).with_command(&["sh", "-c", start]);
        server["spec"]["nodeName"] = json!(node);
        let container = &mut server["spec"]["containers"][0];
        container["readinessProbe"] =
            json!({"exec": {"command": ["pg_isready", "-h", "127.0.0.1"]}, "periodSeconds": 1});
        container["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "data", "mountPath": "/data"}));
        let volumes = server["spec"]["volumes"].as_array_mut().unwrap();
        volumes.push(json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}}));
        namespace.apply(&server.to_string());
        namespace.wait_ready(name);
    };
    let ask = |pod: &str, sql: &str| {
        let psql = ["exec", pod, "--", "psql", "-h", "127.0.0.1", "-U", "postgres", "-qAtc", sql];
        namespace.run(&psql).trim().to_owned()
    };
    server("one", "node1");
    assert_eq!(ask("one", "CREATE TABLE t (n int); INSERT INTO t VALUES (42); SELECT n FROM t"), "42");
    assert_eq!(
        ask("one", "SELECT '2026-07-01 12:00 Europe/Paris'::timestamptz AT TIME ZONE 'UTC'"),
        "2026-07-01 10:00:00"
    );
    namespace.apply(&claim("2Gi"));
    wait(LONG, "the volume has grown", || {
        (namespace.get(&["pvc", "data"])["status"]["capacity"]["storage"] == "2Gi").then_some(())
    });
    namespace.run(&["delete", "pod", "one"]);
    server("two", "node2");
    assert_eq!(ask("two", "SELECT n FROM t"), "42");
    namespace.run(&["delete", "pod", "two"]);
    namespace.run(&["delete", "pvc", "data"]);
}

/// Has a program of the image started instead of its entry point.
trait WithCommand {
    fn with_command(self, command: &[&str]) -> Self;
}

impl WithCommand for Value {
    fn with_command(mut self, command: &[&str]) -> Value {
        self["spec"]["containers"][0]["command"] = json!(command);
        self
    }
}

/// Answers each message of each WebSocket with the same.
async fn echo(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
            while let Some(Ok(message)) = socket.next().await {
                if message.is_text() {
                    socket.send(message).await.unwrap();
                }
            }
        });
    }
}

/// Says one word through the ingress and hears it.
async fn say(at: SocketAddr, host: String) -> Result<String, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(at).await.map_err(|e| told(&e))?;
    let url = format!("ws://{host}/any");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.map_err(|e| told(&e))?;
    socket.send(Message::text("hello")).await.map_err(|e| told(&e))?;
    match socket.next().await {
        Some(Ok(message)) => message.into_text().map(|text| text.to_string()).map_err(|e| told(&e)),
        other => Err(format!("{other:?}")),
    }
}

/// A service whose only endpoint is in this process, and an ingress of a class for it.
fn exposed(port: u16, class: &str, host: &str) -> String {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": class},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": port}]},
    });
    let endpoint = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": class, "labels": {"kubernetes.io/service-name": class}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": [OUTSIDE.to_string()], "conditions": {"ready": true}}],
    });
    let backend = json!({"service": {"name": class, "port": {"name": "http"}}});
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": class},
        "spec": {"ingressClassName": class, "rules": [{
            "host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }]},
    });
    [service, endpoint, ingress].map(|object| object.to_string()).join("\n---\n")
}

#[test]
fn websockets_pass_both_classes_of_the_ingress_at_every_address() {
    let Some(cluster) = cluster() else { return };
    let _peace = cluster.peace();
    let namespace = cluster.kubectl().namespace("sockets");
    let listener = cluster.block_on(async { TcpListener::bind((OUTSIDE, 0)).await.unwrap() });
    let port = listener.local_addr().unwrap().port();
    let _server = cluster.runtime().spawn(echo(listener));
    for class in ["traefik", "nginx"] {
        let host = format!("{class}.test");
        namespace.apply(&exposed(port, class, &host));
        let entries = (1..=NODES).map(node_ingress).chain([SocketAddr::from((OUTSIDE, INGRESS))]);
        for at in entries {
            let heard = wait(LONG, &format!("{class} at {at} carries WebSockets"), || {
                cluster.block_on(say(at, host.clone())).ok()
            });
            assert_eq!(heard, "hello");
        }
    }
}

/// Whether a node is ready in the eyes of the cluster.
fn ready(kubectl: &Kubectl, node: &str) -> bool {
    kubectl.look(&["node", node]).is_some_and(|node| is_ready(&node))
}

fn until(cluster: &Cluster, node: &str, wanted: bool) -> Duration {
    let began = Instant::now();
    let what = format!("{node} is {}ready", if wanted { "" } else { "not " });
    wait(LONG, &what, || (ready(&cluster.kubectl(), node) == wanted).then_some(()));
    began.elapsed()
}

#[test]
#[ignore = "it is of the scripts of the cluster, and stories need them anyway; on request"]
fn nodes_and_the_api_server_go_and_come_back() {
    let Some(cluster) = cluster() else { return };
    let _alone = cluster.alone();
    let namespace = cluster.kubectl().namespace("faults");
    let mut sleeper = pod("sleeper", "agent:dev", &[]).with_command(&["sleep", "infinity"]);
    sleeper["spec"]["nodeName"] = json!("node3");
    namespace.apply(&sleeper.to_string());
    namespace.wait_ready("sleeper");
    let id = |pod: &Value| pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().to_owned();
    let first = id(&namespace.get(&["pod", "sleeper"]));

    // the pods of a node that stands still run on
    let stopped = cluster.broken(&["node-stop", "3"]);
    let lost = until(cluster, "node3", false);
    stopped.mend();
    let back = until(cluster, "node3", true);
    assert_eq!(id(&namespace.wait_ready("sleeper")), first);
    println!("node-stop: not ready after {lost:?}, ready {back:?} after node-start");

    // those of a node without power do not
    let off = cluster.broken(&["node-off", "3"]);
    let lost = until(cluster, "node3", false);
    off.mend();
    let back = until(cluster, "node3", true);
    println!("node-off: not ready after {lost:?}, ready {back:?} after node-start");
    // its containers are gone, and kubelet finds that out
    wait(LONG, "the pod is known to have ended", || {
        let phase = namespace.look(&["pod", "sleeper"])?["status"]["phase"].as_str()?.to_owned();
        (phase == "Failed").then_some(())
    });

    let stopped = cluster.broken(&["api-stop"]);
    assert!(namespace.attempt(&["get", "pods"]).is_err());
    let began = Instant::now();
    stopped.mend();
    println!("api-stop: ready {:?} after api-start", began.elapsed());
    let paused = cluster.broken(&["api-pause"]);
    assert!(namespace.attempt(&["get", "pods", "--request-timeout=1s"]).is_err());
    paused.mend();
    wait(LONG, "the API server answers", || namespace.look(&["pods"]));
    for node in ["node1", "node2", "node3"] {
        until(cluster, node, true);
    }
}

#[test]
#[ignore = "it is of the scripts of the cluster, and stories need them anyway; on request"]
fn a_node_is_drained_as_far_as_the_disruption_budget_lets_it() {
    let Some(cluster) = cluster() else { return };
    let _alone = cluster.alone();
    let namespace = cluster.kubectl().namespace("drain");
    let mut template = pod("web", "agent:dev", &[]).with_command(&["sleep", "infinity"]);
    template["spec"]["restartPolicy"] = json!("Always");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": template["spec"]},
        },
    });
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    });
    namespace.apply(&budget.to_string());
    namespace.apply(&deployment.to_string());
    let place = |not_on: &str| {
        wait(LONG, &format!("the pod is ready, not on {not_on}"), || {
            let pods = namespace.look(&["pods"])?;
            let pods = pods["items"].as_array()?.iter().filter(|pod| is_ready(pod));
            let nodes = pods.filter_map(|pod| pod["spec"]["nodeName"].as_str());
            nodes.map(str::to_owned).find(|node| node != not_on)
        })
    };
    let node = place("none");
    let all = cluster.kubectl();
    let drain = |patience: &str| {
        all.attempt(&["drain", &node, "--pod-selector=app=web", "--delete-emptydir-data", patience])
    };
    wait(LONG, "the budget counts the pod", || {
        (namespace.get(&["pdb", "web"])["status"]["currentHealthy"] == 1).then_some(())
    });
    let why = drain("--timeout=3s").unwrap_err();
    assert!(why.contains("would violate the pod's disruption budget"), "{why}");
    namespace.run(&["delete", "pdb", "web"]);
    drain("--timeout=60s").unwrap();
    assert_ne!(place(&node), node);
    all.run(&["uncordon", &node]);
}
