//! Where this replica's objects are: the same place as all others', before it is a member.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cluster::place::{Found, Owner, Step, step};
use cluster::watch::Watch;
use cluster::{LEASE, LOOK};
use home::{Home, Marker, ObjectsPlace, ObjectsUrl, PlaceError};
use local::Paths;
use model::{Clock, ReplicaId, ReplicaName};
use server::Health;
use store::{Answer, Cluster, Meta, ObjectPlace, Writer};

use super::ReplicaArgs;
use super::begin::{AGAIN, MENDED, Waiting};

/// So often others may be faster before something is wrong.
const LOOKS: u32 = 20;

/// A home whose objects are where those of all replicas are.
pub(super) struct Settled {
    pub(super) home: Home,
    /// As the home says it.
    pub(super) place: Option<ObjectPlace>,
}

/// `None`: with the store.
pub(super) fn address(args: &ReplicaArgs) -> Result<Option<ObjectsUrl>> {
    let given = args.objects.as_deref().map(str::trim).filter(|objects| !objects.is_empty());
    Ok(given.map(ObjectsUrl::parse).transpose()?)
}

/// Settles where objects are. An object store that does not answer is waited for; so is one that somebody else can mend, if
/// somebody else looks after this replica.
pub(super) async fn settle(
    args: &ReplicaArgs,
    paths: &Paths,
    home: Home,
    clock: &Arc<dyn Clock>,
    (controller, health): (Option<&str>, &Health),
) -> Result<Settled> {
    let url = address(args)?;
    let environment = std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        Some((name, value))
    });
    let place = url.as_ref().map(|url| ObjectsPlace::new(url, environment)).transpose()?;
    let who = ReplicaName::parse(&args.name)?;
    let mut waiting = Waiting::new(health, paths.replica_wait(&args.name));
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|_| anyhow!("the system gives no random bytes"))?;
    let mut settling = Settling {
        home: &home,
        place: place.as_ref(),
        controller: controller.unwrap_or_default(),
        id: hex::encode(random),
        who: format!("{who}-{}", hex::encode(&random[..4])),
        clock,
        checked: false,
        looks: 0,
    };
    loop {
        let error = match settling.once().await {
            Ok(Some(known)) => {
                waiting.over();
                let home = match &place {
                    Some(place) => home.with_objects_in(place),
                    None => home,
                };
                return Ok(Settled { home, place: known });
            }
            Ok(None) => continue,
            Err(error) => error,
        };
        let (passing, mended) =
            match (error.downcast_ref::<PlaceError>(), error.downcast_ref::<store::Error>()) {
                (Some(place), _) => (place.passing(), args.managed() && place.to_be_mended()),
                (None, Some(store)) => (store.passing(), false),
                (None, None) => (false, false),
            };
        if !passing && !mended {
            return Err(error);
        }
        waiting.waits(&format!("{error:#}"));
        tokio::time::sleep(if passing { AGAIN } else { MENDED }).await;
    }
}

struct Settling<'a> {
    home: &'a Home,
    place: Option<&'a ObjectsPlace>,
    controller: &'a str,
    /// For a place that has none yet.
    id: String,
    /// The object that is written to see whether one can.
    who: String,
    clock: &'a Arc<dyn Clock>,
    /// Whether objects can be written there.
    checked: bool,
    looks: u32,
}

impl Settling<'_> {
    /// One look and what follows from it. `None`: to be looked at again.
    async fn once(&mut self) -> Result<Option<Option<ObjectPlace>>> {
        if let (Some(place), false) = (self.place, self.checked) {
            place.check(&self.who).await?;
            self.checked = true;
        }
        let meta = self.home.meta().await?;
        let marker = match self.place {
            Some(place) => place.marker().await?,
            None => None,
        };
        let found = self.place.map(|place| Found {
            address: place.address(),
            owner: marker.as_ref().map(|m| Owner { id: &m.id, controller: &m.controller }),
        });
        match step(meta.objects.as_ref(), found, &self.id) {
            Step::Use => return Ok(Some(meta.objects)),
            Step::Move(to) => self.take(meta, to).await?,
            Step::Mark(place) => self.mark(meta, place).await?,
            Step::Foreign { controller } => bail!(
                "the object store {} has objects of another home, or of this one before it moved{}: name another prefix; if \
                 nobody needs them, delete them, and majordomo.json there last",
                self.address(),
                if controller.is_empty() {
                    String::new()
                } else {
                    format!(" (of the controller {controller})")
                },
            ),
        }
        self.looks += 1;
        if self.looks > LOOKS {
            bail!(
                "where objects are is changed by others again and again: give all replicas the same address"
            );
        }
        Ok(None)
    }

    fn address(&self) -> &str {
        self.place.map_or("the store", ObjectsPlace::address)
    }

    async fn take(&self, meta: Meta, to: Option<ObjectPlace>) -> Result<()> {
        let was = meta.objects.as_ref().map_or("the store", |place| &place.address);
        let alive = self.alive().await?;
        if !alive.is_empty() {
            let alive: Vec<&str> = alive.iter().map(|who| who.name.as_str()).collect();
            bail!(
                "this replica is to have its objects in {}, and others ({}) have theirs in {was}: give all the same \
                 address; it can be changed while nothing is kept and no replica runs",
                self.address(),
                alive.join(", "),
            );
        }
        let write = store::Write::PlaceObjects { was: meta.objects.clone(), place: to, joined: meta.joined };
        match self.home.write(write).await {
            Ok(Answer::Bool(true)) => {
                tracing::info!("objects are in {}", self.address());
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(store::Error::Conflict(_)) => bail!(
                "the objects of this home are in {was}, and in {} none of them would be found: give the former address",
                self.address(),
            ),
            Err(error) => Err(error.into()),
        }
    }

    /// The home knows the place, by whoever was before; that place must be as empty as the home.
    async fn mark(&self, meta: Meta, place: ObjectPlace) -> Result<()> {
        let Some(there) = self.place else { return Ok(()) };
        let (was, joined) = (meta.objects.clone(), meta.joined);
        let id = place.id.clone();
        match self.home.write(store::Write::PlaceObjects { was, place: Some(place), joined }).await {
            Ok(Answer::Bool(true)) => {
                Ok(there.mark(&Marker { id, controller: self.controller.to_owned() }).await?)
            }
            // who has joined meanwhile has marked it
            Ok(_) => Ok(()),
            Err(store::Error::Conflict(_)) => bail!(
                "the objects of this home were in {}, and nothing is known of them there any more: its object \
                 majordomo.json is missing; restore the objects, or name the place where they are",
                self.address(),
            ),
            Err(error) => Err(error.into()),
        }
    }

    /// Members whose beats move: looked at for as long as it takes to know that of all. One that was killed is none.
    async fn alive(&self) -> Result<BTreeSet<ReplicaId>> {
        let me = ReplicaId { name: ReplicaName::parse("nobody").context("a name")?, incarnation: -1 };
        let (mut watch, begun) = (Watch::default(), self.clock.elapsed());
        let mut first = None;
        loop {
            let members = self.home.members().await?;
            let live: BTreeSet<_> =
                members.iter().filter(|m| m.live()).map(|m| (m.id.clone(), m.beat)).collect();
            let lapsed = watch.read(self.clock.elapsed(), &me, &members);
            if live.iter().all(|(who, _)| lapsed.iter().any(|lapsed| lapsed.who == *who)) {
                return Ok(BTreeSet::new());
            }
            let before = first.get_or_insert_with(|| live.clone());
            let moved: BTreeSet<ReplicaId> = live.difference(before).map(|(who, _)| who.clone()).collect();
            if !moved.is_empty() {
                return Ok(moved);
            }
            if self.clock.elapsed().saturating_sub(begun) > 2 * LEASE + LOOK {
                return Ok(live.into_iter().map(|(who, _)| who).collect());
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
