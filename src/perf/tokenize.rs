//! The server's own count of a prompt's tokens, from `/tokenize`: [`ServerCount`]. Must not know what prompts are made
//! of.
//!
//! 由服务器的 /tokenize 计数。

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    client::{End, Limits, Request, Retry, Route, Target},
    perf::{prompt::TokenCounter, spec::Endpoint},
};

/// Asks the server.
pub(super) struct ServerCount<'a> {
    pub(super) target: &'a Target,
    pub(super) endpoint: Endpoint,
    pub(super) cancel: &'a CancellationToken,
}

impl TokenCounter for ServerCount<'_> {
    async fn count(&self, text: &str) -> Result<u64, String> {
        let asked = match self.endpoint {
            Endpoint::Chat => json!({"messages": [{"role": "user", "content": text}]}),
            Endpoint::Completions => json!({"prompt": text}),
        };
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
