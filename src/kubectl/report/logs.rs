//! The ends of logs.

use futures_util::{AsyncRead, AsyncReadExt};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use crate::cluster::Cluster;
use crate::error::{Call, Error};
use crate::report::archive::Archive;
use crate::report::collect::Collected;
use crate::scrub::Scrubber;

/// Most bytes that are kept of one log: its last ones.
const KEPT: usize = 5 * 1024 * 1024;
/// Most bytes that are read of one log.
const READ: usize = 100 * 1024 * 1024;

/// One container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    container: String,
    /// Of the container before this one.
    previous: bool,
}

/// Logs of what runs first: if not all fit, those of before are left out.
pub(super) async fn add(
    cluster: &Cluster,
    archive: &mut Archive,
    scrubber: &Scrubber,
    collected: &mut Collected,
) -> Result<(), Error> {
    for previous in [false, true] {
        for (folder, pod) in &collected.pods {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            for wanted in wanted(pod).into_iter().filter(|wanted| wanted.previous == previous) {
                let suffix = if previous { "-previous" } else { "" };
                let path = format!("{folder}/{name}-{}{suffix}.log", wanted.container);
                match log(cluster, pod, &wanted, archive.room()).await {
                    Ok(text) => archive.add(&path, &scrubber.text(&text))?,
                    Err(error) => collected.missing.push(format!("{path}: {error}")),
                }
            }
        }
    }
    Ok(())
}

/// Of all containers that have ever run.
fn wanted(pod: &Pod) -> Vec<Wanted> {
    let Some(status) = &pod.status else { return Vec::new() };
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let of = |status: &k8s_openapi::api::core::v1::ContainerStatus| {
        let state = status.state.as_ref();
        let ran = state.is_some_and(|state| state.running.is_some() || state.terminated.is_some());
        let before = status.restart_count > 0;
        let one = |previous| Wanted { container: status.name.clone(), previous };
        [ran.then(|| one(false)), before.then(|| one(true))].into_iter().flatten()
    };
    containers.flat_map(of).collect()
}

async fn log(cluster: &Cluster, pod: &Pod, wanted: &Wanted, room: usize) -> Result<String, Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or(&cluster.namespace);
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let params = LogParams {
        container: Some(wanted.container.clone()),
        previous: wanted.previous,
        timestamps: true,
        ..LogParams::default()
    };
    let call = Call { verb: "get", what: "pods/log".to_owned(), namespace: namespace.to_owned() };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let stream = api
        .log_stream(name, &params)
        .await
        .map_err(|error| Error::of(error, call.clone(), &cluster.server))?;
    let read = tail(stream, KEPT.min(room)).await;
    read.map_err(|why| Error::Api { call, why: why.to_string(), code: 0 })
}

/// The last bytes of what is read, from the beginning of a line; memory holds twice as many at most.
async fn tail(stream: impl AsyncRead, keep: usize) -> std::io::Result<String> {
    let mut stream = std::pin::pin!(stream);
    let (mut kept, mut read, mut cut) = (Vec::new(), 0, false);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        read += count;
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if kept.len() > keep.saturating_mul(2).max(1) {
            kept.drain(..kept.len() - keep);
            cut = true;
        }
        if read > READ {
            break;
        }
    }
    if kept.len() > keep {
        kept.drain(..kept.len() - keep);
        cut = true;
    }
    if cut {
        // half a line may be half a secret, which nobody would know as one
        let line = kept.iter().position(|byte| *byte == b'\n').map_or(kept.len(), |at| at + 1);
        kept.drain(..line);
    }
    let text = String::from_utf8_lossy(&kept).into_owned();
    Ok(if cut { format!("… what was before is left out\n{text}") } else { text })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_end_of_a_long_log_begins_with_a_line() {
        let log: String = (0..100).map(|n| format!("line {n:03}\n")).collect();
        let short = tail(log.as_bytes(), 900).await.unwrap();
        assert_eq!(short, log);
        let end = tail(log.as_bytes(), 30).await.unwrap();
        assert_eq!(end, "… what was before is left out\nline 097\nline 098\nline 099\n");
        assert_eq!(tail(&b"a line without end"[..], 4).await.unwrap(), "… what was before is left out\n");
        assert_eq!(tail(&b""[..], 4).await.unwrap(), "");
    }

    #[test]
    fn logs_are_asked_for_where_there_are_some() {
        let state = |state: &str, restarts: u32| {
            json!({
                "name": state, "ready": false, "restartCount": restarts, "image": "", "imageID": "",
                "state": { state: {} },
            })
        };
        let statuses = json!([state("running", 0), state("waiting", 2)]);
        let pod =
            serde_json::from_value(json!({ "metadata": {}, "status": { "containerStatuses": statuses } }));
        let wanted: Vec<_> =
            wanted(&pod.unwrap()).into_iter().map(|one| (one.container, one.previous)).collect();
        assert_eq!(wanted, [("running".to_owned(), false), ("waiting".to_owned(), true)]);
        assert!(super::wanted(&Pod::default()).is_empty());
    }
}
