//! What a person sees while load is made: [`Progress`], a bar on a terminal and a line now and then elsewhere, both on
//! standard error: standard output is libtest's. It runs on the thread that keeps the records, never on one that makes
//! load. Must not know how load is made.
//!
//! 实时进度：终端用进度条，其他环境用文本行。

use std::{
    collections::VecDeque,
    io::{IsTerminal as _, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    client::Stamp,
    perf::{
        quantile::Sorted,
        record::Record,
        schedule::{Pace, Schedule},
    },
};

/// How often something is shown at most: on a terminal, and elsewhere.
const BAR_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The live 99th percentile is that of so many requests, the latest.
const RECENT: usize = 1000;

/// Follows one trial.
pub(super) struct Progress {
    tally: Tally,
    view: View,
    shown: Stamp,
}

enum View {
    Bar(ProgressBar),
    Lines { out: Box<dyn Write + Send>, every: Duration, any: bool },
}

impl Progress {
    /// For the trial `id`, on standard error.
    pub(super) fn new(id: &str, schedule: &Schedule, stop: Option<Duration>) -> Self {
        let view = if std::io::stderr().is_terminal() {
            // libtest may have left the beginning of a line there: a bar of our own takes the next one.
            if std::io::stdout().is_terminal() {
                let _ = writeln!(std::io::stderr());
            }
            let length = u64::from(schedule.warmup() + schedule.measured());
            let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
            // Lines of their own, since one alone would be wider than 80 columns.
            let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {prefix:46!}\n  {msg}");
            let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
            View::Bar(bar.with_style(style).with_prefix(id.strip_prefix("perf::").unwrap_or(id).to_owned()))
        } else {
            View::Lines { out: Box::new(std::io::stderr()), every: LINE_EVERY, any: false }
        };
        Self { tally: Tally::new(id, schedule, stop), view, shown: Stamp::now() }
    }

    /// How long the caller may wait for the next record before it calls [`show`](Self::show).
    pub(super) fn every(&self) -> Duration {
        match &self.view {
            View::Bar(_) => BAR_EVERY,
            View::Lines { every, .. } => *every,
        }
    }

    /// Takes a request that has ended.
    pub(super) fn take(&mut self, record: &Record) {
        self.tally.take(record);
    }

    /// Shows how things stand, unless that was shown a moment ago.
    pub(super) fn show(&mut self, in_flight: u32) {
        let now = Stamp::now();
        if now.since(self.shown) < self.every() {
            return;
        }
        self.shown = now;
        match &mut self.view {
            View::Bar(bar) => {
                bar.set_length(self.tally.total);
                bar.set_position(self.tally.ended);
                bar.set_message(self.tally.lines(now, in_flight).join("\n  "));
            }
            View::Lines { out, any, .. } => {
                *any = true;
                // Nobody may be reading: that is no trouble of the measurement's.
                let _ = writeln!(out, "{}", self.tally.line(now, in_flight));
            }
        }
    }

    /// It is over: the bar goes, and whoever read lines gets a last one.
    pub(super) fn finish(mut self) {
        let line = self.tally.line(Stamp::now(), 0);
        match &mut self.view {
            View::Bar(bar) => bar.finish_and_clear(),
            View::Lines { out, any: true, .. } => {
                let _ = writeln!(out, "{line}");
            }
            View::Lines { .. } => {}
        }
    }
}

/// What is counted on the way.
struct Tally {
    id: String,
    total: u64,
    /// When each step of the load begins, after the window's beginning, and how many are in flight then.
    steps: Vec<(Duration, u32)>,
    /// When the last arrival of an open loop is due, or the stop of a closed one, after the window's beginning.
    until: Option<Duration>,
    ended: u64,
    measured: u64,
    ok: u64,
    failed: u64,
    tokens: u64,
    /// Of this epoch: when its first measured request was sent.
    opened: Option<(u32, Stamp)>,
    /// Windows of the epochs before.
    before: Duration,
    last_end: Stamp,
    epochs: u32,
    ttft_ms: VecDeque<f64>,
}

impl Tally {
    fn new(id: &str, schedule: &Schedule, stop: Option<Duration>) -> Self {
        let first = schedule.epochs.first().map(|epoch| &epoch.pace);
        let (steps, until) = match first {
            Some(Pace::Closed { starts_ns }) => (stairs(starts_ns), stop),
            Some(Pace::Open { arrivals_ns, .. }) => {
                (Vec::new(), arrivals_ns.last().map(|ns| Duration::from_nanos(*ns)))
            }
            None => (Vec::new(), None),
        };
        Self {
            id: id.to_owned(),
            total: u64::from(schedule.warmup() + schedule.measured()),
            steps,
            until,
            ended: 0,
            measured: 0,
            ok: 0,
            failed: 0,
            tokens: 0,
            opened: None,
            before: Duration::ZERO,
            last_end: Stamp(0),
            epochs: u32::try_from(schedule.epochs.len()).unwrap_or(u32::MAX),
            ttft_ms: VecDeque::new(),
        }
    }

    fn take(&mut self, record: &Record) {
        self.ended += 1;
        self.total = self.total.saturating_sub(record.silenced());
        if record.warmup {
            return;
        }
        match self.opened {
            Some((epoch, opened)) if epoch == record.epoch => {
                self.opened = Some((epoch, opened.min(record.started)));
            }
            other => {
                self.before += other.map_or(Duration::ZERO, |(_, opened)| self.last_end.since(opened));
                self.opened = Some((record.epoch, record.started));
            }
        }
        self.last_end = self.last_end.max(record.ended);
        self.measured += 1;
        if !record.is_ok() {
            self.failed += 1;
            return;
        }
        self.ok += 1;
        self.tokens += record.output_tokens;
        if self.ttft_ms.len() == RECENT {
            self.ttft_ms.pop_front();
        }
        self.ttft_ms.extend(record.ttft().map(|ns| ns as f64 / 1e6));
    }

    /// `chat::c_4: 40/65, step 3 of 4, in flight 3, about 9 s left, 5.1 req/s, 640 tok/s, TTFT p99 52 ms, 0 failed`
    fn line(&self, now: Stamp, in_flight: u32) -> String {
        let told = self.lines(now, in_flight).into_iter().filter(|line| !line.is_empty());
        std::iter::once(format!("{}: {}/{}", self.id, self.ended, self.total))
            .chain(told)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// How far it has come, and how it goes: always two, so that a bar keeps its place.
    fn lines(&self, now: Stamp, in_flight: u32) -> [String; 2] {
        let Some((epoch, opened)) = self.opened else {
            return [format!("warming up, in flight {in_flight}"), String::new()];
        };
        let in_window = now.since(opened);
        let elapsed = (self.before + in_window).as_secs_f64();
        [self.course(epoch, in_window, elapsed, in_flight), self.figures(elapsed)]
    }

    fn course(&self, epoch: u32, in_window: Duration, elapsed: f64, in_flight: u32) -> String {
        let mut parts = Vec::new();
        if self.epochs > 1 {
            parts.push(format!("epoch {} of {}", epoch + 1, self.epochs));
        }
        if let (Some(target), Some((_, ceiling))) = (self.target(in_window), self.steps.last()) {
            parts.push(format!("step {target} of {ceiling}"));
        }
        parts.push(format!("in flight {in_flight}"));
        if let Some(left) = self.left(in_window, elapsed) {
            parts.push(format!("about {:.0} s left", left.ceil()));
        }
        parts.join(", ")
    }

    fn figures(&self, elapsed: f64) -> String {
        let mut parts = Vec::new();
        if elapsed > 0.0 {
            parts.push(format!("{:.1} req/s", self.ok as f64 / elapsed));
            parts.push(format!("{:.0} tok/s", self.tokens as f64 / elapsed));
        }
        let recent = Sorted::new(self.ttft_ms.iter().copied().collect());
        if let Some(p99) = recent.quantile(0.99) {
            parts.push(format!("TTFT p99 {p99:.1} ms"));
        }
        parts.push(format!("{} failed", self.failed));
        parts.join(", ")
    }

    /// How many are wanted in flight so long after the window's beginning.
    fn target(&self, in_window: Duration) -> Option<u32> {
        self.steps.iter().rfind(|(start, _)| *start <= in_window).map(|(_, target)| *target)
    }

    /// In seconds, at the pace so far; the clock's own end where that comes first.
    fn left(&self, in_window: Duration, elapsed: f64) -> Option<f64> {
        let remaining = self.total.saturating_sub(self.ended) as f64;
        let at_this_pace = (self.measured > 0).then(|| remaining * elapsed / self.measured as f64);
        let by_the_clock = self.until.map(|until| until.saturating_sub(in_window).as_secs_f64());
        match (at_this_pace, by_the_clock) {
            (Some(pace), Some(clock)) => Some(pace.min(clock)),
            (one, other) => one.or(other),
        }
    }
}

fn stairs(starts_ns: &[u64]) -> Vec<(Duration, u32)> {
    let mut steps: Vec<(Duration, u32)> = Vec::new();
    for (start, workers) in starts_ns.iter().zip(1..) {
        let start = Duration::from_nanos(*start);
        match steps.last_mut() {
            Some(last) if last.0 == start => last.1 = workers,
            _ => steps.push((start, workers)),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::perf::{record::Outcome, schedule::Epoch, summary::tests::record};

    const MS: u64 = 1_000_000;

    fn climb() -> Schedule {
        let starts_ns = vec![0, 5000 * MS, 5000 * MS];
        let epoch = Epoch { warmup: 1, measured: 9, pace: Pace::Closed { starts_ns }, conversations: None };
        Schedule { schema: String::new(), seed: 0, epochs: vec![epoch] }
    }

    #[test]
    fn a_line_tells_how_things_stand() {
        let mut tally = Tally::new("perf::pr::chat", &climb(), None);
        tally.take(&Record { warmup: true, ..record(0, 0, Outcome::Ok) });
        assert_eq!(tally.line(Stamp(0), 2), "perf::pr::chat: 1/10, warming up, in flight 2");
        tally.take(&record(1, 1000, Outcome::Ok));
        tally.take(&record(2, 1000, Outcome::Truncated));
        assert_eq!(
            tally.line(Stamp(3000 * MS), 1),
            "perf::pr::chat: 3/10, step 1 of 3, in flight 1, about 7 s left, 0.5 req/s, 2 tok/s, TTFT p99 100.0 ms, \
             1 failed"
        );
        assert!(tally.line(Stamp(6000 * MS), 3).contains("step 3 of 3"));
    }

    #[test]
    fn what_lies_between_two_epochs_slows_nothing_down() {
        let mut schedule = climb();
        schedule.epochs.push(schedule.epochs[0].clone());
        let mut tally = Tally::new("x", &schedule, None);
        tally.take(&record(0, 0, Outcome::Ok));
        tally.take(&Record { epoch: 1, ..record(1, 100_000, Outcome::Ok) });
        let line = tally.line(Stamp((100_000 + 330) * MS), 0);
        assert!(line.contains("epoch 2 of 2") && line.contains("4.0 req/s"), "{line}");
    }

    /// A writer that others can look into.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_short_run_says_nothing_and_a_long_one_a_line_now_and_then_and_a_last_one() {
        let lines = |every| {
            let out = Shared::default();
            let mut progress = Progress {
                tally: Tally::new("x", &climb(), None),
                view: View::Lines { out: Box::new(out.clone()), every, any: false },
                shown: Stamp::now(),
            };
            for index in 0..3 {
                progress.take(&record(index, index * 100, Outcome::Ok));
                progress.show(1);
            }
            progress.finish();
            String::from_utf8(out.0.lock().unwrap().clone()).unwrap().lines().count()
        };
        assert_eq!(lines(Duration::from_secs(3600)), 0);
        assert_eq!(lines(Duration::ZERO), 4);
    }
}
