//! Equal texts, but for ties: `same_up_to_ties`. Where two requests are computed in different batches, two tokens of
//! (nearly) the same probability may change places, and neither answer is wrong. The log-probabilities that both
//! answers bring along tell such a tie from a difference. Must not know how the legs were sent.
//!
//! 容忍概率并列的文本相等断言。

use serde_json::Value;

use super::{At, Broken, Scope, at::missing_text, show};
use crate::functional::path::{Found, Path};

/// In nats: two tokens nearer than this may change places.
pub const TIE: f64 = 0.05;

/// Both paths lead to a choice of `final`, whose request asked for at least two alternatives per token.
pub(super) fn check(at: &At<Path>, scope: &Scope<'_>, out: &mut Vec<Broken>) {
    for (path, other) in &at.0 {
        let scope = scope.down(path);
        let choices = (path.value(scope.here), other.value(scope.answer));
        let (Some(one), Some(two)) = choices else {
            let missing = if choices.0.is_none() { path } else { other };
            out.push(scope.broken(
                "same_up_to_ties",
                format!("a choice at {missing}"),
                missing_text(&Found::Absent),
            ));
            continue;
        };
        let (one_text, two_text) = (&one["content"], &two["content"]);
        if one_text.is_string() && one_text == two_text {
            continue;
        }
        let parting = Parting::of(&tokens(one), &tokens(two));
        let expected = format!("{path}.content to be as in {other}, {}", show(two_text));
        let actual = format!("{}; {}", show(one_text), parting.text());
        let mut broken = scope.broken("same_up_to_ties", expected, actual);
        broken.doubtful = parting.is_tie();
        out.push(broken);
    }
}

/// A token, and its alternatives with their log-probabilities.
struct Token<'a> {
    text: &'a str,
    tops: Vec<(&'a str, f64)>,
}

/// Chat's form or that of completions.
fn tokens(choice: &Value) -> Vec<Token<'_>> {
    let logprobs = &choice["logprobs"];
    let chat = logprobs["content"].as_array().into_iter().flatten().map(|entry| {
        let tops = entry["top_logprobs"].as_array().into_iter().flatten();
        let tops = tops.filter_map(|top| Some((top["token"].as_str()?, top["logprob"].as_f64()?))).collect();
        Token { text: entry["token"].as_str().unwrap_or_default(), tops }
    });
    let texts = logprobs["tokens"].as_array().into_iter().flatten().enumerate();
    let plain = texts.map(|(at, text)| {
        let tops = logprobs["top_logprobs"][at].as_object().into_iter().flatten();
        let tops = tops.filter_map(|(token, logprob)| Some((token.as_str(), logprob.as_f64()?))).collect();
        Token { text: text.as_str().unwrap_or_default(), tops }
    });
    chat.chain(plain).collect()
}

/// Where two answers part.
enum Parting<'a> {
    /// At this token, counted from 1, with this text in either; how far apart both stand, in the answer where that is
    /// less: coarse numbers part them there or not at all.
    At { token: usize, texts: [&'a str; 2], margin: Option<f64> },
    /// No token differs as far as log-probabilities are told.
    Untold,
}

impl<'a> Parting<'a> {
    fn of(one: &[Token<'a>], two: &[Token<'a>]) -> Self {
        let Some(at) = one.iter().zip(two).position(|(a, b)| a.text != b.text) else { return Self::Untold };
        let texts = [one[at].text, two[at].text];
        let margin =
            [&one[at], &two[at]].into_iter().filter_map(|token| token.margin(texts)).reduce(f64::min);
        Self::At { token: at + 1, texts, margin }
    }

    fn is_tie(&self) -> bool {
        matches!(self, Self::At { margin: Some(margin), .. } if *margin < TIE)
    }

    fn text(&self) -> String {
        match self {
            Self::Untold => "no log-probabilities tell where they part".to_owned(),
            Self::At { token, texts: [one, two], margin } => {
                let margin = match margin {
                    Some(margin) if self.is_tie() => format!("{margin:.3} nat apart: a tie"),
                    Some(margin) => format!("{margin:.3} nat apart: no tie"),
                    None => "neither answer tells both among its alternatives: no tie".to_owned(),
                };
                format!("they part at token {token}, {one:?} and {two:?}, {margin}")
            }
        }
    }
}

impl Token<'_> {
    /// How far apart two alternatives stand, where both are told.
    fn margin(&self, [one, two]: [&str; 2]) -> Option<f64> {
        let logprob =
            |text: &str| self.tops.iter().find(|(top, _)| *top == text).map(|(_, logprob)| *logprob);
        Some((logprob(one)? - logprob(two)?).abs())
    }
}
