//! `POST /v1/embeddings`, on a server that has it: [`answer`]. A text's vector is of length 1 and drawn from the text
//! itself, so that equal texts have equal vectors. Must not know generation.
//!
//! 向量接口：由文本哈希生成单位向量。

use super::chance::{Chance, hash};
use super::reply::Reply;
use super::server::Server;
use super::shape::Misfit;
use super::tokenizer;
use super::validate::{self, Checked, Refusal};
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// How long a vector is.
const DIMENSIONS: usize = 64;

pub(super) fn answer(server: &Server, body: &Map<String, Value>) -> Checked<Reply> {
    let served = server.options.model.as_str();
    match body.get("model").and_then(Value::as_str) {
        Some(other) if other != served => return Err(Refusal::not_found(other, served)),
        _ => {}
    }
    let texts = texts(body)?;
    let dimensions = dimensions(body)?;
    let encoded = match body.get("encoding_format").and_then(Value::as_str) {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => return Err(Refusal::param("encoding_format", "expected `float` or `base64`")),
    };
    let mut tokens = 0;
    let mut data = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let ids = tokenizer::encode(text);
        if ids.len() > server.options.max_model_len as usize {
            let limit = server.options.max_model_len;
            let message = format!(
                "This model's maximum context length is {limit} tokens. However, your input has {}.",
                ids.len()
            );
            return Err(Refusal::param("input", &message));
        }
        tokens += ids.len();
        let key: Vec<u64> = ids.iter().map(|id| u64::from(*id)).collect();
        let vector = vector(hash(&key), dimensions);
        let shown = if encoded { json!(packed(&vector)) } else { json!(vector) };
        data.push(json!({"index": index, "object": "embedding", "embedding": shown}));
    }
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0,
        "prompt_tokens_details": null});
    Ok(Reply::json(
        200,
        json!({"id": format!("embd-{tokens:016x}"), "object": "list", "created": 0, "model": served, "data": data, "usage": usage}),
    ))
}

fn texts(body: &Map<String, Value>) -> Checked<Vec<String>> {
    let wrong = |value: &Value| {
        Err(Refusal::shape(&[Misfit::new("string_type", "input", "Input should be a valid string", value)]))
    };
    let texts = match body.get("input") {
        None => {
            let input = Value::Object(body.clone());
            return Err(Refusal::shape(&[Misfit::new("missing", "input", "Field required", &input)]));
        }
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            match texts {
                Some(texts) => texts,
                None => return wrong(&body["input"]),
            }
        }
        Some(other) => return wrong(other),
    };
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(Refusal::param("input", "input must hold text"));
    }
    Ok(texts)
}

fn dimensions(body: &Map<String, Value>) -> Checked<usize> {
    match validate::int(body, "dimensions") {
        None => Ok(DIMENSIONS),
        Some(n) => usize::try_from(n).ok().filter(|n| (1..=DIMENSIONS).contains(n)).ok_or_else(|| {
            Refusal::param("dimensions", &format!("dimensions must be from 1 to {DIMENSIONS}, got {n}."))
        }),
    }
}

/// A shorter vector is the beginning of the longer one, brought to length 1 again.
fn vector(key: u64, dimensions: usize) -> Vec<f32> {
    let mut chance = Chance::new(key);
    let drawn: Vec<f64> = (0..dimensions).map(|_| chance.unit() * 2.0 - 1.0).collect();
    let length = drawn.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    drawn.iter().map(|x| (x / length) as f32).collect()
}

/// Little-endian floats of four bytes, in base64.
fn packed(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_of_length_one_at_any_dimension() {
        for dimensions in [1, 8, DIMENSIONS] {
            let length: f32 = vector(7, dimensions).iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-5, "{dimensions}: {length}");
        }
        assert_eq!(packed(&[1.0]), "AACAPw==");
    }
}
