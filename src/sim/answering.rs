//! Questions whose answer the simulator knows, so that a score can be predicted: [`Answering`]. What becomes of an
//! item is a pure function of the item and the seed. Must not know how an answer is sent.
//!
//! 已知答案的题目：按概率答对、截断或失败，逐题确定。

use super::chance::{Chance, hash};
use super::exam::{self, Fate};
use super::picture;
use serde::{Deserialize, Serialize};

/// A table of questions and how well they are answered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answering {
    /// The questions; the first that stands in the prompt is the one that is asked.
    pub items: Vec<Known>,
    /// Probability of a right answer, by item.
    pub right: f64,
    /// Probability that an item's answer never comes to its end, and so ends with `finish_reason: length`.
    pub truncate: f64,
    /// Probability that an item is answered with status 500.
    pub fail: f64,
    /// The three are shares of all items, dealt out so that they come out to the item, instead of probabilities.
    pub dealt: bool,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// A text by which a prompt is known to ask this.
    pub question: String,
    /// The picture that has to be in the prompt too, in base64 as it is sent: who does not see does not know.
    #[serde(default)]
    pub image: Option<String>,
    /// The whole right answer, such as `Answer: C`. Where `choice` is set: the right option's own text.
    pub right: String,
    /// The whole wrong answer.
    #[serde(default = "no_idea")]
    pub wrong: String,
    /// The prompt lists options as `A) text`: answer `Answer: A` with the letter that stands before `right`.
    #[serde(default)]
    pub choice: bool,
}

fn no_idea() -> String {
    "I do not know.".to_owned()
}

/// What becomes of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This text, to its end.
    Text(String),
    /// Text without an end.
    Endless,
    /// Status 500.
    Failure,
}

impl Answering {
    /// What is answered to a prompt, if it asks a known question.
    pub fn outcome(&self, prompt: &str, seed: u64) -> Option<Outcome> {
        let (index, item) = self.items.iter().enumerate().find(|(_, item)| item.is_asked_by(prompt))?;
        if self.dealt {
            return Some(match exam::fate(self, index, seed) {
                Fate::Fails => Outcome::Failure,
                Fate::Endless => Outcome::Endless,
                Fate::Right => Outcome::Text(item.answer(prompt, true)),
                Fate::Wrong => Outcome::Text(item.answer(prompt, false)),
            });
        }
        let mut chance = Chance::new(hash(&[seed, index as u64, hash_text(&item.question)]));
        let (fails, endless, right) = (chance.unit(), chance.unit(), chance.unit());
        Some(if fails < self.fail {
            Outcome::Failure
        } else if endless < self.truncate {
            Outcome::Endless
        } else {
            Outcome::Text(item.answer(prompt, right < self.right))
        })
    }
}

impl Known {
    fn is_asked_by(&self, prompt: &str) -> bool {
        let shown = |image: &String| picture::name(image).is_some_and(|name| prompt.contains(&name));
        prompt.contains(&self.question) && self.image.as_ref().is_none_or(shown)
    }

    fn answer(&self, prompt: &str, right: bool) -> String {
        if !self.choice {
            return if right { self.right.clone() } else { self.wrong.clone() };
        }
        let letters: Vec<(char, bool)> = prompt.lines().filter_map(|line| self.option(line)).collect();
        match letters.iter().find(|(_, is_right)| *is_right == right) {
            Some((letter, _)) => format!("Answer: {letter}"),
            None => self.wrong.clone(),
        }
    }

    /// The letter of a line like `B) text`, and whether its text is the right one.
    fn option(&self, line: &str) -> Option<(char, bool)> {
        let (letter, text) = line.trim().split_once(')')?;
        let mut letters = letter.trim_start_matches('(').chars();
        match (letters.next(), letters.next()) {
            (Some(letter @ 'A'..='Z'), None) => Some((letter, text.trim() == self.right.trim())),
            _ => None,
        }
    }
}

fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(right: f64, truncate: f64, fail: f64) -> Answering {
        let item = |n: usize| Known {
            question: format!("question number {n}."),
            image: None,
            right: format!("Answer: {n}"),
            wrong: "Answer: none".to_owned(),
            choice: false,
        };
        Answering { items: (0..400).map(item).collect(), right, truncate, fail, dealt: false }
    }

    fn share(answering: &Answering, of: impl Fn(&Outcome) -> bool) -> f64 {
        let outcomes = (0..400).filter_map(|n| answering.outcome(&format!("Now question number {n}."), 7));
        outcomes.filter(|o| of(o)).count() as f64 / 400.0
    }

    #[test]
    fn an_unknown_question_has_no_outcome() {
        assert_eq!(table(1.0, 0.0, 0.0).outcome("What is love?", 0), None);
    }

    #[test]
    fn the_shares_come_out_as_asked_for() {
        let answering = table(0.7, 0.2, 0.1);
        let right = |o: &Outcome| matches!(o, Outcome::Text(t) if t != "Answer: none");
        assert!((share(&answering, |o| *o == Outcome::Failure) - 0.1).abs() < 0.05);
        assert!((share(&answering, |o| *o == Outcome::Endless) - 0.18).abs() < 0.06);
        assert!((share(&answering, right) - 0.7 * 0.72).abs() < 0.08);
        assert_eq!(share(&table(1.0, 0.0, 0.0), right), 1.0);
        assert_eq!(share(&table(0.0, 0.0, 0.0), right), 0.0);
    }

    #[test]
    fn the_same_item_always_fares_the_same() {
        let answering = table(0.5, 0.1, 0.1);
        for n in 0..50 {
            let prompt = format!("question number {n}.");
            assert_eq!(answering.outcome(&prompt, 3), answering.outcome(&prompt, 3));
        }
    }

    #[test]
    fn a_choice_is_answered_by_the_letter_that_the_prompt_gives_it() {
        let item = Known {
            question: "Capital?".into(),
            image: None,
            right: "Paris".into(),
            wrong: no_idea(),
            choice: true,
        };
        let known = Answering { items: vec![item.clone()], right: 1.0, ..Answering::default() };
        let prompt = "Capital?\n\nA) Rome\nB) Bern\nC) Paris\nD) Oslo";
        assert_eq!(known.outcome(prompt, 0), Some(Outcome::Text("Answer: C".into())));
        let never = Answering { right: 0.0, ..known };
        assert_eq!(never.outcome(prompt, 0), Some(Outcome::Text("Answer: A".into())));
    }
}
