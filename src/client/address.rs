//! Where a server is: an [`Address`] is a base URL that was read and found right.
//! Must not know any transport but the shape of its URLs.
//!
//! 服务地址：校验 base URL 并解析路径。

use reqwest::Url;

use super::Route;

/// No client can be made of this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Not a base URL that we can use.
    #[error("base URL `{shown}`: {problem}; expected an address such as http://127.0.0.1:8000/v1")]
    BaseUrl {
        /// What was given, without credentials.
        shown: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key that cannot stand in a header. The key is not shown.
    #[error(
        "the API key holds a character that no HTTP header can carry, such as a line break; check its source"
    )]
    ApiKey,
    /// `https` without anything to trust.
    #[error("no trusted root certificates were found for https: {0}; install the system's ca-certificates")]
    Roots(String),
    /// The TLS or HTTP layer could not be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Setup(String),
}

/// A base URL, ending in `/v1`, and its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    base: String,
}

const API: &str = "/v1";

impl Address {
    /// Reads `base_url`.
    pub(crate) fn parse(base_url: &str) -> Result<Self, ClientError> {
        let text = base_url.trim();
        Self::read(text).map_err(|problem| ClientError::BaseUrl { shown: without_secrets(text), problem })
    }

    fn read(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| error.to_string())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("it does not begin with http:// or https://".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it carries credentials; give the API key as such instead".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("it carries a query or a fragment, which a base URL cannot".into());
        }
        let base = url.as_str().trim_end_matches('/');
        if !base.ends_with(API) {
            return Err("it does not end in /v1".into());
        }
        Ok(Self { base: base.to_owned() })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn root(&self) -> &str {
        self.base.strip_suffix(API).unwrap_or(&self.base)
    }

    pub(crate) fn is_https(&self) -> bool {
        self.base.starts_with("https://")
    }

    /// The whole address of `route`.
    pub(crate) fn url(&self, route: &Route) -> String {
        let (below, path) = match route {
            Route::Api(path) => (self.base(), path),
            Route::Root(path) => (self.root(), path),
        };
        format!("{below}{}{path}", if path.starts_with('/') { "" } else { "/" })
    }
}

/// `text` without what may be a secret: anything before an `@`, and a query.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    match (text.rsplit_once('@'), text.split_once("://")) {
        (None, _) => text.to_owned(),
        (Some((_, host)), Some((scheme, _))) => format!("{scheme}://{host}"),
        (Some((_, host)), None) => host.to_owned(),
    }
}

/// The path of `route` below the server's root: `/v1/chat/completions`, `/health`.
pub(crate) fn path_of(route: &Route) -> String {
    let prefix = if matches!(route, Route::Api(_)) { API } else { "" };
    let path = route.path();
    format!("{prefix}{}{path}", if path.starts_with('/') { "" } else { "/" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_lie_below_the_base_url_or_its_parent() {
        let address = Address::parse("http://127.0.0.1:8000/v1/").unwrap();
        assert_eq!(address.url(&Route::Api("/models".into())), "http://127.0.0.1:8000/v1/models");
        assert_eq!(address.url(&Route::Root("/health".into())), "http://127.0.0.1:8000/health");
        let proxied = Address::parse("https://llm.example/team/v1").unwrap();
        assert_eq!(proxied.url(&Route::Root("metrics".into())), "https://llm.example/team/metrics");
    }

    #[test]
    fn an_address_that_is_wrong_says_how() {
        for (text, problem) in [
            ("http://h:8000", "it does not end in /v1"),
            ("http://h:8000/v1/chat", "it does not end in /v1"),
            ("ftp://h/v1", "it does not begin with http:// or https://"),
            ("localhost:8000/v1", "it does not begin with http:// or https://"),
            ("http://h/v1?key=1", "it carries a query or a fragment, which a base URL cannot"),
            ("", "relative URL without a base"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(error.ends_with("expected an address such as http://127.0.0.1:8000/v1"), "{error}");
        }
    }

    #[test]
    fn no_error_shows_credentials_or_a_query() {
        for text in [
            "http://me:s3cret@h/v1",
            "http://s3cret@h/v1",
            "http://h/v1?key=s3cret",
            "me:s3cret@h",
            "x?s3cret",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{text}: {error}");
        }
    }
}
