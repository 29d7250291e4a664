//! Values over time: [`Series`] divides the time of a trial into equal buckets and says of each what was sent, what
//! ended, which tokens came and how long things took. Computed of the kept records whenever it is asked for. Must not
//! know who shows it.
//!
//! 随时间变化的指标：按等长时间桶统计。

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    client::Stamp,
    perf::{histogram::Histogram, quantile::Sorted, record::Record},
};

/// The measured requests of a trial, bucket by bucket.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// Length of a bucket, in nanoseconds.
    pub interval_ns: u64,
    /// The first measured start: where the first bucket begins.
    pub from: Option<Stamp>,
    /// Without gaps, until the last response's end.
    pub buckets: Vec<Bucket>,
}

/// What happened within one interval. A thing belongs to the bucket in which it happened: a request that began in one
/// and ended in the next is started there and ended here.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bucket {
    /// Where it begins, in nanoseconds after [`Series::from`].
    pub from_ns: u64,
    /// Requests that were started.
    pub started: u64,
    /// Requests that ended, by outcome.
    pub ended: BTreeMap<&'static str, u64>,
    /// Requests in flight, averaged over the interval.
    pub in_flight: f64,
    /// Tokens that came, of all requests, failed ones too; where no usage comes with an event it counts as one.
    pub output_tokens: u64,
    /// The same a second.
    pub output_token_throughput: f64,
    /// Of the first tokens that came.
    pub ttft: Told,
    /// Of the tokens that came, one for each.
    pub itl: Told,
    /// Of the responses that ended well.
    pub response_time: Told,
}

/// A latency within a bucket, in seconds; null where there was none.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Told {
    /// How many.
    pub n: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their median.
    pub p50: Option<f64>,
    /// Their 99th percentile.
    pub p99: Option<f64>,
}

/// The same time in longer intervals, with whole distributions that can be added up.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    /// Where it begins, in nanoseconds after the first measured start.
    pub from_ns: u64,
    /// Name of a latency → its histogram.
    pub histograms: BTreeMap<&'static str, Histogram>,
}

/// Samples of one bucket before they are told, in nanoseconds.
#[derive(Default)]
struct Samples {
    ttft: Vec<f64>,
    itl: Vec<f64>,
    response_time: Vec<f64>,
}

impl Series {
    /// Divides the measured ones of `records` into buckets of `interval_ns`, at least a nanosecond.
    pub fn of(records: &[Record], interval_ns: u64) -> Self {
        let measured: Vec<&Record> = records.iter().filter(|record| !record.warmup).collect();
        let interval_ns = interval_ns.max(1);
        let Some(grid) = Grid::over(&measured, interval_ns) else {
            return Self { interval_ns, from: None, buckets: Vec::new() };
        };
        let mut buckets: Vec<Bucket> = (0..grid.count)
            .map(|index| Bucket { from_ns: index as u64 * interval_ns, ..Bucket::default() })
            .collect();
        let mut samples: Vec<Samples> = (0..grid.count).map(|_| Samples::default()).collect();
        for record in measured {
            buckets[grid.place(record.started)].started += 1;
            *buckets[grid.place(record.ended)].ended.entry(record.outcome.name()).or_default() += 1;
            grid.spread(record, &mut buckets);
            for event in &record.events {
                buckets[grid.place(event.at)].output_tokens += u64::from(event.tokens);
            }
            if record.is_ok() {
                sample(record, &grid, &mut samples);
            }
        }
        for (bucket, samples) in buckets.iter_mut().zip(samples) {
            bucket.output_token_throughput = bucket.output_tokens as f64 * 1e9 / interval_ns as f64;
            bucket.ttft = Told::of(samples.ttft);
            bucket.itl = Told::of(samples.itl);
            bucket.response_time = Told::of(samples.response_time);
        }
        Self { interval_ns, from: Some(grid.from), buckets }
    }
}

/// The latencies of the successful ones among the measured `records`, as histograms of each `interval_ns`.
pub fn windows(records: &[Record], interval_ns: u64) -> Vec<Window> {
    let measured: Vec<&Record> = records.iter().filter(|record| !record.warmup).collect();
    let interval_ns = interval_ns.max(1);
    let Some(grid) = Grid::over(&measured, interval_ns) else { return Vec::new() };
    let mut windows: Vec<Window> = (0..grid.count)
        .map(|index| Window { from_ns: index as u64 * interval_ns, histograms: BTreeMap::new() })
        .collect();
    for record in measured.into_iter().filter(|record| record.is_ok()) {
        let mut take = |name, at: Stamp, ns: u64, times: u64| {
            windows[grid.place(at)].histograms.entry(name).or_default().record(ns, times);
        };
        if let (Some(first), Some(ttft)) = (record.first_token, record.ttft()) {
            take("ttft", first, ttft, 1);
        }
        if let (Some(last), Some(e2e)) = (record.last_token, record.e2e()) {
            take("e2e", last, e2e, 1);
        }
        if let (Some(last), Some(tpot)) = (record.last_token, record.tpot()) {
            take("tpot", last, tpot.round() as u64, 1);
        }
        for pair in record.events.windows(2) {
            let tokens = u64::from(pair[1].tokens);
            take("itl", pair[1].at, (pair[1].at.0 - pair[0].at.0) / tokens.max(1), tokens);
        }
        take("response_time", record.ended, record.response_time(), 1);
        take("admission_wait", record.started, record.admitted.since(record.scheduled).as_nanos() as u64, 1);
    }
    windows
}

/// Equal intervals from the first start to the last end.
struct Grid {
    from: Stamp,
    interval_ns: u64,
    count: usize,
}

impl Grid {
    fn over(measured: &[&Record], interval_ns: u64) -> Option<Self> {
        let from = measured.iter().map(|record| record.started).min()?;
        let to = measured.iter().map(|record| record.ended).max()?;
        let count = usize::try_from((to.0 - from.0) / interval_ns).ok()? + 1;
        Some(Self { from, interval_ns, count })
    }

    fn place(&self, at: Stamp) -> usize {
        let index = at.0.saturating_sub(self.from.0) / self.interval_ns;
        usize::try_from(index).unwrap_or(usize::MAX).min(self.count - 1)
    }

    /// Adds the time in flight of `record` to every bucket that it touches.
    fn spread(&self, record: &Record, buckets: &mut [Bucket]) {
        let (start, end) = (record.started.0 - self.from.0, record.ended.0.saturating_sub(self.from.0));
        for bucket in &mut buckets[self.place(record.started)..=self.place(record.ended)] {
            let (from, to) = (bucket.from_ns, bucket.from_ns + self.interval_ns);
            let within = end.min(to).saturating_sub(start.max(from));
            bucket.in_flight += within as f64 / self.interval_ns as f64;
        }
    }
}

fn sample(record: &Record, grid: &Grid, samples: &mut [Samples]) {
    if let (Some(first), Some(ttft)) = (record.first_token, record.ttft()) {
        samples[grid.place(first)].ttft.push(ttft as f64);
    }
    for (gap, at) in record.itl().zip(record.token_stamps().skip(first_tokens(record))) {
        samples[grid.place(at)].itl.push(gap);
    }
    samples[grid.place(record.ended)].response_time.push(record.response_time() as f64);
}

/// How many tokens came in the first event: they have no gap before them.
fn first_tokens(record: &Record) -> usize {
    record.events.first().map_or(0, |event| usize::try_from(event.tokens).unwrap_or(usize::MAX))
}

impl Told {
    fn of(ns: Vec<f64>) -> Self {
        let sorted = Sorted::new(ns);
        let seconds = |value: Option<f64>| value.map(|ns| ns / 1e9);
        Self {
            n: sorted.len() as u64,
            mean: seconds(sorted.mean()),
            p50: seconds(sorted.quantile(0.5)),
            p99: seconds(sorted.quantile(0.99)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perf::{record::Outcome, summary::tests::record};

    const MS: u64 = 1_000_000;

    /// One request from 0 to 170 ms with tokens at 100, 120, 140 and 160; the same again 200 ms later.
    fn two() -> Vec<Record> {
        vec![record(0, 0, Outcome::Ok), record(1, 200, Outcome::Ok)]
    }

    #[test]
    fn a_thing_belongs_to_the_bucket_in_which_it_happened() {
        let series = Series::of(&two(), 100 * MS);
        let told: Vec<_> =
            series.buckets.iter().map(|b| (b.started, b.output_tokens, b.ttft.n, b.itl.n)).collect();
        assert_eq!(told, [(1, 0, 0, 0), (0, 4, 1, 3), (1, 0, 0, 0), (0, 4, 1, 3)]);
        let ends: Vec<u64> = series.buckets.iter().map(|bucket| bucket.ended.values().sum()).collect();
        assert_eq!(ends, [0, 1, 0, 1]);
        assert_eq!(series.buckets[1].output_token_throughput, 40.0);
        assert_eq!(series.buckets[1].ttft.p50, Some(0.1));
        assert_eq!(series.buckets[0].ttft, Told::default(), "nothing is null, never 0");
    }

    #[test]
    fn requests_in_flight_are_averaged_over_the_interval() {
        let series = Series::of(&two(), 100 * MS);
        let told: Vec<f64> = series.buckets.iter().map(|bucket| bucket.in_flight).collect();
        for (found, expected) in told.iter().zip([1.0, 0.7, 1.0, 0.7]) {
            assert!((found - expected).abs() < 1e-9, "{told:?}");
        }
    }

    #[test]
    fn the_warm_up_is_in_no_bucket_and_nothing_measured_gives_none() {
        let mut records = two();
        records[0].warmup = true;
        let series = Series::of(&records, 100 * MS);
        assert_eq!((series.buckets.len(), series.from), (2, Some(Stamp(200 * MS))));
        records[1].warmup = true;
        assert!(Series::of(&records, 100 * MS).buckets.is_empty());
        assert!(windows(&records, MS).is_empty());
    }

    #[test]
    fn failed_requests_give_no_latency_and_are_counted() {
        let series = Series::of(&[record(0, 0, Outcome::Truncated)], 1000 * MS);
        assert_eq!(series.buckets[0].ended, BTreeMap::from([("truncated", 1)]));
        assert_eq!((series.buckets[0].ttft.n, series.buckets[0].response_time.n), (0, 0));
    }

    #[test]
    fn windows_added_up_are_the_whole_trial() {
        let (parts, whole) = (windows(&two(), 100 * MS), windows(&two(), 10_000 * MS));
        assert_eq!((parts.len(), whole.len()), (4, 1));
        for (name, of_all) in &whole[0].histograms {
            let mut sum = Histogram::default();
            parts.iter().filter_map(|part| part.histograms.get(name)).for_each(|part| sum.merge(part));
            assert_eq!(&sum, of_all, "{name}");
        }
        assert_eq!(whole[0].histograms["itl"].count(), 6);
    }
}
