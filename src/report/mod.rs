//! The reports that know the domain. Each implements the harness's `Report` and is a pure function of the run's
//! record and of the files that its trials left. Must not know how a run is carried out.
//!
//! 领域报告：Prometheus 文本、HTML、性能 CSV 与 JSON 等。

mod html;
mod perf_csv;
mod perf_json;
pub(crate) mod prom;

pub use html::Html;
pub use perf_csv::{PerfRequests, PerfSummary, dictionary};
pub use perf_json::PerfJson;
pub use prom::{Exposition, Prometheus};
use st_harness::report::Report;

/// All of them; metrics begin with `prefix`.
pub fn domain(prefix: &str) -> Vec<Box<dyn Report>> {
    let mut all: Vec<Box<dyn Report>> = vec![Box::new(Prometheus::new(prefix)), Box::new(Html)];
    all.extend(of_perf());
    all
}

/// Those of measured trials.
fn of_perf() -> Vec<Box<dyn Report>> {
    vec![Box::new(PerfSummary), Box::new(PerfRequests), Box::new(PerfJson)]
}
