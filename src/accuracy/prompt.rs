//! What an item is asked with. The sentence is the one that simple-evals uses for GPQA and MMLU, so that scores
//! can be compared. Must not know how an answer is read.
//!
//! 选择题提示词（与 simple-evals 相同）。

use crate::accuracy::data::{Item, LETTERS};

const INSTRUCTION: &str = "Answer the following multiple choice question. The last line of your response should \
                           be of the following format: 'Answer: $LETTER' (without quotes) where LETTER is one of \
                           ABCD. Think step by step before answering.";

/// The one user message for `item`: instruction, question, options; nothing stripped, no newline at its end.
pub fn multiple_choice(item: &Item) -> String {
    let options: Vec<_> =
        LETTERS.iter().zip(&item.choices).map(|(letter, choice)| format!("{letter}) {choice}")).collect();
    format!("{INSTRUCTION}\n\n{}\n\n{}", item.question, options.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::sha256_hex;

    #[test]
    fn the_template_is_that_of_simple_evals_to_the_byte() {
        let placeholders = Item {
            id: String::new(),
            question: "{Question}".to_owned(),
            choices: LETTERS.map(|letter| format!("{{{letter}}}")),
            answer: 'A',
        };
        let hash = sha256_hex(multiple_choice(&placeholders).as_bytes());
        assert!(hash.starts_with("d4d85337") && hash.ends_with("c8a6"), "{hash}");
    }
}
