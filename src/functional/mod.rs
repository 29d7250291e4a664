//! The functional suite: does the server answer as the OpenAI interface documents? Its main type is
//! [`FunctionalSuite`]; cases are `cases/functional/*.yaml`. Must not know the other suites, nor how a server was
//! started.
//!
//! 功能套件：接口行为是否正确。
//!
//! ```text
//! Spec ─plan─▶ Exchange ─subject─▶ JSON ─expect─▶ [Broken] ─deviations─▶ ─explain─▶ Observation
//! ```

pub mod capability;
mod compare;
mod deviation;
pub mod expect;
mod explain;
mod fill;
pub mod implicit;
mod leg;
pub mod path;
mod plan;
mod run;
pub mod spec;

use std::time::Duration;

use st_harness::{
    lane::Lane,
    suite::{Cx, Mistakes, Suite},
    verdict::Observation,
};

pub use self::{
    deviation::{Deviation, Versions},
    fill::Raw,
    leg::Leg,
    spec::Spec,
};
use crate::client::Target;

/// Runs the cases of `cases/functional/`.
#[derive(Debug, Clone, Default)]
pub struct FunctionalSuite {
    strict: bool,
}

impl FunctionalSuite {
    /// The suite that takes expectations of the engine layer as seriously as all others.
    #[must_use]
    pub fn strict() -> Self {
        Self { strict: true }
    }
}

impl Suite<Target> for FunctionalSuite {
    type Spec = Spec;

    fn kind(&self) -> &'static str {
        "functional"
    }

    fn lane(&self) -> Lane {
        Lane::Shared
    }

    /// Room for a request of 120 s, two more attempts and a twin.
    fn timeout(&self) -> Duration {
        Duration::from_secs(600)
    }

    fn check(&self, spec: &Spec, mistakes: &mut Mistakes<'_>) {
        spec.mistakes(&mut |pointer, message| mistakes.at(pointer, message));
    }

    async fn run(&self, spec: &Spec, cx: &Cx<Target>) -> Observation {
        run::run(spec, cx, self.strict).await
    }
}
