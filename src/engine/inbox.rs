//! What is delivered to a build's inbox, as JSON. Any replica may insert; only the owner reads.

use pipeline::act::Granted;
use serde::{Deserialize, Serialize};

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Delivery {
    /// A user or the controller ends the build.
    Abort { by: String },
    /// A `node` step was given an executor.
    Granted { step: String, granted: Granted },
}

pub(crate) fn abort(by: &str) -> String {
    text(&Delivery::Abort { by: by.to_owned() })
}

pub fn text(delivery: &Delivery) -> String {
    serde_json::to_string(delivery).expect("a delivery is plain data with string keys")
}
