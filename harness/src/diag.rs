//! Mistakes in files that people write: [`Problem`] says what was expected, what was found, where, and what
//! to do next; [`Problems`] are all of them, over all files. Must not know where files come from or what they
//! mean.
//!
//! 用户文件中的错误：期望、实际、位置与下一步。

use std::{collections::BTreeSet, fmt};

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet,
    renderer::{AnsiColor, Effects, Style},
};
use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

/// A position in a file that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Path as the person knows it: relative to the root of cases and configs where it lies below it.
    pub file: Utf8PathBuf,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// How many characters on that line are meant; at least 1.
    pub length: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The lines of a file that are shown with a mistake, as they were when the file was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// Number of the first line of `text`, from 1.
    pub first_line: u32,
    /// Whole lines, the one that is meant among them.
    pub text: String,
    /// What stands beside the marker; may be empty.
    pub label: String,
}

/// One mistake, as its reader needs it.
///
/// ```text
/// error: unknown key `temprature`
///   --> cases/functional/chat_core.yaml:12:7
///    |
/// 12 |       temprature: 0
///    |       ^^^^^^^^^^ did you mean `temperature`?
///    |
///    = help: known keys here: `messages`, `temperature`
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; absent where no line is to blame (a missing file).
    pub place: Option<Place>,
    /// What was expected and what was found, in one line.
    pub message: String,
    /// What to do next, in one line.
    pub help: Option<String>,
    /// The lines of the file, and what to say beside the marker.
    pub excerpt: Option<Excerpt>,
}

impl Problem {
    /// A problem that no line is to blame for, so far.
    pub fn new(message: impl Into<String>) -> Self {
        Self { place: None, message: message.into(), help: None, excerpt: None }
    }

    /// The same at `place`.
    #[must_use]
    pub fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// The same with what to do next.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with `label` beside the marker; without lines to mark, the label becomes part of the message.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        let label = label.into();
        match &mut self.excerpt {
            Some(excerpt) => excerpt.label = label,
            None => self.message = format!("{}: {label}", self.message),
        }
        self
    }

    /// The whole report of it, without a final line break; `colour` asks for ANSI escapes.
    pub fn render(&self, colour: bool) -> String {
        let mut group = Group::with_title(Level::ERROR.primary_title(&self.message));
        if let Some(place) = &self.place {
            group = match &self.excerpt {
                Some(excerpt) => group.element(marked(place, excerpt)),
                None => group.element(
                    Origin::path(place.file.as_str())
                        .line(place.line as usize)
                        .char_column(place.column as usize),
                ),
            };
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help));
        }
        rendered(&[group], colour)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// The marked lines alone: what a failure's text shows of the expectation that did not hold.
pub(crate) fn render_excerpt(place: &Place, excerpt: &Excerpt) -> String {
    // What is said beside the marker is said above it too: where a line has no room for it, it is left out.
    let end = (place.column + place.length) as usize + excerpt.label.chars().count();
    let label = if end > WIDTH - ROOM { String::new() } else { excerpt.label.clone() };
    let excerpt = Excerpt { label, ..excerpt.clone() };
    rendered(&[Group::with_level(Level::NOTE).element(marked(place, &excerpt))], false)
}

/// What stands before a line of a file, and what may stand before that: `  123 | `.
const ROOM: usize = 10;

/// Lines longer than this many columns are cut round their marker.
const WIDTH: usize = 78;

fn rendered(groups: &[Group<'_>], colour: bool) -> String {
    // Its own bright colours are not seen on white, and blue is not seen on black.
    let bold = Style::new().effects(Effects::BOLD);
    let red = AnsiColor::Red.on_default().effects(Effects::BOLD);
    let styled = Renderer::styled().error(red).help(bold).note(bold).line_num(bold);
    let renderer = if colour { styled } else { Renderer::plain() };
    renderer.term_width(WIDTH).render(groups)
}

fn marked<'a>(place: &'a Place, excerpt: &'a Excerpt) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let label = (!excerpt.label.is_empty()).then_some(excerpt.label.as_str());
    Snippet::source(&excerpt.text)
        .line_start(excerpt.first_line as usize)
        .path(place.file.as_str())
        .fold(false)
        .annotation(AnnotationKind::Primary.span(byte_range(place, excerpt)).label(label))
}

/// Where the characters that `place` means lie in the text of `excerpt`.
fn byte_range(place: &Place, excerpt: &Excerpt) -> std::ops::Range<usize> {
    let before = place.line.saturating_sub(excerpt.first_line) as usize;
    let line_start: usize = excerpt.text.split_inclusive('\n').take(before).map(str::len).sum();
    let line = excerpt.text[line_start..].lines().next().unwrap_or_default();
    let offset = |chars: u32| line.char_indices().nth(chars as usize).map_or(line.len(), |(byte, _)| byte);
    let first = place.column - 1;
    line_start + offset(first)..line_start + offset(first + place.length)
}

/// All mistakes of all files: sorted by place, each told once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the mistakes of `result`, or hands out its value.
    pub fn collect<T>(&mut self, result: Result<T, Vec<Problem>>) -> Option<T> {
        result.map_err(|problems| self.0.extend(problems)).ok()
    }

    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing where there is no mistake, else all of them, as [`Problems::into_vec`] has them.
    ///
    /// # Errors
    /// When there is at least one mistake.
    pub fn check(self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into_vec()) }
    }

    /// All of them, sorted by file, line and column; what is told twice of one place is told once.
    pub fn into_vec(self) -> Vec<Problem> {
        let mut seen = BTreeSet::new();
        let mut all = self.0;
        all.sort_by(|a, b| a.place.cmp(&b.place));
        all.retain(|problem| seen.insert((problem.place.clone(), problem.message.clone())));
        all
    }

    /// All of them and their number, ready for a terminal; `colour` asks for ANSI escapes.
    pub fn render(&self, colour: bool) -> String {
        let all = self.clone().into_vec();
        let mut text = String::new();
        for problem in &all {
            text.push_str(&problem.render(colour));
            text.push_str("\n\n");
        }
        let files: BTreeSet<_> =
            all.iter().filter_map(|problem| Some(&problem.place.as_ref()?.file)).collect();
        let mistakes = counted(all.len(), "mistake");
        let place =
            if files.is_empty() { String::new() } else { format!(" in {}", counted(files.len(), "file")) };
        text.push_str(&format!("{mistakes}{place}; nothing was run"));
        text
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        self.0.extend(problems);
    }
}

/// With `{:#}` for a terminal, in colours.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(f.alternate()))
    }
}

impl std::error::Error for Problems {}

fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(file: &str, line: u32) -> Problem {
        Problem::new("wrong").at(Place { file: file.into(), line, column: 1, length: 1 })
    }

    #[test]
    fn problems_are_sorted_and_each_is_told_once() {
        let all = Problems::from(vec![
            at("b.yaml", 1),
            at("a.yaml", 10),
            at("a.yaml", 9),
            at("b.yaml", 1),
            Problem::new("no file"),
        ]);
        let places: Vec<_> =
            all.clone().into_vec().iter().map(|p| p.place.as_ref().map(Place::to_string)).collect();
        assert_eq!(
            places,
            [None, Some("a.yaml:9:1".into()), Some("a.yaml:10:1".into()), Some("b.yaml:1:1".into())]
        );
        assert!(all.to_string().ends_with("4 mistakes in 2 files; nothing was run"), "{all}");
    }

    #[test]
    fn without_lines_the_place_is_told_alone() {
        assert_eq!(
            at("a.yaml", 3).with_label("mend it").to_string(),
            "error: wrong: mend it\n--> a.yaml:3:1"
        );
        assert_eq!(
            Problem::new("no file").with_help("write one").to_string(),
            "error: no file\n |\n = help: write one"
        );
    }

    #[test]
    fn colour_comes_only_when_asked_for() {
        assert!(!at("a.yaml", 3).render(false).contains('\u{1b}'));
        assert!(at("a.yaml", 3).render(true).contains('\u{1b}'));
    }
}
