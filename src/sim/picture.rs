//! A model that sees: each picture stands in the prompt as words that only this picture has ([`named`]). Must not know
//! what is in one.
//!
//! 看得见图片的模型：每张图在提示词中以唯一的名字出现。

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::chance::hash;

/// How the pictures begin that are taken: PNG, JPEG, GIF, WebP.
const HEADS: [&[u8]; 4] = [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF"];

/// `body` with every picture in its messages replaced by its name. What is none stays as it is, and is refused.
pub(super) fn named(mut body: Map<String, Value>) -> Map<String, Value> {
    let messages = body.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten();
    let parts = messages.filter_map(|message| message.get_mut("content")?.as_array_mut()).flatten();
    for part in parts {
        let url = part["image_url"]["url"].as_str();
        let data = url.and_then(|url| url.strip_prefix("data:image/")?.split_once(";base64,"));
        if let Some(name) = data.and_then(|(_, data)| name(data)) {
            *part = json!({"type": "text", "text": name});
        }
    }
    body
}

/// The name of a picture in base64; nothing where it is none.
pub(super) fn name(data: &str) -> Option<String> {
    let bytes = STANDARD.decode(data).ok()?;
    let is_picture = HEADS.iter().any(|head| bytes.starts_with(head));
    let key: Vec<u64> = data.bytes().map(u64::from).collect();
    is_picture.then(|| format!("<image {:016x}>", hash(&key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_has_a_name_of_its_own_and_what_is_none_has_none() {
        let picture = |last: u8| STANDARD.encode([b"\x89PNG\r\n\x1a\n".as_slice(), &[last]].concat());
        assert_eq!(name(&picture(1)), name(&picture(1)));
        assert_ne!(name(&picture(1)), name(&picture(2)));
        for none in ["", "aGVsbG8=", "@@@"] {
            assert_eq!(name(none), None, "{none}");
        }
    }
}
