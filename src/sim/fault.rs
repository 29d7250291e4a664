//! Faults as data: what goes wrong ([`Fault`]) and for which requests ([`FaultRule`]). Each has one name, which stands
//! in scenarios, on the command line and in the log. Must not know how a fault is carried out (`sabotage`).
//!
//! 故障目录：名称、参数与触发条件。

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Declares the faults once: variant, name, what happens, and its parameters.
macro_rules! faults {
    ($( $variant:ident $( ( $params:ty ) )? = $name:literal, $about:literal; )+) => {
        /// One way in which a server can be wrong. Written as its name, or as `name: {parameters}`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Fault {
            $( #[doc = $about] #[serde(rename = $name)] $variant $( ( $params ) )? ),+
        }

        impl Fault {
            /// Every fault by name, with what it does, in the order of the catalogue.
            pub const ALL: &'static [(&'static str, &'static str)] = &[ $( ($name, $about) ),+ ];

            /// The fault of this name, with the default parameters.
            pub fn named(name: &str) -> Option<Fault> {
                match name {
                    $( $name => Some(Fault::$variant $( ( <$params>::default() ) )?) , )+
                    _ => None,
                }
            }

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self {
                    $( faults!(@pattern $variant $( $params )?) => $name ),+
                }
            }
        }
    };
    (@pattern $variant:ident) => { Fault::$variant };
    (@pattern $variant:ident $params:ty) => { Fault::$variant(_) };
}

faults! {
    // The connection.
    Status(Status) = "status", "another status, with the body that vLLM gives it";
    StallBeforeHeaders(Stall) = "stall_before_headers", "silence before the status line";
    StallMidStream(Stall) = "stall_mid_stream", "silence in the middle of the body";
    SlowHeaders(Stall) = "slow_headers", "the head arrives byte by byte over the given time";
    ResetBeforeHeaders = "reset_before_headers", "the connection is reset before the status line";
    ResetMidStream(After) = "reset_mid_stream", "the connection is reset in the middle of the body";
    CutStream(After) = "cut_stream", "the connection is closed in the middle of the body";
    EndEarly(After) = "end_early", "the body ends properly, but before finish_reason and [DONE]";
    Buffered = "buffered", "a stream that comes all at once, at its end";
    LateHeaders = "late_headers", "a stream whose head waits for its last event";
    AbortIgnored = "abort_ignored", "a request whose client has gone is never given up";
    // The bytes.
    TornUtf8 = "torn_utf8", "a character is split over two writes, which is legal";
    Fragmented = "fragmented", "every byte is a write of its own, which is legal";
    Crlf = "crlf", "lines end in CR LF, which is legal";
    InvalidUtf8 = "invalid_utf8", "a byte that is not UTF-8 stands in the text";
    MalformedEvent = "malformed_event", "one event is not JSON";
    MalformedBody = "malformed_body", "the body is not JSON";
    ForeignLine = "foreign_line", "a line that is not SSE stands in the stream";
    WrongContentType = "wrong_content_type", "content-type is text/html";
    HtmlBody = "html_body", "status 200 with a web page, as a proxy's log-in answers";
    // Errors that do not look like errors, or look like others.
    ErrorEvent(After) = "error_event", "an error event in mid-stream, then [DONE], all with status 200";
    ErrorAsEvent = "error_as_event", "a refused streaming request answers 200 and an error event";
    ErrorInBody = "error_in_body", "a refused request answers its error with status 200";
    ErrorAs500 = "error_as_500", "a refused request answers 500";
    ErrorBare = "error_bare", "a refused request answers {} without a message";
    ErrorLeaks = "error_leaks", "an error message holds a traceback";
    AcceptInvalid = "accept_invalid", "a request that should be refused is answered";
    // The frame of an answer.
    NoDone = "no_done", "a stream without its last event: [DONE] where there is one";
    DoneTwice = "done_twice", "two [DONE]";
    NoFinish = "no_finish", "finish_reason stays null";
    DuplicateFinish = "duplicate_finish", "the last finish_reason comes twice";
    WrongFinish = "wrong_finish", "stop and length are exchanged, tool_calls becomes stop";
    RoleMissing = "role_missing", "no role";
    RoleEveryDelta = "role_every_delta", "the role stands on every delta";
    RoleWrong = "role_wrong", "the role is user";
    IdEmpty = "id_empty", "the id is empty";
    IdChanges = "id_changes", "the id is constant from answer to answer, and changes within a stream";
    ModelWrong = "model_wrong", "another model's name";
    ObjectWrong = "object_wrong", "another object's name";
    CreatedWrong = "created_wrong", "created is a text, and in 1970";
    IndexWrong = "index_wrong", "the choices' indices begin at 1";
    ChoiceMissing = "choice_missing", "the last choice is left out";
    KeyMissing = "key_missing", "the message lacks refusal, the choice lacks logprobs";
    // Usage.
    MissingUsage = "missing_usage", "no usage";
    WrongUsage = "wrong_usage", "completion_tokens and the total are one too high";
    WrongPromptTokens = "wrong_prompt_tokens", "prompt_tokens and the total are one too high";
    UsageSumWrong = "usage_sum_wrong", "the total is not the sum";
    UsageUnasked = "usage_unasked", "usage on every chunk, asked for or not";
    UsageEarly = "usage_early", "the usage chunk comes before the finish";
    // The text.
    EmptyContent = "empty_content", "no text";
    DropDelta = "drop_delta", "one delta of the text is lost; without stream, its last word";
    RepeatDelta = "repeat_delta", "one delta comes twice; without stream, the text does";
    ReplacementChar = "replacement_char", "U+FFFD stands in the text";
    ForeignText = "foreign_text", "the text has nothing to do with the question, other each time";
    StopIncluded = "stop_included", "the text goes on after the stop string";
    // Log-probabilities.
    LogprobsMissing = "logprobs_missing", "logprobs are asked for and null";
    LogprobsPositive = "logprobs_positive", "a probability above 1";
    LogprobsShort = "logprobs_short", "one entry too few";
    LogprobsUnsorted = "logprobs_unsorted", "the alternatives in rising order";
    LogprobsBytesWrong = "logprobs_bytes_wrong", "bytes that are not the token's";
    // Structured answers.
    JsonBroken = "json_broken", "the last character of the text is missing";
    JsonWrongSchema = "json_wrong_schema", "a JSON object that no schema asked for";
    ToolCallsMissing = "tool_calls_missing", "no tool calls";
    ToolMarkup = "tool_markup", "the call's markup stands in the text";
    ToolWrongName = "tool_wrong_name", "a tool that nobody offered";
    ToolArgsBroken = "tool_args_broken", "arguments that are not JSON";
    ToolArgsNotObject = "tool_args_not_object", "arguments that are JSON but no object";
    ToolArgsObject = "tool_args_object", "arguments as an object, not as text";
    ToolIdRepeated = "tool_id_repeated", "the same id for every call; on every delta of a stream";
    ToolCutLeaks = "tool_cut_leaks", "the markup of a call that was cut stands in the text";
    // Reasoning.
    ReasoningMissing = "reasoning_missing", "reasoning is null";
    ReasoningInContent = "reasoning_in_content", "the reasoning stands in the text, between its tags";
    // Responses, messages and embeddings.
    ItemCompleted = "item_completed", "a cut answer's item and last event say completed";
    EventNameWrong = "event_name_wrong", "an event's name is not its type";
    SequenceGap = "sequence_gap", "a number is left out of sequence_number";
    VectorShort = "vector_short", "a vector lacks its last number";
    VectorWrong = "vector_wrong", "a vector is not of length 1, and another each time";
    // Behaviour.
    IgnoreField(Field) = "ignore_field", "a field of the request is ignored";
    Nondeterministic = "nondeterministic", "temperature and seed are ignored: each answer differs";
    // The other routes.
    EmptyList = "empty_list", "lists are empty: no model is served, no token found";
    WrongCount = "wrong_count", "/tokenize counts one too many";
    CountersStuck = "counters_stuck", "the counters of /metrics never move";
}

/// Parameters of `status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Status {
    /// The status.
    pub code: u16,
    /// The header `retry-after`, in seconds.
    pub retry_after: Option<u32>,
}

impl Default for Status {
    fn default() -> Self {
        Status { code: 503, retry_after: None }
    }
}

/// How long, and after how many events of a body.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Stall {
    /// Milliseconds.
    pub ms: u64,
    /// Events, or bytes of a body that is no stream.
    pub after: usize,
}

impl Default for Stall {
    fn default() -> Self {
        Stall { ms: 60_000, after: 2 }
    }
}

/// After how many events of a body; of one that is no stream, after how many bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct After {
    /// Events, or bytes of a body that is no stream.
    pub after: usize,
}

impl Default for After {
    fn default() -> Self {
        After { after: 2 }
    }
}

/// Parameters of `ignore_field`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Field {
    /// A key of the request's body.
    pub name: String,
}

impl Default for Field {
    fn default() -> Self {
        Field { name: "max_tokens".to_owned() }
    }
}

/// Which requests a fault strikes. What is left out does not restrict.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// The path, whole: `/v1/chat/completions`.
    pub path: Option<String>,
    /// The body holds this text.
    pub body_contains: Option<String>,
    /// The body names this model.
    pub model: Option<String>,
    /// Only the nth of the requests that the keys above let through, counted from 1.
    pub nth: Option<u64>,
    /// Only every nth of them.
    pub every: Option<u64>,
    /// Only the first n of them.
    pub first: Option<u64>,
}

impl Match {
    /// Whether the request itself is meant, whatever its number.
    pub(super) fn covers(&self, path: &str, body: &str, model: Option<&str>) -> bool {
        self.path.as_deref().is_none_or(|p| p == path)
            && self.body_contains.as_deref().is_none_or(|text| body.contains(text))
            && self.model.as_deref().is_none_or(|m| Some(m) == model)
    }

    /// Whether the `count`th covered request is struck, counted from 1.
    pub(super) fn strikes(&self, count: u64) -> bool {
        self.nth.is_none_or(|n| n == count)
            && self.every.is_none_or(|n| count.is_multiple_of(n))
            && self.first.is_none_or(|n| count <= n)
    }
}

/// A fault and the requests that it strikes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// Which requests.
    #[serde(default)]
    pub when: Match,
    /// What happens to them.
    pub fault: Fault,
}

impl From<Fault> for FaultRule {
    /// The fault strikes every request.
    fn from(fault: Fault) -> Self {
        FaultRule { when: Match::default(), fault }
    }
}

/// A text that names no fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// Not a name of the catalogue.
    #[error("there is no fault `{name}`{}", near(.near_names))]
    Unknown {
        /// What was found.
        name: String,
        /// Names that look like it.
        near_names: Vec<&'static str>,
    },
    /// A rule that cannot be read.
    #[error("expected a fault's name or a rule {{when: …, fault: …}}: {0}")]
    Rule(String),
}

fn near(names: &[&str]) -> String {
    if names.is_empty() { String::new() } else { format!(" (near: {})", names.join(", ")) }
}

impl FromStr for FaultRule {
    type Err = FaultError;

    /// A bare name, or a rule in YAML's flow form.
    fn from_str(text: &str) -> Result<Self, FaultError> {
        let text = text.trim();
        if text.starts_with('{') {
            let value: serde_json::Value =
                serde_yaml::from_str(text).map_err(|e| FaultError::Rule(e.to_string()))?;
            return serde_json::from_value(value).map_err(|e| FaultError::Rule(e.to_string()));
        }
        Fault::named(text).map(FaultRule::from).ok_or_else(|| {
            let close = |name: &&'static str| strsim::jaro_winkler(name, text) > 0.85;
            FaultError::Unknown {
                name: text.to_owned(),
                near_names: Fault::ALL.iter().map(|(name, _)| *name).filter(close).collect(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_name_of_the_catalogue_is_the_name_in_a_file_and_on_the_command_line() {
        for (name, about) in Fault::ALL {
            let fault = Fault::named(name).expect("listed");
            assert_eq!(fault.name(), *name);
            assert!(!about.is_empty());
            let written = serde_json::to_value(&fault).expect("faults are plain data");
            let key = written.as_str().map(str::to_owned);
            let key = key.or_else(|| written.as_object().and_then(|o| o.keys().next().cloned()));
            assert_eq!(key.as_deref(), Some(*name));
            assert_eq!(name.parse::<FaultRule>(), Ok(FaultRule::from(fault)));
        }
    }

    #[test]
    fn a_rule_is_read_from_flow_yaml_and_from_a_document() {
        let rule: FaultRule = "{when: {nth: 2}, fault: {status: {code: 429}}}".parse().expect("a rule");
        let same = json!({"when": {"nth": 2}, "fault": {"status": {"code": 429}}});
        assert_eq!(serde_json::from_value::<FaultRule>(same).expect("the same rule"), rule);
        assert_eq!(rule.fault, Fault::Status(Status { code: 429, retry_after: None }));
    }

    #[test]
    fn an_unknown_name_is_answered_with_near_ones() {
        let error = "cut_steam".parse::<FaultRule>().expect_err("no such fault");
        assert!(error.to_string().contains("near: cut_stream"), "{error}");
        assert!("{fault: {status: {kode: 1}}}".parse::<FaultRule>().is_err());
    }

    #[test]
    fn nth_every_and_first_count_what_the_other_keys_let_through() {
        let at = |when: Match| (1..=6).filter(|n| when.strikes(*n)).collect::<Vec<_>>();
        assert_eq!(at(Match { nth: Some(2), ..Match::default() }), [2]);
        assert_eq!(at(Match { every: Some(3), ..Match::default() }), [3, 6]);
        assert_eq!(at(Match { first: Some(2), ..Match::default() }), [1, 2]);
        assert_eq!(at(Match { every: Some(0), ..Match::default() }), [0; 0]);
    }
}
