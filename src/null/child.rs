//! A null server in a process of its own: [`Child`] starts this very program again, with the [`Script`] in its
//! environment; [`at_the_door`], the first thing that a `main` of ours does, then serves instead. It ends when its
//! standard input does, so that it never outlives whoever started it. Must not know what it is used for.
//!
//! 子进程形式的空服务器。

use std::{
    io::{self, BufRead as _, BufReader, Write as _},
    process::{ChildStdin, Command, ExitCode, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Duration,
};

use super::{Log, Script, serve};

const VARIABLE: &str = "VLLM_CIBENCH_NULL_SERVER";
/// How long a child may take to listen, or to write its log.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether this program's `main` would serve when it is started again.
static AT_THE_DOOR: AtomicBool = AtomicBool::new(false);

/// Serves where this process was started to; the exit code then. Otherwise notes that this program can be started so:
/// a program whose `main` does not begin with this would run itself, whatever it is, instead of a server.
pub fn at_the_door() -> Option<ExitCode> {
    let Ok(text) = std::env::var(VARIABLE) else {
        AT_THE_DOOR.store(true, Ordering::Relaxed);
        return None;
    };
    let served = serde_json::from_str(&text).map_err(io::Error::from).and_then(|script| {
        serve(&script, |line| {
            // A parent that does not read is none of our trouble.
            let _ = writeln!(io::stdout(), "{}", line.text());
        })
    });
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "null server: {error}");
            ExitCode::FAILURE
        }
    })
}

/// What a null server says on its standard output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Where it listens: the root of the server, without `/v1`.
    Url(String),
    /// The first request that generates was read.
    Began,
    /// As many answers as were expected have ended.
    Ended,
}

impl Line {
    /// As it is written.
    pub fn text(&self) -> &str {
        match self {
            Self::Url(url) => url,
            Self::Began => "began",
            Self::Ended => "ended",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "began" => Self::Began,
            "ended" => Self::Ended,
            url => Self::Url(url.to_owned()),
        }
    }
}

/// A null server that runs. Dropped, it ends.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    url: String,
    script: Script,
}

impl Child {
    /// Starts one.
    ///
    /// # Errors
    /// When this program cannot be started again as a server, or does not listen.
    pub fn start(script: &Script) -> Result<Self, String> {
        if !AT_THE_DOOR.load(Ordering::Relaxed) {
            return Err(
                "this program cannot be started as a null server: its `main` is not one of ours".to_owned()
            );
        }
        let text = serde_json::to_string(script).map_err(|error| error.to_string())?;
        let failed = |error: io::Error| format!("cannot start a null server: {error}");
        let mut process = Command::new(std::env::current_exe().map_err(failed)?)
            .env(VARIABLE, text)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let told =
                stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok));
            told.for_each(|line| drop(tell.send(Line::parse(&line))));
        });
        let mut child = Self { process, stdin, lines, url: String::new(), script: script.clone() };
        match child.lines.recv_timeout(PATIENCE) {
            Ok(Line::Url(url)) => child.url = url,
            other => return Err(format!("the null server does not listen: {other:?}")),
        }
        Ok(child)
    }

    /// The root of the server, without `/v1`.
    pub fn root_url(&self) -> &str {
        &self.url
    }

    /// The base URL of clients.
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.url)
    }

    /// What it says next, within `patience`.
    pub fn line(&self, patience: Duration) -> Option<Line> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                std::thread::sleep(patience);
                None
            }
        }
    }

    /// Ends it, and reads the log that its script asked for.
    ///
    /// # Errors
    /// When it does not end, or left no log.
    pub fn finish(mut self) -> Result<Log, String> {
        self.stdin.take();
        let begun = std::time::Instant::now();
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => return Err("the null server does not end".to_owned()),
                Err(error) => return Err(format!("the null server: {error}")),
            }
        };
        if !status.success() {
            return Err(format!("the null server failed: {status}"));
        }
        let Some(path) = &self.script.log else { return Ok(Log::default()) };
        let log = std::fs::File::open(path).and_then(|mut file| Log::read(&mut file));
        log.map_err(|error| format!("the null server's log {}: {error}", path.display()))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stdin.take();
        // Whatever keeps it: it must not stay.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
