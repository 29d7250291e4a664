//! The one file that names `libtest_mimic`: its command line ([`Cli`]) and its runner ([`run`]).
//! Must not know what a trial does, nor that there is a journal.
//!
//! 唯一接触 libtest_mimic 的文件。

use camino::Utf8PathBuf;
use clap::Parser;
use libtest_mimic::{Arguments, ColorSetting, Completion, Failed, FormatSetting, Trial};

use crate::args::{Args, Color, Filter, Format, Ignored};

/// libtest's command line, with the domain's own flags `E` beside it.
#[derive(Debug, Parser)]
#[command(disable_version_flag = true)]
pub struct Cli<E: clap::Args> {
    #[command(flatten)]
    libtest: Arguments,

    /// The same as the positional FILTER.
    #[arg(long = "filter", value_name = "FILTER", conflicts_with = "filter")]
    named_filter: Option<String>,

    /// The domain's own flags.
    #[command(flatten)]
    pub own: E,
}

impl<E: clap::Args> Cli<E> {
    /// Splits the command line into what the harness and what the domain reads.
    pub fn split(self) -> (Args, E) {
        let libtest = self.libtest;
        let args = Args {
            filter: Filter {
                text: libtest.filter.or(self.named_filter),
                exact: libtest.exact,
                skip: libtest.skip,
            },
            list: libtest.list,
            ignored: match (libtest.ignored, libtest.include_ignored) {
                (_, true) => Ignored::Include,
                (true, false) => Ignored::Only,
                (false, false) => Ignored::Skip,
            },
            threads: libtest.test_threads,
            format: match (libtest.quiet, libtest.format) {
                (true, _) | (_, Some(FormatSetting::Terse)) => Format::Terse,
                (_, Some(FormatSetting::Json)) => Format::Json,
                _ => Format::Pretty,
            },
            color: match libtest.color {
                Some(ColorSetting::Always) => Color::Always,
                Some(ColorSetting::Never) => Color::Never,
                _ => Color::Auto,
            },
            log: libtest.logfile.map(Utf8PathBuf::from),
        };
        (args, self.own)
    }
}

/// A named trial, ready to be run by libtest.
pub struct Ready {
    /// Its name.
    pub name: String,
    /// Runs it.
    pub run: Box<dyn FnOnce() -> Line + Send>,
}

/// What libtest shows of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `ok`
    Ok,
    /// `ignored (why)`
    Ignored(String),
    /// `FAILED`, and the text below.
    Failed(String),
}

/// What libtest counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// How many lines said `ok`.
    pub passed: u64,
    /// How many said `FAILED`.
    pub failed: u64,
    /// How many said `ignored`.
    pub ignored: u64,
}

/// Runs (or lists) `trials`, which are all there are: libtest does the filtering itself, so that it counts
/// what it left out.
pub fn run(args: &Args, threads: usize, trials: Vec<Ready>) -> Counts {
    let trials = trials.into_iter().map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments(args, threads), trials);
    Counts { passed: conclusion.num_passed, failed: conclusion.num_failed, ignored: conclusion.num_ignored }
}

fn trial(ready: Ready) -> Trial {
    // No kind: it would put brackets and a space into every id that a person types.
    Trial::ignorable_test(ready.name, move || match (ready.run)() {
        Line::Ok => Ok(Completion::Completed),
        Line::Ignored(reason) => Ok(Completion::ignored_with(reason)),
        Line::Failed(text) => Err(Failed::from(text)),
    })
}

fn arguments(args: &Args, threads: usize) -> Arguments {
    let mut libtest = Arguments::default();
    libtest.filter.clone_from(&args.filter.text);
    libtest.exact = args.filter.exact;
    libtest.skip.clone_from(&args.filter.skip);
    libtest.list = args.list;
    // No trial carries libtest's own flag: what is skipped, and whether it is run all the same, is decided by
    // the session, which hands over only the trials that are meant.
    libtest.include_ignored = true;
    libtest.test_threads = Some(threads);
    libtest.format = Some(match args.format {
        Format::Pretty => FormatSetting::Pretty,
        Format::Terse => FormatSetting::Terse,
        Format::Json => FormatSetting::Json,
    });
    libtest.color = Some(match args.color {
        Color::Auto => ColorSetting::Auto,
        Color::Always => ColorSetting::Always,
        Color::Never => ColorSetting::Never,
    });
    libtest.logfile = args.log.as_ref().map(ToString::to_string);
    libtest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Args)]
    struct None {}

    fn parse(line: &[&str]) -> Args {
        Cli::<None>::parse_from([&["st"], line].concat()).split().0
    }

    #[test]
    fn the_positional_and_the_named_filter_mean_the_same() {
        assert_eq!(parse(&["chat_core"]), parse(&["--filter", "chat_core"]));
        assert!(Cli::<None>::try_parse_from(["st", "a", "--filter", "b"]).is_err());
    }

    #[test]
    fn what_nextest_passes_is_understood() {
        let args = parse(&["--exact", "functional::chat_core::basic", "--nocapture", "--ignored"]);
        assert!(args.filter.exact);
        assert_eq!(args.ignored, Ignored::Only);
        assert!(parse(&["--list", "--format", "terse"]).list);
    }

    /// The session selects by our filter, libtest by its own: they must never disagree.
    #[test]
    fn our_filter_and_libtests_select_the_same() {
        let names = ["a", "a::b", "b::a", "functional::chat_core::basic", ""];
        for text in [Option::None, Some("a"), Some("a::b"), Some("core"), Some("zz")] {
            for exact in [false, true] {
                for skip in [vec![], vec!["b".to_owned()], vec!["a".to_owned(), "core".to_owned()]] {
                    let args = Args {
                        filter: Filter { text: text.map(str::to_owned), exact, skip },
                        ..Args::default()
                    };
                    for name in names {
                        let theirs = Trial::test(name, || Ok(()));
                        assert_eq!(
                            args.filter.matches(name),
                            !arguments(&args, 1).is_filtered_out(&theirs),
                            "{args:?} {name:?}"
                        );
                    }
                }
            }
        }
    }
}
