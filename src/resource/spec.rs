//! What a controller is to be, as Kubernetes and a local run take it. What is no field is refused. The comments of fields
//! are what `kubectl explain` shows.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::CustomResource;
use model::short;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::Status;
use crate::expose::{Gateway, Ingress, Monitoring, NetworkPolicy, Route, Service};
use crate::schema::{any, free};
use crate::store::{Objects, Store};
use crate::text::{NAME, Span, TimeOfDay};
use crate::words::words;

/// Replicas when none are asked for.
pub const DEFAULT_REPLICAS: u32 = 3;
/// Longest name: what is made of it (`NAME-postgres-0`…) must fit a label of 63.
pub(crate) const MAX_NAME: usize = 52;
/// Most replicas of one controller.
pub const MAX_REPLICAS: u32 = 9;

/// Fields that are handed on as they are, to Kubernetes or to a later version.
pub type Free = BTreeMap<String, Value>;

/// What the controller is to be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "majordomo.dev",
    version = "v1alpha1",
    kind = "HAController",
    plural = "hacontrollers",
    singular = "hacontroller",
    shortname = "hac",
    namespaced,
    status = "Status",
    derive = "PartialEq",
    doc = "One controller: what users see as one server, run as several replicas of which any may be lost. The annotation \
           `majordomo.dev/restartedAt`, with a time in it, restarts the replicas one after the other.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    )
)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// Replicas, 0 to 9. Any of them serves any user and any agent. With 0 the controller is stopped and keeps all that it
    /// has. They start one after the other; a replica that is taken away hands over what it does first.
    #[serde(deserialize_with = "replicas")]
    #[schemars(range(max = MAX_REPLICAS), extend("format" = "int32"))]
    pub replicas: u32,
    /// Image of the replicas: `registry/name:tag`, or with a digest. Without it: that of the operator's own version.
    /// Another image rolls: replicas are replaced one after the other.
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets of this namespace with credentials for the registries of images, also for that of the built-in PostgreSQL; at
    /// most 16.
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Option<Vec<Named>>,
    /// Where state is kept: exactly one of postgres, builtin, sqlite, cloudNativePG. Without it: builtin on Kubernetes, and
    /// SQLite in the home under `majordomo up`. An edit can't exchange one for another.
    #[schemars(extend("default" = { "builtin": {} }))]
    pub store: Option<Store>,
    /// Where artifacts, stashes and archived logs are kept: exactly one of store, s3, gcs, azure, volume. Without it: in the
    /// store. It can be changed while nothing is kept and no replica runs (replicas: 0): replicas that are given another
    /// place later do not start, and the rollout goes back.
    #[schemars(extend("default" = { "store": {} }))]
    pub objects: Option<Objects>,
    /// The configuration of the controller as YAML. All parts are joined and checked as a whole; one that is wrong changes
    /// nothing, and the condition ConfigurationValid says why.
    pub configuration_as_code: Option<ConfigurationAsCode>,
    /// Plugins, each once; at most 200. A change of this list rolls.
    #[schemars(
        length(max = 200),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub plugins: Option<Vec<Plugin>>,
    /// An Ingress in front of the controller. Only one of ingress, gateway, route may be given.
    pub ingress: Option<Ingress>,
    /// An HTTPRoute of the Gateway API in front of the controller.
    pub gateway: Option<Gateway>,
    /// A Route of OpenShift in front of the controller.
    pub route: Option<Route>,
    /// The Service that users and agents reach, directly or through what is in front of it.
    #[schemars(extend("default" = {}))]
    pub service: Option<Service>,
    /// How replicas are replaced when what they run changes.
    #[schemars(extend("default" = {}))]
    pub rollout: Option<Rollout>,
    /// What each replica asks for and may use of processor and memory, as in any container. Without it: requests of 100m
    /// and 256Mi, and no limit, unless podTemplate says another. A change rolls.
    pub resources: Option<ResourceRequirements>,
    /// What is laid over the pods of the replicas. A change rolls.
    pub pod_template: Option<PodTemplate>,
    /// Who the first administrator is, and secrets that the operator is to take instead of those that it makes.
    pub security: Option<Security>,
    /// How Prometheus finds the replicas.
    #[schemars(extend("default" = {}))]
    pub monitoring: Option<Monitoring>,
    /// Who may connect to the replicas.
    #[schemars(extend("default" = {}))]
    pub network_policy: Option<NetworkPolicy>,
    /// Reverse proxies in front of the replicas, such as the pods of an ingress controller: addresses and networks like
    /// 10.0.0.0/8, at most 32. What they say of their clients in X-Forwarded-For is believed, so name none in which others
    /// are, too. Without it: none but those in the replica's own pod, and all who come through a proxy have its address.
    /// A change rolls.
    #[schemars(length(max = 32), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub trusted_proxies: Option<Vec<String>>,
}

/// A number within its bounds, or a sentence: what a type can't hold would be told in the words of the type.
fn replicas<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    struct Replicas;
    impl serde::de::Visitor<'_> for Replicas {
        type Value = u32;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a whole number from 0 to {MAX_REPLICAS}")
        }

        fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u32, E> {
            let fits = u32::try_from(number).ok().filter(|n| *n <= MAX_REPLICAS);
            fits.ok_or_else(|| refused(&number.to_string()))
        }

        fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u32, E> {
            u64::try_from(number).map_err(|_| refused(&number.to_string())).and_then(|n| self.visit_u64(n))
        }

        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<u32, E> {
            Err(refused(&number.to_string()))
        }

        fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<u32, E> {
            Err(refused(&flag.to_string()))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u32, E> {
            Err(refused(text))
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<u32, E> {
            Err(refused(""))
        }
    }

    fn refused<E: serde::de::Error>(given: &str) -> E {
        let given = short(given);
        E::custom(format!("“{given}” is not a whole number from 0 to {MAX_REPLICAS}"))
    }

    from.deserialize_any(Replicas)
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            replicas: DEFAULT_REPLICAS,
            image: None,
            image_pull_policy: None,
            image_pull_secrets: None,
            store: None,
            objects: None,
            configuration_as_code: None,
            plugins: None,
            ingress: None,
            gateway: None,
            route: None,
            service: None,
            rollout: None,
            resources: None,
            pod_template: None,
            security: None,
            monitoring: None,
            network_policy: None,
            trusted_proxies: None,
        }
    }
}

words! {
    /// When the image is pulled. Without it: as Kubernetes does it for such a tag.
    pub enum PullPolicy {
        /// before each start of a replica.
        Always,
        /// when the node does not have it.
        IfNotPresent,
        /// the node must have it.
        Never,
    }
}

/// Another object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// Its name.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub name: String,
}

/// A key of a Secret or ConfigMap of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), extend("pattern" = NAME))]
    pub name: String,
    /// Which of its keys. Without it: what the field above says.
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// The configuration of the controller as YAML, in the form of Jenkins Configuration as Code.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConfigurationAsCode {
    /// YAML, as a text or as it is.
    #[schemars(schema_with = "any")]
    pub inline: Option<Value>,
    /// ConfigMaps with YAML in them, at most 32. Without a key: all keys, in their order.
    #[schemars(length(max = 32))]
    pub config_maps: Option<Vec<KeyRef>>,
    /// Secrets with YAML in them, at most 32. Without a key: all keys, in their order.
    #[schemars(length(max = 32))]
    pub secrets: Option<Vec<KeyRef>>,
}

/// One plugin. There is no plugin runtime yet: the list rolls, and the condition PluginsLoaded says NoRuntime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plugin {
    /// Its short name.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// Which version of it. Without it: what the source has as its newest.
    #[schemars(length(min = 1, max = 100))]
    pub version: Option<String>,
    /// Where it comes from, like `oci://registry/name`. Without it: the plugin index of the controller.
    #[schemars(length(min = 1, max = 1024))]
    pub source: Option<String>,
    /// What its bytes must hash to, like `sha256:…`. Without it: they are not compared.
    #[schemars(length(min = 1, max = 200))]
    pub digest: Option<String>,
}

/// How replicas are replaced: one after the other, each drained first, while all others are ready. A revision that does not
/// become ready is given up, and the one before comes back.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    #[schemars(extend("default" = "Immediately"))]
    pub when: Option<When>,
    /// When a rollout may begin, with `when: Window`, and only then.
    pub window: Option<Window>,
    /// Longest time in which a replica hands over what it does in a rollout; it is replaced then all the same, and builds go
    /// on. After 24 hours it hands over no more. With 0s nobody waits for it. A replica whose pod is evicted or deleted, or
    /// whose node is drained, has 30 seconds for it, whatever is said here, and so has one that no other could take over from.
    /// Such as 90s, 5m, 1h30m.
    #[schemars(extend("default" = "5m"))]
    pub drain_timeout: Option<Span>,
    /// Longest time in which a replica of a new revision becomes ready, more than 0; the revision is given up then. Such as 90s,
    /// 5m.
    #[schemars(extend("default" = "5m"))]
    pub ready_timeout: Option<Span>,
    /// How long a new version runs before it may write what the version before can't read; until then it can be gone back to.
    /// With 0s it may at once. Such as 10m, 1h, 7d.
    #[schemars(extend("default" = "10m"))]
    pub bake: Option<Span>,
    /// Nothing is replaced while this is true; a replica that is being replaced is finished first.
    #[schemars(extend("default" = false))]
    pub paused: Option<bool>,
}

words! {
    /// When a new revision may begin to replace replicas.
    pub enum When {
        /// at once.
        Immediately,
        /// once nothing runs that a new owner would have to follow on, or after 24 hours.
        Idle,
        /// within the window.
        Window,
    }
}

/// Hours in which a rollout may begin. One that has begun goes on to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Days on which the window opens. Without it: every day.
    #[schemars(length(min = 1, max = 7), extend("x-kubernetes-list-type" = "set"))]
    pub days: Option<Vec<Day>>,
    /// When it opens: 00:00 to 23:59.
    pub from: TimeOfDay,
    /// When it closes: 00:00 to 23:59, on the next day when that is before it opens.
    pub to: TimeOfDay,
    /// Whose clock counts: a name of the IANA time zone database, like Europe/Berlin.
    #[schemars(length(min = 1, max = 64), extend("default" = "UTC"))]
    pub time_zone: Option<String>,
}

words! {
    /// A day of the week.
    pub enum Day {
        /// Monday.
        Mon,
        /// Tuesday.
        Tue,
        /// Wednesday.
        Wed,
        /// Thursday.
        Thu,
        /// Friday.
        Fri,
        /// Saturday.
        Sat,
        /// Sunday.
        Sun,
    }
}

/// What is laid over the pods that the operator makes: it wins where both say something, and what the operator needs to find
/// its pods again stays.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodTemplate {
    /// Labels and annotations that pods get besides the operator's own.
    pub metadata: Option<PodMetadata>,
    /// Fields of a pod's spec, such as nodeSelector, tolerations, affinity or priorityClassName. The container of a replica is
    /// called majordomo.
    #[schemars(schema_with = "free")]
    pub spec: Option<Free>,
}

/// What of a pod's metadata can be chosen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PodMetadata {
    /// At most 64.
    #[schemars(extend("maxProperties" = 64))]
    pub labels: Option<BTreeMap<String, String>>,
    /// At most 64.
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Who the first administrator is, and secrets that the operator is to take instead of those that it makes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Security {
    /// The first administrator: a Secret with the keys username and password, read once, at the first start. Without it: one
    /// called NAME-admin is made, with a password by chance. With setupWizard only the password counts, which unlocks the wizard.
    pub admin_secret_ref: Option<Named>,
    /// The keys of the controller, which encrypt its secrets and sign the certificates of its replicas: a Secret with the keys
    /// agent.key, encryption.keys and peer.keys, each with 64 hexadecimal digits a line. Without it: one called NAME-keys is made.
    /// Whoever has it has the controller; without it nobody can read the controller's secrets. It stays when this object is
    /// removed.
    pub keys_secret_ref: Option<Named>,
    /// The first administrator is made by a person: the first replica of a new controller shows a setup wizard, which asks for
    /// the password in NAME-admin (or in what adminSecretRef names) and then for the user, and the others start when it has
    /// ended. Nothing comes of it once there are users. A change rolls.
    pub setup_wizard: Option<bool>,
}
