//! Gates over a whole run, as trials of their own: [`Gates`]. They keep a broken probe from turning a suite
//! green. Gates over single trials: [`TrialGate`]. Must not know what a capability means, nor how a trial is run.
//!
//! 整次运行的门禁：防止错误的能力探测让套件"变绿"。

mod trial;

use serde_json::{Value, json};

pub use trial::{Ruling, Subject, TrialGate, decide, decide_again};

use crate::{
    capability::{Capabilities, CapabilityId},
    verdict::{Outcome, Reason, Reasons},
};

/// What a run as a whole must keep to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gates {
    /// The server must have these.
    pub require_capabilities: Vec<CapabilityId>,
    /// At most so many trials may be skipped.
    pub max_skipped: Option<u64>,
}

/// One gate of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// See [`Gates::require_capabilities`].
    RequireCapabilities(Vec<CapabilityId>),
    /// See [`Gates::max_skipped`].
    MaxSkipped(u64),
}

/// What a gate is decided on.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What is known of the server.
    pub capabilities: Capabilities,
    /// How many trials were skipped.
    pub skipped: u64,
}

impl Gates {
    /// The gates that are set, in the order in which they are decided.
    pub fn all(&self) -> Vec<Gate> {
        let mut all = Vec::new();
        if !self.require_capabilities.is_empty() {
            all.push(Gate::RequireCapabilities(self.require_capabilities.clone()));
        }
        all.extend(self.max_skipped.map(Gate::MaxSkipped));
        all
    }
}

impl Gate {
    /// Its name: the last segment of its trial's id.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RequireCapabilities(_) => "required_capabilities",
            Self::MaxSkipped(_) => "max_skipped",
        }
    }

    /// Decides it. Pure, so that a report can decide it again.
    pub fn decide(&self, facts: &Facts) -> (Outcome, Value) {
        match self {
            Self::RequireCapabilities(ids) => {
                let missing: Vec<String> = ids
                    .iter()
                    .map(|id| (id, facts.capabilities.get(id)))
                    .filter(|(_, finding)| !finding.state.is_there())
                    .map(|(id, finding)| {
                        format!("{id} is {} ({}: {})", finding.state, finding.source, finding.evidence)
                    })
                    .collect();
                let numbers = json!({"required": ids.len(), "missing": missing.len()});
                (failed_unless(missing.is_empty(), "required-capability", || missing.join("; ")), numbers)
            }
            Self::MaxSkipped(most) => {
                let numbers = json!({"max_skipped": most, "skipped": facts.skipped});
                let say = || format!("expected at most {most} skipped trials, found {}", facts.skipped);
                (failed_unless(facts.skipped <= *most, "max-skipped", say), numbers)
            }
        }
    }
}

fn failed_unless(good: bool, kind: &str, summary: impl FnOnce() -> String) -> Outcome {
    if good { Outcome::Passed } else { Outcome::Failed(Reasons::one(Reason::new(kind, summary()))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::{Finding, Source, State};

    fn facts(state: State, skipped: u64) -> Facts {
        let finding = Finding { state, source: Source::Probe, evidence: "seen".to_owned() };
        Facts { capabilities: Capabilities([(CapabilityId("chat.tools".into()), finding)].into()), skipped }
    }

    #[test]
    fn a_required_capability_must_be_there_and_unknown_is_not_enough() {
        let gate = Gate::RequireCapabilities(vec![CapabilityId("chat.tools".into())]);
        assert_eq!(gate.decide(&facts(State::Supported, 0)).0, Outcome::Passed);
        assert_eq!(gate.decide(&facts(State::Accepted, 0)).0, Outcome::Passed);
        for state in [State::Unknown, State::Ignored, State::Rejected, State::Unsupported] {
            let (outcome, numbers) = gate.decide(&facts(state, 0));
            assert!(matches!(outcome, Outcome::Failed(_)), "{state:?}");
            assert_eq!(numbers, json!({"required": 1, "missing": 1}));
        }
    }

    #[test]
    fn the_bound_on_skips_is_inclusive() {
        assert_eq!(Gate::MaxSkipped(2).decide(&facts(State::Supported, 2)).0, Outcome::Passed);
        let (Outcome::Failed(reasons), _) = Gate::MaxSkipped(2).decide(&facts(State::Supported, 3)) else {
            panic!("passed")
        };
        assert_eq!(reasons.first().summary, "expected at most 2 skipped trials, found 3");
    }

    #[test]
    fn a_gate_that_is_not_set_is_no_trial() {
        assert_eq!(Gates::default().all(), []);
    }
}
