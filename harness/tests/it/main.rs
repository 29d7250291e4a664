//! Integration tests of the harness: one binary, one module a subject.
//!
//! 运行器的集成测试。

// From the text of a file to trials, and every mistake on the way.
mod all_at_once;
mod expansion;
mod mistakes;

// Whole runs of a toy suite.
mod session;
mod toy;
