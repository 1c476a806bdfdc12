//! Secrets that are made once. What is in them is by chance and never written again: who has them has the controller.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::postgres::{DATABASE, ROLE};
use super::state::encoded;
use crate::names::{
    AGENT_KEY, Component, ENCRYPTION_KEYS, Owner, PASSWORD, PEER_KEYS, POSTGRES_PORT, TOKEN, URL, USERNAME,
};
use crate::plan::{NewKeys, NewSecrets};

/// Name of the first administrator.
const ADMINISTRATOR: &str = "admin";

pub(super) fn secrets(new: &NewSecrets, owner: &Owner) -> Vec<Secret> {
    let NewSecrets { admin, keys, metrics, postgres } = new;
    let admin = admin.as_ref().map(|password| {
        let content = [(USERNAME, ADMINISTRATOR.to_owned()), (PASSWORD, password.clone())];
        secret(owner.kept(owner.admin(), Component::Replica), content)
    });
    let keys = keys.as_ref().map(|NewKeys { agent, encryption, peer }| {
        let content =
            [(AGENT_KEY, agent.clone()), (ENCRYPTION_KEYS, encryption.clone()), (PEER_KEYS, peer.clone())];
        secret(owner.kept(owner.keys(), Component::Replica), content)
    });
    let metrics = metrics
        .as_ref()
        .map(|token| secret(owner.meta(owner.metrics(), Component::Replica), [(TOKEN, token.clone())]));
    let postgres = postgres.as_ref().map(|password| {
        let content =
            [(USERNAME, ROLE.to_owned()), (PASSWORD, password.clone()), (URL, address(owner, password))];
        secret(owner.kept(owner.postgres(), Component::Postgres), content)
    });
    [admin, keys, metrics, postgres].into_iter().flatten().collect()
}

/// Where replicas find the PostgreSQL that is made.
fn address(owner: &Owner, password: &str) -> String {
    let (host, namespace) = (owner.postgres(), &owner.namespace);
    format!("postgres://{ROLE}:{}@{host}.{namespace}.svc:{POSTGRES_PORT}/{DATABASE}", encoded(password))
}

fn secret<const N: usize>(metadata: ObjectMeta, content: [(&str, String); N]) -> Secret {
    let data = content.map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes())));
    Secret {
        metadata,
        type_: Some("Opaque".to_owned()),
        data: Some(BTreeMap::from(data)),
        ..Secret::default()
    }
}
