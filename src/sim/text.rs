//! The model: [`generate`], a pure function of prompt, sampling parameters and key. A hash of the context proposes two
//! dozen tokens with their logits at each step; bias, penalties, temperature, top-p, top-k and min-p act on them as
//! on any model's. Must not know requests or answers.
//!
//! “模型”：由上下文哈希给出候选词，再按采样参数真实采样。

use super::chance::{Chance, hash};
use super::tokenizer::{self, EOS, Id, WORDS};
use std::collections::HashMap;
use std::sync::LazyLock;

/// How a continuation is drawn, validated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sampling {
    pub(super) temperature: f64,
    pub(super) top_p: f64,
    pub(super) top_k: usize,
    pub(super) min_p: f64,
    pub(super) presence: f64,
    pub(super) frequency: f64,
    pub(super) repetition: f64,
    pub(super) bias: Vec<(Id, f64)>,
    pub(super) allowed: Option<Vec<Id>>,
    pub(super) banned: Vec<Id>,
    pub(super) stop: Vec<String>,
    pub(super) stop_ids: Vec<Id>,
    pub(super) include_stop: bool,
    pub(super) max_tokens: usize,
    pub(super) min_tokens: usize,
    pub(super) ignore_eos: bool,
    /// Whether log-probabilities and alternatives are worked out.
    pub(super) logprobs: bool,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            presence: 0.0,
            frequency: 0.0,
            repetition: 1.0,
            bias: Vec::new(),
            allowed: None,
            banned: Vec::new(),
            stop: Vec::new(),
            stop_ids: Vec::new(),
            include_stop: false,
            max_tokens: 16,
            min_tokens: 0,
            ignore_eos: false,
            logprobs: false,
        }
    }
}

/// What the model means to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Whatever comes.
    Free,
    /// This text, then the end.
    Say(String),
    /// Whatever comes, without an end.
    Endless,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Generated {
    pub(super) steps: Vec<Step>,
    pub(super) text: String,
    /// `stop` or `length`.
    pub(super) finish: &'static str,
    pub(super) stop_reason: Option<Stopped>,
}

/// What stopped it, where that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    Text(String),
    Token(Id),
}

/// One token.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) id: Id,
    /// 0 where it was not asked for.
    pub(super) logprob: f64,
    /// The likeliest tokens, best first; none where they were not asked for.
    pub(super) top: Vec<(Id, f64)>,
    /// What becomes visible with it. Text that may yet turn into a stop string is held back.
    pub(super) delta: String,
}

/// How many alternatives a step keeps.
pub(super) const ALTERNATIVES: usize = 20;

/// Logits: of a token that the plan wants, of one that ends a sentence, and of one that nobody proposed.
const WANTED: f64 = 24.0;
const DUE: f64 = 14.0;
const UNLIKELY: f64 = -14.0;

static VOICE: LazyLock<Voice> = LazyLock::new(|| {
    Voice {
    words: WORDS.split_whitespace().map(|w| tokenizer::encode(&format!(" {w}"))[0]).collect(),
    han: "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边流路级少图山统接知较将组见计别她手角期根论运农指"
        .chars().map(|c| tokenizer::encode(&c.to_string())[0]).collect(),
    emoji: "😀🚀🌍🎉👍".chars().map(|c| tokenizer::encode(&c.to_string())).collect(),
}
});

/// The words that the model has.
struct Voice {
    words: Vec<Id>,
    han: Vec<Id>,
    emoji: Vec<Vec<Id>>,
}

/// Continues a prompt. `key` decides every draw; at temperature 0 it has no effect.
pub(super) fn generate(prompt: &[Id], plan: &Plan, sampling: &Sampling, key: u64) -> Generated {
    let mut run = Run::new(prompt, plan, sampling);
    let (mut finish, mut stop_reason) = ("length", None);
    while run.steps.len() < sampling.max_tokens {
        let (id, logprob, top) = run.draw(key);
        let may_stop = run.steps.len() >= sampling.min_tokens;
        let before = run.text.len();
        run.push(id, logprob, top);
        if may_stop && id == EOS && !sampling.ignore_eos {
            finish = "stop";
            break;
        }
        if may_stop && sampling.stop_ids.contains(&id) {
            (finish, stop_reason) = ("stop", Some(Stopped::Token(id)));
            if !sampling.include_stop {
                run.text.truncate(before);
            }
            break;
        }
        if let Some(stop) = may_stop.then(|| run.cut_at_stop()).flatten() {
            (finish, stop_reason) = ("stop", Some(Stopped::Text(stop)));
            break;
        }
        run.show(run.held_back());
    }
    run.show(0);
    Generated { text: run.text, steps: run.steps, finish, stop_reason }
}

/// A continuation under way.
struct Run<'a> {
    sampling: &'a Sampling,
    context: u64,
    script: Option<Vec<Id>>,
    endless: bool,
    chinese: bool,
    emoji: bool,
    /// The answer ends with its nth sentence.
    sentences: usize,
    steps: Vec<Step>,
    counts: HashMap<Id, usize>,
    in_prompt: HashMap<Id, usize>,
    text: String,
    /// Bytes that make no character yet.
    torn: Vec<u8>,
    /// How much of `text` is visible.
    shown: usize,
    /// Ended sentences, and tokens since.
    ended: usize,
    since: usize,
}

impl<'a> Run<'a> {
    fn new(prompt: &[Id], plan: &Plan, sampling: &'a Sampling) -> Self {
        let parts: Vec<u64> = prompt.iter().map(|id| u64::from(*id)).collect();
        let context = hash(&parts);
        let text = tokenizer::decode(&prompt[prompt.len().saturating_sub(200)..]);
        let script = match plan {
            Plan::Say(text) => Some(tokenizer::encode(text).into_iter().chain([EOS]).collect()),
            Plan::Free | Plan::Endless => None,
        };
        Run {
            sampling,
            context,
            script,
            endless: *plan == Plan::Endless,
            chinese: text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)),
            emoji: text.chars().any(|c| c >= '\u{1f000}'),
            sentences: 1 + Chance::new(context).below(3),
            steps: Vec::new(),
            counts: HashMap::new(),
            in_prompt: if sampling.repetition == 1.0 { HashMap::new() } else { count(prompt) },
            text: String::new(),
            torn: Vec::new(),
            shown: 0,
            ended: 0,
            since: 0,
        }
    }

    /// The next token, its log-probability and the alternatives: all before bias and penalties, as vLLM has them.
    fn draw(&self, key: u64) -> (Id, f64, Vec<(Id, f64)>) {
        let mut raw = self.proposals();
        let named = self.sampling.bias.iter().map(|(id, _)| id).chain(self.sampling.allowed.iter().flatten());
        for id in named {
            propose(&mut raw, *id, unlikely(*id));
        }
        let id = self.pick(self.processed(&raw), key);
        if !self.sampling.logprobs {
            return (id, 0.0, Vec::new());
        }
        let norm = raw.iter().map(|(_, logit)| logit.exp()).sum::<f64>();
        let norm = (norm + f64::from(tokenizer::VOCABULARY) * UNLIKELY.exp()).ln();
        let drawn = raw.iter().find(|(proposed, _)| *proposed == id);
        let logprob = drawn.map_or_else(|| unlikely(id), |(_, logit)| *logit) - norm;
        let mut ranked: Vec<(Id, f64)> = raw.iter().map(|(id, logit)| (*id, logit - norm)).collect();
        ranked.sort_by(best_first);
        ranked.truncate(ALTERNATIVES);
        (id, logprob, ranked)
    }

    /// What the model would say next: tokens with their logits, each once, in an order that the context decides.
    fn proposals(&self) -> Vec<(Id, f64)> {
        let last = |n: usize| self.steps.len().checked_sub(n).map_or(0, |i| u64::from(self.steps[i].id) + 1);
        let mut chance = Chance::new(hash(&[self.context, last(1), last(2), self.steps.len() as u64]));
        let voice = &*VOICE;
        let pool = if self.chinese { &voice.han } else { &voice.words };
        let mut proposals = Vec::with_capacity(2 * ALTERNATIVES);
        for rank in 0..ALTERNATIVES + 4 {
            let logit = 4.0 - 0.2 * rank as f64 + chance.unit() * 0.19;
            propose(&mut proposals, pool[chance.below(pool.len())], logit);
        }
        for id in pool.iter().take(ALTERNATIVES.saturating_sub(proposals.len() - 1) * 2) {
            propose(&mut proposals, *id, -6.0 - f64::from(*id % 97) / 97.0);
        }
        if let Some((id, logit)) = self.wanted(&mut chance) {
            proposals.retain(|(proposed, _)| *proposed != id);
            proposals.push((id, logit));
        }
        proposals
    }

    /// The one token that must come now, if any.
    fn wanted(&self, chance: &mut Chance) -> Option<(Id, f64)> {
        if let Some(script) = &self.script {
            return Some((script.get(self.steps.len()).copied().unwrap_or(EOS), WANTED));
        }
        if let Some(id) = self.rest_of_emoji() {
            return Some((id, WANTED));
        }
        let (mark, length) = if self.chinese { ("。", 14) } else { (".", 8) };
        if self.since == 0 && self.ended > 0 && !self.endless && !self.sampling.ignore_eos {
            let last = self.ended >= self.sentences && self.steps.len() >= self.sampling.min_tokens;
            if last {
                return Some((EOS, DUE));
            }
        }
        if self.since >= length + chance.below(4) {
            return Some((tokenizer::encode(mark)[0], DUE));
        }
        (self.emoji && self.since == 2).then(|| (VOICE.emoji[chance.below(VOICE.emoji.len())][0], DUE))
    }

    /// The byte that continues an emoji that has been begun.
    fn rest_of_emoji(&self) -> Option<Id> {
        let begun: Vec<Id> = self.steps.iter().rev().take(self.torn.len()).rev().map(|s| s.id).collect();
        let fits = |emoji: &&Vec<Id>| !begun.is_empty() && emoji.starts_with(&begun);
        VOICE.emoji.iter().find(fits).and_then(|emoji| emoji.get(begun.len()).copied())
    }

    /// Logits after bias, penalties and bans.
    fn processed(&self, raw: &[(Id, f64)]) -> Vec<(Id, f64)> {
        let s = self.sampling;
        let allowed = |id: &Id| s.allowed.as_ref().is_none_or(|only| only.contains(id));
        let barred = |id: &Id| s.banned.contains(id) || (*id == EOS && self.steps.len() < s.min_tokens);
        let logits = raw.iter().filter(|(id, _)| allowed(id) && !barred(id)).map(|(id, logit)| {
            let mut logit = *logit;
            let seen = self.counts.get(id).copied().unwrap_or(0);
            if seen > 0 || self.in_prompt.contains_key(id) {
                logit = if logit > 0.0 { logit / s.repetition } else { logit * s.repetition };
            }
            if seen > 0 {
                logit -= s.presence + s.frequency * seen as f64;
            }
            let bias: f64 = s.bias.iter().filter(|(biased, _)| biased == id).map(|(_, by)| by).sum();
            (*id, logit + bias)
        });
        logits.collect()
    }

    /// Draws one; at temperature 0 the likeliest.
    fn pick(&self, mut logits: Vec<(Id, f64)>, key: u64) -> Id {
        let s = self.sampling;
        let Some((best, highest)) = logits.iter().copied().min_by(best_first) else { return EOS };
        if s.temperature < 1e-5 {
            return best;
        }
        logits.sort_by(best_first);
        let weigh = |logit: f64| ((logit - highest) / s.temperature.max(0.01)).exp();
        let mut kept: Vec<(Id, f64)> = logits.into_iter().map(|(id, logit)| (id, weigh(logit))).collect();
        if s.top_k > 0 {
            kept.truncate(s.top_k);
        }
        kept.retain(|(_, weight)| *weight >= s.min_p);
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut mass = 0.0;
        let within = kept.iter().take_while(|(_, weight)| {
            let before = mass;
            mass += weight;
            before < s.top_p * total
        });
        let kept: Vec<(Id, f64)> = within.copied().collect();
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut left = Chance::new(hash(&[key, self.steps.len() as u64])).unit() * total;
        for (id, weight) in &kept {
            left -= weight;
            if left < 0.0 {
                return *id;
            }
        }
        best
    }

    fn push(&mut self, id: Id, logprob: f64, top: Vec<(Id, f64)>) {
        *self.counts.entry(id).or_default() += 1;
        if !tokenizer::is_special(id) {
            self.torn.extend(tokenizer::bytes(id));
            let whole = match std::str::from_utf8(&self.torn) {
                Ok(text) => text.len(),
                Err(e) if e.error_len().is_none() => e.valid_up_to(),
                Err(_) => self.torn.len(),
            };
            let rest = self.torn.split_off(whole);
            self.text += &String::from_utf8_lossy(&self.torn);
            self.torn = rest;
        }
        self.since += 1;
        if matches!(tokenizer::bytes(id).as_slice(), b"." | [0xe3, 0x80, 0x82]) {
            self.ended += 1;
            self.since = 0;
        }
        self.steps.push(Step { id, logprob, top, delta: String::new() });
    }

    /// Cuts the text at the stop string that is complete first in it (of those, the first named), and tells which: as
    /// vLLM does.
    fn cut_at_stop(&mut self) -> Option<String> {
        let begins = |stop: &String| {
            let mut from = self.shown.saturating_sub(stop.len());
            while !self.text.is_char_boundary(from) {
                from -= 1;
            }
            self.text[from..].find(stop.as_str()).map(|at| from + at)
        };
        let found = self.sampling.stop.iter().filter_map(|stop| Some((begins(stop)?, stop)));
        let (begin, stop) = found.min_by_key(|(begin, stop)| begin + stop.len())?;
        let stop = stop.clone();
        self.text.truncate(begin + if self.sampling.include_stop { stop.len() } else { 0 });
        Some(stop)
    }

    /// How many bytes may yet turn out to belong to a stop string.
    fn held_back(&self) -> usize {
        if self.sampling.include_stop {
            return 0;
        }
        self.sampling.stop.iter().map(|stop| stop.chars().count()).max().map_or(0, |longest| {
            self.text.chars().rev().take(longest.saturating_sub(1)).map(char::len_utf8).sum()
        })
    }

    /// Makes all but the last `hold` bytes visible with the latest token.
    fn show(&mut self, hold: usize) {
        let end = self.text.len().saturating_sub(hold);
        if end > self.shown
            && let Some(step) = self.steps.last_mut()
        {
            step.delta += &self.text[self.shown..end];
            self.shown = end;
        }
    }
}

/// Adds a token that is not there yet.
fn propose(proposals: &mut Vec<(Id, f64)>, id: Id, logit: f64) {
    if !proposals.iter().any(|(proposed, _)| *proposed == id) {
        proposals.push((id, logit));
    }
}

/// The higher logit first; of equal ones the smaller id.
fn best_first(a: &(Id, f64), b: &(Id, f64)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

fn unlikely(id: Id) -> f64 {
    UNLIKELY + Chance::new(u64::from(id)).unit() * 0.5
}

fn count(tokens: &[Id]) -> HashMap<Id, usize> {
    let mut counts = HashMap::new();
    for id in tokens {
        *counts.entry(*id).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn greedy() -> Sampling {
        Sampling { temperature: 0.0, max_tokens: 48, logprobs: true, ..Sampling::default() }
    }

    fn say(prompt: &str, sampling: &Sampling, key: u64) -> Generated {
        generate(&tokenizer::encode(prompt), &Plan::Free, sampling, key)
    }

    fn distinct(sampling: &Sampling) -> usize {
        let texts: std::collections::HashSet<_> = (0..5).map(|key| say("Hi.", sampling, key).text).collect();
        texts.len()
    }

    proptest! {
        #[test]
        fn the_deltas_are_the_text_whatever_the_stop_strings(
            prompt in "[a-z你好😀 ]{1,20}", stop in prop::collection::vec("[a-z 。.]{1,4}", 0..3), key: u64,
        ) {
            let sampling = Sampling { stop: stop.clone(), max_tokens: 40, ..Sampling::default() };
            let said = say(&prompt, &sampling, key);
            let deltas: String = said.steps.iter().map(|step| step.delta.as_str()).collect();
            prop_assert_eq!(&deltas, &said.text);
            prop_assert!(!stop.iter().any(|stop| said.text.contains(stop.as_str())));
            prop_assert!(!said.text.contains(char::REPLACEMENT_CHARACTER));
        }

        #[test]
        fn the_probabilities_of_the_alternatives_sum_to_one_at_most(key: u64) {
            for step in say("Hello", &Sampling { logprobs: true, ..Sampling::default() }, key).steps {
                prop_assert!(step.top.iter().map(|(_, lp)| lp.exp()).sum::<f64>() <= 1.0);
                prop_assert!(step.top.is_sorted_by(|a, b| a.1 >= b.1) && step.top.len() == ALTERNATIVES);
            }
        }
    }

    #[test]
    fn at_temperature_zero_the_key_has_no_effect_and_the_likeliest_token_is_taken() {
        let said = say("Say hello.", &greedy(), 1);
        assert_eq!(said, say("Say hello.", &greedy(), 2));
        assert!(said.steps.iter().all(|step| step.id == step.top[0].0));
        assert_ne!(said.text, say("Say goodbye.", &greedy(), 1).text);
    }

    #[test]
    fn answers_differ_with_the_key_until_only_one_token_is_left_to_choose_from() {
        let hot = Sampling { temperature: 2.0, max_tokens: 12, ..Sampling::default() };
        assert!(distinct(&hot) >= 4);
        assert_eq!(distinct(&Sampling { top_k: 1, ..hot.clone() }), 1);
        assert_eq!(distinct(&Sampling { top_p: 0.01, ..hot.clone() }), 1);
        assert_eq!(distinct(&Sampling { min_p: 1.0, ..hot }), 1);
    }

    #[test]
    fn an_answer_ends_by_itself_and_says_so() {
        let said = say("Say hello.", &Sampling { max_tokens: 500, ..greedy() }, 0);
        assert_eq!((said.finish, said.stop_reason), ("stop", None));
        assert_eq!(said.steps.last().map(|step| step.id), Some(EOS));
        assert!(said.text.ends_with('.') && !said.text.contains("<|"));
        let on = say("Say hello.", &Sampling { max_tokens: 500, ignore_eos: true, ..greedy() }, 0);
        assert_eq!((on.finish, on.steps.len()), ("length", 500));
    }

    #[test]
    fn bias_forces_and_bans_a_token_and_penalties_break_the_repetition() {
        let pair = Sampling { bias: vec![(19_556, 50.0), (905, 50.0)], max_tokens: 4, ..greedy() };
        let plain = say("Go", &pair, 0).text;
        assert!(plain == "HelloHelloHelloHello" || plain == " world world world world", "{plain}");
        let presence = say("Go", &Sampling { presence: 2.0, ..pair.clone() }, 0).text;
        assert!(presence != plain && presence.contains("Hello") && presence.contains(" world"), "{presence}");
        let first = say("Go", &greedy(), 0).steps[0].id;
        let without = say("Go", &Sampling { bias: vec![(first, -100.0)], ..greedy() }, 0);
        assert_ne!(without.steps[0].id, first);
    }

    #[test]
    fn a_stop_string_is_cut_off_even_across_tokens() {
        let whole = say("Say hello.", &greedy(), 0);
        let middle: String = whole.text.chars().skip(5).take(9).collect();
        let cut = say("Say hello.", &Sampling { stop: vec![middle.clone()], ..greedy() }, 0);
        assert_eq!(cut.text, whole.text.split(&middle).next().expect("the part before"));
        assert_eq!((cut.finish, cut.stop_reason), ("stop", Some(Stopped::Text(middle.clone()))));
        let kept =
            say("Say hello.", &Sampling { stop: vec![middle.clone()], include_stop: true, ..greedy() }, 0);
        assert!(kept.text.ends_with(&middle));
    }

    #[test]
    fn of_several_stop_strings_in_one_token_the_one_that_is_complete_first_counts() {
        let stop = vec!["e".to_owned(), " ".to_owned()];
        let said =
            say("g", &Sampling { stop, max_tokens: 40, ..Sampling::default() }, 746_493_465_981_893_947);
        assert!(!said.text.contains([' ', 'e']), "{}", said.text);
    }

    #[test]
    fn a_plan_is_said_word_for_word_at_any_usual_temperature() {
        let plan = Plan::Say("{\"name\": \"李雷\", \"n\": 12}".to_owned());
        for key in 0..20 {
            let said = generate(&[5], &plan, &Sampling { max_tokens: 99, ..Sampling::default() }, key);
            assert_eq!((said.text.as_str(), said.finish), ("{\"name\": \"李雷\", \"n\": 12}", "stop"));
        }
    }

    #[test]
    fn chinese_is_answered_in_chinese_and_emoji_with_whole_emoji() {
        assert!(say("你好", &greedy(), 0).text.chars().all(|c| c > '\u{2fff}'));
        assert!(say("Hi 😀", &greedy(), 0).text.chars().any(|c| c > '\u{1f000}'));
    }
}
