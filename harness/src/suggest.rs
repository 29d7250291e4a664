//! What somebody may have meant who wrote a name that does not exist: [`near`], [`near_ids`].
//! Must not know what the names stand for.
//!
//! 近似名称建议。

use std::collections::BTreeSet;

/// More than this many suggestions help nobody.
const BEST: usize = 3;

/// The candidates that `name` is a likely misspelling of, best first, at most three.
///
/// A name is near when few letters differ for its length, or when it is one dotted segment of the candidate
/// (`tools` for `chat.tools`), or the candidate's beginning.
pub fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut scored: Vec<_> = candidates
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| Some((distance(&wanted, &candidate.to_lowercase())?, candidate)))
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().take(BEST).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// How far `candidate` is from `name`; nothing where it is too far to be meant.
fn distance(name: &str, candidate: &str) -> Option<usize> {
    let edits = strsim::damerau_levenshtein(name, candidate);
    let allowed = name.chars().count().max(candidate.chars().count()).div_ceil(3).min(4);
    if edits <= allowed && edits < name.chars().count() {
        return Some(edits);
    }
    let is_segment = candidate.split('.').any(|segment| segment == name);
    let is_beginning = name.chars().count() >= 3 && candidate.starts_with(name);
    (is_segment || is_beginning).then_some(allowed + 1)
}

/// What a filter that matches no trial may have meant: runs of as many `::` segments as the filter has.
/// `chat_cor` → `chat_core`; `functional::chat_cor` → `functional::chat_core`.
pub fn near_ids<'a>(filter: &str, ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let length = filter.split("::").count();
    let mut parts = BTreeSet::new();
    for id in ids {
        let segments: Vec<&str> = id.split("::").collect();
        for window in segments.windows(length) {
            let start = window[0].as_ptr() as usize - id.as_ptr() as usize;
            let last = window[length - 1];
            let end = last.as_ptr() as usize - id.as_ptr() as usize + last.len();
            parts.insert(&id[start..end]);
        }
    }
    near(filter, parts)
}

/// `did you mean `a`, `b` or `c`?`, or nothing where there is nothing near.
pub fn question(near: &[String]) -> Option<String> {
    (!near.is_empty()).then(|| format!("did you mean {}?", list(near, "or")))
}

/// `` `a`, `b` or `c` ``.
pub fn list<S: AsRef<str>>(names: &[S], last: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let keys = ["temperature", "top_p", "top_k", "messages"];
        assert_eq!(near("temprature", keys), ["temperature"]);
        assert_eq!(near("Temperature", keys), ["temperature"]);
        assert_eq!(near("topp", keys), ["top_p", "top_k"]);
    }

    #[test]
    fn a_name_like_nothing_else_gets_no_advice() {
        assert!(near("zebra", ["temperature", "id"]).is_empty());
        assert!(near("x", ["y", "id"]).is_empty(), "one letter is not a misspelling of another");
    }

    #[test]
    fn a_segment_of_a_dotted_name_finds_the_whole() {
        assert_eq!(near("tools", ["chat.tools", "chat.top_p"]), ["chat.tools"]);
        assert_eq!(
            near("json_schema", ["chat.response_format.json_schema"]),
            ["chat.response_format.json_schema"]
        );
    }

    #[test]
    fn a_filter_is_compared_with_runs_of_as_many_segments() {
        let ids =
            ["functional::chat_core::top_p::t_0", "functional::chat_core::top_p::t_1", "perf::pr::chat"];
        assert_eq!(near_ids("chat_cor", ids), ["chat_core"]);
        assert_eq!(near_ids("functional::chat_cor", ids), ["functional::chat_core"]);
        assert_eq!(near_ids("t_2", ids), ["t_0", "t_1"]);
        assert!(near_ids("a::b::c::d::e", ids).is_empty());
    }

    #[test]
    fn names_are_listed_as_a_person_would() {
        assert_eq!(list(&["a"], "or"), "`a`");
        assert_eq!(list(&["a", "b", "c"], "and"), "`a`, `b` and `c`");
        assert_eq!(question(&[]), None);
    }
}
