//! What a caller asks of a run: [`Args`], validated. Both doors fill it, `cargo test` through
//! [`libtest::Cli`](crate::libtest::Cli) and the command through its own flags.
//! Must not know clap or libtest.
//!
//! 一次运行的参数（已校验）。

use camino::Utf8PathBuf;

/// What to do with which trials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Args {
    /// Which trials.
    pub filter: Filter,
    /// Print the names and leave.
    pub list: bool,
    /// What to do with trials that would be skipped.
    pub ignored: Ignored,
    /// How many trials at once; the session has a default.
    pub threads: Option<usize>,
    /// How the lines of the trials look.
    pub format: Format,
    /// When to colour them.
    pub color: Color,
    /// Where they go instead of standard output.
    pub log: Option<Utf8PathBuf>,
}

/// Which trials, by name. The same rules as libtest's, so that a habit holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Part of the name, or the whole of it with `exact`.
    pub text: Option<String>,
    /// Whether `text` and `skip` mean whole names.
    pub exact: bool,
    /// Names to leave out.
    pub skip: Vec<String>,
}

impl Filter {
    /// Whether a trial of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        let hit = |text: &str| if self.exact { name == text } else { name.contains(text) };
        self.text.as_deref().is_none_or(hit) && !self.skip.iter().any(|text| hit(text))
    }

    /// Whether every name is meant.
    pub fn is_empty(&self) -> bool {
        self.text.is_none() && self.skip.is_empty()
    }
}

/// What to do with trials that would be skipped because the server lacks something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ignored {
    /// Skip them, with the reason.
    #[default]
    Skip,
    /// Run them with the others, and let them fail.
    Include,
    /// Run only them.
    Only,
}

/// How the lines of the trials look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// A line each.
    #[default]
    Pretty,
    /// A character each.
    Terse,
    /// libtest's JSON events.
    Json,
}

/// When to colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: Option<&str>, exact: bool, skip: &[&str]) -> Filter {
        Filter { text: text.map(str::to_owned), exact, skip: skip.iter().map(|s| (*s).to_owned()).collect() }
    }

    #[test]
    fn a_filter_is_a_part_of_the_name() {
        assert!(filter(Some("chat"), false, &[]).matches("functional::chat_core::basic"));
        assert!(!filter(Some("perf"), false, &[]).matches("functional::chat_core::basic"));
        assert!(filter(None, false, &[]).matches("anything"));
    }

    #[test]
    fn exact_means_the_whole_name_for_the_filter_and_for_what_is_skipped() {
        assert!(!filter(Some("a::b"), true, &[]).matches("a::b::c"));
        assert!(filter(Some("a::b"), true, &[]).matches("a::b"));
        assert!(filter(None, true, &["a"]).matches("a::b"));
        assert!(!filter(None, false, &["a"]).matches("a::b"));
    }
}
