//! What is due when, made before the first request from the case's seed: [`Schedule`]. It is saved and hashed, so that
//! two runs can be seen to have asked the same. Must not know how it is kept.
//!
//! 发送计划：事先按种子生成，可保存、可哈希。

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::perf::{
    prompt::Stream,
    random::Random,
    spec::{Amount, Climb, ClimbMode, ControlMethod, Rate, Spec},
};

/// Its name in the trial's folder.
pub(crate) const NAME: &str = "schedule.json";

/// When every request, or every worker, is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// `schedule/1`.
    pub schema: String,
    /// Of everything that was drawn.
    pub seed: u64,
    /// One for each repetition of the load.
    pub epochs: Vec<Epoch>,
}

/// The schedule of one repetition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// The first so many requests are the warm-up.
    pub warmup: u32,
    /// So many follow, and are measured.
    pub measured: u32,
    /// When they are due; of conversations, when each begins.
    pub pace: Pace,
    /// Which of them are one conversation; absent where each stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversations: Option<Conversations>,
}

/// The conversations of one repetition, one after another: their requests follow each other in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversations {
    /// The first so many are the warm-up.
    pub warmup: u32,
    /// Of each, a number a turn: how long after the answer before it is due, in nanoseconds; the first is 0.
    pub think_ns: Vec<Vec<u64>>,
}

impl Epoch {
    /// How many of what the pace makes due are the warm-up: requests, or conversations.
    pub fn warmup_items(&self) -> usize {
        self.conversations.as_ref().map_or(self.warmup, |all| all.warmup) as usize
    }
}

/// What makes a request due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// A closed loop: the next request is due when a worker is free.
    Closed {
        /// When each worker begins, in nanoseconds after the first measured request was sent. One at 0 is there from
        /// the beginning and carries the warm-up too.
        starts_ns: Vec<u64>,
    },
    /// An open loop: arrivals.
    Open {
        /// When each request is due, warm-up included, in nanoseconds after the beginning.
        arrivals_ns: Vec<u64>,
        /// How many may be in flight; others wait.
        cap: Option<u32>,
    },
}

impl Schedule {
    /// The schedule of a checked case that replays no trace.
    pub fn of(spec: &Spec) -> Self {
        Self::replaying(spec, &[])
    }

    /// The schedule of a checked case; `arrivals_ns` are those of its trace.
    pub fn replaying(spec: &Spec, arrivals_ns: &[u64]) -> Self {
        let epochs = (0..spec.epochs).map(|number| epoch(spec, number, arrivals_ns)).collect();
        Self { schema: "schedule/1".to_owned(), seed: spec.seed, epochs }
    }

    /// The same, each of whose requests is the first of a conversation, where the case holds such; `turns` says of how
    /// many turns each is.
    #[must_use]
    pub fn with_conversations(mut self, spec: &Spec, mut turns: impl FnMut(Stream) -> u32) -> Self {
        let Some(asked) = spec.conversation else { return self };
        let (mut warmup, mut measured) = (0.., 0..);
        for epoch in &mut self.epochs {
            let warm = warmup.by_ref().take(epoch.warmup as usize).map(Stream::Warmup);
            let streams = warm.chain(measured.by_ref().take(epoch.measured as usize).map(Stream::Measured));
            let think_ns: Vec<Vec<u64>> =
                streams.map(|stream| thinks(spec.seed, asked.think_time_ms, stream, turns(stream))).collect();
            let (warm, rest) = think_ns.split_at(epoch.warmup as usize);
            let requests =
                |of: &[Vec<u64>]| u32::try_from(of.iter().map(Vec::len).sum::<usize>()).unwrap_or(u32::MAX);
            let counted = (requests(warm), requests(rest));
            epoch.conversations = Some(Conversations { warmup: epoch.warmup, think_ns });
            (epoch.warmup, epoch.measured) = counted;
        }
        self
    }

    /// How many warm-up requests all epochs have together.
    pub fn warmup(&self) -> u32 {
        self.epochs.iter().map(|epoch| epoch.warmup).sum()
    }

    /// How many measured requests all epochs have together.
    pub fn measured(&self) -> u32 {
        self.epochs.iter().map(|epoch| epoch.measured).sum()
    }
}

fn epoch(spec: &Spec, number: u32, traced_ns: &[u64]) -> Epoch {
    let warmup = spec.warmup;
    match spec.control_method {
        ControlMethod::Fixed => {
            let starts_ns = vec![0; spec.concurrency.unwrap_or(1) as usize];
            closed(spec, starts_ns)
        }
        ControlMethod::Climb(climb) => {
            let starts_ns = starts(climb, spec.concurrency.unwrap_or(1));
            closed(spec, starts_ns)
        }
        ControlMethod::Rate(rate) => {
            let random = Random::stream(spec.seed, u64::from(number));
            open(spec, arrivals(rate, random, warmup, spec.items(), spec.stop.duration))
        }
        ControlMethod::Trace(replay) => {
            let most =
                spec.requests().map_or(usize::MAX, |requests| requests.saturating_add(warmup) as usize);
            let at = |ns: &u64| (*ns as f64 / replay.speed) as u64;
            open(spec, traced_ns.iter().take(most).map(at).collect())
        }
    }
}

/// Keeps the stream of think times apart from others.
const THINKS: u64 = 0x7468_696e_6b73_2121;

/// The think time before each of so many turns.
fn thinks(seed: u64, think_time_ms: Amount, stream: Stream, turns: u32) -> Vec<u64> {
    let mut random = Random::stream(seed ^ THINKS, stream.number());
    let later = (1..turns).map(|_| (think_time_ms.draw(&mut random) * 1e6) as u64);
    std::iter::once(0).chain(later).collect()
}

/// An open loop; the first arrivals are the warm-up.
fn open(spec: &Spec, arrivals_ns: Vec<u64>) -> Epoch {
    let all = u32::try_from(arrivals_ns.len()).unwrap_or(u32::MAX);
    let pace = Pace::Open { arrivals_ns, cap: spec.concurrency };
    let (warmup, measured) = (spec.warmup.min(all), all.saturating_sub(spec.warmup));
    Epoch { warmup, measured, pace, conversations: None }
}

fn closed(spec: &Spec, starts_ns: Vec<u64>) -> Epoch {
    let measured = spec.items().unwrap_or(0);
    Epoch { warmup: spec.warmup, measured, pace: Pace::Closed { starts_ns }, conversations: None }
}

/// When each worker of a climb begins.
fn starts(climb: Climb, ceiling: u32) -> Vec<u64> {
    let interval = climb.growth_interval_ms.saturating_mul(1_000_000);
    let growth = u64::from(climb.growth_rate.max(1));
    let start = |worker: u32| {
        let later = u64::from(worker.saturating_sub(climb.init_concurrency)) + 1;
        match climb.mode {
            _ if worker < climb.init_concurrency => 0,
            ClimbMode::Static => later.div_ceil(growth).saturating_mul(interval),
            ClimbMode::Linear => u64::try_from(u128::from(later) * u128::from(interval) / u128::from(growth))
                .unwrap_or(u64::MAX),
        }
    };
    (0..ceiling).map(start).collect()
}

/// Arrivals until `requests` of them are measured, or the window that the first measured one opens has lasted
/// `duration`.
fn arrivals(
    rate: Rate,
    mut random: Random,
    warmup: u32,
    requests: Option<u32>,
    duration: Option<Duration>,
) -> Vec<u64> {
    let most = requests.map_or(u32::MAX, |requests| requests.saturating_add(warmup)) as usize;
    let mut arrivals: Vec<u64> = Vec::new();
    let mut at = 0.0;
    while arrivals.len() < most {
        at += random.gamma(rate.burstiness) / rate.requests_per_second;
        let ns = (at * 1e9) as u64;
        let opened = arrivals.get(warmup as usize).copied().unwrap_or(ns);
        if duration.is_some_and(|limit| u128::from(ns - opened) > limit.as_nanos()) {
            break;
        }
        arrivals.push(ns);
    }
    arrivals
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(text: &str) -> Spec {
        serde_json::from_str(&format!(r#"{{"input_len":8,"output_len":4,{text}}}"#)).unwrap()
    }

    fn starts_of(text: &str) -> Vec<u64> {
        match &Schedule::of(&spec(text)).epochs[0].pace {
            Pace::Closed { starts_ns } => starts_ns.iter().map(|ns| ns / 1_000_000).collect(),
            Pace::Open { .. } => panic!("a closed loop was asked for"),
        }
    }

    fn gaps(burstiness: f64, seed: u64, n: u32) -> Vec<f64> {
        let rate = Rate { requests_per_second: 50.0, burstiness };
        let times = arrivals(rate, Random::stream(seed, 0), 0, Some(n), None);
        std::iter::once(&0).chain(&times).zip(&times).map(|(a, b)| (b - a) as f64 / 1e9).collect()
    }

    #[test]
    fn a_static_climb_is_stairs_that_end_at_the_ceiling() {
        let climb = r#""control_method":{"climb":{"growth_rate":2,"growth_interval_ms":5000}},"requests":64"#;
        assert_eq!(starts_of(&format!(r#"{climb},"concurrency":4"#)), [0, 5000, 5000, 10_000]);
        assert_eq!(starts_of(&format!(r#"{climb},"concurrency":1"#)), [0]);
    }

    #[test]
    fn a_linear_climb_adds_them_one_by_one() {
        let climb = r#""control_method":{"climb":{"init_concurrency":2,"growth_rate":2,"growth_interval_ms":1000,
            "mode":"linear"}},"requests":64,"concurrency":5"#;
        assert_eq!(starts_of(climb), [0, 0, 500, 1000, 1500]);
    }

    #[test]
    fn the_same_seed_makes_the_same_schedule_and_every_epoch_one_of_its_own() {
        let rate = r#""control_method":{"rate":{"requests_per_second":20}},"concurrency":8,"requests":50,"epochs":2"#;
        let one = Schedule::of(&spec(rate));
        assert_eq!(one, Schedule::of(&spec(rate)));
        assert_ne!(one.epochs[0], one.epochs[1]);
        assert_ne!(one, Schedule::of(&spec(&format!(r#"{rate},"seed":1"#))));
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), one);
    }

    #[test]
    fn a_duration_bounds_the_window_that_the_first_measured_arrival_opens() {
        let rate = r#""control_method":{"rate":{"requests_per_second":100}},"concurrency":8,"warmup":5"#;
        let schedule = Schedule::of(&spec(&format!(r#"{rate},"stop":{{"duration":"2s"}}"#)));
        let Pace::Open { arrivals_ns, .. } = &schedule.epochs[0].pace else { panic!("an open loop") };
        let window = arrivals_ns.last().unwrap() - arrivals_ns[5];
        assert!((1_500_000_000..=2_000_000_000).contains(&window), "{window}");
        assert_eq!(schedule.measured() as usize, arrivals_ns.len() - 5);
    }

    #[test]
    fn a_trace_is_replayed_at_its_speed_as_far_as_is_asked() {
        let trace = r#""control_method":{"trace":{"speed":2}},"concurrency":8,"warmup":1,"requests":2"#;
        let schedule = Schedule::replaying(&spec(trace), &[0, 100, 150, 900, 1000]);
        let Pace::Open { arrivals_ns, cap } = &schedule.epochs[0].pace else { panic!("an open loop") };
        assert_eq!((arrivals_ns.as_slice(), *cap), ([0, 50, 75].as_slice(), Some(8)));
        assert_eq!((schedule.warmup(), schedule.measured()), (1, 2));
    }

    #[test]
    fn conversations_are_drawn_beforehand_and_none_changes_with_how_many_there_are() {
        let of = |more: &str| {
            let text = format!(
                r#""concurrency":2,"warmup":1,"epochs":2,"conversation":{{"turns":3,
                   "think_time_ms":{{"distribution":"exponential","average":40}}{more}}}"#
            );
            let spec = spec(&text);
            Schedule::of(&spec).with_conversations(&spec, |stream| if stream.is_warmup() { 2 } else { 3 })
        };
        let few = of(r#","num_conversations":2"#);
        assert_eq!(few, of(r#","num_conversations":2"#));
        let Epoch { warmup, measured, conversations, .. } = &few.epochs[0];
        assert_eq!((*warmup, *measured, few.warmup(), few.measured()), (2, 6, 4, 12));
        let all = conversations.as_ref().unwrap();
        assert_eq!(all.warmup, 1);
        assert_eq!(all.think_ns.iter().map(Vec::len).collect::<Vec<_>>(), [2, 3, 3]);
        assert!(all.think_ns.iter().all(|turns| turns[0] == 0 && turns[1..].iter().all(|ns| *ns > 0)));
        assert_ne!(all.think_ns[1], all.think_ns[2]);
        let many = of(r#","num_conversations":5"#);
        assert_eq!(many.epochs[0].conversations.as_ref().unwrap().think_ns[..3], all.think_ns[..]);
        let text = serde_json::to_string(&few).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&text).unwrap(), few);
        assert!(
            !serde_json::to_string(&Schedule::of(&spec(r#""requests":1"#)))
                .unwrap()
                .contains("conversations")
        );
    }

    #[test]
    fn a_run_is_not_rescaled_to_its_rate() {
        let total = |seed| gaps(1.0, seed, 100).iter().sum::<f64>() * 50.0;
        let totals: Vec<f64> = (0..400).map(total).collect();
        let mean = totals.iter().sum::<f64>() / 400.0;
        let variance = totals.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / 399.0;
        // The sum of 100 exponential gaps has the variance 100; a rescaled one would have none.
        assert!((70.0..140.0).contains(&variance), "{variance}");
    }

    /// The distribution function of the gamma law of mean 1, by its series.
    fn gamma_cdf(shape: f64, x: f64) -> f64 {
        let x = x * shape;
        // Γ(shape + 1) of the shapes that are asked below.
        let factorial = match shape {
            0.5 => std::f64::consts::PI.sqrt() / 2.0,
            1.0 => 1.0,
            2.0 => 2.0,
            4.0 => 24.0,
            _ => panic!("no Γ for {shape}"),
        };
        let mut term = x.powf(shape) * (-x).exp() / factorial;
        let mut sum = 0.0;
        for n in 1..500 {
            sum += term;
            term *= x / (shape + f64::from(n));
        }
        sum
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn gaps_have_the_asked_rate_and_spread(seed: u64, burstiness in 0.5_f64..8.0) {
            let gaps = gaps(burstiness, seed, 4000);
            let n = gaps.len() as f64;
            let mean = gaps.iter().sum::<f64>() / n;
            let sd = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n).sqrt();
            let expected = 1.0 / burstiness.sqrt();
            prop_assert!((mean * 50.0 - 1.0).abs() < 6.0 * expected / n.sqrt(), "mean {mean}");
            prop_assert!((sd / mean / expected - 1.0).abs() < 0.2, "CV {} for {expected}", sd / mean);
        }

        #[test]
        fn gaps_follow_the_law_by_kolmogorov_and_smirnov(
            seed: u64, shape in prop::sample::select(vec![0.5, 1.0, 2.0, 4.0]),
        ) {
            let mut gaps = gaps(shape, seed, 4000);
            gaps.sort_by(f64::total_cmp);
            let n = gaps.len() as f64;
            let distance = gaps.iter().enumerate().map(|(i, gap)| {
                let law = gamma_cdf(shape, gap * 50.0);
                (law - i as f64 / n).abs().max((law - (i + 1) as f64 / n).abs())
            }).fold(0.0, f64::max);
            // 2·exp(−2·2.8²): once in three million runs by chance.
            prop_assert!(distance * n.sqrt() < 2.8, "{distance}");
        }

        #[test]
        fn gaps_are_independent_of_the_one_before(seed: u64) {
            let gaps = gaps(1.0, seed, 4000);
            let product: f64 = gaps.windows(2).map(|p| (p[0] * 50.0 - 1.0) * (p[1] * 50.0 - 1.0)).sum();
            prop_assert!((product / 4000.0).abs() < 6.0 / 4000_f64.sqrt());
        }

        #[test]
        fn a_climb_never_falls_and_reaches_its_ceiling(
            init in 1_u32..20, more in 0_u32..40, growth in 1_u32..9, interval in 1_u64..10_000, linear: bool,
        ) {
            let mode = if linear { ClimbMode::Linear } else { ClimbMode::Static };
            let climb = Climb { init_concurrency: init, growth_rate: growth, growth_interval_ms: interval, mode };
            let starts = starts(climb, init + more);
            prop_assert!(starts.is_sorted());
            prop_assert_eq!(starts.iter().filter(|ns| **ns == 0).count(), init as usize);
            // After every whole interval both modes have added the same.
            let after = u64::from(more.div_ceil(growth)) * interval * 1_000_000;
            prop_assert!(starts.iter().all(|ns| *ns <= after));
            let first = starts.iter().filter(|ns| **ns <= interval * 1_000_000).count() as u32;
            prop_assert_eq!(first, init + more.min(growth));
        }
    }
}
