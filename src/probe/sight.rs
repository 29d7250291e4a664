//! What one rung saw ([`Sight`], [`Known`]) and what all of them together come to: [`settle`], a pure function.
//! Must not know any request.
//!
//! 单级所见与最终结论（纯函数）。

use st_harness::capability::{Finding, Source, State};

/// What an experiment showed, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// The effect.
    Seen(String),
    /// No effect that this model can show; the field may work all the same.
    Unseen(String),
    /// 200, and it is proven that nothing was done.
    Ignored(String),
    /// A refusal that names it.
    Rejected(String),
    /// There is no such thing.
    Missing(String),
    /// Nothing that allows a conclusion.
    Unclear(String),
}

/// Whether a field is known to the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It minds a wrong type.
    Yes(String),
    /// It does not mind.
    No(String),
    /// Nothing that allows a conclusion.
    Unclear(String),
}

/// What holds of a capability, given what its rungs saw. An experiment decides; where it shows nothing, it counts
/// whether the field is known. Nothing at all is unknown.
pub(super) fn settle(known: Option<&Known>, sight: Option<&Sight>) -> Finding {
    let state = match (sight, known) {
        (Some(Sight::Seen(_)), _) => State::Supported,
        (Some(Sight::Ignored(_)), _) => State::Ignored,
        (Some(Sight::Rejected(_)), _) => State::Rejected,
        (Some(Sight::Missing(_)), _) => State::Unsupported,
        (Some(Sight::Unclear(_)), _) => State::Unknown,
        (Some(Sight::Unseen(_)) | None, Some(Known::Yes(_))) => State::Accepted,
        (Some(Sight::Unseen(_)) | None, Some(Known::No(_))) => State::Ignored,
        (Some(Sight::Unseen(_)) | None, Some(Known::Unclear(_)) | None) => State::Unknown,
    };
    let words = [known.map(Known::words), sight.map(Sight::words)];
    let evidence = words.into_iter().flatten().collect::<Vec<_>>().join("; ");
    let evidence = if evidence.is_empty() { "no probe was made".to_owned() } else { evidence };
    Finding { state, source: Source::Probe, evidence }
}

impl Sight {
    pub(super) fn words(&self) -> &str {
        match self {
            Self::Seen(words)
            | Self::Unseen(words)
            | Self::Ignored(words)
            | Self::Rejected(words)
            | Self::Missing(words)
            | Self::Unclear(words) => words,
        }
    }
}

impl Known {
    fn words(&self) -> &str {
        match self {
            Self::Yes(words) | Self::No(words) | Self::Unclear(words) => words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_experiment_decides_and_a_silent_one_leaves_it_to_the_type_of_the_field() {
        let known = || [Known::Yes("k".into()), Known::No("k".into()), Known::Unclear("k".into())];
        let words = || "s".to_owned();
        for (sight, state) in [
            (Sight::Seen(words()), State::Supported),
            (Sight::Ignored(words()), State::Ignored),
            (Sight::Rejected(words()), State::Rejected),
            (Sight::Missing(words()), State::Unsupported),
            (Sight::Unclear(words()), State::Unknown),
        ] {
            for known in known() {
                assert_eq!(settle(Some(&known), Some(&sight)).state, state, "{known:?}");
            }
        }
        for (known, state) in known().iter().zip([State::Accepted, State::Ignored, State::Unknown]) {
            assert_eq!(settle(Some(known), Some(&Sight::Unseen("s".into()))).state, state, "{known:?}");
            assert_eq!(settle(Some(known), None).state, state, "{known:?}");
        }
        assert_eq!(settle(None, None).state, State::Unknown);
    }

    #[test]
    fn the_evidence_is_that_of_every_rung() {
        let known = Known::Yes("a wrong type → 400 naming top_k".into());
        let finding = settle(Some(&known), Some(&Sight::Seen("top_k 1: 1 outcome of 5 seeds".into())));
        assert_eq!(finding.evidence, "a wrong type → 400 naming top_k; top_k 1: 1 outcome of 5 seeds");
        assert_eq!(finding.source, Source::Probe);
        assert_eq!(settle(None, None).evidence, "no probe was made");
    }
}
