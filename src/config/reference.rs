//! Text with references to the environment: [`Template`] is checked when a file is read and filled in when the
//! file is chosen, so that a scenario nobody chose may name variables that nobody set.
//! Must not know where the text stands.
//!
//! 引用环境变量的文本模板。

use super::environment::Environment;

/// `${NAME}`, `${NAME:-otherwise}` (which may hold references itself), `$${` for a literal `${`. A `$` before
/// anything else is a dollar sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable { name: String, otherwise: Option<Vec<Part>> },
}

impl Template {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// What is wrong with a reference, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (parts, rest) = parts(text, false)?;
        debug_assert!(rest.is_empty(), "outside a reference only the end of the text ends it");
        Ok(Self { text: text.to_owned(), parts })
    }

    /// As it was written, references and all.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// Whether it says the same in every environment.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The text with every reference filled in.
    ///
    /// # Errors
    /// Names the first variable that is not set and has no `:-`.
    pub fn fill(&self, environment: &Environment) -> Result<String, String> {
        fill(&self.parts, environment)
    }
}

fn fill(parts: &[Part], environment: &Environment) -> Result<String, String> {
    let mut out = String::new();
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Variable { name, otherwise } => match (environment.get(name), otherwise) {
                (Some(value), _) => out.push_str(value),
                (None, Some(otherwise)) => out.push_str(&fill(otherwise, environment)?),
                (None, None) => return Err(format!("the environment variable {name} is not set")),
            },
        }
    }
    Ok(out)
}

/// The parts of `text` up to its end, or (`inside` a reference) up to the `}` that closes it.
fn parts(mut text: &str, inside: bool) -> Result<(Vec<Part>, &str), String> {
    let mut found = Vec::new();
    let mut plain = String::new();
    while let Some(next) = text.chars().next() {
        if inside && next == '}' {
            break;
        } else if let Some(after) = text.strip_prefix("$${") {
            plain.push_str("${");
            text = after;
        } else if let Some(after) = text.strip_prefix("${") {
            if !plain.is_empty() {
                found.push(Part::Text(std::mem::take(&mut plain)));
            }
            let (part, rest) = reference(after)?;
            found.push(part);
            text = rest;
        } else {
            plain.push(next);
            text = &text[next.len_utf8()..];
        }
    }
    if !plain.is_empty() {
        found.push(Part::Text(plain));
    }
    Ok((found, text))
}

/// One reference, from after its `${` to after its `}`.
fn reference(text: &str) -> Result<(Part, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(
            "expected the name of an environment variable after `${`; write `$${` for a literal `${`".into(),
        );
    }
    let (otherwise, rest) = match rest.strip_prefix(":-") {
        Some(rest) => parts(rest, true).map(|(parts, rest)| (Some(parts), rest))?,
        None => (None, rest),
    };
    let Some(rest) = rest.strip_prefix('}') else {
        return Err(format!(
            "`${{{name}` has no closing `}}`; expected `${{{name}}}` or `${{{name}:-otherwise}}`"
        ));
    };
    Ok((Part::Variable { name: name.to_owned(), otherwise }, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let environment = Environment::from_pairs([("HOME", "/home/a"), ("KEY", "k}")]);
        Template::parse(text)?.fill(&environment)
    }

    #[test]
    fn references_are_filled_in() {
        for (text, expected) in [
            ("", ""),
            ("plain $5 {port} }", "plain $5 {port} }"),
            ("${KEY}", "k}"),
            ("a${HOME}b${HOME}", "a/home/ab/home/a"),
            ("${NOT_SET:-x}", "x"),
            ("${NOT_SET:-}", ""),
            ("${REAL:-${HOME}/.cache/real}/bin", "/home/a/.cache/real/bin"),
            ("$${HOME}", "${HOME}"),
            ("模型 ${HOME}", "模型 /home/a"),
        ] {
            assert_eq!(filled(text), Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_says_why() {
        for (text, expected) in [
            ("${NOT_SET}", "the environment variable NOT_SET is not set"),
            ("${A:-${B}}", "the environment variable B is not set"),
            ("${KEY", "`${KEY` has no closing `}`; expected `${KEY}` or `${KEY:-otherwise}`"),
            ("${KEY-x}", "`${KEY` has no closing `}`; expected `${KEY}` or `${KEY:-otherwise}`"),
            ("${A:-x", "`${A` has no closing `}`; expected `${A}` or `${A:-otherwise}`"),
            (
                "${}",
                "expected the name of an environment variable after `${`; write `$${` for a literal `${`",
            ),
            (
                "${1A}",
                "expected the name of an environment variable after `${`; write `$${` for a literal `${`",
            ),
        ] {
            assert_eq!(filled(text), Err(expected.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn escaped_text_comes_back_as_it_was(text in r"[\PC$\{\}]{0,40}") {
            // `$` before an escape would join it, so the law is stated for text without `$$`.
            prop_assume!(!text.contains("$$"));
            let template = Template::parse(&text.replace("${", "$${")).expect("no reference is left");
            prop_assert!(template.is_literal());
            prop_assert_eq!(template.fill(&Environment::default()), Ok(text));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = Template::parse(&text);
        }
    }
}
