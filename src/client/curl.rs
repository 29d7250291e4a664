//! The line that repeats a request by hand: [`curl_line`].
//! Must not know who shows it.
//!
//! 可复制的 curl 命令。

use std::fmt::Write as _;

use super::{Request, Route};

/// A `curl` command that sends `request` again, for a POSIX shell in which `BASE_URL` (ending in `/v1`) and
/// `API_KEY` are set. It holds no address and no key of ours.
pub fn curl_line(request: &Request) -> String {
    let (mut line, (feed, argument)) = (head(request), request.body.as_deref().map(data).unwrap_or_default());
    line.push_str(&argument);
    feed + &line
}

/// The same for a body that lies in `file`, because no command line holds it.
pub fn curl_line_from(request: &Request, file: &str) -> String {
    format!("{} --data-binary {}", head(request), quoted(&format!("@{file}")))
}

/// All but the body.
fn head(request: &Request) -> String {
    let mut line = String::from("curl -sS");
    if is_stream(request) {
        line.push_str(" -N");
    }
    let get_with_body = request.method == "GET" && request.body.is_some();
    let implied = if request.body.is_some() { "POST" } else { "GET" };
    if request.method != implied || get_with_body {
        let _ = write!(line, " -X {}", quoted(&request.method));
    }
    let _ = write!(line, " {}", url(&request.route));
    if !has(request, "authorization") {
        line.push_str(r#" -H "Authorization: Bearer $API_KEY""#);
    }
    for (name, value) in request.headers.iter().filter(|(name, value)| !is_no_key(name, value)) {
        // `Name;` is how curl sends a header without a value.
        let text = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
        let shown = if is_secret(name) { format!("\"{name}: $API_KEY\"") } else { quoted(&text) };
        let _ = write!(line, " -H {shown}");
    }
    if request.body.is_some() && !has(request, "content-type") {
        line.push_str(" -H 'Content-Type: application/json'");
    }
    line
}

/// Whether the header says that no key is to be sent.
fn is_no_key(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case("authorization") && value.is_empty()
}

fn is_stream(request: &Request) -> bool {
    let body =
        request.body.as_deref().and_then(|body| serde_json::from_slice::<serde_json::Value>(body).ok());
    body.is_some_and(|body| body["stream"] == true)
}

fn has(request: &Request, name: &str) -> bool {
    request.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name))
}

fn is_secret(name: &str) -> bool {
    ["x-api-key", "api-key"].iter().any(|secret| name.eq_ignore_ascii_case(secret))
}

fn url(route: &Route) -> String {
    let path = route.path();
    let slash = if path.starts_with('/') { "" } else { "/" };
    match route {
        Route::Api(_) => format!("\"$BASE_URL\"{}", quoted(&format!("{slash}{path}"))),
        Route::Root(_) => format!("\"${{BASE_URL%/v1}}\"{}", quoted(&format!("{slash}{path}"))),
    }
}

/// `text` for a POSIX shell; single quotes only where they are needed.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:,=+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The body's argument, and what has to feed it where no argument can hold the body.
fn data(body: &[u8]) -> (String, String) {
    match std::str::from_utf8(body) {
        // Not `--data-binary`, which takes a text that begins with `@` for a file.
        Ok(text) if !text.contains('\0') => (String::new(), format!(" --data-raw {}", quoted(text))),
        _ => {
            let octal: String = body.iter().map(|byte| format!("\\{byte:03o}")).collect();
            (format!("printf '{octal}' | "), " --data-binary @-".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn chat(body: &'static str) -> Request {
        Request::post(Route::Api("/chat/completions".into()), body)
    }

    #[test]
    fn a_stream_is_shown_unbuffered_and_quotes_survive_the_shell() {
        assert_eq!(
            curl_line(&chat(r#"{"stream":true,"stop":"it's"}"#)),
            r#"curl -sS -N "$BASE_URL"/chat/completions -H "Authorization: Bearer $API_KEY" -H 'Content-Type: application/json' --data-raw '{"stream":true,"stop":"it'\''s"}'"#
        );
    }

    #[test]
    fn what_lies_beside_the_api_is_found_from_the_parent() {
        let line = curl_line(&Request::get(Route::Root("/health".into())));
        assert_eq!(line, r#"curl -sS "${BASE_URL%/v1}"/health -H "Authorization: Bearer $API_KEY""#);
    }

    #[test]
    fn headers_of_the_case_replace_ours_and_keys_are_not_shown() {
        let mut request = Request { method: "PUT".into(), ..chat("{}") };
        request.headers =
            vec![("content-type".into(), "text/plain".into()), ("x-api-key".into(), "s3cret".into())];
        assert_eq!(
            curl_line(&request),
            r#"curl -sS -X PUT "$BASE_URL"/chat/completions -H "Authorization: Bearer $API_KEY" -H 'content-type: text/plain' -H "x-api-key: $API_KEY" --data-raw '{}'"#
        );
    }

    #[test]
    fn a_request_without_a_key_is_repeated_without_one_and_a_large_body_is_read_from_its_file() {
        let mut request = chat("{}");
        request.headers = vec![("authorization".into(), String::new())];
        assert_eq!(
            curl_line(&request),
            r#"curl -sS "$BASE_URL"/chat/completions -H 'Content-Type: application/json' --data-raw '{}'"#
        );
        assert_eq!(
            curl_line_from(&request, "trials/a.b/main.body"),
            r#"curl -sS "$BASE_URL"/chat/completions -H 'Content-Type: application/json' --data-binary @trials/a.b/main.body"#
        );
    }

    /// The words a shell makes of `line`, with `curl` replaced by something that prints its arguments and its input.
    fn words(line: &str) -> Vec<u8> {
        let script = format!(
            "curl() {{ for a; do last=$a; done; if [ \"$last\" = @- ]; then cat; else printf %s \"$last\"; fi; }}; {line}"
        );
        let run = Command::new("sh")
            .args(["-c", &script])
            .env("BASE_URL", "http://h/v1")
            .env("API_KEY", "k")
            .output();
        run.expect("a shell").stdout
    }

    #[test]
    fn a_shell_gives_curl_the_very_bytes_of_the_body() {
        for body in [
            &b"{}"[..],
            b"@/etc/passwd",
            b"it's $HOME `id` \\n \"x\"",
            b"a\nb\n\xe5\xa5\xbd",
            b"\x00\xff%s\\",
        ] {
            let request = Request::post(Route::Api("/x".into()), body.to_vec());
            assert_eq!(words(&curl_line(&request)), body, "{}", curl_line(&request));
        }
    }
}
