//! What a run would do, without doing any of it: [`Foreseen`], one for each trial. Must not start or ask anything.
//!
//! 运行预览：离线可知的试验清单。

use std::sync::Arc;

use crate::{
    admit::{Admission, admit},
    args::Filter,
    case::ExpandedCase,
    diag::{Problem, Problems},
    fixture::Fixture,
    journal::Planned,
    select::{self, Wanted},
    session::{
        Session,
        trials::{Trial, Work},
    },
    verdict::Reason,
};

/// A trial that would be run.
#[derive(Debug, Clone)]
pub struct Foreseen {
    /// As the journal would announce it.
    pub planned: Planned,
    /// The case behind it; absent for `setup` and `gate`.
    pub case: Option<Arc<ExpandedCase>>,
    /// Why it would be skipped, as far as that is known beforehand.
    pub skip: Option<Reason>,
}

impl<F: Fixture> Session<F> {
    /// Every trial that `filter` means, in the order in which they would run.
    ///
    /// # Errors
    /// Every mistake of every file.
    pub fn foresee(&self, filter: &Filter) -> Result<Vec<Foreseen>, Vec<Problem>> {
        let wanted =
            Wanted { root: &self.root, run_type: &self.plan.selects, filter, catalogue: &self.catalogue };
        let mut problems = Problems::new();
        let cases = select::load(&self.suites, wanted, &mut problems);
        let trials = self.prepare(cases, &mut problems);
        problems.check()?;
        let declared = self.fixture.declared();
        let meant = trials.into_iter().filter(|trial| filter.matches(trial.id.as_str()));
        let foresee = |trial: Trial<F::World>| {
            let case = match &trial.work {
                Work::Case(work) => Some(Arc::clone(&work.case)),
                Work::Setup | Work::Gate(_) => None,
            };
            let skip = case.as_deref().and_then(|case| match admit(case, &declared) {
                Admission::Run => None,
                Admission::Skip(reason) => Some(reason),
            });
            Foreseen { planned: trial.planned(), case, skip }
        };
        Ok(meant.map(foresee).collect())
    }

    /// What is tested.
    pub fn fixture(&self) -> &F {
        &self.fixture
    }

    /// The run's plan, as the caller has settled it.
    pub fn plan(&self) -> &super::Plan {
        &self.plan
    }
}
