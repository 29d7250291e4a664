//! A load that is spread over the pods of a Job, as whoever runs `prof --workers` has it. The cluster is on paper, or a
//! real API server with its controller of Jobs; what stands for its nodes reads each pod's files from the objects that
//! its volumes name, and runs the very program that the image would, whose log is a real one of a real load.
//!
//! `prof --workers` 的端到端测试：纸面集群或真实 API 服务，以及真实的工作者进程。

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::{Method, Request};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use camino::Utf8PathBuf;
use kube::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use vllm_cibench::{
    server::ledger::Ledger,
    sim::{Options, Sim, Timing},
};

use super::{
    paper::Paper,
    real::{Real, on_a_real_server},
};
use crate::crate_root::{CrateRoot, Ran, clean};

const KEY: &str = "sk-load-key-0123456789";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const ORDER: &str = "vllm-cibench/order";
/// The kinds of what a run may create, with the groups that they are of.
const KINDS: [(&str, &str); 4] =
    [("/apis/batch/v1", "jobs"), ("/api/v1", "pods"), ("/api/v1", "configmaps"), ("/api/v1", "secrets")];
const PATIENCE: Duration = Duration::from_secs(240);

/// What becomes of the pods of a Job.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Run,
    /// The second one's image has an impossible name.
    NoImage,
    /// No machine has room for the second one.
    NoRoom,
    /// The second one is evicted while it carries its share.
    Evicted,
    /// The second one's image has a program that knows nothing of this.
    OldProgram,
    /// The log of the second one has lost its head.
    CutLog,
}

/// A namespace of a cluster, on paper or a real one.
#[derive(Clone)]
struct Place {
    client: Client,
    namespace: String,
}

impl Place {
    async fn ask(&self, method: Method, path: &str, body: Value) -> Option<Value> {
        let merge = "application/merge-patch+json";
        let kind = if method == Method::PATCH { merge } else { "application/json" };
        let bytes = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap() };
        let request = Request::builder().method(method).uri(path).header("content-type", kind);
        self.client.request(request.body(bytes).unwrap()).await.ok()
    }

    fn path(&self, (group, kind): (&str, &str)) -> String {
        format!("{group}/namespaces/{}/{kind}", self.namespace)
    }

    async fn get(&self, kind: &str, name: &str) -> Option<Value> {
        self.ask(Method::GET, &format!("{}/{name}", self.path(("/api/v1", kind))), Value::Null).await
    }

    /// All of a kind that are ours.
    async fn all(&self, kind: (&str, &str)) -> Vec<Value> {
        let list = self.ask(Method::GET, &self.path(kind), Value::Null).await.unwrap_or_default();
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items.into_iter().filter(|object| name(object).starts_with("vllm-cibench-load-")).collect()
    }

    async fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for kind in KINDS {
            left.extend(self.all(kind).await.iter().map(|object| format!("{} {}", kind.1, name(object))));
        }
        left
    }

    async fn status(&self, pod: &str, status: Value) {
        let path = format!("{}/{pod}/status", self.path(("/api/v1", "pods")));
        self.ask(Method::PATCH, &path, json!({"status": status})).await;
    }

    /// Puts a pod on a node, unless it is on one.
    async fn bind(&self, pod: &Value, node: &str) {
        if pod["spec"]["nodeName"].is_string() {
            return;
        }
        let path = format!("{}/{}/binding", self.path(("/api/v1", "pods")), name(pod));
        let target = json!({"apiVersion": "v1", "kind": "Node", "name": node});
        let body =
            json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name(pod)}, "target": target});
        self.ask(Method::POST, &path, body).await;
    }

    /// A pod that is to end is over.
    async fn gone(&self, pod: &str) {
        let path = format!("{}/{pod}", self.path(("/api/v1", "pods")));
        self.ask(Method::DELETE, &path, json!({"gracePeriodSeconds": 0})).await;
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn is_second(pod: &Value) -> bool {
    pod["metadata"]["annotations"][INDEX] == "1"
}

/// What stands for a cluster's machines.
struct Nodes {
    place: Place,
    node: String,
    folder: Arc<tempfile::TempDir>,
    fate: Fate,
    /// What was in the Secrets.
    secret: Arc<Mutex<Vec<String>>>,
}

/// A pod that runs.
struct Running {
    name: String,
    folder: PathBuf,
    child: Child,
    over: bool,
}

impl Nodes {
    /// Until the test is over.
    async fn work(self) {
        let mut known: BTreeMap<String, Option<Running>> = BTreeMap::new();
        loop {
            let pods = self.place.all(("/api/v1", "pods")).await;
            for pod in &pods {
                if !known.contains_key(name(pod)) {
                    known.insert(name(pod).to_owned(), self.take(pod).await);
                }
            }
            for (name, running) in known.iter_mut().filter_map(|(name, one)| Some((name, one.as_mut()?))) {
                let pod = pods.iter().find(|pod| self::name(pod) == name);
                self.look(running, pod).await;
            }
            for pod in pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string()) {
                self.place.gone(name(pod)).await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What a node does with a pod that is new to it.
    async fn take(&self, pod: &Value) -> Option<Running> {
        let fate = if is_second(pod) { self.fate } else { Fate::Run };
        self.place.bind(pod, &self.node).await;
        self.place.status(name(pod), status(fate)).await;
        if matches!(fate, Fate::NoImage | Fate::NoRoom) {
            return None;
        }
        let folder = self.folder.path().join(name(pod));
        std::fs::create_dir(&folder).unwrap();
        self.mount(&pod["spec"], &folder).await;
        show(pod, &folder);
        let asked = pod["spec"]["containers"][0]["command"].as_array().unwrap();
        let asked: Vec<&str> = asked.iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!((asked[0], asked.len()), ("vllm-cibench", 3));
        let log = logs(&self.folder).join(name(pod));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_vllm-cibench")));
        let old = fate == Fate::OldProgram;
        command.args(if old { vec!["carry-load"] } else { vec![asked[1], folder.to_str().unwrap()] });
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Some(Running { name: name(pod).to_owned(), folder, child: command.spawn().unwrap(), over: false })
    }

    /// Every file that the pod's volume names.
    async fn mount(&self, spec: &Value, folder: &Path) {
        let volumes = spec["volumes"].as_array().unwrap();
        let load = volumes.iter().find(|volume| volume["name"] == "load").unwrap();
        for source in load["projected"]["sources"].as_array().unwrap() {
            if let Some(map) = source.get("configMap") {
                let map = self.place.get("configmaps", map["name"].as_str().unwrap()).await.unwrap();
                for (name, text) in map["binaryData"].as_object().unwrap() {
                    let bytes = STANDARD.decode(text.as_str().unwrap()).unwrap();
                    std::fs::write(folder.join(name), bytes).unwrap();
                }
            } else if let Some(secret) = source.get("secret") {
                let secret = self.place.get("secrets", secret["name"].as_str().unwrap()).await.unwrap();
                // A real server has made the one of the other.
                let plain = secret["stringData"]["key"].as_str().map(str::to_owned);
                let coded = || STANDARD.decode(secret["data"]["key"].as_str().unwrap()).unwrap();
                let key = plain.unwrap_or_else(|| String::from_utf8(coded()).unwrap());
                std::fs::write(folder.join("key"), &key).unwrap();
                self.secret.lock().unwrap().push(key);
            } else {
                let shown = |n: usize| &source["downwardAPI"]["items"][n];
                for (n, file, annotation) in [(0, "index", INDEX), (1, "order", ORDER)] {
                    assert_eq!(shown(n)["path"], file);
                    assert_eq!(
                        shown(n)["fieldRef"]["fieldPath"],
                        format!("metadata.annotations['{annotation}']")
                    );
                }
            }
        }
    }

    /// Shows a pod its annotations, and the cluster its end.
    async fn look(&self, running: &mut Running, pod: Option<&Value>) {
        let gone = pod.is_none_or(|pod| pod["metadata"]["deletionTimestamp"].is_string());
        if gone {
            let _ = running.child.kill();
            let _ = running.child.wait();
            return self.end(running);
        }
        let Some(pod) = pod.filter(|_| !running.over) else { return };
        show(pod, &running.folder);
        let log = logs(&self.folder).join(&running.name);
        let lines = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        let ordered = pod["metadata"]["annotations"][ORDER].is_string();
        if ordered && is_second(pod) && self.fate == Fate::Evicted && lines() > 5 {
            let _ = running.child.kill();
            let _ = running.child.wait();
            self.end(running);
            let message = "The node was low on resource: memory.";
            let status = json!({"phase": "Failed", "reason": "Evicted", "message": message});
            return self.place.status(&running.name, status).await;
        }
        if ordered && is_second(pod) && self.fate == Fate::CutLog && lines() > 3 {
            let text = std::fs::read_to_string(&log).unwrap();
            let rest: Vec<&str> = text.lines().skip(3).collect();
            std::fs::write(&log, rest.join("\n") + "\n").unwrap();
        }
        let Some(ended) = running.child.try_wait().unwrap() else { return };
        self.end(running);
        let code = ended.code().unwrap_or(137);
        let (phase, reason) = if code == 0 { ("Succeeded", "Completed") } else { ("Failed", "Error") };
        let state = container(json!({"terminated": {"exitCode": code, "reason": reason}}));
        self.place.status(&running.name, json!({"phase": phase, "containerStatuses": [state]})).await;
    }

    fn end(&self, running: &mut Running) {
        running.over = true;
        File::create(logs(&self.folder).join(format!("{}.over", running.name))).unwrap();
    }
}

/// Where the logs are.
fn logs(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("logs")
}

/// A pod's annotations in their files, each whole at any moment.
fn show(pod: &Value, folder: &Path) {
    for (file, annotation) in [("index", INDEX), ("order", ORDER)] {
        let text = pod["metadata"]["annotations"][annotation].as_str().unwrap_or_default();
        let new = folder.join(".new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.join(file)).unwrap();
    }
}

fn container(state: Value) -> Value {
    json!({"name": "worker", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

fn status(fate: Fate) -> Value {
    match fate {
        Fate::NoImage => json!({"phase": "Pending", "containerStatuses": [
            container(json!({"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image name"}}))]}),
        Fate::NoRoom => json!({"phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}]}),
        _ => json!({"phase": "Running", "containerStatuses": [container(json!({"running": {}}))]}),
    }
}

/// A cluster, a server, and a root from where to measure it.
struct Stage {
    place: Place,
    kubeconfig: String,
    sim: Sim,
    root: CrateRoot,
    folder: Arc<tempfile::TempDir>,
    secret: Arc<Mutex<Vec<String>>>,
    nodes: tokio::task::JoinHandle<()>,
}

impl Stage {
    async fn on_paper(fate: Fate) -> Self {
        Self::on(&Paper::new(), fate).await
    }

    async fn on(paper: &Paper, fate: Fate) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let url = paper.serve(logs(&folder)).await;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: paper\ncontexts: [{{name: paper, context: {{cluster: c, \
             user: u}}}}]\nclusters: [{{name: c, cluster: {{server: \"{url}\"}}}}]\nusers: [{{name: u, user: \
             {{token: t}}}}]\n"
        );
        let place = Place { client: paper.client(), namespace: "lab".to_owned() };
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, text).unwrap();
        Self::new(place, "a", kubeconfig.to_str().unwrap(), folder, fate)
    }

    fn on_real(real: &Real, fate: Fate) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        real.logs.set(logs(&folder)).unwrap();
        let place = Place { client: real.client.clone(), namespace: real.name.clone() };
        Self::new(place, &real.name, real.kubeconfig.as_str(), folder, fate)
    }

    fn new(place: Place, node: &str, kubeconfig: &str, folder: Arc<tempfile::TempDir>, fate: Fate) -> Self {
        std::fs::create_dir(logs(&folder)).unwrap();
        let secret = Arc::new(Mutex::new(Vec::new()));
        let nodes = Nodes {
            place: place.clone(),
            node: node.to_owned(),
            folder: folder.clone(),
            fate,
            secret: secret.clone(),
        };
        let timing = Timing { ttft_ms: 20.0, tpot_ms: 5.0, ..Timing::default() };
        let sim = Sim::start(Options { timing, model: "m".to_owned(), ..Options::default() }).unwrap();
        let providers = format!(
            "providers:\n  - {{id: lab-1, name: The lab, api_key: {KEY}, base_url: '{}', model_name: m}}\n",
            sim.base_url()
        );
        let root = CrateRoot::new().file("providers.yaml", &providers);
        let (kubeconfig, nodes) = (kubeconfig.to_owned(), tokio::spawn(nodes.work()));
        Self { place, kubeconfig, sim, root, folder, secret, nodes }
    }

    fn command(&self, options: &str) -> Command {
        let text = format!(
            "prof -dt random -il 32 -p providers.yaml -s out --workers k8s-job:2 --worker-image lab/i:1 \
             --worker-namespace {} --kubeconfig {} --worker-base-url {} --worker-head-start 2 {options}",
            self.place.namespace,
            self.kubeconfig,
            self.sim.base_url()
        );
        self.root.command(&text.split_whitespace().collect::<Vec<_>>())
    }

    async fn prof(&self, options: &str) -> Ran {
        let mut command = self.command(options);
        let ran = tokio::task::spawn_blocking(move || Ran::of(command.output().unwrap()));
        tokio::time::timeout(PATIENCE, ran).await.expect("it ends").unwrap()
    }

    fn found(&self, name: &str) -> PathBuf {
        let all = below(&self.root.path().join("out"));
        let mut all: Vec<PathBuf> = all.into_iter().filter(|path| path.ends_with(name)).collect();
        assert_eq!(all.len(), 1, "{name}: {all:?}");
        all.remove(0)
    }

    fn run_folder(&self) -> Utf8PathBuf {
        let journal = self.found("journal.jsonl");
        Utf8PathBuf::from_path_buf(journal.parent().unwrap().to_owned()).unwrap()
    }

    /// What the run may have left, in the cluster and on its list.
    async fn left(&self) -> (Vec<String>, usize) {
        (self.place.left().await, Ledger::of(&self.run_folder()).read().unwrap().open.len())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.nodes.abort();
    }
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { all.extend(below(&path)) } else { all.push(path) }
    }
    all
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// A load that went well: what was recorded, and what is left.
async fn two_pods_carry_one_load(stage: Stage) {
    let ran = stage.prof("-ol 8 -ra 0.5 -rb 0.5 -n 41 -c 5 -w 3 -e 2").await;
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
    let rows = std::fs::read_to_string(stage.found("requests.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut indices: Vec<u64> = rows.iter().map(|row| row["index"].as_u64().unwrap()).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..88).collect::<Vec<_>>(), "every request of the plan once");
    let trial = json_of(&stage.found("perf.prof.in32_out8_c5.json"));
    let figure = |name: &str, stat: &str, source: &str| {
        let all = trial["figures"].as_array().unwrap();
        let is_it = |one: &&Value| one["name"] == name && one["stat"] == stat && one["source"] == source;
        all.iter().find(is_it).and_then(|one| one["value"].as_f64())
    };
    let total = figure("output_tokens", "sum", "client").unwrap();
    assert_eq!(figure("generation_tokens", "value", "server"), Some(total));
    assert!(figure("ttft", "min", "client").unwrap() >= 0.02);
    let details = &trial["details"];
    assert_eq!(
        (&details["concurrency_backend"], &details["transport"]),
        (&"k8s-job".into(), &"direct".into())
    );
    let workers = details["workers"]["workers"].as_array().unwrap();
    assert_eq!(workers.iter().map(|worker| &worker["part"]).collect::<Vec<_>>(), [0, 1]);
    assert_ne!(workers[0]["name"], workers[1]["name"]);
    for worker in workers {
        let bounds: Vec<i64> =
            worker["ahead_bounds_ns"].as_array().unwrap().iter().map(|ns| ns.as_i64().unwrap()).collect();
        assert!(bounds[0] <= 0 && 0 <= bounds[1], "they have the same clock: {bounds:?}");
    }
    assert_eq!(stage.left().await, (Vec::new(), 0), "{}", ran.err);
    let files = below(&stage.root.path().join("out"));
    assert!(files.iter().any(|path| path.to_string_lossy().contains("_fixed_k8s-job_")), "{files:?}");

    assert_eq!(*stage.secret.lock().unwrap(), [KEY, KEY], "each pod was given the key, in a Secret");
    for path in files.into_iter().chain(below(&logs(&stage.folder))) {
        let bytes = std::fs::read(&path).unwrap();
        let there = bytes.windows(KEY.len()).any(|text| text == KEY.as_bytes());
        assert!(!there, "the key is in {}", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_two_pods_carry_is_one_record_and_the_servers_count() {
    two_pods_carry_one_load(Stage::on_paper(Fate::Run).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_knows_no_indexed_jobs_has_its_pods_numbered_for_it() {
    let paper = Paper::new();
    paper.is_old();
    two_pods_carry_one_load(Stage::on(&paper, Fate::Run).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_makes_the_pods_of_a_load_and_forgets_them() {
    on_a_real_server("spread", |real| async move {
        two_pods_carry_one_load(Stage::on_real(&real, Fate::Run)).await;
        real
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_evicts_a_pod_and_the_load_is_called_off() {
    on_a_real_server("evicted", |real| async move {
        let stage = Stage::on_real(&real, Fate::Evicted);
        let ran = stage.prof("-ol 8 -c 4 -n 400").await;
        assert_eq!(ran.code, Some(6), "{}\n{}", ran.out, ran.err);
        assert!(ran.err.contains("it ended before all was told: Failed: Evicted"), "{}", ran.err);
        assert_eq!(stage.left().await, (Vec::new(), 0), "{}", ran.err);
        real
    })
    .await;
}

/// A load that cannot be carried whole: what the run says of it, and that nothing is left.
async fn goes_wrong(fate: Fate, options: &str, told: &[&str]) {
    let stage = Stage::on_paper(fate).await;
    let ran = stage.prof(&format!("-ol 8 -c 4 {options}")).await;
    assert_eq!(ran.code, Some(6), "{}\n{}", ran.out, ran.err);
    for told in told {
        assert!(ran.err.contains(told), "{told} is not in\n{}", ran.err);
    }
    assert_eq!(stage.left().await, (Vec::new(), 0), "{}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_image_cannot_be_had_is_named() {
    let told = "-1-abcde will never run: InvalidImageName: couldn't parse image name";
    goes_wrong(Fate::NoImage, "-n 8 --worker-start-timeout 3", &[told]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_no_machine_has_room_for_is_waited_for_in_vain() {
    let waited = "waited 3 s in vain for all workers to be ready: 1 of 2 were heard of";
    let told = [waited, "0/3 nodes are available"];
    goes_wrong(Fate::NoRoom, "-n 8 --worker-start-timeout 3", &told).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_evicted_is_named() {
    let told = "-1-abcde: it ended before all was told: Failed: Evicted";
    goes_wrong(Fate::Evicted, "-n 400", &[told]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_another_program_is_named_with_what_it_said() {
    goes_wrong(Fate::OldProgram, "-n 8", &["unrecognized subcommand 'carry-load'"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_is_no_result() {
    goes_wrong(Fate::CutLog, "-n 400", &["missing: the log was cut before it was read"]).await;
}

/// What ends a run, and what is left of it then.
async fn ends_by(signal: Signal, stage: Stage) {
    let mut command = stage.command("-ol 8 -c 4 -n 600");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let begun = async {
        // Prompts are counted before.
        let asked =
            || stage.sim.log().into_iter().filter(|sent| sent.path.contains("/chat/completions")).count();
        while asked() < 40 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the load begins");
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap());
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("it ends").unwrap();
    if signal == Signal::KILL {
        let (there, listed) = stage.left().await;
        assert!(there.iter().any(|path| path.starts_with("jobs ")), "{there:?}");
        assert_eq!(listed, 4, "two shares, the key and the Job");
        let folder = stage.run_folder();
        let mut cleanup = stage.root.command(&["cleanup", "--run", folder.as_str()]);
        let cleaned = tokio::task::spawn_blocking(move || Ran::of(cleanup.output().unwrap())).await.unwrap();
        assert_eq!(cleaned.code, Some(0), "{}", cleaned.err);
    } else {
        assert_eq!(ended.code(), Some(130));
    }
    assert_eq!(stage.left().await, (Vec::new(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_nothing() {
    ends_by(Signal::INT, Stage::on_paper(Fate::Run).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_leaves_is_cleaned_up_from_its_list() {
    ends_by(Signal::KILL, Stage::on_paper(Fate::Run).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_leaves_on_a_real_api_server_is_cleaned_up_from_its_list() {
    on_a_real_server("leaves", |real| async move {
        ends_by(Signal::KILL, Stage::on_real(&real, Fate::Run)).await;
        real
    })
    .await;
}
