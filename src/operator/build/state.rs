//! Where pods find state and objects: what of it is a file among their secrets, what is in their environment, and what is a
//! volume.

use k8s_openapi::api::core::v1::{EnvVar, SecretProjection, Volume, VolumeMount};
use resource::{Azure, CloudNativePg, Gcs, KeyRef, Objects, Postgres, S3, Sqlite, Storage, Store};

use super::pod::SECRETS;
use super::volume::{claimed, empty, files, mount, of_secret, says};
use crate::names::{Owner, URL};

/// What the environment says of the store when no Secret does.
pub(super) const STORE_VARIABLE: &str = "MAJORDOMO_STORE";
pub(super) const OBJECTS_VARIABLE: &str = "MAJORDOMO_OBJECTS";
/// The file with the address of the store.
const STORE_FILE: &str = "store";
/// The key with the address, in the Secret that CloudNativePG makes.
const CLUSTER_KEY: &str = "uri";
const HOME_VOLUME: &str = "home";
const OBJECTS_VOLUME: &str = "objects";
const OBJECTS_FOLDER: &str = "/var/lib/majordomo-objects";
const GCS_FILE: &str = "objects/credentials.json";

/// What pods need for it.
pub(super) struct Place {
    pub(super) env: Vec<EnvVar>,
    pub(super) secrets: Vec<SecretProjection>,
    pub(super) volumes: Vec<Volume>,
    pub(super) mounts: Vec<VolumeMount>,
}

/// The store, and the folder for what is a replica's own.
pub(super) fn store(store: &Store, owner: &Owner) -> Place {
    let Store { postgres, builtin: _, sqlite, cloud_native_pg } = store;
    let mut env = Vec::new();
    let mut home = empty(HOME_VOLUME);
    let mut secrets = Vec::new();
    if let Some(Postgres { secret_ref, url }) = postgres {
        if let Some(KeyRef { name, key }) = secret_ref {
            secrets.push(files(name, &[(key.as_deref().unwrap_or(URL), STORE_FILE)]));
        }
        if let Some(url) = url {
            env.push(says(STORE_VARIABLE, url));
        }
    } else if let Some(Sqlite { storage }) = sqlite {
        home = claimed(HOME_VOLUME, claim_name(storage.as_ref()).unwrap_or_else(|| owner.home()));
    } else if let Some(CloudNativePg { cluster, .. }) = cloud_native_pg {
        let cluster = cluster.clone().unwrap_or_else(|| owner.cluster());
        secrets.push(files(&format!("{cluster}-app"), &[(CLUSTER_KEY, STORE_FILE)]));
    } else {
        secrets.push(files(&owner.postgres(), &[(URL, STORE_FILE)]));
    }
    Place { env, secrets, volumes: vec![home], mounts: vec![mount(HOME_VOLUME, super::pod::HOME)] }
}

pub(super) fn objects(objects: &Objects, owner: &Owner) -> Place {
    let Objects { store: _, s3, gcs, azure, volume } = objects;
    let mut place = Place { env: Vec::new(), secrets: Vec::new(), volumes: Vec::new(), mounts: Vec::new() };
    let mut env = |name: &str, value: &str| place.env.push(says(name, value));
    if let Some(s3) = s3 {
        env(OBJECTS_VARIABLE, &s3_address(s3, owner));
        if let Some(secret) = &s3.secret_ref {
            place.env.push(of_secret("AWS_ACCESS_KEY_ID", &secret.name, "access-key-id"));
            place.env.push(of_secret("AWS_SECRET_ACCESS_KEY", &secret.name, "secret-access-key"));
        }
    } else if let Some(Gcs { bucket, prefix, secret_ref }) = gcs {
        env(OBJECTS_VARIABLE, &format!("gs://{bucket}/{}", prefixed(prefix.as_deref(), owner)));
        if let Some(secret) = secret_ref {
            env("GOOGLE_APPLICATION_CREDENTIALS", &format!("{SECRETS}/{GCS_FILE}"));
            place.secrets.push(files(&secret.name, &[("credentials.json", GCS_FILE)]));
        }
    } else if let Some(Azure { account, container, prefix, secret_ref }) = azure {
        let prefix = prefixed(prefix.as_deref(), owner);
        env(OBJECTS_VARIABLE, &format!("azure://{account}/{container}/{prefix}"));
        if let Some(secret) = secret_ref {
            place.env.push(of_secret("AZURE_STORAGE_ACCOUNT_KEY", &secret.name, "account-key"));
        }
    } else if let Some(storage) = volume {
        env(OBJECTS_VARIABLE, &format!("folder:{OBJECTS_FOLDER}"));
        let claim = claim_name(Some(storage)).unwrap_or_else(|| owner.objects());
        place.volumes.push(claimed(OBJECTS_VOLUME, claim));
        place.mounts.push(mount(OBJECTS_VOLUME, OBJECTS_FOLDER));
    }
    place
}

fn s3_address(s3: &S3, owner: &Owner) -> String {
    let S3 { bucket, region, endpoint, prefix, path_style, secret_ref: _ } = s3;
    let mut address = format!("s3://{bucket}/{}", prefixed(prefix.as_deref(), owner));
    address.push_str(&format!("?region={}", encoded(region.as_deref().unwrap_or("us-east-1"))));
    if let Some(endpoint) = endpoint {
        address.push_str(&format!("&endpoint={}", encoded(endpoint)));
    }
    if *path_style {
        address.push_str("&path-style=true");
    }
    address
}

/// What names of objects begin with, as a part of an address.
fn prefixed(prefix: Option<&str>, owner: &Owner) -> String {
    let prefix = prefix.unwrap_or(&owner.name).trim_matches('/');
    prefix.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// For a part of an address: what is neither a letter, a digit nor one of `-._~` in hexadecimal digits.
pub(super) fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn claim_name(storage: Option<&Storage>) -> Option<String> {
    storage?.claim_name.clone()
}
