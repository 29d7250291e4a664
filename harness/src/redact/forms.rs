//! The shapes in which a secret may turn up in text: [`of`] lists them. Must not know how they are searched.
//!
//! 密钥在文本中的各种写法。

/// Fewer base64 characters than this say too little to be told from ordinary text.
const SHORTEST_CORE: usize = 8;

/// `secret` as it is, JSON-escaped (once and twice, with and without `\u`), XML-escaped, percent-encoded and
/// in base64. Sorted, without duplicates.
pub(super) fn of(secret: &str) -> Vec<String> {
    let json = json_escaped(secret);
    let mut forms = vec![
        secret.to_owned(),
        json_escaped(&json),
        json.replace('/', "\\/"),
        json_ascii(&json),
        json,
        secret.replace('"', "\"\""),
        xml_escaped(secret),
        percent_encoded(secret, "0123456789ABCDEF"),
        percent_encoded(secret, "0123456789abcdef"),
    ];
    for alphabet in [STANDARD, URL_SAFE] {
        forms.push(base64(secret.as_bytes(), alphabet));
        forms.extend((0..3).filter_map(|shift| base64_core(secret.as_bytes(), shift, alphabet)));
    }
    forms.sort();
    forms.dedup();
    forms
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As a writer does that keeps to ASCII.
fn json_ascii(escaped: &str) -> String {
    escaped.chars().fold(String::new(), |mut out, c| {
        if c.is_ascii() {
            out.push(c);
        } else {
            let mut units = [0; 2];
            out.extend(c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
        out
    })
}

fn xml_escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

fn percent_encoded(text: &str, digits: &str) -> String {
    let digits = digits.as_bytes();
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(digits[usize::from(byte >> 4)]));
            out.push(char::from(digits[usize::from(byte & 15)]));
        }
        out
    })
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Without padding, so that it is found with and without.
fn base64(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let sextet = |chunk: &[u8], at: usize| {
        let bits =
            chunk.iter().enumerate().fold(0u32, |bits, (i, byte)| bits | u32::from(*byte) << (16 - 8 * i));
        char::from(alphabet[(bits >> (18 - 6 * at)) as usize & 63])
    };
    bytes.chunks(3).flat_map(|chunk| (0..=chunk.len()).map(move |at| sextet(chunk, at))).collect()
}

/// What every base64 text holds that has `bytes` somewhere in it, `shift` bytes after a multiple of three:
/// the characters that depend on `bytes` alone. `user:password` of basic authentication is found so.
fn base64_core(bytes: &[u8], shift: usize, alphabet: &[u8; 64]) -> Option<String> {
    let shifted = [&[0; 2][..shift], bytes].concat();
    let encoded = base64(&shifted, alphabet);
    let first = (shift * 8).div_ceil(6);
    let last = shifted.len() * 8 / 6;
    (last >= first + SHORTEST_CORE).then(|| encoded[first..last].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard_without_padding() {
        for (text, expected) in
            [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(text.as_bytes(), STANDARD), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff], STANDARD), "+/8");
        assert_eq!(base64(&[0xfb, 0xff], URL_SAFE), "-_8");
    }

    #[test]
    fn a_secret_is_found_in_base64_at_any_offset() {
        let forms = of("s3cret-value");
        for before in ["", "a", "ab", "abc", "user:"] {
            let text = base64(format!("{before}s3cret-value@tail").as_bytes(), STANDARD);
            assert!(forms.iter().any(|form| text.contains(form.as_str())), "{before:?}: {text}");
        }
    }

    #[test]
    fn the_forms_are_those_that_other_writers_produce() {
        let forms = of("a\"b/ü&c");
        for expected in [
            "a\"b/ü&c",
            "a\\\"b/ü&c",
            "a\\\"b\\/ü&c",
            "a\\\"b/\\u00fc&c",
            "a&quot;b/ü&amp;c",
            "a%22b%2F%C3%BC%26c",
        ] {
            assert!(forms.iter().any(|form| form == expected), "{expected} is not among {forms:#?}");
        }
    }
}
