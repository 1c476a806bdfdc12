//! What containers ask for when nobody says it.

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

const USUAL: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "256Mi")];

/// A little of both: a pod that asks for nothing is starved beside others, and the first that is ended on a node without memory.
/// Where there is a request or a limit already, that counts.
pub(super) fn share(container: &mut Container) {
    let resources = container.resources.get_or_insert_default();
    for (of, amount) in USUAL {
        if !resources.limits.as_ref().is_some_and(|limits| limits.contains_key(of)) {
            let requests = resources.requests.get_or_insert_default();
            requests.entry(of.to_owned()).or_insert_with(|| Quantity(amount.to_owned()));
        }
    }
}
