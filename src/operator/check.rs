//! What of a spec can't be honoured, and why: what it refers to is missing, or somebody else has it. Pure. What Kubernetes itself
//! refuses when the resource is written is not looked at again.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use resource::{ConditionType, KeyRef, Named, Reason, Spec, Storage, Store};

use crate::names::{AGENT_KEY, ENCRYPTION_KEYS, Owner, PASSWORD, PEER_KEYS, RESTARTED_AT, URL, USERNAME};
use crate::plan::{self, Front, Volume};
use crate::roll::overviews;
use crate::seen::{Other, Seen};
use crate::window;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Conditions that it makes false.
    pub of: &'static [ConditionType],
    pub reason: Reason,
    /// With the path in front: `spec.store.postgres.secretRef: there is no Secret acme-db`.
    pub sentence: String,
    /// Pods could not run with it, so none are made or replaced.
    pub blocks: bool,
}

const VALID: &[ConditionType] = &[ConditionType::ConfigurationValid];
const STORE: &[ConditionType] = &[ConditionType::ConfigurationValid, ConditionType::StoreReady];
const STORE_ONLY: &[ConditionType] = &[ConditionType::StoreReady];
const EXPOSED_ONLY: &[ConditionType] = &[ConditionType::Exposed];
const EXPOSED: &[ConditionType] = &[ConditionType::ConfigurationValid, ConditionType::Exposed];

struct Faults<'a> {
    seen: &'a Seen,
    found: Vec<Fault>,
}

/// All that is wrong; what matters most comes first.
pub(crate) fn check(seen: &Seen) -> Vec<Fault> {
    let mut faults = Faults { seen, found: Vec::new() };
    let spec = &seen.controller.spec;
    faults.names();
    faults.store(spec);
    faults.keys(spec);
    faults.secrets(spec);
    faults.configuration(spec);
    faults.volumes(spec);
    faults.restarts(spec);
    faults.proxies(spec);
    faults.exposure(spec);
    faults.not_yet(spec);
    faults.found
}

impl Faults<'_> {
    fn add(&mut self, of: &'static [ConditionType], reason: Reason, blocks: bool, sentence: String) {
        self.found.push(Fault { of, reason, sentence, blocks });
    }

    /// Whether the Secret has all of these keys.
    fn secret(&mut self, of: &'static [ConditionType], path: &str, name: &str, keys: &[&str], blocks: bool) {
        let missing = match self.seen.secrets.get(name) {
            None => Some(format!("{path}: there is no Secret {name}")),
            Some(secret) => keys
                .iter()
                .find(|key| !secret.keys.contains(**key))
                .map(|key| format!("{path}: the Secret {name} has no key {key}")),
        };
        if let Some(sentence) = missing {
            self.add(of, Reason::SecretMissing, blocks, sentence);
        }
    }

    /// `acme-peers` would share a Service with `acme`, and so on.
    fn names(&mut self) {
        let owner = &self.seen.owner;
        let near = self.seen.others.iter().filter(|other| other.namespace == owner.namespace);
        let collides = |other: &&Other| {
            let theirs = Owner { name: other.name.clone(), ..owner.clone() };
            let taken = |one: &Owner, name: &str| {
                [one.peers(), one.postgres(), one.postgres_set()].iter().any(|made| made == name)
            };
            taken(&theirs, &owner.name) || taken(owner, &other.name)
        };
        let first = near.filter(collides).find(|other| self.seen.younger_than(other));
        if let Some(Other { name, .. }) = first {
            let sentence =
                format!("metadata.name: the controller {name} has objects of this name; choose another one");
            self.add(VALID, Reason::NameTaken, true, sentence);
        }
    }

    fn store(&mut self, spec: &Spec) {
        let store = spec.store.clone().unwrap_or_default();
        let kind = match &store {
            Store { postgres: Some(_), .. } => "postgres",
            Store { cloud_native_pg: Some(_), .. } => "cloudNativePG",
            Store { sqlite: Some(_), .. } => "sqlite",
            Store { .. } => "builtin",
        };
        if let Some(KeyRef { name, key }) = store.postgres.and_then(|postgres| postgres.secret_ref) {
            let key = key.unwrap_or_else(|| URL.to_owned());
            self.secret(STORE, "spec.store.postgres.secretRef", &name, &[&key], true);
        }
        if store.cloud_native_pg.is_some() && !self.seen.apis.cloud_native_pg {
            let sentence = "spec.store.cloudNativePG: this cluster knows no Cluster of postgresql.cnpg.io/v1: install \
                            CloudNativePG first";
            self.add(STORE, Reason::ApiMissing, true, sentence.to_owned());
        }
        let same = |other: &&Other| other.databases.iter().any(|theirs| self.seen.databases.contains(theirs));
        let first = self.seen.others.iter().filter(same).find(|other| self.seen.younger_than(other));
        if let Some(Other { namespace, name, .. }) = first {
            let sentence = format!(
                "spec.store.{kind}: the controller {namespace}/{name} has this database, and each needs one of its own"
            );
            // a database takes one controller only: whoever is served has one, whatever others say that they have
            let served = overviews(self.seen).any(|told| told.store_answers);
            self.add(if served { VALID } else { STORE }, Reason::DatabaseTaken, !served, sentence);
        }
    }

    /// Keys that are lost are not made anew: what they have locked would be lost with them.
    fn keys(&mut self, spec: &Spec) {
        let given = spec.security.as_ref().and_then(|security| security.keys_secret_ref.as_ref());
        let all = [AGENT_KEY, ENCRYPTION_KEYS, PEER_KEYS];
        if let Some(Named { name }) = given {
            return self.secret(VALID, "spec.security.keysSecretRef", name, &all, true);
        }
        let owner = &self.seen.owner;
        let made = !self.seen.records.is_empty();
        if made {
            let path = "the keys that were made at the first start; put them back from a backup";
            self.secret(VALID, path, &owner.keys(), &all, true);
        }
        if made && plan::builtin(spec).is_some() {
            let path = "the password of the PostgreSQL that was made; put it back from a backup";
            self.secret(STORE, path, &owner.postgres(), &[USERNAME, PASSWORD, URL], true);
        }
    }

    fn secrets(&mut self, spec: &Spec) {
        let admin = spec.security.as_ref().and_then(|security| security.admin_secret_ref.as_ref());
        // it is read once, and whoever removes it afterwards, as is wise, is not to be kept from rollouts
        let first = self.seen.records.is_empty();
        if let Some(Named { name }) = admin.filter(|_| first) {
            let wizard = spec.security.as_ref().is_some_and(|security| security.setup_wizard == Some(true));
            // who the user is, is said in the wizard
            let keys = if wizard { &[PASSWORD][..] } else { &[USERNAME, PASSWORD] };
            self.secret(VALID, "spec.security.adminSecretRef", name, keys, true);
        }
        for Named { name } in spec.image_pull_secrets.iter().flatten() {
            // a node may have the image already
            self.secret(VALID, "spec.imagePullSecrets", name, &[], false);
        }
        let objects = spec.objects.clone().unwrap_or_default();
        let s3 = objects.s3.and_then(|s3| s3.secret_ref);
        let gcs = objects.gcs.and_then(|gcs| gcs.secret_ref);
        let azure = objects.azure.and_then(|azure| azure.secret_ref);
        for (path, named, keys) in [
            ("spec.objects.s3.secretRef", s3, &["access-key-id", "secret-access-key"][..]),
            ("spec.objects.gcs.secretRef", gcs, &["credentials.json"]),
            ("spec.objects.azure.secretRef", azure, &["account-key"]),
        ] {
            if let Some(Named { name }) = named {
                self.secret(VALID, path, &name, keys, true);
            }
        }
    }

    fn configuration(&mut self, spec: &Spec) {
        let Some(configuration) = &spec.configuration_as_code else { return };
        for KeyRef { name, key } in configuration.secrets.iter().flatten() {
            let keys: Vec<_> = key.iter().map(String::as_str).collect();
            self.secret(VALID, "spec.configurationAsCode.secrets", name, &keys, false);
        }
        for KeyRef { name, key } in configuration.config_maps.iter().flatten() {
            let path = "spec.configurationAsCode.configMaps";
            let sentence = match (self.seen.config_maps.get(name), key) {
                (None, _) => format!("{path}: there is no ConfigMap {name}"),
                (Some(keys), Some(key)) if !keys.contains(key) => {
                    format!("{path}: the ConfigMap {name} has no key {key}")
                }
                (Some(_), _) => continue,
            };
            self.add(VALID, Reason::ConfigMapMissing, false, sentence);
        }
    }

    fn volumes(&mut self, spec: &Spec) {
        for volume in plan::volumes(spec, &self.seen.owner) {
            let (path, name) = (volume.path, volume.claim());
            let claim = self.seen.claims.get(name);
            if volume.shared && spec.replicas > 1 && claim.is_some_and(|claim| !shared(claim)) {
                let sentence = format!(
                    "{path}: one node only can mount the claim {name}, and there are {} replicas: it must be \
                     ReadWriteMany",
                    spec.replicas
                );
                self.add(VALID, Reason::VolumeNotShared, true, sentence);
            }
            self.volume(&volume);
        }
    }

    fn volume(&mut self, Volume { path, ours, storage, .. }: &Volume) {
        if let Some(name) = &storage.claim_name {
            if !self.seen.claims.contains_key(name) {
                let sentence = format!("{path}.claimName: there is no PersistentVolumeClaim {name}");
                self.add(VALID, Reason::ClaimMissing, true, sentence);
            }
            return;
        }
        let Some(classes) = &self.seen.storage_classes else { return };
        let claim = self.seen.claims.get(ours);
        // an empty name asks for a volume that somebody has made by hand
        let class = claim.map_or(storage.class_name.as_deref(), |claim| {
            claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref())
        });
        let found = classes.iter().find(|known| class.map_or(known.usual, |class| known.name == class));
        if claim.is_some_and(bound) {
            if let Some(claim) = claim {
                self.growth(path, ours, storage, claim, found.is_some_and(|class| class.grows));
            }
            return;
        }
        let sentence = match (class, found) {
            (Some("") | None, Some(_)) | (Some(_), Some(_)) | (Some(""), None) => return,
            (Some(class), None) => format!("{path}.className: there is no StorageClass {class}"),
            (None, None) => {
                format!("{path}.className: the cluster has no default StorageClass, so one must be named")
            }
        };
        self.add(VALID, Reason::StorageClassMissing, false, sentence);
    }

    /// Whether a volume is as large as it is asked for.
    fn growth(
        &mut self,
        path: &str,
        name: &str,
        storage: &Storage,
        claim: &PersistentVolumeClaim,
        grows: bool,
    ) {
        let wanted = storage.size.clone().unwrap_or_default().to_string();
        let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get("storage"));
        if !capacity.is_some_and(|capacity| smaller(&capacity.0, &wanted)) {
            return;
        }
        let (reason, sentence) = if grows {
            (Reason::StorageGrowing, format!("{path}.size: the volume of {name} is being made larger"))
        } else {
            let sentence = format!(
                "{path}.size: its StorageClass can't make the volume of {name} larger; it stays as it is"
            );
            (Reason::StorageFixed, sentence)
        };
        self.add(STORE_ONLY, reason, false, sentence);
    }

    fn restarts(&mut self, spec: &Spec) {
        let window = spec.rollout.as_ref().and_then(|rollout| rollout.window.as_ref());
        if let Some(zone) = window.and_then(window::unknown_zone) {
            let sentence =
                format!("spec.rollout.window.timeZone: there is no time zone {zone}, so it never opens");
            self.add(VALID, Reason::NotSupported, false, sentence);
        }
        if let Some(Err(given)) = restarted_at(self.seen) {
            let sentence = format!(
                "metadata.annotations[{RESTARTED_AT}]: “{}” is no time like 2026-11-26T20:00:00Z; nothing is restarted",
                model::short(given)
            );
            self.add(VALID, Reason::RestartedAtInvalid, false, sentence);
        }
    }

    /// With one that it can't read, a replica would not start.
    fn proxies(&mut self, spec: &Spec) {
        for (n, given) in spec.trusted_proxies.iter().flatten().enumerate().filter(|(_, g)| !network(g)) {
            let sentence = format!(
                "spec.trustedProxies[{n}]: “{}” is no address and no network like 10.0.0.0/8",
                model::short(given)
            );
            self.add(VALID, Reason::TrustedProxiesInvalid, true, sentence);
        }
    }

    fn exposure(&mut self, spec: &Spec) {
        let seen = self.seen;
        for (front, host, Other { namespace, name, .. }) in taken(seen) {
            let path = match front {
                Front::Ingress => "spec.ingress.host",
                Front::Gateway => "spec.gateway.host",
                Front::Route => "spec.route.host",
            };
            let sentence = format!(
                "{path}: the controller {namespace}/{name} has the host {host}; this one is not put behind it"
            );
            self.add(EXPOSED, Reason::HostTaken, false, sentence);
        }
        if spec.gateway.is_some() && !seen.apis.http_route {
            let sentence = "spec.gateway: this cluster knows no HTTPRoute: the Gateway API must be installed";
            self.add(EXPOSED, Reason::ApiMissing, false, sentence.to_owned());
        }
        if spec.route.is_some() && !seen.apis.route {
            let sentence = "spec.route: this cluster knows no Route: it is not OpenShift";
            self.add(EXPOSED, Reason::ApiMissing, false, sentence.to_owned());
        }
        let ingress = spec.ingress.as_ref();
        if let Some(class) =
            ingress.and_then(|i| i.class_name.as_ref()).filter(|_| seen.class_known == Some(false))
        {
            let sentence = format!("spec.ingress.className: there is no IngressClass {class}");
            self.add(EXPOSED, Reason::ClassMissing, false, sentence);
        }
        let tls = ingress.and_then(|ingress| ingress.tls.as_ref()?.secret_name.as_ref());
        if let Some(name) = tls {
            // cert-manager may still write it
            self.secret(EXPOSED_ONLY, "spec.ingress.tls.secretName", name, &["tls.crt", "tls.key"], false);
        }
    }

    /// What this version does not do.
    fn not_yet(&mut self, spec: &Spec) {
        if spec.configuration_as_code.is_some() {
            let sentence = "spec.configurationAsCode: this version does not apply it yet";
            self.add(VALID, Reason::NotSupported, false, sentence.to_owned());
        }
    }
}

/// What would lead from a host that another controller has: who has it keeps it; of two that want it, the older one gets it.
pub(crate) fn taken(seen: &Seen) -> impl Iterator<Item = (Front, String, &Other)> {
    plan::fronts(&seen.controller.spec).filter_map(|(front, place)| {
        let host = place.key();
        let holds = seen.held.iter().flatten().any(|held| *held == host);
        let before = |other: &&Other| match (holds, other.held.contains(&host)) {
            (true, false) => false,
            (false, true) => true,
            (true, true) | (false, false) => other.hosts.contains(&host) && seen.younger_than(other),
        };
        let first = seen.others.iter().find(before)?;
        Some((front, host, first))
    })
}

/// The annotation that restarts replicas, or what stands there instead of a time.
pub(crate) fn restarted_at(seen: &Seen) -> Option<Result<&str, &str>> {
    let given = seen.controller.metadata.annotations.as_ref()?.get(RESTARTED_AT)?.as_str();
    let time = given.parse::<jiff::Timestamp>();
    Some(time.map(|_| given).map_err(|_| given))
}

/// `10.0.0.1`, `10.0.0.0/8`, and the same of IPv6.
fn network(given: &str) -> bool {
    let (address, bits) =
        given.split_once('/').map_or((given, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = |bits: &str| bits.bytes().all(|byte| byte.is_ascii_digit());
    bits.is_none_or(|bits| digits(bits) && bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

/// Whether pods on several nodes can mount it.
pub(crate) fn shared(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
    modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteMany"))
}

fn bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// Whether a size of a volume is less than another one, however each is written.
pub(crate) fn smaller(size: &str, than: &str) -> bool {
    bytes(size) < bytes(than)
}

/// As far as Kubernetes writes sizes of volumes: a whole number with a unit.
fn bytes(size: &str) -> u128 {
    let digits = size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len());
    let (number, unit) = size.split_at(digits);
    let factor = match unit {
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => 1,
    };
    number.parse::<u128>().unwrap_or_default() * factor
}
