//! All that is known of a server, in one step: [`discover`] takes a kept report or probes, and combines what it
//! finds with what is declared. Must not know who asks.
//!
//! 一步得出全部能力：缓存或探测，再与声明合并。

use jiff::Timestamp;
use serde_json::Value;
use st_harness::{
    capability::{Capabilities, CapabilityId, Finding, Source, State},
    folder::RunFolder,
    verdict::Note,
};
use tokio_util::sync::CancellationToken;

use super::{
    Facts, Report,
    ask::Asker,
    cache::{self, Cached},
    combine::combine,
    facts,
    heard::{Heard, json},
    ladder::UNASKED,
    probe,
};
use crate::{
    client::{Engine, Request, Route, Target},
    probe::Bounds,
};

/// What is known of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovered {
    /// The strongest source decides.
    pub capabilities: Capabilities,
    /// What it is.
    pub facts: Facts,
    /// Declarations that were disproved, and a cache that could not be used.
    pub notes: Vec<Note>,
}

/// What holds of `target`: `declared`, and beneath that a report kept in `kept` about this very server process, or
/// else a new one, which is then kept there. A probe that was cancelled, or ran out of time, is not
/// kept.
pub async fn discover(
    target: &Target,
    declared: &Capabilities,
    kept: Option<&RunFolder>,
    cancel: &CancellationToken,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Discovered {
    let mut notes = Vec::new();
    let report = match kept {
        Some(folder) => kept_or_new(target, folder, cancel, progress, &mut notes).await,
        None => probe(target, cancel, progress).await,
    };
    let (mut capabilities, disproved) = combine(declared, &report.capabilities);
    for (id, why) in UNASKED {
        let unasked =
            Finding { state: State::Unsupported, source: Source::None, evidence: (*why).to_owned() };
        capabilities.0.entry(CapabilityId((*id).to_owned())).or_insert(unasked);
    }
    notes.extend(disproved);
    Discovered { capabilities, facts: report.facts, notes }
}

async fn kept_or_new(
    target: &Target,
    folder: &RunFolder,
    cancel: &CancellationToken,
    progress: &(dyn Fn(&str) + Send + Sync),
    notes: &mut Vec<Note>,
) -> Report {
    let note = |text| Note { kind: "probe-cache".to_owned(), text };
    let identity = cache::identify(target, cancel).await;
    let now = Timestamp::now();
    match cache::load(folder.path(), &target.base_url, &target.model, Some(&identity), now) {
        Cached::Hit(report) => return *report,
        Cached::Absent => {}
        Cached::Unusable(why) => notes.push(note(why)),
    }
    let report = probe(target, cancel, progress).await;
    if !report.complete {
        notes.push(note(
            "the probe ran out of time: what it did not ask is unknown, and it is not kept".into(),
        ));
    } else if report.is_conclusive()
        && !cancel.is_cancelled()
        && let Err(error) = cache::save(folder, target, &report, now)
    {
        notes.push(note(format!("the probe was not kept: {error}")));
    }
    report
}

/// What `target` is, for those who ask nothing else of it: two small requests.
pub async fn recognise(target: &Target, cancel: &CancellationToken) -> Engine {
    let mut asker = Asker::new(target, cancel, Bounds::default());
    let version = asker.send(&Request::get(Route::Root("/version".into()))).await;
    let metrics = asker.send(&Request::get(Route::Root("/metrics".into()))).await;
    let facts = facts::read(&target.model, Some(&version), None, Some(&metrics), None);
    Engine { name: facts.engine, version: facts.version }
}

/// The first model that the server lists, for those who name none.
///
/// # Errors
/// What came instead of a list, in words.
pub async fn first_model(target: &Target, cancel: &CancellationToken) -> Result<String, String> {
    let mut asker = Asker::new(target, cancel, Bounds::default());
    let heard = asker.send(&Request::get(Route::Api("/models".into()))).await;
    let listed = match &heard {
        Heard::Answered(answer) => json(answer).and_then(|body| body.pointer("/data/0/id")?.as_str()),
        Heard::Refused(_) | Heard::Silent(_) => None,
    };
    listed.map(str::to_owned).ok_or_else(|| match &heard {
        Heard::Answered(answer) => {
            let body = json(answer).map_or_else(|| "no JSON".to_owned(), Value::to_string);
            format!("GET /v1/models lists no model, but says {}", super::heard::quote(&body))
        }
        other => format!("GET /v1/models → {}", other.words()),
    })
}
