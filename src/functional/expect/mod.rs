//! The vocabulary of `expect`: [`Expect`], one kind a variant, over one JSON subject that is the same for a
//! plain answer and a streamed one. Must not know how an answer was obtained, nor how a report looks.
//!
//! 断言词汇：每种断言一个变体，作用于统一的 JSON 主体。
//!
//! Every item of `expect` is a mapping of one key, the kind. Most kinds map paths to what is expected there:
//!
//! ```yaml
//! expect:
//!   - status: 200
//!   - eq: {final.object: chat.completion, final.choices.0.index: 0}
//!   - type: {final.id: string, final.system_fingerprint: string|null}
//!   - starts: {headers.content-type: application/json}
//!   - range: {final.usage.completion_tokens: {min: 1, max: 16}}
//!   - exists: [final.choices.0.logprobs]
//!   - each: {events: [{eq: {json.object: chat.completion.chunk}}]}
//!   - error: {status: 4xx, param: temperature}
//!   - sse: [framing, done, role_first, finish_once]
//!   - event_order: "RC+FD"
//!   - either: {accepted: [{status: 200}], refused: [{error: {status: 4xx}}]}
//! ```
//!
//! A path begins at one of [`ROOTS`]; inside `each`, `any` and `none` it begins at the item, `$` being the
//! item itself. A path with `*` means every item, and at least one. Null is a value, absent is none: `eq: {x:
//! null}` holds for null only, `absent` for absent only.
//!
//! Every family of kinds has its file: what is read, how it is checked and how a miss is told stand together.

mod at;
mod concat;
mod error;
mod event_order;
mod exact;
mod json;
mod metrics;
mod mistakes;
mod nested;
mod number;
mod order;
mod shape;
mod show;
mod sse;
mod status;
mod text;
mod ties;
mod usage;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

pub use self::{
    at::{At, Pairs, Paths},
    error::{ErrorExpect, Shape},
    exact::same,
    metrics::LEGS as METRICS_LEGS,
    mistakes::mistakes,
    number::Len,
    show::{excerpt, show},
    sse::SseRule,
    status::StatusSet,
    usage::{TOKENIZE, UsageRule},
};
use crate::functional::path::Path;

/// What a path may begin with: the parts of the subject.
///
/// | root | what it holds |
/// |---|---|
/// | `status` | the HTTP status |
/// | `headers` | name in lower case → value; repeated ones joined by `, ` |
/// | `body` | the body of a plain answer, as it came: JSON, or a text where it is none |
/// | `events` | the events of a stream but `[DONE]`: `t_s event data json` |
/// | `final` | the answer put together, the same for plain and streamed, for chat and completions: `id object created model system_fingerprint choices usage`; a choice has `index role content reasoning reasoning_key refusal tool_calls finish_reason stop_reason logprobs`. What the server left out is null here; whether it did is asked of `body` or `events` |
/// | `error` | the error, whatever its shape: `shape status code type param message`; null where there is none |
/// | `stream` | `ended why done_count done_last malformed comments foreign_lines trailing_bytes chunks` |
/// | `timing` | seconds since the attempt began: `headers_s first_s total_s`; `away_s`: the longest that this machine was too busy to look |
/// | `request` | the JSON body that was sent |
/// | `legs` | the answers to the case's other requests, by name, each with the roots above: `legs.single.final…` |
pub const ROOTS: &[&str] =
    &["status", "headers", "body", "events", "final", "error", "stream", "timing", "request", "legs"];

/// One expectation: a mapping of one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expect {
    /// The status: a number, a class such as `4xx`, or a list of them.
    Status(StatusSet),
    /// Equal, deeply; `1` equals `1.0`.
    Eq(At<exact::Eq>),
    /// Different, and there.
    Ne(At<exact::Ne>),
    /// Equal to one of a list.
    OneOf(At<exact::OneOf>),
    /// Equal to what another path leads to: `same: {final.model: request.model}`.
    Same(At<Path>),
    /// Other than what another path leads to: `differs: {final.choices.0.content: legs.other.final.choices.0.content}`.
    Differs(At<Path>),
    /// Two choices with the same text, a tie between two tokens apart, which decides nothing.
    SameUpToTies(At<Path>),
    /// Pieces that make a text: `concat: {final.choices.0.logprobs.content.*.token: final.choices.0.content}`.
    Concat(At<Path>),
    /// Different values in all the places that a path with `*` leads to.
    Unique(Paths),
    /// Of a type: `string`, `int`, `number`, `bool`, `null`, `array`, `object`, or several with `|`.
    Type(At<shape::Types>),
    /// There, null included.
    Exists(Paths),
    /// Not there, in something that is there.
    Absent(Paths),
    /// Null or not there, in something that is there.
    NullOrAbsent(Paths),
    /// Which keys an object has.
    Keys(At<shape::Keys>),
    /// How long: characters of a text, items of a list, keys of an object.
    Len(At<number::Len>),
    /// A number within bounds.
    Range(At<number::Range>),
    /// Numbers in order: of a list, or in the places that a path with `*` leads to.
    Monotone(At<order::Order>),
    /// A text that a regular expression finds something in.
    Matches(At<text::Matches>),
    /// A text that it finds nothing in.
    NotMatches(At<text::NotMatches>),
    /// A text that holds a text, or a list that holds a value.
    Contains(At<text::Contains>),
    /// One that does not.
    NotContains(At<text::NotContains>),
    /// A text that begins so.
    Starts(At<text::Starts>),
    /// A text that ends so.
    Ends(At<text::Ends>),
    /// No U+FFFD in any text at or below these paths: no character was torn.
    NoReplacementChar(Paths),
    /// No stack trace, file path, template marker or tool markup in any text at or below these paths.
    NoLeak(Paths),
    /// A text that is JSON: `any`, `object` or `array`.
    JsonParse(At<json::JsonParse>),
    /// A value, or a text that is read as JSON first, that a JSON Schema accepts; `"@request"` is the schema that the
    /// request asked for.
    JsonSchema(At<json::JsonSchemaOf>),
    /// Every item of a list, of which there is at least one.
    Each(At<Vec<Expect>>),
    /// At least one item of a list.
    Any(At<Vec<Expect>>),
    /// No item of a list.
    None(At<Vec<Expect>>),
    /// At least one of several named outcomes, all of it.
    Either(nested::Either),
    /// `then` where all of `if` holds, `else` otherwise.
    When(nested::When),
    /// The answer is an error.
    Error(ErrorExpect),
    /// How a stream is built.
    Sse(Vec<SseRule>),
    /// In which order a stream's events come, each choice's for itself: `event_order: "RC+FU?D"`.
    EventOrder(event_order::EventOrder),
    /// What usage says.
    Usage(Vec<usage::UsageRule>),
    /// What `/metrics` counted meanwhile; the case must be `exclusive`.
    MetricsDelta(metrics::MetricsDelta),
    /// Expectations that are never relaxed.
    Wire(Vec<Expect>),
    /// Expectations beyond the documented interface: a break of one is a note, unless the suite is strict.
    Engine(Vec<Expect>),
}

/// How firm an expectation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// HTTP, JSON and SSE themselves: never relaxed.
    Wire,
    /// What the OpenAI interface documents: the default.
    Openai,
    /// What engines are known to do beyond it.
    Engine,
}

impl Layer {
    /// `wire`, `openai`, `engine`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wire => "wire",
            Self::Openai => "openai",
            Self::Engine => "engine",
        }
    }
}

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// JSON pointer into the spec: to the line that asked for it. Empty for what every answer must do.
    pub pointer: String,
    /// How firm it is.
    pub layer: Layer,
    /// `status`, `eq`, `sse`…
    pub kind: &'static str,
    /// What was expected, as the end of "expected …": `final.model to be "m"`.
    pub expected: String,
    /// What was found, in words or as JSON.
    pub actual: String,
    /// It may be due to a tie of two tokens, or to somebody else's requests, and decides nothing.
    pub doubtful: bool,
}

impl Broken {
    /// `expected final.model to be "m", found "n"`.
    pub fn summary(&self) -> String {
        format!("expected {}, found {}", self.expected, self.actual)
    }
}

/// Where an expectation looks, and where it stands.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// The whole subject.
    pub answer: &'a Value,
    /// What paths begin at: the subject, or an item of a list.
    pub here: &'a Value,
    /// The path of `here`; empty for the subject.
    pub prefix: String,
    /// JSON pointer to the expectation, or to the part of it that is being checked.
    pub pointer: String,
    /// How firm what stands here is.
    pub layer: Layer,
}

impl<'a> Scope<'a> {
    /// The scope of a list of expectations at `pointer` over `answer`.
    pub fn new(answer: &'a Value, pointer: &str) -> Self {
        let (prefix, pointer) = (String::new(), pointer.to_owned());
        Self { answer, here: answer, prefix, pointer, layer: Layer::Openai }
    }

    /// The same, one step further down the spec.
    #[must_use]
    pub fn down(&self, step: impl std::fmt::Display) -> Self {
        Self { pointer: format!("{}/{}", self.pointer, escape(&step.to_string())), ..self.clone() }
    }

    /// The same at `layer`; what stands inside `wire` stays there.
    #[must_use]
    pub fn at_layer(&self, layer: Layer) -> Self {
        let layer = if self.layer == Layer::Wire { Layer::Wire } else { layer };
        Self { layer, ..self.clone() }
    }

    /// The same over an item that lies at `prefix`.
    #[must_use]
    pub fn over(&self, here: &'a Value, prefix: String) -> Self {
        Self { here, prefix, ..self.clone() }
    }

    /// What a broken expectation at this scope says.
    pub fn broken(
        &self,
        kind: &'static str,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Broken {
        let (pointer, layer) = (self.pointer.clone(), self.layer);
        let (expected, actual) = (expected.into(), actual.into());
        Broken { pointer, layer, kind, expected, actual, doubtful: false }
    }
}

/// A step of a JSON pointer.
fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// All that is broken in `list`, in order. The scope's pointer is that of the list.
pub fn check_all(list: &[Expect], scope: &Scope<'_>) -> Vec<Broken> {
    let mut broken = Vec::new();
    for (index, expect) in list.iter().enumerate() {
        expect.check(&scope.down(index).down(expect.kind()), &mut broken);
    }
    broken
}

impl Expect {
    /// The key it is written under.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Eq(_) => "eq",
            Self::Ne(_) => "ne",
            Self::OneOf(_) => "one_of",
            Self::Same(_) => "same",
            Self::Differs(_) => "differs",
            Self::SameUpToTies(_) => "same_up_to_ties",
            Self::Concat(_) => "concat",
            Self::Unique(_) => "unique",
            Self::Type(_) => "type",
            Self::Exists(_) => "exists",
            Self::Absent(_) => "absent",
            Self::NullOrAbsent(_) => "null_or_absent",
            Self::Keys(_) => "keys",
            Self::Len(_) => "len",
            Self::Range(_) => "range",
            Self::Monotone(_) => "monotone",
            Self::Matches(_) => "matches",
            Self::NotMatches(_) => "not_matches",
            Self::Contains(_) => "contains",
            Self::NotContains(_) => "not_contains",
            Self::Starts(_) => "starts",
            Self::Ends(_) => "ends",
            Self::NoReplacementChar(_) => "no_replacement_char",
            Self::NoLeak(_) => "no_leak",
            Self::JsonParse(_) => "json_parse",
            Self::JsonSchema(_) => "json_schema",
            Self::Each(_) => "each",
            Self::Any(_) => "any",
            Self::None(_) => "none",
            Self::Either(_) => "either",
            Self::When(_) => "when",
            Self::Error(_) => "error",
            Self::Sse(_) => "sse",
            Self::EventOrder(_) => "event_order",
            Self::Usage(_) => "usage",
            Self::MetricsDelta(_) => "metrics_delta",
            Self::Wire(_) => "wire",
            Self::Engine(_) => "engine",
        }
    }

    /// Adds what is broken to `out`. The scope's pointer is that of the kind's argument.
    fn check(&self, scope: &Scope<'_>, out: &mut Vec<Broken>) {
        match self {
            Self::Status(set) => set.check(scope, out),
            Self::Eq(at) => at.check(scope, out),
            Self::Ne(at) => at.check(scope, out),
            Self::OneOf(at) => at.check(scope, out),
            Self::Same(at) => exact::check_same(at, scope, out),
            Self::Differs(at) => exact::check_differs(at, scope, out),
            Self::SameUpToTies(at) => ties::check(at, scope, out),
            Self::Concat(at) => concat::check(at, scope, out),
            Self::Unique(paths) => exact::check_unique(paths, scope, out),
            Self::Type(at) => at.check(scope, out),
            Self::Exists(paths) => shape::check_exists(paths, scope, out),
            Self::Absent(paths) => shape::check_absent(paths, scope, out),
            Self::NullOrAbsent(paths) => shape::check_null_or_absent(paths, scope, out),
            Self::Keys(at) => at.check(scope, out),
            Self::Len(at) => at.check(scope, out),
            Self::Range(at) => at.check(scope, out),
            Self::Monotone(at) => order::check(at, scope, out),
            Self::Matches(at) => at.check(scope, out),
            Self::NotMatches(at) => at.check(scope, out),
            Self::Contains(at) => at.check(scope, out),
            Self::NotContains(at) => at.check(scope, out),
            Self::Starts(at) => at.check(scope, out),
            Self::Ends(at) => at.check(scope, out),
            Self::NoReplacementChar(paths) => text::check_no_replacement_char(paths, scope, out),
            Self::NoLeak(paths) => text::check_no_leak(paths, scope, out),
            Self::JsonParse(at) => at.check(scope, out),
            Self::JsonSchema(at) => json::check_schema(at, scope, out),
            Self::Each(at) => nested::check_each(at, scope, out),
            Self::Any(at) => nested::check_any(at, scope, out),
            Self::None(at) => nested::check_none(at, scope, out),
            Self::Either(either) => either.check(scope, out),
            Self::When(when) => when.check(scope, out),
            Self::Error(error) => error.check(scope, out),
            Self::Sse(rules) => sse::check(rules, scope, out),
            Self::EventOrder(order) => order.check(scope, out),
            Self::Usage(rules) => usage::check(rules, scope, out),
            Self::MetricsDelta(delta) => delta.check(scope, out),
            Self::Wire(list) => out.extend(check_all(list, &scope.at_layer(Layer::Wire))),
            Self::Engine(list) => out.extend(check_all(list, &scope.at_layer(Layer::Engine))),
        }
    }
}

#[cfg(test)]
mod tests;
