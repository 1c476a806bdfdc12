//! A place of objects that is not the store's own: how it is reached, whether it may be used, and whose it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use store::Objects;

use super::bucket::Bucket;
use super::fault::Fault;
use super::folder::Folder;
use super::reach::reach;
use super::url::{Kind, ObjectsUrl};

/// The object that says whose place it is.
const MARKER: &str = "majordomo.json";
/// It is short.
const MARKER_SIZE: usize = 4_096;

/// Whoever starts a replica is to hear soon what it waits for.
const CHECK: Duration = Duration::from_secs(10);

/// Why a place of objects can't be used: one sentence, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("the object store {at} does not answer ({why}): correct its address, or the way to it")]
    Away { at: String, why: String },
    #[error("the object store {at} has no such bucket ({why}): create it, or name another one")]
    NoBucket { at: String, why: String },
    #[error("the object store {at} refuses the credentials ({why}): correct them")]
    Credentials { at: String, why: String },
    #[error("the bucket of the object store {at} is in another region ({why}): name its region")]
    Region { at: String, why: String },
    #[error(
        "these credentials may not {what} objects in the object store {at} ({why}): give them the right to read, write, \
         delete and list there"
    )]
    Forbidden { at: String, what: &'static str, why: String },
    #[error("no space is left in the object store {at} ({why}): make room in it")]
    Full { at: String, why: String },
    #[error("the object store {at} does not give back what was written ({why}): it is none that can be used")]
    Untrue { at: String, why: String },
    #[error(
        "the object store {at} can't be used ({why}): correct its address, or what the environment says of it"
    )]
    Wrong { at: String, why: String },
}

impl PlaceError {
    /// Whether to wait and to try again may help: nothing has to be corrected here.
    pub fn passing(&self) -> bool {
        matches!(self, PlaceError::Away { .. })
    }

    /// Whether others can correct it while this process waits. Credentials come from its environment, which stays as it is.
    pub fn to_be_mended(&self) -> bool {
        matches!(self, PlaceError::NoBucket { .. } | PlaceError::Forbidden { .. } | PlaceError::Full { .. })
    }
}

/// Whose a place is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// [`store::ObjectPlace::id`].
    pub id: String,
    /// For people.
    pub controller: String,
}

/// A place of objects that is not the store's own.
pub struct Place {
    address: String,
    means: Means,
}

enum Means {
    Bucket(Bucket),
    Folder(Arc<Folder>),
}

impl Place {
    /// Asks nobody yet, but a folder is created if need be. Credentials come from `environment`, as other programs know them:
    /// keys, else the identity of the pod or of the machine.
    pub fn new(
        url: &ObjectsUrl,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Place, PlaceError> {
        let address = url.to_string();
        let wrong = |why: String| PlaceError::Wrong { at: address.clone(), why };
        let means = match &url.kind {
            Kind::Folder(path) => {
                let folder = Folder::open(path).map_err(|error| wrong(error.to_string()))?;
                Means::Folder(Arc::new(folder))
            }
            Kind::Bucket(kind) => {
                let bucket = reach(kind, environment).map_err(|error| wrong(error.to_string()))?;
                Means::Bucket(Bucket::new(bucket, &url.prefix, address.clone()))
            }
        };
        Ok(Place { address, means })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn objects(&self) -> Arc<dyn Objects> {
        match &self.means {
            Means::Bucket(bucket) => Arc::new(bucket.clone()),
            Means::Folder(folder) => Arc::clone(folder) as Arc<dyn Objects>,
        }
    }

    /// Whether objects can be written, read, listed and deleted: one is, which `who` names.
    pub async fn check(&self, who: &str) -> Result<(), PlaceError> {
        let silent = || PlaceError::Away { at: self.address.clone(), why: "it is silent".to_owned() };
        tokio::time::timeout(CHECK, self.try_out(who)).await.unwrap_or_else(|_| Err(silent()))
    }

    async fn try_out(&self, who: &str) -> Result<(), PlaceError> {
        let key = format!("check/{who}");
        let bytes = Bytes::from(format!("{who} looks whether it may write here\n"));
        match &self.means {
            Means::Bucket(bucket) => {
                let path = self.path(bucket, &key)?;
                let asked = |what| move |fault| self.error(fault, what);
                bucket.write(&path, bytes.clone()).await.map_err(asked("write"))?;
                let read = bucket.read(&path, 0, MARKER_SIZE).await.map_err(asked("read"))?;
                self.same(read, &bytes)?;
                bucket.list_some(&path).await.map_err(asked("list"))?;
                bucket.remove(&path).await.map_err(asked("delete"))
            }
            Means::Folder(folder) => {
                folder.put(&key, bytes.clone()).await.map_err(|e| self.wrong(&e))?;
                let read = folder.get(&key, 0, MARKER_SIZE).await.map_err(|e| self.wrong(&e))?;
                self.same(read, &bytes)?;
                folder.delete(&key).await.map_err(|e| self.wrong(&e))
            }
        }
    }

    /// Whose it is; `None`: nobody's yet.
    pub async fn marker(&self) -> Result<Option<Marker>, PlaceError> {
        let read = match &self.means {
            Means::Bucket(bucket) => {
                let path = self.path(bucket, MARKER)?;
                bucket.read(&path, 0, MARKER_SIZE).await.map_err(|fault| self.error(fault, "read"))?
            }
            Means::Folder(folder) => folder.get(MARKER, 0, MARKER_SIZE).await.map_err(|e| self.wrong(&e))?,
        };
        let Some(read) = read else { return Ok(None) };
        let marker = serde_json::from_slice(&read);
        let why = |error| format!("its object {MARKER} is none of ours: {error}");
        marker.map(Some).map_err(|e| PlaceError::Wrong { at: self.address.clone(), why: why(e) })
    }

    /// Makes it ours, unless it is somebody's: [`Place::marker`] says whose it is then.
    pub async fn mark(&self, marker: &Marker) -> Result<(), PlaceError> {
        let text = serde_json::to_vec(marker);
        let text = text.map_err(|e| PlaceError::Wrong { at: self.address.clone(), why: e.to_string() })?;
        match &self.means {
            Means::Bucket(bucket) => {
                let path = self.path(bucket, MARKER)?;
                match bucket.create(&path, Bytes::from(text)).await {
                    Ok(()) | Err(Fault::Exists) => Ok(()),
                    Err(fault) => Err(self.error(fault, "write")),
                }
            }
            Means::Folder(folder) => {
                folder.create(MARKER, Bytes::from(text)).await.map_err(|e| self.wrong(&e))
            }
        }
    }

    fn path(&self, bucket: &Bucket, key: &str) -> Result<Path, PlaceError> {
        bucket.path(key).map_err(|e| self.wrong(&e))
    }

    fn same(&self, read: Option<Bytes>, written: &Bytes) -> Result<(), PlaceError> {
        let why = match read {
            Some(read) if read == *written => return Ok(()),
            Some(_) => "other bytes",
            None => "nothing",
        };
        Err(PlaceError::Untrue { at: self.address.clone(), why: why.to_owned() })
    }

    fn wrong(&self, error: &store::Error) -> PlaceError {
        PlaceError::Wrong { at: self.address.clone(), why: error.to_string() }
    }

    fn error(&self, fault: Fault, what: &'static str) -> PlaceError {
        let (at, why) = (self.address.clone(), fault.why().to_owned());
        match fault {
            Fault::Away(_) => PlaceError::Away { at, why },
            Fault::NoBucket(_) => PlaceError::NoBucket { at, why },
            // of a bucket, some servers say no more of it
            Fault::Missing => PlaceError::NoBucket { at, why: "nothing can be put into it".to_owned() },
            Fault::Credentials(_) => PlaceError::Credentials { at, why },
            Fault::Forbidden(_) => PlaceError::Forbidden { at, what, why },
            Fault::Region(_) => PlaceError::Region { at, why },
            Fault::Full(_) => PlaceError::Full { at, why },
            Fault::Exists | Fault::Range => PlaceError::Untrue { at, why },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_kind_of_bucket_can_be_named() {
        for url in ["s3://b/p", "gs://b/p", "azure://a/c/p", "s3://b?endpoint=http%3A%2F%2Flocalhost%3A1"] {
            let place = Place::new(&ObjectsUrl::parse(url).unwrap(), []);
            assert!(place.is_ok(), "{url}: {:?}", place.err());
        }
        let half = [("AWS_ACCESS_KEY_ID".to_owned(), "id".to_owned())];
        let said = Place::new(&ObjectsUrl::parse("s3://b/p").unwrap(), half).map(drop).unwrap_err();
        assert!(matches!(&said, PlaceError::Wrong { why, .. } if why.contains("SecretAccessKey")), "{said}");
    }

    #[tokio::test]
    async fn a_folder_is_marked_once() {
        let dir = tempfile::tempdir().unwrap();
        let url = ObjectsUrl::parse(&format!("folder:{}/deep/er", dir.path().display())).unwrap();
        let place = Place::new(&url, []).unwrap();
        assert_eq!(place.marker().await.unwrap(), None);
        place.check("r-0").await.unwrap();
        let mine = Marker { id: "1".into(), controller: "ci/acme".into() };
        place.mark(&mine).await.unwrap();
        place.mark(&Marker { id: "2".into(), ..mine.clone() }).await.unwrap();
        assert_eq!(place.marker().await.unwrap(), Some(mine));
    }

    #[tokio::test]
    async fn what_is_none_of_ours_is_not_taken_for_a_place() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(MARKER), "{}").unwrap();
        let url = ObjectsUrl::parse(&format!("folder:{}", dir.path().display())).unwrap();
        let said = Place::new(&url, []).unwrap().marker().await.unwrap_err();
        assert!(said.to_string().contains("is none of ours"), "{said}");
        let file = ObjectsUrl::parse(&format!("folder:{}/{MARKER}", dir.path().display())).unwrap();
        assert!(matches!(Place::new(&file, []), Err(PlaceError::Wrong { .. })));
    }
}
