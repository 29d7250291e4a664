//! What the server says of itself while it is loaded: [`Scraper`] reads `/metrics` before, meanwhile and after, each
//! [`Reading`] becomes a line of `gauges.jsonl`, and [`tell`] makes figures of them and holds the server's token counts
//! against the client's. Must not know how load is made.
//!
//! ```text
//! /metrics ─scrape, a thread of its own─▶ Reading ─▶ gauges.jsonl
//!                                            └─tell, with the records─▶ measurements, counts compared, notes
//! ```
//!
//! 服务端指标：压测前、中、后读取 /metrics，并与客户端的 token 数核对。

mod names;
mod reading;
mod scrape;
mod tell;

pub use reading::{Moment, Reading};
pub use scrape::{Scraped, Scraper};
pub use tell::{Compared, ServerSide, tell};
