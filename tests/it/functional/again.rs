//! The `curl` line of a red trial is run by a shell: it asks the same server the same thing, and hears the same.
//!
//! 失败用例给出的 curl 命令真的能重放该请求。

use std::{path::Path, process::Command};

use vllm_cibench::sim::{Fault, FaultRule};

use super::{Bench, KEY, one, steady, why};

/// What a shell hears that runs the first `again:` line of `detail`, in `folder`.
fn heard_again(detail: &str, base_url: &str, folder: &Path) -> String {
    let line = detail.lines().find_map(|line| line.strip_prefix("again: ")).expect("a line to repeat");
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .env("BASE_URL", base_url)
        .env("API_KEY", KEY)
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The answer that the reason shows, without its indentation.
fn shown(detail: &str) -> String {
    let rest = detail.split_once("bytes):\n").expect("an answer").1;
    let answer = rest.split_once("again: ").expect("its request").0;
    answer.lines().map(|line| line.strip_prefix("  ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_curl_line_of_a_red_trial_repeats_its_request() {
    // A plain answer, a stream, a body that is no JSON, a route beside the API, and a body too large for a line.
    for (id, fault) in [
        ("chat_core::finish_length::max_2", "wrong_finish"),
        ("streaming::max_1", "role_missing"),
        ("errors::body::raw_broken", "error_bare"),
        ("errors::body_bytes::raw_no_utf8", "error_bare"),
        ("models_health::tokenize::text_en", "empty_list"),
        ("errors::over_context_prompt::mode_plain::text_en", "error_bare"),
    ] {
        let bench = Bench::new(vec![FaultRule::from(Fault::named(fault).unwrap())]);
        let reasons = why(bench.run(&one(&format!("functional::{id}"))).await.outcome);
        let detail = &reasons.first().unwrap_or_else(|| panic!("{id} passes with {fault}")).detail;
        assert!(!detail.contains(KEY), "{id} shows the key");
        let again = heard_again(detail, &bench.target.base_url, bench.folder.path().as_std_path());
        assert_eq!(steady(again.trim()), steady(shown(detail).trim()), "{id}:\n{detail}");
    }
}
