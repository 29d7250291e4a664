//! The configuration that comes with this crate holds together.
//!
//! 随仓库提供的配置。

use camino::Utf8Path;
use st_harness::capability::Catalogue;

use crate::config::{Environment, Files, Flags, Mode, RunType, Settings};

const SCENARIOS: [&str; 6] = [
    "attach",
    "k8s_hybrid_qwen3-32b_tp2_w4a8",
    "k8s_pd_deepseek-r1_2p1d_reasoning_w8a8",
    "local_single_qwen3-32b_guided_w8a8",
    "local_vllm_cpu_smollm2",
    "sim",
];

fn catalogue() -> Catalogue {
    crate::functional::capability::catalogue()
}

fn shipped(scenario: &str) -> Settings {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let pairs = [
        ("VLLM_CIBENCH_SCENARIO", scenario),
        ("HOME", "/home/a"),
        if scenario == "attach" { ("VLLM_CIBENCH_BASE_URL", "http://127.0.0.1:8000/v1") } else { ("A", "b") },
    ];
    let settings = Settings::resolve(&Flags::default(), &Environment::from_pairs(pairs), root, &catalogue());
    settings.expect("shipped configuration without a mistake")
}

#[test]
fn every_scenario_can_be_chosen_and_says_what_it_is() {
    for name in SCENARIOS {
        let settings = shipped(name);
        assert_eq!(settings.scenario.name, name);
        assert!(settings.scenario.about.is_some(), "{name}");
    }
    let folder = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios");
    assert_eq!(folder.read_dir().expect("a folder").count(), SCENARIOS.len(), "one is not in the list");
}

#[test]
fn only_the_simulator_runs_by_itself() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let (files, problems) = Files::read(root, &catalogue());
    assert_eq!(problems, []);
    for run_type in RunType::ALL {
        assert_eq!(files.matrix.enabled(run_type).collect::<Vec<_>>(), ["sim"], "{run_type:?}");
    }
}

#[test]
fn the_real_server_lies_in_the_home_folder_unless_the_environment_says_otherwise() {
    let launch = shipped("local_vllm_cpu_smollm2").launch.expect("a command");
    assert_eq!(launch.command[0], "/home/a/.cache/real-vllm/venv/bin/vllm");
    assert_eq!(launch.port, None, "a free port is chosen: another server may run");
}

#[test]
fn every_manifest_that_a_scenario_names_is_there() {
    let root = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in SCENARIOS {
        let settings = shipped(name);
        if let Mode::K8s(mode) = &settings.scenario.mode {
            let manifest = mode.manifest.as_ref().expect("a manifest").fill(&Environment::default());
            let manifest = manifest.expect("a path");
            let text = std::fs::read_to_string(root.join(&manifest)).expect("a manifest");
            assert!(text.contains(&format!("name: {}", mode.service_name)), "{manifest}");
        }
    }
}
