//! What an object store's error means for us: once and for all callers. Pure.

use std::error::Error as StdError;

use object_store::Error;

/// The kinds that are handled differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No such object.
    Missing,
    /// No such bucket or container.
    NoBucket(String),
    /// Who we are is not believed.
    Credentials(String),
    /// Who we are may not do that.
    Forbidden(String),
    /// The bucket is in another region.
    Region(String),
    /// No space is left, or the object is too large: the same never works.
    Full(String),
    /// It is there already.
    Exists,
    /// The range lies behind the end.
    Range,
    /// It does not answer, or can't now.
    Away(String),
}

/// What servers call a refusal of credentials, with whatever status.
const CREDENTIALS: [&str; 10] = [
    "AuthenticationFailed",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidToken",
    "NoAuthenticationInformation",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];
const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "AccountNotFound"];
const FULL: [&str; 6] = [
    "EntityTooLarge",
    "QuotaExceeded",
    "RequestBodyTooLarge",
    "TooManyParts",
    "XMinioAdminBucketQuotaExceeded",
    "XMinioStorageFull",
];
/// Of what a server says, so much is repeated.
const SAID: usize = 300;

impl Fault {
    pub(super) fn of(error: &Error) -> Fault {
        let text = error.to_string();
        let why = why(error, &text);
        let one_of = |words: &[&str]| words.iter().any(|word| text.contains(word));
        // The status says nothing certain: servers differ in it, and agree in the words.
        if one_of(&NO_BUCKET) {
            return Fault::NoBucket(why);
        }
        if one_of(&CREDENTIALS) {
            return Fault::Credentials(why);
        }
        if one_of(&FULL) {
            return Fault::Full(why);
        }
        match error {
            Error::NotFound { .. } => Fault::Missing,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Fault::Exists,
            Error::PermissionDenied { .. } => Fault::Forbidden(why),
            Error::Unauthenticated { .. } => Fault::Credentials(why),
            _ if text.contains("status code: 416") => Fault::Range,
            _ if text.contains("PermanentRedirect") || text.contains("incorrectly configured region") => {
                Fault::Region(why)
            }
            _ => Fault::Away(why),
        }
    }

    /// In the words of the server, where it had some.
    pub(super) fn why(&self) -> &str {
        match self {
            Fault::Missing => "it has no such object",
            Fault::Exists => "the object is there already",
            Fault::Range => "the object is shorter",
            Fault::NoBucket(why)
            | Fault::Credentials(why)
            | Fault::Forbidden(why)
            | Fault::Region(why)
            | Fault::Full(why)
            | Fault::Away(why) => why,
        }
    }
}

/// The code and the message of an answer in XML, else the innermost cause.
fn why(error: &Error, text: &str) -> String {
    let within = |tag: &str| {
        let from = text.find(&format!("<{tag}>"))? + tag.len() + 2;
        let rest = text.get(from..)?;
        rest.get(..rest.find(&format!("</{tag}>"))?)
    };
    let said = match (within("Code"), within("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => {
            let mut last: &dyn StdError = error;
            while let Some(next) = last.source() {
                last = next;
            }
            last.to_string()
        }
    };
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches(['.', ':']);
    line.chars().take(SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic { store: "S3", source: text.to_owned().into() }
    }

    fn xml(code: &str) -> Box<dyn StdError + Send + Sync> {
        format!("Server returned non-2xx status code: 404 Not Found: <Error><Code>{code}</Code><Message>No\n way.</Message></Error>").into()
    }

    #[test]
    fn a_bucket_that_is_gone_is_not_an_object_that_is_gone() {
        let of = |code| Fault::of(&Error::NotFound { path: "p".into(), source: xml(code) });
        assert_eq!(of("NoSuchKey"), Fault::Missing);
        assert_eq!(of("NoSuchBucket"), Fault::NoBucket("NoSuchBucket: No way".into()));
        assert_eq!(of("ContainerNotFound"), Fault::NoBucket("ContainerNotFound: No way".into()));
    }

    #[test]
    fn refused_credentials_are_told_from_missing_rights() {
        let of = |code| Fault::of(&Error::PermissionDenied { path: "p".into(), source: xml(code) });
        assert_eq!(of("AccessDenied"), Fault::Forbidden("AccessDenied: No way".into()));
        assert_eq!(of("SignatureDoesNotMatch"), Fault::Credentials("SignatureDoesNotMatch: No way".into()));
        assert_eq!(of("RequestTimeTooSkewed"), Fault::Credentials("RequestTimeTooSkewed: No way".into()));
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        assert_eq!(Fault::of(&generic("Connection refused")), Fault::Away("Connection refused".into()));
        assert!(matches!(Fault::of(&generic("<Code>XMinioStorageFull</Code>")), Fault::Full(_)));
        assert_eq!(Fault::of(&generic("status code: 416 Range Not Satisfiable")), Fault::Range);
        assert!(matches!(Fault::of(&generic("<Code>PermanentRedirect</Code>")), Fault::Region(_)));
        let long = Fault::of(&generic(&"ü".repeat(5_000)));
        assert_eq!(long.why().chars().count(), SAID);
    }
}
