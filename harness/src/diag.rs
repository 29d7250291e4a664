//! Mistakes in files that people write: [`Problem`] says what was expected, what was found, where, and what
//! to do next. Must not know where files come from or what they mean.
//!
//! 用户文件中的错误：期望、实际、位置与下一步。

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

/// One mistake, as its reader needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where; absent where no line is to blame (a missing file).
    pub place: Option<Place>,
    /// What was expected and what was found, in one line.
    pub message: String,
    /// What to do next, in one line.
    pub help: Option<String>,
    /// The rendered lines of the file, with a marker under what is meant.
    pub snippet: Option<String>,
}
