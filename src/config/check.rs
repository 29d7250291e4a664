//! Collects what is wrong with one file: [`Check`]. Must not know what the file is.
//!
//! 汇集单个文件中的错误。

use st_harness::{capability::Catalogue, diag::Problem, read::Origin, suggest};

use super::{base_url::BaseUrl, capabilities::Claim, reference::Template};

/// A file's origin, and what was found wrong so far. Each method returns what it could make of a value, and
/// notes why it could not.
pub(super) struct Check<'a> {
    origin: &'a Origin,
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    pub(super) fn new(origin: &'a Origin) -> Self {
        Self { origin, problems: Vec::new() }
    }

    pub(super) fn at(&mut self, pointer: &str, message: impl Into<String>) {
        self.problems.push(self.origin.problem(pointer, message));
    }

    /// Not the value but the key itself is wrong.
    pub(super) fn key_at(&mut self, pointer: &str, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(self.origin.key_problem(pointer, message).with_help(help));
    }

    pub(super) fn done<T>(self, value: Option<T>) -> Result<T, Vec<Problem>> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            _ => Err(self.problems),
        }
    }

    /// The value of `result`; its error is noted at `pointer`.
    pub(super) fn take<T>(&mut self, pointer: &str, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.at(pointer, message)).ok()
    }

    /// Text with references to the environment.
    pub(super) fn template(&mut self, pointer: &str, text: &str) -> Option<Template> {
        self.take(pointer, Template::parse(text))
    }

    /// An address, checked now where it is the same in every environment.
    pub(super) fn base_url(&mut self, pointer: &str, text: &str) -> Option<Template> {
        let template = self.template(pointer, text)?;
        match template.is_literal() {
            true => self.take(pointer, BaseUrl::parse(text)).map(|_| template),
            false => Some(template),
        }
    }

    /// What is claimed of a server, at `pointer/0`, `pointer/1`…
    pub(super) fn claims(&mut self, pointer: &str, texts: &[String], catalogue: &Catalogue) -> Vec<Claim> {
        let each = texts.iter().enumerate();
        each.filter_map(|(i, text)| self.take(&format!("{pointer}/{i}"), Claim::parse(text, catalogue)))
            .collect()
    }

    /// The value at `pointer`, which names `name`, has to name one of `known`.
    pub(super) fn known(&mut self, pointer: &str, what: &str, name: &str, known: &[&str]) -> bool {
        let found = known.contains(&name);
        if !found {
            let problem = self.origin.problem(pointer, format!("there is no {what} `{name}`"));
            self.problems.push(with_near(problem, what, name, known));
        }
        found
    }

    /// The key at `pointer`, which is `name`, has to be one of `known`.
    pub(super) fn known_key(&mut self, pointer: &str, what: &str, name: &str, known: &[&str]) -> bool {
        let found = known.contains(&name);
        if !found {
            let problem = self.origin.key_problem(pointer, format!("there is no {what} `{name}`"));
            self.problems.push(with_near(problem, what, name, known));
        }
        found
    }
}

/// `problem` with what to write instead of `name`: the nearest of `known`, and which there are.
pub(super) fn with_near(problem: Problem, what: &str, name: &str, known: &[&str]) -> Problem {
    let near = suggest::near(name, known.iter().copied());
    let problem = match suggest::question(&near) {
        Some(question) => problem.with_label(question),
        None => problem,
    };
    problem.with_help(match known {
        [] => format!("there is no {what} at all"),
        known if known.len() <= 12 => format!("there are: {}", suggest::list(known, "and")),
        known => format!("there are {} of them", known.len()),
    })
}
