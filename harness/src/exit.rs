//! Exit codes, documented: [`Exit`]. Must not know how a run went, only what to call it.
//!
//! 退出码。

use std::process::ExitCode;

use crate::verdict::Verdict;

/// What the process returns. Under `cargo test` a red run returns libtest's 101 instead of 1, 4 and 6, because
/// cargo takes any other code for a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: nothing is red. Skipped trials are not red.
    Ok,
    /// 1: an expectation or a gate failed.
    Failed,
    /// 2: the command line, a case or a configuration file is wrong; nothing was run.
    Usage,
    /// 3: nothing is red, but a trial was inconclusive.
    Inconclusive,
    /// 4: a measurement was invalid.
    Invalid,
    /// 5: no trial was selected.
    NothingSelected,
    /// 6: infrastructure: the server was never ready, a transport fault, a deadline, a report not written.
    Errored,
    /// 130: Ctrl-C or SIGTERM; the reports tell what had finished.
    Interrupted,
}

impl Exit {
    /// What a run with these verdicts returns: the most serious one decides, and a failure of the server under
    /// test is more serious than one of the measurement.
    pub fn of(verdicts: impl IntoIterator<Item = Verdict>) -> Self {
        Self::worst(verdicts.into_iter().map(Self::from))
    }

    /// The most serious of several runs.
    pub fn worst(exits: impl IntoIterator<Item = Self>) -> Self {
        exits.into_iter().max_by_key(|exit| exit.weight()).unwrap_or(Self::Ok)
    }

    /// What a process that returned `code` says; nothing known is infrastructure.
    pub fn of_code(code: u8) -> Self {
        let all = [
            Self::Ok,
            Self::Failed,
            Self::Usage,
            Self::Inconclusive,
            Self::Invalid,
            Self::NothingSelected,
            Self::Interrupted,
        ];
        all.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Errored)
    }

    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Invalid => 4,
            Self::NothingSelected => 5,
            Self::Errored => 6,
            Self::Interrupted => 130,
        }
    }

    /// The number under `cargo test`.
    pub fn under_cargo_test(self) -> u8 {
        match self {
            Self::Failed | Self::Invalid | Self::Errored => 101,
            Self::Inconclusive => 0,
            other => other.code(),
        }
    }

    fn weight(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Inconclusive => 1,
            Self::Invalid => 2,
            Self::Errored => 3,
            Self::Failed => 4,
            Self::NothingSelected | Self::Usage => 5,
            Self::Interrupted => 6,
        }
    }
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            // A blocked trial is not red itself: `setup::server` is, once.
            Verdict::Passed | Verdict::Skipped | Verdict::Blocked => Self::Ok,
            Verdict::Failed => Self::Failed,
            Verdict::Errored => Self::Errored,
            Verdict::Invalid => Self::Invalid,
            Verdict::Inconclusive => Self::Inconclusive,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_serious_verdict_decides() {
        use Verdict::{Blocked, Errored, Failed, Inconclusive, Invalid, Passed, Skipped};
        assert_eq!(Exit::of([]), Exit::Ok);
        assert_eq!(Exit::of([Passed, Skipped, Blocked]), Exit::Ok);
        assert_eq!(Exit::of([Passed, Inconclusive]), Exit::Inconclusive);
        assert_eq!(Exit::of([Invalid, Inconclusive]), Exit::Invalid);
        assert_eq!(Exit::of([Errored, Invalid]), Exit::Errored);
        assert_eq!(Exit::of([Errored, Failed, Passed]), Exit::Failed);
    }

    #[test]
    fn every_code_is_read_back() {
        for code in [0, 1, 2, 3, 4, 5, 6, 130] {
            assert_eq!(Exit::of_code(code).code(), code);
        }
        assert_eq!(Exit::of_code(101), Exit::Errored);
    }
}
