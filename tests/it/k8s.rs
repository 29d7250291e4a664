//! The Kubernetes launch from outside: against a cluster on paper that fails by script, and against a real
//! API server where there is one.
//!
//! Kubernetes 启动的集成测试：脚本化的假集群与真实 API 服务。

mod command;
mod paper;
mod real;
mod scripted;
mod spread;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::{fixture::StartCx, folder::RunFolder, redact::Redactor, verdict::Note};
use tokio_util::sync::CancellationToken;
use vllm_cibench::server::{k8s::Waits, ledger::Ledger};

/// A run folder, and what a launch says on the way.
struct Run {
    cx: StartCx,
    lines: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

impl Run {
    fn new(run_id: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = lines.clone();
        let cx = StartCx {
            folder: Arc::new(RunFolder::open(path, Arc::new(Redactor::default())).unwrap()),
            cancel: CancellationToken::new(),
            progress: Arc::new(move |line: &str| kept.lock().unwrap().push(line.to_owned())),
            run_id: run_id.to_owned(),
            wanted: Default::default(),
        };
        Self { cx, lines, dir }
    }

    fn path(&self) -> &Utf8Path {
        Utf8Path::from_path(self.dir.path()).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> Utf8PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn said(&self, part: &str) -> bool {
        self.lines.lock().unwrap().iter().any(|line| line.contains(part))
    }

    /// How many things of the run may still exist.
    fn open(&self) -> usize {
        Ledger::of(self.path()).read().unwrap().open.len()
    }
}

fn texts(notes: &[Note]) -> Vec<&str> {
    notes.iter().map(|note| note.text.as_str()).collect()
}

/// Quick where a person would be patient; patient where a loaded machine must be, and with the cluster's garbage
/// collector: it looks for new kinds of objects every 30 s, and what is deleted with its dependents waits for it.
const QUICK: Waits = Waits {
    call: Duration::from_secs(20),
    poll: Duration::from_millis(20),
    established: Duration::from_secs(10),
    service: Duration::from_secs(20),
    image: Duration::from_secs(20),
    delete: Duration::from_secs(90),
};

/// A server that never starts anything: one workload, one way in.
const SERVER: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: vllm}
spec:
  replicas: 1
  selector: {matchLabels: {app: vllm}}
  template:
    metadata: {labels: {app: vllm}}
    spec:
      containers: [{name: vllm, image: "vllm:0", ports: [{containerPort: 8000}]}]
---
apiVersion: v1
kind: Service
metadata: {name: vllm}
spec:
  type: NodePort
  selector: {app: vllm}
  ports: [{name: http, port: 8000}]
"#;
