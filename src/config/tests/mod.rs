//! Configuration as its users meet it: what a mistake looks like, and which source wins.
//!
//! 配置的整体测试：错误文本与优先级。

mod mistakes;
mod precedence;
mod shipped;

use camino::{Utf8Path, Utf8PathBuf};
use st_harness::{
    capability::{CapabilityId, Catalogue},
    diag::Problem,
};

use super::{Environment, Flags, Settings};

/// A root that holds `files`: path and text.
struct Root(tempfile::TempDir);

impl Root {
    fn with(files: &[(&str, &str)]) -> Self {
        let root = Self(tempfile::tempdir().expect("a folder"));
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    fn path(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("a UTF-8 path").to_owned()
    }

    fn resolve(&self, flags: &Flags, environment: &[(&str, &str)]) -> Result<Settings, Vec<Problem>> {
        let environment = Environment::from_pairs(environment.iter().copied());
        Settings::resolve(flags, &environment, &self.path(), &catalogue())
    }
}

fn catalogue() -> Catalogue {
    Catalogue(
        ["chat.tools", "chat.logprobs", "completions.suffix"].map(|id| CapabilityId(id.into())).to_vec(),
    )
}
