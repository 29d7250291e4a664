//! What `/metrics` says: an [`Exposition`], read strictly from the Prometheus text format (0.0.4, and the 1.0.0 that
//! vLLM announces for the same thing). Must not know which metrics a server has, nor what they mean.
//!
//! Prometheus 文本格式的严格解析。

use std::collections::BTreeMap;

/// Everything that one scrape told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition {
    types: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

/// One line with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name as it stands, with `_total`, `_bucket`, `_sum` or `_count` where it has them.
    pub name: String,
    /// In the order of the line.
    pub labels: Vec<(String, String)>,
    /// The value; may be NaN or infinite.
    pub value: f64,
}

/// A histogram, summed over the label sets that were chosen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    /// Upper bounds and how many observations are at or below each, in ascending order; `+Inf` is left out, since
    /// it says the same as `count`.
    pub below: Vec<(f64, f64)>,
    /// Sum of all observations.
    pub sum: f64,
    /// How many.
    pub count: f64,
}

/// A line that is not of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found {found:?}")]
pub struct ExpositionError {
    /// From 1.
    pub line: usize,
    /// What should stand there.
    pub expected: &'static str,
    /// What does, in its first 80 characters.
    pub found: String,
}

impl Exposition {
    /// Reads `text`.
    ///
    /// # Errors
    /// At the first line that is neither a comment nor a sample.
    pub fn parse(text: &str) -> Result<Self, ExpositionError> {
        let mut exposition = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix('#') {
                exposition.comment(comment.trim_start());
            } else if !line.is_empty() {
                let sample = Sample::parse(line).map_err(|expected| ExpositionError {
                    line: index + 1,
                    expected,
                    found: line.chars().take(80).collect(),
                })?;
                exposition.samples.push(sample);
            }
        }
        Ok(exposition)
    }

    /// `counter`, `gauge`, `histogram`… as the family's `# TYPE` line says.
    pub fn kind(&self, family: &str) -> Option<&str> {
        self.types.get(family).map(String::as_str)
    }

    /// The samples of this name.
    pub fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }

    /// The values of this name whose labels are `chosen`, added up; nothing where there is none.
    pub fn sum(&self, name: &str, chosen: impl Fn(&Sample) -> bool) -> Option<f64> {
        let values = self.samples(name).filter(|sample| chosen(sample)).map(|sample| sample.value);
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The histogram of this name over the samples that are `chosen`; nothing where there is none, or where one of
    /// its parts is missing.
    pub fn buckets(&self, name: &str, chosen: impl Fn(&Sample) -> bool) -> Option<Buckets> {
        let mut below: Vec<(f64, f64)> = Vec::new();
        for sample in self.samples(&format!("{name}_bucket")).filter(|sample| chosen(sample)) {
            let bound: f64 = sample.label("le")?.parse().ok()?;
            match below.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, count)) => *count += sample.value,
                None => below.push((bound, sample.value)),
            }
        }
        below.retain(|(bound, _)| bound.is_finite());
        below.sort_by(|one, other| one.0.total_cmp(&other.0));
        let part = |suffix: &str| self.sum(&format!("{name}{suffix}"), &chosen);
        Some(Buckets { below, sum: part("_sum")?, count: part("_count")? })
    }

    fn comment(&mut self, comment: &str) {
        if let Some((name, kind)) = comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' ')) {
            self.types.insert(name.to_owned(), kind.trim().to_owned());
        }
    }
}

impl Sample {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `name{a="b"} 1 1700000000000`; the time at the end is passed over. The error says what was expected.
    fn parse(line: &str) -> Result<Self, &'static str> {
        let end = line.find(|c: char| !is_name(c)).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err("a metric's name");
        }
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => labels(rest)?,
            None => (Vec::new(), rest),
        };
        // An OpenMetrics exemplar may follow a bucket.
        let mut words = rest.split(" # ").next().unwrap_or_default().split_whitespace();
        let value = words.next().and_then(number).ok_or("a number")?;
        let time_is_good = words.next().is_none_or(|time| time.parse::<f64>().is_ok());
        if !time_is_good || words.next().is_some() {
            return Err("nothing but a time after the value");
        }
        Ok(Self { name: name.to_owned(), labels, value })
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

/// Rust reads every spelling of the format: `+Inf`, `-Inf`, `NaN`, `1e5`; what else it reads is refused.
fn number(word: &str) -> Option<f64> {
    let legal = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let named = matches!(word, "+Inf" | "-Inf" | "Inf" | "NaN");
    (named || word.chars().all(legal)).then(|| word.parse().ok())?
}

/// Label names with their values.
type Labels = Vec<(String, String)>;

/// What stands between the braces, and what follows them.
fn labels(mut rest: &str) -> Result<(Labels, &str), &'static str> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once('=').ok_or("a label, or the closing brace")?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| is_name(c) && c != ':') {
            return Err("a label's name");
        }
        let (value, after) = quoted(after.trim_start())?;
        labels.push((name.to_owned(), value));
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next,
            None if rest.starts_with('}') => rest,
            None => return Err("a comma or the closing brace after a label"),
        };
    }
}

/// A value in quotes, without them and its escapes.
fn quoted(text: &str) -> Result<(String, &str), &'static str> {
    let inside = text.strip_prefix('"').ok_or("a label's value in quotes")?;
    let mut value = String::new();
    let mut characters = inside.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, &inside[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => return Err("one of \\n, \\\" and \\\\ after a backslash"),
            },
            plain => value.push(plain),
        }
    }
    Err("the closing quote of a label's value")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any(_: &Sample) -> bool {
        true
    }

    #[test]
    fn a_line_of_every_kind_is_read() {
        let text = "# HELP a_total Things, with {braces} and \"quotes\".\n# TYPE a_total counter\n\
                    a_total{k=\"v\",e=\"a\\\"b\\\\c\\nd\"} 3.0 1700000000000\n\n\
                    bare 1e3\ninf +Inf\nempty{} -2.5\ntrailing{k=\"v\",} 7\n# EOF\n";
        let read = Exposition::parse(text).unwrap();
        assert_eq!(read.kind("a_total"), Some("counter"));
        let first = read.samples("a_total").next().unwrap();
        assert_eq!((first.value, first.label("e")), (3.0, Some("a\"b\\c\nd")));
        assert_eq!(read.sum("bare", any), Some(1000.0));
        assert_eq!(read.sum("inf", any), Some(f64::INFINITY));
        assert_eq!((read.sum("empty", any), read.sum("trailing", any)), (Some(-2.5), Some(7.0)));
        assert_eq!(read.sum("nowhere", any), None);
    }

    #[test]
    fn a_line_that_is_none_is_told_with_its_number() {
        for (line, expected) in [
            ("a{k=\"v\" 1", "a comma or the closing brace after a label"),
            ("a{k=v} 1", "a label's value in quotes"),
            ("a{k=\"v} 1", "the closing quote of a label's value"),
            ("a{k=\"\\t\"} 1", "one of \\n, \\\" and \\\\ after a backslash"),
            ("a one", "a number"),
            ("a", "a number"),
            ("a 0x1", "a number"),
            ("a 1 2 3", "nothing but a time after the value"),
            ("{k=\"v\"} 1", "a metric's name"),
            ("<html>", "a metric's name"),
        ] {
            let error = Exposition::parse(&format!("ok 1\n{line}\n")).expect_err(line);
            assert_eq!((error.line, error.expected), (2, expected), "{line}");
        }
    }

    #[test]
    fn histograms_of_several_engines_are_added_up() {
        let text = "x_bucket{engine=\"0\",le=\"1.0\"} 1\nx_bucket{engine=\"0\",le=\"0.5\"} 1\n\
                    x_bucket{engine=\"0\",le=\"+Inf\"} 3\nx_sum{engine=\"0\"} 9.5\nx_count{engine=\"0\"} 3\n\
                    x_bucket{engine=\"1\",le=\"0.5\"} 0\nx_bucket{engine=\"1\",le=\"1.0\"} 2\n\
                    x_bucket{engine=\"1\",le=\"+Inf\"} 2\nx_sum{engine=\"1\"} 1.5\nx_count{engine=\"1\"} 2\n";
        let read = Exposition::parse(text).unwrap();
        let all = read.buckets("x", any).unwrap();
        assert_eq!(all, Buckets { below: vec![(0.5, 1.0), (1.0, 3.0)], sum: 11.0, count: 5.0 });
        let one = read.buckets("x", |sample| sample.label("engine") == Some("1")).unwrap();
        assert_eq!((one.count, one.sum), (2.0, 1.5));
        assert_eq!(read.buckets("y", any), None);
    }

    #[test]
    fn what_the_recorded_server_tells_is_read_whole() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/recordings/vllm-0.32.0/metrics.json");
        let recorded: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let chunks = recorded["response"]["chunks"].as_array().unwrap();
        let text: String = chunks.iter().filter_map(|chunk| chunk["text"].as_str()).collect();
        let read = Exposition::parse(&text).unwrap();
        assert_eq!(read.kind("vllm:time_to_first_token_seconds"), Some("histogram"));
        assert_eq!(read.sum("vllm:generation_tokens_total", any), Some(921.0));
        let first = read.buckets("vllm:time_to_first_token_seconds", any).unwrap();
        assert_eq!((first.below.len(), first.count > 0.0), (22, true));
        assert!(first.below.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
    }

    proptest! {
        #[test]
        fn any_text_at_all_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = Exposition::parse(&text);
        }

        #[test]
        fn a_label_comes_back_as_it_was_written(value in "\\PC{0,40}") {
            let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let read = Exposition::parse(&format!("a{{k=\"{escaped}\"}} 1")).unwrap();
            prop_assert_eq!(read.samples("a").next().unwrap().label("k"), Some(value.as_str()));
        }
    }
}
