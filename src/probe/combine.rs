//! What is declared against what was probed: [`combine`], a pure function. The strongest source decides; where a
//! probe disproves a declaration, that is told. Must not know how either came to be.
//!
//! 声明与探测的合并；矛盾必报。

use st_harness::{
    capability::{Capabilities, State},
    verdict::Note,
};

/// All that is known: of two sources that speak of the same capability the stronger counts. What is unknown to a
/// source is not spoken of by it. The notes tell each declaration that the probe disproves, either way.
pub fn combine(declared: &Capabilities, probed: &Capabilities) -> (Capabilities, Vec<Note>) {
    let mut all = probed.clone();
    let mut notes = Vec::new();
    for (id, said) in declared.0.iter().filter(|(_, said)| said.state != State::Unknown) {
        match probed.0.get(id) {
            Some(seen) if seen.state != State::Unknown && seen.state.is_there() != said.state.is_there() => {
                let text = format!(
                    "{id} is declared {} ({}), but the probe found it {}: {}",
                    said.state, said.evidence, seen.state, seen.evidence
                );
                notes.push(Note { kind: "capability-disproved".to_owned(), text });
            }
            _ => {}
        }
        let stronger =
            probed.0.get(id).is_none_or(|seen| said.source <= seen.source || seen.state == State::Unknown);
        if stronger {
            all.0.insert(id.clone(), said.clone());
        }
    }
    (all, notes)
}

#[cfg(test)]
mod tests {
    use st_harness::capability::{CapabilityId, Finding, Source};

    use super::*;

    fn one(id: &str, state: State, source: Source, evidence: &str) -> Capabilities {
        Capabilities(
            [(CapabilityId(id.to_owned()), Finding { state, source, evidence: evidence.into() })].into(),
        )
    }

    fn declared(state: State) -> Capabilities {
        one("chat.tools", state, Source::Declared, "declared by scenario `x`")
    }

    fn probed(state: State) -> Capabilities {
        one("chat.tools", state, Source::Probe, "a named tool → 400: no")
    }

    #[test]
    fn a_declaration_wins_and_is_told_when_the_probe_disproves_it() {
        let (all, notes) = combine(&declared(State::Supported), &probed(State::Rejected));
        assert_eq!(all, declared(State::Supported));
        assert_eq!(notes.len(), 1);
        assert_eq!(notes[0].kind, "capability-disproved");
        assert_eq!(
            notes[0].text,
            "chat.tools is declared supported (declared by scenario `x`), but the probe found it rejected: \
             a named tool → 400: no"
        );
    }

    #[test]
    fn a_thing_declared_missing_that_is_there_is_told_too() {
        let (all, notes) = combine(&declared(State::Unsupported), &probed(State::Supported));
        assert_eq!((all, notes.len()), (declared(State::Unsupported), 1));
    }

    #[test]
    fn a_probe_that_agrees_or_knows_nothing_disproves_nothing() {
        for seen in [State::Supported, State::Accepted, State::Unknown] {
            let (all, notes) = combine(&declared(State::Supported), &probed(seen));
            assert_eq!((all, notes), (declared(State::Supported), vec![]), "{seen}");
        }
    }

    #[test]
    fn what_only_one_source_speaks_of_is_taken_from_it() {
        let environment = one("chat.n", State::Unsupported, Source::Environment, "declared by X");
        let (all, notes) = combine(&environment, &probed(State::Supported));
        assert_eq!((all.0.len(), notes.len()), (2, 0));
        let unknown = declared(State::Unknown);
        assert_eq!(combine(&unknown, &probed(State::Supported)).0, probed(State::Supported));
    }
}
