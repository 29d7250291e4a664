//! From the text of a file to typed values, with the place of every mistake.
//! Must not know what the values mean.
//!
//! 读取：文本 → 类型，并给出每处错误的位置。

mod origin;

pub use origin::Origin;
