//! Who runs and who is skipped, once the server's capabilities are known: [`admit`].
//! Must not know how a capability is found out.
//!
//! 准入：依据能力决定执行或跳过。

use crate::{
    capability::{Capabilities, Finding, State},
    case::ExpandedCase,
    verdict::Reason,
};

/// What shall happen to a selected trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It runs.
    Run,
    /// It is skipped: which capability is missing, who said so, and why it is believed.
    Skip(Reason),
}

/// Skips `case` where a capability that it requires is known to be missing. A capability that nobody knows
/// about does not skip: the case runs, and the suite treats its failure with care.
pub fn admit(case: &ExpandedCase, known: &Capabilities) -> Admission {
    if !case.head.skip_if_unsupported {
        return Admission::Run;
    }
    let missing = case
        .head
        .required_capabilities
        .iter()
        .map(|id| (id, known.get(id)))
        .find(|(_, finding)| !finding.state.runs());
    match missing {
        None => Admission::Run,
        Some((id, finding)) => Admission::Skip(Reason::new("capability", summary(&id.0, &finding))),
    }
}

fn summary(id: &str, finding: &Finding) -> String {
    let state = match finding.state {
        State::Ignored => "is ignored by the server",
        State::Rejected => "is rejected by the server",
        _ => "is not supported",
    };
    format!("{id} {state} ({}: {})", finding.source, finding.evidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        capability::{CapabilityId, Source},
        case::{Head, TrialId},
    };

    fn known(state: State) -> Capabilities {
        let finding = Finding { state, source: Source::Probe, evidence: "400 names it".to_owned() };
        Capabilities([(CapabilityId("chat.tools".to_owned()), finding)].into())
    }

    fn case(skip_if_unsupported: bool) -> ExpandedCase {
        let head = Head {
            required_capabilities: vec![CapabilityId("chat.tools".to_owned())],
            skip_if_unsupported,
            ..Head::default()
        };
        let id = TrialId::new("functional::a::b").expect("a legal id");
        let mut case = ExpandedCase::of(id, serde_json::json!({}));
        case.head = head.into();
        case
    }

    #[test]
    fn a_missing_capability_skips_with_its_state_source_and_evidence() {
        let Admission::Skip(reason) = admit(&case(true), &known(State::Rejected)) else { panic!("ran") };
        assert_eq!(reason.kind, "capability");
        assert_eq!(reason.summary, "chat.tools is rejected by the server (probe: 400 names it)");
    }

    #[test]
    fn what_is_supported_accepted_or_unknown_runs() {
        for state in [State::Supported, State::Accepted, State::Unknown] {
            assert_eq!(admit(&case(true), &known(state)), Admission::Run, "{state:?}");
        }
        assert_eq!(admit(&case(true), &Capabilities::default()), Admission::Run);
    }

    #[test]
    fn a_case_that_asks_for_it_runs_although_the_capability_is_missing() {
        assert_eq!(admit(&case(false), &known(State::Unsupported)), Admission::Run);
    }
}
