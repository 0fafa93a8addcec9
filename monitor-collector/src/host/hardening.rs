//! Keeps the daemon running while the node stalls.

use rustix::{
    io,
    mm::{MlockAllFlags, mlockall},
    process::{Resource, Rlimit, configure_io_flusher_behavior, setrlimit},
};

/// Sets whether this thread's allocations skip waits for writeback (`PR_SET_IO_FLUSHER`). Threads
/// that it starts inherit it.
///
/// Turn it off while eBPF maps and programs are created. The flag removes `__GFP_IO`, and
/// `pcpu_alloc` then treats the context as atomic and serves per-CPU memory only from its reserve:
/// 5.10 refused maps.
///
/// # Errors
///
/// `CAP_SYS_RESOURCE` is missing.
pub fn io_flusher(on: bool) -> io::Result<()> {
    configure_io_flusher_behavior(on)
}

/// Locks the daemon's memory.
///
/// Call it after everything is loaded. Reading the kernel's BTF takes some 40 MB for a moment, and
/// locked memory cannot be given back.
///
/// # Errors
///
/// `CAP_SYS_RESOURCE`, or `CAP_IPC_LOCK` and a sufficient limit, is missing.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: glibc's own, without arguments that matter; it takes the
    // allocator's locks as malloc does.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    raise_lock_limit();
    // With `ONFAULT`, thread stacks do not become resident as a whole.
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}

/// Raises the limit of locked memory. If that fails, locking reports it.
pub fn raise_lock_limit() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let _ = setrlimit(Resource::Memlock, unlimited);
}
