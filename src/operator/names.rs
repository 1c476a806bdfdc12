//! What the objects of a controller are called, and how they are found again.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::ResourceExt;
use resource::{API_VERSION, KIND};
use sha2::{Digest, Sha256};

/// Who writes: server-side apply knows by it which fields are ours.
pub const FIELD_MANAGER: &str = "majordomo-operator";
/// Name of the container of a replica.
pub const CONTAINER: &str = "majordomo";
/// That of the PostgreSQL.
pub const POSTGRES_CONTAINER: &str = "postgres";

/// Ports of a replica: users and agents; other replicas and the operator; health.
pub const HTTP_PORT: i32 = 8080;
pub const PEER_PORT: i32 = 8081;
pub const HEALTH_PORT: i32 = 8082;
/// Port of the Service that users and agents reach.
pub const SERVICE_PORT: i32 = 80;
pub const POSTGRES_PORT: i32 = 5432;

/// Key of the ConfigMap that says that the controller has run before.
pub(crate) const EXPECTED: &str = "expected";

/// Each object that belongs to a controller has its name in this label.
pub const CONTROLLER_LABEL: &str = "majordomo.dev/controller";
/// Says which part of a controller an object is of.
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// On pods of replicas: what they run.
pub const REVISION_LABEL: &str = "majordomo.dev/revision";
/// On the StatefulSet: where the rollout stands, so that it is written together with what follows from it.
pub const ROLLOUT_ANNOTATION: &str = "majordomo.dev/rollout";
/// On the resource: a time; another one restarts the replicas.
pub const RESTARTED_AT: &str = "majordomo.dev/restartedAt";
/// On the resource: ends pods and the StatefulSet, also those that no owner reference finds, before the rest goes.
pub const FINALIZER: &str = "majordomo.dev/replicas";

/// Longest name of a StatefulSet: its pods carry `NAME-HASH` in a label of 63, and the hash has up to 10 digits.
const MAX_SET: usize = 52;

/// Keys of Secrets.
pub const USERNAME: &str = "username";
pub const PASSWORD: &str = "password";
pub const URL: &str = "url";
pub const TOKEN: &str = "token";
pub const AGENT_KEY: &str = "agent.key";
pub const ENCRYPTION_KEYS: &str = "encryption.keys";
pub const PEER_KEYS: &str = "peer.keys";

/// What part of a controller an object is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    Replica,
    Postgres,
    /// What was rolled out, see [`crate::record`].
    Revision,
}

impl Component {
    pub fn as_str(self) -> &'static str {
        match self {
            Component::Replica => "replica",
            Component::Postgres => "postgres",
            Component::Revision => "revision",
        }
    }

    /// Whether an object of ours is of this part.
    pub(crate) fn has(self, object: &impl ResourceExt) -> bool {
        object.labels().get(COMPONENT_LABEL).is_some_and(|of| of == self.as_str())
    }
}

/// The resource whose objects are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// Namespace and name of a controller.
pub(crate) type Key = (String, String);

impl Owner {
    pub(crate) fn key(&self) -> Key {
        (self.namespace.clone(), self.name.clone())
    }

    /// What the home carries, so that no other controller takes it for its own.
    pub fn identity(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The headless Service.
    pub fn peers(&self) -> String {
        format!("{}-peers", self.name)
    }

    /// The Secret with the first administrator, unless another one is named.
    pub fn admin(&self) -> String {
        format!("{}-admin", self.name)
    }

    pub fn keys(&self) -> String {
        format!("{}-keys", self.name)
    }

    pub fn metrics(&self) -> String {
        format!("{}-metrics", self.name)
    }

    /// Service, Secret, ConfigMap and volume claim of the PostgreSQL that is made; its StatefulSet too, if its pods can bear
    /// that name.
    pub fn postgres(&self) -> String {
        format!("{}-postgres", self.name)
    }

    /// Its StatefulSet.
    pub fn postgres_set(&self) -> String {
        let name = self.postgres();
        if name.len() <= MAX_SET {
            return name;
        }
        let mut hash = hex::encode(Sha256::digest(&self.name));
        hash.truncate(8);
        let end = format!("-{hash}-postgres");
        // names of resources are ASCII
        let begin = self.name.get(..MAX_SET - end.len()).unwrap_or_default();
        format!("{begin}{end}")
    }

    /// The Cluster of CloudNativePG, unless another name is chosen.
    pub fn cluster(&self) -> String {
        format!("{}-db", self.name)
    }

    /// The volume claim of a SQLite database, and the ConfigMap that says that the controller has run before.
    pub fn home(&self) -> String {
        format!("{}-home", self.name)
    }

    /// The volume claim with the objects.
    pub fn objects(&self) -> String {
        format!("{}-objects", self.name)
    }

    pub fn pod(&self, ordinal: usize) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// The ControllerRevision that says what this revision is.
    pub fn record(&self, revision: &str) -> String {
        format!("{}-revision-{revision}", self.name)
    }

    /// By which objects of one part are selected; never changed, since selectors can't be.
    pub fn selector(&self, component: Component) -> BTreeMap<String, String> {
        let labels = [(CONTROLLER_LABEL, self.name.as_str()), (COMPONENT_LABEL, component.as_str())];
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Whether an object of this namespace belongs to this controller. What is kept when a controller is removed belongs to the
    /// next one of its name.
    pub(crate) fn has(&self, object: &impl ResourceExt) -> bool {
        // somebody may have removed the label, which is put back
        object.labels().get(CONTROLLER_LABEL) == Some(&self.name)
            || object.owner_references().iter().any(|of| of.uid == self.uid && of.controller == Some(true))
    }

    pub fn labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.selector(component);
        let more = [
            ("app.kubernetes.io/name", "majordomo"),
            ("app.kubernetes.io/instance", self.name.as_str()),
            ("app.kubernetes.io/managed-by", FIELD_MANAGER),
        ];
        labels.extend(more.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels
    }

    pub fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }
    }

    /// Of what goes with the resource.
    pub fn meta(&self, name: String, component: Component) -> ObjectMeta {
        ObjectMeta { owner_references: Some(vec![self.reference()]), ..self.kept(name, component) }
    }

    /// Of what stays when the resource is removed, because all would be lost with it: volumes, and the keys and passwords
    /// without which what is in them can't be read. Who makes the resource anew finds all as it was.
    pub fn kept(&self, name: String, component: Component) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.clone()),
            labels: Some(self.labels(component)),
            ..ObjectMeta::default()
        }
    }
}

/// `acme-2` of the controller `acme` has the ordinal 2.
pub fn ordinal(controller: &str, pod: &str) -> Option<usize> {
    let number = pod.strip_prefix(controller)?.strip_prefix('-')?;
    number.parse().ok().filter(|ordinal: &usize| ordinal.to_string() == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_says_its_ordinal() {
        assert_eq!(ordinal("acme", "acme-2"), Some(2));
        for other in ["acme-02", "acme-postgres-0", "acme-", "acme", "acme-x", "other-1", "acme--1"] {
            assert_eq!(ordinal("acme", other), None, "{other}");
        }
    }

    #[test]
    fn an_object_is_known_by_its_label_or_by_whoever_controls_it() {
        let owner = Owner { namespace: "ci".to_owned(), name: "acme".to_owned(), uid: "1".to_owned() };
        let of = |label: &str, uid: &str, controller| {
            let owners = vec![OwnerReference {
                uid: uid.to_owned(),
                controller: Some(controller),
                ..owner.reference()
            }];
            let labels = BTreeMap::from([(CONTROLLER_LABEL.to_owned(), label.to_owned())]);
            let metadata =
                ObjectMeta { owner_references: Some(owners), labels: Some(labels), ..ObjectMeta::default() };
            owner.has(&k8s_openapi::api::core::v1::Service { metadata, ..Default::default() })
        };
        assert!(of("acme", "2", true) && of("other", "1", true));
        assert!(!of("other", "2", true) && !of("other", "1", false), "who only goes with it is not ours");
    }

    #[test]
    fn the_pods_of_a_long_name_can_carry_the_hash_of_their_revision() {
        let set =
            |name: String| Owner { namespace: "ci".to_owned(), name, uid: "1".to_owned() }.postgres_set();
        assert_eq!(set("acme".to_owned()), "acme-postgres");
        assert_eq!(set("a".repeat(43)).len(), MAX_SET);
        let (one, other) = (set("a".repeat(44)), set("a".repeat(52)));
        assert_eq!((one.len(), other.len()), (MAX_SET, MAX_SET));
        assert_ne!(one, other);
        assert!(one.ends_with("-postgres"), "{one}");
    }
}
