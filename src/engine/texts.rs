//! Texts too large for a record: an object holds them, the record its hash, and the machine is fed the text.

use pipeline::act::{Data, Outcome};

/// Below it are all objects of a build.
pub(crate) fn prefix(build: model::BuildId) -> String {
    format!("builds/{build}")
}

/// Where a text too large for a record lives.
pub(crate) fn text_key(build: model::BuildId, hash: &str) -> String {
    format!("{}/text/{hash}", prefix(build))
}

/// The object that holds the text of an outcome: its hash and size.
pub(crate) fn object_of(data: &Data) -> Option<(&str, u64)> {
    match data {
        Data::Object { hash, size } | Data::ExitObject { hash, size, .. } => Some((hash, *size)),
        Data::None
        | Data::Text(_)
        | Data::Number(_)
        | Data::Flag(_)
        | Data::Map(_)
        | Data::Granted(_)
        | Data::Exit { .. } => None,
    }
}

/// The outcome as the machine is to see it: the text in place of the object.
pub(crate) fn with_text(data: &Data, text: String) -> Outcome {
    Outcome::Done(match data {
        Data::ExitObject { status, .. } => Data::Exit { status: *status, stdout: Some(text) },
        _ => Data::Text(text),
    })
}
