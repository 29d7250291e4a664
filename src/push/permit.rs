//! Whether figures may be pushed: [`permit`] weighs the [`Circumstances`] and gives the gateway's address or
//! [`WhyNot`]. Must not send anything.
//!
//! 是否允许推送，以及不推送的原因。

use camino::Utf8Path;
use secrecy::SecretString;
use serde_json::Value;

use crate::config::{Environment, RunType};

/// All that the decision depends on.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// Only daily figures are pushed.
    pub run_type: RunType,
    /// Somebody wants to see what would be pushed.
    pub dry_run: bool,
    /// The matrix lets this scenario's figures be pushed.
    pub wanted: bool,
    /// Where to.
    pub url: Option<SecretString>,
    /// Which repository this is.
    pub repository: Repository,
    /// The one repository whose figures count, `owner/name`.
    pub main_repository: Option<String>,
}

/// The repository that is being tested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repository {
    /// `owner/name`, where it is known.
    pub name: Option<String>,
    /// The change, or the whole repository, comes from a fork.
    pub fork: Option<String>,
    /// GitHub runs us.
    pub on_github: bool,
}

/// Why nothing is pushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// Figures of changes are not history.
    #[error("the run type is `{0}`, and only `daily` figures are pushed")]
    RunType(RunType),
    /// Asked for.
    #[error("this is a dry run")]
    DryRun,
    /// The simulator's figures say nothing of a server, for instance.
    #[error("configs/matrix.yaml says `push: false` for this scenario")]
    NotWanted,
    /// Nowhere to push to.
    #[error("no Pushgateway is named: set PROM_PUSHGATEWAY_URL, or give --gateway-url to `push`")]
    NoUrl,
    /// A fork's code may have measured anything.
    #[error("this runs in a fork ({0}); only the main repository pushes")]
    Fork(String),
    /// Somebody else's copy.
    #[error("this is the repository {found}, and only {main} pushes")]
    OtherRepository {
        /// This one.
        found: String,
        /// The one that does.
        main: String,
    },
    /// On GitHub everybody may copy a workflow; somebody has to say which copy counts.
    #[error(
        "nothing says that {found} is the main repository: set `main_repository: {found}` in configs/matrix.yaml, \
         or VLLM_CIBENCH_MAIN_REPOSITORY"
    )]
    NoMainRepository {
        /// This one.
        found: String,
    },
}

/// Where to push to.
///
/// # Errors
/// Why not.
pub fn permit(it: &Circumstances) -> Result<SecretString, WhyNot> {
    if it.run_type != RunType::Daily {
        return Err(WhyNot::RunType(it.run_type));
    }
    if it.dry_run {
        return Err(WhyNot::DryRun);
    }
    if !it.wanted {
        return Err(WhyNot::NotWanted);
    }
    let url = it.url.clone().ok_or(WhyNot::NoUrl)?;
    if let Some(fork) = &it.repository.fork {
        return Err(WhyNot::Fork(fork.clone()));
    }
    match (&it.repository.name, &it.main_repository) {
        (Some(found), Some(main)) if !found.eq_ignore_ascii_case(main) => {
            Err(WhyNot::OtherRepository { found: found.clone(), main: main.clone() })
        }
        (found, None) if it.repository.on_github => {
            Err(WhyNot::NoMainRepository { found: found.clone().unwrap_or_else(|| "OWNER/NAME".to_owned()) })
        }
        _ => Ok(url),
    }
}

impl Repository {
    /// What GitHub says where it runs us, else what git says of the tree at `root`.
    pub fn find(environment: &Environment, root: &Utf8Path) -> Self {
        match environment.ci().and_then(|ci| ci.github) {
            Some(github) => {
                let event = environment.get("GITHUB_EVENT_PATH").and_then(read_json).unwrap_or_default();
                Self::of_github(github.repository, &event)
            }
            None => Self { name: origin(root), ..Self::default() },
        }
    }

    /// `event` is what GitHub tells of why it runs us. A pull request runs under the name of the repository that it
    /// is made to, whatever repository its code comes from.
    fn of_github(name: Option<String>, event: &Value) -> Self {
        let head = event.pointer("/pull_request/head/repo/full_name").and_then(Value::as_str);
        let whole = event.pointer("/repository/fork").and_then(Value::as_bool) == Some(true);
        let fork = match (head, &name) {
            (Some(head), Some(name)) if !head.eq_ignore_ascii_case(name) => Some(head.to_owned()),
            // A fork that was deleted meanwhile has no name.
            (None, _) if event.pointer("/pull_request/head").is_some() => {
                Some("a deleted repository".to_owned())
            }
            _ if whole => Some(name.clone().unwrap_or_else(|| "of another repository".to_owned())),
            _ => None,
        };
        Self { name, fork, on_github: true }
    }
}

fn read_json(path: &str) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// `owner/name` of the remote that the tree at `root` was cloned from.
fn origin(root: &Utf8Path) -> Option<String> {
    let ask = ["-C", root.as_str(), "config", "--get", "remote.origin.url"];
    let output = std::process::Command::new("git").args(ask).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .and_then(|url| owner_and_name(&url))
}

/// The last two parts of a remote's address, `git@host:owner/name.git` and `https://host/owner/name` alike; nothing
/// for a path on this machine.
fn owner_and_name(url: &str) -> Option<String> {
    let after_host = match url.split_once("://") {
        Some(("file", _)) => return None,
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once(':').filter(|(host, _)| !host.contains('/'))?.1,
    };
    let path = after_host.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let mut parts = path.rsplit('/');
    let (name, owner) = (parts.next()?, parts.next()?);
    (!name.is_empty() && !owner.is_empty()).then(|| format!("{owner}/{name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good() -> Circumstances {
        Circumstances {
            run_type: RunType::Daily,
            dry_run: false,
            wanted: true,
            url: Some("http://gw:9091".into()),
            repository: Repository { name: Some("lab/bench".into()), fork: None, on_github: true },
            main_repository: Some("Lab/Bench".into()),
        }
    }

    #[test]
    fn the_daily_run_of_the_main_repository_pushes() {
        assert!(permit(&good()).is_ok());
        let elsewhere = Circumstances { repository: Repository::default(), main_repository: None, ..good() };
        assert!(permit(&elsewhere).is_ok(), "outside GitHub whoever names a gateway means it");
    }

    #[test]
    fn everything_else_says_why_not() {
        let with = |change: fn(&mut Circumstances)| {
            let mut it = good();
            change(&mut it);
            permit(&it).map(|_| ()).unwrap_err().to_string()
        };
        for (change, said) in [
            ((|it| it.run_type = RunType::Pr) as fn(&mut Circumstances), "the run type is `pr`"),
            (|it| it.run_type = RunType::Smoke, "the run type is `smoke`"),
            (|it| it.dry_run = true, "dry run"),
            (|it| it.wanted = false, "push: false"),
            (|it| it.url = None, "PROM_PUSHGATEWAY_URL"),
            (|it| it.repository.fork = Some("me/bench".into()), "in a fork (me/bench)"),
            (|it| it.repository.name = Some("me/bench".into()), "only Lab/Bench pushes"),
            (|it| it.main_repository = None, "main_repository: lab/bench"),
        ] {
            let found = with(change);
            assert!(found.contains(said), "{found}");
        }
    }

    #[test]
    fn a_fork_is_known_by_what_github_tells() {
        let fork = |event: Value| Repository::of_github(Some("lab/bench".into()), &event).fork;
        assert_eq!(fork(json!({"schedule": "0 0 * * *"})), None);
        assert_eq!(fork(json!({"pull_request": {"head": {"repo": {"full_name": "lab/bench"}}}})), None);
        let theirs = json!({"pull_request": {"head": {"repo": {"full_name": "me/bench"}}}});
        assert_eq!(fork(theirs).as_deref(), Some("me/bench"));
        assert!(fork(json!({"pull_request": {"head": {"repo": null}}})).is_some());
        assert_eq!(fork(json!({"repository": {"fork": true}})).as_deref(), Some("lab/bench"));
    }

    #[test]
    fn a_remote_tells_its_owner_and_name() {
        for url in [
            "git@github.com:lab/bench.git",
            "https://github.com/lab/bench",
            "ssh://git@host:22/lab/bench.git",
            "https://u:p@host/group/lab/bench/",
        ] {
            assert_eq!(owner_and_name(url).as_deref(), Some("lab/bench"), "{url}");
        }
        for path in ["/srv/bench.git", "../lab/bench", "file:///srv/lab/bench"] {
            assert_eq!(owner_and_name(path), None, "{path}");
        }
    }
}
