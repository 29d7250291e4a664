//! A file that was read: [`Source`]. Must not know what kind of file it is.
//!
//! 已读取的文件：文本、值与位置。

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::Value;

use super::{
    events,
    map::{SourceMap, Span, parent},
};
use crate::diag::{Excerpt, Place, Problem};

/// A YAML file: its text, what it says, and where each of its values stands.
#[derive(Debug, Clone)]
pub struct Source {
    file: Utf8PathBuf,
    text: String,
    root: Value,
    map: SourceMap,
}

impl Source {
    /// Reads the file at `path`, shown to people relative to `root` where it lies below it.
    ///
    /// # Errors
    /// When it cannot be read, or is no YAML that reads the same to everybody.
    pub fn load(root: &Utf8Path, path: &Utf8Path) -> Result<Self, Vec<Problem>> {
        let shown = path.strip_prefix(root).unwrap_or(path);
        let bytes = std::fs::read(path)
            .map_err(|error| vec![Problem::new(format!("cannot read {shown}: {error}"))])?;
        let text = String::from_utf8(bytes).map_err(|error| vec![not_utf8(shown, &error)])?;
        Self::parse(shown, text)
    }

    /// Reads `text` as the content of `file`.
    ///
    /// # Errors
    /// All that is wrong with the text: syntax up to the first place where the parser cannot go on; duplicate
    /// keys, merge keys, tags, aliases, keys that are no text, numbers that JSON cannot hold, a second document.
    pub fn parse(file: impl Into<Utf8PathBuf>, text: impl Into<String>) -> Result<Self, Vec<Problem>> {
        let text = text.into();
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        let file = file.into();
        if let Some(at) = lone_carriage_return(&text) {
            let place = place_of_byte(&file, text.as_bytes(), at);
            let problem = Problem::new("a carriage return without its line feed").at(place);
            return Err(vec![problem.with_help("save the file with the line ends of Unix or Windows")]);
        }
        let document = events::read(&text);
        let source = Self { file, text, root: document.root, map: document.map };
        if document.faults.is_empty() {
            return Ok(source);
        }
        let problems = document.faults.into_iter().map(|fault| {
            let problem = source.problem_at(fault.span, fault.message);
            Problem { help: fault.help, ..problem }
        });
        Err(problems.collect())
    }

    /// The path as people know it.
    pub fn file(&self) -> &Utf8Path {
        &self.file
    }

    /// What the file says; null for an empty one.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Whether the file says nothing at all.
    pub fn is_empty(&self) -> bool {
        self.root.is_null()
    }

    /// Whether somebody wrote a value at `pointer`.
    pub fn holds(&self, pointer: &str) -> bool {
        self.map.get(pointer).is_some()
    }

    /// The place of the value at `pointer`; of its nearest ancestor where nobody wrote one.
    pub fn place(&self, pointer: &str) -> Place {
        self.place_of(self.nearest(pointer, |marks| Some(marks.value)))
    }

    /// The place of the key at `pointer`, or of the value where it has none.
    pub fn key_place(&self, pointer: &str) -> Place {
        self.place_of(self.nearest(pointer, |marks| Some(marks.key.unwrap_or(marks.value))))
    }

    /// A problem with the value at `pointer`.
    pub fn problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        self.shown(self.place(pointer), message)
    }

    /// A problem with the key at `pointer`.
    pub fn key_problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        self.shown(self.key_place(pointer), message)
    }

    /// The lines of `place`, for showing.
    pub(crate) fn excerpt(&self, place: &Place, label: impl Into<String>) -> Excerpt {
        let text = self.text.lines().nth(place.line as usize - 1).unwrap_or_default();
        Excerpt { first_line: place.line, text: text.replace('\t', " "), label: label.into() }
    }

    fn problem_at(&self, span: Span, message: impl Into<String>) -> Problem {
        self.shown(self.place_of(span), message)
    }

    fn shown(&self, place: Place, message: impl Into<String>) -> Problem {
        let excerpt = Some(self.excerpt(&place, ""));
        Problem { place: Some(place), message: message.into(), help: None, excerpt }
    }

    fn nearest(&self, pointer: &str, choose: impl Fn(super::map::Marks) -> Option<Span>) -> Span {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.map.get(pointer).and_then(&choose) {
                return span;
            }
            match parent(pointer) {
                Some(shorter) => pointer = shorter,
                None => return Span { start: 0, end: 0, line: 1, column: 1 },
            }
        }
    }

    /// At least one character, at most to the end of the first line.
    fn place_of(&self, span: Span) -> Place {
        let written = self.text[span.start..span.end].lines().next().unwrap_or_default().trim_end();
        let length = u32::try_from(written.chars().count()).unwrap_or(u32::MAX).max(1);
        Place { file: self.file.clone(), line: span.line, column: span.column, length }
    }
}

/// YAML ends a line there, editors do not: lines would be counted differently.
fn lone_carriage_return(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).find(|at| bytes[*at] == b'\r' && bytes.get(at + 1) != Some(&b'\n'))
}

fn not_utf8(file: &Utf8Path, error: &std::string::FromUtf8Error) -> Problem {
    let place = place_of_byte(file, error.as_bytes(), error.utf8_error().valid_up_to());
    Problem::new("the file is not UTF-8 text").at(place).with_help("save it as UTF-8")
}

/// The place of one byte, all before it being UTF-8.
fn place_of_byte(file: &Utf8Path, bytes: &[u8], at: usize) -> Place {
    let before = &bytes[..at];
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let column = 1 + String::from_utf8_lossy(last).chars().count();
    Place {
        file: file.to_owned(),
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        length: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(bytes: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("its name is UTF-8");
        std::fs::write(root.join("a.yaml"), bytes).expect("it can be written");
        let problems = Source::load(root, &root.join("a.yaml")).err().unwrap_or_default();
        problems
            .iter()
            .map(|problem| format!("{} {}", problem.place.as_ref().expect("a place"), problem.message))
            .collect()
    }

    #[test]
    fn a_file_is_named_relative_to_its_root() {
        assert_eq!(load(b"a: !x 1\n"), ["a.yaml:1:4 the YAML tag `!x` is not read here"]);
    }

    #[test]
    fn bytes_that_are_no_text_are_told_where_they_begin() {
        assert_eq!(load("a: 1\nb: 中".as_bytes()), Vec::<String>::new());
        assert_eq!(load(b"a: 1\nb: \xe4\xb8\xad\xff\n"), ["a.yaml:2:5 the file is not UTF-8 text"]);
        assert_eq!(load(b"a: 1\r\nb: 1\rc: 2\n"), ["a.yaml:2:5 a carriage return without its line feed"]);
    }

    #[test]
    fn a_missing_file_is_told_by_name() {
        let problems = Source::load("/".into(), "/no/such.yaml".into()).expect_err("there is none");
        assert!(problems[0].message.starts_with("cannot read no/such.yaml: "), "{problems:?}");
    }
}
