//! The names of acs-bench's options, and where each has its place here: [`OPTIONS`]. Short names of several letters are
//! no custom of this command's parser, so that [`long_names`] writes them out before it reads. Must not know what an
//! option means.
//!
//! 选项长短名对照与去向表。

use std::{ffi::OsString, fmt::Write as _};

use clap::Command;

/// An option of acs-bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    /// The section of its description.
    pub section: &'static str,
    /// `-il`.
    pub short: &'static str,
    /// `--input-length`.
    pub long: &'static str,
    /// What it becomes: a key of a performance case in backticks, or in words; beginning with `no:`, why nothing.
    pub place: &'static str,
}

const fn opt(section: &'static str, short: &'static str, long: &'static str, place: &'static str) -> Opt {
    Opt { section, short, long, place }
}

/// Every option, in the order of its sections: A.1 is `dataset generate`, the others are `prof`.
pub const OPTIONS: &[Opt] = &[
    opt(
        "A.1",
        "-dt",
        "--dataset-type",
        "where prompts come from: `random`, or the layout of the file they are chosen from",
    ),
    opt("A.1", "-i", "--input-path", "the file that prompts of the wanted length are chosen from"),
    opt("A.1", "-mt", "--modal-type", "`text` only: images are not built"),
    opt("A.1", "-cfg", "--config-option", "no: it is for images, which are not built"),
    opt("A.1", "-o", "--output-path", "the folder; the file is `{type}_input{L}.jsonl`"),
    opt("A.1", "-il", "--input-length", "`input_tokens` of every item"),
    opt("A.1", "-pl", "--prefix-length", "common prefix of random prompts, part of their length"),
    opt("A.1", "-n", "--num-requests", "how many items"),
    opt(
        "A.1",
        "-t",
        "--tokenizer",
        "who counts: a server's address (`/tokenize`), a `tokenizer.json` or the folder with it (built with `--features tokenizers`), or `estimate`",
    ),
    opt("A.1", "-rv", "--revision", "no: nothing is downloaded"),
    opt("A.1", "-ra", "--range-ratio-above", "by which share prompts may be longer"),
    opt("A.1", "-rb", "--range-ratio-below", "by which share prompts may be shorter"),
    opt("A.1", "--seed", "--random-seed", "the same seed, the same prompts"),
    opt("A.1", "-trc", "--trust-remote-code", "no: no code is downloaded"),
    opt("A.2", "-dt", "--dataset-type", "`dataset`: its layout"),
    opt("A.2", "-cfg", "--config-option", "no: it is for images, which are not built"),
    opt("A.2", "-mt", "--modal-type", "`text` only: images are not built"),
    opt("A.2", "-i", "--input-path", "`dataset`: its path; of a folder the file `*_input{L}.jsonl`"),
    opt("A.2", "-il", "--input-length", "`input_len`, a case each; an item of another length is an error"),
    opt("A.2", "-n", "--num-requests", "`requests`"),
    opt(
        "A.2",
        "-t",
        "--tokenizer",
        "`tokenizer: {file}`: a `tokenizer.json` or the folder with it, which counts where the server's own `/tokenize` does not (built with `--features tokenizers`)",
    ),
    opt("A.2", "-rv", "--revision", "no: nothing is downloaded"),
    opt("A.2", "--seed", "--random-seed", "`seed`"),
    opt("A.2", "-trc", "--trust-remote-code", "no: no code is downloaded"),
    opt("A.3", "-c", "--concurrency", "`concurrency`, a case each"),
    opt("A.3", "-nc", "--num-process", "`num_process`, with the processing-pool"),
    opt("A.3", "-r", "--request-rate", "`control_method: {rate: {requests_per_second}}`; `inf`: `fixed`"),
    opt("A.3", "-rm", "--request-mode", "`request_mode`: `normal`, or `{pd_dynamic: …}`"),
    opt(
        "A.3",
        "-pc",
        "--prefill-concurrency",
        "`prefill_concurrency` of `pd_dynamic`; absent: `concurrency`",
    ),
    opt("A.3", "-dc", "--decoder-concurrency", "`decode_concurrency` of `pd_dynamic`; absent: `concurrency`"),
    opt("A.3", "-burst", "--burstiness", "`control_method: {rate: {burstiness}}`"),
    opt("A.3", "-cb", "--concurrency-backend", "`concurrency_backend`"),
    opt("A.3", "-ub", "--use-climb", "`control_method: {climb: …}`"),
    opt("A.3", "-gr", "--growth-rate", "`growth_rate` of the climb"),
    opt("A.3", "-gi", "--growth-interval", "`growth_interval_ms` of the climb, whole milliseconds"),
    opt("A.3", "-ic", "--init-concurrency", "`init_concurrency` of the climb"),
    opt("A.3", "-cm", "--climb-mode", "`mode` of the climb"),
    opt("A.4", "-g", "--goodput", "`slo`: `ttft`, `tpot`, `e2e`"),
    opt("A.4", "-bi", "--bucket-interval", "`bucket_interval_ms`"),
    opt("A.5", "-b", "--backend", "`endpoint`: `openai` is `completions`, `openai-chat` is `chat`"),
    opt("A.5", "-p", "--provider", "the file that `--providers` of other commands names"),
    opt("A.5", "-pid", "--provider-id", "`--provider` of other commands; stands in file names"),
    opt("A.5", "-ol", "--output-length", "`output_len`, a case each"),
    opt("A.5", "-ra", "--range-ratio-above", "`output_range: {above}`"),
    opt("A.5", "-rb", "--range-ratio-below", "`output_range: {below}`"),
    opt("A.5", "-w", "--warmup", "`warmup`"),
    opt("A.5", "-e", "--epochs", "`epochs`"),
    opt("A.5", "-tk", "--top-k", "`sampling: {top_k}`, with the backend `openai` only"),
    opt("A.5", "-tp", "--top-p", "`sampling: {top_p}`, with the backend `openai` only"),
    opt("A.5", "-temper", "--temperature", "`sampling: {temperature}`"),
    opt("A.5", "-cs", "--chunk-size", "`read_size`"),
    opt(
        "A.5",
        "-usd",
        "--use-spec-decode",
        "no: the acceptance of drafts is told wherever the server tells it",
    ),
    opt("A.5", "-nst", "--num-spec-tokens", "no: the server counts its drafts itself"),
    opt(
        "A.5",
        "-umar",
        "--use-mtp-accept-rate",
        "`true` only: drafted and accepted tokens are all that the server counts",
    ),
    opt("A.5", "-nss", "--num-scheduler-steps", "no: each event says how many tokens it holds"),
    opt("A.5", "-timeout", "--timeout", "`request_timeout_s`"),
    opt("A.5", "-ie", "--ignore-eos", "`sampling: {ignore_eos}`"),
    opt("A.5", "-cus", "--continuous-usage-stats", "`continuous_usage`"),
    opt("A.5", "-s", "--benchmark-save-path", "where the run's files go, and copies of its CSV files"),
    opt(
        "A.5",
        "-pf",
        "--profile",
        "`profile`: from the end of the warm-up on, where the server has a profiler",
    ),
    opt("A.5", "-pl", "--profile-level", "no: a server has one profiler and no levels of it"),
    opt("A.5", "-trace", "--trace", "`trace`: `perf/<trial>.trace.json` for chrome://tracing"),
];

/// Where the commands that take them lie below the whole command, and the sections of their options.
const COMMANDS: [(&[&str], &[&str]); 2] =
    [(&["dataset", "generate"], &["A.1"]), (&["prof"], &["A.2", "A.3", "A.4", "A.5"])];

/// The options of some sections.
fn of(sections: &[&str]) -> impl Iterator<Item = &'static Opt> {
    OPTIONS.iter().filter(|option| sections.contains(&option.section))
}

/// The command line with every short name written out: `-il 128` and `-il=128` are `--input-length 128`.
pub fn long_names(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<OsString> = args.into_iter().collect();
    let begins = |path: &[&str]| {
        path.iter().enumerate().all(|(at, name)| args.get(at + 1).is_some_and(|arg| arg == name))
    };
    let Some((path, sections)) = COMMANDS.into_iter().find(|(path, _)| begins(path)) else { return args };
    let names = path.len() + 1;
    let end = args.iter().position(|arg| arg == "--").unwrap_or(args.len());
    let long = |(at, arg): (usize, &OsString)| match arg.to_str() {
        Some(text) if (names..end).contains(&at) => {
            written_out(text, sections).map_or_else(|| arg.clone(), Into::into)
        }
        _ => arg.clone(),
    };
    args.iter().enumerate().map(long).collect()
}

fn written_out(arg: &str, sections: &[&str]) -> Option<String> {
    let (name, value) = match arg.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (arg, None),
    };
    let option = of(sections).find(|option| option.short == name)?;
    Some(value.map_or_else(|| option.long.to_owned(), |value| format!("{}={value}", option.long)))
}

/// `command` with the short names in its help.
pub fn with_short_names(command: Command) -> Command {
    COMMANDS.into_iter().fold(command, |command, (path, sections)| below(command, path, sections))
}

fn below(command: Command, path: &[&str], sections: &'static [&'static str]) -> Command {
    match path.split_first() {
        Some((first, rest)) => command.mut_subcommand(*first, |command| below(command, rest, sections)),
        None => command.mut_args(|arg| {
            let short = of(sections).find(|option| option.long.strip_prefix("--") == arg.get_long());
            match (short, arg.get_help().map(ToString::to_string)) {
                (Some(option), Some(help)) => arg.help(format!("{help} [{}]", option.short)),
                _ => arg,
            }
        }),
    }
}

/// Every option with its default and its place, as Markdown. `command` is the whole command.
pub fn table(command: &Command) -> String {
    let mut text = String::new();
    for (path, sections) in COMMANDS {
        let taken = path.iter().try_fold(command, |command, name| command.find_subcommand(name));
        for section in sections {
            let _ = writeln!(
                text,
                "### {section}, `{}`\n\n| short | long | default | place |\n|---|---|---|---|",
                path.join(" ")
            );
            for option in of(&[section]) {
                let Opt { short, long, place, .. } = option;
                let default = taken.and_then(|command| default(command, long)).unwrap_or_default();
                let _ = writeln!(text, "| `{short}` | `{long}` | {default} | {place} |");
            }
            text.push('\n');
        }
    }
    text
}

fn default(command: &Command, long: &str) -> Option<String> {
    let arg = command.get_arguments().find(|arg| arg.get_long() == long.strip_prefix("--"))?;
    let values: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    match values.is_empty() && arg.is_required_set() {
        true => Some("required".to_owned()),
        false => Some(values.join(", ")),
    }
}
