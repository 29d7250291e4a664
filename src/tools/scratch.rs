//! A folder that did not exist before and is gone afterwards: [`Scratch`]. What a tool writes has not passed the
//! redactor, so it lies nowhere that anybody keeps. Must not know what is written.
//!
//! 临时目录：全新、用完即删。

use std::sync::atomic::{AtomicU32, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

/// A new, empty folder; gone when this is dropped.
#[derive(Debug)]
pub(super) struct Scratch(Utf8PathBuf);

impl Scratch {
    /// # Errors
    /// When it cannot be made, in one line.
    pub(super) fn new(name: &str) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let all = std::env::temp_dir();
        let all = Utf8PathBuf::from_path_buf(all)
            .map_err(|path| format!("the folder for temporary files is no text: {}", path.display()))?;
        let (process, now) = (std::process::id(), jiff::Timestamp::now().as_nanosecond());
        let path = all.join(format!("{name}-{process}-{now}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        // Fails where there is something already: what a tool finds there would be somebody else's.
        std::fs::create_dir(&path).map_err(|error| format!("cannot create {path}: {error}"))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Utf8Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the system's to tidy up: it lies among temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
