//! Where a server's routes lie: [`Address`], over a base URL that was read and found right.
//! Must not know any transport but the shape of its URLs.
//!
//! 服务地址：由 base URL 得到各接口的完整地址。

use std::net::SocketAddr;

use url::Url;

use super::Route;
use crate::config::BaseUrl;

/// No client can be made of this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Not a base URL that we can use; what is wrong with it, without credentials.
    #[error("base URL: {0}")]
    BaseUrl(String),
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

/// A base URL, ending in `/v1`, and what lies below it and its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address(BaseUrl);

const API: &str = "/v1";

impl Address {
    /// Reads `base_url`.
    pub(crate) fn parse(base_url: &str) -> Result<Self, ClientError> {
        BaseUrl::parse(base_url.trim()).map(Self).map_err(ClientError::BaseUrl)
    }

    pub(crate) fn base(&self) -> &str {
        self.0.as_str()
    }

    pub(crate) fn root(&self) -> &str {
        self.0.parent()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.0.is_https()
    }

    /// Where the server is on the network, which may ask a name server and blocks.
    ///
    /// # Errors
    /// What the system said, where it knows no such host.
    pub(crate) fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let url = Url::parse(self.base()).map_err(|error| error.to_string())?;
        url.socket_addrs(|| None).map_err(|error| error.to_string())
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
        let error = Address::parse("http://h:8000").unwrap_err().to_string();
        assert_eq!(
            error,
            "base URL: expected an address that ends in /v1, found `http://h:8000`; did you mean `http://h:8000/v1`?"
        );
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
