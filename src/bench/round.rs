//! One run: a null server, a client, and what both say of it, as a [`Run`] of figures. Must not know what the runs say
//! together.
//!
//! 一次运行：空服务器、客户端与对照。

use std::{
    collections::HashMap,
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use serde::Serialize;
use serde_json::Value;

use super::{Client, Load, Plan, client::Said, process::Process, told::FIGURES};
use crate::{
    null::{Answer, Child, Line, Log},
    perf::quantile::Sorted,
};

/// How often the client is looked at while it runs.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What came of one client at one load in one round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// From 1.
    pub round: u32,
    /// [`Load::name`].
    pub load: String,
    /// [`Client::name`].
    pub client: String,
    /// In the order of [`FIGURES`]; null where the client does not tell.
    pub figures: Vec<Option<f64>>,
    /// What a client says of the worth of its own figures.
    pub verdict: Option<Verdict>,
    /// Why there is no run.
    pub failed: Option<String>,
}

/// What a client says of the worth of its own figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// valid, degraded, invalid.
    pub level: String,
    /// Why.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Of the member `validity` of a trial's details.
    pub(super) fn of(validity: &Value) -> Option<Self> {
        let list = |name: &str| validity[name].as_array().cloned().unwrap_or_default();
        Some(Self {
            level: validity["level"].as_str()?.to_owned(),
            reasons: [list("invalid"), list("degraded")]
                .concat()
                .iter()
                .filter_map(|reason| reason.as_str().map(str::to_owned))
                .collect(),
        })
    }
}

/// Carries it out.
pub(super) fn run(plan: &Plan, load: &Load, client: &Client, round: u32) -> Run {
    let folder = plan.folder.join(format!(
        "{}-{}-{}-{}-{round}",
        client.name(),
        load.streams,
        load.tokens,
        load.pattern.name()
    ));
    let seen = std::fs::create_dir_all(&folder)
        .map_err(|error| format!("{folder}: {error}"))
        .and_then(|()| watched(load, client, &folder));
    if seen.is_ok() && !plan.keep {
        // What cannot be thrown away is no reason to throw a measurement away.
        let _ = std::fs::remove_dir_all(&folder);
    }
    let (figures, verdict, failed) = match seen {
        Ok(seen) => (seen.figures(), seen.said.verdict, None),
        Err(why) => (vec![None; FIGURES.len()], None, Some(format!("{why} (its files: {folder})"))),
    };
    Run { round, load: load.name(), client: client.name().to_owned(), figures, verdict, failed }
}

/// Processor time of the client up to a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    began: Option<Duration>,
    ended: Option<Duration>,
    total: Option<Duration>,
}

struct Seen {
    cpu: Cpu,
    peak_bytes: Option<u64>,
    log: Log,
    said: Said,
}

fn watched(load: &Load, client: &Client, folder: &Utf8Path) -> Result<Seen, String> {
    let server = Child::start(&load.script(folder.join("sent.bin").into_std_path_buf()))?;
    let output = |name: &str| File::create(folder.join(name)).map_err(|error| format!("{folder}: {error}"));
    let mut command = client.command(load, server.root_url(), folder)?;
    command.stdin(Stdio::null()).stdout(output("stdout.txt")?).stderr(output("stderr.txt")?);
    let failed = |what: &str| format!("{} {what}", client.name());
    let mut process =
        Process::start(&mut command).map_err(|error| failed(&format!("cannot be started: {error}")))?;
    let mut cpu = Cpu::default();
    let limit = load.length() * 4 + Duration::from_secs(60);
    let begun = Instant::now();
    while !process.has_ended() {
        if begun.elapsed() > limit {
            return Err(failed(&format!("did not end within {limit:?}")));
        }
        match server.line(LOOK_EVERY) {
            Some(Line::Began) => cpu.began = process.cpu(),
            Some(Line::Ended) => cpu.ended = process.cpu(),
            _ => process.look(),
        }
    }
    cpu.total = process.cpu();
    let peak_bytes = process.peak_bytes();
    let code = process.finish(Duration::from_secs(1));
    let log = server.finish()?;
    let whole = log.answers.iter().filter(|answer| answer.whole).count();
    if whole < load.requests as usize {
        return Err(failed(&format!("took {whole} of {} answers whole, exit code {code:?}", load.requests)));
    }
    Ok(Seen { cpu, peak_bytes, log, said: client.said(folder)? })
}

impl Seen {
    /// In the order of [`FIGURES`].
    fn figures(&self) -> Vec<Option<f64>> {
        let events = self.log.events() as f64;
        let per_event = |cpu: Option<Duration>| Some(cpu?.as_secs_f64() * 1e6 / events);
        let window = self.cpu.ended.zip(self.cpu.began).map(|(ended, began)| ended.saturating_sub(began));
        let sent = Sorted::new(self.log.answers.iter().filter_map(ttft_ms).collect());
        let over = |said: Option<f64>, sent: Option<f64>| Some(said? - sent?);
        let errors = self.errors();
        let late = self.log.late;
        vec![
            per_event(window),
            per_event(self.cpu.total),
            over(self.said.ttft_mean_ms, sent.mean()),
            over(self.said.ttft_p99_ms, sent.quantile(0.99)),
            errors.quantile(0.5),
            errors.quantile(0.99),
            self.peak_bytes.map(|bytes| bytes as f64 / (1024.0 * 1024.0)),
            self.cpu.began.map(|cpu| cpu.as_secs_f64()),
            self.span_s().map(|span| events / span),
            Some(self.log.cpu_ns as f64 / 1e3 / events),
            Some(late.sum_ns as f64 / 1e3 / late.writes.max(1) as f64),
            Some(late.over_1ms as f64 / late.writes.max(1) as f64 * 100.0),
        ]
    }

    /// Of each request: its TTFT as the client has it, less the one in the server's log.
    fn errors(&self) -> Sorted {
        let sent: HashMap<u64, f64> =
            self.log.answers.iter().filter_map(|answer| Some((answer.id?, ttft_ms(answer)?))).collect();
        let pairs = self.said.ttft_ms.iter().filter_map(|(id, said)| Some(said - sent.get(id)?));
        Sorted::new(pairs.collect())
    }

    /// From the first request to the last token.
    fn span_s(&self) -> Option<f64> {
        let first = self.log.answers.iter().map(|answer| answer.received).min()?;
        let last = self.log.answers.iter().filter_map(|answer| answer.last).max()?;
        Some(last.saturating_sub(first) as f64 / 1e9).filter(|span| *span > 0.0)
    }
}

fn ttft_ms(answer: &Answer) -> Option<f64> {
    Some(answer.first?.saturating_sub(answer.received) as f64 / 1e6)
}
