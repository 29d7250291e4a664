//! The command: [`main`]. One file a subcommand; each is a thin wrapper over the library.
//! Must not hold anything that a test or another crate could want.
//!
//! 命令行：每个子命令一个文件。

mod bench;
mod cleanup;
mod compare;
mod dataset;
mod deploy;
mod down;
mod live;
mod load_worker;
mod memory;
mod null_server;
mod plan;
mod probe;
mod prof;
mod push;
mod report;
mod rescore;
mod run;
mod run_functional;
mod run_matrix;
mod shell;
mod signals;
mod sim;
mod terms;
mod tool;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use st_harness::{exit::Exit, terminal};

use crate::acs;

/// System tests, benchmarks and accuracy checks for OpenAI-compatible LLM servers.
///
/// Exit codes: 0 nothing is red, 1 an expectation or a gate failed, 2 the command line or a file is wrong,
/// 3 inconclusive, 4 a measurement is invalid, 5 no trial was selected, 6 infrastructure, 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "vllm-cibench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario's cases and write its reports
    Run(Box<run::RunArgs>),
    /// Run every scenario that configs/matrix.yaml enables, each in a process of its own
    RunMatrix(run_matrix::RunMatrixArgs),
    /// Run functional cases against one server and print their report: {chat: {summary, results}, completions: …}
    RunFunctional(run_functional::RunFunctionalArgs),
    /// Show what `run` would do, without asking any server anything
    Plan(Box<plan::PlanArgs>),
    /// Make the reports of a run again from its journal, or of several merged
    Report(report::ReportArgs),
    /// Two runs side by side with verdicts; with --live two servers, measured in turn
    Compare(Box<compare::CompareArgs>),
    /// Mark the answers of an accuracy run again, offline
    Rescore(rescore::RescoreArgs),
    /// Start a scenario's server and leave it running: `export $(vllm-cibench up --scenario NAME)`
    Up(Box<up::UpArgs>),
    /// Take down what `up` started
    Down(down::DownArgs),
    /// Take down what a run left behind, even one that was killed
    Cleanup(cleanup::CleanupArgs),
    /// Find out what a server can do, with the evidence
    Probe(probe::Probe),
    /// Measure a server as acs-bench does, with its options
    Prof(Box<prof::Prof>),
    /// Make data sets for measurements
    Dataset(dataset::Dataset),
    /// Push the figures of an acs-bench summary to a Pushgateway, or those again that could not be pushed
    Push(push::PushArgs),
    /// Apply a Kubernetes manifest, and wait for its pods
    Deploy(deploy::DeployArgs),
    /// Other people's tools that a case may name: which there are, what would be started, whether it starts
    Tool(tool::ToolArgs),
    /// Serve the simulator, which answers as vLLM does
    Sim(sim::Sim),
    /// Hold this program's own load, and other clients, against what a null server really sent
    Bench(Box<bench::BenchArgs>),
    /// Serve prepared answers on a schedule until standard input ends, cheaply enough to measure clients with
    NullServer(null_server::NullServerArgs),
    /// Carry a share of a load that `prof --workers` spreads over a cluster: what its pods run
    LoadWorker(load_worker::LoadWorkerArgs),
    /// Print the completion script of a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write one for each subcommand
    Man(shell::ManArgs),
}

/// The description of the command line.
pub fn command() -> clap::Command {
    acs::with_short_names(Cli::command())
}

/// Reads the command line and carries it out.
pub fn main() -> ExitCode {
    memory::share();
    if let Some(served) = crate::null::at_the_door().or_else(crate::perf::drive::at_the_door) {
        return served;
    }
    let matches = command().get_matches_from(acs::long_names(std::env::args_os()));
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let exit: Exit = match cli.command {
        Command::Run(args) => run::run(*args),
        Command::RunMatrix(args) => run_matrix::run_matrix(&args),
        Command::RunFunctional(args) => run_functional::run_functional(args),
        Command::Plan(args) => plan::plan(*args),
        Command::Report(args) => report::report(&args),
        Command::Compare(args) => compare::compare(&args),
        Command::Rescore(args) => rescore::rescore(&args),
        Command::Up(args) => up::up(&args),
        Command::Down(args) => down::down(&args),
        Command::Cleanup(args) => cleanup::cleanup(&args),
        Command::Probe(args) => probe::probe(&args),
        Command::Prof(args) => prof::prof(&args),
        Command::Dataset(args) => dataset::dataset(&args),
        Command::Push(args) => push::push(&args),
        Command::Deploy(args) => deploy::deploy(args),
        Command::Tool(args) => tool::tool(&args),
        Command::Sim(args) => sim::sim(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::NullServer(args) => null_server::null_server(args),
        Command::LoadWorker(args) => load_worker::load_worker(&args),
        Command::Completions(args) => shell::completions(&args, command()),
        Command::Man(args) => shell::man(&args, command()),
    };
    exit.into()
}

/// Says what went wrong, on standard error.
fn fail(exit: Exit, message: impl std::fmt::Display) -> Exit {
    terminal::say(&format!("{message:#}"));
    exit
}
