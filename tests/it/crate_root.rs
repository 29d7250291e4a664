//! A root of cases and configs made for one test, and the command run in it with an environment of its own.
//!
//! 测试用的临时工程根目录。

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use tempfile::TempDir;

/// A folder with `cases/` and `configs/`, thrown away with the test.
pub(crate) struct CrateRoot {
    folder: TempDir,
}

/// What a command left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl CrateRoot {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Writes a file, creating its folder.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
        self
    }

    /// `vllm-cibench ARGS` in this root, with nothing in its environment that could steer it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = clean(Command::new(env!("CARGO_BIN_EXE_vllm-cibench")));
        command.current_dir(self.folder.path()).args(args);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().expect("the command starts"))
    }

    /// The folder of the newest run below `artifacts/`.
    pub(crate) fn run_folder(&self) -> PathBuf {
        let newest = |folder: PathBuf| {
            let mut all: Vec<PathBuf> =
                std::fs::read_dir(&folder).expect("runs").map(|entry| entry.expect("a run").path()).collect();
            all.sort();
            all.pop().expect("a run")
        };
        newest(newest(self.path().join("artifacts")))
    }

    /// A file of the newest run.
    pub(crate) fn left(&self, name: &str) -> String {
        let path = self.run_folder().join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Takes out of the environment whatever would steer a run: this test may itself run in a CI, or under nextest.
pub(crate) fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let steers =
            ["VLLM_CIBENCH_", "NEXTEST", "GITHUB_", "PROM_"].iter().any(|prefix| name.starts_with(prefix));
        if steers || name == "CI" {
            command.env_remove(name);
        }
    }
    command
}

/// `cargo COMMAND --test st` on this crate, with the features that this test was built with: with others it would
/// put another command in the place of the one that the tests run, while they run.
pub(crate) fn cargo_st(command: &[&str]) -> Command {
    let built = [("kube", cfg!(feature = "kube")), ("tokenizers", cfg!(feature = "tokenizers"))];
    let features: Vec<&str> = built.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    let mut cargo = clean(Command::new(env!("CARGO")));
    cargo.args(command).args(["--test", "st", "--features", &features.join(",")]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo
}

/// One functional case of one expectation.
pub(crate) fn one_case(expect: &str) -> String {
    format!(
        "cases:\n  - id: hello\n    endpoint: chat\n    request:\n      messages: [{{role: user, content: Say hello.}}]\n      \
         max_tokens: 8\n      temperature: 0\n    expect:\n      - {expect}\n"
    )
}
