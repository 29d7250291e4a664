//! `tool`: other people's tools, before a case names them: which there are, what would be started, whether it starts.
//!
//! `tool` 子命令：列出、预览、试启动外部工具。

use std::io::Write as _;

use camino::Utf8PathBuf;
use serde_json::{Map, Value, json};
use st_harness::{diag::Problems, exit::Exit};

use super::fail;
use crate::{
    config::Environment,
    tools::{Said, Tool, Tools},
};

/// What `tool` is told.
#[derive(Debug, clap::Args)]
pub(super) struct ToolArgs {
    #[command(subcommand)]
    what: What,
    /// The folder with configs/tools/
    #[arg(long, value_name = "DIR", default_value = ".", global = true)]
    root: Utf8PathBuf,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Every tool, and whether it is installed; a mistake in any file is told, and ends with 2
    List,
    /// What a case would start, where, what it has to leave and within which time; nothing is started
    Plan(PlanArgs),
    /// Start it without a server, to see that it starts, and ask for its version
    Smoke {
        /// The file in configs/tools/, without its ending
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct PlanArgs {
    /// The file in configs/tools/, without its ending
    name: String,
    /// Its parameters, as a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    with: String,
    /// The server, with its /v1; a stand-in without it
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The model's name in requests; a stand-in without it
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Something that the case says, such as max_tokens=512; again for more
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn tool(args: &ToolArgs) -> Exit {
    let (tools, problems) = Tools::read(&args.root, &Environment::of_process(), None);
    if !problems.is_empty() {
        return fail(Exit::Usage, Problems::from(problems));
    }
    let named = |name: &str| tools.get(name).map_err(|told| fail(Exit::Usage, format!("error: {told}")));
    match &args.what {
        What::List => list(&tools),
        What::Plan(args) => named(&args.name).map_or_else(|exit| exit, |tool| plan(&tools, tool, args)),
        What::Smoke { name } => named(name).map_or_else(|exit| exit, |tool| smoke(&tools, tool)),
    }
}

fn list(tools: &Tools) -> Exit {
    for tool in tools.all() {
        let state = match tools.installed(tool) {
            Ok(()) => format!("installed in {}", tools.home(tool)),
            Err(_) => "not installed".to_owned(),
        };
        say(&format!("{:<20} {:<10} {:<14} {state}\n", tool.name, kind(tool), tool.raw.version));
    }
    Exit::Ok
}

fn kind(tool: &Tool) -> String {
    serde_json::to_value(tool.raw.kind)
        .ok()
        .and_then(|kind| kind.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn plan(tools: &Tools, tool: &Tool, args: &PlanArgs) -> Exit {
    let with: Map<String, Value> = match serde_json::from_str(&args.with) {
        Ok(with) => with,
        Err(error) => return fail(Exit::Usage, format!("error: --with: expected a JSON object: {error}")),
    };
    let wrong = tool.wrong(&with);
    if !wrong.is_empty() {
        let told: Vec<String> =
            wrong.into_iter().map(|(pointer, told)| format!("error: --with{pointer}: {told}")).collect();
        return fail(Exit::Usage, told.join("\n"));
    }
    let said = Said {
        base_url: args.base_url.clone(),
        model: args.model.clone(),
        settings: args.set.iter().cloned().collect(),
    };
    let plan = match tools.plan(tool, &with, &said) {
        Ok(plan) => plan,
        Err(told) => return fail(Exit::Usage, format!("error: --set: {told}")),
    };
    match args.json {
        true => say(&format!("{:#}\n", json!(plan))),
        false => say(&plan.text()),
    }
    if let Some(told) = &plan.missing {
        eprintln!("{told}");
    }
    Exit::Ok
}

fn smoke(tools: &Tools, tool: &Tool) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(Exit::Errored, format!("error: cannot start the runtime: {error}")),
    };
    match runtime.block_on(async { (tools.smoke(tool).await, tools.version(tool).await) }) {
        (Err(told), _) => fail(Exit::Errored, format!("error: {told}")),
        (Ok(_), Some(Err(told))) => fail(Exit::Errored, format!("error: its version: {told}")),
        (Ok(_), version) => {
            let version = version.and_then(Result::ok).unwrap_or_else(|| "of no known version".to_owned());
            say(&format!(
                "{} starts: {version}; its adapter was shown with {}\n",
                tool.name, tool.raw.version
            ));
            Exit::Ok
        }
    }
}

/// A reader that went away is no error.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
