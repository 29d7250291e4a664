//! Runs Python that nobody vouches for: [`Sandbox`] finds out once how well this machine can lock a program up,
//! [`Room`] is the permission to run programs at a [`Level`] that was reached, [`Run`] is what became of one.
//! Must not know where a program comes from or what it is worth.
//!
//! ```text
//! Sandbox::find ─probe─▶ Reach {level, a line of evidence for each guard}
//!       │ at_least(level) ──▶ Err: why not; nothing runs
//!       ▼
//!     Room::run(program) ─▶ python3 -c warden.py ─▶ namespaces, view of files ─▶ rlimits, no privileges ─▶ exec
//!       ▼
//!     Run {ending: Returned | Raised | LeftEarly | CpuTime | WallTime | Signal, cpu, wall, peak memory}
//! ```
//!
//! Whoever runs Python has Python: the guards are put up by `warden.py` through it, so that neither a helper of our
//! own nor a certain version of `unshare` is needed, and a crate that uses this as a library has the same sandbox.
//! The warden refuses by itself where a guard that the room stands for is missing.
//!
//! What no sandbox can tell: an answer that runs in the same interpreter as its test can cheat that test, for
//! instance with a value that equals everything, or by looking for the nonce. Ending early, printing what a good
//! program would print, or guessing is not believed.
//!
//! 沙箱：用命名空间与资源限制隔离运行不可信的 Python 程序；级别只探测一次并有据可查。

mod level;
mod limits;
mod report;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::{process::Stdio, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::{OnceCell, Semaphore},
};

pub use level::{Guard, Level, Reach};
pub use limits::Limits;
pub use report::{Ending, Run};

use report::{Nonce, Refusal};

/// What puts up the guards, in Python.
const WARDEN: &str = include_str!("warden.py");

/// What the probe runs: it looks from within at what the guards are said to do.
const PROBE: &str = include_str!("probe.py");

/// How much longer than its wall-clock limit a program's warden may take: it starts Python, and ends by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest report that is read.
const LONGEST: u64 = 64 * 1024;

/// How well this machine can lock a Python program up.
#[derive(Debug)]
pub struct Sandbox {
    python: Utf8PathBuf,
    reach: Reach,
    /// As many programs at once as there are processors: more would only take time from each other.
    places: Semaphore,
}

/// The permission to run programs: there is none below the level that it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    sandbox: &'a Sandbox,
}

/// Why nothing can be told about a program: the sandbox's fault, and not the program's.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The interpreter did not start.
    #[error("cannot start `{python}`: {source}")]
    Start {
        /// What was to be started.
        python: Utf8PathBuf,
        /// Why it was not.
        source: std::io::Error,
    },
    /// A guard that stood when it was probed does not stand now. The program was not run.
    #[error("the sandbox refused to run the program: {0}")]
    Refused(String),
    /// The warden said nothing that can be read.
    #[error("the sandbox gave no report ({0})")]
    NoReport(String),
    /// The warden did not come back. It was killed, and everything in it.
    #[error("the sandbox did not come back within {0:?} and was killed")]
    Lost(Duration),
}

impl Sandbox {
    /// The sandbox of this process, with the `python3` on the path. The guards are tried when it is first asked for.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Sandbox> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::find("python3")).await
    }

    /// Tries `python` (a path, or a name on the path) and the guards. What is missing is in the [`Reach`].
    pub async fn find(python: &str) -> Self {
        let most = std::thread::available_parallelism().map_or(1, usize::from);
        let found = |python: Utf8PathBuf, reach| Self { python, reach, places: Semaphore::new(most) };
        let located = match locate(python).await {
            Ok(located) => located,
            Err(why) => return found(python.into(), Reach::nothing(why)),
        };
        let limits = Limits::default();
        let reach = match run(&located, PROBE, &[], &limits).await {
            Err(error) => Reach::nothing(error.to_string()),
            Ok((guards, Err(refusal))) => Reach::of(guards, Err(refusal.to_string())),
            Ok((guards, Ok(run))) => Reach::of(guards, run.proven()),
        };
        found(located, reach)
    }

    /// What was found out about this machine.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The permission to run programs, where at least `level` was reached.
    ///
    /// # Errors
    /// One sentence on what is missing and why, and what could be done.
    pub fn at_least(&self, level: Level) -> Result<Room<'_>, String> {
        match self.reach.allows(level) {
            Ok(()) => Ok(Room { sandbox: self }),
            Err(why) => Err(why),
        }
    }
}

impl Room<'_> {
    /// Runs `program` as `exec(program, {})` would, and tells what became of it. Waits for a free place first.
    /// Where this is dropped, the program and all that it started are killed.
    ///
    /// # Errors
    /// Only for what is not the program's fault.
    pub async fn run(&self, program: &str, limits: &Limits) -> Result<Run, SandboxError> {
        let Self { sandbox } = self;
        let _place = sandbox.places.acquire().await.expect("the semaphore is never closed");
        let guards = sandbox.reach.standing();
        let (_, ended) = run(&sandbox.python, program, &guards, limits).await?;
        ended.map_err(|refusal| SandboxError::Refused(refusal.to_string()))
    }
}

/// The interpreter behind `python`, which may be a name, a link or a script that chooses one.
async fn locate(python: &str) -> Result<Utf8PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("only Linux has these guards".to_owned());
    }
    let asked = Command::new(python)
        .args(["-I", "-S", "-c", "import sys; print(sys.executable)"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let answer = match tokio::time::timeout(PATIENCE, asked).await {
        Err(_) => return Err(format!("`{python}` did not answer within {PATIENCE:?}")),
        Ok(Err(error)) => return Err(format!("cannot start `{python}`: {error}; install Python 3")),
        Ok(Ok(answer)) => answer,
    };
    let said = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    match answer.status.success() && Utf8Path::new(&said).is_absolute() {
        true => Ok(said.into()),
        false => {
            Err(format!("`{python}` is no Python 3: {}", String::from_utf8_lossy(&answer.stderr).trim()))
        }
    }
}

/// Runs one program behind the `requires` guards, and whatever other guards can be put up.
async fn run(
    python: &Utf8Path,
    program: &str,
    requires: &[&str],
    limits: &Limits,
) -> Result<(Vec<Guard>, Result<Run, Refusal>), SandboxError> {
    let nonce = Nonce::fresh().map_err(|error| SandboxError::NoReport(format!("/dev/urandom: {error}")))?;
    let order = json!({"requires": requires, "limits": limits, "program_bytes": program.len()});
    let mut child = Command::new(python)
        .args(["-I", "-S", "-B", "-c", WARDEN, &order.to_string()])
        // Nothing of ours is for the program to read.
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Ctrl-C on our terminal is for us to deal with.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| SandboxError::Start { python: python.to_owned(), source })?;
    let limit = Duration::from_secs(limits.wall_s) + PATIENCE;
    let text = tokio::time::timeout(limit, converse(&mut child, program, &nonce))
        .await
        .map_err(|_| SandboxError::Lost(limit))?
        .map_err(SandboxError::NoReport)?;
    report::read(&text, &nonce, limits).map_err(SandboxError::NoReport)
}

/// Gives the warden its program and takes its report. Our end of its input stays open until then: when it closes,
/// the warden takes us for dead and kills the program.
async fn converse(child: &mut Child, program: &str, nonce: &Nonce) -> Result<String, String> {
    let missing = || "its pipes are missing".to_owned();
    let mut input = child.stdin.take().ok_or_else(missing)?;
    let (stdout, stderr) =
        (child.stdout.take().ok_or_else(missing)?, child.stderr.take().ok_or_else(missing)?);
    let give = async {
        // Where it ended too early to take all, what it says tells why.
        if input.write_all(program.as_bytes()).await.is_ok() {
            let _ = input.write_all(nonce.text().as_bytes()).await;
            let _ = input.flush().await;
        }
    };
    let ((), report, complaint) = tokio::join!(give, all(stdout), all(stderr));
    let status = child.wait().await.map_err(|error| error.to_string())?;
    drop(input);
    match status.success() && !report.is_empty() {
        true => Ok(report),
        false => Err(format!("{status}: {}", complaint.trim().lines().last().unwrap_or("it said nothing"))),
    }
}

/// What `pipe` carries until it closes, cut where it is longer than any report.
async fn all(pipe: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // What was read before a fault is still what was said.
    let _ = pipe.take(LONGEST).read_to_end(&mut bytes).await;
    String::from_utf8_lossy(&bytes).into_owned()
}
