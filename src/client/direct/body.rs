//! Where the body of an answer ends: [`Body`] takes bytes as they come and hands on what belongs to it, where it lies.
//! Must not know what it says.
//!
//! 正文定界：定长、分块、直到关闭。

/// The longest line of a chunk's size with its extensions, and the longest trailers.
const LONGEST: u32 = 16 << 10;
/// Of a chunk's size: 16 of them are 64 bits.
const MOST_DIGITS: u8 = 16;

/// A body as far as it has come.
#[derive(Debug)]
pub(super) struct Body(Framing);

#[derive(Debug)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunks(Chunks),
    UntilClose,
}

/// What is expected next of a body in chunks.
#[derive(Debug)]
enum Chunks {
    Size {
        size: u64,
        digits: u8,
    },
    /// What stands behind the size in its line, `seen` bytes of it so far.
    Extension {
        size: u64,
        seen: u32,
    },
    Data {
        left: u64,
    },
    /// The line end behind a chunk.
    DataEnd {
        after_cr: bool,
    },
    /// `seen` bytes of trailers so far; `line` of them in the line that is being read.
    Trailers {
        seen: u32,
        line: u32,
    },
    Over,
}

impl Body {
    pub(super) fn length(length: u64) -> Self {
        Self(Framing::Length(length))
    }

    pub(super) fn chunked() -> Self {
        Self(Framing::Chunks(Chunks::Size { size: 0, digits: 0 }))
    }

    pub(super) fn until_close() -> Self {
        Self(Framing::UntilClose)
    }

    /// Whether nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.0, Framing::Length(0) | Framing::Chunks(Chunks::Over))
    }

    /// Whether it tells by itself where it ends.
    pub(super) fn has_an_end(&self) -> bool {
        !matches!(self.0, Framing::UntilClose)
    }

    /// What has to come before it ends, in words.
    pub(super) fn missing(&self) -> String {
        match self.0 {
            Framing::Length(left) => format!("{left} more bytes of the body came"),
            Framing::Chunks(Chunks::Trailers { .. }) => "the trailers had ended".to_owned(),
            Framing::Chunks(_) | Framing::UntilClose => "the last chunk came".to_owned(),
        }
    }

    /// Takes bytes and hands on those of the body; says how many it took.
    ///
    /// # Errors
    /// What was expected and what was found, where the framing is broken.
    pub(super) fn take(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8])) -> Result<usize, String> {
        match &mut self.0 {
            Framing::Length(left) => Ok(hand_on(left, bytes, on)),
            Framing::Chunks(chunks) => {
                let mut used = 0;
                while used < bytes.len() && !matches!(chunks, Chunks::Over) {
                    used += chunks.take(&bytes[used..], on)?;
                }
                Ok(used)
            }
            Framing::UntilClose => {
                if !bytes.is_empty() {
                    on(bytes);
                }
                Ok(bytes.len())
            }
        }
    }
}

/// Hands on at most `left` bytes.
fn hand_on(left: &mut u64, bytes: &[u8], on: &mut impl FnMut(&[u8])) -> usize {
    let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
    if n > 0 {
        on(&bytes[..n]);
    }
    *left -= n as u64;
    n
}

impl Chunks {
    /// Takes one step into `bytes`, of which there is at least one, and says how many it took.
    fn take(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8])) -> Result<usize, String> {
        if let Self::Data { left } = self {
            let n = hand_on(left, bytes, on);
            if *left == 0 {
                *self = Self::DataEnd { after_cr: false };
            }
            return Ok(n);
        }
        *self = self.after(bytes[0])?;
        Ok(1)
    }

    /// What is expected after `byte`, which is none of a chunk's data.
    fn after(&self, byte: u8) -> Result<Self, String> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if *digits == MOST_DIGITS {
                    return Err(format!("the size of a chunk has more than {MOST_DIGITS} digits"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b'\n') => Self::begin(*size),
            (Self::Size { size, digits: 1.. }, b'\r' | b';' | b' ' | b'\t') => {
                Self::Extension { size: *size, seen: 0 }
            }
            (Self::Size { .. }, _) => {
                return Err(format!(
                    "expected the size of a chunk in hexadecimal digits, found `{}`",
                    byte.escape_ascii()
                ));
            }
            (Self::Extension { size, .. }, b'\n') => Self::begin(*size),
            (Self::Extension { seen: LONGEST, .. }, _) => {
                return Err(format!("the extensions of a chunk are longer than {LONGEST} bytes"));
            }
            (Self::Extension { size, seen }, _) => Self::Extension { size: *size, seen: seen + 1 },
            (Self::DataEnd { after_cr: false }, b'\r') => Self::DataEnd { after_cr: true },
            (Self::DataEnd { .. }, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::DataEnd { .. }, _) => {
                return Err(format!("expected the line end after a chunk, found `{}`", byte.escape_ascii()));
            }
            (Self::Trailers { line: 0, .. }, b'\n') => Self::Over,
            (Self::Trailers { seen: LONGEST, .. }, _) => {
                return Err(format!("the trailers of the answer are longer than {LONGEST} bytes"));
            }
            (Self::Trailers { seen, .. }, b'\n') => Self::Trailers { seen: seen + 1, line: 0 },
            // It belongs to the line end.
            (Self::Trailers { seen, line: 0 }, b'\r') => Self::Trailers { seen: seen + 1, line: 0 },
            (Self::Trailers { seen, line }, _) => Self::Trailers { seen: seen + 1, line: line + 1 },
            (Self::Data { left }, _) => Self::Data { left: *left },
            (Self::Over, _) => Self::Over,
        })
    }

    /// A chunk of so many bytes begins; the one of none is the last.
    fn begin(size: u64) -> Self {
        match size {
            0 => Self::Trailers { seen: 0, line: 0 },
            left => Self::Data { left },
        }
    }
}
