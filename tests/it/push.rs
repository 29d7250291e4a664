//! Figures that leave: what a daily run and `push` tell a Pushgateway, when nothing is told, and that nothing is lost.
//!
//! 推送命令的集成测试。

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::Command,
    sync::{Arc, Mutex},
};

use crate::crate_root::{CrateRoot, Ran, one_case};

/// A Pushgateway that takes everything.
struct Gateway {
    port: u16,
    told: Arc<Mutex<Vec<(String, String)>>>,
}

impl Gateway {
    fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let gateway = Self { port: listener.local_addr().expect("a port").port(), told: Arc::default() };
        let told = Arc::clone(&gateway.told);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
                let length = head
                    .lines()
                    .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
                let mut body = vec![0; length.unwrap_or(0)];
                reader.read_exact(&mut body).expect("a body");
                let first = head.lines().next().unwrap_or_default().to_owned();
                told.lock().expect("told").push((first, String::from_utf8_lossy(&body).into_owned()));
                let _ = reader
                    .into_inner()
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        });
        gateway
    }

    fn url(&self) -> String {
        format!("http://ci:s3cret-pw@127.0.0.1:{}", self.port)
    }

    /// Request lines and bodies.
    fn told(&self) -> Vec<(String, String)> {
        self.told.lock().expect("told").clone()
    }
}

/// An address that nobody listens at.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://ci:s3cret-pw@{}", listener.local_addr().expect("an address"))
}

fn root() -> CrateRoot {
    CrateRoot::new()
        .file("cases/functional/a.yaml", &one_case("status: 200"))
        .file(
            "summary.csv",
            "Input_Length,Output_Length,Concurrency,TP99_TTFT(s),QPS,Backend\n128,64,1,0.5,2,openai-chat\n128,64,2,-1,3,openai-chat\n",
        )
}

fn with(mut command: Command, variables: &[(&str, &str)]) -> Ran {
    command.envs(variables.iter().copied());
    Ran::of(command.output().expect("the command starts"))
}

fn daily(root: &CrateRoot, variables: &[(&str, &str)]) -> Ran {
    with(root.command(&["run", "--scenario", "sim", "--run-type", "daily"]), variables)
}

const CSV: [&str; 7] = ["push", "--csv", "summary.csv", "--label", "scenario=lab", "--run-type", "daily"];

#[test]
fn a_daily_run_tells_everything_in_one_put() {
    let (root, gateway) = (root(), Gateway::serve());
    let ran = daily(&root, &[("PROM_PUSHGATEWAY_URL", &gateway.url()), ("VLLM_CIBENCH_INSTANCE", "lab-1")]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.err.contains("pushed: the figures of `sim`"), "{}", ran.err);
    let told = gateway.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0, "PUT /metrics/job/vllm_cibench/instance/lab-1/scenario/sim HTTP/1.1");
    assert_eq!(told[0].1, root.left("metrics.prom"));
    assert!(told[0].1.contains("functional_case_pass{case_id=\"functional::a::hello\""), "{}", told[0].1);
    assert!(root.left("metrics.om").ends_with("# EOF\n"));
}

#[test]
fn nothing_but_a_daily_run_of_the_main_repository_tells_anything() {
    let (root, gateway) = (root(), Gateway::serve());
    let url = gateway.url();
    let gateway_url = ("PROM_PUSHGATEWAY_URL", url.as_str());
    let pr = with(root.command(&["run", "--scenario", "sim"]), &[gateway_url]);
    assert!(pr.err.contains("not pushed: the run type is `smoke`"), "{}", pr.err);
    assert!(daily(&root, &[]).err.contains("not pushed: no Pushgateway is named"));
    let event = root.path().join("event.json");
    std::fs::write(&event, r#"{"pull_request": {"head": {"repo": {"full_name": "me/bench"}}}}"#)
        .expect("a file");
    let event = event.to_str().expect("a path");
    let github = [gateway_url, ("GITHUB_ACTIONS", "true"), ("GITHUB_REPOSITORY", "me/bench")];
    for (more, said) in [
        (vec![], "not pushed: nothing says that me/bench is the main repository"),
        (vec![("VLLM_CIBENCH_MAIN_REPOSITORY", "lab/bench")], "and only lab/bench pushes"),
        (
            vec![
                ("GITHUB_REPOSITORY", "lab/bench"),
                ("VLLM_CIBENCH_MAIN_REPOSITORY", "lab/bench"),
                ("GITHUB_EVENT_PATH", event),
            ],
            "not pushed: this runs in a fork (me/bench)",
        ),
    ] {
        let variables = [&github[..], &more].concat();
        for ran in [daily(&root, &variables), with(root.command(&CSV), &variables)] {
            assert!(ran.err.contains(said), "{said}: {}", ran.err);
            assert_eq!(ran.code, Some(0));
        }
    }
    assert_eq!(gateway.told(), []);
}

#[test]
fn the_matrix_names_the_main_repository_and_spares_a_scenario() {
    let gateway = Gateway::serve();
    let matrix = "main_repository: lab/bench\nscenarios:\n  sim:\n    daily:\n      push: false\n";
    let root = root().file("configs/matrix.yaml", matrix);
    let url = gateway.url();
    let github = [
        ("PROM_PUSHGATEWAY_URL", url.as_str()),
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_REPOSITORY", "lab/bench"),
    ];
    let spared = daily(&root, &github);
    assert!(spared.err.contains("not pushed: configs/matrix.yaml says `push: false`"), "{}", spared.err);
    let pushed = with(root.command(&CSV), &github);
    assert!(pushed.err.contains("pushed: the figures of `lab`"), "{}", pushed.err);
    assert_eq!(gateway.told().len(), 1);
}

#[test]
fn a_gateway_that_is_down_changes_no_verdict_and_loses_nothing() {
    let (root, gateway) = (root(), Gateway::serve());
    let ran = daily(&root, &[("PROM_PUSHGATEWAY_URL", &nobody())]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err.contains("are not pushed") && ran.err.contains("vllm-cibench push --retry"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("s3cret"));
    let down = with(root.command(&CSV), &[("PROM_PUSHGATEWAY_URL", &nobody())]);
    assert_eq!(down.code, Some(6), "{}", down.err);

    let retry = with(root.command(&["push", "--retry"]), &[("PROM_PUSHGATEWAY_URL", &gateway.url())]);
    assert_eq!(retry.code, Some(0), "{}", retry.err);
    let told = gateway.told();
    assert_eq!(told.len(), 2, "{}", retry.err);
    assert_eq!(told[0].1, root.left("metrics.prom"));
    assert!(told[1].1.contains("requests_per_second{backend=\"openai-chat\",concurrency=\"2\""));
    let again = with(root.command(&["push", "--retry"]), &[("PROM_PUSHGATEWAY_URL", &gateway.url())]);
    assert!(again.err.contains("nothing waits to be pushed"), "{}", again.err);
}

#[test]
fn a_summary_is_pushed_from_the_command_and_from_the_script() {
    let (root, gateway) = (root(), Gateway::serve());
    let url = gateway.url();
    let flags = ["--label", "model=m", "--instance", "lab-1", "--gateway-url", &url];
    let ran = root.run(&[&CSV[..], &flags].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/collect_and_push.sh"));
    script.args(&CSV[1..]).args(flags).current_dir(root.path());
    let ran = with(script, &[("VLLM_CIBENCH", env!("CARGO_BIN_EXE_vllm-cibench"))]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let told = gateway.told();
    assert_eq!((told.len(), &told[0]), (2, &told[1]));
    assert!(
        told[0].0.starts_with("PUT /metrics/job/vllm_cibench/instance/lab-1/scenario/lab "),
        "{}",
        told[0].0
    );
    let series = r#"ttft_seconds{backend="openai-chat",concurrency="1",input_len="128",model="m",output_len="64",run_type="daily",scenario="lab",quantile="0.99"} 0.5"#;
    assert!(told[0].1.contains(series), "{}", told[0].1);
}

#[test]
fn a_dry_run_shows_what_would_be_pushed() {
    let (root, gateway) = (root(), Gateway::serve());
    let url = gateway.url();
    let ran = root.run(&[&CSV[..], &["--gateway-url", &url, "--dry-run"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("# TYPE ttft_seconds summary"), "{}", ran.out);
    assert!(ran.err.contains("not pushed: this is a dry run"), "{}", ran.err);
    let pr = root.run(&["push", "--csv", "summary.csv", "--run-type", "pr", "--gateway-url", &url]);
    assert!(pr.err.contains("not pushed: the run type is `pr`") && pr.code == Some(0), "{}", pr.err);
    assert_eq!(gateway.told(), []);
}

#[test]
fn what_is_wrong_is_told_before_anything_is_sent() {
    let root = root().file("bad.csv", "Input_Length,Output_Length,Concurrency,QPS\n1,1,1,fast\n");
    for (args, said) in [
        (&["push"][..], "--csv"),
        (&["push", "--csv", "summary.csv"], "--run-type"),
        (
            &["push", "--csv", "bad.csv", "--run-type", "pr"],
            "bad.csv, row 2, column `QPS`: expected a number",
        ),
        (&["push", "--csv", "no.csv", "--run-type", "pr"], "no.csv: No such file"),
        (&["push", "--csv", "summary.csv", "--run-type", "daily", "--label", "model"], "expected NAME=VALUE"),
        (&["push", "--csv", "summary.csv", "--run-type", "daily", "--label", "job=x"], "`job` is not free"),
        (
            &["push", "--csv", "summary.csv", "--run-type", "daily", "--gateway-url", "http://127.0.0.1:1"],
            "--label scenario=NAME is missing",
        ),
        (&["push", "--retry", "--gateway-url", "me:s3cret-pw@gw"], "expected an address such as"),
    ] {
        let ran = root.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(said) && !ran.err.contains("s3cret"), "{args:?}: {}", ran.err);
    }
}
