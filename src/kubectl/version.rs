//! `version`: what runs where.

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::ListParams;

use crate::cluster::{Cluster, pages};
use crate::error::{Call, Error};
use crate::overview::replicas;
use crate::paint::line;

/// By which the operator's own objects are found.
pub(crate) const OPERATOR: &str = "app.kubernetes.io/name=majordomo-operator";

/// Of this program, the cluster, the operator, and the replicas of a controller if one is named. What can't be seen is said.
pub async fn version(cluster: &Cluster, name: Option<&str>) -> Result<String, Error> {
    let mut lines = vec![own()];
    let said = cluster.client.apiserver_version().await;
    let said = said.map_err(|error| {
        Error::of(
            error,
            Call { verb: "get", what: "the version".to_owned(), namespace: String::new() },
            &cluster.server,
        )
    });
    lines.push(match said {
        Ok(info) => format!("kubernetes          {} at {}", line(&info.git_version), cluster.server),
        Err(error) => format!("kubernetes          {error}"),
    });
    match operators(cluster).await {
        Ok(found) if found.is_empty() => lines.push("operator            none is found".to_owned()),
        Ok(found) => lines.extend(found.into_iter().map(|text| format!("operator            {text}"))),
        Err(error) => lines.push(format!("operator            {error}")),
    }
    if let Some(name) = name {
        cluster.controller(name).await?;
        for pod in replicas(cluster, name).await? {
            let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
            let image = containers.into_iter().find(|container| container.name == operator::names::CONTAINER);
            let image = image.and_then(|container| container.image).unwrap_or_default();
            lines.push(format!("{:<19} {}", pod.metadata.name.unwrap_or_default(), line(&image)));
        }
    }
    Ok(lines.join("\n"))
}

/// Of this program.
pub(crate) fn own() -> String {
    format!("kubectl-majordomo   {}", env!("CARGO_PKG_VERSION"))
}

async fn operators(cluster: &Cluster) -> Result<Vec<String>, Error> {
    let all: Api<Deployment> = Api::all(cluster.client.clone());
    let found = pages(&all, ListParams::default().labels(OPERATOR)).await;
    let call = Call { namespace: String::new(), ..cluster.call::<Deployment>("list", "") };
    let found = found.map_err(|error| Error::of(error, call, &cluster.server))?;
    let text = |deployment: Deployment| {
        let containers = deployment.spec.and_then(|spec| spec.template.spec).map(|spec| spec.containers);
        let image = containers.unwrap_or_default().into_iter().find_map(|container| container.image);
        format!(
            "{} in namespace {}",
            line(&image.unwrap_or_default()),
            deployment.metadata.namespace.unwrap_or_default()
        )
    };
    Ok(found.into_iter().map(text).collect())
}
