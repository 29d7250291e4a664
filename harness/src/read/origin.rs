//! Where a resolved value was written: [`Origin`]. Must not know what the value is for.
//!
//! 解析后值的出处。

use crate::diag::{Place, Problem};

/// From a JSON pointer into a resolved spec to the line that somebody wrote, through the layers it was merged
/// from (overrides, the case itself, the file's defaults).
#[derive(Debug, Clone, Default)]
pub struct Origin {}

impl Origin {
    /// The place of the value at `pointer`, or of its nearest ancestor that was written down.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        let _ = pointer;
        None
    }

    /// A problem with the value at `pointer`.
    pub fn problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        Problem { place: self.place(pointer), message: message.into(), help: None, snippet: None }
    }

    /// The lines round the value at `pointer`, rendered with their numbers and a marker under the value, as
    /// they stand in a failure's text.
    pub fn snippet(&self, pointer: &str, label: &str) -> Option<String> {
        let _ = (pointer, label);
        None
    }
}
