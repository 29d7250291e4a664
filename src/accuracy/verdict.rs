//! How a trial ends: what is no measurement is said first, the bar is for scores that are. [`ending`] is pure. Must
//! not know how a score came to be.
//!
//! 判定：先判无效，再比对门槛。

use st_harness::{
    case::ExpandedCase,
    verdict::{Outcome, Reason, Reasons},
};

use crate::accuracy::{
    gate::{Judgement, Sureness, Verdict},
    reply::Status,
    row::Row,
    spec::{GateMode, Spec},
    tally::Tally,
};

/// What becomes of the trial; `refused` is why its score is no measurement.
pub(crate) fn ending(
    spec: &Spec,
    case: &ExpandedCase,
    tally: &Tally,
    judgement: &Judgement,
    sure: &Sureness,
    refused: Option<Outcome>,
) -> Outcome {
    if let Some(outcome) = refused {
        return outcome;
    }
    if let Some(baseline) = judgement.baseline.as_ref().filter(|baseline| baseline.verdict == Verdict::Fail) {
        let flips = baseline.flips.iter().filter(|flip| flip.now < flip.before).take(FLIPS);
        let lost: Vec<String> = flips.map(|flip| format!("{}#{}", flip.id, flip.repeat)).collect();
        let told = format!("worse than the earlier run: {}; lost: {}", baseline.told, lost.join(", "));
        return Outcome::Failed(Reasons::one(at(case, "/gate/baseline", Reason::new("regression", told))));
    }
    let holds = match judgement.mode {
        GateMode::Point if judgement.ok == Some(false) => Verdict::Fail,
        GateMode::Point => Verdict::Pass,
        GateMode::Interval => judgement.interval_verdict,
    };
    let reason = || at(case, "/min_score", Reason::new("min-score", below(spec, tally, sure)));
    match holds {
        Verdict::Pass | Verdict::Invalid => Outcome::Passed,
        Verdict::Fail => Outcome::Failed(Reasons::one(reason())),
        Verdict::Inconclusive => Outcome::Inconclusive(Reasons::one(reason())),
    }
}

/// How many lost items a headline names; all of them are in the results.
const FLIPS: usize = 10;

fn below(spec: &Spec, tally: &Tally, sure: &Sureness) -> String {
    let score = tally.score.unwrap_or_default();
    let bounds = sure.bounds.map_or_else(
        || "no interval can be told".to_owned(),
        |bounds| format!("{:.0} % interval {:.3} to {:.3}", sure.level * 100.0, bounds.low, bounds.high),
    );
    // A tool need not tell how many answers there were.
    let counted = match tally.total {
        0 => String::new(),
        total => format!("{} of {total}; ", tally.correct),
    };
    format!("expected a score of at least {}, found {score:.4} ({counted}{bounds})", spec.min_score)
}

/// Why the score is none, if it is none.
pub(crate) fn no_measurement(
    spec: &Spec,
    case: &ExpandedCase,
    tally: &Tally,
    rows: &[Row],
) -> Option<Outcome> {
    let first = || rows.iter().find_map(|row| row.failure.as_deref()).unwrap_or("no reason was given");
    if tally.not_asked > 0 {
        let told = format!("cut short: {} of {} questions were asked", tally.total, rows.len());
        if tally.count(Status::Failed) > 0 {
            let told = format!("{told}, since the server stopped answering; the first failure: {}", first());
            return Some(Outcome::Errored(Reasons::one(Reason::new("server-gone", told))));
        }
        return Some(Outcome::Invalid(Reasons::one(Reason::new("invalid-measurement", told))));
    }
    let failed = tally.share(Status::Failed).unwrap_or(0.0);
    if failed > spec.max_failed_ratio {
        let told = format!(
            "{} of {} questions got no answer; the first: {}",
            tally.count(Status::Failed),
            tally.total,
            first()
        );
        let reasons = Reasons::one(at(case, "/max_failed_ratio", Reason::new("failed-requests", told)));
        return Some(if failed < 1.0 { Outcome::Invalid(reasons) } else { Outcome::Errored(reasons) });
    }
    let invalid = |pointer, kind, told| {
        Some(Outcome::Invalid(Reasons::one(at(case, pointer, Reason::new(kind, told)))))
    };
    let truncated = tally.share(Status::Truncated).unwrap_or(0.0);
    if truncated > spec.max_truncated_ratio {
        let told = format!(
            "truncated: {:.0} % of the answers reached max_tokens {} (accepted: {:.0} %), so the score tells of the \
             limit and not of the model; raise max_tokens",
            truncated * 100.0,
            spec.max_tokens,
            spec.max_truncated_ratio * 100.0
        );
        return invalid("/max_tokens", "truncated", told);
    }
    let unparsed = tally.unparsed_share().unwrap_or(0.0);
    if unparsed > spec.max_unparsed_ratio {
        let told = format!(
            "unparsed: in {:.0} % of the whole answers nothing was found (accepted: {:.0} %), so the score tells of \
             the format and not of the model",
            unparsed * 100.0,
            spec.max_unparsed_ratio * 100.0
        );
        return invalid("/max_unparsed_ratio", "unparsed", told);
    }
    None
}

/// `reason` with the line of the case that asked for it.
pub(crate) fn at(case: &ExpandedCase, pointer: &str, reason: Reason) -> Reason {
    let snippet = case.origin.snippet(pointer, &reason.summary).unwrap_or_default();
    let reason = reason.with_detail(snippet);
    match case.origin.place(pointer) {
        Some(place) => reason.at(place),
        None => reason,
    }
}
