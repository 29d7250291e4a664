//! A probe's report, kept for as long as the same server process lives: [`save`], [`load`]. A file that is stale,
//! torn or of another make is no error: it is passed over, and a sentence says why.
//! Must not know how a report comes to be.
//!
//! 探测结果缓存：按服务进程保存，过期或损坏则忽略并说明。

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use st_harness::folder::{FolderError, RunFolder, sha256};
use tokio_util::sync::CancellationToken;

use super::{Bounds, Report, ask::Asker, facts, heard::Heard};
use crate::client::{Request, Route, Target};

/// Where reports are kept, below the project's root, unless someone says otherwise.
pub const FOLDER: &str = "target/st/probes";
/// The make of the file. Another one is not read.
const SCHEMA: u32 = 1;
/// How long a report is believed where the server does not tell when it started.
const UNTOLD: SignedDuration = SignedDuration::from_hours(1);

/// By what one start of a server is told from another.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Identity {
    /// What `/version` says.
    pub version: Option<String>,
    /// `process_start_time_seconds` of `/metrics`.
    pub started: Option<f64>,
}

impl Identity {
    /// As a report tells it.
    pub fn of(report: &Report) -> Self {
        Self { version: report.facts.version.clone(), started: report.facts.started }
    }
}

/// What the cache holds for a server.
#[derive(Debug, Clone, PartialEq)]
pub enum Cached {
    /// A report about this very server process, as far as it can be told.
    Hit(Box<Report>),
    /// Nothing was kept.
    Absent,
    /// Something was kept that does not hold; why, in a sentence.
    Unusable(String),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    schema: u32,
    /// A digest of address and model: the redactor may mask the address itself.
    server: String,
    model: String,
    identity: Identity,
    probed_at: Timestamp,
    report: Report,
}

/// Asks `target` who it is: two small requests.
pub async fn identify(target: &Target, cancel: &CancellationToken) -> Identity {
    let mut asker = Asker::new(target, cancel, Bounds::default());
    let version = asker.send(&Request::get(Route::Root("/version".into()))).await;
    let metrics = asker.send(&Request::get(Route::Root("/metrics".into()))).await;
    let facts = facts::read(&target.model, answered(&version), None, answered(&metrics), None);
    Identity { version: facts.version, started: facts.started }
}

fn answered(heard: &Heard) -> Option<&Heard> {
    matches!(heard, Heard::Answered(_)).then_some(heard)
}

/// Keeps `report` about `target` in `folder`; `now` is when it was made. The name of the file.
///
/// # Errors
/// When the file cannot be written.
pub fn save(
    folder: &RunFolder,
    target: &Target,
    report: &Report,
    now: Timestamp,
) -> Result<Utf8PathBuf, FolderError> {
    let entry = Entry {
        schema: SCHEMA,
        server: digest(&target.base_url, &target.model),
        model: target.model.clone(),
        identity: Identity::of(report),
        probed_at: now,
        report: report.clone(),
    };
    let text = serde_json::to_string_pretty(&entry)
        .map_err(|error| FolderError { path: folder.path().to_owned(), source: error.into() })?;
    let name = file(&target.base_url, &target.model);
    folder.write(&name, &text)?;
    Ok(folder.path().join(name))
}

/// What `folder` holds about the model at `base_url`. `identity` is what the server says of itself now; null where
/// it must not be asked, as when trials are only listed: then any report is believed for an hour.
pub fn load(
    folder: &Utf8Path,
    base_url: &str,
    model: &str,
    identity: Option<&Identity>,
    now: Timestamp,
) -> Cached {
    let path = folder.join(file(base_url, model));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Cached::Absent,
        Err(error) => return Cached::Unusable(format!("the kept probe cannot be read: {path}: {error}")),
    };
    let entry: Entry = match serde_json::from_str(&text) {
        Ok(entry) => entry,
        Err(error) => {
            return Cached::Unusable(format!(
                "the kept probe is damaged or of another make: {path}: {error}"
            ));
        }
    };
    match stale(&entry, &digest(base_url, model), identity, now) {
        None => Cached::Hit(Box::new(entry.report)),
        Some(why) => Cached::Unusable(format!("the kept probe is passed over, {why}: {path}")),
    }
}

/// Why `entry` is not about this server as it is now.
fn stale(entry: &Entry, server: &str, identity: Option<&Identity>, now: Timestamp) -> Option<String> {
    if entry.schema != SCHEMA {
        return Some(format!("since it is of make {}, and make {SCHEMA} is read here", entry.schema));
    }
    if entry.server != server {
        return Some("since it is about another server".to_owned());
    }
    if let Some(identity) = identity {
        if identity.version != entry.identity.version {
            let name = |version: &Option<String>| version.clone().unwrap_or_else(|| "unknown".to_owned());
            let (was, is) = (name(&entry.identity.version), name(&identity.version));
            return Some(format!("since the server's version was {was} and is {is}"));
        }
        if identity.started != entry.identity.started {
            return Some("since the server was started anew".to_owned());
        }
        if identity.started.is_some() {
            return None;
        }
    }
    let age = now.duration_since(entry.probed_at);
    let minutes = age.as_mins();
    (age > UNTOLD || age.is_negative()).then(|| {
        format!("since it is {minutes} minutes old, and nothing tells whether the server was restarted")
    })
}

fn digest(base_url: &str, model: &str) -> String {
    sha256(format!("{base_url}\n{model}").as_bytes())
}

fn file(base_url: &str, model: &str) -> String {
    format!("probe-{}.json", &digest(base_url, model)[..16])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use st_harness::{
        capability::{Capabilities, CapabilityId, Finding, Source, State},
        redact::Redactor,
    };

    use super::*;
    use crate::probe::Facts;

    const AT: &str = "http://127.0.0.1:8000/v1";

    fn report(started: Option<f64>) -> Report {
        let finding = Finding { state: State::Ignored, source: Source::Probe, evidence: "→ 200".into() };
        Report {
            capabilities: Capabilities([(CapabilityId("chat.n".into()), finding)].into()),
            facts: Facts { version: Some("0.32.0".into()), started, ..Facts::default() },
            requests: 80,
            took_ms: 1234,
            complete: true,
        }
    }

    fn now() -> Timestamp {
        "2031-01-01T12:00:00Z".parse().unwrap()
    }

    struct Kept {
        _temporary: tempfile::TempDir,
        folder: RunFolder,
        file: Utf8PathBuf,
        report: Report,
    }

    impl Kept {
        fn new(started: Option<f64>) -> Self {
            let temporary = tempfile::tempdir().unwrap();
            let path = Utf8PathBuf::from_path_buf(temporary.path().to_path_buf()).unwrap();
            let folder = RunFolder::open(path, Arc::new(Redactor::new().address(AT))).unwrap();
            let report = report(started);
            let file = save(&folder, &Target::at(AT, "m").unwrap(), &report, now()).unwrap();
            Self { _temporary: temporary, folder, file, report }
        }

        fn load(&self, identity: Option<&Identity>, after: SignedDuration) -> Cached {
            load(self.folder.path(), AT, "m", identity, now() + after)
        }

        fn unusable(&self, identity: Option<&Identity>, after: SignedDuration) -> String {
            match self.load(identity, after) {
                Cached::Unusable(why) => why,
                other => panic!("{other:?}"),
            }
        }
    }

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    #[test]
    fn a_report_holds_as_long_as_the_same_process_runs() {
        let kept = Kept::new(Some(17.5));
        let same = Identity::of(&kept.report);
        assert_eq!(kept.load(Some(&same), DAY), Cached::Hit(Box::new(kept.report.clone())));
        let restarted = Identity { started: Some(99.0), ..same.clone() };
        assert!(kept.unusable(Some(&restarted), SignedDuration::ZERO).contains("started anew"));
        let newer = Identity { version: Some("0.33.0".into()), ..same };
        assert!(
            kept.unusable(Some(&newer), SignedDuration::ZERO).contains("version was 0.32.0 and is 0.33.0")
        );
    }

    #[test]
    fn where_nothing_tells_of_a_restart_a_report_holds_for_an_hour() {
        let kept = Kept::new(None);
        let same = Identity::of(&kept.report);
        for identity in [Some(&same), None] {
            assert!(matches!(kept.load(identity, SignedDuration::from_mins(59)), Cached::Hit(_)));
            let why = kept.unusable(identity, SignedDuration::from_mins(61));
            assert!(why.contains("61 minutes old"), "{why}");
        }
        assert!(
            matches!(kept.load(None, SignedDuration::from_mins(-5)), Cached::Unusable(_)),
            "from the future"
        );
    }

    #[test]
    fn a_torn_file_is_passed_over_with_its_name() {
        let kept = Kept::new(Some(1.0));
        let text = std::fs::read_to_string(&kept.file).unwrap();
        for torn in [&text[..text.len() / 2], "", "[]", &text.replace("\"schema\": 1", "\"schema\": 2")] {
            std::fs::write(&kept.file, torn).unwrap();
            let why = kept.unusable(None, SignedDuration::ZERO);
            assert!(why.contains(kept.file.as_str()), "{why}");
        }
    }

    #[test]
    fn another_model_or_address_has_a_file_of_its_own() {
        let kept = Kept::new(Some(1.0));
        for (at, model) in [(AT, "other"), ("http://127.0.0.1:8001/v1", "m")] {
            assert_eq!(load(kept.folder.path(), at, model, None, now()), Cached::Absent, "{at} {model}");
        }
    }

    #[test]
    fn the_file_holds_no_address_that_the_redactor_masks() {
        let kept = Kept::new(Some(1.0));
        let text = std::fs::read_to_string(&kept.file).unwrap();
        assert!(!text.contains("127.0.0.1"), "{text}");
    }
}
