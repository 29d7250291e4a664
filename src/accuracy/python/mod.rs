//! What of Python the scores depend on: its random numbers ([`Random`]), its idea of a number ([`float`]) and of
//! text ([`text`]), and numpy's means ([`sums`]). Held against CPython. Must not know any evaluator.
//!
//! 复现 Python 的随机数、浮点与文本语义，使得分逐位一致。

pub mod float;
mod random;
pub mod sums;
pub mod text;

pub use random::Random;
