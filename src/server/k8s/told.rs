//! Progress that does not repeat itself: [`Told`]. Must not know what the lines are about.
//!
//! 进度去重：内容未变时隔一段时间才再说一次。

use std::time::{Duration, Instant};

/// An unchanged line is repeated this often, so that a person sees that the wait goes on.
const REPEAT: Duration = Duration::from_secs(10);

/// What was said last.
#[derive(Debug, Default)]
pub struct Told(Option<(String, Instant)>);

impl Told {
    /// Says `line` where it is new, or was last said long enough ago.
    pub fn say(&mut self, line: &str, progress: &(dyn Fn(&str) + Send + Sync)) {
        let known = matches!(&self.0, Some((last, at)) if last == line && at.elapsed() < REPEAT);
        if !known {
            progress(line);
            self.0 = Some((line.to_owned(), Instant::now()));
        }
    }

    /// The last line.
    pub fn last(&self) -> Option<&str> {
        self.0.as_ref().map(|(line, _)| line.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn what_has_not_changed_is_not_said_again_at_once() {
        let said = Mutex::new(Vec::new());
        let mut told = Told::default();
        for line in ["Pending", "Pending", "Running", "Pending"] {
            told.say(line, &|line| said.lock().unwrap().push(line.to_owned()));
        }
        assert_eq!(*said.lock().unwrap(), ["Pending", "Running", "Pending"]);
        assert_eq!(told.last(), Some("Pending"));
    }
}
