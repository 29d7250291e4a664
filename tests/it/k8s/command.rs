//! The command on a real API server: what a person gets who has a scenario and nothing else. The server behind
//! the node port is a simulator that the test starts, for nothing here runs containers.
//!
//! 命令行在真实 API 服务上的端到端测试。

use std::{
    fs::File,
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use k8s_openapi::api::core::v1::Service;
use rustix::process::{Pid, Signal, kill_process};
use vllm_cibench::{
    server::{k8s::cleanup, ledger::Ledger},
    sim::{Options, Sim},
};

use super::{
    QUICK, SERVER,
    real::{Real, on_a_real_server},
    texts,
};
use crate::crate_root::CrateRoot;

/// Long enough for a loaded machine whose garbage collector is looking for new kinds of objects (see [`QUICK`]),
/// short enough not to hang for good.
const PATIENCE: Duration = Duration::from_secs(180);

/// A root with a scenario in the cluster and one file of cases, and the command on it.
struct Stage {
    root: CrateRoot,
    child: Option<Child>,
}

impl Stage {
    fn new(real: &Real, manifest: &str) -> Self {
        let scenario = format!(
            "mode: k8s-hybrid\nserved_model_name: sim\nk8s:\n  manifest: deploy.yaml\n  service_name: vllm\n  \
             namespace: {}\n  kubeconfig: {}\nreadiness: {{timeout: 90s}}\n",
            real.name, real.kubeconfig
        );
        let root = CrateRoot::new()
            .file("configs/scenarios/cluster.yaml", &scenario)
            .file("cases/functional/chat_core.yaml", include_str!("../../../cases/functional/chat_core.yaml"))
            .file("deploy.yaml", manifest);
        Self { root, child: None }
    }

    /// Starts `vllm-cibench run --scenario cluster --mask-urls chat_core`.
    fn run(&mut self) {
        self.start(&["run", "--scenario", "cluster", "--mask-urls", "chat_core"], &[]);
    }

    /// Starts `vllm-cibench deploy -f deploy.yaml --wait 80`.
    fn deploy(&mut self, real: &Real) {
        let at = ["--namespace", &real.name, "--kubeconfig", real.kubeconfig.as_str()];
        self.start(&[&["deploy", "-f", "deploy.yaml", "--wait", "80"], &at[..]].concat(), &[]);
    }

    /// Starts the command, its output in files. It is not waited for here: what stands for the kubelet is a task
    /// of this thread.
    fn start(&mut self, arguments: &[&str], environment: &[(&str, &str)]) {
        let file = |name: &str| File::create(self.root.path().join(name)).unwrap();
        let mut command = self.root.command(arguments);
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err"));
        self.child = Some(command.spawn().unwrap());
    }

    fn said(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.path().join(name)).unwrap_or_default()
    }

    /// Waits until the command has said `part` to the person who started it.
    async fn until_said(&mut self, part: &str) {
        self.until(part, |stage| {
            let ended = stage.has_ended();
            let said = stage.said("err");
            assert!(said.contains(part) || !ended, "it ended and never said {part}, but\n{said}");
            said.contains(part)
        })
        .await;
    }

    async fn ended(&mut self) -> ExitStatus {
        self.until("its end", Self::has_ended).await;
        self.child.as_mut().unwrap().wait().unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_some()
    }

    async fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let waited = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waited).await;
        assert!(waited.is_ok(), "never: {what}; it said\n{}\n{}", self.said("out"), self.said("err"));
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    fn folder(&self) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.root.run_folder()).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Only where the test has failed before its end.
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn open(folder: &Utf8Path) -> usize {
    Ledger::of(folder).read().unwrap().open.len()
}

async fn node_port(real: &Real) -> u16 {
    let service = real.api::<Service>().get("vllm").await.unwrap();
    let port = service.spec.unwrap().ports.unwrap()[0].node_port.unwrap();
    port.try_into().unwrap()
}

#[tokio::test]
async fn a_scenario_is_deployed_tested_and_taken_down_again() {
    on_a_real_server("command", |mut real| async move {
        let asked = SERVER.replace("image: \"vllm:0\"", "image: \"vllm:0\", args: [--max-model-len=2048]");
        assert_ne!(asked, SERVER);
        let mut stage = Stage::new(&real, &asked);
        stage.run();
        stage.until_said("the server will answer at http://***/v1").await;
        real.run_a_pod().await;
        stage.until_said(" Running").await;
        let port = node_port(&real).await;
        let sim = Sim::start(Options { port, ..Options::default() }).unwrap();
        let status = stage.ended().await;
        let err = stage.said("err");
        assert_eq!(status.code(), Some(0), "{err}");
        assert!(err.contains(" trials: ") && !err.contains(" failed"), "{err}");
        assert!(stage.root.left("trials.csv").contains("functional::chat_core::"));
        assert!(sim.log().len() > 5, "the trials asked the server behind the node port");

        let folder = stage.folder();
        assert_eq!((real.left().await, open(&folder)), (Vec::new(), 0), "{err}");
        let journal = stage.root.left("journal.jsonl");
        assert!(journal.contains(r#""base_url":"http://***/v1""#), "{journal}");
        assert!(
            !journal.contains(&port.to_string()),
            "an address that was found is masked like any other: {journal}"
        );
        for told in
            [r#""service":"vllm""#, r#""version":"v1."#, r#""image":"vllm:0""#, r#""kubelet":"v0.0.0"#]
        {
            assert!(journal.contains(told), "{told}: {journal}");
        }
        let otherwise = "asked --max-model-len 2048, the server says";
        assert!(journal.contains(otherwise), "the manifest's argument did not take effect: {journal}");
        let kept = std::fs::read_dir(folder.join("k8s")).unwrap().map(|file| file.unwrap().file_name());
        let kept: Vec<String> = kept.map(|name| name.to_string_lossy().into_owned()).collect();
        assert!(kept.iter().any(|name| name.ends_with(".vllm.log")), "{kept:?}");
        real
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_in_the_middle_of_the_wait_leaves_nothing() {
    on_a_real_server("interrupt", |real| async move {
        let mut stage = Stage::new(&real, SERVER);
        stage.run();
        stage.until_said("waiting for http://").await;
        assert!(!real.left().await.is_empty(), "it was deployed");
        stage.signal(Signal::INT);
        let status = stage.ended().await;
        assert_eq!(status.code(), Some(130), "{}", stage.said("err"));
        assert_eq!((real.left().await, open(&stage.folder())), (Vec::new(), 0), "{}", stage.said("err"));
        real
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_names_what_cannot_be_taken_down() {
    on_a_real_server("interrupt-held", |real| async move {
        let held = "kind: Service\nmetadata: {name: vllm, finalizers: [example.com/hold]";
        let mut stage = Stage::new(&real, &SERVER.replace("kind: Service\nmetadata: {name: vllm", held));
        stage.run();
        stage.until_said("waiting for http://").await;
        stage.signal(Signal::INT);
        let named = format!("Service {}/vllm", real.name);
        stage.until_said(&format!("deleting {named}")).await;
        // It would be waited for for minutes; whoever is in a hurry asks once more.
        stage.signal(Signal::INT);
        assert_eq!(stage.ended().await.code(), Some(130), "{}", stage.said("err"));
        let folder = stage.folder();
        assert!(open(&folder) >= 1, "what is left stays on the list");

        real.release("vllm").await;
        assert_eq!(texts(&cleanup(&folder, QUICK, &|_| {}).await.unwrap()), Vec::<&str>::new());
        assert_eq!((real.left().await, open(&folder)), (Vec::new(), 0));
        real
    })
    .await;
}

#[tokio::test]
async fn what_a_killed_command_leaves_is_on_its_list_and_is_cleaned_up_from_there() {
    on_a_real_server("sigkill", |real| async move {
        let mut stage = Stage::new(&real, SERVER);
        stage.run();
        stage.until_said("waiting for http://").await;
        stage.signal(Signal::KILL);
        stage.ended().await;
        let folder = stage.folder();
        assert!(!real.left().await.is_empty(), "nobody was there to take it down");
        assert_eq!(open(&folder), 2);
        let cleaned = stage.root.run(&["cleanup", "--run", folder.as_str()]);
        assert_eq!(cleaned.code, Some(0), "{}", cleaned.err);
        assert_eq!((real.left().await, open(&folder)), (Vec::new(), 0), "{}", cleaned.err);
        real
    })
    .await;
}

#[tokio::test]
async fn deploy_applies_a_file_waits_for_its_pods_and_says_how_to_remove_it() {
    on_a_real_server("deploy", |mut real| async move {
        let mut stage = Stage::new(&real, SERVER);
        stage.deploy(&real);
        real.run_a_pod().await;
        let status = stage.ended().await;
        assert_eq!(status.code(), Some(0), "{}", stage.said("err"));
        let (n, err) = (&real.name, stage.said("err"));
        assert_eq!(stage.said("out"), format!("Deployment {n}/vllm\nService {n}/vllm\n"));
        let folder = stage.folder();
        assert!(
            err.contains("created, and left there: 2 objects; `vllm-cibench cleanup --run artifacts/"),
            "{err}"
        );
        assert_eq!(open(&folder), 2);
        assert_eq!(texts(&cleanup(&folder, QUICK, &|_| {}).await.unwrap()), Vec::<&str>::new());
        assert_eq!((real.left().await, open(&folder)), (Vec::new(), 0));
        real
    })
    .await;
}

#[tokio::test]
async fn ctrl_c_while_deploy_waits_leaves_what_was_applied_and_says_how_to_remove_it() {
    on_a_real_server("deploy-interrupt", |real| async move {
        let mut stage = Stage::new(&real, SERVER);
        stage.deploy(&real);
        stage.until_said(" Pending").await;
        stage.signal(Signal::INT);
        let status = stage.ended().await;
        let (folder, err) = (stage.folder(), stage.said("err"));
        assert_eq!(status.code(), Some(130), "{err}");
        assert!(err.contains("error: cancelled while waiting for the pods to be ready"), "{err}");
        assert!(err.contains("created, and left there: 2 objects; `vllm-cibench cleanup --run "), "{err}");
        assert_eq!(open(&folder), 2);
        assert!(!real.left().await.is_empty(), "a deployment outlives its command");
        stage.start(&["cleanup", "--run", folder.as_str()], &[]);
        assert_eq!(stage.ended().await.code(), Some(0), "{}", stage.said("err"));
        assert_eq!((real.left().await, open(&folder)), (Vec::new(), 0), "{}", stage.said("err"));
        real
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_up_in_the_cluster_is_tested_by_other_commands_and_taken_down_by_a_third() {
    on_a_real_server("up", |mut real| async move {
        let mut stage = Stage::new(&real, SERVER);
        stage.start(&["up", "--scenario", "cluster"], &[]);
        stage.until_said("the server will answer at http://127.0.0.1:").await;
        real.run_a_pod().await;
        let _sim = Sim::start(Options { port: node_port(&real).await, ..Options::default() }).unwrap();
        assert_eq!(stage.ended().await.code(), Some(0), "{}", stage.said("err"));
        let (out, folder) = (stage.said("out"), stage.folder());
        let lines: Vec<_> = out.lines().map(|line| line.split_once('=').unwrap()).collect();
        assert_eq!(
            (lines[0], lines[2]),
            (("VLLM_CIBENCH_SCENARIO", "cluster"), ("VLLM_CIBENCH_MODEL", "sim"))
        );

        stage.start(&["run", "chat_core"], &lines);
        assert_eq!(stage.ended().await.code(), Some(0), "{}", stage.said("err"));
        assert!(stage.said("err").contains("the server of `cluster` runs already"), "{}", stage.said("err"));
        assert!(!real.left().await.is_empty(), "who did not deploy it does not take it down");

        stage.start(&["down"], &[]);
        assert_eq!(stage.ended().await.code(), Some(0), "{}", stage.said("err"));
        assert_eq!((real.left().await, open(&folder)), (Vec::new(), 0), "{}", stage.said("err"));
        real
    })
    .await;
}
