//! `deploy`: applies a manifest as `kubectl apply` does, and waits for its pods if asked to.
//! What it creates stays until `cleanup --run` of the folder that it prints.
//!
//! `deploy` 子命令。

use camino::Utf8PathBuf;
use st_harness::exit::Exit;

/// What `deploy` is told.
#[derive(Debug, clap::Args)]
#[cfg_attr(
    not(feature = "kube"),
    allow(dead_code, reason = "parsed, so that the answer is not `unknown command`")
)]
pub(super) struct DeployArgs {
    /// What is applied: YAML of any number of documents
    #[arg(short, long, value_name = "FILE")]
    file: Utf8PathBuf,
    /// The namespace of objects that name none
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// A kubeconfig file; without it: where kubectl looks for one
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<Utf8PathBuf>,
    /// A context of it; without it: its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Wait at most this long for the pods to be ready
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
    /// Folder for the list of what was created; without it: a new one in artifacts/
    #[arg(long, value_name = "DIR")]
    artifacts: Option<Utf8PathBuf>,
}

#[cfg(not(feature = "kube"))]
pub(super) fn deploy(_: DeployArgs) -> Exit {
    use crate::server::{BUILD_WITH_KUBE, NO_CLUSTER};
    super::fail(Exit::Usage, format!("error: {NO_CLUSTER}\n  = help: {BUILD_WITH_KUBE}"))
}

#[cfg(feature = "kube")]
pub(super) use cluster::deploy;

#[cfg(feature = "kube")]
mod cluster {
    use std::{io::Write as _, sync::Arc, time::Duration};

    use camino::Utf8PathBuf;
    use st_harness::{
        fixture::StartCx, folder::RunFolder, host::Host, redact::Redactor, session::Plan, verdict::Reason,
    };
    use tokio_util::sync::CancellationToken;

    use super::{
        super::{fail, signals::watch},
        DeployArgs, Exit,
    };
    use crate::{
        config::Environment,
        server::{
            k8s::{Access, Deployed, Existing, Launch, Manifest, Settings},
            ledger::Ledger,
        },
    };

    pub(in crate::cli) fn deploy(args: DeployArgs) -> Exit {
        if let Err(reason) = Manifest::load(&args.file) {
            return refused(&reason);
        }
        let environment = Environment::of_process();
        let run_id = Plan::run_id(&Host::from_environment(|name| environment.get(name)));
        let runs = args.artifacts.clone().unwrap_or_else(|| Utf8PathBuf::from("artifacts"));
        let folder = match RunFolder::open(runs.join(&run_id).join("deploy"), Arc::new(Redactor::new())) {
            Ok(folder) => Arc::new(folder),
            Err(error) => return fail(Exit::Errored, format!("error: {error}")),
        };
        let cx = StartCx {
            folder,
            cancel: CancellationToken::new(),
            progress: Arc::new(|line: &str| eprintln!("{line}")),
            run_id,
            wanted: Default::default(),
        };
        let done = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(carry_out(&args, &cx)),
            Err(error) => return fail(Exit::Errored, format!("error: cannot start the runtime: {error}")),
        };
        let exit = match done {
            Ok(deployed) => report(&args, &deployed),
            Err(reason) => refused(&reason),
        };
        tell_what_stays(&cx);
        exit
    }

    async fn carry_out(args: &DeployArgs, cx: &StartCx) -> Result<Deployed, Reason> {
        tokio::spawn(watch(cx.cancel.clone()));
        let settings = Settings {
            manifest: Some(args.file.clone()),
            namespace: args.namespace.clone(),
            access: Access { kubeconfig: args.kubeconfig.clone(), context: args.context.clone() },
            existing: Existing::Update,
            // There is no Service to find: only what is applied is looked at.
            ..Settings::new("")
        };
        Launch::new(settings).deploy(args.wait.map(Duration::from_secs), cx).await
    }

    /// The objects on standard output, for scripts; the rest is for people.
    fn report(args: &DeployArgs, deployed: &Deployed) -> Exit {
        for object in &deployed.objects {
            let _ = writeln!(std::io::stdout(), "{object}");
        }
        for note in &deployed.notes {
            eprintln!("note: {}", note.text);
        }
        match (deployed.ready, args.wait) {
            (Some(false), Some(wait)) => {
                fail(Exit::Errored, format!("error: the pods are not ready after {wait} s"))
            }
            _ => Exit::Ok,
        }
    }

    fn refused(reason: &Reason) -> Exit {
        let exit = match reason.kind.as_str() {
            "cancelled" => Exit::Interrupted,
            "k8s-manifest" | "k8s-config" => Exit::Usage,
            _ => Exit::Errored,
        };
        let place = reason
            .place
            .as_ref()
            .map(|place| format!("\n --> {}:{}:{}", place.file, place.line, place.column));
        let detail = if reason.detail.is_empty() { String::new() } else { format!("\n{}", reason.detail) };
        fail(exit, format!("error: {}{}{detail}", reason.summary, place.unwrap_or_default()))
    }

    /// After success and failure alike, what was created stays: the next command is printed, not guessed.
    fn tell_what_stays(cx: &StartCx) {
        match Ledger::of(cx.folder.path()).read() {
            Ok(standing) if standing.open.is_empty() => {}
            Ok(standing) => eprintln!(
                "created, and left there: {}; `vllm-cibench cleanup --run {}` removes what was created",
                match standing.open.len() {
                    1 => "1 object".to_owned(),
                    n => format!("{n} objects"),
                },
                cx.folder.path()
            ),
            Err(error) => eprintln!("warning: {error}"),
        }
    }
}
