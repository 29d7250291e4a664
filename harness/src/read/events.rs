//! From YAML text to a JSON value, in one pass over the parser's events: [`read`] keeps where everything stands
//! and refuses what would be read differently by different people. Must not know what the values mean.
//!
//! 单次遍历 YAML 事件：得到值、位置与结构性错误。

use std::collections::HashSet;

use granit_parser::{
    ErrorKind, Event, Parser, ScalarStyle, ScanError, StrInput, StructureStyle, Tag, options,
};
use serde_json::{Map, Value};

use super::{
    map::{Marks, SourceMap, Span, escaped},
    scalar::{self, Unrepresentable},
};

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) root: Value,
    pub(super) map: SourceMap,
    /// What is wrong with the text; where there is something, `root` may lack parts.
    pub(super) faults: Vec<Fault>,
}

/// A mistake that the text alone shows.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

/// Reads the one document of `text`. No document at all reads as null.
pub(super) fn read(text: &str) -> Document {
    let options = options! { emit_comments: false, emit_anchor_events: true, emit_unresolved_aliases: true };
    let mut reader = Reader {
        text,
        events: Parser::new_from_str_with_options(text, options),
        pointer: String::new(),
        document: Document::default(),
    };
    let outcome = reader.stream();
    let mut document = reader.document;
    if let Err(Stopped(fault)) = outcome {
        document.faults.push(*fault);
    }
    document
}

/// The parser cannot go on.
struct Stopped(Box<Fault>);

struct Reader<'t> {
    text: &'t str,
    events: Parser<'t, StrInput<'t>>,
    pointer: String,
    document: Document,
}

impl<'t> Reader<'t> {
    /// The next event that stands for something in the file.
    fn next(&mut self) -> Result<(Event<'t>, Span), Stopped> {
        loop {
            let (event, span) = match self.events.next() {
                Some(Ok(pair)) => pair,
                Some(Err(error)) => return Err(Stopped(Box::new(self.syntax(&error)))),
                None => return Ok((Event::StreamEnd, self.end())),
            };
            let tag = span.tag_span().map(|tag| self.span(tag));
            let span = self.span(span);
            if let Event::Anchor(_, name) = &event {
                let message = format!("the anchor `&{name}` is not read here: nothing can refer to it");
                self.fault(span, message, "write the value out, or move it to the defaults");
                continue;
            }
            if let Some(tag) = tag.filter(|_| is_tagged(&event)) {
                let message = format!("the YAML tag `{}` is not read here", &self.text[tag.start..tag.end]);
                self.fault(tag, message, "write the value without a tag; quote it to make text of it");
            }
            return Ok((event, span));
        }
    }

    fn stream(&mut self) -> Result<(), Stopped> {
        let mut documents = 0;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentStart(..) if documents == 1 => {
                    self.fault(
                        span,
                        "a second document begins here; a file holds one",
                        "move it to a file of its own",
                    );
                    return Ok(());
                }
                Event::DocumentStart(..) => {
                    documents += 1;
                    let first = self.next()?;
                    self.document.root = self.node(first, None)?;
                }
                Event::StreamEnd => {
                    if documents == 0 {
                        self.mark(None, Span { start: 0, end: self.text.len(), line: 1, column: 1 });
                    }
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    /// The value that begins with this event.
    fn node(&mut self, (event, span): (Event<'t>, Span), key: Option<Span>) -> Result<Value, Stopped> {
        match event {
            Event::Scalar(text, style, ..) => {
                self.mark(key, if span.start == span.end { key.unwrap_or(self.dash(span)) } else { span });
                Ok(self.scalar(&text, style, span))
            }
            Event::SequenceStart(style, ..) => self.sequence(style, span, key),
            Event::MappingStart(style, ..) => self.mapping(style, span, key),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let message = format!("the alias `{}` is not read here", &self.text[span.start..span.end]);
                self.fault(span, message, "write the value out, or move it to the defaults");
                self.mark(key, span);
                Ok(Value::Null)
            }
            // The parser yields a node wherever one is due.
            _ => Ok(Value::Null),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Value {
        if style != ScalarStyle::Plain {
            return Value::String(text.to_owned());
        }
        scalar::resolve(text).unwrap_or_else(|why| {
            let (message, help) = match why {
                Unrepresentable::NotFinite => (
                    format!("`{text}` is no finite number"),
                    "JSON has no such value; quote it to make text of it",
                ),
                Unrepresentable::TooLarge => (
                    format!("`{text}` does not fit into 64 bits"),
                    "write a smaller number, or quote it to make text of it",
                ),
            };
            self.fault(span, message, help);
            Value::Null
        })
    }

    fn sequence(&mut self, style: StructureStyle, start: Span, key: Option<Span>) -> Result<Value, Stopped> {
        let marks = self.mark(key, if style == StructureStyle::Block { self.dash(start) } else { start });
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                self.close(style, marks, span);
                return Ok(Value::Array(items));
            }
            let outer = self.descend(&items.len().to_string());
            items.push(self.node((event, span), None)?);
            self.pointer.truncate(outer);
        }
    }

    fn mapping(&mut self, style: StructureStyle, start: Span, key: Option<Span>) -> Result<Value, Stopped> {
        let mut marks = self.mark(key, start);
        let mut entries = Map::new();
        let mut seen = HashSet::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                self.close(style, marks, span);
                return Ok(Value::Object(entries));
            }
            if style == StructureStyle::Block && seen.is_empty() {
                marks = self.mark(key, span);
            }
            let name = self.key(event, span)?;
            let twice = !seen.insert(name.clone());
            if twice {
                let first = self.first_place(&name);
                let message = format!("the key `{name}` stands here a second time");
                self.fault(span, message, format!("the first one is on line {first}; keep one of them"));
            }
            let value = self.next()?;
            let outer = self.descend(&name);
            // The first one keeps its place: the second is only read to its end.
            let kept = if twice { Some(std::mem::take(&mut self.document.map)) } else { None };
            let value = self.node(value, Some(span))?;
            match kept {
                Some(map) => self.document.map = map,
                None => {
                    entries.insert(name, value);
                }
            }
            self.pointer.truncate(outer);
        }
    }

    /// The text of a key; a key that is no text is told and read as what it looks like.
    fn key(&mut self, event: Event<'t>, span: Span) -> Result<String, Stopped> {
        let written = self.text[span.start..span.end].to_owned();
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                let message = "the merge key `<<` is not read here".to_owned();
                self.fault(span, message, "write the keys out, or move them to the defaults");
            }
            Event::Scalar(text, ScalarStyle::Plain, ..)
                if !matches!(scalar::resolve(&text), Ok(Value::String(_))) =>
            {
                let message = format!("expected text as a key, found `{written}`");
                self.fault(span, message, format!("quote it: \"{written}\""));
                return Ok(text.into_owned());
            }
            Event::Scalar(text, ..) => return Ok(text.into_owned()),
            other => {
                self.fault(
                    span,
                    "expected text as a key, found a list, a mapping or an alias",
                    "a key is one word",
                );
                let outer = self.descend("");
                self.node((other, span), None)?;
                self.pointer.truncate(outer);
            }
        }
        Ok(written)
    }

    /// The line on which the mapping at hand has its first key `name`.
    fn first_place(&self, name: &str) -> u32 {
        let pointer = format!("{}/{}", self.pointer, escaped(name));
        self.document.map.get(&pointer).and_then(|marks| marks.key).map_or(0, |key| key.line)
    }

    fn descend(&mut self, segment: &str) -> usize {
        let outer = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&escaped(segment));
        outer
    }

    fn mark(&mut self, key: Option<Span>, value: Span) -> Marks {
        let marks = Marks { key, value };
        self.document.map.insert(&self.pointer, marks);
        marks
    }

    /// A `{…}` or `[…]` is meant as a whole; an empty block mapping cannot be written.
    fn close(&mut self, style: StructureStyle, marks: Marks, end: Span) {
        if style == StructureStyle::Flow {
            let value = Span { end: end.end, ..marks.value };
            self.document.map.insert(&self.pointer, Marks { value, ..marks });
        }
    }

    /// The dash that introduces what stands at `span`, where there is one on its line.
    fn dash(&self, span: Span) -> Span {
        if self.text[span.start..].starts_with('-') {
            return Span { end: span.start + 1, ..span };
        }
        let before = self.text[..span.start].trim_end_matches(' ');
        let back = (span.start - before.len() + 1) as u32;
        if before.ends_with('-') && back < span.column {
            Span { start: before.len() - 1, end: before.len(), line: span.line, column: span.column - back }
        } else {
            span
        }
    }

    fn fault(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.document.faults.push(Fault { span, message: message.into(), help: Some(help.into()) });
    }

    fn syntax(&self, error: &ScanError) -> Fault {
        let marker = *error.marker();
        let mut span = self.span(granit_parser::Span::empty(marker));
        let (message, help) = match error.kind() {
            ErrorKind::TabInBlockIndentation | ErrorKind::TabInPlainScalar => {
                span = self.tab_before(span);
                ("a tab in the indentation".to_owned(), Some("YAML is indented with spaces only"))
            }
            ErrorKind::MappingValueNotAllowed => (
                "a `key: value` cannot stand here".to_owned(),
                Some(
                    "check the indentation: keys of one mapping begin in the same column; quote text that has `: ` in it",
                ),
            ),
            ErrorKind::ExpectedBlockMappingKey => (
                "expected a key here".to_owned(),
                Some("check the indentation of this line and of those above"),
            ),
            kind => (kind.to_string(), None),
        };
        Fault { span, message, help: help.map(str::to_owned) }
    }

    /// The first tab of the white space that a line begins with, at or before `span`.
    fn tab_before(&self, span: Span) -> Span {
        let line_start = |at: usize| self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let tab_in = |start: usize| {
            let rest = &self.text[start..];
            rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()].find('\t')
        };
        let here = line_start(span.start);
        let next = self.text[here..].find('\n').map(|newline| here + newline + 1);
        for (start, line) in [(Some(here), span.line), (next, span.line + 1)] {
            if let Some((start, offset)) = start.and_then(|start| Some((start, tab_in(start)?))) {
                let at = start + offset;
                return Span { start: at, end: at + 1, line, column: offset as u32 + 1 };
            }
        }
        span
    }

    fn span(&self, span: granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(self.text.len()..self.text.len());
        Span {
            start: range.start,
            end: range.end,
            line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
            column: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
        }
    }

    fn end(&self) -> Span {
        Span { start: self.text.len(), end: self.text.len(), line: 1, column: 1 }
    }
}

fn is_tagged(event: &Event<'_>) -> bool {
    let tag: Option<&Tag> = match event {
        Event::Scalar(.., tag) | Event::SequenceStart(.., tag) | Event::MappingStart(.., tag) => {
            tag.as_deref()
        }
        _ => None,
    };
    tag.is_some()
}
