//! `plan`: what `run` would do, without asking any server anything.
//!
//! `plan` 子命令：离线预览。

use camino::Utf8PathBuf;
use serde_json::{Value, json};
use st_harness::{args::Filter, diag::Problems, exit::Exit, terminal};

use super::fail;
use crate::{
    assemble::{Assembly, Door},
    config::{Environment, Flags},
    preview::Preview,
};

/// What `plan` is told.
#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    /// Only trials with this in their name
    filter: Option<String>,
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    /// The folder with cases/ and configs/
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: Utf8PathBuf,
    #[command(flatten)]
    flags: Flags,
}

pub(super) fn plan(args: PlanArgs) -> Exit {
    let filter = Filter { text: args.filter, ..Filter::default() };
    let preview = Preview::of(
        Assembly::new(args.root),
        &args.flags,
        &Environment::of_process(),
        Door::Command,
        &filter,
    );
    match preview {
        Ok(preview) => {
            let text = if args.json { format!("{:#}\n", json(&preview)) } else { preview.text() };
            terminal::tell(&text);
            Exit::Ok
        }
        Err(problems) => fail(Exit::Usage, Problems::from(problems)),
    }
}

fn json(preview: &Preview) -> Value {
    json!(preview)
}
