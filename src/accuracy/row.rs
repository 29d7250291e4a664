//! What became of one question: a [`Row`], a line of `items.jsonl`. Must not know the bar that scores are held
//! against.
//!
//! 逐题记录（items.jsonl 的一行）。

use serde::{Deserialize, Serialize};

use crate::accuracy::{
    evaluator::{Key, Question, Scored},
    reply::Status,
    run::Asked,
    spec::Compat,
};

/// What became of one question. It holds all that is needed to mark the answer again, save the answer itself
/// where that may not be passed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The item.
    pub id: String,
    /// The how-manieth time it was asked, from 0.
    pub repeat: u32,
    /// What answers that are not independent have in common.
    pub stem: String,
    /// The parts of the benchmark it counts in.
    pub sections: Vec<String>,
    /// What came back; null where it was not asked.
    pub status: Option<Status>,
    /// What was found in the answer and what it is worth; null where there was none.
    pub scored: Option<Scored>,
    /// What it was marked by.
    pub key: Key,
    /// How many attempts were made.
    pub attempts: u32,
    /// How long they took, in nanoseconds.
    pub took_ns: Option<u64>,
    /// From the last attempt's start to the first piece of its answer, in nanoseconds.
    pub first_token_ns: Option<u64>,
    /// As the server counts them.
    pub prompt_tokens: Option<u64>,
    /// As the server counts them.
    pub completion_tokens: Option<u64>,
    /// SHA-256 of the prompt and its picture, hex: equal ones can be compared from run to run.
    pub prompt_sha256: String,
    /// SHA-256 of the request without the model's name, hex: prompt and sampling at once.
    pub request_sha256: String,
    /// Under which the answer is kept in the cache of answers.
    pub answer_key: String,
    /// Characters of the answer.
    pub text_chars: Option<usize>,
    /// The answer, its thinking taken out; null where it may not be passed on.
    pub text: Option<String>,
    /// Why there is none.
    pub failure: Option<String>,
}

/// What a question was sent as, by its hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// See [`Row::request_sha256`].
    pub request_sha256: String,
    /// See [`Row::answer_key`].
    pub answer_key: String,
}

impl Row {
    /// What became of `question`; `scored` is the mark of its answer.
    pub fn of(
        question: &Question,
        sent: Sent,
        asked: Option<&Asked>,
        scored: Option<Scored>,
        redact: bool,
    ) -> Self {
        let reply = asked.map(|asked| &asked.reply);
        let text = reply.and_then(|reply| reply.text.as_deref());
        Self {
            id: question.id.clone(),
            repeat: question.repeat,
            stem: question.stem.clone(),
            sections: question.sections.clone(),
            status: reply.map(|reply| reply.status),
            scored,
            key: question.key.clone(),
            attempts: asked.map_or(0, |asked| asked.attempts),
            took_ns: asked.map(|asked| asked.took_ns),
            first_token_ns: asked.and_then(|asked| asked.first_token_ns),
            prompt_tokens: asked.and_then(|asked| asked.prompt_tokens),
            completion_tokens: asked.and_then(|asked| asked.completion_tokens),
            prompt_sha256: question.sha256(),
            request_sha256: sent.request_sha256,
            answer_key: sent.answer_key,
            text_chars: text.map(|text| text.chars().count()),
            text: text.filter(|_| !redact).map(str::to_owned),
            failure: reply
                .and_then(|reply| reply.why.clone())
                .map(|why| if redact { bare(&why) } else { why }),
        }
    }

    /// Its score, from 0 to 1; null where there was no answer.
    pub fn score(&self, compat: Compat) -> Option<f64> {
        let scored = self.scored.as_ref()?;
        Some(match compat {
            Compat::SimpleEvals => scored.score,
            Compat::Robust => scored.robust.score,
        })
    }

    /// Whether its answer is wholly right; null where there was none. One about a picture may be, and yet be worth
    /// half: the other one was wrong.
    pub fn is_right(&self, compat: Compat) -> Option<bool> {
        if let Key::Mme(key) = &self.key {
            return self.scored.as_ref().map(|scored| key.is_right(scored.found(compat)));
        }
        self.score(compat).map(|score| score >= 1.0)
    }
}

/// A server's own words may repeat the question: only what stands before them is kept.
fn bare(why: &str) -> String {
    why.split(": ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::accuracy::{evaluator::gpqa, reply::Reply};

    /// A row about item `id`, answered with `reply`, whose right letter is B.
    pub(crate) fn row(id: &str, reply: Option<Reply>) -> Row {
        let question = Question {
            id: id.to_owned(),
            repeat: 0,
            stem: id.to_owned(),
            sections: vec!["physics".to_owned()],
            prompt: "prompt".to_owned(),
            picture: None,
            key: Key::Gpqa(gpqa::Key { letter: 'B' }),
        };
        let scored = reply
            .as_ref()
            .filter(|reply| reply.status != Status::Failed)
            .map(|reply| gpqa::Key { letter: 'B' }.mark(reply.text.as_deref().unwrap_or_default()));
        let asked = reply.map(Asked::at_once);
        let sent = Sent { request_sha256: "r".to_owned(), answer_key: id.to_owned() };
        Row::of(&question, sent, asked.as_ref(), scored, false)
    }

    /// A whole answer.
    pub(crate) fn answered(id: &str, text: &str) -> Row {
        row(id, Some(Reply::answered(text)))
    }

    #[test]
    fn no_answer_is_neither_right_nor_wrong() {
        let failed = row("a", Some(Reply::failed("status 500: boom")));
        assert_eq!(
            (failed.is_right(Compat::SimpleEvals), failed.failure.as_deref()),
            (None, Some("status 500: boom"))
        );
        assert_eq!(row("a", None).score(Compat::SimpleEvals), None);
        assert_eq!(row("a", Some(Reply::empty())).is_right(Compat::SimpleEvals), Some(false));
        assert_eq!(
            row("a", Some(Reply::truncated("Answer: B and"))).is_right(Compat::SimpleEvals),
            Some(true)
        );
    }

    #[test]
    fn either_reading_can_be_the_score() {
        let dressed = answered("a", "Answer: **B**");
        assert_eq!(dressed.score(Compat::SimpleEvals), Some(0.0));
        assert_eq!(dressed.score(Compat::Robust), Some(1.0));
    }

    #[test]
    fn what_may_not_be_passed_on_leaves_no_text_and_no_words_of_the_server() {
        let open = answered("a", "Answer: B");
        assert_eq!((open.text.as_deref(), open.text_chars), (Some("Answer: B"), Some(9)));
        assert_eq!(bare("status 400: the prompt was: What is"), "status 400");
    }

    #[test]
    fn a_row_is_read_back_as_it_was_written() {
        let row = answered("a", "Answer: B");
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    }
}
