//! Who the workers are and how far each has come: [`Crowd`], which takes what is heard of them. Must not know how they
//! are reached, nor what they are told.
//!
//! 工作者的状态：报到、就绪、完成与异常。

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    super::{Driven, Turned},
    Heard, WorkerTold, Workers,
    clock::Clock,
    frames::Reader,
    wire::{Moment, Said, unix_ns},
};
use crate::perf::{record::Record, watch::Machine};

/// A worker says every second that it lives.
const SILENCE: Duration = Duration::from_secs(60);

/// All workers that were heard of.
pub(super) struct Crowd {
    parts: usize,
    /// When they were asked for, by our wall clock.
    made: i64,
    /// One moment on our clocks, the same for all of them.
    ours: Moment,
    workers: BTreeMap<String, Worker>,
    /// How they stood when that was last heard.
    standing: String,
}

/// What is to be done about what comes.
pub(super) struct Kept {
    /// All is off: an end is no surprise.
    pub(super) off: bool,
}

/// One of them.
pub(super) struct Worker {
    log: Reader,
    heard: Instant,
    known: Option<Known>,
    ready: Option<u32>,
    /// When its last order was written, by our wall clock.
    told: Option<i64>,
    turned: Vec<(String, Turned, Machine)>,
    began: bool,
    in_flight: u32,
    done: bool,
    closed: bool,
}

/// What it said of itself.
struct Known {
    part: u32,
    clock: Clock,
}

impl Worker {
    fn new() -> Self {
        Self {
            log: Reader::default(),
            heard: Instant::now(),
            known: None,
            ready: None,
            told: None,
            turned: Vec::new(),
            began: false,
            in_flight: 0,
            done: false,
            closed: false,
        }
    }

    /// Whether it waits to begin that epoch.
    pub(super) fn ready(&self, epoch: u32) -> bool {
        self.ready == Some(epoch)
    }

    /// Whether it has carried its share of that epoch.
    pub(super) fn turned(&self, epoch: u32) -> bool {
        self.turned.len() > epoch as usize
    }

    /// Whether it has told all.
    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// Takes a line of its log; hands on each record, with its epoch.
    fn line(
        &mut self,
        line: &str,
        crowd: (i64, Moment),
        keep: &mut impl FnMut(u32, u32, Record),
    ) -> Result<(), String> {
        for text in self.log.take(line)? {
            let said = serde_json::from_str(&text)
                .map_err(|error| format!("it said what nobody understands: {error}"))?;
            self.said(said, crowd, keep)?;
        }
        Ok(())
    }

    fn said(
        &mut self,
        said: Said,
        (made, ours): (i64, Moment),
        keep: &mut impl FnMut(u32, u32, Record),
    ) -> Result<(), String> {
        let now = unix_ns();
        match said {
            Said::Hello { maker, part, clock } => {
                maker.understood("it")?;
                self.known = Some(Known { part, clock: Clock::of(clock, ours, (made, now))? });
            }
            Said::Ready { epoch } => self.ready = Some(epoch),
            Said::Begins { unix_ns, .. } => {
                self.began = true;
                let told = self.told;
                if let Some(known) = &mut self.known {
                    known.clock.said(unix_ns, now)?;
                    told.map_or(Ok(()), |told| known.clock.knew(unix_ns, told))?;
                }
            }
            Said::Alive { unix_ns, in_flight } => {
                self.in_flight = in_flight;
                self.known.as_mut().map_or(Ok(()), |known| known.clock.said(unix_ns, now))?;
            }
            Said::Ended(record) => {
                let known = self.known.as_ref().ok_or("it told of a request before it said who it is")?;
                keep(known.part, self.turned.len() as u32, known.clock.record(*record)?);
            }
            Said::Turned { transport, turned, machine } => {
                self.in_flight = 0;
                self.turned.push((transport, *turned, *machine));
            }
            Said::Failed(message) => return Err(message),
            Said::Done => self.done = true,
        }
        Ok(())
    }
}

impl Crowd {
    pub(super) fn new(parts: usize, made: i64) -> Self {
        Self { parts, made, ours: Moment::now(), workers: BTreeMap::new(), standing: String::new() }
    }

    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    /// Whether all have come, and this holds of each.
    pub(super) fn all(&self, holds: impl Fn(&Worker) -> bool) -> bool {
        self.workers.len() == self.parts && self.workers.values().all(holds)
    }

    /// Whether nothing more will come of any.
    pub(super) fn all_over(&self) -> bool {
        self.workers.values().all(|worker| worker.done || worker.closed)
    }

    pub(super) fn any_began(&self) -> bool {
        self.workers.values().any(|worker| worker.began)
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.workers.keys().cloned().collect()
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.workers.values().map(|worker| worker.in_flight).sum()
    }

    /// Each with what its wall clock is ahead of ours by.
    pub(super) fn clocks(&self) -> Vec<(String, i64)> {
        let ahead = |worker: &Worker| worker.known.as_ref().map_or(0, |known| known.clock.ahead());
        self.workers.iter().map(|(name, worker)| (name.clone(), ahead(worker))).collect()
    }

    /// An order is on its way to it since then.
    pub(super) fn told(&mut self, name: &str, unix_ns: i64) {
        if let Some(worker) = self.workers.get_mut(name) {
            worker.told = Some(unix_ns);
        }
    }

    /// Takes what was heard; hands on each record with its part and its epoch.
    ///
    /// # Errors
    /// In words, naming the worker, and with the last lines of its log.
    pub(super) fn take(
        &mut self,
        heard: Heard,
        kept: &Kept,
        mut keep: impl FnMut(usize, u32, Record),
    ) -> Result<(), String> {
        let crowd = (self.made, self.ours);
        let (name, wrong) = match heard {
            Heard::Standing(line) => {
                if self.standing != line {
                    st_harness::terminal::say(&format!("workers: {line}"));
                    self.standing = line;
                }
                return Ok(());
            }
            Heard::Opened { worker: name } => {
                self.workers.entry(name).or_insert_with(Worker::new).log.again();
                return Ok(());
            }
            Heard::Line { worker: name, line } => {
                let worker = self.workers.entry(name.clone()).or_insert_with(Worker::new);
                worker.heard = Instant::now();
                let mut keep = |part: u32, epoch, record| keep(part as usize, epoch, record);
                let taken = worker.line(&line, crowd, &mut keep);
                (name, taken.err())
            }
            Heard::Closed { worker: name, how } => {
                let worker = self.workers.entry(name.clone()).or_insert_with(Worker::new);
                worker.closed = true;
                let early = !worker.done && !kept.off;
                (name, early.then(|| format!("it ended before all was told: {how}")))
            }
        };
        match wrong {
            Some(why) => Err(self.of(&name, &why)),
            None => self.distinct(&name),
        }
    }

    /// Nobody carries the same part twice, and there are no more than were asked for.
    fn distinct(&self, name: &str) -> Result<(), String> {
        let part = |worker: &Worker| worker.known.as_ref().map(|known| known.part);
        let Some(own) = self.workers.get(name).and_then(part) else { return Ok(()) };
        let twin = self.workers.iter().find(|(other, worker)| *other != name && part(worker) == Some(own));
        match twin {
            _ if own as usize >= self.parts => {
                Err(self.of(name, &format!("it says that it carries share {own} of {}", self.parts)))
            }
            Some((other, _)) => Err(self.of(name, &format!("it carries share {own}, and so does {other}"))),
            None => Ok(()),
        }
    }

    /// Whether all that have come still live.
    ///
    /// # Errors
    /// In words.
    pub(super) fn silent(&self) -> Result<(), String> {
        let silent = |worker: &Worker| !worker.done && !worker.closed && worker.heard.elapsed() >= SILENCE;
        match self.workers.iter().find(|(_, worker)| silent(worker)) {
            Some((name, _)) => {
                Err(self.of(name, &format!("nothing was heard of it for {} s", SILENCE.as_secs())))
            }
            None => Ok(()),
        }
    }

    /// What is wrong with one of them.
    fn of(&self, name: &str, why: &str) -> String {
        let others = self.workers.get(name).map(|worker| worker.log.others()).unwrap_or_default();
        let lines =
            if others.is_empty() { String::new() } else { format!("\nlast lines of {name}:\n{others}") };
        format!("worker {name}: {why}{}", lines.trim_end())
    }

    /// `why`, with who is missing and how all stand.
    pub(super) fn missing(&self, why: &str) -> String {
        let state = |(name, worker): (&String, &Worker)| {
            let state = match (&worker.known, worker.ready, worker.turned.len()) {
                _ if worker.done => "has ended",
                (None, ..) => "has said nothing of itself",
                (Some(_), None, 0) => "has come",
                (Some(_), Some(_), 0) if !worker.began => "is ready",
                _ => "carries its share",
            };
            format!("{name} {state}")
        };
        let come: Vec<String> = self.workers.iter().map(state).collect();
        let standing = if self.standing.is_empty() { "" } else { "; the cluster at last: " };
        format!(
            "{why}: {} of {} were heard of{}{}{standing}{}",
            come.len(),
            self.parts,
            if come.is_empty() { "" } else { ": " },
            come.join(", "),
            self.standing
        )
    }

    /// What became of an epoch, of each worker, by our clock.
    ///
    /// # Errors
    /// Where a clock cannot be placed.
    pub(super) fn turned(&self, epoch: u32) -> Result<Vec<Turned>, String> {
        let mut all = Vec::new();
        for (name, worker) in &self.workers {
            let (Some(known), Some((_, turned, _))) = (&worker.known, worker.turned.get(epoch as usize))
            else {
                continue;
            };
            let placed = |stamp| known.clock.placed(stamp).map_err(|why| self.of(name, &why));
            all.push(Turned {
                begin: placed(turned.begin)?,
                opened: turned.opened.map(placed).transpose()?,
                ended: placed(turned.ended)?,
                ..turned.clone()
            });
        }
        Ok(all)
    }

    /// All that the workers told, as one load.
    ///
    /// # Errors
    /// Where none of them told anything of its machine though an epoch was carried.
    pub(super) fn driven(
        self,
        epochs: Vec<Turned>,
        transport: impl Fn(&str) -> &'static str,
    ) -> Result<Driven, String> {
        let mut workers = Vec::new();
        let (mut machines, mut by, mut unsure) = (Vec::new(), String::new(), Duration::ZERO);
        for (name, worker) in self.workers {
            let own: Vec<Machine> = worker.turned.iter().map(|(_, _, machine)| machine.clone()).collect();
            if let Some((transport, ..)) = worker.turned.first() {
                by.clone_from(transport);
            }
            machines.extend(own.clone());
            let Some(Known { part, clock }) = worker.known else { continue };
            unsure = unsure.max(clock.unsure());
            workers.push(WorkerTold {
                name,
                part,
                ahead_ns: clock.ahead(),
                ahead_bounds_ns: clock.bounds(),
                machine: Machine::worst_of(own),
            });
        }
        workers.sort_by_key(|worker| worker.part);
        let unsure_ns = u64::try_from(unsure.as_nanos()).unwrap_or(u64::MAX);
        let machine = match Machine::worst_of(machines) {
            Some(machine) => machine,
            None if epochs.is_empty() => Machine::unseen("no worker began"),
            None => return Err("no worker told what its machine did".to_owned()),
        };
        Ok(Driven {
            transport: transport(&by),
            epochs,
            machine,
            workers: Some(Workers { workers, unsure_ns }),
        })
    }
}
