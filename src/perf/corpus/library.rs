//! The files of data sets and tokenizers, each read once however many cases name it: [`Library`]. Must not know what is
//! asked of them.
//!
//! 数据集文件缓存：同一文件只读一次。

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use camino::{Utf8Path, Utf8PathBuf};

use super::File;
use crate::perf::{prompt::FileCount, spec::Layout};

type Known = HashMap<(Utf8PathBuf, &'static str), Result<Arc<File>, String>>;

/// Files below a root.
#[derive(Debug, Default)]
pub(crate) struct Library {
    root: Utf8PathBuf,
    known: Mutex<Known>,
    tokenizers: Mutex<HashMap<Utf8PathBuf, Result<Arc<FileCount>, String>>>,
}

impl Library {
    /// Paths are relative to `root`.
    pub(crate) fn new(root: impl Into<Utf8PathBuf>) -> Self {
        Self { root: root.into(), ..Self::default() }
    }

    /// The file at `path`.
    ///
    /// # Errors
    /// As [`File::read`].
    pub(crate) fn file(&self, path: &Utf8Path, layout: Layout) -> Result<Arc<File>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || File::read(&self.root.join(path), layout).map(Arc::new);
        known.entry((path.to_owned(), layout.name())).or_insert_with(read).clone()
    }

    /// The tokenizer at `path`.
    ///
    /// # Errors
    /// As [`FileCount::read`].
    pub(crate) fn tokenizer(&self, path: &Utf8Path) -> Result<Arc<FileCount>, String> {
        let mut known = self.tokenizers.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || FileCount::read(&self.root.join(path)).map(Arc::new);
        known.entry(path.to_owned()).or_insert_with(read).clone()
    }
}
