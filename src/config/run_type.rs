//! How much is run: [`RunType`]. Must not know what runs.
//!
//! 运行类型：smoke、pr、daily。

use std::fmt;

use st_harness::suggest;

/// Smoke where nobody names one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunType {
    /// All functional cases; perf and accuracy only show that they work. Never pushed.
    #[default]
    Smoke,
    /// For a change.
    Pr,
    /// For every night; pushed.
    Daily,
}

impl RunType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Smoke, Self::Pr, Self::Daily];

    /// As it is written; also the name of the perf and accuracy files that belong to it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Pr => "pr",
            Self::Daily => "daily",
        }
    }

    /// The `run_type` label of results. There are two: a smoke run is labelled `pr`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Smoke | Self::Pr => "pr",
            Self::Daily => "daily",
        }
    }

    /// The run type that `text` names.
    ///
    /// # Errors
    /// What was expected instead, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|known| known.as_str() == text);
        found.ok_or_else(|| {
            let near = suggest::near(text, Self::ALL.map(Self::as_str));
            let hint = near.first().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("expected `smoke`, `pr` or `daily`, found `{text}`{hint}")
        })
    }
}

impl fmt::Display for RunType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_type_is_read_back_from_its_name() {
        for known in RunType::ALL {
            assert_eq!(RunType::parse(known.as_str()), Ok(known));
        }
    }

    #[test]
    fn an_unknown_one_names_what_there_is() {
        assert_eq!(
            RunType::parse("dailly"),
            Err("expected `smoke`, `pr` or `daily`, found `dailly`; did you mean `daily`?".to_owned())
        );
    }

    #[test]
    fn a_smoke_run_is_labelled_pr() {
        assert_eq!(RunType::ALL.map(RunType::label), ["pr", "pr", "daily"]);
    }
}
