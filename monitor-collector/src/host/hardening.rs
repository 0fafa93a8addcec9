//! What lets the daemon go on when the node does not.

use rustix::{
    io,
    mm::{MlockAllFlags, mlockall},
    process::{Resource, Rlimit, configure_io_flusher_behavior, setrlimit},
};

/// Whether this thread's own allocations are spared from waiting for writeback
/// (`PR_SET_IO_FLUSHER`); threads that it starts inherit it.
///
/// Off while eBPF maps and programs are made: the mark takes `__GFP_IO` away,
/// without which the kernel gives per-CPU memory only from what it has at hand
/// (`pcpu_alloc` takes it for an atomic context): 5.10 was seen to refuse maps.
///
/// # Errors
///
/// `CAP_SYS_RESOURCE` is missing.
pub fn io_flusher(on: bool) -> io::Result<()> {
    configure_io_flusher_behavior(on)
}

/// Keeps the daemon's memory in.
///
/// To be called once everything is loaded: reading the kernel's BTF takes some
/// 40 MB for a moment, which must be given back first, because locked memory
/// cannot be.
///
/// # Errors
///
/// `CAP_SYS_RESOURCE`, or `CAP_IPC_LOCK` and a limit that is high enough, is
/// missing.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: glibc's own, without arguments that matter; it takes the
    // allocator's locks as malloc does.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
    raise_lock_limit();
    // On fault, so that thread stacks do not come in whole.
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}

/// As much memory may be locked as there is. Where that is unavailable, locking says so.
pub fn raise_lock_limit() {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    let _ = setrlimit(Resource::Memlock, unlimited);
}
