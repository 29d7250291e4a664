//! Shapes and words on a white square: [`Canvas`]. Every pixel is one of a few colours, so that the files are small.
//! Must not know what is asked about a picture.
//!
//! 画布：形状、颜色、点阵文字，编码为 PNG。

/// Pixels of a side.
pub(super) const SIDE: usize = 224;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    White,
    Black,
    Red,
    Green,
    Blue,
    Yellow,
    Purple,
    Orange,
}

impl Colour {
    /// Those that can be told apart on white, with the words for them.
    pub(super) const SHOWN: [(Self, &'static str); 7] = [
        (Self::Black, "black"),
        (Self::Red, "red"),
        (Self::Green, "green"),
        (Self::Blue, "blue"),
        (Self::Yellow, "yellow"),
        (Self::Purple, "purple"),
        (Self::Orange, "orange"),
    ];

    /// In the order of the variants.
    pub(super) const PALETTE: [[u8; 3]; 8] = [
        [255, 255, 255],
        [0, 0, 0],
        [220, 20, 20],
        [20, 150, 40],
        [30, 70, 220],
        [245, 215, 0],
        [130, 40, 160],
        [245, 130, 20],
    ];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Circle,
    Square,
    Triangle,
    Cross,
    Ring,
}

impl Shape {
    pub(super) const ALL: [(Self, &'static str); 5] = [
        (Self::Circle, "circle"),
        (Self::Square, "square"),
        (Self::Triangle, "triangle"),
        (Self::Cross, "cross"),
        (Self::Ring, "ring"),
    ];

    /// Whether the point that lies so far from the middle is in it; its radius is `r`.
    fn covers(self, x: i32, y: i32, r: i32) -> bool {
        let from_middle = x * x + y * y;
        let (wide, high) = (x.abs(), y.abs());
        match self {
            Self::Circle => from_middle <= r * r,
            Self::Ring => from_middle <= r * r && from_middle >= r * r / 3,
            Self::Square => wide <= r * 9 / 10 && high <= r * 9 / 10,
            Self::Triangle => high <= r && 2 * wide <= y + r,
            Self::Cross => wide <= r && high <= r && (wide <= r / 3 || high <= r / 3),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Canvas(Vec<u8>);

impl Canvas {
    pub(super) fn new() -> Self {
        Self(vec![Colour::White as u8; SIDE * SIDE])
    }

    fn set(&mut self, x: i32, y: i32, colour: Colour) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < SIDE && y < SIDE {
            self.0[y * SIDE + x] = colour as u8;
        }
    }

    /// A shape of radius `r` with its middle at `(x, y)`.
    pub(super) fn shape(&mut self, shape: Shape, colour: Colour, (x, y): (i32, i32), r: i32) {
        for dy in -r..=r {
            for dx in (-r..=r).filter(|dx| shape.covers(*dx, dy, r)) {
                self.set(x + dx, y + dy, colour);
            }
        }
    }

    /// A word of capitals, its middle at `(x, y)`; a point of a letter is a square of `size` pixels.
    pub(super) fn word(&mut self, word: &str, colour: Colour, (x, y): (i32, i32), size: i32) {
        let width = i32::try_from(word.len()).expect("a short word") * 6 - 1;
        let (left, top) = (x - width * size / 2, y - 7 * size / 2);
        for (place, letter) in (0..).zip(word.bytes()) {
            for (row, bits) in (0..).zip(LETTERS[usize::from(letter - b'A')]) {
                for column in (0..5).filter(|column| bits & (16 >> column) != 0) {
                    self.point(left + (place * 6 + column) * size, top + row * size, size, colour);
                }
            }
        }
    }

    fn point(&mut self, x: i32, y: i32, size: i32, colour: Colour) {
        for dy in 0..size {
            for dx in 0..size {
                self.set(x + dx, y + dy, colour);
            }
        }
    }

    /// Two pixels in a byte, as an indexed PNG has them.
    fn packed(&self) -> Vec<u8> {
        self.0.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
    }

    pub(super) fn png(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let side = u32::try_from(SIDE).expect("a small picture");
        let mut encoder = png::Encoder::new(&mut out, side, side);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Four);
        encoder.set_palette(Colour::PALETTE.concat());
        encoder.set_compression(png::Compression::High);
        encoder.set_filter(png::Filter::NoFilter);
        let mut writer = encoder.write_header().expect("it is written to memory");
        writer.write_image_data(&self.packed()).expect("it is written to memory");
        drop(writer);
        out
    }

    /// Whether `png` shows this, however it is compressed.
    pub(super) fn is_shown_by(&self, png: &[u8]) -> bool {
        let decoder = png::Decoder::new(std::io::Cursor::new(png));
        let mut reader = decoder.read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a small picture")];
        reader.next_frame(&mut pixels).expect("a whole PNG");
        let palette = reader.info().palette.as_deref().map(<[u8]>::to_vec);
        palette == Some(Colour::PALETTE.concat()) && pixels == self.packed()
    }
}

/// Five bits a row, seven rows a letter, from A.
const LETTERS: [[u8; 7]; 26] = [
    [0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e],
    [0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e],
    [0x1e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1e],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f],
    [0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10],
    [0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f],
    [0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11],
    [0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e],
    [0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c],
    [0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11],
    [0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f],
    [0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11],
    [0x11, 0x11, 0x19, 0x15, 0x13, 0x11, 0x11],
    [0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
    [0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10],
    [0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d],
    [0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11],
    [0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e],
    [0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04],
    [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e],
    [0x11, 0x11, 0x11, 0x11, 0x11, 0x0a, 0x04],
    [0x11, 0x11, 0x11, 0x15, 0x15, 0x1b, 0x11],
    [0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11],
    [0x11, 0x11, 0x0a, 0x04, 0x04, 0x04, 0x04],
    [0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f],
];
