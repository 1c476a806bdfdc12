//! What can be done to the cluster and to replicas. A trait, so that it can be tried what becomes of a reconcile that ends after
//! any of its writes.

use std::time::Duration;

use kube::api::DynamicObject;
use resource::Status;

use crate::kinds::Kind;
use crate::names::Owner;

/// An object that is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Doomed {
    pub kind: Kind,
    pub name: String,
    /// Only this very object, not one of the same name that came after it.
    pub uid: Option<String>,
    pub how: Removal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// With what belongs to it, in its own time.
    Plain,
    /// Alone: what belongs to it stays.
    Orphan,
    /// At once, without asking its node: that does not answer.
    Force,
}

/// Each is done again without harm.
pub(crate) trait World: Sync {
    type Error: std::error::Error + Send + 'static;

    /// Server-side apply of an object of this controller; what came of it.
    fn apply(
        &self,
        owner: &Owner,
        kind: Kind,
        object: &DynamicObject,
    ) -> impl Future<Output = Result<DynamicObject, Self::Error>> + Send;

    /// Makes it, if it is not there; one that is there is left alone.
    fn create(
        &self,
        owner: &Owner,
        kind: Kind,
        object: &DynamicObject,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether there is one of that name that does not belong to this controller.
    fn foreign(
        &self,
        owner: &Owner,
        kind: Kind,
        name: &str,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    fn remove(&self, owner: &Owner, doomed: &Doomed) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Asks the replica in this pod to hand over what it has, in this time at most, and does not wait for it.
    fn drain(
        &self,
        owner: &Owner,
        pod: &str,
        within: Duration,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    fn tell(&self, owner: &Owner, status: &Status) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Puts the finalizer on the resource, or takes it away.
    fn hold(&self, owner: &Owner, held: bool) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// What the API server says of what it refuses; `None`: it is no refusal.
    fn refusal(error: &Self::Error) -> Option<String>;
}
