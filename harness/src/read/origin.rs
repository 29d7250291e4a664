//! Where a resolved value was written: [`Origin`]. Must not know what the value is for.
//!
//! 解析后值的出处。

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{map::parent, source::Source};
use crate::diag::{self, Place, Problem};

/// From a JSON pointer into a resolved spec to the line that somebody wrote, through the layers it was merged
/// from (overrides, the case itself, the file's defaults). Cheap to clone. The default one knows no file.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<Layers>>);

struct Layers {
    source: Arc<Source>,
    /// Where each layer lies in the file, strongest first.
    prefixes: Vec<String>,
}

impl Origin {
    /// The values below `prefix` (a JSON pointer, empty for all of it) in `source`.
    pub fn of(source: Arc<Source>, prefix: impl Into<String>) -> Self {
        Self::layered(source, vec![prefix.into()])
    }

    /// Values that were merged from several places of one file, strongest first.
    pub fn layered(source: Arc<Source>, prefixes: Vec<String>) -> Self {
        Self(Some(Arc::new(Layers { source, prefixes })))
    }

    /// The same with one more layer, stronger than all: what stands at `pointer` of `holder`.
    #[must_use]
    pub fn over(&self, holder: &Self, pointer: &str) -> Self {
        let Some((_, written)) = holder.find(pointer) else { return self.clone() };
        self.map(|layers| std::iter::once(written).chain(layers.prefixes.iter().cloned()).collect())
    }

    /// The origin of what lies below `pointer`.
    #[must_use]
    pub fn below(&self, pointer: &str) -> Self {
        self.map(|layers| layers.prefixes.iter().map(|prefix| format!("{prefix}{pointer}")).collect())
    }

    fn map(&self, prefixes: impl FnOnce(&Layers) -> Vec<String>) -> Self {
        Self(self.0.as_ref().map(|layers| {
            Arc::new(Layers { source: Arc::clone(&layers.source), prefixes: prefixes(layers) })
        }))
    }

    /// The file, where there is one.
    pub fn source(&self) -> Option<&Arc<Source>> {
        self.0.as_ref().map(|layers| &layers.source)
    }

    /// The place of the value at `pointer`, or of its nearest ancestor that was written down.
    pub fn place(&self, pointer: &str) -> Option<Place> {
        let (source, written) = self.find(pointer)?;
        Some(source.place(&written))
    }

    /// The place of the key at `pointer`; of the value where it has no key.
    pub fn key_place(&self, pointer: &str) -> Option<Place> {
        let (source, written) = self.find(pointer)?;
        Some(source.key_place(&written))
    }

    /// A problem with the value at `pointer`.
    pub fn problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        match self.find(pointer) {
            Some((source, written)) => source.problem(&written, message),
            None => unplaced(pointer, message),
        }
    }

    /// A problem with the key at `pointer`.
    pub fn key_problem(&self, pointer: &str, message: impl Into<String>) -> Problem {
        match self.find(pointer) {
            Some((source, written)) => source.key_problem(&written, message),
            None => unplaced(pointer, message),
        }
    }

    /// The line of the value at `pointer`, rendered with its number and a marker under the value, as it stands
    /// in a failure's text.
    pub fn snippet(&self, pointer: &str, label: &str) -> Option<String> {
        let (source, written) = self.find(pointer)?;
        let place = source.place(&written);
        let excerpt = source.excerpt(&place, label);
        Some(diag::render_excerpt(&place, &excerpt))
    }

    /// The pointer into the file of what `pointer` means in the merged value: the strongest layer that holds it,
    /// else the deepest ancestor that any layer holds. A layer that holds something other than a mapping on the
    /// way hides the weaker ones, as it does when they are merged.
    fn find(&self, pointer: &str) -> Option<(&Source, String)> {
        let layers = self.0.as_ref()?;
        let source = layers.source.as_ref();
        let mut best: Option<(usize, String)> = None;
        for prefix in &layers.prefixes {
            let Some((depth, written)) = deepest(source, prefix, pointer) else { continue };
            let complete = depth == pointer.len();
            let hides = !matches!(source.root().pointer(&written), Some(Value::Object(_)));
            if best.as_ref().is_none_or(|(held, _)| depth > *held) {
                best = Some((depth, written));
            }
            if complete || hides {
                break;
            }
        }
        best.map(|(_, written)| (source, written))
    }
}

/// How much of `pointer` the layer at `prefix` holds, and where.
fn deepest(source: &Source, prefix: &str, pointer: &str) -> Option<(usize, String)> {
    let mut held = pointer;
    loop {
        let written = format!("{prefix}{held}");
        if source.holds(&written) {
            return Some((held.len(), written));
        }
        held = parent(held)?;
    }
}

/// Without a file, the pointer is all there is to say where.
fn unplaced(pointer: &str, message: impl Into<String>) -> Problem {
    let message = message.into();
    Problem::new(if pointer.is_empty() { message } else { format!("at {pointer}: {message}") })
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(layers) => write!(f, "Origin({} {:?})", layers.source.file(), layers.prefixes),
            None => f.write_str("Origin(no file)"),
        }
    }
}
