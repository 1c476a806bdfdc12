//! Objects as the API server has them: what `kubectl get -o json` prints, without a process for each look. Whoever waits looks
//! five times a second, and a `kubectl` takes half a second of one core.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test support")]

use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::Handle;

/// Longest time for an answer. An API server that stands still gives none.
const PATIENCE: Duration = Duration::from_secs(10);

/// What kubectl calls them; their group and version; the resource there.
const KINDS: [(&[&str], &str, &str); 12] = [
    (&["hac"], "apis/majordomo.dev/v1alpha1", "hacontrollers"),
    (&["hpa"], "apis/autoscaling/v2", "horizontalpodautoscalers"),
    (&["ingress"], "apis/networking.k8s.io/v1", "ingresses"),
    (&["lease"], "apis/coordination.k8s.io/v1", "leases"),
    (&["node", "nodes"], "api/v1", NODES),
    (&["pdb"], "apis/policy/v1", "poddisruptionbudgets"),
    (&["pod", "pods"], "api/v1", "pods"),
    (&["pvc"], "api/v1", "persistentvolumeclaims"),
    (&["secret"], "api/v1", "secrets"),
    (&["service"], "api/v1", "services"),
    (&["serviceaccount"], "api/v1", "serviceaccounts"),
    (&["statefulset"], "apis/apps/v1", "statefulsets"),
];
/// The only ones that are in no namespace.
const NODES: &str = "nodes";

#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    runtime: Handle,
}

impl Objects {
    /// As the user of this kubeconfig, by threads of this runtime.
    pub(crate) fn new(kubeconfig: &Path, runtime: &Handle) -> Objects {
        let file = Kubeconfig::read_from(kubeconfig).unwrap();
        let client = runtime.block_on(async {
            let mut config =
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
            config.connect_timeout = Some(PATIENCE);
            config.read_timeout = Some(PATIENCE);
            Client::try_from(config).unwrap()
        });
        Objects { client, runtime: runtime.clone() }
    }

    /// The object, or the list; nothing when it is not there, or the API server.
    pub(crate) fn look(&self, namespace: &str, arguments: &[&str]) -> Option<Value> {
        let (client, path) = (self.client.clone(), path(namespace, arguments));
        // by a thread of the runtime: this one may be in another network
        let asked = self.runtime.spawn(async move {
            let request = http::Request::get(path).body(Vec::new()).unwrap();
            tokio::time::timeout(PATIENCE, client.request(request)).await
        });
        self.runtime.block_on(asked).unwrap().ok()?.ok()
    }
}

/// `KIND`, `KIND NAME`, `KIND/NAME` or `KIND -l SELECTOR`, as kubectl takes them.
fn path(namespace: &str, arguments: &[&str]) -> String {
    let (kind, name, query) = match *arguments {
        [kind, "-l", selector] => (
            kind,
            String::new(),
            format!("?labelSelector={}", selector.replace('=', "%3D").replace(',', "%2C")),
        ),
        [kind, name] => (kind, format!("/{name}"), String::new()),
        [kind] => match kind.split_once('/') {
            Some((kind, name)) => (kind, format!("/{name}"), String::new()),
            None => (kind, String::new(), String::new()),
        },
        _ => panic!("{arguments:?}: too much for a look"),
    };
    let found = KINDS.iter().find(|(names, ..)| names.contains(&kind));
    let (_, group, resource) = found.unwrap_or_else(|| panic!("nobody looks at {kind} yet"));
    match *resource {
        NODES => format!("/{group}/{resource}{name}{query}"),
        _ => format!("/{group}/namespaces/{namespace}/{resource}{name}{query}"),
    }
}
