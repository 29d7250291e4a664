//! What must not leave: one [`Redactor`] sits in the one writer through which journal, artifacts, logs and
//! console pass. Must not know where a secret comes from.
//!
//! It is given whole documents or whole lines, never pieces of them: a secret that is split over two calls
//! would slip through. The run folder keeps to that: it writes documents whole and buffers lines.
//!
//! 脱敏：唯一的写出口上的密钥遮盖。

mod forms;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use aho_corasick::AhoCorasick;
use regex::Regex;
use serde_json::Value;

/// What stands in the place of a secret.
pub const MASK: &str = "***";

/// A shorter text is no secret: masking it would eat the words round it. As long as the mask plus one, so
/// that masking always shortens.
const SHORTEST: usize = MASK.len() + 1;

/// A line of a secret of several lines is masked by itself from this length on: logs are written line by line.
const SHORTEST_LINE: usize = 8;

/// Masks secrets in text: those it was told, and what looks like one (bearer tokens, `sk-…` keys, credentials
/// and keys in URLs).
///
/// ```
/// # use st_harness::redact::Redactor;
/// let redactor = Redactor::new().secret("hunter22").address("http://10.1.2.3:8000/v1");
/// assert_eq!(redactor.redact("hunter22 at http://10.1.2.3:8000/v1"), "*** at http://***/v1");
/// ```
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Vec<String>,
    known: Option<AhoCorasick>,
    addresses: Vec<Regex>,
    /// Those that became known on the way, to every clone at once.
    found: Arc<RwLock<Vec<Regex>>>,
    notes: Vec<String>,
}

impl Redactor {
    /// Knows no secret yet, only what secrets look like.
    pub fn new() -> Self {
        Self::default()
    }

    /// Masks `text` wherever it stands, as it is and JSON-, XML-, percent- and base64-encoded; white space round it does not
    /// belong to it. A text of fewer than four characters is refused with a [note](Self::notes).
    #[must_use]
    pub fn secret(mut self, text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return self;
        }
        if text.chars().count() < SHORTEST {
            self.notes.push(format!(
                "a secret of {} characters is not masked: it would eat ordinary words; use one of at least {SHORTEST}",
                text.chars().count(),
            ));
            return self;
        }
        self.needles.extend(forms::of(text));
        let lines = text.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
        self.needles.extend(lines.flat_map(forms::of));
        self.needles.sort();
        self.needles.dedup();
        match AhoCorasick::new(&self.needles) {
            Ok(known) => self.known = Some(known),
            Err(error) => self.notes.push(format!("a secret cannot be searched for: {error}")),
        }
        self
    }

    /// Masks host and port of `url` wherever they stand. A host of one word (`node`, `localhost`) is masked
    /// only beside its port or after `://`: alone it is an ordinary word. What is no URL with a host is
    /// refused with a note.
    #[must_use]
    pub fn address(mut self, url: &str) -> Self {
        match address_pattern(url) {
            Some(pattern) => self.addresses.push(pattern),
            None => self.notes.push(
                "an address to mask is not of the form scheme://host[:port]; it is not masked".to_owned(),
            ),
        }
        self
    }

    /// The same for an address that becomes known while the run goes on, such as that of a server that was just
    /// started; from now on it is masked by every clone of this redactor. Gives whether `url` is one.
    pub fn found_address(&self, url: &str) -> bool {
        let pattern = address_pattern(url);
        let found = pattern.is_some();
        self.found.write().unwrap_or_else(PoisonError::into_inner).extend(pattern);
        found
    }

    /// What could not be masked as asked, without the texts themselves.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// `text`, a whole document or whole lines, with every secret masked.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let text = self.mask_known(Cow::Borrowed(text));
        match self.mask_patterns(&text) {
            // A mask beside other text might spell a secret: look again.
            Some(masked) => self.mask_known(Cow::Owned(masked)),
            None => text,
        }
    }

    /// The same for a JSON document or a line of JSON, which stays JSON: only its strings are searched for the
    /// known secrets, so that digits of a measured number that happen to be a secret's survive. A text that is
    /// not JSON is masked as any other.
    pub fn redact_json<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !text.contains("\\u") && matches!(self.redact(text), Cow::Borrowed(_)) {
            return Cow::Borrowed(text);
        }
        if !is_json(text) {
            return self.redact(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(quote) = rest.find('"') {
            let (before, string) = rest.split_at(quote);
            let (string, after) = string.split_at(end_of_string(string));
            masked.push_str(before);
            masked.push_str(&self.redact_json_string(string));
            rest = after;
        }
        masked.push_str(rest);
        // What is only seen beside its key: `"authorization": "Bearer …"`.
        Cow::Owned(self.mask_patterns(&masked).filter(|text| is_json(text)).unwrap_or(masked))
    }

    /// A JSON string with its quotes, by what it says: in its escaped form a secret's backslash might be half of
    /// another's escape. What no text can say (a lone surrogate) is masked whole where it holds a secret.
    fn redact_json_string<'a>(&self, string: &'a str) -> Cow<'a, str> {
        let text: Option<String> = serde_json::from_str(string).ok();
        match (self.redact(text.as_deref().unwrap_or(string)), &text) {
            (Cow::Borrowed(_), _) => Cow::Borrowed(string),
            (Cow::Owned(masked), Some(_)) => Cow::Owned(Value::from(masked).to_string()),
            (Cow::Owned(_), None) => Cow::Owned(format!("\"{MASK}\"")),
        }
    }

    /// `value` with every string in it masked, keys too.
    pub fn redact_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.redact_owned(text)),
            Value::Array(items) => items.into_iter().map(|item| self.redact_value(item)).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(key, member)| (self.redact_owned(key), self.redact_value(member)))
                .collect(),
            other => other,
        }
    }

    /// `text` masked, without a copy where there is nothing to mask.
    pub fn redact_owned(&self, text: String) -> String {
        match self.redact(&text) {
            Cow::Borrowed(_) => text,
            Cow::Owned(masked) => masked,
        }
    }

    /// Masks the union of all matches: with overlapping secrets, masking one must not leave the other's tail.
    /// Until none is left, since a mask beside other text might spell a secret; each round shortens the text.
    fn mask_known<'a>(&self, mut text: Cow<'a, str>) -> Cow<'a, str> {
        let Some(known) = &self.known else { return text };
        loop {
            let spans =
                united(known.find_overlapping_iter(text.as_ref()).map(|found| (found.start(), found.end())));
            if spans.is_empty() {
                return text;
            }
            let mut masked = String::with_capacity(text.len());
            let mut done = 0;
            for (start, end) in spans {
                masked.push_str(&text[done..start]);
                masked.push_str(MASK);
                done = end;
            }
            masked.push_str(&text[done..]);
            text = Cow::Owned(masked);
        }
    }

    fn mask_patterns(&self, text: &str) -> Option<String> {
        let mut masked: Option<String> = None;
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        for pattern in PATTERNS.iter().chain(&self.addresses).chain(&*found) {
            let now = masked.as_deref().unwrap_or(text);
            if let Cow::Owned(next) = pattern.replace_all(now, "${keep}***${tail}") {
                masked = Some(next);
            }
        }
        masked
    }
}

impl fmt::Debug for Redactor {
    /// Counts only: a secret must not leave through a debug print either.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} forms, {} addresses)", self.needles.len(), self.addresses.len())
    }
}

/// What looks like a secret; `keep` and `tail` stay. None of them crosses a quote or a backslash, so that JSON
/// stays JSON, and none matches `$API_KEY`.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // Authorization: Bearer …, in a header, a JSON member or a curl line.
        r#"(?i)(?P<keep>\bauthorization\\?["']?\s*[:=]\s*\\?["']?(?:bearer|basic|token)\s+)[A-Za-z0-9._~+/=-]+(?P<tail>)"#,
        // Alone, only where it is too long for a word of prose.
        r"(?P<keep>\bBearer\s+)[A-Za-z0-9._~+/=-]{16,}(?P<tail>)",
        // X-Api-Key: …
        r#"(?i)(?P<keep>\b(?:x-)?api-key\\?["']?\s*[:=]\s*\\?["']?)[A-Za-z0-9._~+/=-]{4,}(?P<tail>)"#,
        // Keys with the prefixes of OpenAI, Hugging Face and GitHub.
        r"(?P<keep>)\b(?:sk-[A-Za-z0-9_-]{16,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,})(?P<tail>)",
        // scheme://user:password@host
        r#"(?P<keep>://)[^\s/?\#"'\\<>@]+(?P<tail>@)"#,
        // ?api_key=…
        r#"(?i)(?P<keep>[?&](?:api[_-]?key|access[_-]?token|token|key|secret|password)=)[^\s&\#"'\\<>]+(?P<tail>)"#,
    ]
    .iter()
    .map(|pattern| Regex::new(pattern).expect("the patterns are written down here and compile in every test"))
    .collect()
});

/// What finds host and port of `url`; nothing where it has no host.
fn address_pattern(url: &str) -> Option<Regex> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            (host, Some(port))
        }
        _ => (authority, None),
    };
    if host.is_empty() {
        return None;
    }
    let host_text = regex::escape(host);
    let port_text = port.map(|port| format!("(?::|%3A){port}"));
    let pattern = match &port_text {
        _ if host.starts_with('[') => {
            format!("(?P<keep>){host_text}(?:{})?", port_text.unwrap_or_default())
        }
        // A dotted name or a number: also alone, or beside another port.
        port if host.contains('.') => {
            format!(r"(?P<keep>\b|%2F){host_text}(?:{})?\b", port.as_deref().unwrap_or_default())
        }
        Some(port) => format!(r"(?:(?P<keep>://){host_text}(?:{port})?|\b{host_text}{port})\b"),
        None => format!(r"(?P<keep>://){host_text}\b"),
    };
    Regex::new(&format!("(?i){pattern}(?P<tail>)")).ok()
}

/// `spans` without overlaps; touching ones become one.
fn united(spans: impl Iterator<Item = (usize, usize)>) -> Vec<(usize, usize)> {
    let mut spans: Vec<_> = spans.collect();
    spans.sort_unstable();
    spans.into_iter().fold(Vec::new(), |mut united: Vec<(usize, usize)>, (start, end)| {
        match united.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => united.push((start, end)),
        }
        united
    })
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Where the JSON string ends, closing quote included, that `text` begins with.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    let closing = |byte: u8| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    };
    text.bytes().skip(1).position(closing).map_or(text.len(), |inside| inside + 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "hunter22-Über/\"key\"";

    #[test]
    fn a_text_without_secrets_is_not_copied() {
        let redactor = Redactor::new().secret(KEY);
        assert!(matches!(
            redactor.redact("curl -H \"Authorization: Bearer $API_KEY\" $BASE_URL"),
            Cow::Borrowed(_)
        ));
    }

    #[test]
    fn a_secret_is_masked_in_every_form_it_may_be_written_in() {
        let redactor = Redactor::new().secret(KEY);
        let json = serde_json::json!({ "sent": KEY }).to_string();
        let json_in_json = serde_json::json!({ "body": json }).to_string();
        for text in [
            format!("key {KEY}."),
            json,
            json_in_json,
            "?q=hunter22-%C3%9Cber%2F%22key%22&n=1".to_owned(),
            "Basic dXNlcjpodW50ZXIyMi3DnGJlci8ia2V5Ig==".to_owned(), // user:<KEY>
        ] {
            let masked = redactor.redact(&text);
            assert!(masked.contains(MASK), "{masked}");
            for tell in ["hunter", "ber", "eXIyMi"] {
                assert!(!masked.contains(tell), "{tell} in {masked}");
            }
        }
    }

    #[test]
    fn overlapping_secrets_leave_no_tail() {
        let redactor = Redactor::new().secret("abcdef").secret("defghi");
        assert_eq!(redactor.redact("x abcdefghi y"), "x *** y");
    }

    #[test]
    fn a_secret_spelt_by_a_mask_is_masked_too() {
        let redactor = Redactor::new().secret("abcd").secret("<***>");
        assert_eq!(redactor.redact("<abcd>"), "***");
    }

    #[test]
    fn a_secret_too_short_is_refused_with_a_note_that_does_not_tell_it() {
        let redactor = Redactor::new().secret(" xyz\n").secret("");
        assert_eq!(redactor.redact("xyz"), "xyz");
        assert_eq!(redactor.notes().len(), 1);
        assert!(redactor.notes()[0].contains("3 characters"), "{:?}", redactor.notes());
        assert!(!redactor.notes()[0].contains("xyz"));
    }

    #[test]
    fn white_space_round_a_secret_does_not_belong_to_it() {
        assert_eq!(Redactor::new().secret("hunter22\n").redact("[hunter22]"), "[***]");
    }

    #[test]
    fn the_lines_of_a_secret_of_several_lines_are_masked_one_by_one() {
        let redactor = Redactor::new().secret("-----BEGIN-----\nMIIEvQIBADAN\n-----END-----");
        assert_eq!(redactor.redact("log: MIIEvQIBADAN"), "log: ***");
    }

    #[test]
    fn what_looks_like_a_secret_is_masked_and_what_is_about_it_stays() {
        let redactor = Redactor::new();
        for (text, expected) in [
            ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
            (r#"{"authorization": "Bearer abc"}"#, r#"{"authorization": "Bearer ***"}"#),
            (r#"{\"Authorization\":\"Bearer abc\"}"#, r#"{\"Authorization\":\"Bearer ***\"}"#),
            ("authorization: basic dXNlcjpwdw==", "authorization: basic ***"),
            ("sent Bearer 0123456789abcdef0", "sent Bearer ***"),
            ("X-Api-Key: 12345", "X-Api-Key: ***"),
            ("key sk-proj-0123456789abcdef.", "key ***."),
            ("hf_abcdefghijklmnopqrst", "***"),
            ("http://me:pw@host:80/x", "http://***@host:80/x"),
            ("https://x/y?a=1&api_key=k&b=2", "https://x/y?a=1&api_key=***&b=2"),
            ("GET /p?token=abc HTTP/1.1", "GET /p?token=*** HTTP/1.1"),
        ] {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn ordinary_text_is_left_alone() {
        let redactor = Redactor::new();
        for text in [
            "Bearer tokens are basic",
            "task-management and sk-learn",
            "mail a@b.c, http://host/a@b",
            r#"{"token": "hello", "logprob": -0.1}"#,
            "Authorization: Bearer $API_KEY",
        ] {
            assert_eq!(redactor.redact(text), text);
        }
    }

    #[test]
    fn an_address_that_is_found_on_the_way_is_masked_from_then_on_by_every_clone() {
        let redactor = Redactor::new();
        let clone = redactor.clone();
        assert_eq!(clone.redact("at 10.1.2.3:30090"), "at 10.1.2.3:30090");
        assert!(redactor.found_address("http://10.1.2.3:30090/v1"));
        assert_eq!(clone.redact("at 10.1.2.3:30090"), "at ***");
        assert!(!redactor.found_address("nowhere"));
    }

    #[test]
    fn addresses_are_masked_with_their_port_and_alone() {
        let redactor = Redactor::new()
            .address("http://10.1.2.3:8000/v1")
            .address("https://gw.example.org")
            .address("http://node:9091")
            .address("http://[fe80::1]:8000");
        for (text, expected) in [
            ("POST http://10.1.2.3:8000/v1/chat", "POST http://***/v1/chat"),
            ("dial 10.1.2.3: refused", "dial ***: refused"),
            ("10.1.2.30 and 110.1.2.3", "10.1.2.30 and 110.1.2.3"),
            ("http%3A%2F%2F10.1.2.3%3A8000", "http%3A%2F%2F***"),
            ("https://GW.example.org/x", "https://***/x"),
            ("http://node:9091/metrics, http://node/", "http://***/metrics, http://***/"),
            ("node:9091 is a node", "*** is a node"),
            ("http://[fe80::1]:8000/", "http://***/"),
        ] {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn an_address_that_is_none_is_told() {
        assert_eq!(Redactor::new().address("localhost").notes().len(), 1);
        assert_eq!(Redactor::new().address("http:///v1").notes().len(), 1);
    }

    #[test]
    fn json_stays_json_when_a_secret_is_a_number() {
        let redactor = Redactor::new().secret("12345");
        let text = r#"{"key":"12345","\"12345":[12345,"a\\"],"n":0.123456}"#;
        assert_eq!(redactor.redact_json(text), r#"{"key":"***","\"***":[12345,"a\\"],"n":0.123456}"#);
        assert_eq!(redactor.redact_json("no json: 12345"), "no json: ***");
        assert_eq!(redactor.redact_json("\"12345\""), "\"***\"");
        assert_eq!(redactor.redact_json(r#"{"x-api-key": 1234}"#), r#"{"x-api-key": 1234}"#);
    }

    #[test]
    fn a_backslash_of_a_secret_does_not_break_an_escape_of_the_text() {
        let redactor = Redactor::new().secret(r"\/\\");
        let text = serde_json::json!({ "beside": r"\/\", "secret": r"\/\\" }).to_string();
        assert_eq!(redactor.redact_json(&text), r#"{"beside":"\\/\\","secret":"***"}"#);
    }

    #[test]
    fn a_secret_is_masked_however_it_is_escaped() {
        let redactor = Redactor::new().secret("hunter22");
        assert_eq!(redactor.redact_json(r#"["hunter\u00322", "\u0032"]"#), r#"["***", "\u0032"]"#);
    }

    #[test]
    fn a_string_that_is_no_text_is_masked_whole() {
        let redactor = Redactor::new().secret("hunter22");
        assert_eq!(redactor.redact_json(r#"["\ud800 hunter22", "\ud800"]"#), r#"["***", "\ud800"]"#);
    }

    #[test]
    fn a_debug_print_does_not_tell_a_secret() {
        assert!(!format!("{:?}", Redactor::new().secret("hunter22")).contains("hunter22"));
    }

    #[test]
    fn a_mebibyte_is_searched_in_well_under_a_second_or_two() {
        let redactor = Redactor::new().secret(KEY).secret("another-secret").address("http://10.0.0.1:1");
        let text = "The quick brown fox said http://x/y?z=1 and jumped. ".repeat(20_000);
        let start = std::time::Instant::now();
        assert_eq!(redactor.redact(&text), text);
        assert!(start.elapsed() < std::time::Duration::from_secs(2), "{:?}", start.elapsed());
    }

    proptest! {
        #[test]
        fn no_output_contains_a_registered_secret(
            secrets in prop::collection::vec("[ab*\"=/-]{4,7}|\\PC{4,12}", 1..4),
            noise in prop::collection::vec("[ab*\"=/:?& -]{0,9}|\\PC{0,9}|Bearer |://", 1..8),
            order in prop::collection::vec((0usize..8, 0usize..4), 1..10),
        ) {
            let secrets: Vec<String> = secrets.iter().map(|s| s.trim().to_owned()).collect();
            let redactor = secrets.iter().fold(Redactor::new(), |redactor, s| redactor.secret(s));
            let text: String = order
                .iter()
                .flat_map(|(n, s)| [noise[n % noise.len()].as_str(), secrets[s % secrets.len()].as_str()])
                .collect();
            let masked = redactor.redact(&text);
            for secret in secrets.iter().filter(|s| s.chars().count() >= SHORTEST) {
                prop_assert!(!masked.contains(secret.as_str()), "{secret:?} in {masked:?} from {text:?}");
            }
        }

        #[test]
        fn json_text_stays_json_and_says_the_same_as_its_masked_value(
            secret in "[a-z\"\\\\/é]{4,8}",
            texts in prop::collection::vec("[a-z\"\\\\/é]{0,6}", 1..5),
        ) {
            let redactor = Redactor::new().secret(&secret);
            let value = serde_json::json!({ "texts": texts, "whole": format!("<{secret}>"), "n": 1.5 });
            let text = value.to_string();
            let masked: Value = serde_json::from_str(&redactor.redact_json(&text)).expect("still JSON");
            prop_assert_eq!(&masked["n"], &value["n"]);
            prop_assert!(!masked["whole"].as_str().expect("a string").contains(&secret));
        }
    }
}
