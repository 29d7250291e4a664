//! GitHub's workflow commands, which put the worst red trials beside the lines of the pull request: [`Github`].
//! The session prints the document where it runs on GitHub. Must not know how a run is carried out.
//!
//! GitHub 注解：最严重的十个失败。

use crate::{
    journal::{RunRecord, Status, TrialRecord},
    report::{Document, Files, Report, text},
};

/// GitHub shows this many of each level a step.
const SHOWN: usize = 10;

/// An annotation is for the first look; the reports have the rest.
const LONGEST_MESSAGE: usize = 4 * 1024;

/// Renders `github-annotations.txt`: an error for each of the worst ten red trials, a warning for each of the
/// first ten inconclusive ones, a notice for those that are not shown. Nothing where there is none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Github;

impl Github {
    /// The file of the annotations, which GitHub reads from standard output.
    pub const FILE: &str = "github-annotations.txt";
}

impl Report for Github {
    fn name(&self) -> &'static str {
        "github"
    }

    fn render(&self, run: &RunRecord, _: &Files) -> Result<Vec<Document>, String> {
        let of = |status: Status| run.trials.iter().filter(move |trial| trial.status() == status);
        let red: Vec<_> =
            Status::WORST_FIRST.into_iter().filter(|status| status.is_red()).flat_map(of).collect();
        let unsure: Vec<_> = of(Status::Inconclusive).collect();
        let mut lines: Vec<String> = red.iter().take(SHOWN).map(|trial| command("error", trial)).collect();
        lines.extend(unsure.iter().take(SHOWN).map(|trial| command("warning", trial)));
        let hidden = red.len().saturating_sub(SHOWN) + unsure.len().saturating_sub(SHOWN);
        if hidden > 0 {
            lines.push(format!("::notice::{hidden} more trials are red or inconclusive: see summary.md"));
        }
        Ok(match lines.is_empty() {
            true => Vec::new(),
            false => vec![Document::new(Self::FILE, lines.join("\n") + "\n")],
        })
    }
}

fn command(level: &str, trial: &TrialRecord) -> String {
    let place = trial.place().map(|place| {
        format!("file={},line={},col={},", property(place.file.as_str()), place.line, place.column)
    });
    let message = text::cut(&text::visible(&text::reasons(trial)), LONGEST_MESSAGE);
    format!(
        "::{level} {}title={}::{}",
        place.unwrap_or_default(),
        property(&format!("{} {}", trial.id(), trial.status().word())),
        data(&message)
    )
}

/// `text` behind the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// `text` as a property, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
