//! What an API server's refusal means to a person: [`Failure`] is one sentence that names what was being
//! done, what stood in the way, and what to do next. Must not make requests.
//!
//! Kubernetes API 失败的解释：一句话说明原因与下一步。

use std::{error::Error as _, fmt::Write as _, sync::LazyLock, time::Duration};

use kube::core::Status;
use regex::Regex;
use st_harness::verdict::Reason;

/// A request that did not do what it was for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The class of it, as [`Reason::kind`].
    pub(crate) kind: &'static str,
    /// The HTTP status, where there was an answer.
    pub(crate) code: Option<u16>,
    /// One sentence.
    pub(crate) summary: String,
    /// The server's own words.
    pub(crate) detail: String,
    /// Whether the same request may well succeed a moment later.
    pub(crate) transient: bool,
}

impl Failure {
    /// A failure of our own making: no server was asked.
    pub(crate) fn new(kind: &'static str, summary: impl Into<String>) -> Self {
        Self { kind, code: None, summary: summary.into(), detail: String::new(), transient: false }
    }

    /// Nothing came back in time.
    pub(crate) fn timeout(doing: &str, limit: Duration) -> Self {
        let summary = format!(
            "no answer from the Kubernetes API server within {} s while trying to {doing}; check that the \
             server's address in the kubeconfig can be reached from here",
            limit.as_secs_f64()
        );
        Self { transient: true, ..Self::new("k8s-timeout", summary) }
    }

    /// `error` came back while trying to `doing`, as the user of `context`.
    pub(crate) fn explain(doing: &str, context: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => refused(doing, context, status),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) | kube::Error::Discovery(_) => {
                let summary = format!(
                    "the answer to the request to {doing} is not what a Kubernetes API server says; check \
                     `server:` of context `{context}` in the kubeconfig"
                );
                Self { detail: chain(error), ..Self::new("k8s-answer", summary) }
            }
            kube::Error::Service(_) | kube::Error::HyperError(_) => {
                let summary = format!(
                    "the Kubernetes API server cannot be reached while trying to {doing}: {}; check `server:` \
                     of context `{context}` and that the cluster is up",
                    root(error)
                );
                Self { detail: chain(error), transient: true, ..Self::new("k8s-unreachable", summary) }
            }
            other => {
                let summary = format!("the request to {doing} could not be made: {}", root(other));
                Self { detail: chain(other), ..Self::new("k8s-client", summary) }
            }
        }
    }

    /// Whether there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Some(404)
    }

    /// Whether the rights are missing.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.code == Some(403)
    }
}

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind, failure.summary).with_detail(failure.detail)
    }
}

/// A status that the server sent.
fn refused(doing: &str, context: &str, status: &Status) -> Failure {
    let said = one_line(&status.message);
    let (kind, summary) = match status.code {
        401 => (
            "k8s-unauthorized",
            format!(
                "the API server does not accept the credentials of context `{context}` (401) while trying to \
                 {doing}; renew the token or the client certificate in the kubeconfig"
            ),
        ),
        403 => (
            "k8s-forbidden",
            format!(
                "context `{context}` is not allowed to {doing} (403): {said}; ask for a role that allows it, or \
                 choose another context"
            ),
        ),
        404 => ("k8s-not-found", format!("nothing there to {doing} (404): {said}")),
        409 => (
            "k8s-conflict",
            format!(
                "a conflict stopped the request to {doing} (409): {said}; somebody else changed the object"
            ),
        ),
        _ if said.contains("provided port is already allocated") => {
            ("k8s-node-port", port_taken(doing, &said))
        }
        _ if said.contains("provided port is not in the valid range") => (
            "k8s-node-port",
            format!(
                "the cluster does not hand out the node port asked for, so it cannot {doing}: {said}; choose \
                 one in its range, or leave `nodePort` out"
            ),
        ),
        _ if said.contains("typed patch object") => (
            "k8s-invalid",
            format!(
                "an old API server cannot {doing}: {said}; write the key that it names into the manifest \
                 (servers before 1.21 do not fill it in)"
            ),
        ),
        400 | 422 => (
            "k8s-invalid",
            format!("the API server rejects the request to {doing} ({}): {said}", status.code),
        ),
        429 => (
            "k8s-server",
            format!("the API server is too busy to {doing} (429): {said}; try again when it is less loaded"),
        ),
        code => {
            ("k8s-server", format!("the API server failed to {doing} ({code}): {said}; its log says more"))
        }
    };
    Failure {
        kind,
        code: Some(status.code),
        summary,
        detail: status.message.clone(),
        transient: matches!(status.code, 429 | 502 | 503 | 504),
    }
}

fn port_taken(doing: &str, said: &str) -> String {
    static PORT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"Invalid value: (\d+)").expect("a constant pattern that compiles"));
    let port = PORT.captures(said).map_or("asked for", |found| found.get(1).map_or("", |port| port.as_str()));
    format!(
        "node port {port} belongs to another Service already, so the API server cannot {doing}: {said}; find it \
         with `kubectl get services -A | grep {port}`, or leave `nodePort` out and let the cluster choose"
    )
}

/// The server's words in one line, and not more than a reader takes in.
fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut words: String = flat.chars().take(MOST).collect();
    if words.len() < flat.len() {
        words.push('…');
    }
    if words.is_empty() { "no reason given".to_owned() } else { words }
}

/// The innermost cause.
fn root(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(next) = last.source() {
        last = next;
    }
    one_line(&last.to_string())
}

/// Every cause, one a line: the outermost alone says next to nothing.
fn chain(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, "\ncaused by: {cause}");
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, message: &str) -> Failure {
        let status = Status { code, message: message.to_owned(), ..Status::default() };
        Failure::explain("apply Service default/vllm", "guest", &kube::Error::Api(status.boxed()))
    }

    #[test]
    fn every_status_has_a_class_of_its_own() {
        let kinds: Vec<_> =
            [401, 403, 404, 409, 422, 429, 500, 503].map(|code| said(code, "m").kind).to_vec();
        assert_eq!(
            kinds,
            [
                "k8s-unauthorized",
                "k8s-forbidden",
                "k8s-not-found",
                "k8s-conflict",
                "k8s-invalid",
                "k8s-server",
                "k8s-server",
                "k8s-server"
            ]
        );
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let again: Vec<u16> = [400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504]
            .into_iter()
            .filter(|code| said(*code, "m").transient)
            .collect();
        assert_eq!(again, [429, 502, 503, 504]);
    }

    #[test]
    fn a_taken_node_port_is_named_with_the_command_that_finds_its_owner() {
        let failure = said(
            422,
            "Service \"vllm\" is invalid: spec.ports[0].nodePort: Invalid value: 30090: provided port is already \
             allocated",
        );
        assert_eq!(failure.kind, "k8s-node-port");
        assert!(
            failure.summary.starts_with("node port 30090 belongs to another Service"),
            "{}",
            failure.summary
        );
        assert!(failure.summary.contains("grep 30090"), "{}", failure.summary);
    }

    #[test]
    fn missing_rights_name_the_context_and_the_servers_words() {
        let failure = said(403, "services is forbidden: User \"guest\" cannot patch resource \"services\"");
        assert!(failure.is_forbidden());
        assert!(failure.summary.contains("context `guest` is not allowed to apply Service default/vllm"));
        assert!(failure.summary.contains("cannot patch resource"));
    }

    #[test]
    fn a_long_answer_is_cut_in_the_sentence_and_whole_in_the_detail() {
        let page = format!("<html>\n{}", "x".repeat(2000));
        let failure = said(500, &page);
        assert!(failure.summary.len() < 500 && !failure.summary.contains('\n'), "{}", failure.summary);
        assert_eq!(failure.detail, page);
    }

    #[test]
    fn an_answer_that_is_no_json_points_at_the_address() {
        let error = serde_json::from_str::<u8>("<html>").unwrap_err();
        let failure = Failure::explain("read its version", "real", &kube::Error::SerdeError(error));
        assert_eq!(failure.kind, "k8s-answer");
        assert!(failure.summary.contains("check `server:` of context `real`"), "{}", failure.summary);
    }
}
