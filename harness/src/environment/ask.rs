//! A question to another program that may never answer, such as a driver's tool on a machine whose device hangs:
//! [`ask`] waits a few seconds at most. Must not know what is asked.
//!
//! 有时限的外部命令：设备卡死时也不拖住运行。

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// Patience with one program.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// What `program` prints, without blanks around it; nothing where it is not there, fails, or takes too long.
pub(super) fn ask(program: &str, args: &[&str]) -> Option<String> {
    within(PATIENCE, program, args)
}

fn within(patience: Duration, program: &str, args: &[&str]) -> Option<String> {
    let until = Instant::now() + patience;
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let text = read(&mut child);
    while Instant::now() < until {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => {
                let left = until.saturating_duration_since(Instant::now());
                return text?.recv_timeout(left).ok();
            }
            Ok(None) => thread::sleep(PAUSE),
            Ok(Some(_)) | Err(_) => return None,
        }
    }
    let _ = child.kill();
    // One that hangs inside its driver goes only when that lets go: nobody waits for it here.
    thread::spawn(move || child.wait());
    None
}

/// What it prints, once its output is closed: by it, and by all that it may have started.
fn read(child: &mut Child) -> Option<mpsc::Receiver<String>> {
    let mut out = child.stdout.take()?;
    let (send, text) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = out.read_to_end(&mut bytes);
        // Nobody may listen any longer.
        let _ = send.send(String::from_utf8_lossy(&bytes).trim().to_owned());
    });
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Option<String> {
        within(Duration::from_secs(20), "sh", &["-c", script])
    }

    #[test]
    fn an_answer_is_what_was_printed_by_a_program_that_ended_well() {
        assert_eq!(shell("echo ' NVIDIA L4 '; echo oops >&2").as_deref(), Some("NVIDIA L4"));
        assert_eq!(shell("echo half; exit 9"), None);
        assert_eq!(ask("/no/such/program", &[]), None);
    }

    #[test]
    fn one_that_hangs_is_not_waited_for_nor_one_that_leaves_its_output_open() {
        let begun = Instant::now();
        for script in ["exec sleep 600", "sleep 30 & exit 0"] {
            assert_eq!(within(Duration::from_millis(300), "sh", &["-c", script]), None, "{script}");
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}
