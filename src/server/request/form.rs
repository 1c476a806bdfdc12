//! Parameters of a query or of a form.

use percent_encoding::percent_decode;

use crate::error::Error;

/// Most parameters of one request.
const MAX_PARAMS: usize = 2_000;

/// Names and values, in order; the first of a name counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    pub(crate) fn parse(text: &[u8]) -> Result<Params, Error> {
        let mut params = Params::default();
        for pair in text.split(|b| *b == b'&').filter(|p| !p.is_empty()) {
            let at = pair.iter().position(|b| *b == b'=');
            let (name, value) = match at.and_then(|at| pair.split_at_checked(at)) {
                Some((name, value)) => (name, value.get(1..).unwrap_or_default()),
                None => (pair, &b""[..]),
            };
            params.push(decode(name)?, decode(value)?)?;
        }
        Ok(params)
    }

    pub(super) fn push(&mut self, name: String, value: String) -> Result<(), Error> {
        if self.0.len() >= MAX_PARAMS {
            return Err(Error::bad(format!("the request has more than {MAX_PARAMS} parameters")));
        }
        self.0.push((name, value));
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_str(), v.as_str()))
    }
}

fn decode(bytes: &[u8]) -> Result<String, Error> {
    let spaced: Vec<u8> = bytes.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    let text =
        percent_decode(&spaced).decode_utf8().map_err(|_| Error::bad("a parameter is not in UTF-8"))?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded_and_the_first_of_a_name_counts() {
        let params = Params::parse(b"a=1+2%2B3&b&a=x&=y&c=%C3%A9&&d=a=b").unwrap();
        assert_eq!(params.get("a"), Some("1 2+3"));
        assert_eq!(params.get("b"), Some(""));
        assert_eq!(params.get("c"), Some("é"));
        assert_eq!(params.get("d"), Some("a=b"));
        assert_eq!(params.get("e"), None);
        assert_eq!(params.iter().filter(|(n, _)| *n == "a").count(), 2);
        assert!(Params::parse(b"a=%ff").is_err() && Params::parse(b"%c3=1").is_err(), "no UTF-8");
        assert!(Params::parse("a&".repeat(2_001).as_bytes()).is_err());
    }
}
