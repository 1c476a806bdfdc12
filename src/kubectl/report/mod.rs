//! `report`: everything that support needs, in one archive, with secrets taken out. What can't be read is listed in it; the rest
//! is there all the same.

mod archive;
mod collect;
mod logs;
mod secrets;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::overview::{keys, overview};
use crate::paint::Paint;
use crate::scrub::Scrubber;
use crate::status::status_text;
use crate::{Say, Verdict};
use archive::Archive;
use collect::{Collected, collect};

/// What `report` is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// Where it is written; without it: a name with the controller and the time in this folder.
    pub file: Option<&'a Path>,
}

const ABOUT: &str = "\
What `kubectl majordomo report` has gathered of a controller.

status.txt    what `kubectl majordomo status -v` shows
versions.txt  what runs where
missing.txt   what could not be read, and why
secrets.txt   names, keys and sizes of Secrets, never what is in them
objects/      the objects of the controller, events.yaml, nodes.yaml
operator/     the operator's objects and logs
logs/         the end of the logs of all pods, also of containers that ended before

Values of Secrets (of 6 characters and more), passwords in addresses, tokens, keys and whatever has such a name are replaced by ***.
Look through it before you pass it on: names of hosts, jobs, users and images are in it, and what builds wrote to the replicas' logs.
";

pub async fn report(
    cluster: &Cluster,
    name: &str,
    asked: Report<'_>,
    say: Say<'_>,
) -> Result<Verdict, Error> {
    let now = Timestamp::now();
    let controller = cluster.controller(name).await?;
    say(&format!("{name}: reading objects"));
    let mut collected = collect(cluster, name).await?;
    let wanted = keys(name, controller.spec.as_ref().ok()).into_iter().map(|key| key.name).collect();
    let (table, values) = secrets::read(cluster, wanted, &mut collected).await;
    let scrubber = Scrubber::new(&values);
    let path = asked.file.map_or_else(|| file_name(&cluster.namespace, name, now), Path::to_path_buf);
    let mut archive = Archive::create(&path, now)?;
    archive.add("README.txt", ABOUT)?;
    let seen = overview(cluster, name).await?;
    archive.add("status.txt", &scrubber.text(&format!("{}\n", status_text(&seen, true, Paint(false)))))?;
    let versions = crate::version::version(cluster, Some(name)).await;
    let versions = versions.unwrap_or_else(|error| error.to_string());
    archive.add("versions.txt", &scrubber.text(&format!("{versions}\n")))?;
    archive.add("secrets.txt", &table)?;
    add_objects(&mut archive, &scrubber, &mut collected)?;
    say(&format!("{name}: reading logs of {} pods", collected.pods.len()));
    logs::add(cluster, &mut archive, &scrubber, &mut collected).await?;
    collected.missing.extend(archive.omitted());
    collected.missing.sort();
    collected.missing.dedup();
    archive.add("missing.txt", &missing(&collected.missing, &scrubber))?;
    let bytes = archive.finish()?;
    for line in &collected.missing {
        say(&format!("not in it: {}", scrubber.text(line)));
    }
    say(&format!("{} ({} KiB); look through it before you pass it on", path.display(), bytes.div_ceil(1024)));
    Ok(Verdict::Good)
}

fn file_name(namespace: &str, name: &str, now: Timestamp) -> PathBuf {
    let at = now.strftime("%Y%m%d-%H%M%S");
    PathBuf::from(format!("majordomo-report-{namespace}-{name}-{at}.tar.gz"))
}

fn missing(lines: &[String], scrubber: &Scrubber) -> String {
    match lines.is_empty() {
        true => "All that was looked for could be read.\n".to_owned(),
        false => scrubber.text(&lines.iter().map(|line| format!("{line}\n")).collect::<String>()),
    }
}

fn add_objects(archive: &mut Archive, scrubber: &Scrubber, collected: &mut Collected) -> Result<(), Error> {
    for (path, object) in &mut collected.objects {
        archive.add(path, &yaml(scrubber, object))?;
    }
    Ok(())
}

fn yaml(scrubber: &Scrubber, object: &mut Value) -> String {
    scrubber.value(object);
    serde_saphyr::to_string(object)
        .unwrap_or_else(|error| format!("# it can't be written as YAML: {error}\n"))
}
