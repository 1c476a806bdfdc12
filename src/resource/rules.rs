//! What no type can say. Each rule stands here twice, side by side: in CEL, as an API server checks it, and in Rust, as
//! `majordomo up` does; the sentence is the same. `cases.yaml` is run through both.

use crate::spec::{MAX_NAME, Spec, When};
use crate::store::{Objects, Postgres, Store};
use crate::text::Span;

/// One rule.
pub(crate) struct Rule {
    /// Where in the resource it looks: `spec.store`. Nothing is checked where nothing is.
    pub(crate) at: &'static str,
    /// Said after the path.
    pub(crate) sentence: String,
    pub(crate) cel: String,
    /// The same for one machine; `None`: there it is no mistake, or there is nothing before to compare with.
    pub(crate) holds: Option<Holds>,
}

type Holds = Box<dyn Fn(&Spec) -> bool>;

const STORES: [&str; 4] = ["postgres", "builtin", "sqlite", "cloudNativePG"];
const POSTGRES: [&str; 2] = ["secretRef", "url"];
const OBJECTS: [&str; 5] = ["store", "s3", "gcs", "azure", "volume"];
const FRONTS: [&str; 3] = ["ingress", "gateway", "route"];

pub(crate) fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    rules.push(one_at_most("spec", &FRONTS, fronts));
    rules.extend(one_of("spec.store", &STORES, stores));
    rules.extend(one_of("spec.store.postgres", &POSTGRES, addresses));
    rules.extend(one_of("spec.objects", &OBJECTS, objects));
    rules.push(not_zero("spec.rollout.readyTimeout", "5m", |spec| spec.rollout.as_ref()?.ready_timeout));
    rules.push(not_zero("spec.monitoring.interval", "30s", |spec| Some(spec.monitoring.as_ref()?.interval)));
    rules.push(Rule {
        at: "spec.rollout",
        sentence: "a window is needed with `when: Window`, and may be given only then".to_owned(),
        cel: "(has(self.when) && self.when == 'Window') == has(self.window)".to_owned(),
        holds: Some(Box::new(|spec| {
            spec.rollout.as_ref().is_none_or(|r| (r.when == Some(When::Window)) == r.window.is_some())
        })),
    });
    rules.push(Rule {
        at: "spec.rollout.window",
        sentence: "it opens and closes at the same time".to_owned(),
        cel: "self.from != self.to".to_owned(),
        holds: Some(Box::new(|spec| {
            let window = spec.rollout.as_ref().and_then(|r| r.window.as_ref());
            window.is_none_or(|window| window.from != window.to)
        })),
    });
    rules.push(Rule {
        at: "spec.store.cloudNativePG",
        sentence:
            "storage.claimName can't be given: each server has a volume of its own, which CloudNativePG makes"
                .to_owned(),
        cel: "!has(self.storage) || !has(self.storage.claimName)".to_owned(),
        holds: Some(Box::new(|spec| {
            let given = spec.store.as_ref().and_then(|store| store.cloud_native_pg.as_ref());
            given.and_then(|given| given.storage.as_ref()).is_none_or(|storage| storage.claim_name.is_none())
        })),
    });
    rules.extend(of_clusters());
    rules
}

const OTHER_VOLUME: &str = "an edit can't name another claimName, because all state is on the volume before; make another HAController";

/// What is right on one machine, or can't be seen there.
fn of_clusters() -> Vec<Rule> {
    let kept = |field: &str| {
        format!(
            "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
        )
    };
    let same = STORES.map(|name| format!("has(self.{name}) == has(oldSelf.{name})")).join(" && ");
    let rule = |at, sentence: &str, cel: &str| Rule {
        at,
        sentence: sentence.to_owned(),
        cel: cel.to_owned(),
        holds: None,
    };
    vec![
        // several processes of one machine share a file, several pods can't
        rule(
            "spec",
            "store.sqlite is for one replica at most; say replicas: 1, or choose another store",
            "self.replicas <= 1 || !has(self.store) || !has(self.store.sqlite)",
        ),
        rule(
            "spec.store",
            "an edit can't exchange the store, because all state is in the one before; make another HAController",
            &same,
        ),
        rule("spec.store.builtin.storage", OTHER_VOLUME, &kept("claimName")),
        rule("spec.store.sqlite.storage", OTHER_VOLUME, &kept("claimName")),
        rule(
            "spec.store.cloudNativePG",
            "an edit can't name another cluster, because all state is in the one before; make another HAController",
            &kept("cluster"),
        ),
        // the parser has a sentence of its own, with the name in it; one machine needs no Service, whose names begin with a letter
        rule(
            "",
            &format!(
                "metadata.name: it is not 1 to {MAX_NAME} of a-z, 0-9 and ‘-’, a letter first and no ‘-’ last"
            ),
            &format!(
                "self.metadata.name.size() <= {MAX_NAME} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')"
            ),
        ),
    ]
}

/// Exactly one of the fields; one rule for none, one for several.
fn one_of(at: &'static str, names: &[&str], given: fn(&Spec) -> usize) -> [Rule; 2] {
    let none = Rule {
        at,
        sentence: format!("one of {} is needed", names.join(", ")),
        cel: has(names).join(" || "),
        holds: Some(Box::new(move |spec| given(spec) >= 1)),
    };
    [none, one_at_most(at, names, given)]
}

fn one_at_most(at: &'static str, names: &[&str], given: fn(&Spec) -> usize) -> Rule {
    Rule {
        at,
        sentence: format!("only one of {} may be given", names.join(", ")),
        cel: format!("[{}].filter(given, given).size() <= 1", has(names).join(", ")),
        holds: Some(Box::new(move |spec| given(spec) <= 1)),
    }
}

fn has(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("has(self.{name})")).collect()
}

/// A length of time without which nothing would ever be in time. In CEL: there is another digit than 0 in it.
fn not_zero(at: &'static str, like: &str, given: fn(&Spec) -> Option<Span>) -> Rule {
    Rule {
        at,
        sentence: format!("it must be more than 0, like {like}"),
        cel: "self.matches('[1-9]')".to_owned(),
        holds: Some(Box::new(move |spec| given(spec).is_none_or(|span| !span.0.is_zero()))),
    }
}

fn fronts(spec: &Spec) -> usize {
    count(&[spec.ingress.is_some(), spec.gateway.is_some(), spec.route.is_some()])
}

/// How many are given of `spec.store`; 1 where nothing is asked for at all.
fn stores(spec: &Spec) -> usize {
    let Some(Store { postgres, builtin, sqlite, cloud_native_pg }) = &spec.store else { return 1 };
    count(&[postgres.is_some(), builtin.is_some(), sqlite.is_some(), cloud_native_pg.is_some()])
}

fn addresses(spec: &Spec) -> usize {
    let Some(postgres) = spec.store.as_ref().and_then(|store| store.postgres.as_ref()) else { return 1 };
    let Postgres { secret_ref, url } = postgres;
    count(&[secret_ref.is_some(), url.is_some()])
}

fn objects(spec: &Spec) -> usize {
    let Some(Objects { store, s3, gcs, azure, volume }) = &spec.objects else { return 1 };
    count(&[store.is_some(), s3.is_some(), gcs.is_some(), azure.is_some(), volume.is_some()])
}

fn count(given: &[bool]) -> usize {
    given.iter().filter(|given| **given).count()
}
