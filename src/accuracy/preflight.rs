//! What can be known before the first question: whether the longest fits into the context, and what speed the time
//! limit takes for granted. [`preflight`] asks two small requests. Must not know what is asked.
//!
//! 预检：上下文长度、时限与令牌数。

use serde_json::{Value, json};
use st_harness::verdict::{Note, Reason};
use tokio_util::sync::CancellationToken;

use crate::{
    accuracy::{evaluator::Question, spec::Spec, suite::note},
    api::{Answer, Body},
    client::{Limits, Request, Retry, Route, Target},
};

/// Above this many tokens per second and stream, the time limit is told to be a demand.
const FAST: f64 = 30.0;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Preflight {
    /// Worth telling.
    pub(crate) notes: Vec<Note>,
    /// Why nothing should be asked: no question of this length could be answered.
    pub(crate) refusal: Option<Reason>,
}

/// Looks at the context length and the time limit.
pub(crate) async fn preflight(
    spec: &Spec,
    target: &Target,
    questions: &[Question],
    cancel: &CancellationToken,
) -> Preflight {
    let mut found = Preflight { notes: speed(spec).into_iter().collect(), refusal: None };
    let Some(longest) = questions.iter().max_by_key(|question| question.prompt.len()) else { return found };
    let Some(room) = context_length(target, cancel).await else {
        found.notes.push(note("preflight", "the server does not tell max_model_len: unchecked".to_owned()));
        return found;
    };
    let counted = count(spec, target, longest, cancel).await;
    // Without a tokenizer, a token is taken for four bytes: enough for a warning, too little to refuse a run.
    let prompt = counted.unwrap_or(longest.prompt.len() as u64 / 4);
    let needed = prompt + u64::from(spec.max_tokens);
    if needed <= room {
        return found;
    }
    let told = format!(
        "the longest prompt ({}{prompt} tokens, item {}) and max_tokens {} need {needed} tokens, but max_model_len is \
         {room}; lower max_tokens to {} or serve a longer context",
        if counted.is_some() { "" } else { "about " },
        longest.id,
        spec.max_tokens,
        room.saturating_sub(prompt)
    );
    match counted {
        Some(_) => found.refusal = Some(Reason::new("context-length", told)),
        None => found.notes.push(note("preflight", told)),
    }
    found
}

fn speed(spec: &Spec) -> Option<Note> {
    let needed = f64::from(spec.max_tokens) / spec.request_timeout_s as f64;
    (needed > FAST).then(|| {
        let told = format!(
            "an answer of max_tokens {} within request_timeout_s {} takes {needed:.1} tokens/s in each of {} streams",
            spec.max_tokens, spec.request_timeout_s, spec.workers
        );
        note("preflight", told)
    })
}

async fn ask(target: &Target, request: &Request, cancel: &CancellationToken) -> Option<Value> {
    let exchange =
        target.client.exchange(request, &Limits::default(), &Retry::transport_and_busy(), cancel).await;
    match Answer::read(exchange.last()) {
        Answer { status: Some(200), body: Body::Json(body), .. } => Some(body),
        _ => None,
    }
}

async fn context_length(target: &Target, cancel: &CancellationToken) -> Option<u64> {
    let models = ask(target, &Request::get(Route::Api("/models".to_owned())), cancel).await?;
    let all = models.get("data")?.as_array()?;
    let ours = all.iter().find(|model| model.get("id").and_then(Value::as_str) == Some(&target.model))?;
    ours.get("max_model_len")?.as_u64()
}

/// How many tokens the server makes of a question, its chat template included.
async fn count(spec: &Spec, target: &Target, question: &Question, cancel: &CancellationToken) -> Option<u64> {
    let body = target.with_model(&json!({"messages": spec.messages(question)}));
    ask(target, &Request::post_json(Route::Root("/tokenize".to_owned()), &body), cancel)
        .await?
        .get("count")?
        .as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        accuracy::evaluator::{Key, mgsm},
        sim::{Options, Sim},
    };

    fn spec(max_tokens: u32) -> Spec {
        serde_json::from_value(json!({"max_tokens": max_tokens})).unwrap()
    }

    async fn found(max_tokens: u32) -> Preflight {
        let sim = Sim::start(Options { max_model_len: 512, ..Options::default() }).unwrap();
        let target = Target::at(&sim.base_url(), "sim").unwrap();
        let key = Key::Mgsm(mgsm::Key { language: "en".to_owned(), target: "1".to_owned() });
        let question = |prompt: String| Question {
            id: "long".to_owned(),
            repeat: 0,
            stem: "s".to_owned(),
            sections: Vec::new(),
            prompt,
            picture: None,
            key: key.clone(),
        };
        let questions = [question("What is that?".to_owned()), question("word ".repeat(200))];
        preflight(&spec(max_tokens), &target, &questions, &CancellationToken::new()).await
    }

    #[tokio::test]
    async fn a_prompt_that_leaves_too_little_room_is_refused_with_the_number_that_fits() {
        assert_eq!(found(16).await, Preflight::default());
        let refusal = found(500).await.refusal.unwrap();
        assert_eq!(refusal.kind, "context-length");
        assert!(
            refusal.summary.contains("but max_model_len is 512; lower max_tokens to "),
            "{}",
            refusal.summary
        );
    }

    #[test]
    fn a_time_limit_that_takes_a_speed_for_granted_says_which() {
        assert_eq!(speed(&spec(1024)), None);
        let told = speed(&spec(16_384)).unwrap().text;
        assert_eq!(
            told,
            "an answer of max_tokens 16384 within request_timeout_s 300 takes 54.6 tokens/s in each of 32 streams"
        );
    }
}
