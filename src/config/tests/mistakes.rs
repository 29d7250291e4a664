//! Every kind of mistake in every kind of file, as the person sees it.
//!
//! 每种配置错误的完整文本。

use snapbox::{assert_data_eq, str};
use st_harness::diag::Problems;

use super::*;

/// What a person sees who runs with these files.
fn seen(files: &[(&str, &str)], environment: &[(&str, &str)]) -> String {
    let mut all = Problems::new();
    let resolved = Root::with(files).resolve(&Flags::default(), environment);
    assert!(all.collect(resolved).is_none(), "these settings hold no mistake");
    all.render(false)
}

fn scenario(text: &str) -> String {
    seen(&[("configs/scenarios/mine.yaml", text)], &[])
}

fn matrix(text: &str) -> String {
    seen(&[("configs/matrix.yaml", text)], &[])
}

fn providers(text: &str) -> String {
    seen(&[("configs/providers.yaml", text)], &[])
}

#[test]
fn a_key_of_another_mode() {
    let text = "mode: sim\nk8s:\n  service_name: infer\nbase_url: http://127.0.0.1:8000/v1\n";
    assert_data_eq!(
        scenario(text),
        str![[r#"
error: `k8s` belongs to mode `k8s-hybrid` or `k8s-pd`, but this scenario's mode is `sim`
 --> configs/scenarios/mine.yaml:2:1
  |
2 | k8s:
  | ^^^
  |
  = help: take `k8s` out, or change `mode`

error: mode `sim` starts its own server and has no `base_url`
 --> configs/scenarios/mine.yaml:4:1
  |
4 | base_url: http://127.0.0.1:8000/v1
  | ^^^^^^^^
  |
  = help: take `base_url` out, or use mode `attach`

2 mistakes in 1 file; nothing was run
"#]]
    );
}

#[test]
fn an_unknown_key_and_an_unknown_mode() {
    assert_data_eq!(
        scenario("mode: k8s\nserved_modelname: qwen\n"),
        str![[r#"
error: unknown choice `k8s`
 --> configs/scenarios/mine.yaml:1:7
  |
1 | mode: k8s
  |       ^^^ did you mean `k8s-pd` or `k8s-hybrid`?
  |
  = help: known here: `sim`, `attach`, `local`, `k8s-hybrid` and `k8s-pd`

error: unknown key `served_modelname`
 --> configs/scenarios/mine.yaml:2:1
  |
2 | served_modelname: qwen
  | ^^^^^^^^^^^^^^^^ did you mean `served_model_name`?
  |
  = help: known keys here: `about`, `mode`, `model`, `served_model_name`, `model_raw`, `quant`, `features`, `capabilities`, `provider`, `base_url`, `sim`, `launch`, `k8s`, `pd`, `readiness`, `gates`, `functional` and `metrics`

2 mistakes in 1 file; nothing was run
"#]]
    );
}

#[test]
fn a_mode_without_what_it_needs() {
    assert_data_eq!(
        scenario("mode: k8s-pd\n"),
        str![[r#"
error: mode `k8s-pd` needs the key `k8s`
 --> configs/scenarios/mine.yaml:1:7
  |
1 | mode: k8s-pd
  |       ^^^^^^

error: mode `k8s-pd` needs the key `pd`
 --> configs/scenarios/mine.yaml:1:7
  |
1 | mode: k8s-pd
  |       ^^^^^^

2 mistakes in 1 file; nothing was run
"#]]
    );
}

#[test]
fn a_launch_that_cannot_be() {
    let text = "\
mode: local
launch:
  command: [vllm, serve, '{model}', --port, '{prot}', '${HOME']
  env: {A=B: x}
  port: 0
";
    assert_data_eq!(
        scenario(text),
        str![[r#"
error: `{model}` is used here, but the scenario has no `model`
 --> configs/scenarios/mine.yaml:3:26
  |
3 |   command: [vllm, serve, '{model}', --port, '{prot}', '${HOME']
  |                          ^^^^^^^^^

error: there is no placeholder `prot`
 --> configs/scenarios/mine.yaml:3:45
  |
3 |   command: [vllm, serve, '{model}', --port, '{prot}', '${HOME']
  |                                             ^^^^^^^^ did you mean `port`?
  |
  = help: there are: `port`, `model`, `served_model_name` and `quant`

error: `${HOME` has no closing `}`; expected `${HOME}` or `${HOME:-otherwise}`
 --> configs/scenarios/mine.yaml:3:55
  |
3 |   command: [vllm, serve, '{model}', --port, '{prot}', '${HOME']
  |                                                       ^^^^^^^^

error: `A=B` cannot name an environment variable
 --> configs/scenarios/mine.yaml:4:9
  |
4 |   env: {A=B: x}
  |         ^^^
  |
  = help: a name is not empty and holds no `=`

error: expected a port from 1, found 0; leave the key out to have a free one chosen
 --> configs/scenarios/mine.yaml:5:9
  |
5 |   port: 0
  |         ^

5 mistakes in 1 file; nothing was run
"#]]
    );
}

#[test]
fn values_out_of_their_bounds() {
    let text = "\
mode: attach
base_url: http://127.0.0.1:8000
capabilities: [chat.tool]
readiness: {path: health, timeout: 21m, scheme: https}
gates: {require_capabilities: [-chat.tools]}
metrics: {metric_prefix: ci_}
";
    assert_data_eq!(
        scenario(text),
        str![[r#"
error: expected an address that ends in /v1, found `http://127.0.0.1:8000`; did you mean `http://127.0.0.1:8000/v1`?
 --> configs/scenarios/mine.yaml:2:11
  |
2 | base_url: http://127.0.0.1:8000
  |           ^^^^^^^^^^^^^^^^^^^^^

error: unknown capability `chat.tool`; did you mean `chat.tools`?
 --> configs/scenarios/mine.yaml:3:16
  |
3 | capabilities: [chat.tool]
  |                ^^^^^^^^^

error: expected a path that begins with `/`, found `health`
 --> configs/scenarios/mine.yaml:4:19
  |
4 | readiness: {path: health, timeout: 21m, scheme: https}
  |                   ^^^^^^

error: expected at most 20m (1200 s), found 1260 s
 --> configs/scenarios/mine.yaml:4:36
  |
4 | readiness: {path: health, timeout: 21m, scheme: https}
  |                                    ^^^

error: mode `attach` has no use for it: the address says it
 --> configs/scenarios/mine.yaml:4:49
  |
4 | readiness: {path: health, timeout: 21m, scheme: https}
  |                                                 ^^^^^

error: a gate requires what there is, not its absence
 --> configs/scenarios/mine.yaml:5:32
  |
5 | gates: {require_capabilities: [-chat.tools]}
  |                                ^^^^^^^^^^^

error: expected letters, digits and `_`, not beginning with a digit nor ending in `_`, found `ci_`; the `_` between prefix and name is added
 --> configs/scenarios/mine.yaml:6:26
  |
6 | metrics: {metric_prefix: ci_}
  |                          ^^^

7 mistakes in 1 file; nothing was run
"#]]
    );
}

#[test]
fn a_time_without_a_unit() {
    assert_data_eq!(
        scenario("mode: attach\nreadiness:\n  timeout: 30\n"),
        str![[r#"
error: expected text, found the number 30
 --> configs/scenarios/mine.yaml:3:12
  |
3 |   timeout: 30
  |            ^^
  |
  = help: quote it to make text of it

1 mistake in 1 file; nothing was run
"#]]
    );
}

#[test]
fn an_empty_scenario() {
    assert_data_eq!(
        scenario(""),
        str![[r#"
error: the file is empty: expected a mapping
 --> configs/scenarios/mine.yaml:1:1
  |
1 |
  | ^
  |
  = help: known here: `about`, `mode`, `model`, `served_model_name`, `model_raw`, `quant`, `features`, `capabilities`, `provider`, `base_url`, `sim`, `launch`, `k8s`, `pd`, `readiness`, `gates`, `functional` and `metrics`

1 mistake in 1 file; nothing was run
"#]]
    );
}

#[test]
fn a_provider_that_is_not_there() {
    let files = [
        ("configs/scenarios/mine.yaml", "mode: attach\nprovider: ascend_vllm\n"),
        (
            "configs/providers.yaml",
            "providers:\n  - {id: ascend-vllm, base_url: http://h/v1, model_name: m}\n",
        ),
    ];
    assert_data_eq!(
        seen(&files, &[]),
        str![[r#"
error: there is no provider `ascend_vllm` in configs/providers.yaml
 --> configs/scenarios/mine.yaml:2:11
  |
2 | provider: ascend_vllm
  |           ^^^^^^^^^^^ did you mean `ascend-vllm`?
  |
  = help: there are: `ascend-vllm`

1 mistake in 1 file; nothing was run
"#]]
    );
}

#[test]
fn a_provider_twice() {
    let text = "\
providers:
  - {id: one, base_url: http://h/v1, model_name: m}
  - id: one
    base_url: http://h
    model_name: m
";
    assert_data_eq!(
        providers(text),
        str![[r#"
error: provider `one` is there already in line 2
 --> configs/providers.yaml:3:9
  |
3 |   - id: one
  |         ^^^

error: expected an address that ends in /v1, found `http://h`; did you mean `http://h/v1`?
 --> configs/providers.yaml:4:15
  |
4 |     base_url: http://h
  |               ^^^^^^^^

2 mistakes in 1 file; nothing was run
"#]]
    );
}

#[test]
fn no_mistake_repeats_a_key() {
    for text in [
        "providers:\n  - id: one\n    api_key: sk-seeded\n    base_url: 1\n    model_name: m\n",
        "providers:\n  - id: one\n    api_key: sk-seeded-${\n    base_url: http://h/v1\n    model_name: m\n",
        "providers:\n  - id: one\n    api_key: [sk-seeded]\n    base_url: http://h/v1\n    model_name: m\n",
        "providers:\n  - {id: one, api_key: sk-seeded, base_url: 1, model_name: m}\n",
        "providers:\n  - id: one\n    api_keys: sk-seeded\n    base_url: http://h/v1\n    model_name: m\n",
        "providers:\n  - id: one\n    api_key: sk-seeded\n    base_url: http://me:sk-seeded@h/v1\n    model_name: m\n",
    ] {
        let said = providers(text);
        assert!(!said.contains("seeded"), "{said}");
    }
}

#[test]
fn a_matrix_that_does_not_fit() {
    let text = "\
on_failure: stop
scenarios:
  sin:
    pr: {enabled: true}
  sim:
    pr: {push: true, perf: maybe}
    nightly: {}
";
    assert_data_eq!(
        matrix(text),
        str![[r#"
error: unknown choice `stop`
 --> configs/matrix.yaml:1:13
  |
1 | on_failure: stop
  |             ^^^^ did you mean `stop_all` or `stop_scenario`?
  |
  = help: known here: `continue`, `stop_scenario` and `stop_all`

error: expected `true` or `false`, found the text "maybe"
 --> configs/matrix.yaml:6:28
  |
6 |     pr: {push: true, perf: maybe}
  |                            ^^^^^

error: unknown key `nightly`
 --> configs/matrix.yaml:7:5
  |
7 |     nightly: {}
  |     ^^^^^^^
  |
  = help: known keys here: `pr` and `daily`

3 mistakes in 1 file; nothing was run
"#]]
    );
    assert_data_eq!(
        matrix("scenarios:\n  sin: {}\n  sim:\n    pr: {push: true}\n"),
        str![[r#"
error: there is no scenario `sin`
 --> configs/matrix.yaml:2:3
  |
2 |   sin: {}
  |   ^^^ did you mean `sim`?
  |
  = help: there are: `sim` and `attach`

error: only daily runs are pushed: expected `false` or nothing
 --> configs/matrix.yaml:4:16
  |
4 |     pr: {push: true}
  |                ^^^^

2 mistakes in 1 file; nothing was run
"#]]
    );
}

#[test]
fn every_file_is_reported_at_once() {
    let files = [
        ("configs/scenarios/a.yaml", "mode: sin\n"),
        ("configs/scenarios/b.yml", "mode: sim\n"),
        ("configs/matrix.yaml", "scenarios: 3\n"),
        ("configs/providers.yaml", "provider: []\n"),
    ];
    assert_data_eq!(
        seen(&files, &[("VLLM_CIBENCH_RUN_TYPE", "nightly")]),
        str![[r#"
error: configs/scenarios/b.yml: a scenario's file ends in .yaml
 |
 = help: rename it

error: VLLM_CIBENCH_RUN_TYPE: expected `smoke`, `pr` or `daily`, found `nightly`

error: expected a map of scenarios, found the number 3
 --> configs/matrix.yaml:1:12
  |
1 | scenarios: 3
  |            ^

error: unknown key `provider`
 --> configs/providers.yaml:1:1
  |
1 | provider: []
  | ^^^^^^^^ did you mean `providers`?
  |
  = help: known keys here: `providers`

error: the key `providers` is missing
 --> configs/providers.yaml:1:1
  |
1 | provider: []
  | ^^^^^^^^ `providers` belongs here

error: unknown choice `sin`
 --> configs/scenarios/a.yaml:1:7
  |
1 | mode: sin
  |       ^^^ did you mean `sim`?
  |
  = help: known here: `sim`, `attach`, `local`, `k8s-hybrid` and `k8s-pd`

6 mistakes in 3 files; nothing was run
"#]]
    );
}

#[test]
fn variables_that_make_no_sense() {
    let environment = [
        ("VLLM_CIBENCH_SCENARIO", "atach"),
        ("VLLM_CIBENCH_CAPABILITIES", "chat.tools,chat.tolls"),
        ("VLLM_CIBENCH_FUNCTIONAL_CONFIG", "no/such/file.yaml"),
        ("VLLM_CIBENCH_MASK_URLS", "maybe"),
        ("VLLM_CIBENCH_METRIC_PREFIX", "ci-bench"),
        ("VLLM_CIBENCH_RECORD", "a"),
        ("VLLM_CIBENCH_REPLAY", "b"),
    ];
    assert_data_eq!(
        seen(&[], &environment),
        str![[r#"
error: VLLM_CIBENCH_SCENARIO: there is no scenario `atach` in configs/scenarios/: did you mean `attach`?
 |
 = help: there are: `attach` and `sim`

error: VLLM_CIBENCH_CAPABILITIES: unknown capability `chat.tolls`; did you mean `chat.tools`?

error: VLLM_CIBENCH_FUNCTIONAL_CONFIG: there is no file or folder `no/such/file.yaml`

error: VLLM_CIBENCH_RECORD and VLLM_CIBENCH_REPLAY exclude each other

error: VLLM_CIBENCH_MASK_URLS: expected `true` or `false`, found `maybe`

error: VLLM_CIBENCH_METRIC_PREFIX: expected letters, digits and `_`, not beginning with a digit nor ending in `_`, found `ci-bench`; the `_` between prefix and name is added

6 mistakes; nothing was run
"#]]
    );
}

#[test]
fn an_attach_without_an_address() {
    assert_data_eq!(
        seen(&[], &[("VLLM_CIBENCH_SCENARIO", "attach")]),
        str![[r#"
error: the scenario `attach` attaches to a running server, but nothing says where it is
 |
 = help: set VLLM_CIBENCH_BASE_URL=http://127.0.0.1:8000/v1 or give --base-url

1 mistake; nothing was run
"#]]
    );
}

#[test]
fn a_reference_that_nothing_fills() {
    let files = [(
        "configs/scenarios/mine.yaml",
        "mode: local\nlaunch:\n  command: ['${REAL_VLLM_HOME}/venv/bin/vllm', serve]\n",
    )];
    assert_data_eq!(
        seen(&files, &[("VLLM_CIBENCH_SCENARIO", "mine")]),
        str![[r#"
error: the environment variable REAL_VLLM_HOME is not set
 --> configs/scenarios/mine.yaml:3:13
  |
3 |   command: ['${REAL_VLLM_HOME}/venv/bin/vllm', serve]
  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

1 mistake in 1 file; nothing was run
"#]]
    );
    // Whoever does not choose the scenario need not fill it in.
    assert!(Root::with(&files).resolve(&Flags::default(), &[]).is_ok());
}

#[test]
fn a_suite_that_the_matrix_misspells() {
    let root = Root::with(&[(
        "configs/matrix.yaml",
        "scenarios:\n  sim:\n    pr:\n      functional_suites: [chat_core, chat_cor]\n",
    )]);
    let settings = root.resolve(&Flags::default(), &[("VLLM_CIBENCH_RUN_TYPE", "pr")]).expect("settings");
    let problems = settings.unknown_suites(&["chat_core", "streaming"]);
    let said: Vec<String> = problems.iter().map(|problem| problem.render(false)).collect();
    assert_data_eq!(
        said.join("\n"),
        str![[r#"
error: there is no functional suite `chat_cor`
 --> configs/matrix.yaml:4:38
  |
4 |       functional_suites: [chat_core, chat_cor]
  |                                      ^^^^^^^^ did you mean `chat_core`?
  |
  = help: there are: `chat_core` and `streaming`
"#]]
    );
}

#[test]
fn a_limit_that_is_no_share() {
    assert_data_eq!(
        matrix("perf_gate: {limits: {requests_per_second: 5}}\n"),
        str![[r#"
error: expected a share from 0 to 0.99, found 5
 --> configs/matrix.yaml:1:43
  |
1 | perf_gate: {limits: {requests_per_second: 5}}
  |                                           ^

1 mistake in 1 file; nothing was run
"#]]
    );
}
