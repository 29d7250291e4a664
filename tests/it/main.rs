//! Integration tests: one binary, one module a subject.
//!
//! 集成测试。

// Tools of the tests.
mod crate_root;

// The doors, and what a person sees there.
mod conversations;
mod doors;
mod downstream;
mod duel;
mod failures;
mod gates;
mod matrix;
mod nextest;
mod observability;
mod prof;
mod push;
mod readme;
mod replay;
mod scripts;
mod terminal;
#[cfg(unix)]
mod workflows;

// What is generated.
mod figures;
mod schemas;

// Held against others.
mod differential;

// What must hold whatever happens.
#[cfg(target_os = "linux")]
mod bench;
mod killed;
#[cfg(target_os = "linux")]
mod local;
mod secrets;
mod timing;
mod tools;

// What a kind of case measures.
mod accuracy;
mod accuracy_profiles;
mod pictures;

// The shipped cases.
mod functional;

#[cfg(feature = "kube")]
mod k8s;
