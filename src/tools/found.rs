//! The result that a tool left: [`result`] finds it, and believes only one that is there, not empty, alone, and written
//! since the tool was started. Must not know what is in it.
//!
//! 结果文件：存在、非空、唯一、且在启动之后写成。

use std::time::{Duration, SystemTime};

use camino::{Utf8Path, Utf8PathBuf};

/// The clock of a file system is coarser than that of the system.
const GRAIN: Duration = Duration::from_secs(1);

/// How deep is looked.
const DEPTH: usize = 8;

/// The files that `pattern` means below `folder`, each with its text: exactly one, unless there may be `several`.
/// `begun` is when the tool was started.
///
/// # Errors
/// In one line what is wrong: missing, several, empty, stale, unreadable.
pub(super) fn result(
    folder: &Utf8Path,
    pattern: &str,
    several: bool,
    begun: SystemTime,
) -> Result<Vec<(Utf8PathBuf, String)>, String> {
    let found = all(folder, pattern);
    if found.is_empty() {
        return Err(format!("missing: it left no result `{pattern}`{}", left(folder)));
    }
    if found.len() > 1 && !several {
        let names: Vec<&str> = found.iter().map(|path| path.as_str()).collect();
        return Err(format!("expected one result `{pattern}`, found {}: {}", found.len(), names.join(", ")));
    }
    found.into_iter().map(|path| fresh(folder, &path, begun).map(|text| (path, text))).collect()
}

/// The text of a file that was written since `begun` and is not empty.
fn fresh(folder: &Utf8Path, path: &Utf8Path, begun: SystemTime) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("the result {path} cannot be read: {error}");
    let written =
        std::fs::metadata(folder.join(path)).and_then(|meta| meta.modified()).map_err(unreadable)?;
    if written + GRAIN < begun {
        let old = begun.duration_since(written).unwrap_or_default().as_secs();
        return Err(format!(
            "stale: the result {path} is {old} s older than the run that is said to have made it"
        ));
    }
    let text = std::fs::read_to_string(folder.join(path)).map_err(unreadable)?;
    if text.trim().is_empty() {
        return Err(format!("the result {path} is empty"));
    }
    Ok(text)
}

/// Every file below `folder` that `pattern` means, relative to it, in alphabetical order.
pub(super) fn all(folder: &Utf8Path, pattern: &str) -> Vec<Utf8PathBuf> {
    let wanted: Vec<&str> = pattern.split('/').collect();
    let mut found = files(folder);
    found.retain(|path| means(&wanted, &path.as_str().split('/').collect::<Vec<_>>()));
    found
}

/// `; it left: a, b`.
fn left(folder: &Utf8Path) -> String {
    let files = files(folder);
    let names: Vec<&str> = files.iter().take(8).map(|path| path.as_str()).collect();
    match names.as_slice() {
        [] => "; it left nothing at all".to_owned(),
        names if names.len() < files.len() => {
            format!("; it left {} files: {} …", files.len(), names.join(", "))
        }
        names => format!("; it left: {}", names.join(", ")),
    }
}

fn files(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found = Vec::new();
    below(folder, Utf8Path::new(""), DEPTH, &mut found);
    found.sort();
    found
}

/// Links are not followed: they lead out of what the tool made.
fn below(folder: &Utf8Path, at: &Utf8Path, depth: usize, found: &mut Vec<Utf8PathBuf>) {
    let Ok(entries) = folder.join(at).read_dir_utf8() else { return };
    for entry in entries.flatten() {
        let path = at.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth > 0 => below(folder, &path, depth - 1, found),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
}

/// `**` is any number of folders, `*` any part of a name.
fn means(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| means(rest, &path[skipped..])),
        ([name, pattern @ ..], [part, path @ ..]) => matches(name, part) && means(pattern, path),
        _ => false,
    }
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return pattern == name };
    let Some(rest) = name.strip_prefix(head) else { return false };
    rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Utf8PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        for (name, text) in files {
            std::fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            std::fs::write(path.join(name), text).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn a_pattern_means_what_a_shell_means_by_it() {
        let means = |pattern: &str, path: &str| {
            super::means(&pattern.split('/').collect::<Vec<_>>(), &path.split('/').collect::<Vec<_>>())
        };
        for (pattern, path) in [
            ("r.json", "r.json"),
            ("**/results_*.json", "results_1.json"),
            ("**/results_*.json", "a/b/results_2026.json"),
            ("reports/*/*.json", "reports/m/d.json"),
            ("*", "x"),
        ] {
            assert!(means(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in
            [("*.json", "a/r.json"), ("results_*.json", "results_1.jsonl"), ("a*b*c", "acb"), ("**/x", "y")]
        {
            assert!(!means(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_missing_empty_doubled_or_stale_is_told() {
        let (_dir, path) = folder(&[("out/r1.json", "{}"), ("out/r2.json", "{}"), ("none.json", " \n")]);
        let now = SystemTime::now();
        let told = |pattern, begun| result(&path, pattern, false, begun).unwrap_err();
        assert_eq!(
            told("x.json", now),
            "missing: it left no result `x.json`; it left: none.json, out/r1.json, out/r2.json"
        );
        assert_eq!(
            told("out/*.json", now),
            "expected one result `out/*.json`, found 2: out/r1.json, out/r2.json"
        );
        assert_eq!(told("none.json", now), "the result none.json is empty");
        let later = now + Duration::from_secs(90);
        assert!(told("**/r1.json", later).starts_with("stale: the result out/r1.json is "));
        assert_eq!(result(&path, "**/r1.json", false, now).unwrap()[0].1, "{}");
        assert_eq!(result(&path, "out/*.json", true, now).unwrap().len(), 2);
        let (_dir, nothing) = folder(&[]);
        assert!(result(&nothing, "x", false, now).unwrap_err().ends_with("it left nothing at all"));
    }
}
