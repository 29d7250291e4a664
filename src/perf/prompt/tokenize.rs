//! The server's own count of a prompt's tokens, from `/tokenize`: [`ServerCount`]. Must not know what prompts are made
//! of.
//!
//! 由服务器的 /tokenize 计数。

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Content, TokenCounter};
use crate::{
    client::{End, Limits, Request, Retry, Route, Target},
    perf::spec::Endpoint,
};

/// Asks the server.
pub struct ServerCount<'a> {
    /// The server.
    pub target: &'a Target,
    /// Where the prompt will go: chat has a template.
    pub endpoint: Endpoint,
    /// Whether what the server adds counts too: the chat template, or the special tokens of a completion.
    pub template: bool,
    /// Ends the asking.
    pub cancel: &'a CancellationToken,
}

impl ServerCount<'_> {
    fn asked(&self, content: &Content) -> Value {
        match (self.endpoint, self.template) {
            (Endpoint::Chat, true) => json!({"messages": content.messages()}),
            (Endpoint::Completions, true) => json!({"prompt": content.text()}),
            (_, false) => json!({"prompt": content.text(), "add_special_tokens": false}),
        }
    }
}

impl TokenCounter for ServerCount<'_> {
    async fn count(&self, content: &Content) -> Result<u64, String> {
        let asked = self.asked(content);
        let request = Request::post_json(Route::Root("/tokenize".into()), &self.target.with_model(&asked));
        let limits = Limits::within(Duration::from_secs(30));
        let retry = Retry::transport_and_busy();
        let exchange = self.target.client.exchange(&request, &limits, &retry, self.cancel).await;
        let last = exchange.attempts.last().ok_or("POST /tokenize was never tried")?;
        if let End::Broken(fault) = &last.end {
            return Err(format!("POST /tokenize: {fault}"));
        }
        let body: Vec<u8> = last.chunks.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let count =
            serde_json::from_slice::<Value>(&body).ok().and_then(|answer| answer.get("count")?.as_u64());
        match (last.status, count) {
            (Some(200), Some(count)) => Ok(count),
            (Some(200), None) => Err("POST /tokenize answered 200 without a `count`".to_owned()),
            (Some(status), _) => Err(format!("POST /tokenize answered {status}")),
            (None, _) => Err("POST /tokenize ended without a status".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(endpoint: Endpoint, template: bool) -> Value {
        let target = Target::at("http://127.0.0.1:1/v1", "m").unwrap();
        let cancel = CancellationToken::new();
        ServerCount { target: &target, endpoint, template, cancel: &cancel }
            .asked(&Content::Text("hi".into()))
    }

    #[test]
    fn the_template_is_counted_by_sending_messages_and_left_out_by_sending_text() {
        let message = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(asked(Endpoint::Chat, true), json!({"messages": message}));
        assert_eq!(asked(Endpoint::Completions, true), json!({"prompt": "hi"}));
        for endpoint in [Endpoint::Chat, Endpoint::Completions] {
            assert_eq!(asked(endpoint, false), json!({"prompt": "hi", "add_special_tokens": false}));
        }
    }
}
