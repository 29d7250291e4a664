//! How far a score can be trusted, and whether a change is one: pure functions of counts and scores. Must not know
//! what is counted, and decides nothing.
//!
//! | question | function |
//! |---|---|
//! | how sure is a share of right answers? | [`wilson`]; with repeats or shared stems [`Mean::of`] |
//! | did the same items get worse? | [`mcnemar`]; where items share a stem [`sign_flip`]; for other scores [`Mean::of`] the differences |
//! | could this run have seen a drop at all? | [`power`], [`smallest_drop`]; against a bar [`smallest_drop_below`] |
//! | is a run below what earlier runs of the same build gave? | [`prediction_bound`] |
//!
//! A p-value here is the chance of a change at least as large where there is none. The constants of the tests come
//! from scipy 1.17.1 and statsmodels 0.15.0; each test names the function.
//!
//! 统计：区间、配对检验、功效；纯函数。

mod mean;
mod paired;
mod power;
mod proportion;
mod special;

pub use mean::{Mean, differ, prediction_bound};
pub use paired::{PValues, mcnemar, sign_flip};
pub use power::{power, smallest_drop, smallest_drop_below};
pub use proportion::{Interval, wilson};
