//! What a case says of conversations: [`Conversation`]. Must not know how one is held.
//!
//! 多轮对话的规格。

use schemars::JsonSchema;
use serde::Deserialize;
use st_harness::suite::Mistakes;

use super::{Amount, ControlMethod, Endpoint, Layout, Spec};

/// Conversations take the place of single requests: every worker of a closed loop, and every arrival of an open one, holds
/// one after another. A turn is sent when the answer to the one before has ended and the think time is over, and holds
/// all that was said before, with the server's own answers.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conversation {
    /// How many are measured, in each epoch; `concurrency` is how many go on at a time, and `warmup` how many come first.
    #[serde(default)]
    pub num_conversations: Option<u32>,
    /// Requests of each. Of a data set in a file at most so many; without it as many as a person speaks there.
    #[serde(default)]
    pub turns: Option<Amount>,
    /// From the end of an answer to the next request, in milliseconds.
    #[serde(default = "none")]
    pub think_time_ms: Amount,
}

fn none() -> Amount {
    Amount::Fixed(0.0)
}

impl Conversation {
    /// What they need, and what can hold none.
    pub(super) fn check(self, spec: &Spec, mistakes: &mut Mistakes<'_>) {
        if spec.endpoint != Endpoint::Chat {
            mistakes.at("/endpoint", "expected `chat` beside `conversation`: a completion has no turns");
        }
        if matches!(spec.control_method, ControlMethod::Trace(_)) {
            mistakes.at(
                "/control_method",
                "expected `fixed`, `climb` or `rate` beside `conversation`: a trace says when each request is due, and a \
                 turn is due after the one before",
            );
        }
        for (key, told) in
            [("requests", spec.requests), ("requests_per_concurrency", spec.requests_per_concurrency)]
        {
            if told.is_some() {
                mistakes.at(
                    &format!("/{key}"),
                    "expected nothing beside `conversation`, whose `num_conversations` says it",
                );
            }
        }
        for (index, source) in spec.dataset.iter().enumerate() {
            if !matches!(source.layout, Layout::Random | Layout::Sharegpt) {
                let message = format!(
                    "expected `random` or `sharegpt` beside `conversation`: an item of `{}` is a single request",
                    source.layout.name()
                );
                mistakes.at(&format!("/dataset/{index}/layout"), message);
            }
        }
        if self.turns.is_none() && spec.draws_text() {
            mistakes.at("/conversation", "expected `turns`: random text has no end of its own");
        }
        let turns = self.turns.map(|turns| turns.mistakes_whole()).unwrap_or_default();
        for (key, found) in [("turns", turns), ("think_time_ms", self.think_time_ms.mistakes())] {
            found.into_iter().for_each(|message| mistakes.at(&format!("/conversation/{key}"), message));
        }
        self.amount(spec, mistakes);
    }

    /// How many conversations there are has to be said.
    fn amount(self, spec: &Spec, mistakes: &mut Mistakes<'_>) {
        let closed = matches!(spec.control_method, ControlMethod::Fixed | ControlMethod::Climb(_));
        match (self.num_conversations, spec.concurrency) {
            (Some(0), _) => mistakes.at("/conversation/num_conversations", "expected at least 1, found 0"),
            (Some(all), Some(at_a_time)) if closed && all < at_a_time => mistakes.at(
                "/conversation/num_conversations",
                format!(
                    "expected at least as many conversations as concurrency ({at_a_time}), found {all}: the asked \
                     concurrency would never be reached"
                ),
            ),
            (None, _) if closed || spec.stop.duration.is_none() => mistakes.at(
                "/conversation",
                "expected `num_conversations`: all that is asked is made before the first is sent; `stop.duration` alone \
                 ends only a `rate`",
            ),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_case_is_counted_in_what_it_sends() {
        let sized = |text: &str| {
            let spec: Spec = serde_json::from_str(text).unwrap();
            let spec = spec.sized(5);
            (spec.items(), spec.requests())
        };
        assert_eq!(sized(r#"{"concurrency": 2, "requests_per_concurrency": 9}"#), (Some(5), Some(5)));
        assert_eq!(sized(r#"{"conversation": {"num_conversations": 9, "turns": 2}}"#), (Some(5), None));
    }
}
