//! How well a machine can lock a program up: [`Level`], and the evidence for it, [`Reach`]. Must not know how a
//! guard is put up.
//!
//! 沙箱级别及其证据。

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How well a program is locked up. Each level has the guards of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not at all: nothing is run.
    None,
    /// Bounded in time, memory, processes and files, without privileges; but it sees the machine's files and its
    /// network, and may signal processes of the same user. For a machine that is thrown away afterwards.
    Rlimits,
    /// And no network, and processes of its own that end with it; some other namespace is missing.
    Namespaces,
    /// And every namespace (user, mount, pid, net, ipc, uts), and of the files only Python's libraries, read-only.
    #[default]
    Full,
}

/// One thing that stands between a program and the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Guard {
    /// Its name: `user`, `pid`, `net`, `ipc`, `uts`, `files`, `limits_and_privileges`.
    pub name: String,
    /// Whether it stands.
    pub stands: bool,
    /// The call that put it up, or that failed and how.
    pub evidence: String,
}

/// What a machine was found to be able to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// The level reached.
    pub level: Level,
    /// What stands and what does not, each with its evidence.
    pub guards: Vec<Guard>,
}

/// The guards that [`Level::Namespaces`] cannot do without.
const ESSENTIAL: [&str; 2] = ["net", "pid"];

impl Level {
    /// As cases write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Rlimits => "rlimits",
            Self::Namespaces => "namespaces",
            Self::Full => "full",
        }
    }
}

impl Reach {
    /// Nothing at all, and why.
    pub(super) fn nothing(why: String) -> Self {
        let guard = Guard { name: "python".to_owned(), stands: false, evidence: why };
        Self { level: Level::None, guards: vec![guard] }
    }

    /// From the namespaces that were put up, and what was seen from within them: that limits are set and
    /// privileges gone, or what was found instead.
    pub(super) fn of(mut guards: Vec<Guard>, seen: Result<(), String>) -> Self {
        let stands = |name: &str| guards.iter().any(|guard| guard.name == name && guard.stands);
        let level = match seen {
            Err(_) => Level::None,
            Ok(()) if guards.iter().all(|guard| guard.stands) => Level::Full,
            Ok(()) if ESSENTIAL.into_iter().all(stands) => Level::Namespaces,
            Ok(()) => Level::Rlimits,
        };
        let evidence = seen.clone().err().unwrap_or_else(|| "setrlimit, capset; seen from within".to_owned());
        guards.push(Guard { name: "limits_and_privileges".to_owned(), stands: seen.is_ok(), evidence });
        Self { level, guards }
    }

    /// The namespaces that stand, by name.
    pub(super) fn standing(&self) -> Vec<&str> {
        let namespaces = self.guards.iter().filter(|guard| guard.name != "limits_and_privileges");
        namespaces.filter(|guard| guard.stands).map(|guard| guard.name.as_str()).collect()
    }

    /// In few words, for reports: `full`, `namespaces without user, files`, `rlimits only`, `none`.
    pub fn told(&self) -> String {
        let missing = || self.missing().map(|guard| guard.name.as_str()).collect::<Vec<_>>().join(", ");
        match self.level {
            Level::Namespaces => format!("namespaces without {}", missing()),
            Level::Rlimits => "rlimits only".to_owned(),
            Level::None | Level::Full => self.level.name().to_owned(),
        }
    }

    /// Whether `level` was reached.
    pub(super) fn allows(&self, level: Level) -> Result<(), String> {
        let asked = level.max(Level::Rlimits);
        if self.level >= asked {
            return Ok(());
        }
        let missing: Vec<_> =
            self.missing().map(|guard| format!("{} ({})", guard.name, guard.evidence)).collect();
        let lower = match self.level {
            Level::None => String::new(),
            reached => format!("; `sandbox: {}` would accept it", reached.name()),
        };
        Err(format!(
            "no code is run here: sandbox level `{}` is required, this machine has `{}`: {}{lower}",
            asked.name(),
            self.told(),
            missing.join(", ")
        ))
    }

    fn missing(&self) -> impl Iterator<Item = &Guard> {
        self.guards.iter().filter(|guard| !guard.stands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACES: [&str; 6] = ["user", "net", "ipc", "uts", "files", "pid"];

    fn reach(missing: &[&str], seen: Result<(), String>) -> Reach {
        let guard = |name: &&str| Guard {
            name: (*name).to_owned(),
            stands: !missing.contains(name),
            evidence: "unshare: not permitted".to_owned(),
        };
        Reach::of(NAMESPACES.iter().map(guard).collect(), seen)
    }

    #[test]
    fn the_level_follows_from_the_guards() {
        for (missing, level, told) in [
            (&[][..], Level::Full, "full"),
            (&["user"], Level::Namespaces, "namespaces without user"),
            (&["uts", "files"], Level::Namespaces, "namespaces without uts, files"),
            (&["net"], Level::Rlimits, "rlimits only"),
            (&["pid"], Level::Rlimits, "rlimits only"),
            (&NAMESPACES, Level::Rlimits, "rlimits only"),
        ] {
            let found = reach(missing, Ok(()));
            assert_eq!((found.level, found.told().as_str()), (level, told));
        }
        assert_eq!(reach(&[], Err("capset: capabilities are left".to_owned())).level, Level::None);
    }

    #[test]
    fn what_is_required_and_missing_is_told_with_its_evidence() {
        assert_eq!(reach(&[], Ok(())).allows(Level::Full), Ok(()));
        assert_eq!(reach(&["user"], Ok(())).allows(Level::Namespaces), Ok(()));
        assert_eq!(
            reach(&["user"], Ok(())).allows(Level::Full).unwrap_err(),
            "no code is run here: sandbox level `full` is required, this machine has `namespaces without user`: \
             user (unshare: not permitted); `sandbox: namespaces` would accept it"
        );
    }

    #[test]
    fn asking_for_no_sandbox_does_not_run_code_without_one() {
        let nothing = Reach::nothing("cannot start `python3`".to_owned());
        assert_eq!(
            nothing.allows(Level::None).unwrap_err(),
            "no code is run here: sandbox level `rlimits` is required, this machine has `none`: python (cannot \
             start `python3`)"
        );
        assert_eq!(reach(&["net"], Ok(())).allows(Level::None), Ok(()));
    }
}
