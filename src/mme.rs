//! MME's rule: how an answer is read as yes or no, and what pictures with two questions each are worth ([`Pairs`]).
//! The same for answers of our own and for those that another's script left. Must not know who asked.
//!
//! MME 的规则：是/否的读法，以及按图两问的计分。

/// What a category is worth at most.
pub(crate) const MOST: f64 = 200.0;

/// Yes or no: the word, its first letter alone, or what stands among the first four characters; else neither.
pub(crate) fn answer(text: &str) -> Option<bool> {
    let plain = text.trim().to_lowercase().replace('.', "");
    match plain.as_str() {
        "yes" | "y" => return Some(true),
        "no" | "n" => return Some(false),
        _ => {}
    }
    let head: String = plain.chars().take(4).collect();
    if head.contains("yes") {
        Some(true)
    } else if head.contains("no") {
        Some(false)
    } else {
        None
    }
}

/// How many pictures there are, and how many of their two questions each were answered rightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pairs {
    /// All of them.
    pub(crate) images: u64,
    /// Those with both answers right.
    pub(crate) both: u64,
    /// Those with one.
    pub(crate) one: u64,
}

impl Pairs {
    /// Counts pictures by whether each of their two answers is right.
    pub(crate) fn of(marks: impl IntoIterator<Item = [bool; 2]>) -> Self {
        marks.into_iter().fold(Self::default(), |all, marks| match marks {
            [true, true] => Self { images: all.images + 1, both: all.both + 1, ..all },
            [false, false] => Self { images: all.images + 1, ..all },
            _ => Self { images: all.images + 1, one: all.one + 1, ..all },
        })
    }

    /// The share of right answers.
    pub(crate) fn acc(self) -> f64 {
        (2 * self.both + self.one) as f64 / (2 * self.images) as f64
    }

    /// The share of pictures both of whose answers are right.
    pub(crate) fn acc_plus(self) -> f64 {
        self.both as f64 / self.images as f64
    }

    /// From 0 to [`MOST`].
    pub(crate) fn score(self) -> f64 {
        100.0 * (self.acc() + self.acc_plus())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_mmes_script_reads_it() {
        for (text, expected) in [
            ("Yes", Some(true)),
            (" no. ", Some(false)),
            ("Y", Some(true)),
            ("No, there is not", Some(false)),
            ("It is a yes", None),
            ("", None),
        ] {
            assert_eq!(answer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn who_always_says_yes_is_right_every_other_time_and_earns_a_quarter() {
        let always = Pairs::of([[true, false]; 8]);
        assert_eq!((always.acc(), always.acc_plus(), always.score()), (0.5, 0.0, 50.0));
        let mixed = Pairs::of([[true, true], [false, true], [false, false], [true, true]]);
        assert_eq!((mixed.acc(), mixed.acc_plus(), mixed.score()), (0.625, 0.5, 112.5));
        assert_eq!(Pairs::of([[true, true]]).score(), MOST);
    }
}
