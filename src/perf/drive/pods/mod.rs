//! A load that is spread over workers far from here, pods of a Kubernetes Job: [`drive`]. One schedule is divided as
//! among the processes of a pool; each share travels in a file, what was seen comes back in the workers' logs, and all
//! begin at one moment of the wall clock. Must not know what the figures mean, nor, beside [`Fleet`], any cluster.
//!
//! ```text
//! Epoch ─divided─▶ Share ─files─▶ worker: load() ─log, in frames─▶ Record, of the part ─clock, placed─▶ Record ─▶ keep
//! ```
//!
//! 分布式压测：同一份计划划分给集群中的多个工作者。

mod clock;
#[cfg(feature = "kube")]
mod cluster;
mod crowd;
mod frames;
#[cfg(test)]
mod tests;
mod wire;
mod worker;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use secrecy::SecretString;
use serde::Serialize;
use st_harness::folder::TrialFolder;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::{
    crowd::{Crowd, Kept},
    wire::{Order, Parcel, packed, unix_ns},
};
use super::{
    Driven, Epoch, Plan, Stopped,
    processes::{Place, Share, divided, together},
    transport_name,
};
use crate::{
    client::Client,
    perf::{record::Record, spec::Job, watch::Machine},
};

pub use worker::work;

/// The files of a worker's folder, beside those of the shares.
const KEY: &str = "key";
const ORDER: &str = "order";
/// Which share is the worker's.
const INDEX: &str = "index";
/// Bytes of a file at most: one object of a cluster holds 1 MiB.
const PIECE: usize = 700 * 1024;
/// Of all files together: they lie in the cluster's own store while the load runs.
const MOST: usize = 24 << 20;
/// How often is looked whether all still live.
const BEAT: Duration = Duration::from_secs(1);
/// How long workers that were told to stop may take to tell what they saw.
const GRACE: Duration = Duration::from_secs(10);

/// The file that holds piece `piece` of share `part`.
fn part_name(part: u32, piece: usize) -> String {
    format!("part-{part}.{piece:03}")
}

/// Where a load is spread to, and what keeps the list of what that creates.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// As the case has it.
    pub job: Job,
    /// The trial's.
    pub folder: TrialFolder,
    /// Marks what is created.
    pub run_id: String,
}

/// What became of the workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Workers {
    /// In the order of their parts.
    pub workers: Vec<WorkerTold>,
    /// How far the place of a record on our clock may be off, in nanoseconds: of the worker whose clock is known least.
    pub unsure_ns: u64,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WorkerTold {
    /// Its pod.
    pub name: String,
    /// Request and worker `n` of the whole were its, where `n` modulo the number of parts is this.
    pub part: u32,
    /// By how much its wall clock was taken to be ahead of ours, in nanoseconds.
    pub ahead_ns: i64,
    /// By how much it may have been, at least and at most.
    pub ahead_bounds_ns: (i64, i64),
    /// What its machine did.
    pub machine: Option<Machine>,
}

/// What workers are given.
#[cfg_attr(not(any(test, feature = "kube")), allow(dead_code, reason = "no fleet is built in that reads it"))]
pub(super) struct Cargo {
    /// Name and content.
    pub(super) files: Vec<(String, Vec<u8>)>,
    pub(super) key: Option<SecretString>,
}

/// What is heard of workers, each called by its name.
#[cfg_attr(not(feature = "kube"), allow(dead_code, reason = "no fleet is built in that hears all of it"))]
pub(super) enum Heard {
    /// Its log is read from the beginning: for the first time, or once more.
    Opened { worker: String },
    /// A line of its log.
    Line { worker: String, line: String },
    /// Its log is over, and so is it.
    Closed { worker: String, how: String },
    /// How all of them stand, for a person.
    Standing(String),
}

/// Workers somewhere.
pub(super) trait Fleet {
    /// Has them made.
    ///
    /// # Errors
    /// In words.
    async fn start(&mut self, cargo: Cargo) -> Result<(), String>;

    /// The next thing that is heard; may be dropped half-way.
    ///
    /// # Errors
    /// In words, where one of them will never tell anything.
    async fn hear(&mut self) -> Result<Heard, String>;

    /// Has one of them read `order`.
    ///
    /// # Errors
    /// In words.
    async fn tell(&mut self, worker: &str, order: &str) -> Result<(), String>;

    /// Takes them away, and keeps what explains a failure where there was one; what could not be taken away.
    async fn end(self, failed: bool) -> Vec<String>;
}

/// As [`load`](super::load), by as many workers as `plan` says.
///
/// # Errors
/// In words: no cluster, workers that do not come, or do not tell all they saw.
pub(super) fn drive(
    client: &Client,
    mut plan: Plan,
    cancel: &CancellationToken,
    in_flight: &AtomicU32,
    keep: &(impl Fn(Record) + Send + Sync),
) -> Result<Driven, String> {
    let elsewhere = plan.elsewhere.take().ok_or("no cluster is named to spread the load over")?;
    let asked = Asked { client, cancel, in_flight };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no event loop to spread the load from: {error}"))?;
    #[cfg(feature = "kube")]
    return runtime.block_on(async {
        let fleet = cluster::InJob::connect(&elsewhere, plan.processes).await?;
        spread_over(fleet, &asked, plan, &elsewhere.job, keep).await
    });
    #[cfg(not(feature = "kube"))]
    {
        let _ = (asked, runtime, keep, elsewhere.folder, elsewhere.run_id);
        Err(crate::perf::spec::NO_JOBS.to_owned())
    }
}

/// What the run is asked for, beside its plan.
struct Asked<'a> {
    client: &'a Client,
    cancel: &'a CancellationToken,
    in_flight: &'a AtomicU32,
}

/// Has `fleet` carry the plan, and takes it away whatever comes of it.
#[cfg_attr(not(any(test, feature = "kube")), allow(dead_code, reason = "no other fleet is built in"))]
async fn spread_over<F: Fleet>(
    mut fleet: F,
    asked: &Asked<'_>,
    plan: Plan,
    job: &Job,
    keep: &(impl Fn(Record) + Send + Sync),
) -> Result<Driven, String> {
    let carried = carry(&mut fleet, asked, plan, job, keep).await;
    asked.in_flight.store(0, Ordering::Relaxed);
    let left = fleet.end(carried.is_err()).await;
    match (carried, left.is_empty()) {
        (carried, true) => carried,
        // The figures stand; what is left is on the list for `cleanup`.
        (Ok(driven), false) => {
            left.iter().for_each(|line| st_harness::terminal::say(&format!("warning: {line}")));
            Ok(driven)
        }
        (Err(message), false) => Err(format!("{message}\n{}", left.join("\n"))),
    }
}

async fn carry<F: Fleet>(
    fleet: &mut F,
    asked: &Asked<'_>,
    mut plan: Plan,
    job: &Job,
    keep: &(impl Fn(Record) + Send + Sync),
) -> Result<Driven, String> {
    let parts = plan.processes as usize;
    let sizes: Vec<u64> = plan.epochs.iter().map(Epoch::len).collect();
    let cargo = cargo(asked.client, &mut plan, job)?;
    let mut crowd = Crowd::new(parts, unix_ns());
    let mut run = Run { fleet, asked, crowd: &mut crowd, keep, first: 0, cancelled: None };
    // What is asked for while they are made is heeded as soon as they are.
    run.fleet.start(cargo).await?;
    let mut epochs = Vec::new();
    for (epoch, size) in (0..).zip(sizes) {
        let ready = |crowd: &Crowd| crowd.all(|worker| worker.ready(epoch));
        if !run.until(ready, Some(Duration::from_secs(job.start_timeout_s)), "to be ready").await? {
            break;
        }
        run.begin(epoch, Duration::from_secs(job.head_start_s)).await?;
        if !run.until(|crowd| crowd.all(|worker| worker.turned(epoch)), None, "to carry their shares").await?
        {
            break;
        }
        let turned = run.crowd.turned(epoch)?;
        run.first += size;
        let turned = together(turned).ok_or("no worker carried anything")?;
        let goes_on = matches!(turned.stopped, Stopped::Exhausted | Stopped::Duration);
        epochs.push(turned);
        if !goes_on {
            break;
        }
    }
    if run.cancelled.is_none() {
        run.until(|crowd| crowd.all(|worker| worker.done()), Some(GRACE), "to end").await?;
    }
    crowd.driven(epochs, transport_name)
}

/// A load under way.
struct Run<'a, F, K> {
    fleet: &'a mut F,
    asked: &'a Asked<'a>,
    crowd: &'a mut Crowd,
    keep: &'a K,
    /// The index of the epoch's first request over all epochs.
    first: u64,
    /// Since when all is off.
    cancelled: Option<Instant>,
}

impl<F: Fleet, K: Fn(Record) + Send + Sync> Run<'_, F, K> {
    /// Listens until `holds`. Whether it does: not where all is off before.
    async fn until(
        &mut self,
        holds: impl Fn(&Crowd) -> bool,
        patience: Option<Duration>,
        what: &str,
    ) -> Result<bool, String> {
        let since = Instant::now();
        while !holds(self.crowd) {
            if self.cancelled.is_none() && self.asked.cancel.is_cancelled() {
                self.cancelled = Some(Instant::now());
                for name in self.crowd.names() {
                    self.fleet.tell(&name, &text(&Order::Cancel)?).await?;
                }
            }
            if let Some(at) = self.cancelled {
                if self.crowd.all_over() || !self.crowd.any_began() {
                    return Ok(false);
                }
                if at.elapsed() >= GRACE {
                    return Err(self
                        .crowd
                        .missing("cancelled, and not all workers told in time what they saw"));
                }
            } else if let Some(limit) = patience.filter(|limit| since.elapsed() >= *limit) {
                let waited = format!("waited {} s in vain for all workers {what}", limit.as_secs());
                return Err(self.crowd.missing(&waited));
            }
            if let Ok(heard) = timeout(BEAT.min(Duration::from_millis(100)), self.fleet.hear()).await {
                self.take(heard?)?;
            }
            self.crowd.silent()?;
        }
        Ok(true)
    }

    fn take(&mut self, heard: Heard) -> Result<(), String> {
        let (parts, first, keep) = (self.crowd.parts(), self.first, self.keep);
        let kept = Kept { off: self.cancelled.is_some() };
        self.crowd.take(heard, &kept, |part, epoch, record| {
            keep(Place { part, parts }.placed(record, epoch, first));
        })?;
        self.asked.in_flight.store(self.crowd.in_flight(), Ordering::Relaxed);
        Ok(())
    }

    /// Names a moment to all of them: each by its own wall clock, as far as that is known.
    async fn begin(&mut self, epoch: u32, head_start: Duration) -> Result<(), String> {
        let at = unix_ns() + i64::try_from(head_start.as_nanos()).unwrap_or(i64::MAX);
        for (name, ahead) in self.crowd.clocks() {
            let order = text(&Order::Begin { epoch, unix_ns: at + ahead })?;
            self.crowd.told(&name, unix_ns());
            self.fleet.tell(&name, &order).await?;
        }
        Ok(())
    }
}

fn text(order: &Order) -> Result<String, String> {
    serde_json::to_string(order).map_err(|error| error.to_string())
}

/// What the workers are given: a parcel each, in pieces, and the key apart.
fn cargo(client: &Client, plan: &mut Plan, job: &Job) -> Result<Cargo, String> {
    let base_url = reached(client, job)?;
    let (parts, epochs) = (plan.processes, std::mem::take(&mut plan.epochs));
    let mut shares: Vec<Vec<Share>> = (0..parts).map(|_| Vec::new()).collect();
    let mut key = None;
    for epoch in epochs {
        for (own, epoch) in shares.iter_mut().zip(divided(epoch, parts as usize)) {
            let (share, its_key) = Share::of(client, plan, epoch)?.to(&base_url);
            key = key.or(its_key);
            own.push(share);
        }
    }
    let patience_s = job.start_timeout_s.max(plan.limits.total.as_secs()) + 60;
    let mut files = Vec::new();
    for (part, shares) in (0..parts).zip(shares) {
        let bytes = packed(&Parcel { part, parts, patience_s, shares })?;
        files.extend(bytes.chunks(PIECE).zip(0..).map(|(piece, n)| (part_name(part, n), piece.to_vec())));
    }
    let all: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    if all > MOST {
        return Err(format!(
            "the requests of this load are {} MiB compressed, and a cluster is not asked to keep more than {} MiB of \
             them; ask for fewer, or for shorter prompts, in a run",
            all >> 20,
            MOST >> 20
        ));
    }
    Ok(Cargo { files, key: key.map(SecretString::from) })
}

/// Where a pod reaches the server.
fn reached(client: &Client, job: &Job) -> Result<String, String> {
    if let Some(base_url) = &job.base_url {
        return Ok(base_url.clone());
    }
    let base_url = client.base_url();
    let host = url::Url::parse(base_url).ok().and_then(|url| url.host_str().map(str::to_owned));
    let here = host.is_none_or(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    if here {
        return Err(format!(
            "the server is at {base_url}, which is another machine for each pod; say where pods reach it: `base_url` of \
             `job`, `--worker-base-url`"
        ));
    }
    Ok(base_url.to_owned())
}
