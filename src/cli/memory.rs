//! How the command's threads share memory: [`share`]. Must not know what they do with it.
//!
//! 限制 glibc 的内存分配区数量。

/// Has all threads allocate from two arenas. glibc otherwise makes one for each thread, up to eight for each processor,
/// and what one of them has freed serves no other: a load of a thousand streams then took 63 MiB in place of 53. Two,
/// not one, so that writing rows does not wait for the load. Only a command decides this; a library's process is its
/// user's.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn share() {
    #[expect(unsafe_code, reason = "a call into libc with two numbers, before there is a second thread")]
    // SAFETY: mallopt takes no pointer, and no other thread allocates yet.
    let _ = unsafe { nix::libc::mallopt(nix::libc::M_ARENA_MAX, 2) };
}

/// Other systems' allocators keep no arenas of this kind.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn share() {}
