//! The suite.
//!
//! 系统测试入口。

fn main() {}
