//! The door that `cargo test` opens: [`st`], the `main` of a crate's `tests/st.rs`.
//! Must not know how a run is assembled: [`assemble`](crate::assemble) does that for both doors.
//!
//! `cargo test` 的入口。

use std::process::ExitCode;

use camino::Utf8PathBuf;
use clap::Parser as _;
use st_harness::{diag::Problems, journal::Event, libtest::Cli, report::Report, suite::Suite, terminal};

use crate::{
    assemble::{Assembly, Door},
    client::Target,
    config::{Environment, Flags},
    levels::Levels,
};

/// System tests of the crate at `root`, whose `cases/` and `configs/` they are.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     vllm_cibench::st(env!("CARGO_MANIFEST_DIR")).main()
/// }
/// ```
pub fn st(root: impl Into<Utf8PathBuf>) -> St {
    St { assembly: Assembly::new(root) }
}

/// System tests to be.
pub struct St {
    assembly: Assembly,
}

impl St {
    /// Adds a suite of the caller's own, whose cases lie in `cases/<kind>/`.
    #[must_use]
    pub fn suite<S: Suite<Target>>(mut self, suite: S) -> Self {
        self.assembly = self.assembly.suite(suite);
        self
    }

    /// Adds a report of the caller's own.
    #[must_use]
    pub fn report<R: Report + 'static>(mut self, report: R) -> Self {
        self.assembly = self.assembly.report(report);
        self
    }

    /// Reads the command line and the environment, runs, and returns what cargo expects.
    pub fn main(self) -> ExitCode {
        if let Some(served) = crate::null::at_the_door().or_else(crate::perf::drive::at_the_door) {
            return served;
        }
        let (args, flags) = Cli::<Flags>::parse().split();
        match self.assembly.session(&flags, &Environment::of_process(), Door::CargoTest) {
            Ok(session) => {
                let levels = Levels::default();
                let hear = move |event: &Event| {
                    if let Some(table) = levels.hear(event) {
                        terminal::say(&table);
                    }
                };
                ExitCode::from(session.listen(hear).run(&args).under_cargo_test())
            }
            Err(problems) => {
                terminal::say(&format!("{:#}", Problems::from(problems)));
                ExitCode::from(st_harness::exit::Exit::Usage.code())
            }
        }
    }
}
