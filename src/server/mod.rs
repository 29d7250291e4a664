//! The server under test, from start to stop: [`Server`], one way of coming to be a mode.
//! Must not know what is asked of it once it is ready.
//!
//! ```text
//! Settings ─▶ Server ─start─▶ sim | attach | local | cluster ─▶ ready (health, model, one token) ─▶ Target
//!                   ─stop──▶ whatever was started, in reverse order
//! ```
//!
//! 被测服务的启动、就绪与停止。

mod causes;
mod cleanup;
mod effective;
#[cfg(feature = "kube")]
mod in_cluster;
#[cfg(not(feature = "kube"))]
#[path = "no_cluster.rs"]
mod in_cluster;
#[cfg(feature = "kube")]
pub mod k8s;
pub mod ledger;
mod leftovers;
mod local;
mod process;
mod ready;
mod standing;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Value, json};
use st_harness::{
    capability::Capabilities,
    diag::Problem,
    fixture::{Fixture, Ready, StartCx},
    folder::RunFolder,
    verdict::{Note, Reason},
};
use tokio::sync::Mutex;

use crate::{
    client::{Client, Engine, Recorder, Recordings, Target},
    config::{K8sMode, Mode, Role, Settings, SimMode, Tape},
    probe::{
        cache::{self, Cached},
        combine::combine,
        discover::{discover, recognise},
    },
    sim::{self, Sim},
};
pub use cleanup::{Alive, Progress, cleanup};
use effective::{Said, mismatches};
use in_cluster::InCluster;
use local::Local;
pub use local::MARKER;
pub(crate) use process::{Process, describe};
use ready::{Found, Wait, until_ready};
pub use standing::{Keeper, Standing, keep};

/// What a build without Kubernetes says where it is asked for it.
pub(crate) const NO_CLUSTER: &str =
    "this build cannot start a server in Kubernetes: it lacks the feature `kube`";
/// What to do about it.
pub(crate) const BUILD_WITH_KUBE: &str =
    "build it in: `cargo test --features kube --test st`, or `cargo install --path . --features kube`";

/// The server that a run's settings describe.
pub struct Server {
    settings: Arc<Settings>,
    declared: Capabilities,
    running: Mutex<Running>,
}

/// What has to be taken down again.
#[derive(Default)]
struct Running {
    sim: Option<Sim>,
    local: Option<Local>,
    cluster: Option<InCluster>,
    recorder: Option<Recorder>,
}

impl Server {
    /// The server of `settings`, not started. `declared` is what is said of it beforehand: see
    /// [`Settings::declared`].
    ///
    /// # Errors
    /// When this build cannot bring up a server of that mode.
    pub fn new(settings: Arc<Settings>, declared: Capabilities) -> Result<Self, Vec<Problem>> {
        if settings.cluster.is_some() && !cfg!(feature = "kube") {
            let problem = settings.scenario.origin.problem("/mode", NO_CLUSTER);
            let help = format!(
                "{BUILD_WITH_KUBE}; or deploy it yourself and give its address: \
                 VLLM_CIBENCH_BASE_URL=http://NODE:PORT/v1"
            );
            return Err(vec![problem.with_help(help)]);
        }
        Ok(Self { settings, declared, running: Mutex::default() })
    }

    /// Brings the server up, unless it is up already, and waits for it.
    async fn bring_up(&self, cx: &StartCx) -> Result<(Client, Found), Reason> {
        if self.settings.runs_already() {
            return self.attach(cx).await;
        }
        match &self.settings.scenario.mode {
            Mode::Sim(mode) => {
                let sim = Sim::start(self.sim_options(mode))
                    .map_err(|error| Reason::new("sim", error.to_string()))?;
                let base_url = sim.base_url();
                self.running.lock().await.sim = Some(sim);
                let client = self.client(&base_url)?;
                let advice = "The simulator runs in this process: this is a fault of ours.";
                let found = self.wait(cx, &client, advice).await?;
                Ok((client, found))
            }
            Mode::Attach => self.attach(cx).await,
            Mode::K8s(_) => self.in_cluster(cx).await,
            Mode::Local(_) => {
                let local = Local::spawn(&self.settings, cx).await?;
                let client = self.client(local.base_url());
                let mut running = self.running.lock().await;
                let local = running.local.insert(local);
                let client = client?;
                let advice = format!("The server runs, but does not answer. Its output: {}", local.log());
                let found = tokio::select! {
                    found = self.wait(cx, &client, &advice) => found?,
                    death = local.death("before it was ready") => return Err(death),
                };
                Ok((client, found))
            }
        }
    }

    /// Found where it is said to be, and waited for.
    async fn attach(&self, cx: &StartCx) -> Result<(Client, Found), Reason> {
        let Settings { scenario, endpoint, .. } = &*self.settings;
        let base_url = endpoint.base_url.as_ref().ok_or_else(|| {
            Reason::new("no-address", "nothing says where the server is; set VLLM_CIBENCH_BASE_URL")
        })?;
        if !matches!(scenario.mode, Mode::Attach) {
            (cx.progress)(&format!(
                "the server of `{}` runs already, at {base_url}: it is not started",
                scenario.name
            ));
        }
        let client = self.client(base_url.as_str())?;
        let advice = format!(
            "Is the server running, and is this its address? VLLM_CIBENCH_BASE_URL={base_url}\n\
             A server that needs longer: `readiness: {{timeout: 5m}}` in configs/scenarios/{}.yaml.",
            scenario.name
        );
        let found = self.wait(cx, &client, &advice).await?;
        Ok((client, found))
    }

    /// Deployed, found and waited for, with an eye on its pods.
    async fn in_cluster(&self, cx: &StartCx) -> Result<(Client, Found), Reason> {
        let mut running = self.running.lock().await;
        // What is begun here is taken down by `stop`, however this ends.
        let cluster = running.cluster.insert(InCluster::new(&self.settings)?);
        let base_url = cluster.start(cx).await?;
        if self.settings.mask_urls {
            cx.folder.redactor().found_address(&base_url);
        }
        (cx.progress)(&format!("the server will answer at {base_url}"));
        let client = self.client(&base_url)?;
        let advice = format!(
            "Is this address reachable from here? {base_url} (`k8s.node_address` sets another)\nWhat its pods say \
             is kept in {}.",
            cx.folder.path().join("k8s")
        );
        let mut found = cluster.beside(cx, self.wait(cx, &client, &advice)).await?;
        cluster.observe().await;
        found.notes.extend(cluster.notes());
        Ok((client, found))
    }

    /// Asks what took effect of what was asked for. What did not is noted.
    async fn compare(&self, cx: &StartCx, client: &Client, found: &mut Found) -> Said {
        let running = self.running.lock().await;
        let (command, log) = match (&running.local, &running.cluster) {
            (Some(local), _) => (local.command().to_vec(), local.first_lines()),
            (None, Some(cluster)) => (cluster.command().to_vec(), cluster.first_lines().map(str::to_owned)),
            // Whoever started it did so by the scenario; where its log is, is not known.
            (None, None) => (local::command(&self.settings), None),
        };
        let said = Said::gather(client, &found.entry(), log.as_deref(), &cx.cancel).await;
        found.notes.extend(mismatches(&command, self.settings.scenario.quant, &said));
        said
    }

    /// Returns when the server has died, which only one that runs on this machine can be seen to do.
    async fn over(&self) -> Reason {
        match &mut self.running.lock().await.local {
            Some(local) => local.death("while it was up").await,
            None => std::future::pending().await,
        }
    }

    async fn wait(&self, cx: &StartCx, client: &Client, advice: &str) -> Result<Found, Reason> {
        let wait = Wait {
            client,
            readiness: &self.settings.scenario.readiness,
            model: self.settings.endpoint.model.as_deref(),
            progress: &*cx.progress,
            cancel: &cx.cancel,
            advice,
        };
        until_ready(&wait).await
    }

    fn client(&self, base_url: &str) -> Result<Client, Reason> {
        Client::new(base_url, self.settings.endpoint.api_key.clone())
            .map_err(|error| Reason::new("client", error.to_string()))
    }

    fn sim_options(&self, mode: &SimMode) -> sim::Options {
        let usual = sim::Options::default();
        sim::Options {
            model: self.settings.endpoint.model.clone().unwrap_or(usual.model),
            max_model_len: mode.max_model_len.unwrap_or(usual.max_model_len),
            api_key: self.settings.endpoint.api_key.clone(),
            timing: mode.timing,
            faults: mode.faults.clone(),
            capabilities: mode.capabilities,
            accuracy: mode.answering.clone(),
            seed: mode.seed,
            ..sim::Options::default()
        }
    }

    /// The world of a replay: there is no server, so nothing is waited for.
    async fn replayed(&self, cx: &StartCx, dir: &camino::Utf8Path) -> Result<Ready<Target>, Reason> {
        let recordings = Recordings::open(dir).map_err(|error| Reason::new("replay", error.to_string()))?;
        let base_url = self.settings.endpoint.base_url.as_ref();
        let base_url = base_url.map_or("http://127.0.0.1/v1", |url| url.as_str());
        let client = Client::replaying(base_url, recordings)
            .map_err(|error| Reason::new("replay", error.to_string()))?;
        let model = self.settings.endpoint.model.clone().ok_or_else(|| {
            Reason::new("which-model", "a replay needs the name of the model that was recorded")
                .with_detail("Set VLLM_CIBENCH_MODEL to the model that the recorded requests name.")
        })?;
        let effective = json!({"mode": "replay", "recordings": dir, "model": model});
        let world = Target::new(client, model);
        Ok(self.discovered(cx, world, effective, Vec::new()).await)
    }

    /// The server with what it can do, where a trial asks for anything. The report about a server that outlives this run is kept for the next one;
    /// what is recorded or replayed is asked afresh, so that a replay hears what the recording heard.
    async fn discovered(
        &self,
        cx: &StartCx,
        world: Target,
        mut effective: Value,
        mut notes: Vec<Note>,
    ) -> Ready<Target> {
        if cx.wanted.is_empty() {
            // A replay has no other way to learn which engine's deviations hold.
            let world = match self.settings.tape {
                Tape::Off => world,
                Tape::Record(_) | Tape::Replay(_) => {
                    let engine = recognise(&world.scoped("probe"), &cx.cancel).await;
                    let name = engine.name.or(world.engine.name.clone());
                    let version = engine.version.or(world.engine.version.clone());
                    world.with_engine(Engine { name, version })
                }
            };
            return Ready { world, effective, capabilities: self.declared.clone(), notes };
        }
        let outlives = self.settings.runs_already() || self.settings.cluster.is_some();
        let keeps = outlives && self.settings.tape == Tape::Off;
        let path = self.settings.root.join(cache::FOLDER);
        let kept = keeps.then(|| RunFolder::open(path, Arc::clone(cx.folder.redactor())));
        let kept = match kept.transpose() {
            Ok(kept) => kept,
            Err(error) => {
                notes.push(Note { kind: "probe-cache".to_owned(), text: error.to_string() });
                None
            }
        };
        let asked = world.scoped("probe");
        let found = discover(&asked, &self.declared, kept.as_ref(), &cx.cancel, &*cx.progress).await;
        effective["facts"] = json!(found.facts);
        notes.extend(found.notes);
        let engine = Engine {
            name: found.facts.engine.or(world.engine.name.clone()),
            version: found.facts.version.or(world.engine.version.clone()),
        };
        let world = world.with_engine(engine);
        Ready { world, effective, capabilities: found.capabilities, notes }
    }
}

impl Fixture for Server {
    type World = Target;

    fn requested(&self) -> Value {
        let scenario = &self.settings.scenario;
        let endpoint = &self.settings.endpoint;
        json!({
            "scenario": scenario.name,
            "provider": self.settings.provider_name,
            "provider_id": self.settings.provider_id,
            "mode": scenario.mode.name().as_str(),
            "base_url": endpoint.base_url.as_ref().map(|url| url.as_str()),
            "served_model_name": endpoint.model,
            "model": scenario.model,
            "model_raw": scenario.model_raw,
            "quant": scenario.quant.as_str(),
            "features": scenario.features,
            "command": self.settings.launch.as_ref().map(|launch| &launch.command),
            "k8s": match &scenario.mode {
                Mode::K8s(mode) => cluster_of(mode),
                Mode::Sim(_) | Mode::Attach | Mode::Local(_) => Value::Null,
            },
        })
    }

    /// What was said, and beneath it what an earlier run has found out about a server at the same address.
    fn declared(&self) -> Capabilities {
        let (Some(url), Some(model)) = (&self.settings.endpoint.base_url, &self.settings.endpoint.model)
        else {
            return self.declared.clone();
        };
        let folder = self.settings.root.join(cache::FOLDER);
        match cache::load(&folder, url.as_str(), model, None, jiff::Timestamp::now()) {
            Cached::Hit(report) => combine(&self.declared, &report.capabilities).0,
            Cached::Absent | Cached::Unusable(_) => self.declared.clone(),
        }
    }

    async fn start(&self, cx: &StartCx) -> Result<Ready<Target>, Reason> {
        if let Tape::Replay(dir) = &self.settings.tape {
            return self.replayed(cx, dir).await;
        }
        let (client, mut found) = self.bring_up(cx).await?;
        let said = self.compare(cx, &client, &mut found).await;
        // From here on only: how often a server was asked before it was ready differs from run to run.
        let client = match &self.settings.tape {
            Tape::Record(dir) => {
                let recorder = Recorder::new(dir.clone(), cx.folder.redactor().clone());
                self.running.lock().await.recorder = Some(recorder.clone());
                client.recording(recorder)
            }
            Tape::Off | Tape::Replay(_) => client,
        };
        let mut effective = found.effective();
        effective["options"] = said.options();
        effective["mode"] = json!(self.settings.scenario.mode.name().as_str());
        effective["base_url"] = json!(client.base_url());
        effective["k8s"] = json!(self.running.lock().await.cluster.as_ref().map(InCluster::effective));
        let name = found.owned_by.map(|name| name.to_lowercase());
        let world = Target::new(client, found.model).with_engine(Engine { name, version: found.version });
        Ok(self.discovered(cx, world, effective, found.notes).await)
    }

    async fn stop(&self, cx: &StartCx) -> Vec<Note> {
        let mut running = std::mem::take(&mut *self.running.lock().await);
        let mut notes = Vec::new();
        if let Some(recorder) = running.recorder.take() {
            let faults = recorder.take_faults().into_iter();
            notes.extend(faults.map(|fault| Note { kind: "recording".to_owned(), text: fault.to_string() }));
        }
        if let Some(local) = running.local.take() {
            notes.extend(local.stop(&*cx.progress).await);
        }
        if let Some(cluster) = running.cluster.take() {
            notes.extend(cluster.stop(cx).await);
        }
        if let Some(sim) = running.sim.take() {
            // Its drop waits for its thread.
            if tokio::task::spawn_blocking(move || drop(sim)).await.is_err() {
                notes.push(Note {
                    kind: "sim".to_owned(),
                    text: "the simulator's thread panicked".to_owned(),
                });
            }
        }
        notes
    }
}

/// What was asked of a cluster, for the record.
fn cluster_of(mode: &K8sMode) -> Value {
    let role = |role: &Role| json!({"replicas": role.replicas, "params": role.params});
    json!({
        "manifest": mode.manifest.as_ref().map(|manifest| manifest.as_written()),
        "service": mode.service_name,
        "namespace": mode.namespace,
        "context": mode.context,
        "roles": mode.roles.as_ref().map(|roles| json!({
            "scheduler": role(&roles.scheduler),
            "prefill": role(&roles.prefill),
            "decode": role(&roles.decode),
        })),
    })
}
