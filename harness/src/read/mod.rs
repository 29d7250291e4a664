//! From the text of a file to typed values, with the place of every mistake: [`Source`] is a file that was read,
//! [`typed`] makes a type of a value, [`Origin`] finds the line that a value was written on.
//! Must not know what the values mean.
//!
//! 读取：文本 → 类型，并给出每处错误的位置。

mod de;
pub mod duration;
mod events;
mod hole;
mod map;
mod origin;
mod scalar;
mod source;
mod typed;
mod words;

pub(crate) use map::escaped;
pub use origin::Origin;
pub use source::Source;
pub(crate) use typed::typed_around;
pub use typed::{document, typed};
