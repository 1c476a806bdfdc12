//! Whether the store answers, as whoever knows it best says it.

use k8s_openapi::api::core::v1::Pod;
use resource::Reason;

use super::conditions::{FALSE, TRUE, UNKNOWN, Word};
use super::newest;
use crate::plan::builtin;
use crate::pods;
use crate::seen::Seen;
use crate::told::Told;

/// A replica that serves knows; else one that waits; else what one has said before it ended.
pub(super) fn store_ready(seen: &Seen) -> Word {
    let told = newest(seen);
    if told.is_some_and(|told| told.store_answers && told.store_error.is_none()) {
        return Word(TRUE, Reason::StoreAnswers, "the store answers".to_owned());
    }
    if let Some(word) = lost(seen) {
        return word;
    }
    if let Some(told) = told {
        let why = told.store_error.as_deref().unwrap_or("it does not answer");
        return Word(FALSE, refusal(why), format!("replicas wait for the store: {why}"));
    }
    if let Some((pod, reason, why)) = seen.pods.iter().find_map(last_words) {
        return Word(FALSE, reason, format!("{pod} has ended: {why}"));
    }
    let waits = seen.told.values().find_map(|told| match told {
        Told::Waits(why) if !why.is_empty() => Some(why.as_str()),
        Told::Waits(_) | Told::Overview(_) => None,
    });
    let starting = builtin(&seen.controller.spec).is_some() && !seen.postgres_ready();
    match waits {
        Some(why) if !starting => Word(FALSE, refusal(why), why.to_owned()),
        _ if starting => {
            let why = seen.postgres_pods.iter().find_map(why_not).map(|why| format!(": {why}"));
            let text = format!("the PostgreSQL of this controller is not ready{}", why.unwrap_or_default());
            Word(FALSE, Reason::StoreStarting, text)
        }
        _ => Word(UNKNOWN, Reason::StoreUnreachable, "no replica could be asked".to_owned()),
    }
}

/// The PostgreSQL of the operator is on a node that does not answer: its volume may be there, too, so nobody moves it.
fn lost(seen: &Seen) -> Option<Word> {
    let pod = seen.postgres_pods.iter().find(|pod| !pods::ready(pod) && node(pod, seen).is_some())?;
    let (name, node) = (pod.metadata.name.as_deref().unwrap_or_default(), node(pod, seen)?);
    let text = format!("the PostgreSQL {name} is on the node {node}, which does not answer");
    Some(Word(FALSE, Reason::NodeLost, text))
}

fn node<'a>(pod: &'a Pod, seen: &Seen) -> Option<&'a str> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    seen.lost_nodes.contains_key(node).then_some(node)
}

/// What a replica that is not ready has said of the store before it ended, if it was that.
fn last_words(pod: &Pod) -> Option<(&str, Reason, &str)> {
    let container = pods::container(pod).filter(|_| !pods::ready(pod))?;
    let now = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = now.or_else(|| container.last_state.as_ref()?.terminated.as_ref())?;
    let said = ended.message.as_deref().filter(|_| ended.exit_code != 0)?;
    let lines = said.lines().rev().map(|line| (refusal(line), line.trim()));
    let (reason, line) = lines.into_iter().find(|(reason, _)| *reason != Reason::StoreUnreachable)?;
    Some((pod.metadata.name.as_deref()?, reason, line))
}

/// A database says in one sentence what it refuses; only that it is about the user matters here.
fn refusal(why: &str) -> Reason {
    let why = why.to_ascii_lowercase();
    if why.contains("belongs to another controller") {
        return Reason::DatabaseTaken;
    }
    if why.contains("the database is empty") {
        return Reason::DatabaseEmpty;
    }
    let about_user = ["password", "authentication", "role \"", "no pg_hba.conf entry"];
    if about_user.iter().any(|words| why.contains(words)) {
        return Reason::CredentialsRefused;
    }
    Reason::StoreUnreachable
}

/// Why a pod is not ready: its image, no node, no volume.
fn why_not(pod: &Pod) -> Option<String> {
    let why = pods::message(pod).filter(|_| !pods::ready(pod))?;
    Some(format!("{}: {why}", pod.metadata.name.as_deref()?))
}
