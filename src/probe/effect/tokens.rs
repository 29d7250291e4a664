//! Experiments with single tokens: one is forced by a bias of 100, and what acts on tokens must act on it.
//! Must not know how requests are sent.
//!
//! 令牌类效果：偏置、停止、禁用与结束符。

use serde_json::{Value, json};

use super::Effect;
use crate::{
    api::Answer,
    probe::{
        ask::Ask,
        ground::Ground,
        heard::{finish, number, quote, said, usage},
        sight::Sight,
    },
};

/// How many tokens are forced.
const RUN: u64 = 4;

pub(in crate::probe) const LOGIT_BIAS: Effect = Effect {
    field: "logit_bias",
    asks: |ground| Ok(vec![ground.chat(&json!({})), forced(ground, &json!({}))]),
    judge: |ground, answers| {
        let (plain, forced) = (said(&answers[0]), said(&answers[1]));
        let words = format!("a bias of 100 on one token: `{}`", quote(&forced));
        only_that(ground, &plain, &forced, words)
    },
};

pub(in crate::probe) const ALLOWED: Effect = Effect {
    field: "allowed_token_ids",
    asks: |ground| {
        let only = json!({"allowed_token_ids": [ground.tokens[0]], "max_tokens": RUN, "ignore_eos": true});
        Ok(vec![ground.chat(&json!({})), ground.chat(&only)])
    },
    judge: |ground, answers| {
        let (plain, only) = (said(&answers[0]), said(&answers[1]));
        let words = format!("one token allowed: `{}`", quote(&only));
        only_that(ground, &plain, &only, words)
    },
};

pub(in crate::probe) const STOP_TOKEN_IDS: Effect = Effect {
    field: "stop_token_ids",
    asks: |ground| Ok(vec![forced(ground, &json!({})), stopped(ground, &json!({}))]),
    judge: |_, answers| {
        let words = format!("a forced token that stops: {}", counted(&answers[1]));
        match (is_run(&said(&answers[0])), finish(&answers[1])) {
            (true, "stop") => Sight::Seen(words),
            (true, _) => Sight::Ignored(words),
            (false, _) => Sight::Unseen(format!("no token can be forced here; {words}")),
        }
    },
};

pub(in crate::probe) const MIN_TOKENS: Effect = Effect {
    field: "min_tokens",
    asks: |ground| Ok(vec![stopped(ground, &json!({})), stopped(ground, &json!({"min_tokens": RUN}))]),
    judge: |_, answers| {
        let words = format!(
            "a forced token that stops: {}; with min_tokens {RUN}: {}",
            counted(&answers[0]),
            counted(&answers[1])
        );
        match (tokens(&answers[0]), tokens(&answers[1])) {
            (Some(1), Some(RUN..)) => Sight::Seen(words),
            (Some(1), Some(1)) => Sight::Ignored(words),
            _ => Sight::Unseen(words),
        }
    },
};

pub(in crate::probe) const IGNORE_EOS: Effect = Effect {
    field: "ignore_eos",
    asks: |ground| Ok(vec![ended(ground, &json!({}))?, ended(ground, &json!({"ignore_eos": true}))?]),
    judge: |_, answers| {
        let words =
            format!("the end forced: {}; with ignore_eos: {}", counted(&answers[0]), counted(&answers[1]));
        match (finish(&answers[0]), finish(&answers[1])) {
            ("stop", "length") => Sight::Seen(words),
            ("stop", "stop") => Sight::Ignored(words),
            _ => Sight::Unseen(words),
        }
    },
};

pub(in crate::probe) const SKIP_SPECIAL: Effect = Effect {
    field: "skip_special_tokens",
    asks: |ground| {
        let shown = json!({"ignore_eos": true, "skip_special_tokens": false});
        Ok(vec![ended(ground, &json!({"ignore_eos": true}))?, ended(ground, &shown)?])
    },
    judge: |_, answers| {
        let (hidden, shown) = (said(&answers[0]), said(&answers[1]));
        let words = format!(
            "the end forced: `{}`; with skip_special_tokens false: `{}`",
            quote(&hidden),
            quote(&shown)
        );
        if hidden.is_empty() && !shown.is_empty() { Sight::Seen(words) } else { Sight::Unseen(words) }
    },
};

pub(in crate::probe) const BAD_WORDS: Effect = Effect {
    field: "bad_words",
    asks: |ground| {
        let word = word(ground)?;
        Ok(vec![ground.chat(&json!({})), ground.chat(&json!({"bad_words": [word]}))])
    },
    judge: |ground, answers| {
        let Ok(word) = word(ground) else { return Sight::Unseen("no word to ban".into()) };
        let (plain, without) = (said(&answers[0]), said(&answers[1]));
        let words = format!("`{word}` banned: `{}`", quote(&without));
        if plain == without {
            Sight::Ignored(format!("{words}, as before"))
        } else if ground.steady && !without.contains(&word) {
            Sight::Seen(words)
        } else {
            Sight::Unseen(words)
        }
    },
};

pub(in crate::probe) const INCLUDE_STOP: Effect = Effect {
    field: "include_stop_str_in_output",
    asks: |ground| {
        let word = word(ground)?;
        let kept = json!({"stop": [word], "include_stop_str_in_output": true});
        Ok(vec![ground.chat(&json!({"stop": [word]})), ground.chat(&kept)])
    },
    judge: |ground, answers| {
        let Ok(word) = word(ground) else { return Sight::Unseen("no word to stop at".into()) };
        let (cut, kept) = (said(&answers[0]), said(&answers[1]));
        let words = format!("stopped at `{word}`: `{}`; with the stop kept: `{}`", quote(&cut), quote(&kept));
        match (cut.contains(&word), kept.ends_with(&word)) {
            (false, true) => Sight::Seen(words),
            (false, false) => Sight::Ignored(words),
            (true, _) => Sight::Unseen(words),
        }
    },
};

/// An answer that can only be one token, again and again.
fn forced(ground: &Ground, changes: &Value) -> Ask {
    let mut body = json!({"logit_bias": Ground::bias(&ground.tokens[..1], 100), "max_tokens": RUN});
    merge(&mut body, changes);
    ground.chat(&body)
}

/// The same, but the token ends it.
fn stopped(ground: &Ground, changes: &Value) -> Ask {
    let mut body = json!({"stop_token_ids": [ground.tokens[0]], "max_tokens": RUN + 2});
    merge(&mut body, changes);
    forced(ground, &body)
}

/// An answer that can only end.
fn ended(ground: &Ground, changes: &Value) -> Result<Ask, Sight> {
    let eos =
        ground.eos.ok_or_else(|| Sight::Unseen("no tokenizer tells which token ends an answer".into()))?;
    let mut body = json!({"logit_bias": Ground::bias(&[eos], 100), "max_tokens": RUN});
    merge(&mut body, changes);
    Ok(ground.chat(&body))
}

fn merge(body: &mut Value, changes: &Value) {
    if let (Value::Object(body), Value::Object(changes)) = (body, changes) {
        body.extend(changes.clone());
    }
}

/// The last word that the plain answer says, which is neither its beginning nor all of it.
fn word(ground: &Ground) -> Result<String, Sight> {
    let word = ground.greedy.split_whitespace().last().unwrap_or_default();
    let word = word.trim_end_matches(|c: char| c.is_ascii_punctuation());
    let usable = !word.is_empty() && !ground.greedy.starts_with(word);
    if usable {
        Ok(word.to_owned())
    } else {
        Err(Sight::Unseen("the plain answer has no second word".into()))
    }
}

/// Whether `text` is one piece [`RUN`] times over.
fn is_run(text: &str) -> bool {
    let run = RUN as usize;
    let piece = text.len() / run;
    piece > 0
        && text.len().is_multiple_of(run)
        && text.is_char_boundary(piece)
        && text[..piece].repeat(run) == text
}

/// Whether `forced` shows that only one token could come. A token may well have no text of its own; then it counts
/// that the answer is another one.
fn only_that(ground: &Ground, plain: &str, forced: &str, words: String) -> Sight {
    let is_another = !plain.starts_with(forced) || forced.is_empty();
    match (is_another, is_run(forced)) {
        (false, _) => Sight::Ignored(format!("{words}, as without")),
        (true, true) => Sight::Seen(words),
        (true, false) if ground.steady => Sight::Seen(format!("{words}, not `{}`", quote(plain))),
        (true, false) => Sight::Unseen(words),
    }
}

fn tokens(answer: &Answer) -> Option<u64> {
    usage(answer, "completion_tokens")
}

fn counted(answer: &Answer) -> String {
    match tokens(answer) {
        Some(count) => format!("{} after {}", finish(answer), number(count, "token")),
        None => format!("{} after `{}`", finish(answer), quote(&said(answer))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::heard::tests::{answer, saying};

    fn ground() -> Ground {
        Ground { steady: true, greedy: "one two three".into(), eos: Some(2), ..Ground::new("m") }
    }

    fn judged(effect: &Effect, texts: &[&str]) -> Sight {
        let answers: Vec<Answer> = texts.iter().map(|text| saying(text)).collect();
        (effect.judge)(&ground(), &answers)
    }

    fn ending(finish: &str, tokens: u64) -> Answer {
        answer(&json!({
            "choices": [{"index": 0, "message": {"content": ""}, "finish_reason": finish}],
            "usage": {"completion_tokens": tokens},
        }))
    }

    #[test]
    fn a_forced_token_comes_again_and_again() {
        assert_eq!(
            judged(&LOGIT_BIAS, &["one two three", " ox ox ox ox"]),
            Sight::Seen("a bias of 100 on one token: `ox ox ox ox`".into())
        );
        assert!(matches!(judged(&LOGIT_BIAS, &["one two three", "one two"]), Sight::Ignored(_)));
        assert_eq!(
            judged(&LOGIT_BIAS, &["one two three", ""]),
            Sight::Seen("a bias of 100 on one token: ``, not `one two three`".into())
        );
        let unsteady = Ground { steady: false, ..ground() };
        let by_chance = (LOGIT_BIAS.judge)(&unsteady, &[saying("one two three"), saying("1 2 3")]);
        assert!(matches!(by_chance, Sight::Unseen(_)));
        assert!(matches!(judged(&ALLOWED, &["one two three", "oxoxoxox"]), Sight::Seen(_)));
    }

    #[test]
    fn a_run_is_one_piece_four_times() {
        for text in ["aaaa", " a a a a", "🙂🙂🙂🙂"] {
            assert!(is_run(text), "{text}");
        }
        for text in ["", "aaa", "abab", "🙂", "aaab"] {
            assert!(!is_run(text), "{text}");
        }
    }

    #[test]
    fn a_forced_token_that_stops_is_held_back_by_min_tokens() {
        let judge = |a, b| (MIN_TOKENS.judge)(&ground(), &[a, b]);
        assert_eq!(
            judge(ending("stop", 1), ending("length", 6)),
            Sight::Seen(
                "a forced token that stops: stop after 1 token; with min_tokens 4: length after 6 tokens"
                    .into()
            )
        );
        assert!(matches!(judge(ending("stop", 1), ending("stop", 1)), Sight::Ignored(_)));
        assert!(matches!(judge(ending("length", 6), ending("length", 6)), Sight::Unseen(_)));
    }

    #[test]
    fn a_stop_token_shows_only_where_a_token_can_be_forced() {
        let judge = |text: &str, end| (STOP_TOKEN_IDS.judge)(&ground(), &[saying(text), end]);
        assert!(matches!(judge("oxoxoxox", ending("stop", 1)), Sight::Seen(_)));
        assert!(matches!(judge("oxoxoxox", ending("length", 6)), Sight::Ignored(_)));
        assert!(matches!(judge("one two", ending("stop", 1)), Sight::Unseen(_)));
    }

    #[test]
    fn a_forced_end_is_passed_by_ignore_eos_and_made_visible_by_skip_special_tokens() {
        let judge = |a, b| (IGNORE_EOS.judge)(&ground(), &[a, b]);
        assert!(matches!(judge(ending("stop", 1), ending("length", 4)), Sight::Seen(_)));
        assert!(matches!(judge(ending("stop", 1), ending("stop", 1)), Sight::Ignored(_)));
        assert!(matches!(judged(&SKIP_SPECIAL, &["", "<|im_end|>"]), Sight::Seen(_)));
        assert!(matches!(judged(&SKIP_SPECIAL, &["", ""]), Sight::Unseen(_)));
        let unknown = (IGNORE_EOS.asks)(&Ground::new("m"));
        assert!(matches!(unknown, Err(Sight::Unseen(words)) if words.contains("no tokenizer tells")));
    }

    #[test]
    fn a_banned_word_is_gone_and_a_kept_stop_is_there() {
        assert!(matches!(judged(&BAD_WORDS, &["one two three", "one two four"]), Sight::Seen(_)));
        assert!(matches!(judged(&BAD_WORDS, &["one two three", "one two three"]), Sight::Ignored(_)));
        assert!(matches!(judged(&BAD_WORDS, &["one two three", "one three"]), Sight::Unseen(_)));
        assert!(matches!(judged(&INCLUDE_STOP, &["one two ", "one two three"]), Sight::Seen(_)));
        assert!(matches!(judged(&INCLUDE_STOP, &["one two ", "one two "]), Sight::Ignored(_)));
        assert!(matches!(judged(&INCLUDE_STOP, &["one two three", "one two three"]), Sight::Unseen(_)));
    }

    #[test]
    fn an_answer_of_one_word_has_none_to_ban() {
        let one = Ground { greedy: "one.".into(), ..ground() };
        assert!(matches!((BAD_WORDS.asks)(&one), Err(Sight::Unseen(_))));
        assert_eq!(word(&Ground { greedy: "1. 2, three.".into(), ..ground() }), Ok("three".into()));
    }
}
