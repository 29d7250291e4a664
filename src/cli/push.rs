//! `push`: the figures of an acs-bench summary to a Pushgateway, and those again that could not be pushed; and what
//! `run` does at its end, which is the same.
//!
//! `push` 子命令。

use std::{io::Write as _, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use st_harness::{exit::Exit, journal::RunRecord, redact::Redactor, terminal};

use super::fail;
use crate::{
    assemble::Assembly,
    config::{Environment, Files, RunType, Settings},
    push::{
        Circumstances, Gateway, GroupingKey, Pusher, Repository, Sent, Spool, SpoolError, SummaryCsv, Unit,
        permit,
    },
};

/// Where figures wait that could not be pushed, below the root.
const SPOOL: &str = "push-spool";

/// What `push` is told.
#[derive(Debug, clap::Args)]
pub(super) struct PushArgs {
    /// A summary as acs-bench writes it
    #[arg(long, value_name = "FILE", required_unless_present = "retry", requires = "run_type")]
    csv: Option<Utf8PathBuf>,
    /// pr or daily; only daily figures are pushed
    #[arg(long, value_name = "TYPE", value_parser = ["pr", "daily"])]
    run_type: Option<String>,
    /// A label of every figure: model, quant, scenario, dataset, commit, branch, run_id…; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The Pushgateway [env: PROM_PUSHGATEWAY_URL]
    #[arg(long, value_name = "URL")]
    gateway_url: Option<String>,
    /// Print what would be pushed, and push nothing
    #[arg(long)]
    dry_run: bool,
    /// Push again what could not be pushed before
    #[arg(long)]
    retry: bool,
    /// Stands before every metric's name [env: VLLM_CIBENCH_METRIC_PREFIX]
    #[arg(long, value_name = "PREFIX")]
    metric_prefix: Option<String>,
    /// What the figures are told for instead of this machine's name [env: VLLM_CIBENCH_INSTANCE]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Folder for what could not be pushed [env: VLLM_CIBENCH_SPOOL, default: push-spool]
    #[arg(long, value_name = "DIR")]
    spool: Option<Utf8PathBuf>,
    /// How long one push may take
    #[arg(long, value_name = "SECONDS", default_value_t = Pusher::TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The folder with configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
}

pub(super) fn push(args: &PushArgs) -> Exit {
    let environment = Environment::of_process();
    let pushed = match &args.csv {
        Some(csv) => push_csv(args, csv, &environment),
        None => Exit::Ok,
    };
    match (args.retry, pushed) {
        (true, Exit::Ok | Exit::Errored) => worse(pushed, retry(args, &environment)),
        _ => pushed,
    }
}

fn push_csv(args: &PushArgs, csv: &Utf8Path, environment: &Environment) -> Exit {
    let run_type = args.run_type.as_deref().and_then(|text| RunType::parse(text).ok()).unwrap_or(RunType::Pr);
    let mut labels: std::collections::BTreeMap<_, _> = args.labels.iter().cloned().collect();
    labels.insert("run_type".to_owned(), run_type.label().to_owned());
    let prefix =
        args.metric_prefix.as_deref().or(environment.get("VLLM_CIBENCH_METRIC_PREFIX")).unwrap_or_default();
    let at = Timestamp::now();
    let told = SummaryCsv::read(csv).and_then(|summary| summary.exposition(&labels, prefix, at));
    let exposition = match told {
        Ok(exposition) => exposition,
        Err(error) => return fail(Exit::Usage, format!("error: {error}")),
    };
    if args.dry_run {
        let _ = std::io::stdout().write_all(exposition.text.as_bytes());
    }
    let url = match permit(&args.circumstances(run_type, environment)) {
        Ok(url) => url,
        Err(why) => return not_pushed(why),
    };
    let Some(scenario) = labels.get("scenario").cloned() else {
        let message = "error: --label scenario=NAME is missing: figures are pushed under their scenario";
        return fail(Exit::Usage, message);
    };
    let host = || st_harness::environment::observe().observed.get("host")?.as_str().map(str::to_owned);
    let instance = args.instance(environment).or_else(host).unwrap_or_else(|| "unknown".to_owned());
    let unit = Unit { key: GroupingKey { instance, scenario }, exposition, at };
    args.with_pusher(environment, &url, async |pusher, say| {
        let sent = pusher.push(&unit).await?;
        Ok(tell(&unit.key, &sent, say))
    })
}

fn retry(args: &PushArgs, environment: &Environment) -> Exit {
    // Only daily figures ever come into the spool.
    let url = match permit(&args.circumstances(RunType::Daily, environment)) {
        Ok(url) => url,
        Err(why) => return not_pushed(why),
    };
    args.with_pusher(environment, &url, async |pusher, say| {
        let done = pusher.retry().await?;
        if done.is_empty() {
            say("nothing waits to be pushed");
        }
        Ok(done.iter().fold(Exit::Ok, |exit, (entry, sent)| worse(exit, tell(&entry.unit.key, sent, say))))
    })
}

/// What `run` does at the end of a run: the same figures as in `metrics.prom`, in one PUT. Whatever comes of it, the
/// run's verdict stays what it is.
pub(super) fn after_run(folder: &Utf8Path, settings: &Settings, environment: &Environment, dry_run: bool) {
    let (url, unit) = match ready(folder, settings, environment, dry_run) {
        Ok(ready) => ready,
        // Nobody expects a push of these, unless a gateway is named.
        Err(_) if settings.run_type != RunType::Daily && settings.pushgateway_url.is_none() => return,
        Err(why) => return terminal::say(&format!("not pushed: {why}")),
    };
    let spool = spool(None, environment, &settings.root);
    let redactor = redactor(&url, settings.mask_urls);
    with_pusher(spool, Pusher::TIMEOUT, &redactor, &url, async |pusher, say| {
        let sent = pusher.push(&unit).await?;
        Ok(tell(&unit.key, &sent, say))
    });
}

/// Where to push, and what; or why not.
fn ready(
    folder: &Utf8Path,
    settings: &Settings,
    environment: &Environment,
    dry_run: bool,
) -> Result<(SecretString, Unit), String> {
    let url = permit(&Circumstances {
        run_type: settings.run_type,
        dry_run,
        wanted: settings.plan.push,
        url: settings.pushgateway_url.clone(),
        repository: Repository::find(environment, &settings.root),
        main_repository: main_repository(environment, &settings.root),
    })
    .map_err(|why| why.to_string())?;
    let record = RunRecord::read_folder(folder).map_err(|error| error.to_string())?;
    if record.finished.as_ref().is_none_or(|finished| finished.interrupted) {
        return Err("the run was interrupted, and half of its figures would pass for all of them".to_owned());
    }
    let instance = environment.get("VLLM_CIBENCH_INSTANCE");
    let unit = Unit::of_run(&record, &settings.metric_prefix, instance)?;
    if unit.exposition.is_empty() {
        return Err("the run has no figure to tell".to_owned());
    }
    Ok((url, unit))
}

impl PushArgs {
    fn circumstances(&self, run_type: RunType, environment: &Environment) -> Circumstances {
        Circumstances {
            run_type,
            dry_run: self.dry_run,
            wanted: true,
            url: self.gateway_url.clone().map(SecretString::from).or_else(|| environment.pushgateway_url()),
            repository: Repository::find(environment, &self.root),
            main_repository: main_repository(environment, &self.root),
        }
    }

    fn instance(&self, environment: &Environment) -> Option<String> {
        self.instance.clone().or_else(|| environment.get("VLLM_CIBENCH_INSTANCE").map(str::to_owned))
    }

    fn with_pusher(
        &self,
        environment: &Environment,
        url: &SecretString,
        act: impl AsyncFnOnce(&Pusher, &dyn Fn(&str)) -> Result<Exit, SpoolError>,
    ) -> Exit {
        let spool = spool(self.spool.as_deref(), environment, &self.root);
        let redactor = redactor(url, environment.ci().is_some());
        with_pusher(spool, Duration::from_secs(self.timeout), &redactor, url, act)
    }
}

fn with_pusher(
    spool: Spool,
    timeout: Duration,
    redactor: &Redactor,
    url: &SecretString,
    act: impl AsyncFnOnce(&Pusher, &dyn Fn(&str)) -> Result<Exit, SpoolError>,
) -> Exit {
    let say = |line: &str| terminal::say(&redactor.redact(line));
    let gateway = match Gateway::parse(url) {
        Ok(gateway) => gateway,
        Err(error) => return fail(Exit::Usage, format!("error: {error}")),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Errored, format!("error: cannot start the runtime: {error}")),
    };
    runtime.block_on(act(&Pusher::new(gateway, spool, timeout), &say)).unwrap_or_else(|error| {
        say(&format!("error: {error}"));
        Exit::Errored
    })
}

/// What became of a unit, in a line or two.
fn tell(key: &GroupingKey, sent: &Sent, say: &dyn Fn(&str)) -> Exit {
    let scenario = &key.scenario;
    match sent {
        Sent::Pushed { put_aside: 0 } => say(&format!("pushed: the figures of `{scenario}`")),
        Sent::Pushed { put_aside } => say(&format!(
            "pushed: the figures of `{scenario}`; {put_aside} older ones, which could not be pushed in their time, are \
             put aside for `promtool tsdb create-blocks-from openmetrics`"
        )),
        Sent::PutAside { file } => say(&format!(
            "put aside: figures of `{scenario}` that later ones replaced: {file}, for `promtool tsdb \
             create-blocks-from openmetrics`"
        )),
        Sent::Kept { file, trouble } => {
            say(&format!(
                "warning: the figures of `{scenario}` are not pushed: {trouble}\n  = help: {}; they are kept in {file}: \
                 `vllm-cibench push --retry` sends them",
                trouble.advice()
            ));
            return Exit::Errored;
        }
    }
    Exit::Ok
}

fn not_pushed(why: impl std::fmt::Display) -> Exit {
    fail(Exit::Ok, format!("not pushed: {why}"))
}

fn main_repository(environment: &Environment, root: &Utf8Path) -> Option<String> {
    let of_matrix = || Files::read(root, &Assembly::catalogue()).0.matrix.main_repository;
    environment.get("VLLM_CIBENCH_MAIN_REPOSITORY").map(str::to_owned).or_else(of_matrix)
}

fn spool(flag: Option<&Utf8Path>, environment: &Environment, root: &Utf8Path) -> Spool {
    let named = flag.or_else(|| environment.get("VLLM_CIBENCH_SPOOL").map(Utf8Path::new));
    Spool::at(named.map_or_else(|| root.join(SPOOL), Utf8Path::to_owned))
}

fn redactor(url: &SecretString, mask_address: bool) -> Redactor {
    let redactor = Redactor::new();
    if mask_address { redactor.address(url.expose_secret()) } else { redactor }
}

fn worse(one: Exit, other: Exit) -> Exit {
    if one == Exit::Ok { other } else { one }
}

/// `model=qwen3` → the name and the value of a label that may be given.
fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as model=qwen3-32b")?;
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match name {
        _ if !legal || name.starts_with("__") => {
            Err(format!("`{name}` is no label's name: expected letters, digits and _, no digit first"))
        }
        "job" | "instance" | "quantile" | "le" | "run_type" => {
            Err(format!("`{name}` is not free: it is part of every figure already"))
        }
        _ if value.is_empty() => Err(format!("`{name}` has no value; leave the label out instead")),
        _ => Ok((name.to_owned(), value.to_owned())),
    }
}
