//! Which route answers what: the table of routes, and the answers that need no model (health, models, version,
//! tokens). Must not know how an answer is sent.
//!
//! 路由表与不涉及生成的接口。

use super::options::Options;
use super::reply::Reply;
use super::server::{Asked, Server};
use super::tokenizer::{self, Id};
use super::validate::{self, Checked, Refusal};
use super::{chat, completions, embeddings, messages, responses, shape};
use serde_json::{Map, Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// The version that the simulator stands in for.
const VERSION: &str = "0.32.0";

/// What a route does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Chat,
    Completions,
    Responses,
    Messages,
    CountTokens,
    Embeddings,
    Models,
    Health,
    Ping,
    Version,
    Load,
    Metrics,
    Tokenize,
    Detokenize,
    Log,
}

/// Every route, with the methods that it answers.
const ROUTES: [(&str, &[&str], Route); 15] = [
    ("/v1/chat/completions", &["POST"], Route::Chat),
    ("/v1/completions", &["POST"], Route::Completions),
    ("/v1/responses", &["POST"], Route::Responses),
    ("/v1/messages", &["POST"], Route::Messages),
    ("/v1/messages/count_tokens", &["POST"], Route::CountTokens),
    ("/v1/embeddings", &["POST"], Route::Embeddings),
    ("/v1/models", &["GET"], Route::Models),
    ("/health", &["GET"], Route::Health),
    ("/ping", &["GET", "POST"], Route::Ping),
    ("/version", &["GET"], Route::Version),
    ("/load", &["GET"], Route::Load),
    ("/metrics", &["GET"], Route::Metrics),
    ("/tokenize", &["POST"], Route::Tokenize),
    ("/detokenize", &["POST"], Route::Detokenize),
    ("/sim/log", &["GET"], Route::Log),
];

/// Whether requests to this path are counted and timed as generation.
pub(super) fn generates(path: &str) -> bool {
    let generate = [Route::Chat, Route::Completions, Route::Responses, Route::Messages];
    ROUTES.iter().any(|(known, _, route)| *known == path && generate.contains(route))
}

/// The answer to any request.
pub(super) fn answer(server: &Server, asked: &Asked<'_>) -> Reply {
    let features = &server.options.capabilities;
    let found = ROUTES.iter().find(|(path, ..)| *path == asked.path).filter(|(_, _, route)| match route {
        Route::Tokenize | Route::Detokenize => features.tokenize,
        Route::Metrics => features.metrics,
        Route::Embeddings => features.embeddings,
        _ => true,
    });
    let stored = asked.path.strip_prefix("/v1/responses/").filter(|_| asked.method == "GET");
    if let Some(id) = stored {
        return responses::not_stored(id).reply();
    }
    let one = asked.path.strip_prefix("/v1/models/").filter(|_| asked.method == "GET" && features.models_get);
    if let Some(id) = one {
        return model(&server.options, id).unwrap_or_else(|refusal| refusal.reply());
    }
    let Some((path, methods, route)) = found else { return Reply::detail(404, "Not Found") };
    if !methods.contains(&asked.method) {
        let mut reply = Reply::detail(405, "Method Not Allowed");
        reply.headers.push(("allow", methods.join(", ")));
        return reply;
    }
    if path.starts_with("/v1") && !server.admits(asked.headers) {
        return Reply::json(401, json!({"error": "Unauthorized"}));
    }
    dispatch(server, asked, *route).unwrap_or_else(|refusal| refusal.reply())
}

fn dispatch(server: &Server, asked: &Asked<'_>, route: Route) -> Checked<Reply> {
    let options = &server.options;
    Ok(match route {
        Route::Chat => chat::answer(server, asked, body(asked)?)?,
        Route::Completions => completions::answer(server, asked, body(asked)?)?,
        Route::Responses => responses::answer(server, asked, body(asked)?)?,
        Route::Messages => messages::answer(server, asked, body(asked)?)?,
        Route::CountTokens => messages::count_tokens(&body(asked)?)?,
        Route::Embeddings => embeddings::answer(server, &body(asked)?)?,
        Route::Tokenize => tokenize(server, &body(asked)?)?,
        Route::Detokenize => detokenize(server, &body(asked)?)?,
        Route::Models => models(&options.model, options.max_model_len),
        Route::Health | Route::Ping => Reply::empty(200),
        Route::Version => Reply::json(200, json!({ "version": VERSION })),
        Route::Load => Reply::json(200, json!({ "server_load": server.load() })),
        Route::Metrics => {
            Reply::text(200, "text/plain; version=1.0.0; charset=utf-8", server.metrics.text(&options.model))
        }
        Route::Log => Reply::json(200, json!(server.log())),
    })
}

fn body(asked: &Asked<'_>) -> Checked<Map<String, Value>> {
    let kind = asked.headers.get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
    if kind.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Refusal::bad("Unsupported Media Type: Only 'application/json' is allowed"));
    }
    shape::object(asked.body)
}

fn models(model: &str, max_model_len: u32) -> Reply {
    Reply::json(200, json!({"object": "list", "data": [card(model, max_model_len)]}))
}

/// One of them.
fn model(options: &Options, id: &str) -> Checked<Reply> {
    if id != options.model {
        return Err(Refusal::not_found(id, &options.model));
    }
    Ok(Reply::json(200, card(id, options.max_model_len)))
}

fn card(model: &str, max_model_len: u32) -> Value {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let permission = json!({
        "id": "modelperm-0000000000000001", "object": "model_permission", "created": created,
        "allow_create_engine": false, "allow_sampling": true, "allow_logprobs": true, "allow_search_indices": false,
        "allow_view": true, "allow_fine_tuning": false, "organization": "*", "group": null, "is_blocking": false,
    });
    json!({
        "id": model, "object": "model", "created": created, "owned_by": "vllm", "root": model, "parent": null,
        "max_model_len": max_model_len, "permission": [permission],
    })
}

fn served(server: &Server, body: &Map<String, Value>) -> Checked<()> {
    match body.get("model").and_then(Value::as_str) {
        Some(other) if other != server.options.model => Err(Refusal::not_found(other, &server.options.model)),
        _ => Ok(()),
    }
}

/// `{prompt}` as text, `{messages}` through the chat template.
fn tokenize(server: &Server, body: &Map<String, Value>) -> Checked<Reply> {
    served(server, body)?;
    let text = match (body.get("prompt"), body.get("messages")) {
        (Some(Value::String(text)), _) => text.clone(),
        (_, Some(Value::Array(_))) => chat::prompt(body)?,
        _ => return Err(Refusal::bad("Either `prompt` or `messages` must be given, as a string or a list.")),
    };
    let tokens = tokenizer::encode(&text);
    let texts: Vec<String> = tokens.iter().map(|id| tokenizer::decode(&[*id])).collect();
    let texts = if validate::flag(body, "return_token_strs") { json!(texts) } else { Value::Null };
    Ok(Reply::json(
        200,
        json!({
            "count": tokens.len(), "max_model_len": server.options.max_model_len, "tokens": tokens, "token_strs": texts,
        }),
    ))
}

fn detokenize(server: &Server, body: &Map<String, Value>) -> Checked<Reply> {
    served(server, body)?;
    let given = validate::list(body, "tokens");
    let id = |v: &Value| v.as_u64().map(|n| Id::try_from(n).unwrap_or(Id::MAX));
    let tokens: Option<Vec<Id>> = given.iter().map(id).collect();
    match tokens {
        Some(tokens) if body.get("tokens").is_some_and(Value::is_array) => {
            Ok(Reply::json(200, json!({"prompt": tokenizer::decode(&tokens)})))
        }
        _ => Err(Refusal::bad("`tokens` must be a list of integers, 0 or more")),
    }
}
