//! `prof` and `dataset generate` as whoever moves over from acs-bench uses them, against the simulator.
//!
//! `prof` 与 `dataset generate` 的集成测试。

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use snapbox::{Data, assert::Assert};
use vllm_cibench::{
    acs, cli,
    sim::{Options, Sim},
};

use crate::crate_root::{CrateRoot, Ran};

const BEGIN: &str = "<!-- generated: begin -->\n";
const END: &str = "<!-- generated: end -->\n";

/// `SNAPSHOTS=overwrite cargo test --test it prof` writes it anew.
#[test]
fn the_table_of_options_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/acs-bench.md");
    let text = std::fs::read_to_string(&path).expect("the document");
    let (before, rest) = text.split_once(BEGIN).expect("where the table begins");
    let (_, after) = rest.split_once(END).expect("where it ends");
    let current = format!("{before}{BEGIN}{}{END}{after}", acs::table(&cli::command()));
    Assert::new().action_env("SNAPSHOTS").eq(Data::text(current).raw(), Data::read_from(&path, None).raw());
}

/// Stands before a server and keeps what is sent to it.
pub(crate) struct Ear {
    port: u16,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Ear {
    pub(crate) fn before(server: &str) -> Self {
        let server = server.trim_start_matches("http://").trim_end_matches("/v1").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let ear = Self { port: listener.local_addr().expect("a port").port(), heard: Arc::default() };
        let heard = Arc::clone(&ear.heard);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let upstream = TcpStream::connect(&server).expect("the server");
                let (back, forth) = (upstream.try_clone(), client.try_clone());
                let place = {
                    let mut heard = heard.lock().expect("no panic");
                    heard.push(Vec::new());
                    heard.len() - 1
                };
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || {
                    carry(client, upstream, |bytes| {
                        heard.lock().expect("no panic")[place].extend_from_slice(bytes);
                    })
                });
                std::thread::spawn(move || carry(back.expect("a clone"), forth.expect("a clone"), |_| {}));
            }
        });
        ear
    }

    /// Its address in the server's place.
    pub(crate) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// What the requests for completions ask, those of one connection after those of another.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        let body = |request: &String| request.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
        self.completions()
            .iter()
            .filter_map(body)
            .map(|body| serde_json::from_str(&body).expect("json"))
            .collect()
    }

    /// The requests for completions, in their order; one connection carries them all.
    fn completions(&self) -> Vec<String> {
        let heard = self.heard.lock().expect("no panic");
        let all: Vec<String> =
            heard.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let load = all.iter().filter(|text| text.contains("POST /v1/chat/completions"));
        let requests = load.flat_map(|text| text.split("POST ").skip(1));
        let port = self.port.to_string();
        requests
            .filter(|request| request.starts_with("/v1/chat"))
            .map(|request| request.replace(&port, "PORT"))
            .collect()
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut keep: impl FnMut(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read) = from.read(&mut buffer) {
        if read == 0 {
            break;
        }
        keep(&buffer[..read]);
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

fn sim() -> Sim {
    Sim::start(Options { model: "m".to_owned(), ..Options::default() }).expect("the simulator")
}

/// A root whose providers are at `base_url`.
fn root(base_url: &str) -> CrateRoot {
    let providers = format!(
        "providers:\n  - {{id: lab-1, name: The lab, api_key: EMPTY, base_url: '{base_url}', model_name: m, \
         model_category: M}}\n  - {{id: other, name: other, base_url: 'http://127.0.0.1:9/v1', model_name: x}}\n"
    );
    CrateRoot::new().file("providers.yaml", &providers)
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Every file below a folder whose name satisfies.
fn found(folder: &Path, is_it: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(found(&path, is_it));
        } else if path.file_name().and_then(|name| name.to_str()).is_some_and(is_it) {
            all.push(path);
        }
    }
    all.sort();
    all
}

fn only(mut all: Vec<PathBuf>) -> PathBuf {
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).expect("a file")).expect("json")
}

fn fine(ran: &Ran) {
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
}

#[test]
fn levels_on_the_simulator_leave_the_tables_that_acs_bench_leaves() {
    let sim = sim();
    let root = root(&sim.base_url());
    let ran = root.run(&words(
        "prof -dt random -il 64 -ol 8,16 -c 1,2 -n 4,6 -p providers.yaml -pid lab-1 -g ttft:5000 -s out -bi 50 -w 1 -trace -pf",
    ));
    fine(&ran);
    assert!(ran.err.contains("\nin64_out8_c1 "), "one table of all levels: {}", ran.err);
    let out = root.path().join("out");
    let summary = only(
        found(&out, &|name| name.starts_with("summary_"))
            .into_iter()
            .filter(|path| path.parent() == Some(&out))
            .collect(),
    );
    let name = summary.file_name().expect("a name").to_str().expect("utf-8");
    assert!(name.starts_with("summary_lab-1_fixed_threading-pool_2"), "{name}");
    assert!(ran.out.contains(name), "its path is printed: {}", ran.out);
    let text = std::fs::read_to_string(&summary).expect("the table");
    let header = include_str!("../fixtures/perf/summary_header.csv").trim();
    assert_eq!(text.lines().next(), Some(header));
    assert_eq!(text.lines().count(), 5);
    assert!(text.lines().nth(1).is_some_and(|row| row.contains(",The lab,")), "{text}");
    let requests = found(&out, &|name| {
        name.starts_with("requests_lab-1_random_fixed_concurrency2_threading-pool_input64_output16")
    });
    assert_eq!(requests.len(), 2, "in the run's folder and beside it");
    let trial = json(&only(found(&out, &|name| name == "perf.prof.in64_out16_c2.json")));
    assert_eq!(trial["details"]["prompts"]["counted"], "exact");
    assert_eq!(trial["details"]["prompts"]["lengths"]["max"], 64.0);
    assert_eq!(trial["over_time"]["interval_ns"], 50_000_000);
    let goodput =
        trial["figures"].as_array().expect("figures").iter().find(|figure| figure["name"] == "goodput_ratio");
    assert_eq!(goodput.expect("goodput")["value"], 1.0);
}

#[test]
fn the_same_options_send_the_same_bytes_in_the_same_order_at_the_same_times() {
    let sim = sim();
    let once = || {
        let ear = Ear::before(&sim.base_url());
        let root = root(&format!("http://127.0.0.1:{}/v1", ear.port));
        let options = "prof -dt random -il 48 -ol 4,6 -ra 0.5 -rb 0.5 -c 1 -n 8 -w 2 -e 2 -r 200 -burst 0.5 --seed 3 \
                       -p providers.yaml -pid lab-1 -s out";
        fine(&root.run(&words(options)));
        let schedules = found(&root.path().join("out"), &|name| name == "schedule.json");
        assert_eq!(schedules.len(), 2);
        let schedules: Vec<String> =
            schedules.iter().map(|path| std::fs::read_to_string(path).expect("a schedule")).collect();
        (ear.completions(), schedules)
    };
    let (one, again) = (once(), once());
    assert_eq!(one.0.len(), 2 * 2 * (8 + 2), "two levels, two epochs, eight requests and two of warm-up");
    for (one, again) in one.0.iter().zip(&again.0) {
        assert_eq!(one, again);
    }
    assert_eq!(one.1, again.1);
    let lengths: Vec<&str> = one
        .0
        .iter()
        .filter_map(|request| request.split("\"max_tokens\":").nth(1)?.split(',').next())
        .collect();
    assert!(lengths.iter().any(|length| *length != lengths[0]), "answers have a range: {lengths:?}");
}

#[test]
fn a_data_set_is_made_measured_and_held_to_its_length() {
    let sim = sim();
    let root = root(&sim.base_url());
    let ran = root.run(&words(&format!("dataset generate -il 40 -n 5 -pl 10 -o data -t {}", sim.base_url())));
    fine(&ran);
    assert_eq!(ran.out.trim(), "data/random_input40.jsonl");
    assert!(ran.err.contains("5 prompts, counted, every one as asked: 40 to 40 tokens"), "{}", ran.err);
    let prof = |length: u32| {
        root.run(&words(&format!(
            "prof -i data -il {length} -ol 4 -n 5 -c 1 -p providers.yaml -pid lab-1 -s out"
        )))
    };
    fine(&prof(40));
    let trial = json(&only(found(&root.path().join("out"), &|name| name == "perf.prof.in40_out4_c1.json")));
    assert_eq!(trial["workload"]["key"]["dataset"], "custom");
    let source = &trial["details"]["sources"][0];
    assert_eq!((&source["source"]["items"], &source["source"]["requests"]), (&5.into(), &5.into()));
    assert_eq!(source["source"]["sha256"].as_str().map(str::len), Some(64));
    let wrong = prof(41);
    assert_eq!(wrong.code, Some(2), "{}", wrong.err);
    assert!(wrong.err.contains("expected a file *_input41.jsonl in"), "{}", wrong.err);
    let named = root.run(&words(
        "prof -i data/random_input40.jsonl -il 41 -ol 4 -n 5 -p providers.yaml -pid lab-1 -s out",
    ));
    assert_eq!(named.code, Some(2), "{}", named.err);
    assert!(named.err.contains("expected every item to have 41 tokens, found one of 40"), "{}", named.err);
}

#[test]
fn a_mixture_in_a_case_tells_each_sources_figures() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perf/data");
    let case = format!(
        "cases:\n  - id: mix\n    concurrency: 2\n    requests: 24\n    output_len: 6\n    dataset:\n      \
         - {{layout: alpaca, path: '{0}/alpaca.json', weight: 3}}\n      - {{layout: sharegpt, path: '{0}/sharegpt.json', \
         shuffle: true}}\n",
        data.display()
    );
    let root = CrateRoot::new().file("cases/perf/smoke.yaml", &case);
    fine(&root.run(&["run"]));
    let trial: Value = serde_json::from_str(&root.left("perf/perf.smoke.mix.json")).expect("json");
    let sources = trial["details"]["sources"].as_array().expect("sources");
    let names: Vec<&Value> = sources.iter().map(|source| &source["source"]["name"]).collect();
    assert_eq!(names, ["alpaca", "sharegpt"]);
    let ok: u64 = sources.iter().map(|source| source["outcomes"]["ok"].as_u64().expect("a count")).sum();
    assert_eq!(ok, 24);
    assert!(
        sources.iter().all(|source| source["figures"].as_array().is_some_and(|figures| figures.len() > 20))
    );
    assert_eq!(trial["workload"]["key"]["dataset"], "mixture");
}

/// What the system shows of a process: its command line, and the names of its threads.
#[cfg(target_os = "linux")]
fn shown(pid: u32) -> (String, Vec<String>) {
    let read = |path: String| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let line = read(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    (line, names.map(|name| name.trim().to_owned()).collect())
}

#[cfg(target_os = "linux")]
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The most that was seen at a time while a command ran: children that carry load, event loops in them, event loops and
/// threads of a pool in the command itself.
#[cfg(target_os = "linux")]
fn watched(root: &CrateRoot, options: &str) -> ([usize; 4], Ran) {
    let mut child = root
        .command(&words(options))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command starts");
    let (mut most, named) =
        ([0; 4], |names: &[String], name: &str| names.iter().filter(|one| one.starts_with(name)).count());
    while child.try_wait().expect("a child").is_none() {
        let (_, own) = shown(child.id());
        let load: Vec<(String, Vec<String>)> = children(child.id())
            .into_iter()
            .map(shown)
            .filter(|(line, _)| line.starts_with("load-process-"))
            .collect();
        let loops = load.iter().map(|(_, names)| named(names, "loadloop")).sum();
        let now = [load.len(), loops, named(&own, "loadloop"), named(&own, "load-")];
        most = std::array::from_fn(|at| most[at].max(now[at]));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let ran = Ran::of(child.wait_with_output().expect("its output"));
    (most, ran)
}

#[cfg(target_os = "linux")]
#[test]
fn each_backend_is_what_its_name_says() {
    use vllm_cibench::sim::Timing;
    let timing = Timing { ttft_ms: 80.0, tpot_ms: 10.0, ..Timing::default() };
    let sim =
        Sim::start(Options { model: "m".to_owned(), timing, ..Options::default() }).expect("the simulator");
    let root = root(&sim.base_url());
    let prof = "prof -dt random -il 32 -ol 8 -n 16 -c 4 -p providers.yaml -pid lab-1";
    for (options, expected) in [
        ("-cb threading-pool -s threads", [0, 0, 0, 4]),
        ("-cb asyncio -s loop", [0, 0, 1, 0]),
        ("-cb processing-pool -nc 2 -s processes", [2, 2, 0, 0]),
    ] {
        let (most, ran) = watched(&root, &format!("{prof} {options}"));
        fine(&ran);
        assert_eq!(
            most, expected,
            "{options}: processes, their event loops, own event loops, own threads of a pool"
        );
    }
    let trial =
        json(&only(found(&root.path().join("processes"), &|name| name == "perf.prof.in32_out8_c4.json")));
    assert_eq!(trial["details"]["concurrency_backend"], "processing-pool");
    assert!(!found(&root.path().join("processes"), &|name| name.contains("_processing-pool_")).is_empty());
}

#[test]
fn what_two_processes_did_is_one_record_and_the_servers_count() {
    let sim = sim();
    let ear = Ear::before(&sim.base_url());
    let root = root(&format!("http://127.0.0.1:{}/v1", ear.port));
    let prof = "prof -dt random -il 32 -ol 8 -ra 0.5 -rb 0.5 -n 21 -c 5 -w 3 -e 2 -cb processing-pool -nc 2";
    fine(&root.run(&words(&format!("{prof} -p providers.yaml -pid lab-1 -s out"))));
    let out = root.path().join("out");
    let lines =
        std::fs::read_to_string(only(found(&out, &|name| name == "requests.jsonl"))).expect("the requests");
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    let mut indices: Vec<u64> =
        records.iter().map(|record| record["index"].as_u64().expect("an index")).collect();
    indices.sort_unstable();
    assert_eq!(indices, (0..48).collect::<Vec<_>>(), "every request of the plan once");
    let of_part = |part: u64| {
        let own = records.iter().filter(|record| record["worker"].as_u64().expect("a worker") % 2 == part);
        own.map(|record| record["output_tokens"].as_u64().expect("tokens")).sum::<u64>()
    };
    let trial = json(&only(found(&out, &|name| name == "perf.prof.in32_out8_c5.json")));
    let figure = |name: &str, stat: &str, source: &str| {
        let all = trial["figures"].as_array().expect("figures");
        let is_it = |one: &&Value| one["name"] == name && one["stat"] == stat && one["source"] == source;
        all.iter().find(is_it).and_then(|one| one["value"].as_f64())
    };
    let warm: u64 = records
        .iter()
        .filter(|record| record["warmup"] == true)
        .map(|record| record["output_tokens"].as_u64().expect("tokens"))
        .sum();
    let total = figure("output_tokens", "sum", "client").expect("a sum") as u64;
    assert!(of_part(0) > 0 && of_part(1) > 0);
    assert_eq!(of_part(0) + of_part(1), total + warm, "the two parts are the whole");
    let counted = figure("generation_tokens", "value", "server").expect("the server's counter") as u64;
    assert_eq!(counted, total);
    let times =
        |name: &str| records.iter().map(|record| record[name].as_u64().expect("a stamp")).collect::<Vec<_>>();
    let spread =
        times("ended").into_iter().max().expect("one") - times("started").into_iter().min().expect("one");
    assert!(spread < 60_000_000_000, "stamps of both processes count from the same moment: {spread}");
    assert_eq!(ear.completions().len(), 48);
}

#[test]
fn prefill_and_decode_are_limited_apart_and_what_was_kept_is_told() {
    use vllm_cibench::sim::Timing;
    let timing = Timing { ttft_ms: 20.0, tpot_ms: 10.0, ..Timing::default() };
    let sim =
        Sim::start(Options { model: "m".to_owned(), timing, ..Options::default() }).expect("the simulator");
    let root = root(&sim.base_url());
    let prof =
        "prof -dt random -il 32 -ol 6 -n 24 -c 8 -p providers.yaml -pid lab-1 -rm pd_dynamic -pc 1 -dc 2";
    for backend in ["threading-pool", "asyncio"] {
        fine(&root.run(&words(&format!("{prof} -cb {backend} -s {backend}"))));
        let trial = found(&root.path().join(backend), &|name| name == "perf.prof.in32_out6_c8.json");
        let trial = json(&only(trial));
        let phases = &trial["details"]["phases"];
        assert_eq!(phases["limits"], serde_json::json!({"prefill": 1, "decode": 2}));
        assert_eq!((&phases["prefill"]["peak"], &phases["in_flight"]["peak"]), (&1.into(), &3.into()));
        let waits = trial["figures"].as_array().expect("figures").iter();
        let mut waits = waits.filter(|figure| figure["name"] == "admission_wait" && figure["stat"] == "max");
        // Eight workers, of whom one at a time is in its 20 ms of prefill: the last of the first waits seven of them.
        assert!(waits.next().and_then(|figure| figure["value"].as_f64()) >= Some(0.14), "{backend}");
        assert_eq!(trial["workload"]["key"]["request_mode"]["pd_dynamic"]["prefill_concurrency"], 1);
    }
    let ran = root.run(&words(&format!("{prof} -cb processing-pool -s processes")));
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("no process of a pool sees the phases of all requests"), "{}", ran.err);
}

#[test]
fn a_sweep_finds_its_knee_and_leaves_out_what_lies_beyond() {
    use vllm_cibench::sim::Timing;
    let timing = Timing { ttft_ms: 30.0, ..Timing::default() };
    let sim =
        Sim::start(Options { model: "m".to_owned(), timing, ..Options::default() }).expect("the simulator");
    let root = root(&sim.base_url());
    let prof =
        "prof -dt random -il 32 -ol 4 -c 1,2,4 -n 4 -p providers.yaml -pid lab-1 -cb asyncio --stop-beyond";
    let ran = root.run(&words(&format!("{prof} -g ttft:10 -s strict")));
    fine(&ran);
    assert!(
        ran.err.contains("concurrency 1 was beyond the limits of `slo` already, this is 2"),
        "{}",
        ran.err
    );
    let ran = root.run(&words(&format!("{prof} -g ttft:10000 -s lax")));
    fine(&ran);
    assert!(
        ran.err.contains("every concurrency up to 4 keeps 90 % of requests with ttft ≤ 10 s"),
        "{}",
        ran.err
    );
    let sweeps = json(&only(found(&root.path().join("lax"), &|name| name == "sweeps.json")));
    assert_eq!(
        (&sweeps[0]["knee"], &sweeps[0]["found"]),
        (&"perf::prof::in32_out4_c4".into(), &false.into())
    );
}

#[test]
fn a_trace_is_replayed_at_its_times_and_faster() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/perf/data/trace.jsonl");
    let case = |speed: f64| {
        format!(
            "cases:\n  - id: replay\n    concurrency_backend: asyncio\n    control_method: {{trace: {{speed: {speed}}}}}\n    \
             dataset: [{{layout: trace, path: '{}'}}]\n",
            data.display()
        )
    };
    let replayed = |speed: f64| {
        let root = CrateRoot::new().file("cases/perf/smoke.yaml", &case(speed));
        fine(&root.run(&["run"]));
        let lines = std::fs::read_to_string(only(found(&root.path(), &|name| name == "requests.jsonl")))
            .expect("rows");
        let mut rows: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        rows.sort_by_key(|row| row["index"].as_u64());
        rows
    };
    let rows = replayed(1.0);
    let column = |rows: &[Value], name: &str| {
        rows.iter().map(|row| row[name].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(column(&rows, "output_tokens"), [8, 4, 6, 5, 3]);
    let prompts = column(&rows, "prompt_tokens");
    assert_eq!((prompts[0], prompts[1], prompts[2], prompts[4]), (64, 40, 48, 72));
    let due = |rows: &[Value]| {
        let at = column(rows, "scheduled");
        at.iter().map(|ns| (ns - at[0]) / 1_000_000).collect::<Vec<_>>()
    };
    // What this machine is late by more than 10 ms puts off the rest, never the other way.
    let kept = |found: &[u64], asked: [u64; 5]| {
        found.iter().zip(asked).all(|(found, asked)| *found >= asked && *found < asked + 2000)
    };
    assert!(kept(&due(&rows), [0, 120, 120, 300, 420]), "{:?}", due(&rows));
    let fast = due(&replayed(4.0));
    assert!(kept(&fast, [0, 30, 30, 75, 105]) && fast[4] < 420, "{fast:?}");
}

#[test]
fn a_provider_is_said_by_name_or_is_the_only_one() {
    let sim = sim();
    let root = root(&sim.base_url());
    let prof = "prof -dt random -il 32 -ol 2 -n 1 -p providers.yaml -s out";
    let ran = root.run(&words(prof));
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("`providers.yaml` holds 2 providers, say which: lab-1, other"), "{}", ran.err);
    let ran = root.run(&words(&format!("{prof} -pid lab_1")));
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("--provider: there is no provider `lab_1` in providers.yaml"), "{}", ran.err);
    // The environment speaks of another server: its key must not go to this one, nor its address count.
    let mut command = root.command(&words(&format!("{prof} -pid lab-1")));
    command.env("VLLM_CIBENCH_BASE_URL", "http://127.0.0.1:9/v1").env("VLLM_CIBENCH_MODEL", "x");
    fine(&Ran::of(command.output().expect("the command starts")));
}
