//! Short words for volumes, claims and what is in the environment.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapKeySelector, ConfigMapVolumeSource, EmptyDirVolumeSource, EnvVar, EnvVarSource, KeyToPath,
    ObjectFieldSelector, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource,
    SecretKeySelector, SecretProjection, Volume, VolumeMount, VolumeProjection, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use resource::Storage;

use crate::names::Owner;
use crate::plan;

pub(super) fn empty(name: &str) -> Volume {
    Volume { name: name.to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }
}

/// In memory.
pub(super) fn memory(name: &str, most: &str) -> Volume {
    let source = EmptyDirVolumeSource {
        medium: Some("Memory".to_owned()),
        size_limit: Some(Quantity(most.to_owned())),
    };
    Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() }
}

pub(super) fn claimed(name: &str, claim: String) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name: claim, read_only: None };
    Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() }
}

pub(super) fn config(name: &str, map: String) -> Volume {
    let source = ConfigMapVolumeSource { name: map, ..ConfigMapVolumeSource::default() };
    Volume { name: name.to_owned(), config_map: Some(source), ..Volume::default() }
}

pub(super) fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

pub(super) fn read_only(name: &str, path: &str) -> VolumeMount {
    VolumeMount { read_only: Some(true), ..mount(name, path) }
}

/// Keys of a Secret, each with the file that it becomes.
pub(super) fn files(secret: &str, keys: &[(&str, &str)]) -> SecretProjection {
    let item = |(key, path): &(&str, &str)| KeyToPath {
        key: (*key).to_owned(),
        path: (*path).to_owned(),
        mode: None,
    };
    SecretProjection { name: secret.to_owned(), items: Some(keys.iter().map(item).collect()), optional: None }
}

pub(super) fn projected(secret: SecretProjection) -> VolumeProjection {
    VolumeProjection { secret: Some(secret), ..VolumeProjection::default() }
}

/// Something that is said in the environment, or among arguments. Kubernetes puts another variable in place of `$(NAME)`:
/// what users write is not read that way.
pub(super) fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

pub(super) fn says(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(literal(value)), value_from: None }
}

/// What a field of the pod says.
pub(super) fn of_pod(name: &str, field: &str) -> EnvVar {
    let source = EnvVarSource {
        field_ref: Some(ObjectFieldSelector { api_version: None, field_path: field.to_owned() }),
        ..EnvVarSource::default()
    };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

pub(super) fn of_secret(name: &str, secret: &str, key: &str) -> EnvVar {
    let source = EnvVarSource {
        secret_key_ref: Some(SecretKeySelector {
            name: secret.to_owned(),
            key: key.to_owned(),
            optional: None,
        }),
        ..EnvVarSource::default()
    };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// What a ConfigMap says, if it is there.
pub(super) fn of_config(name: &str, map: &str, key: &str) -> EnvVar {
    let source = EnvVarSource {
        config_map_key_ref: Some(ConfigMapKeySelector {
            name: map.to_owned(),
            key: key.to_owned(),
            optional: Some(true),
        }),
        ..EnvVarSource::default()
    };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

/// The claim of a volume, unless one is named that is there already.
pub(super) fn claim(owner: &Owner, volume: &plan::Volume) -> Option<PersistentVolumeClaim> {
    let plan::Volume { path: _, component, shared, ours, storage } = volume;
    let Storage { size, class_name, claim_name } = storage.clone();
    if claim_name.is_some() {
        return None;
    }
    let access = if *shared { "ReadWriteMany" } else { "ReadWriteOnce" };
    let size = Quantity(size.unwrap_or_default().to_string());
    let spec = PersistentVolumeClaimSpec {
        access_modes: Some(vec![access.to_owned()]),
        resources: Some(VolumeResourceRequirements {
            requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
            limits: None,
        }),
        storage_class_name: class_name,
        ..PersistentVolumeClaimSpec::default()
    };
    Some(PersistentVolumeClaim {
        metadata: owner.kept(ours.clone(), *component),
        spec: Some(spec),
        ..PersistentVolumeClaim::default()
    })
}
