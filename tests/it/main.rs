//! Integration tests: one binary, one module a subject.
//!
//! 集成测试。
