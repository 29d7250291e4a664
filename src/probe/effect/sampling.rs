//! Experiments about chance: at a high temperature the seeds must differ, and what narrows the choice must make
//! them alike. Must not know how requests are sent.
//!
//! 采样类效果：种子、top_k、min_p、惩罚。

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Effect;
use crate::{
    api::Answer,
    probe::{
        ask::Ask,
        ground::Ground,
        heard::{number, quote, said},
        sight::Sight,
    },
};

/// With how many seeds the model is let loose, and with how many it is reined in.
const LOOSE: u64 = 5;
const REINED: u64 = 3;

pub(in crate::probe) const SEED: Effect = Effect {
    field: "seed",
    asks: |ground| {
        let mut asks = loose(ground);
        asks.push(asks[0].clone().again(1));
        Ok(asks)
    },
    judge: |_, answers| {
        let texts = texts(answers);
        let (seeds, repeated) = texts.split_at(LOOSE as usize);
        let outcomes = outcomes(seeds);
        match (repeated.first() == seeds.first(), outcomes) {
            (false, _) => {
                let words = "seed 1 at temperature 2, twice";
                Sight::Ignored(format!("{words}: `{}` and `{}`", quote(&seeds[0]), quote(&repeated[0])))
            }
            (true, 1) => Sight::Unseen(format!("temperature 2: 1 outcome of {LOOSE} seeds")),
            (true, n) => {
                Sight::Seen(format!("temperature 2: {n} outcomes of {LOOSE} seeds, seed 1 twice the same"))
            }
        }
    },
};

pub(in crate::probe) const TOP_K: Effect = Effect {
    field: "top_k",
    asks: |ground| Ok(reined(ground, "top_k", &json!(1))),
    judge: |_, a| narrowed("top_k 1", a),
};

pub(in crate::probe) const MIN_P: Effect = Effect {
    field: "min_p",
    asks: |ground| Ok(reined(ground, "min_p", &json!(1))),
    judge: |_, a| narrowed("min_p 1", a),
};

pub(in crate::probe) const PRESENCE: Effect = Effect {
    field: "presence_penalty",
    asks: |ground| Ok(penalised(ground, "presence_penalty", [-2.0, 2.0])),
    judge: |ground, answers| told_apart(ground, "presence_penalty −2 and 2", answers),
};

pub(in crate::probe) const FREQUENCY: Effect = Effect {
    field: "frequency_penalty",
    asks: |ground| Ok(penalised(ground, "frequency_penalty", [-2.0, 2.0])),
    judge: |ground, answers| told_apart(ground, "frequency_penalty −2 and 2", answers),
};

pub(in crate::probe) const REPETITION: Effect = Effect {
    field: "repetition_penalty",
    asks: |ground| Ok(penalised(ground, "repetition_penalty", [1.0, 1.9])),
    judge: |ground, answers| told_apart(ground, "repetition_penalty 1 and 1.9", answers),
};

/// The same question at a temperature where every seed has its own answer.
fn loose(ground: &Ground) -> Vec<Ask> {
    (1..=LOOSE).map(|seed| ground.chat(&json!({"temperature": 2, "seed": seed}))).collect()
}

/// The loose ones, and some of them with `field`.
fn reined(ground: &Ground, field: &str, value: &Value) -> Vec<Ask> {
    let mut asks = loose(ground);
    let one = |seed| ground.chat(&json!({"temperature": 2, "seed": seed, field: value}));
    asks.extend((1..=REINED).map(one));
    asks
}

/// A greedy answer pinned to a few tokens, so that it must repeat itself or turn to the next one.
fn penalised(ground: &Ground, field: &str, values: [f64; 2]) -> Vec<Ask> {
    let bias = Ground::bias(&ground.tokens, 50);
    values.iter().map(|value| ground.chat(&json!({field: value, "logit_bias": bias}))).collect()
}

fn narrowed(what: &str, answers: &[Answer]) -> Sight {
    let texts = texts(answers);
    let (loose, reined) = texts.split_at(LOOSE as usize);
    let (without, with) = (outcomes(loose), outcomes(reined));
    let words = format!(
        "temperature 2: {} of {LOOSE} seeds; with {what}: {with} of {REINED}",
        number(without as u64, "outcome")
    );
    match (without, with) {
        (2.., 1) => Sight::Seen(words),
        _ => Sight::Unseen(words),
    }
}

fn told_apart(ground: &Ground, what: &str, answers: &[Answer]) -> Sight {
    let texts = texts(answers);
    let words = format!("{what}: `{}` and `{}`", quote(&texts[0]), quote(&texts[1]));
    if texts[0] == texts[1] {
        Sight::Unseen(words)
    } else if ground.steady {
        Sight::Seen(words)
    } else {
        Sight::Unseen(format!("{words}, but no answer comes twice the same here"))
    }
}

fn texts(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(said).collect()
}

fn outcomes(texts: &[String]) -> usize {
    texts.iter().collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::heard::tests::saying;

    fn judged(effect: &Effect, texts: &[&str]) -> Sight {
        let answers: Vec<Answer> = texts.iter().map(|text| saying(text)).collect();
        (effect.judge)(&Ground { steady: true, ..Ground::new("m") }, &answers)
    }

    #[test]
    fn a_seed_must_repeat_itself_and_differ_from_the_others() {
        assert_eq!(
            judged(&SEED, &["a", "b", "b", "c", "a", "a"]),
            Sight::Seen("temperature 2: 3 outcomes of 5 seeds, seed 1 twice the same".into())
        );
        assert!(matches!(judged(&SEED, &["a", "b", "b", "c", "a", "z"]), Sight::Ignored(_)));
        assert!(matches!(judged(&SEED, &["a", "a", "a", "a", "a", "a"]), Sight::Unseen(_)), "greedy only");
    }

    #[test]
    fn what_narrows_the_choice_makes_the_seeds_alike() {
        assert_eq!(
            judged(&TOP_K, &["a", "b", "c", "d", "e", "x", "x", "x"]),
            Sight::Seen("temperature 2: 5 outcomes of 5 seeds; with top_k 1: 1 of 3".into())
        );
        assert!(matches!(judged(&TOP_K, &["a", "b", "c", "d", "e", "x", "x", "y"]), Sight::Unseen(_)));
        assert!(matches!(judged(&MIN_P, &["a", "a", "a", "a", "a", "a", "a", "a"]), Sight::Unseen(_)));
    }

    #[test]
    fn a_penalty_shows_where_two_values_give_two_texts_and_the_same_never_does() {
        assert!(matches!(judged(&PRESENCE, &["aaaa", "abca"]), Sight::Seen(_)));
        assert!(matches!(judged(&PRESENCE, &["aaaa", "aaaa"]), Sight::Unseen(_)));
        let unsteady = (FREQUENCY.judge)(&Ground::new("m"), &[saying("aa"), saying("ab")]);
        assert!(matches!(unsteady, Sight::Unseen(words) if words.contains("comes twice the same")));
    }

    #[test]
    fn every_answer_has_its_request() {
        let ground = Ground::new("m");
        for (effect, count) in [(SEED, 6), (TOP_K, 8), (MIN_P, 8), (PRESENCE, 2), (REPETITION, 2)] {
            let asks = (effect.asks)(&ground).expect("requests");
            assert_eq!(asks.len(), count, "{}", effect.field);
            assert!(asks.iter().any(|ask| ask.body.get(effect.field).is_some()), "{}", effect.field);
        }
    }
}
