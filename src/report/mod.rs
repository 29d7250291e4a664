//! The reports that know the domain. Each implements the harness's `Report` and is a pure function of the run's
//! record. Must not know how a run is carried out.
//!
//! 领域报告：Prometheus 文本、HTML 等。

mod html;
pub(crate) mod prom;

pub use html::Html;
pub use prom::{Exposition, Prometheus};
