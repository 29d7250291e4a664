//! What is wrong with expectations although their types are right: [`mistakes`], told before anything is sent.
//! Must not know an answer.
//!
//! 断言的静态检查。

use super::{At, Expect, Paths, ROOTS, UsageRule, nested::When};
use crate::functional::path::Path;

/// What the roots with a fixed shape hold.
const HELD: &[(&str, &[&str])] = &[
    ("final", &["id", "object", "created", "model", "system_fingerprint", "choices", "usage"]),
    ("error", &["shape", "status", "code", "type", "param", "message"]),
    (
        "stream",
        &[
            "ended",
            "why",
            "done_count",
            "done_last",
            "malformed",
            "comments",
            "foreign_lines",
            "trailing_bytes",
            "chunks",
        ],
    ),
    ("timing", &["headers_s", "first_s", "total_s", "away_s"]),
];

/// Tells every mistake in `list`, which stands at `pointer`, in a case with these legs beside the main one.
pub fn mistakes(list: &[Expect], pointer: &str, legs: &[String], tell: &mut dyn FnMut(&str, String)) {
    walk(list, pointer, false, legs, tell);
}

fn walk(
    list: &[Expect],
    pointer: &str,
    inside_item: bool,
    legs: &[String],
    tell: &mut dyn FnMut(&str, String),
) {
    if list.is_empty() {
        tell(
            pointer,
            "expected at least one expectation, found an empty list: it asserts nothing".to_owned(),
        );
    }
    for (index, expect) in list.iter().enumerate() {
        let pointer = format!("{pointer}/{index}/{}", expect.kind());
        if inside_item && expect.is_about_the_whole_answer() {
            let kind = expect.kind();
            tell(
                &pointer,
                format!("`{kind}` looks at the whole answer; here stand expectations of one item of a list"),
            );
        }
        if !inside_item {
            for (step, path) in expect.paths() {
                if let Some(message) = wrong_path(path, legs) {
                    tell(&format!("{pointer}/{}", super::escape(&step)), message);
                }
            }
        }
        for (step, list, into_item) in expect.lists() {
            walk(list, &format!("{pointer}{step}"), inside_item || into_item, legs, tell);
        }
        match expect {
            Expect::Sse(rules) if rules.is_empty() => tell(&pointer, nothing_asserted()),
            Expect::Usage(rules) if rules.is_empty() => tell(&pointer, nothing_asserted()),
            _ => {}
        }
    }
}

fn nothing_asserted() -> String {
    "expected at least one rule, found an empty list: it asserts nothing".to_owned()
}

fn wrong_path(path: &Path, legs: &[String]) -> Option<String> {
    let root = path.root().unwrap_or("$");
    if !ROOTS.contains(&root) {
        return Some(format!(
            "path `{path}`: expected one that begins with {}, found `{root}`",
            ROOTS.join(", ")
        ));
    }
    let name = path.name(1)?;
    if root == "headers" && name.chars().any(char::is_uppercase) {
        return Some(format!("path `{path}`: headers are named in lower case, `{}`", name.to_lowercase()));
    }
    if root == "legs" {
        let known = if legs.is_empty() { "none".to_owned() } else { legs.join(", ") };
        return (!legs.iter().any(|leg| leg == name))
            .then(|| format!("path `{path}`: the case has no leg `{name}`; it has {known}"));
    }
    let (_, held) = HELD.iter().find(|(holder, _)| *holder == root)?;
    (!held.contains(&name))
        .then(|| format!("path `{path}`: `{root}` has {}, but no `{name}`", held.join(", ")))
}

impl Expect {
    /// Whether it, or one inside it, takes an error event inside a stream for an answer.
    pub(in crate::functional) fn allows_error_event(&self) -> bool {
        matches!(self, Self::Error(error) if error.allow_sse)
            || self.lists().iter().any(|(_, list, _)| list.iter().any(Self::allows_error_event))
    }

    /// Kinds that have no path: they cannot be asked of an item.
    fn is_about_the_whole_answer(&self) -> bool {
        matches!(
            self,
            Self::Status(_)
                | Self::Error(_)
                | Self::Sse(_)
                | Self::EventOrder(_)
                | Self::Usage(_)
                | Self::Same(_)
                | Self::Differs(_)
                | Self::SameUpToTies(_)
                | Self::Concat(_)
                | Self::MetricsDelta(_)
        )
    }

    /// Whether it, or one inside it, compares with what `/tokenize` counts.
    pub(in crate::functional) fn asks_tokenize(&self) -> bool {
        matches!(self, Self::Usage(rules) if rules.contains(&UsageRule::Tokenize))
            || self.lists().iter().any(|(_, list, _)| list.iter().any(Self::asks_tokenize))
    }

    /// Whether it, or one inside it, compares what `/metrics` counts before and after.
    pub(in crate::functional) fn asks_metrics(&self) -> bool {
        matches!(self, Self::MetricsDelta(_))
            || self.lists().iter().any(|(_, list, _)| list.iter().any(Self::asks_metrics))
    }

    /// The paths it names, with their step in the pointer.
    fn paths(&self) -> Vec<(String, &Path)> {
        match self {
            Self::Eq(at) => of(at),
            Self::Ne(at) => of(at),
            Self::OneOf(at) => of(at),
            Self::Same(at) | Self::Differs(at) | Self::SameUpToTies(at) | Self::Concat(at) => {
                at.0.iter().flat_map(|(path, other)| [path, other].map(|p| (path.to_string(), p))).collect()
            }
            Self::Type(at) => of(at),
            Self::Keys(at) => of(at),
            Self::Len(at) => of(at),
            Self::Range(at) => of(at),
            Self::Monotone(at) => of(at),
            Self::MetricsDelta(delta) => delta.paths(),
            Self::Matches(at) => of(at),
            Self::NotMatches(at) => of(at),
            Self::Contains(at) => of(at),
            Self::NotContains(at) => of(at),
            Self::Starts(at) => of(at),
            Self::Ends(at) => of(at),
            Self::JsonParse(at) => of(at),
            Self::JsonSchema(at) => of(at),
            Self::Each(at) | Self::Any(at) | Self::None(at) => of(at),
            Self::Unique(paths)
            | Self::Exists(paths)
            | Self::Absent(paths)
            | Self::NullOrAbsent(paths)
            | Self::NoReplacementChar(paths)
            | Self::NoLeak(paths) => listed(paths),
            Self::Status(_)
            | Self::Either(_)
            | Self::When(_)
            | Self::Error(_)
            | Self::Sse(_)
            | Self::EventOrder(_)
            | Self::Usage(_) => Vec::new(),
            Self::Wire(_) | Self::Engine(_) => Vec::new(),
        }
    }

    /// The lists of expectations it holds: their place below the kind, and whether they are about an item.
    fn lists(&self) -> Vec<(String, &[Expect], bool)> {
        match self {
            Self::Each(at) | Self::Any(at) | Self::None(at) => {
                at.0.iter().map(|(path, list)| (step(path.as_str()), list.as_slice(), true)).collect()
            }
            Self::Either(either) => {
                either.0.0.iter().map(|(name, list)| (step(name), list.as_slice(), false)).collect()
            }
            Self::When(When { condition, then, otherwise }) => {
                let mut lists = vec![
                    ("/if".to_owned(), condition.as_slice(), false),
                    ("/then".to_owned(), then.as_slice(), false),
                ];
                if !otherwise.is_empty() {
                    lists.push(("/else".to_owned(), otherwise.as_slice(), false));
                }
                lists
            }
            Self::Wire(list) | Self::Engine(list) => vec![(String::new(), list.as_slice(), false)],
            _ => Vec::new(),
        }
    }
}

fn step(name: &str) -> String {
    format!("/{}", super::escape(name))
}

fn of<T>(at: &At<T>) -> Vec<(String, &Path)> {
    at.0.iter().map(|(path, _)| (path.to_string(), path)).collect()
}

fn listed(paths: &Paths) -> Vec<(String, &Path)> {
    paths.0.iter().enumerate().map(|(index, path)| (index.to_string(), path)).collect()
}
