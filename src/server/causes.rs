//! Why a server died, as far as its last lines tell: [`cause`], from patterns that are data.
//! Must not know how the lines were had.
//!
//! 从日志末尾判断服务退出的原因。

use std::sync::LazyLock;

use regex::Regex;
use serde::Deserialize;

/// A known way to die.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Cause {
    /// A short class, in `[a-z0-9-]`.
    pub(super) id: String,
    /// What happened, in a line.
    pub(super) about: String,
    /// What to do.
    pub(super) advice: String,
    /// Any of these in any line tells.
    #[serde(deserialize_with = "patterns")]
    any: Vec<Regex>,
}

fn patterns<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Regex>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| Regex::new(text).map_err(serde::de::Error::custom)).collect()
}

static CAUSES: LazyLock<Vec<Cause>> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("causes.yaml")).expect("causes.yaml is checked by this module's tests")
});

/// The first known cause that `lines` tell of, and the line that tells it. The order of the file is that of
/// preference: one failure often drags others behind it.
pub(super) fn cause<'l>(lines: &[&'l str]) -> Option<(&'static Cause, &'l str)> {
    CAUSES.iter().find_map(|cause| {
        let line = lines.iter().find(|line| cause.any.iter().any(|pattern| pattern.is_match(line)))?;
        Some((cause, *line))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// `cause id` → log excerpts that tell it, one file each.
    fn fixtures() -> Vec<(String, String)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/server-logs");
        let files = std::fs::read_dir(folder).expect("the fixtures' folder");
        let paths = files.map(|file| file.expect("a file").path());
        paths
            .map(|path| {
                let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
                let cause = name.split('.').next().unwrap_or_default().to_owned();
                (cause, std::fs::read_to_string(&path).expect("a text"))
            })
            .collect()
    }

    #[test]
    fn every_log_names_its_cause() {
        for (expected, log) in fixtures() {
            let lines: Vec<&str> = log.lines().collect();
            let found = cause(&lines).map(|(cause, _)| cause.id.as_str());
            let expected = (expected != "none").then_some(expected.as_str());
            assert_eq!(found, expected, "{log}");
        }
    }

    #[test]
    fn every_cause_has_a_log() {
        let shown: BTreeSet<String> = fixtures().into_iter().map(|(cause, _)| cause).collect();
        let missing: Vec<_> =
            CAUSES.iter().map(|cause| &cause.id).filter(|id| !shown.contains(*id)).collect();
        assert!(missing.is_empty(), "no fixture tells of {missing:?}");
    }
}
