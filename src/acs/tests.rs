//! What options become.
//!
//! 选项翻译的测试。

use std::ffi::OsString;

use camino::Utf8Path;
use clap::Parser;
use serde_json::{Value, json};
use st_harness::case::{ExpandedCase, TrialId};

use super::*;
use crate::{
    cli,
    perf::{Spec, prompt::NoCount, spec::PhaseLimits},
};

#[derive(Debug, Parser)]
struct Prof {
    #[command(flatten)]
    args: ProfArgs,
}

#[derive(Debug, Parser)]
struct Generate {
    #[command(flatten)]
    args: GenerateArgs,
}

fn words(command: &str, text: &str) -> Vec<OsString> {
    format!("vllm-cibench {command} {text}").split_whitespace().map(OsString::from).collect()
}

fn parsed(text: &str) -> Result<ProfArgs, String> {
    let args = long_names(words("prof", text)).split_off(1);
    Prof::try_parse_from(args).map(|prof| prof.args).map_err(|error| error.to_string())
}

/// What `text` and the few options that are always needed become.
fn made(text: &str) -> Result<Vec<Value>, String> {
    let args = parsed(&format!("-i data.jsonl -il 128 -n 16 -ol 64 -p providers.yaml {text}"))?;
    made_of(&args)
}

fn made_of(args: &ProfArgs) -> Result<Vec<Value>, String> {
    let made = cases(args, Utf8Path::new("/here")).map_err(|wrong| wrong.join("\n"))?;
    Ok(made.file["cases"].as_array().unwrap().clone())
}

fn one(text: &str) -> Value {
    let mut all = made(text).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn the_defaults_are_those_of_acs_bench() {
    let expected = json!({
        "id": "in128_out64_c1",
        "timeout": "240h",
        "endpoint": "chat",
        "concurrency_backend": "threading-pool",
        "output_range": {"above": 0.0, "below": 0.0},
        "count_template": false,
        "epochs": 1,
        "warmup": 0,
        "sampling": {"temperature": 0.6, "ignore_eos": true},
        "continuous_usage": true,
        "seed": 0,
        "request_timeout_s": 1000.0,
        "read_size": 1024,
        "bucket_interval_ms": 1000.0,
        "profile": false,
        "trace": false,
        "input_len": 128,
        "output_len": 64,
        "dataset": [{"layout": "custom", "path": "/here/data.jsonl"}],
        "concurrency": 1,
        "requests": 16,
        "control_method": "fixed",
    });
    assert_eq!(one(""), expected);
    assert_eq!(
        one("-b openai")["sampling"],
        json!({"temperature": 0.6, "ignore_eos": true, "top_k": 8, "top_p": 1.0})
    );
    let args = parsed("-n 1 -ol 1 -p p.yaml").unwrap();
    assert_eq!(args.benchmark_save_path, "./benchmark_output");
}

#[test]
fn short_names_and_long_ones_are_the_same() {
    let short = made(
        "-c 2 -ub -gr 1 -gi 500 -ic 1 -cm linear -w 3 -e 2 -temper 0 -timeout 9 -ie false -cus=false -bi 100",
    );
    let long = made(
        "--concurrency 2 --use-climb true --growth-rate 1 --growth-interval 500 --init-concurrency 1 --climb-mode linear \
         --warmup 3 --epochs 2 --temperature 0 --timeout 9 --ignore-eos False --continuous-usage-stats 0 \
         --bucket-interval 100",
    );
    assert_eq!(short, long);
    let case = &short.unwrap()[0];
    let climb = json!({"init_concurrency": 1, "growth_rate": 1, "growth_interval_ms": 500, "mode": "linear"});
    assert_eq!(case["control_method"], json!({"climb": climb}));
    assert_eq!(
        (&case["warmup"], &case["epochs"], &case["request_timeout_s"]),
        (&json!(3), &json!(2), &json!(9.0))
    );
    assert_eq!(case["sampling"], json!({"temperature": 0.0, "ignore_eos": false}));
    assert_eq!(one("--seed 5"), one("--random-seed 5"));
}

#[test]
fn lists_are_separated_by_commas_or_repeated_and_every_combination_is_a_case() {
    let args = parsed("-dt random -il 128,512 -ol 16 -ol 32 -c 1,2 -c 4 -n 8,16,32 -p p.yaml").unwrap();
    let cases = made_of(&args).unwrap();
    let ids: Vec<&str> = cases.iter().map(|case| case["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..4], ["in128_out16_c1", "in128_out16_c2", "in128_out16_c4", "in128_out32_c1"]);
    assert_eq!(ids.len(), 12);
    let requests: Vec<&Value> = cases[..3].iter().map(|case| &case["requests"]).collect();
    assert_eq!(requests, [&json!(8), &json!(16), &json!(32)]);
    assert!(cases.iter().all(|case| case.get("dataset").is_none()), "random text needs no file");
}

#[test]
fn a_pool_of_processes_has_its_size() {
    let cases = made("-cb processing-pool -c 2,4 -nc 1,3").unwrap();
    let sizes: Vec<&Value> = cases.iter().map(|case| &case["num_process"]).collect();
    assert_eq!(sizes, [&json!(1), &json!(3)]);
    assert!(one("-cb asyncio").get("num_process").is_none());
}

#[test]
fn prefill_and_decode_have_limits_of_their_own() {
    let cases = made("-c 2,8 -n 8 -rm pd_dynamic -pc 1").unwrap();
    for case in &cases {
        assert_eq!(case["request_mode"], json!({"pd_dynamic": {"prefill_concurrency": 1}}));
    }
    let spec = |case: &Value| {
        let mut case = case.clone();
        case.as_object_mut().unwrap().retain(|key, _| key != "id" && key != "timeout");
        serde_json::from_value::<Spec>(case).unwrap()
    };
    let limits: Vec<_> = cases.iter().map(|case| spec(case).phase_limits().unwrap()).collect();
    assert_eq!(
        limits,
        [PhaseLimits { prefill: 1, decode: 2 }, PhaseLimits { prefill: 1, decode: 8 }],
        "what is not given follows from the concurrency of the level"
    );
    assert_eq!(spec(&one("")).phase_limits(), None);
}

#[test]
fn workers_are_a_job_of_so_many_pods() {
    let text = "--workers k8s-job:3 --worker-image i:1 --worker-cpu 2 --kubeconfig k -c 4";
    let spread = made(text);
    #[cfg(feature = "kube")]
    {
        let case = &spread.unwrap()[0];
        assert_eq!((&case["concurrency_backend"], &case["num_process"]), (&json!("k8s-job"), &json!(3)));
        let job = json!({"image": "i:1", "namespace": "default", "kubeconfig": "/here/k", "cpu": "2",
                         "start_timeout_s": 300, "head_start_s": 10});
        assert_eq!(case["job"], job);
    }
    #[cfg(not(feature = "kube"))]
    assert!(spread.unwrap_err().contains("--workers: this build cannot have pods carry a load"));
    for (text, told) in [
        ("--workers 3", "expected `k8s-job:N`, a Job of N pods, found `3`"),
        ("--workers k8s-job:0 --worker-image i", "found `k8s-job:0`"),
        ("--workers k8s-job:2", "--worker-image <IMAGE>"),
        ("--worker-cpu 2", "--workers <k8s-job:N>"),
        ("--workers k8s-job:2 --worker-image i -cb asyncio", "cannot be used with"),
        ("--workers k8s-job:2 --worker-image i -rm pd_dynamic", "nor does a pod"),
    ] {
        let wrong = made(text).unwrap_err();
        assert!(wrong.contains(told), "{text}: {wrong}");
    }
}

#[test]
fn a_rate_is_an_open_loop_and_goodput_has_its_limits_in_seconds() {
    let case = one("-r 2.5 -burst 0.5 -g ttft:50 -g e2e:1000,tpot:20");
    assert_eq!(case["control_method"], json!({"rate": {"requests_per_second": 2.5, "burstiness": 0.5}}));
    assert_eq!(
        case["slo"],
        json!({"ttft": 0.05, "tpot": 0.02, "e2e": 1.0, "share": 0.9, "stop_beyond": false})
    );
    assert_eq!(one("-r inf")["control_method"], "fixed");
}

#[test]
fn what_does_not_hold_together_is_said_all_at_once() {
    let wrong = made("-rm pd_dynamic -cb processing-pool -mt image-text -ub -r 3").unwrap_err();
    for told in [
        "no process of a pool sees the phases of all requests",
        "--modal-type: expected `text`",
        "a climb is a closed loop, a rate an open one",
    ] {
        assert!(wrong.contains(told), "{told} is not in\n{wrong}");
    }
    for (text, told) in [
        ("-c 1,2 -n 4,8", "expected one number, or one for each of the 2 of --concurrency, found 3"),
        ("-c 2,2", "--concurrency: 2 is given twice"),
        ("-dt random", "--dataset-type random reads no file"),
        ("-ic 1", "it is where a climb begins; give --use-climb"),
        ("-g ttft:5,ttft:6", "`ttft` is limited twice"),
        ("-g qps:5", "expected `ttft`, `tpot` or `e2e` before the colon, found `qps`"),
        ("-gi 0.5", "expected whole milliseconds"),
        ("-cb green-threads", "[possible values: threading-pool, asyncio, processing-pool]"),
        ("-pc 2", "they belong to --request-mode pd_dynamic"),
        ("-dc 2", "they belong to --request-mode pd_dynamic"),
        ("-rm pd-dynamic", "[possible values: normal, pd_dynamic]"),
        ("-nc 2", "it is the size of --concurrency-backend processing-pool"),
        ("-r 0", "expected requests a second"),
        ("-ub maybe", "expected `true` or `false`"),
    ] {
        let wrong = made(text).unwrap_err();
        assert!(wrong.contains(told), "{text}: {wrong}");
    }
    let wrong = made_of(&parsed("-il 1 -n 1 -ol 1 -p p").unwrap()).unwrap_err();
    assert!(wrong.contains("--input-path: expected the data set of the type `custom`"), "{wrong}");
}

#[test]
fn a_folder_is_searched_for_the_data_set_of_each_length() {
    let folder = tempfile::tempdir().unwrap();
    let path = camino::Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    for name in ["random_input128.jsonl", "random_input512.jsonl"] {
        std::fs::write(path.join(name), "").unwrap();
    }
    let args = |length: &str| parsed(&format!("-i {path} -il {length} -n 1 -ol 1 -p p.yaml")).unwrap();
    let cases = made_of(&args("128,512")).unwrap();
    assert_eq!(cases[1]["dataset"][0]["path"], json!(path.join("random_input512.jsonl")));
    let wrong = made_of(&args("256")).unwrap_err();
    assert!(wrong.contains("expected a file *_input256.jsonl in"), "{wrong}");
    assert!(wrong.contains("random_input128.jsonl, random_input512.jsonl; make one with"), "{wrong}");
}

#[test]
fn options_that_do_nothing_are_named_with_the_reason() {
    let args = parsed("-dt random -il 1 -n 1 -ol 1 -p p -usd").unwrap();
    let notes = cases(&args, Utf8Path::new("/")).unwrap().notes;
    let [note] = notes.as_slice() else { panic!("{notes:?}") };
    assert!(note.starts_with("--use-spec-decode is not used: "), "{note}");
}

#[test]
fn a_tokenizers_file_is_named_in_every_case_wherever_it_lies() {
    let args = parsed("-dt random -il 1,2 -n 1 -ol 1 -p p -t models/qwen").unwrap();
    for case in cases(&args, Utf8Path::new("/here")).unwrap().file["cases"].as_array().unwrap() {
        assert_eq!(case["tokenizer"], json!({"file": "/here/models/qwen"}));
    }
    let chat = generating("-o out -t /nowhere -il 8 -n 1 --count-template").mistakes().join("\n");
    assert!(chat.contains("a tokenizer's file counts the text alone"), "{chat}");
}

#[test]
fn every_case_is_a_good_case() {
    for text in [
        "",
        "-b openai -cb asyncio",
        "-ub -c 4 -ic 1 -gr 2 -w 1",
        "-rm pd_dynamic -pc 1 -dc 3 -c 4 -cb asyncio",
        "-r 3 -c 4 -g ttft:50",
        "-ra 0.5 -rb 0.5",
        "-cb processing-pool -nc 2 -c 4",
    ] {
        for mut case in made(text).unwrap() {
            for key in ["id", "timeout"] {
                case.as_object_mut().unwrap().remove(key);
            }
            let spec: Spec = serde_json::from_value(case).unwrap();
            let case = ExpandedCase::of(TrialId::new("perf::prof::one").unwrap(), Value::Null);
            let mut mistakes = st_harness::suite::Mistakes::new(&case);
            spec.check(&mut mistakes);
            let told: Vec<String> =
                mistakes.into_problems().into_iter().map(|problem| problem.message).collect();
            assert_eq!(told, [""; 0], "{text}");
        }
    }
}

#[test]
fn the_table_of_options_and_the_command_line_name_the_same_options() {
    let command = cli::command();
    let taken = |path: &[&str]| {
        let command = path.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
        command
            .get_arguments()
            .filter_map(|arg| arg.get_long())
            .map(|long| format!("--{long}"))
            .collect::<Vec<_>>()
    };
    let of = |sections: &[&str]| {
        let options = OPTIONS.iter().filter(|option| sections.contains(&option.section));
        options.map(|option| option.long.to_owned()).collect::<Vec<_>>()
    };
    let ours = [
        "--count-template",
        "--only-cases",
        "--goodput-share",
        "--stop-beyond",
        "--workers",
        "--worker-image",
        "--worker-namespace",
        "--worker-base-url",
        "--worker-cpu",
        "--worker-memory",
        "--worker-start-timeout",
        "--worker-head-start",
        "--kubeconfig",
        "--context",
        "--model",
        "--language",
        "--help",
        "--version",
    ];
    for (path, sections) in
        [(vec!["dataset", "generate"], vec!["A.1"]), (vec!["prof"], vec!["A.2", "A.3", "A.4", "A.5"])]
    {
        let mut taken: Vec<String> =
            taken(&path).into_iter().filter(|long| !ours.contains(&long.as_str())).collect();
        let mut listed = of(&sections);
        taken.sort();
        listed.sort();
        assert_eq!(taken, listed, "{path:?}");
    }
}

#[test]
fn short_names_are_written_out_for_their_own_command_only() {
    let text = |args: Vec<OsString>| {
        args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        text(long_names(words("prof", "-pl x -il=3 -- -il"))),
        "vllm-cibench prof --profile-level x --input-length=3 -- -il"
    );
    assert_eq!(
        text(long_names(words("dataset generate", "-pl 3"))),
        "vllm-cibench dataset generate --prefix-length 3"
    );
    assert_eq!(text(long_names(words("run", "-il 3"))), "vllm-cibench run -il 3");
}

#[test]
fn the_help_shows_the_short_names() {
    let mut command = cli::command();
    let help = command.find_subcommand_mut("prof").unwrap().render_long_help().to_string();
    assert!(help.contains("[-il]") && help.contains("[-umar]"), "{help}");
}

/// Counts characters.
struct ByCharacters;

impl crate::perf::prompt::TokenCounter for ByCharacters {
    async fn count(&self, content: &crate::perf::prompt::Content) -> Result<u64, String> {
        Ok(content.text().chars().count() as u64)
    }
}

fn generating(text: &str) -> GenerateArgs {
    let args = long_names(words("dataset generate", text)).split_off(2);
    Generate::try_parse_from(args).unwrap().args
}

#[tokio::test]
async fn a_random_data_set_is_the_same_for_the_same_seed_and_says_how_long_it_is() {
    let of = async |text: &str| {
        generate(&generating(&format!("-o out -t http://h/v1 {text}")), &ByCharacters).await.unwrap()
    };
    let one = of("-il 200 -n 20 -pl 50 -ra 0.1").await;
    assert_eq!(one, of("-il 200 -n 20 -pl 50 -ra 0.1").await);
    assert_ne!(one.sha256(), of("-il 200 -n 20 -pl 50 -ra 0.1 --seed 1").await.sha256());
    assert_eq!(one.name, "random_input200.jsonl");
    let lengths = one.lengths.unwrap();
    assert!(lengths.min >= 200.0 && lengths.max <= 220.0 && lengths.max > lengths.min, "{lengths:?}");
    for line in one.text.lines() {
        let item: Value = serde_json::from_str(line).unwrap();
        assert_eq!(item["prompt"].as_str().unwrap().chars().count() as u64, item["input_tokens"]);
    }
    let unsure = generate(&generating("-o out -t estimate -il 20 -n 2"), &NoCount("nobody was to count"))
        .await
        .unwrap();
    assert_eq!(
        (unsure.lengths, unsure.told().as_str()),
        (None, "2 prompts, lengths estimated: nobody was to count")
    );
}

#[tokio::test]
async fn prompts_of_a_length_are_chosen_from_a_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/perf/data/sharegpt.json");
    let text = |n: u32| format!("-dt sharegpt -i {path} -o out -t http://h/v1 -il 27 -rb 0.1 -n {n}");
    let made = generate(&generating(&text(2)), &ByCharacters).await.unwrap();
    assert_eq!(made.name, "sharegpt_input27.jsonl");
    assert_eq!(made.text.lines().count(), 2);
    let error = generate(&generating(&text(3)), &ByCharacters).await.unwrap_err();
    assert!(
        error.starts_with("expected 3 prompts of 24 to 27 tokens, found 2 among 4, which have from"),
        "{error}"
    );
}

#[test]
fn a_data_set_that_cannot_be_is_refused_before_anything_is_asked() {
    let wrong = generating("-o out -t /models/qwen -il 8 -n 1 -pl 8 -dt alpaca").mistakes().join("\n");
    for told in
        ["--tokenizer: expected a server's address", "--input-path: expected the file", "only random prompts"]
    {
        assert!(wrong.contains(told), "{told} is not in\n{wrong}");
    }
}
