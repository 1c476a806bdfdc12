//! What can go wrong, as a sentence that says what to do.

/// What is done to what: names the right that is missing, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// As Kubernetes names it: get, list, patch, create, delete.
    pub verb: &'static str,
    /// `pods`, `pods/eviction`, `hacontrollers.majordomo.dev`.
    pub what: String,
    /// Empty for what belongs to no namespace.
    pub namespace: String,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.what)?;
        match self.namespace.as_str() {
            "" => Ok(()),
            namespace => write!(f, " in namespace {namespace}"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no cluster is named: {0}; say --kubeconfig FILE or --context NAME, or set KUBECONFIG")]
    NoCluster(String),
    #[error("the cluster at {server} does not answer: {why}")]
    Unreachable { server: String, why: String },
    #[error("the cluster at {server} does not know who you are: sign in again ({why})")]
    Unknown { server: String, why: String },
    #[error("you have no right to {call}: {why}")]
    Forbidden { call: Call, why: String },
    #[error(
        "this cluster knows no HAController: install the operator, or what defines it with \
         `majordomo crd | kubectl apply --server-side -f -`"
    )]
    NotInstalled,
    #[error("there is no controller {name} in namespace {namespace}; {there}")]
    NoController { name: String, namespace: String, there: String },
    #[error("{call}: {why}")]
    Api { call: Call, why: String, code: u16 },
    /// What is asked for can't be done as things are.
    #[error("{0}")]
    Refused(String),
    #[error("write {path}: {why}")]
    Write { path: String, why: std::io::Error },
}

impl Error {
    pub(crate) fn of(error: kube::Error, call: Call, server: &str) -> Error {
        let server = server.to_owned();
        match error {
            kube::Error::Api(said) => match said.code {
                401 => Error::Unknown { server, why: said.message },
                403 => Error::Forbidden { call, why: said.message },
                code => Error::Api { call, why: said.message, code },
            },
            kube::Error::Auth(_) => Error::Unknown { server, why: chain(&error) },
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_) => {
                Error::Unreachable { server, why: chain(&error) }
            }
            other => Error::Api { call, why: chain(&other), code: 0 },
        }
    }

    /// What is asked for is not there, or the API server knows no such objects.
    pub(crate) fn absent(&self) -> bool {
        matches!(self, Error::Api { code: 404, .. })
    }

    /// Another try may go through: the API server is away for a while, or it is overburdened.
    pub(crate) fn passing(&self) -> bool {
        match self {
            Error::Unreachable { .. } => true,
            Error::Api { code, .. } => *code == 429 || *code >= 500,
            _ => false,
        }
    }
}

/// An error and what it comes from, without what is said twice: many print their source themselves.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call { verb: "list", what: "pods".to_owned(), namespace: "ci".to_owned() }
    }

    fn said(code: u16, message: &str) -> kube::Error {
        kube::Error::Api(kube::core::Status::failure(message, "").with_code(code).boxed())
    }

    #[test]
    fn each_answer_becomes_a_sentence_of_its_own() {
        for (error, sentence) in [
            (said(403, "alice may not"), "you have no right to list pods in namespace ci: alice may not"),
            (
                said(401, "Unauthorized"),
                "the cluster at https://k does not know who you are: sign in again (Unauthorized)",
            ),
            (said(500, "etcd is away"), "list pods in namespace ci: etcd is away"),
            (
                kube::Error::Service("connection refused".into()),
                "the cluster at https://k does not answer: ServiceError: connection refused",
            ),
        ] {
            assert_eq!(Error::of(error, call(), "https://k").to_string(), sentence);
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let of = |code| Error::of(said(code, ""), call(), "");
        for (code, passing) in
            [(429, true), (500, true), (503, true), (403, false), (404, false), (422, false)]
        {
            assert_eq!(of(code).passing(), passing, "{code}");
        }
        assert!(of(404).absent());
    }
}
