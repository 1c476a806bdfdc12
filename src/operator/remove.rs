//! The end of a controller: replicas hand over and go first, while the database is still there; then the rest goes by owner
//! references. Volumes, keys and passwords stay.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::kinds::Kind;
use crate::lost::gone;
use crate::seen::Seen;
use crate::world::{Doomed, Removal, World};

/// One step; whether all is done.
pub(crate) async fn remove<W: World>(world: &W, seen: &Seen) -> Result<bool, W::Error> {
    let owner = &seen.owner;
    if let Some(set) = &seen.set
        && set.metadata.deletion_timestamp.is_none()
    {
        let doomed = Doomed {
            kind: Kind::StatefulSet,
            name: owner.name.clone(),
            uid: set.metadata.uid.clone(),
            how: Removal::Plain,
        };
        world.remove(owner, &doomed).await?;
    }
    for pod in &seen.pods {
        let owners: &[OwnerReference] = pod.metadata.owner_references.as_deref().unwrap_or_default();
        // of a StatefulSet that was made anew just then: nobody else would end it
        let alone = owners.is_empty() && pod.metadata.deletion_timestamp.is_none();
        let lost = gone(seen, pod);
        if alone || lost {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let how = if lost { Removal::Force } else { Removal::Plain };
            let doomed = Doomed { kind: Kind::Pod, name, uid: pod.metadata.uid.clone(), how };
            world.remove(owner, &doomed).await?;
        }
    }
    Ok(seen.set.is_none() && seen.pods.is_empty())
}
