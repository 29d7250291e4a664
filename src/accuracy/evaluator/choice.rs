//! What GPQA and MMLU share: the prompt of a question with four options. The sentence is openai/simple-evals'
//! (MIT License, Copyright (c) 2024 OpenAI), so that scores can be compared. Must not know how an answer is read.
//!
//! 四选一题的提示词（与 simple-evals 逐字节一致）。

/// The letters of the options.
pub(super) const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

const INSTRUCTION: &str = "Answer the following multiple choice question. The last line of your response should \
                           be of the following format: 'Answer: $LETTER' (without quotes) where LETTER is one of \
                           ABCD. Think step by step before answering.";

/// Instruction, question, options; nothing stripped, no line feed at its end.
pub(super) fn prompt(question: &str, options: [&str; 4]) -> String {
    let [a, b, c, d] = options;
    format!("{INSTRUCTION}\n\n{question}\n\nA) {a}\nB) {b}\nC) {c}\nD) {d}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::sha256_hex;

    #[test]
    fn the_template_is_that_of_simple_evals_to_the_byte() {
        let template = prompt("{Question}", ["{A}", "{B}", "{C}", "{D}"]);
        let hash = sha256_hex(template.as_bytes());
        assert_eq!(template.len(), 254);
        assert!(hash.starts_with("d4d85337") && hash.ends_with("c8a6"), "{hash}");
    }
}
