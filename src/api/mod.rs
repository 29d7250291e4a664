//! Reading answers: an [`Answer`] is what one attempt came to, the same whether it was streamed or not.
//! Must not know what was asked, nor what is expected; any bytes at all give an answer.
//!
//! 读取应答：统一流式与非流式。

mod answer;
mod assemble;
mod error;
mod exposition;
mod stream;

pub use answer::{Answer, Body};
pub use assemble::{Assembler, Choice, Final, ToolCall};
pub use error::{ApiError, ErrorShape};
pub use exposition::{Buckets, Exposition, ExpositionError, Sample};
pub use stream::{StreamEnd, StreamEvent, StreamFacts};
