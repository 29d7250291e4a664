//! Tool calls: which are made ([`Calls::planned`]), the markup that the model writes for them, and the deltas in
//! which a stream tells them. Arguments always obey the tool's schema; the recorded server's do so only with
//! `strict`. Must not know the rest of a chat answer.
//!
//! 工具调用：选择、标记文本与流式增量。

use super::chance::hash;
use super::grammar;
use super::talk;
use super::text::Step;
use super::tokenizer;
use super::validate::{self, Checked, Refusal};
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const OPEN: &str = "<tool_call>\n{\"name\": \"";
const BETWEEN: &str = "\", \"arguments\": ";
const CLOSE: &str = "}\n</tool_call>";

/// How tools are offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// The model decides.
    Auto,
    /// It must call.
    Required,
    /// It must call this one.
    Named(String),
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    id: String,
    name: String,
    arguments: String,
}

/// The calls of an answer, and the text that stands for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) way: Way,
    pub(super) calls: Vec<Call>,
    pub(super) markup: String,
}

/// How the body offers its tools; null where it offers none, or forbids calls.
///
/// # Errors
/// If calls are wanted of a server without a tool parser.
pub(super) fn way(body: &Map<String, Value>, enabled: bool) -> Checked<Option<Way>> {
    if body.get("tools").is_none_or(Value::is_null) {
        return Ok(None);
    }
    let choice = body.get("tool_choice").unwrap_or(&Value::Null);
    let way = match choice.as_str() {
        Some("none") => return Ok(None),
        Some("required") => Way::Required,
        _ => choice["function"]["name"].as_str().map_or(Way::Auto, |name| Way::Named(name.to_owned())),
    };
    if !enabled {
        return Err(Refusal::bad(
            "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
        ));
    }
    Ok(Some(way))
}

impl Calls {
    /// The calls that the model makes. Left to itself it calls the tools whose names have a word in common with the
    /// question, once, and then speaks.
    ///
    /// # Errors
    /// If a tool's parameters are no schema.
    pub(super) fn planned(body: &Map<String, Value>, way: &Way) -> Checked<Option<Calls>> {
        let (tools, messages) = (validate::list(body, "tools"), validate::list(body, "messages"));
        let question =
            messages.iter().rev().find(|m| m["role"] == "user").map(tokenizer::content).unwrap_or_default();
        let answered = messages.last().is_some_and(|m| m["role"] == "tool");
        let name = |tool: &Value| tool["function"]["name"].as_str().unwrap_or_default().to_owned();
        let fits = |tool: &&Value| shares_a_word(&name(tool), &question);
        let mut chosen: Vec<&Value> = match way {
            Way::Named(wanted) => tools.iter().filter(|tool| name(tool) == *wanted).take(1).collect(),
            Way::Auto if answered => Vec::new(),
            Way::Auto | Way::Required => tools.iter().filter(fits).collect(),
        };
        if chosen.is_empty() && *way == Way::Required {
            chosen.extend(tools.first());
        }
        if body.get("parallel_tool_calls") == Some(&Value::Bool(false)) {
            chosen.truncate(1);
        }
        let calls = chosen.into_iter().map(|tool| Call::new(tool, name(tool), &question));
        let calls = calls.collect::<Checked<Vec<Call>>>()?;
        let markup: Vec<String> = calls.iter().map(Call::markup).collect();
        let some = !calls.is_empty();
        Ok(some.then(|| Calls { way: way.clone(), markup: markup.join("\n"), calls }))
    }

    /// The same calls as the `index`th choice makes them, under ids of its own.
    pub(super) fn of_choice(&self, index: usize) -> Calls {
        let mut calls = self.clone();
        for call in calls.calls.iter_mut().filter(|_| index > 0) {
            let salt = call.id.bytes().fold(index as u64, |h, b| hash(&[h, u64::from(b)]));
            call.id = format!("chatcmpl-tool-{salt:016x}");
        }
        calls
    }

    /// What each token of the whole markup shows of the calls: first id, type, index and name, then the arguments.
    pub(super) fn fragments(&self, steps: &[Step]) -> Vec<Vec<Value>> {
        let mut spans = Vec::new();
        let mut from = 0;
        for call in &self.calls {
            let named = from + OPEN.len() + call.name.len();
            let start = named + BETWEEN.len();
            spans.push((named, start, start + call.arguments.len()));
            from += call.markup().len() + 1;
        }
        let mut end = 0;
        let texts = talk::raw_texts(steps);
        let shown = texts.iter().zip(steps).map(|(text, step)| {
            let begin = end;
            end += if talk::is_end(step) { 0 } else { text.len() };
            let mut deltas = Vec::new();
            for (index, (call, (named, start, stop))) in self.calls.iter().zip(&spans).enumerate() {
                if (begin..end).contains(named) {
                    deltas.push(json!({"id": call.id, "type": "function", "index": index, "function": {"name": call.name}}));
                }
                let (a, b) = (begin.max(*start), end.min(*stop));
                if let Some(fragment) = self.markup.get(a..b).filter(|fragment| !fragment.is_empty()) {
                    deltas.push(json!({"index": index, "function": {"arguments": fragment}}));
                }
            }
            deltas
        });
        shown.collect()
    }
}

impl Call {
    fn new(tool: &Value, name: String, question: &str) -> Checked<Call> {
        let none = json!({"type": "object", "properties": {}});
        let schema = tool["function"].get("parameters").filter(|p| !p.is_null()).unwrap_or(&none);
        let arguments = grammar::instance(schema, proper_name(question), hash(&[name.len() as u64]))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let salt = name.bytes().fold(0, |h, b| hash(&[h, u64::from(b)]));
        Ok(Call {
            id: format!("chatcmpl-tool-{:016x}", hash(&[now, salt])),
            name,
            arguments: arguments.to_string(),
        })
    }

    fn markup(&self) -> String {
        format!("{OPEN}{}{BETWEEN}{}{CLOSE}", self.name, self.arguments)
    }

    pub(super) fn value(&self) -> Value {
        json!({"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}})
    }
}

fn shares_a_word(name: &str, question: &str) -> bool {
    let question = question.to_lowercase();
    name.split(|c: char| !c.is_alphanumeric())
        .any(|word| word.len() > 3 && question.contains(&word.to_lowercase()))
}

/// The last capitalised word of a question, behind its first.
fn proper_name(question: &str) -> &str {
    let words = question.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).skip(1);
    words.filter(|word| word.starts_with(char::is_uppercase)).last().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::text::{Plan, Sampling, generate};

    fn body(choice: Value) -> Map<String, Value> {
        let tool = |name: &str| {
            json!({"type": "function", "function": {"name": name, "parameters": {"type": "object",
                "properties": {"city": {"type": "string"}}, "required": ["city"]}}})
        };
        let body = json!({
            "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
            "tools": [tool("get_time"), tool("get_weather")], "tool_choice": choice,
        });
        body.as_object().expect("an object").clone()
    }

    fn planned(choice: Value) -> Option<Calls> {
        let body = body(choice);
        let way = way(&body, true).expect("a parser")?;
        Calls::planned(&body, &way).expect("schemas")
    }

    #[test]
    fn the_tool_that_fits_the_question_is_called_with_what_the_question_names() {
        for choice in [
            json!("auto"),
            json!("required"),
            json!({"type": "function", "function": {"name": "get_weather"}}),
        ] {
            let calls = planned(choice).expect("a call").calls;
            assert_eq!((calls.len(), calls[0].name.as_str()), (1, "get_weather"));
            assert_eq!(calls[0].arguments, r#"{"city":"Paris"}"#);
        }
        assert_eq!(planned(json!("none")), None);
    }

    #[test]
    fn the_fragments_put_together_are_the_calls() {
        let calls = planned(json!("required")).expect("a call");
        let sampling = Sampling { max_tokens: 500, ..Sampling::default() };
        let made = generate(&[9], &Plan::Say(calls.markup.clone()), &sampling, 0);
        let fragments: Vec<Value> = calls.fragments(&made.steps).into_iter().flatten().collect();
        assert_eq!(fragments[0]["function"], json!({"name": "get_weather"}));
        let arguments: Vec<&str> =
            fragments.iter().filter_map(|f| f["function"]["arguments"].as_str()).collect();
        assert_eq!(arguments.concat(), calls.calls[0].arguments);
        assert!(arguments.len() > 2);
    }

    #[test]
    fn without_a_parser_a_call_is_refused_and_its_absence_is_not() {
        assert!(way(&body(json!("auto")), false).is_err());
        assert_eq!(way(&body(json!("none")), false), Ok(None));
    }
}
