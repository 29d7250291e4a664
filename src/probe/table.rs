//! What a probe found out, for people and for programs: [`text`], [`json`], and the [`snippet`] for a scenario
//! file. Pure. Must not know how anything was found out.
//!
//! 探测结果的表格、JSON 与场景片段。

use serde_json::{Value, json};
use st_harness::capability::State;

use super::{Facts, Report};

/// Columns of a line.
const WIDTH: usize = 80;
/// Columns before the evidence, which stands below its capability.
const INDENT: usize = 4;
/// The states in the order of the count below the table.
const STATES: [State; 6] =
    [State::Supported, State::Accepted, State::Ignored, State::Rejected, State::Unsupported, State::Unknown];

/// The table: each capability with its state, its evidence below it; then what the server is, and a count.
pub fn text(report: &Report) -> String {
    let capabilities = &report.capabilities.0;
    let widest = capabilities.keys().map(|id| id.0.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (id, finding) in capabilities {
        lines.push(format!("{:widest$}  {}", id.0, finding.state));
        lines.extend(wrapped(&finding.evidence));
    }
    lines.push(String::new());
    lines.extend(facts(&report.facts).into_iter().map(|(name, value)| format!("{name}: {value}")));
    lines.push(count(report));
    lines.join("\n") + "\n"
}

/// The same as JSON: `{capabilities: {id: {state, source, evidence}}, facts, requests, complete, took_s}`.
pub fn json(report: &Report) -> Value {
    json!({
        "capabilities": report.capabilities,
        "facts": report.facts,
        "requests": report.requests,
        "complete": report.complete,
        "took_s": report.took_ms as f64 / 1e3,
    })
}

/// The lines that declare it in a scenario file, so that no probe is needed there. What is unknown is left out.
pub fn snippet(report: &Report) -> String {
    let claim = |(id, state): (&str, State)| {
        let missing = if state.is_there() { "" } else { "-" };
        format!("  - {missing}{id}\n")
    };
    let known = report.capabilities.0.iter().map(|(id, finding)| (id.0.as_str(), finding.state));
    let claims: String = known.filter(|(_, state)| *state != State::Unknown).map(claim).collect();
    if claims.is_empty() { "capabilities: []\n".to_owned() } else { format!("capabilities:\n{claims}") }
}

fn facts(facts: &Facts) -> Vec<(&'static str, String)> {
    let untold = || "not told".to_owned();
    let yes_no =
        |said: Option<bool>| said.map_or_else(untold, |yes| if yes { "yes" } else { "no" }.to_owned());
    let engine = match (&facts.engine, &facts.version) {
        (Some(engine), Some(version)) => format!("{engine} {version}"),
        (Some(engine), None) => engine.clone(),
        (None, Some(version)) => format!("unknown, version {version}"),
        (None, None) => "unknown".to_owned(),
    };
    vec![
        ("engine", engine),
        ("context length", facts.ctx_len.map_or_else(untold, |tokens| format!("{tokens} tokens"))),
        ("reasoning key", facts.reasoning_key.clone().unwrap_or_else(|| "none seen".to_owned())),
        ("refuses unknown fields", yes_no(facts.refuses_unknown_fields)),
        ("refuses a temperature below 0", yes_no(facts.validates_ranges)),
    ]
}

fn count(report: &Report) -> String {
    let of = |state: State| report.capabilities.0.values().filter(|finding| finding.state == state).count();
    let counts = STATES.map(|state| (of(state), state));
    let parts: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, state)| format!("{n} {state}")).collect();
    let took = report.took_ms as f64 / 1e3;
    format!("{} ({} requests, {took:.1} s)", parts.join(", "), report.requests)
}

/// `text` in indented lines, broken at blanks, or within a word that fits no line.
fn wrapped(text: &str) -> Vec<String> {
    let room = WIDTH - INDENT;
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let gap = usize::from(used > 0);
        if used > 0 && used + gap + width(word) > room {
            lines.push(String::new());
            used = 0;
        } else if gap > 0 {
            push(&mut lines, " ");
            used += gap;
        }
        for c in word.chars() {
            if used + columns(c) > room {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, c.encode_utf8(&mut [0; 4]));
            used += columns(c);
        }
    }
    lines.iter().map(|line| format!("{:INDENT$}{line}", "")).collect()
}

fn push(lines: &mut [String], text: &str) {
    if let Some(line) = lines.last_mut() {
        line.push_str(text);
    }
}

fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// How many columns a terminal gives `c`: East Asian characters and emoji take two.
fn columns(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f => 2,
        0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use snapbox::{assert_data_eq, str};
    use st_harness::capability::{Capabilities, CapabilityId, Finding, Source};

    use super::*;

    fn report() -> Report {
        let finding =
            |state, evidence: &str| Finding { state, source: Source::Probe, evidence: evidence.into() };
        let all = [
            (
                "chat.top_k",
                finding(
                    State::Supported,
                    r#"{"top_k":{"zz_bad":[1]}} → 400 naming top_k; temperature 2: 5 outcomes of 5 seeds; with top_k 1: 1 of 3"#,
                ),
            ),
            ("completions.best_of", finding(State::Ignored, r#"{"best_of":{"zz_bad":[1]}} → 200"#)),
            ("completions.suffix", finding(State::Rejected, "a suffix → 400: suffix is not supported")),
            ("server.load", finding(State::Unknown, "GET /load → 503: busy")),
        ];
        Report {
            capabilities: Capabilities(all.map(|(id, f)| (CapabilityId(id.into()), f)).into()),
            facts: Facts {
                engine: Some("vllm".into()),
                version: Some("0.32.0".into()),
                ctx_len: Some(4096),
                refuses_unknown_fields: Some(false),
                ..Facts::default()
            },
            requests: 97,
            took_ms: 8_250,
            complete: true,
        }
    }

    #[test]
    fn the_table_tells_each_state_with_its_evidence() {
        assert_data_eq!(
            text(&report()),
            str![[r#"
chat.top_k           supported
    {"top_k":{"zz_bad":[1]}} → 400 naming top_k; temperature 2: 5 outcomes of 5
    seeds; with top_k 1: 1 of 3
completions.best_of  ignored
    {"best_of":{"zz_bad":[1]}} → 200
completions.suffix   rejected
    a suffix → 400: suffix is not supported
server.load          unknown
    GET /load → 503: busy

engine: vllm 0.32.0
context length: 4096 tokens
reasoning key: none seen
refuses unknown fields: no
refuses a temperature below 0: not told
1 supported, 1 ignored, 1 rejected, 1 unknown (97 requests, 8.2 s)

"#]]
        );
    }

    #[test]
    fn a_snippet_declares_what_there_is_and_what_there_is_not() {
        let snippet = snippet(&report());
        assert_eq!(
            snippet,
            "capabilities:\n  - chat.top_k\n  - -completions.best_of\n  - -completions.suffix\n"
        );
        let read: Value = serde_yaml::from_str(&snippet).unwrap();
        assert_eq!(
            read,
            json!({"capabilities": ["chat.top_k", "-completions.best_of", "-completions.suffix"]})
        );
    }

    #[test]
    fn json_tells_seconds_and_null_where_nothing_is_known() {
        let json = json(&report());
        assert_eq!(json["took_s"], 8.25);
        assert_eq!(json["facts"]["validates_ranges"], Value::Null);
        assert_eq!(json["capabilities"]["completions.suffix"]["state"], "rejected");
    }

    proptest! {
        #[test]
        fn no_line_of_evidence_is_too_long_and_no_word_is_lost(text in "[a-z你好 {}\":🙂]{0,400}") {
            let lines = wrapped(&text);
            for line in &lines {
                prop_assert!(width(line) <= WIDTH, "{line}");
            }
            let all: String = lines.concat().chars().filter(|c| *c != ' ').collect();
            let sent: String = text.chars().filter(|c| *c != ' ').collect();
            prop_assert_eq!(all, sent);
        }
    }
}
