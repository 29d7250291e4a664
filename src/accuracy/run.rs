//! Asks every item, several at once: [`ask_all`]. Must not know how answers are scored.
//!
//! 并发作答引擎；结果按题目顺序返回。

use std::future::Future;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::accuracy::reply::Reply;

/// Answers one prompt, repeating what says nothing about the model (transport faults, a busy server).
pub trait Responder: Sync {
    /// See the trait. Returns soon after it was cancelled.
    fn ask(&self, prompt: &str) -> impl Future<Output = Asked> + Send;
}

/// What came of one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The last attempt's answer.
    pub reply: Reply,
    /// How many attempts were made.
    pub attempts: u32,
    /// From the first attempt's start to the last one's end, in nanoseconds.
    pub took_ns: u64,
    /// As the server counts them, where it does.
    pub prompt_tokens: Option<u64>,
    /// As the server counts them, where it does.
    pub completion_tokens: Option<u64>,
}

/// Asks `prompts`, at most `workers` at a time. The answers are in the order of the prompts; nothing stands for
/// one that was not asked, or was cut off, because `cancel` was set.
pub async fn ask_all(
    responder: &impl Responder,
    prompts: &[String],
    workers: u32,
    cancel: &CancellationToken,
) -> Vec<Option<Asked>> {
    // A loop, and no closure: the compiler cannot tell that a closure over borrowed prompts is `Send`.
    let mut asking = Vec::with_capacity(prompts.len());
    for (index, prompt) in prompts.iter().enumerate() {
        asking.push(ask_one(responder, index, prompt, cancel));
    }
    // Unordered, then sorted: one slow answer must not keep the other workers waiting.
    let mut answers: Vec<_> = stream::iter(asking).buffer_unordered(workers.max(1) as usize).collect().await;
    answers.sort_by_key(|(index, _)| *index);
    answers.into_iter().map(|(_, asked)| asked).collect()
}

async fn ask_one(
    responder: &impl Responder,
    index: usize,
    prompt: &str,
    cancel: &CancellationToken,
) -> (usize, Option<Asked>) {
    if cancel.is_cancelled() {
        return (index, None);
    }
    let asked = responder.ask(prompt).await;
    // A failure after cancelling is ours, not the model's.
    let ours = cancel.is_cancelled() && matches!(asked.reply, Reply::Failed(_));
    (index, (!ours).then_some(asked))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };

    use super::*;

    /// Echoes the prompt after a time that makes later prompts come back earlier.
    #[derive(Default)]
    struct Echo {
        now: AtomicU32,
        peak: AtomicU32,
    }

    impl Responder for Echo {
        async fn ask(&self, prompt: &str) -> Asked {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.peak.fetch_max(now, Ordering::SeqCst);
            let index: u64 = prompt.parse().unwrap();
            tokio::time::sleep(Duration::from_millis(1 + 3 * (9 - index))).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
            let reply = Reply::Answered(prompt.to_owned());
            Asked { reply, attempts: 1, took_ns: 1, prompt_tokens: None, completion_tokens: None }
        }
    }

    fn prompts() -> Vec<String> {
        (0..10).map(|index| index.to_string()).collect()
    }

    #[tokio::test]
    async fn answers_come_in_the_order_of_the_items_and_never_more_at_once_than_workers() {
        let echo = Echo::default();
        let answers = ask_all(&echo, &prompts(), 3, &CancellationToken::new()).await;
        let texts: Vec<_> = answers.iter().map(|a| a.as_ref().unwrap().reply.text().unwrap()).collect();
        assert_eq!(texts, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(echo.peak.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn nothing_is_asked_after_cancelling() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let echo = Echo::default();
        assert_eq!(ask_all(&echo, &prompts(), 3, &cancel).await, vec![None; 10]);
        assert_eq!(echo.peak.load(Ordering::SeqCst), 0);
    }
}
