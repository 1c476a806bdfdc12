//! Where the objects of a home are, and whether a replica that is given a place may use it. Pure.
//!
//! All replicas must use the same place, for as long as anything is there. The home knows its place by an id, and the place
//! has the id in an object of its own: so a bucket is known under another address, and no empty or foreign one is taken for it.

use store::ObjectPlace;

/// A place that is not the store's own, as a replica finds it.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub address: &'a str,
    /// Whose it is; `None`: nobody's yet.
    pub owner: Option<Owner<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    pub id: &'a str,
    /// For people.
    pub controller: &'a str,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Objects are there.
    Use,
    /// The home takes this place, if nobody is in the way and nothing is kept.
    Move(Option<ObjectPlace>),
    /// The home has taken the place, and the place does not know it yet.
    Mark(ObjectPlace),
    /// Objects of another home are there.
    Foreign { controller: String },
}

/// `known`: what the home says. `wanted`: what the replica is given, `None` for the store. `id`: for a place that gets one.
pub fn step(known: Option<&ObjectPlace>, wanted: Option<Found<'_>>, id: &str) -> Step {
    let Some(Found { address, owner }) = wanted else {
        return if known.is_none() { Step::Use } else { Step::Move(None) };
    };
    match (known, owner) {
        (Some(known), Some(owner)) if known.id == owner.id => Step::Use,
        (_, Some(owner)) => Step::Foreign { controller: owner.controller.to_owned() },
        (Some(known), None) if known.address == address => Step::Mark(known.clone()),
        (_, None) => Step::Move(Some(ObjectPlace { id: id.to_owned(), address: address.to_owned() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: &str, address: &str) -> ObjectPlace {
        ObjectPlace { id: id.to_owned(), address: address.to_owned() }
    }

    fn found<'a>(address: &'a str, id: Option<&'a str>) -> Option<Found<'a>> {
        Some(Found { address, owner: id.map(|id| Owner { id, controller: "ci/other" }) })
    }

    #[test]
    fn a_replica_uses_what_the_home_knows_and_nothing_else() {
        let known = at("1", "s3://a");
        let foreign = || Step::Foreign { controller: "ci/other".to_owned() };
        for (known, wanted, step_is) in [
            (None, None, Step::Use),
            (None, found("s3://a", None), Step::Move(Some(at("new", "s3://a")))),
            (None, found("s3://a", Some("1")), foreign()),
            (Some(&known), None, Step::Move(None)),
            (Some(&known), found("s3://a", Some("1")), Step::Use),
            // another name of the same bucket
            (Some(&known), found("s3://a at https://other", Some("1")), Step::Use),
            (Some(&known), found("s3://a", Some("2")), foreign()),
            (Some(&known), found("s3://b", Some("2")), foreign()),
            (Some(&known), found("s3://a", None), Step::Mark(known.clone())),
            (Some(&known), found("s3://b", None), Step::Move(Some(at("new", "s3://b")))),
        ] {
            assert_eq!(step(known, wanted, "new"), step_is, "{known:?} {wanted:?}");
        }
    }

    #[test]
    fn a_new_place_is_taken_then_marked_then_used() {
        let Step::Move(Some(taken)) = step(None, found("s3://a", None), "new") else { panic!() };
        assert_eq!(step(Some(&taken), found("s3://a", None), "unused"), Step::Mark(taken.clone()));
        assert_eq!(step(Some(&taken), found("s3://a", Some("new")), "unused"), Step::Use);
    }
}
