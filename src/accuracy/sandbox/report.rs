//! What became of a program: [`Run`], from the line that the warden writes. Nothing in that line is believed to be
//! good news without the [`Nonce`]. Must not know how a program is started.
//!
//! 运行结果；没有随机数证明就不算通过。

use std::{collections::BTreeMap, io::Read};

use serde::{Deserialize, Serialize};

use super::{Guard, Limits};

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It ran to its end: the one good ending.
    Returned,
    /// It raised, `SystemExit` included: type and message.
    Raised(String),
    /// Its process ended before its end was reached, with this status, 0 or not.
    LeftEarly(i32),
    /// It used up its time on a processor.
    CpuTime,
    /// It used up its time by the clock.
    WallTime,
    /// This signal ended it: 11 where its stack ran over.
    Signal(i32),
}

/// What became of a program, and what it used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// How it ended.
    pub ending: Ending,
    /// From its start to its end, in nanoseconds.
    pub wall_ns: u64,
    /// On a processor, in nanoseconds; unknown where it was killed from outside.
    pub cpu_ns: Option<u64>,
    /// The most memory that it had at once, in bytes; unknown where it was killed from outside.
    pub peak_bytes: Option<u64>,
}

/// What proves that a program ran to its end: nobody knows it before.
#[derive(Debug)]
pub(super) struct Nonce(String);

/// Why a program was not run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// These guards are missing.
    #[error("without {}", .0.join(", "))]
    Missing(Vec<String>),
    /// Limits or privileges could not be set.
    #[error("{0}")]
    Unguarded(String),
}

impl Run {
    /// Whether it ran to its end; otherwise in few words how it ended.
    ///
    /// # Errors
    /// Every ending but [`Ending::Returned`].
    pub fn proven(&self) -> Result<(), String> {
        match &self.ending {
            Ending::Returned => Ok(()),
            ending => Err(ending.told()),
        }
    }
}

impl Ending {
    /// In few words.
    pub fn told(&self) -> String {
        match self {
            Self::Returned => "ran to its end".to_owned(),
            Self::Raised(what) => format!("raised {what}"),
            Self::LeftEarly(status) => format!("left with status {status} before its end"),
            Self::CpuTime => "used up its processor time".to_owned(),
            Self::WallTime => "did not end in time".to_owned(),
            Self::Signal(11) => {
                "was ended by signal 11 (its stack ran over, or memory was misused)".to_owned()
            }
            Self::Signal(number) => format!("was ended by signal {number}"),
        }
    }
}

impl Nonce {
    /// One that nobody can guess.
    pub(super) fn fresh() -> std::io::Result<Self> {
        let mut bytes = [0_u8; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// As it is sent.
    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// What the warden writes.
#[derive(Deserialize)]
struct Report {
    guards: BTreeMap<String, (bool, String)>,
    #[serde(default)]
    refused: Vec<String>,
    #[serde(default)]
    wall: bool,
    #[serde(default)]
    lost: bool,
    #[serde(default)]
    wall_ns: u64,
    exit: Option<i32>,
    signal: Option<i32>,
    cpu_ns: Option<u64>,
    peak_bytes: Option<u64>,
    said: Option<String>,
}

/// What the subject says before anything untrusted runs.
const GUARDED: &str = "guarded\n";

/// Reads the warden's line: the guards that stand, and what became of the program or why it was not run.
///
/// # Errors
/// Where it is no report.
pub(super) fn read(
    text: &str,
    nonce: &Nonce,
    limits: &Limits,
) -> Result<(Vec<Guard>, Result<Run, Refusal>), String> {
    let mut report: Report =
        serde_json::from_str(text).map_err(|error| format!("expected a report, found {text:?}: {error}"))?;
    let guards = std::mem::take(&mut report.guards)
        .into_iter()
        .map(|(name, (stands, evidence))| Guard { name, stands, evidence })
        .collect();
    if !report.refused.is_empty() {
        return Ok((guards, Err(Refusal::Missing(report.refused))));
    }
    let ending = match ending(&report, nonce, limits) {
        Ok(ending) => ending,
        Err(refusal) => return Ok((guards, Err(refusal))),
    };
    let Report { wall_ns, cpu_ns, peak_bytes, .. } = report;
    Ok((guards, Ok(Run { ending, wall_ns, cpu_ns, peak_bytes })))
}

/// The signal of a process that used up its time on a processor.
const SIGXCPU: i32 = 24;

fn ending(report: &Report, nonce: &Nonce, limits: &Limits) -> Result<Ending, Refusal> {
    if report.wall {
        return Ok(Ending::WallTime);
    }
    if report.lost {
        // Its warden is gone: only a program can have done that, and only where it has no processes of its own.
        return Ok(Ending::Signal(9));
    }
    let said = report.said.as_deref().unwrap_or_default();
    let Some(said) = said.strip_prefix(GUARDED) else {
        return Err(Refusal::Unguarded(said.to_owned()));
    };
    // The kill comes a second after the limit: that the two clocks differ by some milliseconds does not matter.
    let cpu_is_spent = report.cpu_ns.is_some_and(|cpu| cpu >= limits.cpu_s * 1_000_000_000);
    Ok(match (report.exit, report.signal) {
        (Some(0), _) if said == format!("returned {}", nonce.0) => Ending::Returned,
        (Some(1), _) if said.starts_with("raised ") => Ending::Raised(said["raised ".len()..].to_owned()),
        (Some(status), _) => Ending::LeftEarly(status),
        (None, Some(SIGXCPU)) => Ending::CpuTime,
        (None, Some(9)) if cpu_is_spent => Ending::CpuTime,
        (None, number) => Ending::Signal(number.unwrap_or(9)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(report: &str) -> Result<Run, Refusal> {
        let text = format!(r#"{{"guards":{{"net":[true,"unshare(CLONE_NEWNET)"]}},"wall_ns":5,{report}}}"#);
        let (guards, run) = read(&text, &Nonce("f00d".to_owned()), &Limits::default()).unwrap();
        assert_eq!(guards[0].evidence, "unshare(CLONE_NEWNET)");
        run
    }

    fn ending(report: &str) -> Ending {
        ended(report).unwrap().ending
    }

    #[test]
    fn only_the_nonce_and_status_0_together_are_a_good_end() {
        assert_eq!(ending(r#""exit":0,"said":"guarded\nreturned f00d""#), Ending::Returned);
        assert_eq!(ending(r#""exit":0,"said":"guarded\nreturned f00d0""#), Ending::LeftEarly(0));
        assert_eq!(ending(r#""exit":0,"said":"guarded\nreturned ""#), Ending::LeftEarly(0));
        assert_eq!(ending(r#""exit":3,"said":"guarded\nreturned f00d""#), Ending::LeftEarly(3));
        assert_eq!(ending(r#""exit":0,"said":"guarded\n""#), Ending::LeftEarly(0));
    }

    #[test]
    fn other_ends_keep_apart_what_people_look_for() {
        let raised = ending(r#""exit":1,"said":"guarded\nraised KeyError: 'a'""#);
        assert_eq!(raised, Ending::Raised("KeyError: 'a'".to_owned()));
        assert_eq!(ending(r#""signal":24,"said":"guarded\n","cpu_ns":2997000000"#), Ending::CpuTime);
        assert_eq!(ending(r#""signal":9,"said":"guarded\n","cpu_ns":3990000000"#), Ending::CpuTime);
        assert_eq!(ending(r#""signal":9,"said":"guarded\n","cpu_ns":1000"#), Ending::Signal(9));
        assert_eq!(ending(r#""signal":11,"said":"guarded\n""#), Ending::Signal(11));
        assert_eq!(ending(r#""wall":true"#), Ending::WallTime);
        let run = ended(r#""signal":11,"said":"guarded\n""#).unwrap();
        assert_eq!((run.wall_ns, run.cpu_ns), (5, None));
        assert!(run.proven().unwrap_err().starts_with("was ended by signal 11"));
    }

    #[test]
    fn a_program_that_was_not_run_is_no_wrong_program() {
        assert_eq!(ended(r#""refused":["net"]"#), Err(Refusal::Missing(vec!["net".to_owned()])));
        let unguarded = ended(r#""exit":97,"said":"capset: no""#);
        assert_eq!(unguarded, Err(Refusal::Unguarded("capset: no".to_owned())));
    }

    #[test]
    fn what_is_no_report_is_shown() {
        let nonce = Nonce::fresh().unwrap();
        let told = read("Traceback", &nonce, &Limits::default()).unwrap_err();
        assert!(told.starts_with(r#"expected a report, found "Traceback""#), "{told}");
        assert_ne!(nonce.text(), Nonce::fresh().unwrap().text());
    }
}
