//! How Prometheus finds the replicas.

use kube::core::DynamicObject;
use resource::{Monitoring, Spec};
use serde_json::json;

use super::foreign;
use super::pod::HEALTH;
use crate::names::{Component, Owner, TOKEN};

/// A ServiceMonitor over the headless Service, which alone has the port: each replica is asked, ready or not.
pub(super) fn monitor(owner: &Owner, spec: &Spec) -> Option<DynamicObject> {
    let Monitoring { enabled, interval, labels } = spec.monitoring.clone().unwrap_or_default();
    if !enabled {
        return None;
    }
    let mut metadata = owner.meta(owner.name.clone(), Component::Replica);
    let mut all = labels.unwrap_or_default();
    all.extend(metadata.labels.take().unwrap_or_default());
    metadata.labels = Some(all);
    let spec = json!({
        "selector": { "matchLabels": owner.selector(Component::Replica) },
        "targetLabels": ["app.kubernetes.io/instance"],
        "endpoints": [{
            "port": HEALTH,
            "path": "/metrics",
            "interval": interval.to_string(),
            "authorization": {
                "type": "Bearer",
                "credentials": { "name": owner.metrics(), "key": TOKEN },
            },
        }],
    });
    Some(foreign("monitoring.coreos.com/v1", "ServiceMonitor", metadata, spec))
}
