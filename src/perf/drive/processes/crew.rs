//! The processes of a load as their parent sees them: [`Crew`]. They end when their standard input does, however their
//! parent has gone. Must not know what they do.
//!
//! 子进程的启动、通信与回收。

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

use super::{
    PROCESS, child,
    wire::{Order, Told},
};
use crate::client::Stamp;

/// How long a process may take to end once its standard input has.
const PATIENCE: Duration = Duration::from_secs(10);

/// Several processes of this program.
pub(super) struct Crew {
    members: Vec<Member>,
    heard: Receiver<(usize, Heard)>,
}

struct Member {
    process: Child,
    /// Closed to end it.
    orders: Option<ChildStdin>,
}

enum Heard {
    Told(Told),
    /// Its standard output has ended, or holds something else.
    Gone(String),
}

impl Crew {
    /// Starts so many.
    ///
    /// # Errors
    /// In words.
    pub(super) fn start(count: usize) -> Result<Self, String> {
        if !child::is_at_the_door() {
            return Err(
                "this program cannot carry load in processes of its own: its `main` must be `vllm_cibench::st(…).main()` \
                 or the command's; take `concurrency_backend: asyncio`"
                    .to_owned(),
            );
        }
        let (take, heard) = channel();
        let members = (0..count).map(|number| member(number, &take)).collect::<Result<_, _>>()?;
        Ok(Self { members, heard })
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Tells one of them.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn tell(&mut self, number: usize, order: &Order) -> Result<(), String> {
        let text = serde_json::to_string(order).map_err(|error| error.to_string())?;
        let orders = self.members[number].orders.as_mut();
        let told = orders.map(|orders| writeln!(orders, "{text}").and_then(|()| orders.flush()));
        match told {
            Some(Ok(())) => Ok(()),
            _ => Err(format!("process {number} of the load does not listen any more")),
        }
    }

    /// Tells all of them.
    ///
    /// # Errors
    /// When one is gone.
    pub(super) fn tell_all(&mut self, order: &Order) -> Result<(), String> {
        (0..self.len()).try_for_each(|number| self.tell(number, order))
    }

    /// What one of them tells, if one does within `patience`, and which.
    ///
    /// # Errors
    /// When one has gone.
    pub(super) fn hear(&self, patience: Duration) -> Result<Option<(usize, Told)>, String> {
        match self.heard.recv_timeout(patience) {
            Ok((number, Heard::Told(told))) => Ok(Some((number, told))),
            Ok((number, Heard::Gone(why))) => Err(format!("process {number} of the load ended early: {why}")),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err("all processes of the load have ended".to_owned()),
        }
    }
}

fn member(number: usize, take: &Sender<(usize, Heard)>) -> Result<Member, String> {
    let told = |error: std::io::Error| format!("process {number} of the load cannot be started: {error}");
    let program = std::env::current_exe().map_err(told)?;
    let mut process = Command::new(program)
        .arg0(format!("{PROCESS}{number}"))
        .env(child::VARIABLE, Stamp::zero_ns().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // A terminal's Ctrl-C is for the parent, which then tells them.
        .process_group(0)
        .spawn()
        .map_err(told)?;
    let (orders, output) = (process.stdin.take(), process.stdout.take());
    let take = take.clone();
    if let Some(output) = output {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let heard = match line.map_err(|error| error.to_string()) {
                    Ok(text) => match serde_json::from_str(&text) {
                        Ok(told) => Heard::Told(told),
                        Err(error) => Heard::Gone(format!("it said what nobody understands: {error}")),
                    },
                    Err(error) => Heard::Gone(error),
                };
                if take.send((number, heard)).is_err() {
                    return;
                }
            }
            let _ = take.send((number, Heard::Gone("its standard output has ended".to_owned())));
        });
    }
    Ok(Member { process, orders })
}

impl Drop for Crew {
    fn drop(&mut self) {
        for member in &mut self.members {
            member.orders = None;
        }
        let begun = Instant::now();
        for member in &mut self.members {
            while matches!(member.process.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(5));
            }
            // One that has ended is none that could be killed: neither is an error here.
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
    }
}
