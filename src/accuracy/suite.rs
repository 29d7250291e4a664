//! The suite: [`Accuracy`] turns a [`Spec`] into an observation. Must not know how a benchmark is asked or scored;
//! it only joins the steps.
//!
//! 精度套件：串联数据、作答、计分与判定。

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use st_harness::{
    case::ExpandedCase,
    diag::Problem,
    folder::RunFolder,
    lane::Lane,
    redact::Redactor,
    suite::{Cx, Mistakes, Suite},
    verdict::{Details, Note, Observation, Outcome, Reason, Reasons},
};

use crate::{
    accuracy::{
        answers::{self, Answers},
        data::{Supply, Unready},
        evaluator::{self, Exam, Question, Scored},
        gate::{Power, compare, judge, sureness},
        metrics,
        model::{Model, request},
        preflight::preflight,
        reply::Status,
        rescore, results,
        row::{Row, Sent},
        run::{Ask, Asked, Pace, ask_all},
        sandbox::Sandbox,
        spec::Spec,
        tally::Tally,
        tool,
        verdict::{ending, no_measurement},
    },
    client::Target,
    config::Environment,
    tools::{Kind, Tools},
    workload::{sha256_hex, workload},
};

/// The variable that names the folder with the files of the benchmarks.
pub const DATA_VARIABLE: &str = "VLLM_CIBENCH_ACCURACY_DATA";

/// Accuracy cases. Their files are named after run types: `smoke`, `pr`, `daily`.
#[derive(Debug, Clone)]
pub struct Accuracy {
    root: Utf8PathBuf,
    environment: Environment,
    answers: Utf8PathBuf,
    redactor: Arc<Redactor>,
    identity: String,
    tools: Tools,
}

impl Accuracy {
    /// The suite whose case files are told relative to `root`: the root of cases and configs.
    pub fn new(root: impl Into<Utf8PathBuf>) -> Self {
        let root = root.into();
        Self {
            answers: root.join(answers::FOLDER),
            root,
            environment: Environment::default(),
            redactor: Arc::default(),
            identity: String::new(),
            tools: Tools::default(),
        }
    }

    /// The same, finding data through the variables of `environment`.
    #[must_use]
    pub fn in_environment(self, environment: &Environment) -> Self {
        Self { environment: environment.clone(), ..self }
    }

    /// The same, keeping what is answered in `folder`, masked by `redactor`.
    #[must_use]
    pub fn keeping_answers_in(self, folder: impl Into<Utf8PathBuf>, redactor: Arc<Redactor>) -> Self {
        Self { answers: folder.into(), redactor, ..self }
    }

    /// The same, telling by `identity` (scenario, address) which server's answers an unfinished run may take up.
    #[must_use]
    pub fn identified_by(self, identity: impl Into<String>) -> Self {
        Self { identity: identity.into(), ..self }
    }

    /// The same with `tools`, which a case may name.
    #[must_use]
    pub fn with_tools(self, tools: Tools) -> Self {
        Self { tools, ..self }
    }

    /// The path that a case writes: as it is opened, and as people know it.
    fn resolve(
        &self,
        written: &str,
        pointer: &str,
        case: &ExpandedCase,
    ) -> Option<(Utf8PathBuf, Utf8PathBuf)> {
        if let Some(name) = written.strip_prefix("env:") {
            let path = self.environment.get(name)?;
            return Some((self.root.join(path), path.into()));
        }
        let file = case.origin.place(pointer).map_or_else(|| "cases/accuracy/_".into(), |place| place.file);
        let shown = file.parent().unwrap_or(Utf8Path::new("")).join(written);
        Some((self.root.join(&shown), shown))
    }

    fn supply(&self, spec: &Spec, case: &ExpandedCase) -> Supply {
        let named = spec.data.as_deref();
        let folder = self.environment.get(DATA_VARIABLE);
        match (named, folder) {
            (Some(written), _) => match self.resolve(written, "/data", case) {
                Some((opened, shown)) => Supply::default().or(opened, shown),
                None => Supply::default().or("/nonexistent", written),
            },
            (None, Some(folder)) => Supply::default().or(self.root.join(folder), folder),
            (None, None) => Supply::default(),
        }
    }

    fn open_answers(&self, spec: &Spec, cx: &Cx<Target>, identity: &str) -> Result<Answers, String> {
        let folder =
            RunFolder::open(&self.answers, Arc::clone(&self.redactor)).map_err(|error| error.to_string())?;
        let name = format!(
            "{}.{}.jsonl",
            cx.case.id.as_str().replace("::", "."),
            &sha256_hex(identity.as_bytes())[..8]
        );
        Answers::open(&folder, &name, spec.resume)
    }
}

impl Suite<Target> for Accuracy {
    type Spec = Spec;

    fn kind(&self) -> &'static str {
        "accuracy"
    }

    fn lane(&self) -> Lane {
        Lane::Exclusive
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(90 * 60)
    }

    fn selects(&self, file: &str, run_type: &str) -> bool {
        file == run_type
    }

    fn check(&self, spec: &Spec, mistakes: &mut Mistakes<'_>) {
        spec.check(mistakes);
        if let Some(used) = &spec.tool {
            self.tools.check(used, Kind::Accuracy, mistakes);
        }
    }

    async fn run(&self, spec: &Spec, cx: &Cx<Target>) -> Observation {
        if let Some(used) = &spec.tool {
            return tool::observe(&self.tools, spec, used, cx).await;
        }
        let exam = match spec.evaluator.exam(&self.supply(spec, &cx.case), &spec.choose()) {
            Ok(exam) => exam,
            Err(unready) => return not_evaluated(spec, unready),
        };
        if let Err(why) = can_run_code(spec).await {
            return not_evaluated(spec, Unready::Unguarded(why));
        }
        let mut notes: Vec<Note> = exam.warnings.iter().map(|text| note("data", text.clone())).collect();
        let baseline = self.baseline(spec, &cx.case).unwrap_or_else(|told| {
            notes.push(note("no-baseline", told));
            None
        });
        let target = target(spec, cx);
        let preflight = preflight(spec, &target, &exam.questions, &cx.cancel).await;
        notes.extend(preflight.notes);
        if let Some(reason) = preflight.refusal {
            return Observation { notes, ..Observation::new(Outcome::Invalid(Reasons::one(reason))) };
        }
        notes.push(announced(spec, &cx.case, &exam));
        let rows = match self.ask(spec, cx, &target, &exam, &mut notes).await {
            Ok(rows) => rows,
            // What was answered is kept: the next run takes it up.
            Err(told) => {
                let reasons = Reasons::one(Reason::new("sandbox", told));
                return Observation { notes, ..Observation::new(Outcome::Errored(reasons)) };
            }
        };
        let mut observation = conclude(spec, &cx.case, &exam, &rows, baseline.as_deref());
        if spec.evaluator.runs_code()
            && let Some(details) = &mut observation.details
        {
            details.value["sandbox"] = json!(Sandbox::shared().await.reach());
        }
        write(spec, cx, &target.model, &exam, &rows, &mut observation);
        observation.notes.extend(notes);
        observation
    }
}

impl Accuracy {
    /// Asks what an earlier run was not told, and marks all answers. What is odd goes to `notes`.
    async fn ask(
        &self,
        spec: &Spec,
        cx: &Cx<Target>,
        target: &Target,
        exam: &Exam,
        notes: &mut Vec<Note>,
    ) -> Result<Vec<Row>, String> {
        let engine = &target.engine;
        let identity = format!("{}\n{:?} {:?}\n{}", self.identity, engine.name, engine.version, target.model);
        let (asks, sent): (Vec<Ask>, Vec<Sent>) =
            exam.questions.iter().map(|question| request(spec, target, &identity, question)).unzip();
        let answers = self.open_answers(spec, cx, &identity).unwrap_or_else(|error| {
            notes.push(note("answers", format!("answers are not kept: {error}")));
            Answers::none()
        });
        let model = Model::new(target, spec, &cx.cancel);
        let pace = Pace { workers: spec.workers, gone_after: spec.workers.max(8) };
        let asked = ask_all(&model, &asks, pace, &answers, &cx.cancel).await;
        let taken_up = asks.iter().filter(|ask| answers.get(&ask.key).is_some()).count();
        if taken_up > 0 {
            let told =
                format!("{taken_up} of {} answers are those of an earlier run that was killed", asks.len());
            notes.push(note("resumed", told));
        }
        let rows = mark_all(spec, &exam.questions, sent, &asked).await?;
        if rows.iter().all(|row| row.status.is_some())
            && let Err(error) = answers.finish()
        {
            notes.push(note("answers", error));
        }
        Ok(rows)
    }

    /// The earlier run to compare with, where the case names one.
    fn baseline(&self, spec: &Spec, case: &ExpandedCase) -> Result<Option<Vec<Row>>, String> {
        let Some(written) = &spec.gate.baseline else { return Ok(None) };
        let (opened, shown) = self
            .resolve(written, "/gate/baseline", case)
            .ok_or_else(|| format!("the variable of {written} is not set: nothing is compared"))?;
        let text =
            std::fs::read_to_string(&opened).map_err(|error| format!("cannot read {shown}: {error}"))?;
        rescore::read(&text).map(Some).map_err(|error| format!("{shown}: {error}"))
    }
}

/// The server, whose exchanges are recorded under this trial's name; those about a gated benchmark are not.
fn target(spec: &Spec, cx: &Cx<Target>) -> Target {
    let target = cx.world.scoped(cx.case.id.as_str());
    if spec.redacts() { Target { client: target.client.clone().unrecorded(), ..target } } else { target }
}

/// What a run of this size can see, said before it begins.
fn announced(spec: &Spec, case: &ExpandedCase, exam: &Exam) -> Note {
    let stems = exam.questions.iter().map(|question| question.stem.as_str());
    let told = Power::of(stems, spec.min_score, spec.gate.alpha).told();
    eprintln!("{}: {} questions; {told}", case.id, exam.questions.len());
    note("power", told)
}

/// Leaves the files of a finished run; one that cannot be written is told.
fn write(
    spec: &Spec,
    cx: &Cx<Target>,
    model: &str,
    exam: &Exam,
    rows: &[Row],
    observation: &mut Observation,
) {
    let flat = metrics::flat(spec.evaluator, rows);
    let details = observation.details.as_ref().map(|details| details.value.clone()).unwrap_or_default();
    let time = jiff::Timestamp::now().strftime("%Y%m%d_%H%M%S").to_string();
    let stem = results::stem(spec.dataset(), model, &time);
    let title = format!("{} {model}", spec.dataset());
    let files = [
        ("items", "items.jsonl".to_owned(), "application/jsonl", lines(rows)),
        ("results", format!("{stem}.json"), "application/json", results::json(&flat, &details)),
        (
            "page",
            format!("{stem}.html"),
            "text/html",
            results::html(&title, &flat, &exam.questions, rows, spec.redacts()),
        ),
    ];
    for (role, name, media, text) in files {
        match cx.folder.write(role, &name, media, &text) {
            Ok(artifact) => observation.artifacts.push(artifact),
            Err(error) => observation.notes.push(note("files", error.to_string())),
        }
    }
}

/// Whether answers may be run here, where they are to be run at all.
async fn can_run_code(spec: &Spec) -> Result<(), String> {
    match spec.evaluator.runs_code() {
        true => Sandbox::shared().await.at_least(spec.sandbox).map(|_| ()),
        false => Ok(()),
    }
}

/// Marks every answer; a request that failed has none.
async fn mark_all(
    spec: &Spec,
    questions: &[Question],
    sent: Vec<Sent>,
    asked: &[Option<Asked>],
) -> Result<Vec<Row>, String> {
    // A loop, and no closure: the compiler cannot tell that a closure over borrowed questions is `Send`.
    let mut marking = Vec::with_capacity(questions.len());
    for (question, asked) in questions.iter().zip(asked) {
        marking.push(mark(question, asked.as_ref()));
    }
    // Programs wait for a free place of the sandbox by themselves; all else does not wait.
    let scores: Vec<Option<Scored>> = stream::iter(marking).buffered(16).try_collect().await?;
    let mut rows = Vec::with_capacity(questions.len());
    for (((question, sent), asked), scored) in questions.iter().zip(sent).zip(asked).zip(scores) {
        rows.push(Row::of(question, sent, asked.as_ref(), scored, spec.redacts()));
    }
    spec.evaluator.join(&mut rows);
    Ok(rows)
}

async fn mark(question: &Question, asked: Option<&Asked>) -> Result<Option<Scored>, String> {
    match asked.map(|asked| &asked.reply).filter(|reply| reply.status != Status::Failed) {
        Some(reply) => question.key.mark(reply.text.as_deref().unwrap_or_default()).await.map(Some),
        None => Ok(None),
    }
}

fn lines(rows: &[Row]) -> String {
    rows.iter().map(|row| format!("{}\n", json!(row))).collect()
}

pub(super) fn note(kind: &str, text: String) -> Note {
    Note { kind: kind.to_owned(), text }
}

/// No questions, no score: a skip where the items were not supplied, unless they are required.
fn not_evaluated(spec: &Spec, unready: Unready) -> Observation {
    let reason = match unready {
        Unready::Bad(problems) => {
            return Observation::new(Outcome::Errored(Reasons::one(unreadable(&problems))));
        }
        Unready::Missing(told) => Reason::new("data", told),
        Unready::Unguarded(told) => Reason::new("sandbox", told),
    };
    if spec.required {
        return Observation::new(Outcome::Failed(Reasons::one(reason)));
    }
    let mut observation = Observation::new(Outcome::Skipped(reason));
    if spec.min_score > 0.0 {
        let told = format!("not evaluated: {} of at least {} was asked for", spec.dataset(), spec.min_score);
        observation.notes.push(note("not-evaluated", told));
    }
    observation
}

/// All mistakes of a file, the first in the headline.
fn unreadable(problems: &[Problem]) -> Reason {
    let line = |problem: &Problem| match &problem.place {
        Some(place) => format!("{}:{}:{}: {}", place.file, place.line, place.column, problem.message),
        None => problem.message.clone(),
    };
    let all: Vec<String> = problems.iter().map(line).collect();
    let first = all.first().cloned().unwrap_or_else(|| "the items cannot be read".to_owned());
    let place = problems.iter().find_map(|problem| problem.place.clone());
    let reason = Reason::new("data", first).with_detail(all.join("\n"));
    match place {
        Some(place) => reason.at(place),
        None => reason,
    }
}

/// From rows to an observation.
fn conclude(
    spec: &Spec,
    case: &ExpandedCase,
    exam: &Exam,
    rows: &[Row],
    baseline: Option<&[Row]>,
) -> Observation {
    let tally = Tally::of(rows, spec.compat);
    let refused = no_measurement(spec, case, &tally, rows);
    let sure = sureness(rows, &tally, spec.compat, LEVEL);
    let compared = baseline.map(|before| compare(before, rows, spec.compat, &spec.gate));
    let judgement = judge(spec, rows, &tally, refused.is_none(), compared);
    let sum = |of: fn(&Row) -> Option<u64>| rows.iter().filter_map(of).sum::<u64>();
    let questions_sha256 = questions_sha256(rows);
    let details = json!({
        "accuracy": {
            "task": spec.dataset(),
            "score": tally.score,
            "correct": tally.correct,
            "total": tally.total,
            "ok": judgement.ok,
        },
        spec.evaluator.upstream(): metrics::flat(spec.evaluator, rows),
        "interval": sure,
        "gate": judgement,
        "tally": tally,
        "extractor": spec.evaluator.extractor(),
        "other_extractor": evaluator::robust::EXTRACTOR,
        "compat": spec.compat,
        "files": exam.files,
        "questions_sha256": questions_sha256,
        "tokens": {"prompt": sum(|row| row.prompt_tokens), "completion": sum(|row| row.completion_tokens)},
    });
    let repeated = rows.iter().filter(|row| row.attempts > 1).count();
    let retried =
        (repeated > 0).then(|| note("retried", format!("{repeated} questions needed more than one attempt")));
    let against = judgement.baseline.as_ref().map(|baseline| note("baseline", baseline.told.clone()));
    Observation {
        outcome: ending(spec, case, &tally, &judgement, &sure, refused),
        notes: retried.into_iter().chain(against).collect(),
        measurements: tally.measurements(spec.dataset(), &sure),
        details: Some(Details { schema: "accuracy/2".to_owned(), value: details }),
        artifacts: Vec::new(),
        workload: Some(workload(spec.workload_key(&questions_sha256, rows.len()))),
        seed: None,
    }
}

/// The confidence of intervals that are shown.
pub(super) const LEVEL: f64 = 0.95;

/// One hash over all prompts in their order.
fn questions_sha256(rows: &[Row]) -> String {
    let all: String = rows.iter().map(|row| format!("{}\n", row.prompt_sha256)).collect();
    sha256_hex(all.as_bytes())
}
