//! The open set of pictures: what is drawn, and the two questions about it ([`all`]). The same on every machine. Must
//! not know how a picture is stored.
//!
//! 开放图片集：由种子确定的图片与是/否问题。

use super::draw::{Canvas, Colour, Shape};

/// Pictures of a category.
pub(super) const EACH: u64 = 8;

/// A picture, and what is asked about it: once to be answered yes, once no.
pub(super) struct Item {
    pub(super) id: String,
    pub(super) category: &'static str,
    pub(super) canvas: Canvas,
    pub(super) yes: String,
    pub(super) no: String,
}

/// What is drawn, and what is asked.
type Made = (Canvas, String, String);
type Make = fn(u64, &mut Draws) -> Made;

/// Every item, category after category.
pub(super) fn all() -> Vec<Item> {
    let categories: [(&'static str, Make); 5] =
        [("existence", existence), ("count", count), ("position", position), ("color", color), ("OCR", ocr)];
    let mut items = Vec::new();
    for (number, (category, make)) in (1_u64..).zip(categories) {
        for n in 0..EACH {
            let (canvas, yes, no) = make(n, &mut Draws(number * 1000 + n));
            let asked = |question: String| format!("{question} Please answer yes or no.");
            let id = format!("{category}/{:02}", n + 1);
            items.push(Item { id, category, canvas, yes: asked(yes), no: asked(no) });
        }
    }
    items
}

/// SplitMix64.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below n")
    }

    /// `all` in a drawn order.
    fn shuffled<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut left = all.to_vec();
        (0..all.len()).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }

    /// The middles of the nine fields of a picture, in a drawn order.
    fn fields(&mut self) -> Vec<(i32, i32)> {
        let fields: Vec<(i32, i32)> = (0..9).map(|n| (38 + n % 3 * 74, 38 + n / 3 * 74)).collect();
        self.shuffled(&fields)
    }
}

/// Every one in turn.
fn nth<T: Copy>(all: &[T], n: u64) -> T {
    all[usize::try_from(n).expect("small") % all.len()]
}

fn existence(n: u64, draws: &mut Draws) -> Made {
    let (shapes, colours) = (draws.shuffled(&Shape::ALL), draws.shuffled(&Colour::SHOWN));
    let shown = 2 + usize::from(n % 2 == 1);
    let mut canvas = Canvas::new();
    for (((shape, _), (colour, _)), field) in shapes[..shown].iter().zip(&colours).zip(draws.fields()) {
        canvas.shape(*shape, *colour, field, 30);
    }
    let asked = |name: &str| format!("Is there a {name} in this image?");
    (canvas, asked(shapes[0].1), asked(shapes[4].1))
}

fn count(n: u64, draws: &mut Draws) -> Made {
    const NUMBERS: [&str; 8] = ["zero", "one", "two", "three", "four", "five", "six", "seven"];
    let ((shape, name), (colour, _)) = (nth(&Shape::ALL, n), draws.shuffled(&Colour::SHOWN)[0]);
    let many = 2 + draws.below(5);
    let mut canvas = Canvas::new();
    for field in draws.fields().into_iter().take(many) {
        canvas.shape(shape, colour, field, 30);
    }
    let plural = if name.ends_with('s') { format!("{name}es") } else { format!("{name}s") };
    let asked = |many: usize| format!("Are there {} {plural} in this image?", NUMBERS[many]);
    (canvas, asked(many), asked(many + 1))
}

fn position(n: u64, draws: &mut Draws) -> Made {
    let (shapes, colours) = (draws.shuffled(&Shape::ALL), draws.shuffled(&Colour::SHOWN));
    let across = 56 + i32::try_from(draws.below(112)).expect("small");
    let turned = n % 2 == 1;
    let place = |along: i32| if turned { (across, along) } else { (along, across) };
    let first_is_ahead = draws.below(2) == 0;
    let (first, second) = if first_is_ahead { (50, 174) } else { (174, 50) };
    let mut canvas = Canvas::new();
    canvas.shape(shapes[0].0, colours[0].0, place(first), 34);
    canvas.shape(shapes[1].0, colours[1].0, place(second), 34);
    let named = |n: usize| format!("{} {}", colours[n].1, shapes[n].1);
    let (ahead, behind) = if turned { ("above", "below") } else { ("on the left of", "on the right of") };
    let asked = |how: &str| format!("Is the {} {how} the {} in this image?", named(0), named(1));
    if first_is_ahead { (canvas, asked(ahead), asked(behind)) } else { (canvas, asked(behind), asked(ahead)) }
}

fn color(n: u64, draws: &mut Draws) -> Made {
    let ((shape, name), colours) = (nth(&Shape::ALL, n), draws.shuffled(&Colour::SHOWN));
    let mut canvas = Canvas::new();
    canvas.shape(shape, colours[0].0, (112, 112), 70);
    let asked = |colour: &str| format!("Is the {name} in this image {colour}?");
    (canvas, asked(colours[0].1), asked(colours[1].1))
}

/// A word that is shown, and one like it.
const WORDS: [(&str, &str); 8] = [
    ("LAMP", "LAMB"),
    ("RIVER", "RIVET"),
    ("STONE", "STORE"),
    ("HOUSE", "HORSE"),
    ("TRAIN", "GRAIN"),
    ("BREAD", "BROAD"),
    ("PLANT", "PLANK"),
    ("QUIET", "QUILT"),
];

fn ocr(n: u64, draws: &mut Draws) -> Made {
    let (shown, other) = nth(&WORDS, n);
    let (colour, _) = draws.shuffled(&Colour::SHOWN[..4])[0];
    let mut canvas = Canvas::new();
    canvas.word(shown, colour, (112, 60 + i32::try_from(draws.below(100)).expect("small")), 7);
    let asked = |word: &str| format!("Is the word in this image \"{word}\"?");
    (canvas, asked(shown), asked(other))
}
