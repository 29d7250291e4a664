//! Where each value of a file stands: [`SourceMap`], from JSON pointer to [`Marks`].
//! Must not know what the values are.
//!
//! 源码映射：JSON 指针 → 行列。

use std::{borrow::Cow, collections::HashMap};

/// A stretch of text, with the position of its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: usize,
    /// Byte after the last.
    pub(crate) end: usize,
    /// Line of the start, from 1.
    pub(crate) line: u32,
    /// Column of the start in characters, from 1.
    pub(crate) column: u32,
}

/// Where one value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Its key; list items and the root have none.
    pub(crate) key: Option<Span>,
    /// The value: all of a scalar or of a `{…}`, the first key or dash of a block.
    pub(crate) value: Span,
}

/// From a JSON pointer to where its value stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct SourceMap(HashMap<String, Marks>);

impl SourceMap {
    pub(crate) fn insert(&mut self, pointer: &str, marks: Marks) {
        self.0.insert(pointer.to_owned(), marks);
    }

    pub(crate) fn get(&self, pointer: &str) -> Option<Marks> {
        self.0.get(pointer).copied()
    }
}

/// One segment of a JSON pointer, escaped (RFC 6901).
pub(crate) fn escaped(segment: &str) -> Cow<'_, str> {
    if segment.contains(['~', '/']) {
        segment.replace('~', "~0").replace('/', "~1").into()
    } else {
        segment.into()
    }
}

/// The segments of a JSON pointer, as they are written in the value.
pub(super) fn segments(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect()
}

/// The pointer without its last segment; nothing for the root.
pub(crate) fn parent(pointer: &str) -> Option<&str> {
    pointer.rfind('/').map(|cut| &pointer[..cut])
}
