//! What is said of a server before it is asked: [`Claim`], and [`declare`], which merges the sources.
//! Must not know what a capability is good for, nor how it is probed.
//!
//! 声明的服务器能力及其来源的合并。

use st_harness::{
    capability::{Capabilities, CapabilityId, Catalogue, Finding, Source, State},
    suggest,
};

/// `chat.tools`: the server can do it. `-chat.tools`: it cannot. Silence says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it is about.
    pub id: CapabilityId,
    /// Whether the server can do it.
    pub has: bool,
}

impl Claim {
    /// Takes `text` where its id is in `catalogue`.
    ///
    /// # Errors
    /// Names the unknown id and those near it.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, String> {
        let (id, has) = match text.strip_prefix('-') {
            Some(id) => (id.trim(), false),
            None => (text, true),
        };
        if catalogue.knows(id) {
            return Ok(Self { id: CapabilityId(id.to_owned()), has });
        }
        let near = suggest::near(id, catalogue.0.iter().map(|id| id.0.as_str()));
        let hint = suggest::question(&near).map(|question| format!("; {question}")).unwrap_or_default();
        Err(format!("unknown capability `{id}`{hint}"))
    }
}

/// Reads the comma-separated list of the environment. Empty entries are nothing.
///
/// # Errors
/// Every unknown id, each as [`Claim::parse`] says it.
pub fn parse_list(text: &str, catalogue: &Catalogue) -> Result<Vec<Claim>, Vec<String>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let (mut claims, mut mistakes) = (Vec::new(), Vec::new());
    for entry in entries {
        match Claim::parse(entry, catalogue) {
            Ok(claim) => claims.push(claim),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if mistakes.is_empty() { Ok(claims) } else { Err(mistakes) }
}

/// What all sources say together. `sources` are strongest first; of two that speak of the same capability the
/// stronger one counts, and within one source the first.
pub fn declare<'a>(sources: impl IntoIterator<Item = (Source, &'a str, &'a [Claim])>) -> Capabilities {
    let mut all = Capabilities::default();
    for (source, named, claims) in sources {
        for claim in claims {
            let state = if claim.has { State::Supported } else { State::Unsupported };
            let evidence = format!("declared by {named}");
            all.0.entry(claim.id.clone()).or_insert(Finding { state, source, evidence });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let ids = ["chat.tools", "chat.logprobs", "completions.suffix"];
        Catalogue(ids.map(|id| CapabilityId(id.to_owned())).to_vec())
    }

    fn claims(text: &str) -> Vec<Claim> {
        parse_list(text, &catalogue()).expect("known ids")
    }

    #[test]
    fn a_list_says_what_there_is_and_what_there_is_not() {
        let found = claims(" chat.tools, -completions.suffix,, ");
        let found: Vec<_> = found.iter().map(|claim| (claim.id.0.as_str(), claim.has)).collect();
        assert_eq!(found, [("chat.tools", true), ("completions.suffix", false)]);
    }

    #[test]
    fn every_unknown_id_is_told_with_near_names() {
        let mistakes =
            parse_list("chat.tool,chat.tools,wholly_different", &catalogue()).expect_err("unknown ids");
        assert_eq!(
            mistakes,
            [
                "unknown capability `chat.tool`; did you mean `chat.tools`?",
                "unknown capability `wholly_different`"
            ]
        );
    }

    #[test]
    fn the_stronger_source_counts() {
        let (environment, scenario) = (claims("-chat.tools"), claims("chat.tools,chat.logprobs"));
        let all = declare([
            (Source::Environment, "VLLM_CIBENCH_CAPABILITIES", environment.as_slice()),
            (Source::Declared, "scenario `sim`", scenario.as_slice()),
        ]);
        let tools = all.get(&CapabilityId("chat.tools".into()));
        assert_eq!((tools.state, tools.source), (State::Unsupported, Source::Environment));
        let logprobs = all.get(&CapabilityId("chat.logprobs".into()));
        assert_eq!(
            (logprobs.state, logprobs.evidence.as_str()),
            (State::Supported, "declared by scenario `sim`")
        );
        assert_eq!(all.get(&CapabilityId("completions.suffix".into())).state, State::Unknown);
    }
}
