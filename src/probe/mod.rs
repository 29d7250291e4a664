//! Finds out what a server can do: [`probe`] climbs a ladder of small requests and says of each capability what
//! holds, and why it believes so. The server need not be believed: a field counts as supported when its effect was
//! seen. Must not know which case needs what.
//!
//! The ladder: routes, a control request, a wrong type for each field, an experiment for each effect, a few edges
//! of ranges. Everything is sent one after the other, no request asks for more than six tokens save the few that
//! must come to an end to show anything (a tool call, a constrained object, the responses API's minimum), and
//! nothing is sent twice unless the repetition is the point.
//!
//! 能力探测：逐级试探，每个结论附证据。

mod ask;
pub mod cache;
pub mod combine;
mod control;
pub mod discover;
mod effect;
mod facts;
mod ground;
mod heard;
mod ladder;
mod range;
mod routes;
mod sight;
pub mod table;
mod type_violation;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;
use st_harness::capability::{Capabilities, CapabilityId, Finding, State};
use tokio_util::sync::CancellationToken;

pub use self::facts::Facts;
use self::{
    ask::Asker,
    ground::Ground,
    heard::Heard,
    ladder::{LADDER, Step},
    routes::ROUTES,
    sight::{Known, Sight, settle},
};
use crate::client::Target;

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What it can do, with the evidence.
    pub capabilities: Capabilities,
    /// What it is.
    pub facts: Facts,
    /// How many requests that took.
    pub requests: u64,
    /// How long, in milliseconds.
    pub took_ms: u64,
    /// Whether all was asked that should be; false where the [`Bounds`] were reached first.
    pub complete: bool,
}

impl Report {
    /// Whether anything at all was found out.
    pub fn is_conclusive(&self) -> bool {
        self.capabilities.0.values().any(|finding| finding.state != State::Unknown)
    }
}

/// How much a probe may cost. What does not fit stays unknown, and says so; what is unknown decides nothing, so that a
/// slow server is rather given its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// All of it, on a server that answers briskly.
    pub total: Duration,
    /// All of it, on one that does not: the time grows with the pace of the plain request, up to this.
    pub stretched: Duration,
    /// One request.
    pub request: Duration,
    /// How many requests.
    pub requests: u64,
}

impl Default for Bounds {
    /// 120 s in all, 15 minutes on a slow server; 30 s a request, 160 requests.
    fn default() -> Self {
        Self {
            total: Duration::from_secs(120),
            stretched: Duration::from_secs(900),
            request: Duration::from_secs(30),
            requests: 160,
        }
    }
}

/// Finds out what `target` can do, within the default [`Bounds`]. `progress` gets a line for each rung. Never
/// fails: where nothing could be found out, each capability is unknown and tells why.
pub async fn probe(
    target: &Target,
    cancel: &CancellationToken,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Report {
    probe_within(target, Bounds::default(), cancel, progress).await
}

/// As [`probe`], within `bounds`.
pub async fn probe_within(
    target: &Target,
    bounds: Bounds,
    cancel: &CancellationToken,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Report {
    let mut climb = Climb { asker: Asker::new(target, cancel, bounds), found: Found::default() };
    progress("probing: routes");
    let heard = climb.routes().await;
    let control = climb.control(progress).await;
    let said = |id: &str| heard.iter().find(|(known, _)| *known == id).map(|(_, heard)| heard);
    let fingerprint = control.fingerprint.as_deref();
    let mut facts = facts::read(
        &target.model,
        said("server.version"),
        said("server.models"),
        said("server.metrics"),
        fingerprint,
    );
    facts::recognise(&mut climb.asker, &mut facts).await;
    facts.refuses_unknown_fields = control.ground.strict;
    climb.types(&control, progress).await;
    climb.effects(&control, progress).await;
    if control.stop.is_none() {
        facts.validates_ranges = range::validates(&mut climb.asker, &control.ground).await;
        facts.reasoning_key = climb.reasoning_key(&control.ground).await;
    }
    Report {
        capabilities: climb.found.settled(),
        complete: !climb.asker.ran_out(),
        facts,
        requests: climb.asker.sent(),
        took_ms: u64::try_from(climb.asker.took().as_millis()).unwrap_or(u64::MAX),
    }
}

/// What the rungs saw, by capability.
#[derive(Debug, Default)]
struct Found {
    known: BTreeMap<&'static str, Known>,
    sights: BTreeMap<&'static str, Sight>,
}

impl Found {
    fn see(&mut self, id: &'static str, sight: Sight) {
        self.sights.insert(id, sight);
    }

    fn settled(&self) -> Capabilities {
        let ids = self.known.keys().chain(self.sights.keys());
        let finding = |id: &str| -> Finding { settle(self.known.get(id), self.sights.get(id)) };
        Capabilities(ids.map(|id| (CapabilityId((*id).to_owned()), finding(id))).collect())
    }
}

/// The bottom of the ladder: what to stand on, and which families cannot be asked any further.
struct Base {
    ground: Ground,
    stop: Option<Sight>,
    completions_stop: Option<Sight>,
    fingerprint: Option<String>,
}

impl Base {
    /// Why nothing can be asked about `id`.
    fn stop(&self, id: &str) -> Option<&Sight> {
        if id.starts_with("completions") { self.completions_stop.as_ref() } else { self.stop.as_ref() }
    }
}

struct Climb<'a> {
    asker: Asker<'a>,
    found: Found,
}

impl Climb<'_> {
    async fn routes(&mut self) -> Vec<(&'static str, Heard)> {
        let mut all = Vec::new();
        for route in ROUTES {
            let heard = self.asker.send(&(route.request)(&self.asker.target().model)).await;
            self.found.see(route.id, route.judge(&heard));
            all.push((route.id, heard));
        }
        let heard = self.asker.send(&routes::wrong_key()).await;
        self.found.see(routes::AUTH, routes::judge_key(&heard));
        all
    }

    async fn control(&mut self, progress: &(dyn Fn(&str) + Send + Sync)) -> Base {
        progress("probing: a plain request, three times, and one with an unknown field");
        let control = control::control(&mut self.asker).await;
        for (id, sight) in control.sights {
            self.found.see(id, sight);
        }
        let plain = self.asker.ask(&control.ground.completions(&json!({}))).await;
        let completions = control::route("a plain request", &plain);
        let seen = || Sight::Seen("a plain request → 200 with choices".into());
        self.found.see("completions", completions.as_ref().err().cloned().unwrap_or_else(seen));
        Base {
            completions_stop: completions.err(),
            ground: control.ground,
            stop: control.stop,
            fingerprint: control.fingerprint,
        }
    }

    async fn types(&mut self, base: &Base, progress: &(dyn Fn(&str) + Send + Sync)) {
        progress("probing: a wrong type for each field");
        for step in LADDER.iter().filter(|step| base.stop(step.id).is_none()) {
            if let Some(field) = &step.field {
                let known = type_violation::violate(&mut self.asker, &base.ground, field).await;
                self.found.known.insert(step.id, known);
            }
        }
    }

    async fn effects(&mut self, base: &Base, progress: &(dyn Fn(&str) + Send + Sync)) {
        progress("probing: the effect of each field");
        for step in cheapest_first(&base.ground) {
            if let Some(stop) = base.stop(step.id) {
                self.found.see(step.id, stop.clone());
            } else if let Some(effect) = &step.effect {
                let sight = effect::observe(&mut self.asker, &base.ground, effect).await;
                self.found.see(step.id, sight);
            }
        }
        let early = match &base.stop {
            Some(stop) => stop.clone(),
            None => range::early_status(&mut self.asker, &base.ground).await,
        };
        self.found.see("chat.early_status", early);
    }

    /// From the answer that the experiment about reasoning had, which is not asked for again.
    async fn reasoning_key(&mut self, ground: &Ground) -> Option<String> {
        let asks = (effect::output::REASONING.asks)(ground).ok()?;
        match self.asker.ask(asks.first()?).await {
            Heard::Answered(answer) => effect::output::reasoning_key(ground, &answer),
            Heard::Refused(_) | Heard::Silent(_) => None,
        }
    }
}

/// The ladder by how many tokens its experiments may cost, so that a probe that runs out of time has found out as
/// much as it could.
fn cheapest_first(ground: &Ground) -> Vec<&'static Step> {
    let mut steps: Vec<&Step> = LADDER.iter().collect();
    steps.sort_by_cached_key(|step| {
        let asks = step.effect.as_ref().and_then(|effect| (effect.asks)(ground).ok()).unwrap_or_default();
        asks.iter().filter_map(|ask| ask.body["max_tokens"].as_u64()).sum::<u64>()
    });
    steps
}
