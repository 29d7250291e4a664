//! What an event must look like before it is written: [`clean`] masks secrets and drops numbers that are none.
//! Every field is named here, so that a new one asks whether somebody else's text can stand in it. Identities
//! (ids, hashes, paths, names of suites and scenarios) are left alone: they are ours, and masking them would
//! tear a run apart. Must not know the file.
//!
//! 写入前的清洗：遮盖密钥，去除非有限数。

use serde_json::{Map, Value};

use crate::{
    capability::Capabilities,
    journal::{Environment, Event, Planned, RunStarted, TrialFinished},
    redact::Redactor,
    verdict::{Details, Measurement, Note, Reason, Workload},
};

/// `event` as it may leave.
pub(super) fn clean(event: Event, redactor: &Redactor) -> Event {
    let clean = Clean(redactor);
    match event {
        Event::RunStarted(started) => Event::RunStarted(Box::new(clean.started(*started))),
        Event::TrialPlanned(planned) => Event::TrialPlanned(clean.planned(planned)),
        Event::ServerReady { effective, capabilities } => Event::ServerReady {
            effective: clean.value(effective),
            capabilities: clean.capabilities(capabilities),
        },
        Event::TrialStarted { trial_id, sidecar } => Event::TrialStarted { trial_id, sidecar },
        Event::Note { trial_id, note } => Event::Note { trial_id, note: clean.note(note) },
        Event::TrialFinished(finished) => Event::TrialFinished(Box::new(clean.finished(*finished))),
        Event::GateDecided { gate, trial_id, verdict, reasons, numbers } => Event::GateDecided {
            gate,
            trial_id,
            verdict,
            reasons: clean.reasons(reasons),
            numbers: clean.value(numbers),
        },
        Event::RunFinished(finished) => Event::RunFinished(finished),
    }
}

struct Clean<'a>(&'a Redactor);

impl Clean<'_> {
    fn text(&self, text: String) -> String {
        self.0.redact_owned(text)
    }

    fn texts(&self, texts: Vec<String>) -> Vec<String> {
        texts.into_iter().map(|text| self.text(text)).collect()
    }

    fn value(&self, value: Value) -> Value {
        self.0.redact_value(value)
    }

    fn map(&self, map: Map<String, Value>) -> Map<String, Value> {
        map.into_iter().map(|(key, value)| (self.text(key), self.value(value))).collect()
    }

    fn started(&self, started: RunStarted) -> RunStarted {
        let RunStarted {
            run_id,
            parent_run,
            scenario,
            run_type,
            git,
            tool,
            argv,
            variables,
            environment,
            requested,
            terms,
        } = started;
        let Environment { observed, hash } = environment;
        let observed = observed.into_iter().map(|(name, value)| (name, self.value(value))).collect();
        RunStarted {
            run_id,
            parent_run,
            scenario,
            run_type,
            git,
            tool,
            argv: self.texts(argv),
            variables: variables.into_iter().map(|(name, value)| (name, self.text(value))).collect(),
            environment: Environment { observed, hash },
            requested: self.value(requested),
            terms: self.value(terms),
        }
    }

    fn planned(&self, planned: Planned) -> Planned {
        let Planned {
            trial_id,
            case_id,
            kind,
            suite,
            about,
            tags,
            required_capabilities,
            place,
            values,
            case_hash,
        } = planned;
        Planned {
            trial_id,
            case_id,
            kind,
            suite,
            about: about.map(|about| self.text(about)),
            tags: self.texts(tags),
            required_capabilities,
            place,
            values: self.map(values),
            case_hash,
        }
    }

    fn capabilities(&self, Capabilities(mut findings): Capabilities) -> Capabilities {
        for finding in findings.values_mut() {
            finding.evidence = self.text(std::mem::take(&mut finding.evidence));
        }
        Capabilities(findings)
    }

    fn finished(&self, finished: TrialFinished) -> TrialFinished {
        let TrialFinished {
            trial_id,
            attempt,
            verdict,
            reasons,
            duration_ns,
            workload,
            seed,
            measurements,
            details,
            artifacts,
        } = finished;
        TrialFinished {
            trial_id,
            attempt,
            verdict,
            reasons: self.reasons(reasons),
            duration_ns,
            workload: workload.map(|Workload { key, hash }| Workload { key: self.map(key), hash }),
            seed,
            measurements: measurements.into_iter().map(|one| self.measurement(one)).collect(),
            details: details.map(|Details { schema, value }| Details { schema, value: self.value(value) }),
            artifacts,
        }
    }

    fn reasons(&self, reasons: Vec<Reason>) -> Vec<Reason> {
        let mask = |Reason { kind, summary, detail, place }| Reason {
            kind,
            summary: self.text(summary),
            detail: self.text(detail),
            place,
        };
        reasons.into_iter().map(mask).collect()
    }

    fn note(&self, Note { kind, text }: Note) -> Note {
        Note { kind, text: self.text(text) }
    }

    /// JSON knows neither NaN nor infinity: such a figure is missing, and says so, in memory as in the file.
    fn measurement(&self, measurement: Measurement) -> Measurement {
        let Measurement { name, stat, unit, value, null_reason, n, definition, source, labels } = measurement;
        let (value, null_reason) = match value {
            Some(figure) if !figure.is_finite() => (None, Some(format!("{figure} is not a finite number"))),
            value => (value, null_reason.map(|reason| self.text(reason))),
        };
        Measurement { name, stat, unit, value, null_reason, n, definition, source, labels: self.map(labels) }
    }
}
