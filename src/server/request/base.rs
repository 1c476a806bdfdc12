//! The address under which a client sees the controller; every address that we say begins with it.

use http::HeaderMap;
use model::{JobName, NodeName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in one segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'(')
    .remove(b')')
    .remove(b'!')
    .remove(b'*')
    .remove(b'\'')
    .remove(b',')
    .remove(b'=')
    .remove(b'@');

/// One segment of a path, encoded.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// `scheme://host[:port][/prefix]/`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base(String);

impl Base {
    /// The configured address, else what the request itself says.
    pub(crate) fn of(root_url: Option<&str>, headers: &HeaderMap) -> Base {
        match root_url {
            Some(url) => Base(format!("{}/", url.trim_end_matches('/'))),
            None => Base(from_headers(headers)),
        }
    }

    pub(crate) fn root(&self) -> &str {
        &self.0
    }

    /// Clients reach it by https.
    pub(crate) fn secure(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Without host: `/` or `/prefix/`.
    pub(crate) fn path(&self) -> &str {
        let after = self.0.find("://").map_or(0, |at| at + 3);
        let host = self.0.get(after..).unwrap_or_default();
        host.find('/').and_then(|at| host.get(at..)).unwrap_or("/")
    }

    /// The path of a request as seen from the root: proxies strip the prefix, or don't.
    pub(crate) fn strip<'p>(&self, path: &'p str) -> &'p str {
        match self.path() {
            "/" => path,
            prefix => match path.strip_prefix(prefix.trim_end_matches('/')) {
                Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
                _ => path,
            },
        }
    }

    /// `scheme://host[:port]`, as `Origin` says it.
    pub(crate) fn origin(&self) -> &str {
        self.0.strip_suffix(self.path()).unwrap_or(&self.0)
    }

    pub(crate) fn item(&self, name: &JobName) -> String {
        format!("{}{}", self.0, item_path(name))
    }

    pub(crate) fn build(&self, name: &JobName, number: u64) -> String {
        format!("{}{}{number}/", self.0, item_path(name))
    }

    /// A folder's address, or the root's.
    pub(crate) fn folder(&self, folder: Option<&JobName>) -> String {
        folder.map_or_else(|| self.0.clone(), |f| self.item(f))
    }

    pub(crate) fn user(&self, id: &str) -> String {
        format!("{}user/{}/", self.0, segment(id))
    }

    pub(crate) fn node(&self, name: &NodeName) -> String {
        format!("{}computer/{}/", self.0, segment(name.as_str()))
    }
}

/// `job/a/job/b/`
pub(crate) fn item_path(name: &JobName) -> String {
    name.as_str().split('/').map(|s| format!("job/{}/", segment(s))).collect()
}

fn from_headers(headers: &HeaderMap) -> String {
    let first = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        Some(value.split(',').next().unwrap_or_default().trim())
    };
    let scheme = first("x-forwarded-proto").filter(|s| *s == "http" || *s == "https").unwrap_or("http");
    let host =
        first("x-forwarded-host").or_else(|| first("host")).filter(|h| is_host(h)).unwrap_or("localhost");
    let port = first("x-forwarded-port").filter(|p| p.parse::<u16>().is_ok() && !has_port(host));
    let port = match (scheme, port) {
        (_, None) | ("http", Some("80")) | ("https", Some("443")) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    let prefix = first("x-forwarded-prefix").map_or("", |p| p.trim_matches('/'));
    let prefix = if prefix.is_empty() || !is_path(prefix) { String::new() } else { format!("{prefix}/") };
    format!("{scheme}://{host}{port}/{prefix}")
}

fn is_host(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    !text.is_empty() && text.len() <= 300 && text.bytes().all(legal)
}

fn has_port(host: &str) -> bool {
    host.rsplit(']').next().is_some_and(|tail| tail.contains(':'))
}

fn is_path(text: &str) -> bool {
    text.len() <= 300 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-~/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(pairs: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        Base::of(None, &headers).root().to_owned()
    }

    #[test]
    fn addresses_begin_with_what_the_client_used() {
        for (headers, expected) in [
            (vec![("host", "ci.example:8080")], "http://ci.example:8080/"),
            (vec![("host", "[::1]:8080")], "http://[::1]:8080/"),
            (vec![("host", "a"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "443")], "https://a/"),
            (vec![("host", "a"), ("x-forwarded-port", "8443")], "http://a:8443/"),
            (vec![("host", "a:1"), ("x-forwarded-port", "8443")], "http://a:1/"),
            (
                vec![("host", "a"), ("x-forwarded-host", "b, c"), ("x-forwarded-prefix", "/ci")],
                "http://b/ci/",
            ),
            (vec![("host", "a\"><script>")], "http://localhost/"),
            (vec![("host", "a"), ("x-forwarded-proto", "javascript")], "http://a/"),
            (vec![], "http://localhost/"),
        ] {
            assert_eq!(base(&headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_configured_address_wins() {
        let base = Base::of(Some("https://ci.example/jenkins"), &HeaderMap::new());
        assert_eq!(base.path(), "/jenkins/");
        assert_eq!(base.origin(), "https://ci.example");
        for (path, inside) in
            [("/jenkins/job/a", "/job/a"), ("/jenkins", ""), ("/job/a", "/job/a"), ("/jenkinsx", "/jenkinsx")]
        {
            assert_eq!(base.strip(path), inside);
        }
        let name = JobName::parse("a b/c-d é").unwrap();
        assert_eq!(base.build(&name, 7), "https://ci.example/jenkins/job/a%20b/job/c-d%20%C3%A9/7/");
    }
}
