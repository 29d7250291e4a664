//! Asks every question, several at once: [`ask_all`]. What an earlier run was told is not asked again, and a server
//! that is gone is not asked on. Must not know how answers are scored.
//!
//! 并发作答引擎：按题目顺序返回；已答者不重复请求；服务失联则停止。

use std::{
    future::Future,
    sync::atomic::{AtomicU32, Ordering},
};

use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::accuracy::{answers::Answers, reply::Reply};

/// One request: what is sent, and under which name its answer is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The body, as JSON.
    pub body: String,
    /// See [`Answers`].
    pub key: String,
}

/// Answers one request, repeating what says nothing about the model (transport faults, a busy server).
pub trait Responder: Sync {
    /// See the trait. Returns soon after it was cancelled.
    fn ask(&self, ask: &Ask) -> impl Future<Output = Asked> + Send;
}

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The last attempt's answer.
    pub reply: Reply,
    /// Whether the server answered to the end, with whatever status. What broke off is asked again by a run that
    /// takes this one up.
    pub whole: bool,
    /// How many attempts were made.
    pub attempts: u32,
    /// From the first attempt's start to the last one's end, in nanoseconds.
    pub took_ns: u64,
    /// From the last attempt's start to the first piece of its body, in nanoseconds.
    pub first_token_ns: Option<u64>,
    /// As the server counts them, where it does.
    pub prompt_tokens: Option<u64>,
    /// As the server counts them, where it does.
    pub completion_tokens: Option<u64>,
}

impl Asked {
    /// `reply`, given at the first attempt and in no time.
    pub fn at_once(reply: Reply) -> Self {
        Self {
            reply,
            whole: true,
            attempts: 1,
            took_ns: 0,
            first_token_ns: None,
            prompt_tokens: None,
            completion_tokens: None,
        }
    }
}

/// How the asking goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How many requests are in flight at most.
    pub workers: u32,
    /// After so many requests in a row that broke off, the server is taken for gone.
    pub gone_after: u32,
}

/// Sends `asks`. The answers are in the order of the requests; nothing stands for one that was not sent, or was
/// cut off, because `cancel` was set or the server was gone. Each answer is kept in `answers` as it comes, and one
/// that is there already is not asked for.
pub async fn ask_all(
    responder: &impl Responder,
    asks: &[Ask],
    pace: Pace,
    answers: &Answers,
    cancel: &CancellationToken,
) -> Vec<Option<Asked>> {
    let broken = AtomicU32::new(0);
    // A loop, and no closure: the compiler cannot tell that a closure over borrowed requests is `Send`.
    let mut asking = Vec::with_capacity(asks.len());
    for (index, ask) in asks.iter().enumerate() {
        asking.push(ask_one(responder, index, ask, pace, answers, &broken, cancel));
    }
    // Unordered, then sorted: one slow answer must not keep the other workers waiting.
    let workers = pace.workers.max(1) as usize;
    let mut all: Vec<_> = stream::iter(asking).buffer_unordered(workers).collect().await;
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, asked)| asked).collect()
}

async fn ask_one(
    responder: &impl Responder,
    index: usize,
    ask: &Ask,
    pace: Pace,
    answers: &Answers,
    broken: &AtomicU32,
    cancel: &CancellationToken,
) -> (usize, Option<Asked>) {
    if let Some(known) = answers.get(&ask.key) {
        return (index, Some(known.clone()));
    }
    if cancel.is_cancelled() || broken.load(Ordering::Relaxed) >= pace.gone_after {
        return (index, None);
    }
    let asked = responder.ask(ask).await;
    if asked.whole {
        broken.store(0, Ordering::Relaxed);
        answers.keep(&ask.key, &asked);
    } else if cancel.is_cancelled() {
        // A failure after cancelling is ours, not the model's.
        return (index, None);
    } else {
        broken.fetch_add(1, Ordering::Relaxed);
    }
    (index, Some(asked))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Echoes the body after a time that makes later requests come back earlier.
    #[derive(Default)]
    struct Echo {
        now: AtomicU32,
        peak: AtomicU32,
        asked: AtomicU32,
        broken: bool,
    }

    impl Responder for Echo {
        async fn ask(&self, ask: &Ask) -> Asked {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.peak.fetch_max(now, Ordering::SeqCst);
            let index: u64 = ask.body.parse().unwrap();
            tokio::time::sleep(Duration::from_millis(1 + 3 * (9 - index))).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            Asked { whole: !self.broken, ..Asked::at_once(Reply::answered(&ask.body)) }
        }
    }

    const PACE: Pace = Pace { workers: 3, gone_after: 4 };

    fn asks() -> Vec<Ask> {
        (0..10).map(|index| Ask { body: index.to_string(), key: format!("k{index}") }).collect()
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_items_and_never_more_at_once_than_workers() {
        let echo = Echo::default();
        let answers = ask_all(&echo, &asks(), PACE, &Answers::none(), &CancellationToken::new()).await;
        let texts: Vec<_> = answers.into_iter().map(|asked| asked.unwrap().reply.text.unwrap()).collect();
        assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(echo.peak.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn nothing_is_asked_after_cancelling() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let echo = Echo::default();
        assert_eq!(ask_all(&echo, &asks(), PACE, &Answers::none(), &cancel).await, vec![None; 10]);
        assert_eq!(echo.peak.load(Ordering::SeqCst), 0);
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_not_asked_on() {
        let echo = Echo { broken: true, ..Echo::default() };
        let answers = ask_all(&echo, &asks(), PACE, &Answers::none(), &CancellationToken::new()).await;
        // The fourth of them ends it; two more were in flight.
        assert_eq!(echo.asked.load(Ordering::SeqCst), 6);
        assert_eq!(answers.iter().filter(|asked| asked.is_none()).count(), 4);
    }
}
