//! The address of a server: [`BaseUrl`], checked once. Must not speak to it.
//!
//! 服务地址：以 /v1 结尾的 base URL。

use std::fmt;

use url::Url;

/// `http(s)://host[:port][/prefix]/v1`: no key, no query, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Takes `text` where it is such an address; one slash at the end is tolerated.
    ///
    /// # Errors
    /// What is wrong, in one line. Credentials in the address are never repeated.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Before anything that might repeat it.
        if text.contains('@') {
            return Err("credentials do not belong into an address; set VLLM_CIBENCH_API_KEY".to_owned());
        }
        // A query may be a secret as well.
        let shown = text.find(['?', '#']).map_or_else(|| text.to_owned(), |at| format!("{}…", &text[..=at]));
        let url = Url::parse(text).map_err(|e| {
            format!("expected an address such as http://127.0.0.1:8000/v1, found `{shown}`: {e}")
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("expected http:// or https://, found `{}:`", url.scheme()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("expected an address without `?` and `#`, found `{shown}`"));
        }
        let trimmed = text.trim_end_matches('/');
        if !url.path().trim_end_matches('/').ends_with("/v1") {
            return Err(format!(
                "expected an address that ends in /v1, found `{text}`; did you mean `{trimmed}/v1`?"
            ));
        }
        Ok(Self(trimmed.to_owned()))
    }

    /// The address, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is spoken to over TLS.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Where health, metrics, tokenize and version lie: the parent of `/v1`.
    pub fn parent(&self) -> &str {
        self.0.strip_suffix("/v1").unwrap_or(&self.0)
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_parent() {
        for (text, parent) in [
            ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
            ("https://example.org/llm/v1/", "https://example.org/llm"),
            ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ] {
            assert_eq!(BaseUrl::parse(text).map(|url| url.parent().to_owned()), Ok(parent.to_owned()));
        }
    }

    #[test]
    fn a_bad_address_says_what_was_expected() {
        for (text, expected) in [
            (
                "http://h:1",
                "expected an address that ends in /v1, found `http://h:1`; did you mean `http://h:1/v1`?",
            ),
            ("http://h/v1?a=1", "expected an address without `?` and `#`, found `http://h/v1?…`"),
            ("ftp://h/v1", "expected http:// or https://, found `ftp:`"),
            (
                "127.0.0.1:8000/v1",
                "expected an address such as http://127.0.0.1:8000/v1, found `127.0.0.1:8000/v1`: \
                 relative URL without a base",
            ),
            (
                "http://me:sk-secret@h/v1",
                "credentials do not belong into an address; set VLLM_CIBENCH_API_KEY",
            ),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(expected.to_owned()), "{text}");
        }
    }
}
