//! Which source wins: a flag beats the environment, the environment beats a file.
//!
//! 各来源的优先级。

use secrecy::ExposeSecret;
use st_harness::capability::{CapabilityId, Source, State};

use super::*;
use crate::config::{Mode, Plan, Policy, RunType, Tape};

const FILES: &[(&str, &str)] = &[
    (
        "configs/scenarios/mine.yaml",
        "mode: attach\nprovider: p\nserved_model_name: from-file\ncapabilities: [chat.tools]\n\
         metrics: {metric_prefix: from_file}\n",
    ),
    ("configs/scenarios/bare.yaml", "mode: attach\nprovider: p\n"),
    ("configs/scenarios/written.yaml", "mode: attach\nbase_url: '${WHERE:-http://file/v1}'\n"),
    (
        "configs/providers.yaml",
        "providers:\n  - {id: p, name: Provider P, base_url: 'http://provider/v1', model_name: from-provider, \
         api_key: '${P_KEY:-EMPTY}'}\n",
    ),
    (
        "configs/matrix.yaml",
        "on_failure: stop_scenario\nscenarios:\n  mine:\n    pr: {perf: false, functional_suites: [chat_core]}\n",
    ),
];

fn settings(flags: Flags, environment: &[(&str, &str)]) -> Settings {
    Root::with(FILES).resolve(&flags, environment).expect("settings without a mistake")
}

fn scenario(name: &str) -> Flags {
    Flags { scenario: Some(name.into()), ..Flags::default() }
}

#[test]
fn the_model_comes_from_the_strongest_source() {
    let environment = [("VLLM_CIBENCH_MODEL", "from-environment")];
    let flag = Flags { model: Some("from-flag".into()), ..scenario("mine") };
    for (found, expected) in [
        (settings(scenario("bare"), &[]), "from-provider"),
        (settings(scenario("mine"), &[]), "from-file"),
        (settings(scenario("mine"), &environment), "from-environment"),
        (settings(flag, &environment), "from-flag"),
    ] {
        assert_eq!(found.endpoint.model.as_deref(), Some(expected));
    }
}

#[test]
fn the_address_comes_from_the_strongest_source() {
    let environment = [("VLLM_CIBENCH_BASE_URL", "http://environment/v1")];
    let flag = |name| Flags { base_url: Some("http://flag/v1/".into()), ..scenario(name) };
    for (found, expected) in [
        (settings(scenario("bare"), &[]), "http://provider/v1"),
        (settings(scenario("written"), &[]), "http://file/v1"),
        (settings(scenario("written"), &[("WHERE", "http://reference/v1")]), "http://reference/v1"),
        (settings(scenario("written"), &environment), "http://environment/v1"),
        (settings(flag("written"), &environment), "http://flag/v1"),
    ] {
        assert_eq!(found.endpoint.base_url.as_ref().map(|url| url.as_str()), Some(expected));
    }
}

#[test]
fn a_provider_that_a_flag_names_brings_its_address_its_model_and_its_key_and_nobody_elses() {
    let environment = [
        ("VLLM_CIBENCH_BASE_URL", "http://environment/v1"),
        ("VLLM_CIBENCH_MODEL", "from-environment"),
        ("VLLM_CIBENCH_API_KEY", "sk-ours"),
    ];
    let flags = |name: Option<&str>| Flags {
        provider: Some("p".into()),
        scenario: name.map(str::to_owned),
        ..Flags::default()
    };
    for name in [None, Some("written"), Some("mine")] {
        let found = settings(flags(name), &environment);
        assert_eq!(found.endpoint.base_url.as_ref().map(|url| url.as_str()), Some("http://provider/v1"));
        assert_eq!(found.endpoint.model.as_deref(), Some("from-provider"));
        assert!(found.endpoint.api_key.is_none(), "the key of the environment belongs to another server");
        assert_eq!((found.provider_id.as_str(), found.provider_name.as_str()), ("p", "Provider P"));
    }
    let own = settings(flags(None), &[("P_KEY", "sk-provider"), environment[2]]);
    assert_eq!(own.endpoint.api_key.as_ref().map(|key| key.expose_secret()), Some("sk-provider"));
}

#[test]
fn the_key_comes_from_the_strongest_source_and_is_a_secret() {
    let named = Flags { api_key_env: Some("OTHER".into()), ..scenario("mine") };
    let ours = ("VLLM_CIBENCH_API_KEY", "sk-ours");
    for (found, expected) in [
        (settings(scenario("mine"), &[]), None),
        (settings(scenario("mine"), &[("P_KEY", "sk-provider")]), Some("sk-provider")),
        (settings(scenario("mine"), &[("P_KEY", "sk-provider"), ours]), Some("sk-ours")),
        (settings(named, &[ours, ("OTHER", "sk-other")]), Some("sk-other")),
    ] {
        assert_eq!(found.endpoint.api_key.as_ref().map(|key| key.expose_secret()), expected);
        let secrets: Vec<&str> = found.secrets().map(ExposeSecret::expose_secret).collect();
        assert!(expected.is_none_or(|key| secrets.contains(&key)), "{expected:?}");
        assert!(!format!("{found:?}").contains("sk-"), "a debugger would see the key");
    }
}

#[test]
fn the_scenario_is_named_or_attach_or_sim() {
    let url = ("VLLM_CIBENCH_BASE_URL", "http://environment/v1");
    let name = ("VLLM_CIBENCH_SCENARIO", "bare");
    for (found, expected) in [
        (settings(Flags::default(), &[]), "sim"),
        (settings(Flags::default(), &[url]), "attach"),
        (settings(Flags::default(), &[url, name]), "bare"),
        (settings(scenario("mine"), &[url, name]), "mine"),
    ] {
        assert_eq!(found.scenario.name, expected);
    }
}

#[test]
fn without_a_run_type_a_run_is_small_labelled_pr_and_never_pushed() {
    let found = settings(scenario("mine"), &[("PROM_PUSHGATEWAY_URL", "http://me:pw-seeded@gateway")]);
    assert_eq!((found.run_type, found.run_type.label()), (RunType::Smoke, "pr"));
    let Plan { functional, perf, accuracy, push, functional_suites, .. } = found.plan.clone();
    assert_eq!((functional, perf, accuracy, push), (true, true, true, false));
    assert_eq!(functional_suites, None);
    assert!(found.secrets().any(|secret| secret.expose_secret() == "pw-seeded"));
}

#[test]
fn the_matrix_decides_what_a_run_type_runs() {
    let daily = Flags { run_type: Some("daily".into()), ..scenario("mine") };
    let pr = settings(scenario("mine"), &[("VLLM_CIBENCH_RUN_TYPE", "pr")]).plan;
    assert_eq!((pr.perf, pr.accuracy, pr.push), (false, true, false));
    assert_eq!(pr.functional_suites.expect("a list")[0].name, "chat_core");
    // The flag beats the variable, and the daily column says nothing of perf.
    let daily = settings(daily, &[("VLLM_CIBENCH_RUN_TYPE", "pr")]).plan;
    assert!(daily.perf && daily.push && daily.functional_suites.is_none());
    assert_eq!(daily.on_failure, crate::config::OnFailure::StopScenario);
}

#[test]
fn a_scenario_that_the_matrix_does_not_list_runs_everything() {
    for run_type in ["pr", "daily"] {
        let plan = settings(scenario("bare"), &[("VLLM_CIBENCH_RUN_TYPE", run_type)]).plan;
        assert!(plan.functional && plan.perf && plan.accuracy && !plan.enabled, "{run_type}");
        assert_eq!(plan.push, run_type == "daily");
    }
}

#[test]
fn what_is_declared_names_its_source() {
    let found = settings(scenario("mine"), &[("VLLM_CIBENCH_CAPABILITIES", "-chat.tools,chat.logprobs")]);
    let weakest = crate::config::parse_list("completions.suffix", &catalogue()).expect("a known id");
    let declared = found.declared_with("functional_example.yaml", &weakest);
    let get = |id: &str| declared.get(&CapabilityId(id.into()));
    assert_eq!(
        (get("chat.tools").state, get("chat.tools").source),
        (State::Unsupported, Source::Environment)
    );
    assert_eq!(get("chat.logprobs").evidence, "declared by VLLM_CIBENCH_CAPABILITIES");
    assert_eq!(get("completions.suffix").evidence, "declared by functional_example.yaml");
}

#[test]
fn the_rest_follows_the_same_order() {
    let found = settings(scenario("mine"), &[("CI", "true"), ("VLLM_CIBENCH_RECORD", "kept")]);
    assert!(found.mask_urls, "in CI addresses are masked");
    assert_eq!(found.tape, Tape::Record("kept".into()));
    assert_eq!((found.metric_prefix.as_str(), found.provider_name.as_str()), ("from_file", "Provider P"));
    let flags = Flags { mask_urls: Some(false), artifacts: Some("flag".into()), ..scenario("bare") };
    let environment =
        [("CI", "true"), ("VLLM_CIBENCH_ARTIFACTS", "variable"), ("VLLM_CIBENCH_METRIC_PREFIX", "variable")];
    let found = settings(flags, &environment);
    assert!(!found.mask_urls);
    assert_eq!(found.artifacts.as_deref(), Some("flag".into()));
    assert_eq!(found.metric_prefix, "variable");
}

#[test]
fn a_root_without_files_has_two_scenarios() {
    let found = Root::with(&[]).resolve(&Flags::default(), &[]).expect("settings");
    assert!(matches!(found.scenario.mode, Mode::Sim(_)));
    assert_eq!(found.endpoint.model.as_deref(), Some("sim"));
}

#[test]
fn a_cluster_is_asked_for_its_files_unless_the_server_runs_there_already() {
    let k8s = "mode: k8s-hybrid\nk8s: {service_name: infer, manifest: '${WHERE:-up}.yaml', delete_manifest: down.yaml}\n";
    let root = Root::with(&[
        ("configs/scenarios/cluster.yaml", k8s),
        ("configs/scenarios/reached.yaml", &format!("base_url: http://gateway/v1\n{k8s}")),
        (
            "configs/scenarios/there.yaml",
            "mode: k8s-hybrid\nbase_url: http://gateway/v1\nk8s: {service_name: infer}\n",
        ),
        ("up.yaml", ""),
        ("down.yaml", ""),
        ("other.yaml", ""),
    ]);
    let cluster = |name: &str, environment: &[(&str, &str)]| {
        root.resolve(&scenario(name), environment).map(|settings| settings.cluster)
    };
    let found = cluster("cluster", &[]).expect("settings").expect("a cluster");
    assert_eq!(found.manifest, Some(root.path().join("up.yaml")));
    assert_eq!(found.delete_manifest, Some(root.path().join("down.yaml")));
    assert_eq!(cluster("reached", &[]), Ok(Some(found)));
    let other = root.path().join("other.yaml");
    let found = cluster("cluster", &[("VLLM_CIBENCH_K8S_DELETE_YAML", other.as_str())]).expect("settings");
    assert_eq!(found.and_then(|found| found.delete_manifest), Some(other));
    assert_eq!(cluster("cluster", &[("VLLM_CIBENCH_BASE_URL", "http://node:30090/v1")]), Ok(None));
    assert_eq!(cluster("there", &[]), Ok(None));

    let missing = cluster("cluster", &[("WHERE", "gone")]).expect_err("a mistake");
    let message = format!("there is no file `{}`", root.path().join("gone.yaml"));
    assert_eq!((missing.len(), missing[0].message.as_str()), (1, message.as_str()));
    let missing =
        cluster("cluster", &[("VLLM_CIBENCH_K8S_DELETE_YAML", "gone.yaml")]).expect_err("a mistake");
    assert_eq!(missing[0].message, "VLLM_CIBENCH_K8S_DELETE_YAML: there is no file or folder `gone.yaml`");
}

#[test]
fn a_server_that_runs_already_is_not_started_whatever_its_scenario_says() {
    let root = Root::with(&[
        (
            "configs/scenarios/here.yaml",
            "mode: local\nserved_model_name: m\ncapabilities: [chat.tools]\n\
             launch: {command: [vllm, serve, '${WEIGHTS}', '--port={port}']}\n",
        ),
        ("configs/scenarios/simulated.yaml", "mode: sim\n"),
    ]);
    let up = [("VLLM_CIBENCH_BASE_URL", "http://127.0.0.1:8000/v1")];
    for name in ["here", "simulated"] {
        let found = root.resolve(&scenario(name), &up).expect("settings");
        assert!(found.runs_already(), "{name}");
        assert_eq!(found.scenario.name, name, "what it declares holds all the same");
        assert_eq!(found.refused_by_nextest(&Environment::from_pairs([("NEXTEST", "1")])), None);
    }
    let unfilled = root.resolve(&scenario("here"), &[]).expect_err("a mistake");
    assert!(unfilled[0].message.contains("WEIGHTS"), "{unfilled:?}");
    let started = root.resolve(&scenario("here"), &[("WEIGHTS", "/models/m")]).expect("settings");
    assert!(!started.runs_already());
}

#[test]
fn a_daily_run_includes_what_a_change_runs_and_a_change_no_cluster() {
    let cluster = "mode: k8s-hybrid\nk8s: {service_name: infer}\n";
    let root = Root::with(&[
        ("configs/scenarios/cluster.yaml", cluster),
        ("configs/scenarios/forced.yaml", cluster),
        ("configs/scenarios/here.yaml", "mode: attach\n"),
        (
            "configs/matrix.yaml",
            "scenarios:\n  here: {daily: {enabled: false}}\n  cluster: {}\n  forced: {pr: {enabled: true}}\n  \
             sim: {pr: {enabled: false}, daily: {enabled: false}}\n",
        ),
    ]);
    let (files, problems) = crate::config::Files::read(&root.path(), &catalogue());
    assert_eq!(problems, []);
    let enabled = |run_type| files.matrix.enabled(run_type).collect::<Vec<_>>();
    assert_eq!(enabled(RunType::Pr), ["here", "forced"]);
    assert_eq!(enabled(RunType::Daily), ["here", "cluster", "forced"]);
}

#[test]
fn the_performance_gate_comes_from_the_strongest_source_key_by_key() {
    let files = [
        (
            "configs/scenarios/mine.yaml",
            "mode: sim\ngates: {perf: {policy: interval, limits: {ttft_p99: 0.2}}}\n",
        ),
        ("configs/scenarios/bare.yaml", "mode: sim\n"),
        (
            "configs/matrix.yaml",
            "perf_gate: {policy: 'off', strict_environment: true, limits: {e2e_p99: 0.3}, baseline: runs}\n\
             stage_limits: {pr: {perf: 10m}}\nscenarios: {mine: {pr: {stage_limits: {functional: 5m}}}}\n",
        ),
    ];
    let of = |flags: Flags, environment: &[(&str, &str)]| {
        let root = Root::with(&files);
        (root.resolve(&flags, environment).expect("settings without a mistake"), root.path())
    };
    let (mine, root) = of(Flags { run_type: Some("pr".into()), ..scenario("mine") }, &[]);
    let gate = &mine.perf_gate;
    assert_eq!((gate.policy, gate.strict_environment), (Policy::Interval, true));
    assert_eq!((gate.limits.ttft_p99, gate.limits.e2e_p99, gate.limits.failure_ratio), (0.2, 0.3, 0.05));
    assert_eq!(gate.baseline.as_deref(), Some(&*root.join("runs")));
    let limits: Vec<(&str, u64)> =
        mine.plan.stage_limits.by_kind().map(|(kind, limit)| (kind, limit.as_secs())).collect();
    assert_eq!(limits, [("functional", 300), ("perf", 600)]);

    let (bare, _) = of(scenario("bare"), &[("VLLM_CIBENCH_GATE_POLICY", "seed000")]);
    assert_eq!(bare.perf_gate.policy, Policy::Seed000);
    let flag = Flags { gate_policy: Some("interval".into()), ..scenario("bare") };
    let (flagged, _) = of(flag, &[("VLLM_CIBENCH_GATE_POLICY", "seed000")]);
    assert_eq!(flagged.perf_gate.policy, Policy::Interval);
}
