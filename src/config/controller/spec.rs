//! The fields of a `HAController`, as Kubernetes and a local run take them. Plain serde types; what is no field is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Replicas when none are asked for.
pub const DEFAULT_REPLICAS: u32 = 3;
/// Most replicas of one controller.
pub const MAX_REPLICAS: u32 = 9;

/// Fields that are handed on as they are, to Kubernetes or to a later version.
pub type Free = BTreeMap<String, Value>;

/// One controller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HAController {
    pub api_version: String,
    pub kind: String,
    pub metadata: Metadata,
    #[serde(default)]
    pub spec: Spec,
    /// Written by the operator; nothing reads it here.
    #[serde(default, skip_serializing)]
    pub status: Option<Value>,
}

/// What of an object's metadata counts; the rest (`uid`, `resourceVersion`, …) is Kubernetes' own.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    pub name: String,
    #[serde(default)]
    pub namespace: Option<String>,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Spec {
    /// 0 to 9.
    #[serde(deserialize_with = "replicas")]
    pub replicas: u32,
    pub image: Option<String>,
    pub image_pull_policy: Option<String>,
    pub image_pull_secrets: Option<Vec<Named>>,
    pub store: Option<Store>,
    pub objects: Option<Objects>,
    pub configuration_as_code: Option<ConfigurationAsCode>,
    pub plugins: Option<Vec<Plugin>>,
    pub ingress: Option<Ingress>,
    pub gateway: Option<Free>,
    pub route: Option<Free>,
    pub service: Option<Free>,
    pub rollout: Option<Rollout>,
    pub resources: Option<Free>,
    pub pod_template: Option<Free>,
    pub security: Option<Free>,
    pub monitoring: Option<Free>,
    pub network_policy: Option<Free>,
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
        let given = crate::xml::short(given);
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
        }
    }
}

/// Another object of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    pub name: String,
}

/// A key of a Secret or ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRef {
    pub name: String,
    #[serde(default)]
    pub key: Option<String>,
}

/// Where state is kept; exactly one of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Store {
    pub postgres: Option<Postgres>,
    /// A PostgreSQL that the operator starts.
    pub builtin: Option<Builtin>,
    pub sqlite: Option<Sqlite>,
    /// A cluster of the CloudNativePG operator.
    pub cloud_native_pg: Option<Free>,
}

/// A PostgreSQL that the user has; one of the two.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Postgres {
    pub secret_ref: Option<KeyRef>,
    /// May hold a password: for a local run and for databases that ask for none.
    pub url: Option<String>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.as_ref().map(|_| "***");
        f.debug_struct("Postgres").field("secret_ref", &self.secret_ref).field("url", &url).finish()
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Builtin {
    pub image: Option<String>,
    pub storage: Option<Storage>,
    pub resources: Option<Free>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Sqlite {
    pub storage: Option<Storage>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Storage {
    pub size: Option<String>,
    pub class_name: Option<String>,
    pub claim_name: Option<String>,
}

/// Where artifacts, stashes and archived logs are kept; at most one of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Objects {
    /// In the store itself.
    pub store: Option<Free>,
    pub s3: Option<Free>,
    pub gcs: Option<Free>,
    pub azure: Option<Free>,
    /// One that all replicas can mount.
    pub volume: Option<Storage>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConfigurationAsCode {
    /// YAML, as text or as it is.
    pub inline: Option<Value>,
    pub config_maps: Option<Vec<KeyRef>>,
    pub secrets: Option<Vec<KeyRef>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plugin {
    pub name: String,
    #[serde(default)]
    pub version: Option<String>,
    #[serde(default)]
    pub source: Option<String>,
    #[serde(default)]
    pub digest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ingress {
    pub host: Option<String>,
    pub class_name: Option<String>,
    pub path: Option<String>,
    pub tls: Option<Free>,
    pub annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rollout {
    pub when: Option<When>,
    pub drain_timeout: Option<Span>,
    pub ready_timeout: Option<Span>,
    pub bake: Option<Span>,
    pub paused: Option<bool>,
}

/// When a new revision may replace replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    Immediately,
    /// While no build runs.
    Idle,
    #[serde(rename = "window")]
    Window(Window),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    #[serde(default)]
    pub days: Option<Vec<String>>,
    pub from: String,
    pub to: String,
    #[serde(default)]
    pub time_zone: Option<String>,
}

/// A length of time as people write it: `90s`, `5m`, `1h30m`, `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    pub fn parse(text: &str) -> Option<Span> {
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at_checked(digits)?;
            let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at_checked(letters)?;
            let millis: u64 = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return None,
            };
            let part = number.parse::<u64>().ok()?.checked_mul(millis)?;
            total = total.checked_add(Duration::from_millis(part))?;
            rest = after;
        }
        Some(Span(total))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        let text = String::deserialize(from)?;
        Span::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "“{}” is no length of time like 90s or 5m",
                crate::xml::short(&text)
            ))
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        match millis % 1_000 {
            0 => to.collect_str(&format_args!("{}s", millis / 1_000)),
            _ => to.collect_str(&format_args!("{millis}ms")),
        }
    }
}
