//! The reports that know the domain. Each implements the harness's `Report` and is a pure function of the run's
//! record. Must not know how a run is carried out.
//!
//! 领域报告：Prometheus 文本、HTML 等。

<<<<<<< HEAD
pub(crate) mod prom;

pub use prom::{Exposition, Prometheus};
=======
mod families;
mod html;
mod prom;

pub use html::Html;
pub use prom::Prometheus;
>>>>>>> 42fe713 (Show a run to a reader: report.html, one file)
