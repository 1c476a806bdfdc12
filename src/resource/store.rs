//! Where a controller keeps its state and its objects.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::free;
use crate::spec::{Free, KeyRef, Named};
use crate::text::{NAME, Size};

/// Where state is kept; exactly one of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Store {
    /// A PostgreSQL that is there already.
    pub postgres: Option<Postgres>,
    /// A single PostgreSQL that the operator starts, for a first try: while its pod is away, the controller waits.
    pub builtin: Option<Builtin>,
    /// A file on a volume that one pod mounts: for one replica at most, which is away while it is replaced. Builds go on
    /// meanwhile. Under `majordomo up` several replicas share it.
    pub sqlite: Option<Sqlite>,
    /// A database cluster that the CloudNativePG operator looks after; its Cluster is made.
    // `cloudNativePg` is what `up` took before Kubernetes did
    #[serde(rename = "cloudNativePG", alias = "cloudNativePg")]
    pub cloud_native_pg: Option<CloudNativePg>,
}

/// A PostgreSQL that is there already: exactly one of secretRef and url.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Postgres {
    /// A Secret with the address of the database, postgres://USER:PASSWORD@HOST/DATABASE. Without a key: its key url.
    pub secret_ref: Option<KeyRef>,
    /// The address itself, for a local run and for databases that ask for no password: whoever may read this object reads it
    /// too.
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.as_ref().map(|_| "***");
        f.debug_struct("Postgres").field("secret_ref", &self.secret_ref).field("url", &url).finish()
    }
}

/// A single PostgreSQL that the operator starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Builtin {
    /// Its image, `registry/name:tag`. Without it: the one that the operator's version was tested with.
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// The volume with the database.
    #[schemars(extend("default" = {}))]
    pub storage: Option<Storage>,
    /// What it asks for and may use of processor and memory. Without it: requests of 100m and 256Mi,
    /// and no limit.
    pub resources: Option<ResourceRequirements>,
}

/// A SQLite database in a file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sqlite {
    /// The volume with the database.
    #[schemars(extend("default" = {}))]
    pub storage: Option<Storage>,
}

/// A Cluster of the CloudNativePG operator, which must be installed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CloudNativePg {
    /// Name of the Cluster. Without it: NAME-db. An edit can't name another one.
    #[schemars(length(min = 1, max = 63), extend("pattern" = NAME))]
    pub cluster: Option<String>,
    /// Its PostgreSQL servers, 1 to 9; with 3, one may be lost and no committed transaction with it.
    #[schemars(range(min = 1, max = 9), extend("format" = "int32", "default" = 3))]
    pub instances: Option<u32>,
    /// Image of PostgreSQL. Without it: as CloudNativePG chooses.
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// The volume of each server.
    #[schemars(extend("default" = {}))]
    pub storage: Option<Storage>,
    /// What each server asks for and may use of processor and memory. Without it: no request and no limit.
    pub resources: Option<ResourceRequirements>,
    /// Fields of the Cluster's spec that are laid over what the operator makes, such as backup or affinity.
    #[schemars(schema_with = "free")]
    pub spec: Option<Free>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Storage {
    /// How large it is: a whole number with a unit, like 500Mi or 10Gi. It can be made larger if its storage class can do
    /// that, and never smaller.
    #[schemars(extend("default" = Size::default()))]
    pub size: Option<Size>,
    /// Its StorageClass. Without it: the default one of the cluster. Read when the volume is made.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub class_name: Option<String>,
    /// A PersistentVolumeClaim that is there already; size and className mean nothing then. An edit can't name another one for a
    /// database.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub claim_name: Option<String>,
}

/// Where artifacts, stashes and archived logs are kept; exactly one of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Objects {
    /// In the store itself: for small ones.
    pub store: Option<InStore>,
    /// In a bucket of S3, or of what speaks like it.
    pub s3: Option<S3>,
    /// In a bucket of Google Cloud Storage.
    pub gcs: Option<Gcs>,
    /// In a container of Azure Blob Storage.
    pub azure: Option<Azure>,
    /// On a volume that all replicas can mount at once (ReadWriteMany).
    pub volume: Option<Storage>,
}

/// Nothing is to be said about it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InStore {}

/// A bucket of S3, or of what speaks like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3 {
    /// Name of the bucket. It must be there.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// Its region. Without it: us-east-1.
    #[schemars(length(min = 1, max = 64))]
    pub region: Option<String>,
    /// Address of the service, https://…, for one that is not Amazon's.
    #[schemars(length(min = 1, max = 1024))]
    pub endpoint: Option<String>,
    /// What the name of each object begins with. Without it: the name of the controller.
    #[schemars(length(min = 1, max = 255))]
    pub prefix: Option<String>,
    /// Whether the bucket is a part of the path, as many services want it, and not of the host.
    #[serde(default)]
    pub path_style: bool,
    /// A Secret with the keys access-key-id and secret-access-key. Without it: what the pods' ServiceAccount may do.
    pub secret_ref: Option<Named>,
}

/// A bucket of Google Cloud Storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gcs {
    /// Name of the bucket. It must be there.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// What the name of each object begins with. Without it: the name of the controller.
    #[schemars(length(min = 1, max = 255))]
    pub prefix: Option<String>,
    /// A Secret with a service account's key in its key credentials.json. Without it: what the pods' ServiceAccount may do.
    pub secret_ref: Option<Named>,
}

/// A container of Azure Blob Storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Azure {
    /// The storage account.
    #[schemars(length(min = 1, max = 24))]
    pub account: String,
    /// Name of the container. It must be there.
    #[schemars(length(min = 1, max = 63))]
    pub container: String,
    /// What the name of each object begins with. Without it: the name of the controller.
    #[schemars(length(min = 1, max = 255))]
    pub prefix: Option<String>,
    /// A Secret with the account's key in its key account-key. Without it: what the pods' ServiceAccount may do.
    pub secret_ref: Option<Named>,
}
