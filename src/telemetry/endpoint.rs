//! Where a collector is.

use std::fmt;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;

/// Why an address is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    #[error("{0:?} is no address of the form http://HOST:4318")]
    Malformed(String),
    #[error(
        "traces are sent over plain HTTP only; name a collector on this machine or in this cluster, as http://localhost:4318"
    )]
    Encrypted,
    #[error("{0:?} is no list of NAME=VALUE, with commas between and values percent-encoded")]
    Header(String),
}

/// The address of a collector's traces, and what is sent with them. Prints no headers.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Where traces are sent; `/v1/traces`, as a rule.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint(http://{}:{}{})", self.host, self.port, self.path)
    }
}

impl Endpoint {
    /// The base address, as `OTEL_EXPORTER_OTLP_ENDPOINT` has it, and headers as `OTEL_EXPORTER_OTLP_HEADERS`.
    pub fn parse(address: &str, headers: &str) -> Result<Endpoint, EndpointError> {
        let base = Endpoint::whole(address, headers)?;
        Ok(Endpoint { path: format!("{}/v1/traces", base.path.trim_end_matches('/')), ..base })
    }

    /// The address of traces themselves, as `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` has it.
    pub fn whole(address: &str, headers: &str) -> Result<Endpoint, EndpointError> {
        let malformed = || EndpointError::Malformed(address.to_owned());
        let uri: Uri = address.trim().parse().map_err(|_| malformed())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(EndpointError::Encrypted),
            Some(_) | None => return Err(malformed()),
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?.to_owned();
        let pairs = headers.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let headers = pairs.map(header).collect::<Result<_, _>>()?;
        Ok(Endpoint { host, port: uri.port_u16().unwrap_or(4_318), path: uri.path().to_owned(), headers })
    }
}

/// `NAME=VALUE`, of which the value may be percent-encoded. Errors are without the value, which may be a secret.
fn header(pair: &str) -> Result<(String, String), EndpointError> {
    let (name, value) = pair.split_once('=').ok_or_else(|| EndpointError::Header(pair.to_owned()))?;
    let (name, value) = (name.trim(), percent_decode_str(value.trim()).decode_utf8());
    let wrong = || EndpointError::Header(name.to_owned());
    let value = value.map_err(|_| wrong())?;
    match (HeaderName::try_from(name), HeaderValue::try_from(value.as_ref())) {
        (Ok(_), Ok(_)) => Ok((name.to_owned(), value.into_owned())),
        (Err(_), _) | (_, Err(_)) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_other_exporters_take_it() {
        let of = |text: &str| Endpoint::parse(text, "a=b, c = d=e");
        let full = of("http://otel:4317/base/").unwrap();
        assert_eq!((full.host.as_str(), full.port, full.path.as_str()), ("otel", 4_317, "/base/v1/traces"));
        assert_eq!(full.headers, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d=e".to_owned())]);
        assert_eq!(format!("{full:?}"), "Endpoint(http://otel:4317/base/v1/traces)");
        let short = of("http://localhost").unwrap();
        assert_eq!((short.port, short.path.as_str()), (4_318, "/v1/traces"));
        assert_eq!(of("https://otel:4318"), Err(EndpointError::Encrypted));
        for wrong in ["", "otel:4318", "http://", "ftp://x", "/x"] {
            assert!(matches!(of(wrong), Err(EndpointError::Malformed(_))), "{wrong}");
        }
        let whole = Endpoint::whole("http://otel/x/traces", "").unwrap();
        assert_eq!((whole.path.as_str(), whole.port), ("/x/traces", 4_318));
        assert_eq!(Endpoint::parse("http://a", "secret"), Err(EndpointError::Header("secret".into())));
    }

    #[test]
    fn what_is_percent_encoded_in_a_header_is_decoded() {
        let of = |headers: &str| Endpoint::parse("http://a", headers).map(|endpoint| endpoint.headers);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            of("authorization=Basic%20dTpw%3D%3D, x-scope=a%2Cb").unwrap(),
            [pair("authorization", "Basic dTpw=="), pair("x-scope", "a,b")]
        );
        for wrong in ["a=s3cr3t%0Ax: y", "a=s3cr3t%FF"] {
            assert_eq!(of(wrong), Err(EndpointError::Header("a".into())), "{wrong}");
        }
    }
}
