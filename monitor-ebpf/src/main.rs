//! The programs that see waits, one file per signal. They count, and keep what
//! lasts; they decide nothing.
//!
//! | file | sees |
//! |---|---|
//! | `dirty.rs` | `balance_dirty_pages` |
//! | `congestion.rs` | `congestion_wait`, `wait_iff_congested`, `reclaim_throttle`, `throttle_direct_reclaim` |
//! | `bdi.rs` | `set_bdi_congested`, `clear_bdi_congested` |
//! | `reclaim.rs` | direct reclaim, memcg reclaim, compaction |
//! | `nfs_client.rs` | the NFS client's WRITE and COMMIT calls |
//! | `nfs_congestion.rs` | writers that wait for the end of an NFS mount's congestion |
//! | `nfs_commit.rs` | tasks that wait until pages of an NFS file are written and committed |
//! | `write_congested.rs` | which NFS mounts are congested, by the client's flag |
//! | `nfsd.rs` | nfsd's WRITE operations, retries of `svc_alloc_arg` |
//! | `rpc.rs` | whose calls are served by this kernel itself |
//! | `backing.rs` | what nfsd writes to for a client |
//!
//! `wait.rs` is what they share to keep and count a wait, `task.rs` tells what
//! kind of task waits, `memory.rs` reads the kernel's structs,
//! `maps.rs` holds every map and global.
#![no_std]
#![no_main]

mod backing;
mod bdi;
mod congestion;
mod dirty;
mod maps;
mod memory;
mod nfs_client;
mod nfs_commit;
mod nfs_congestion;
mod nfsd;
mod reclaim;
mod rpc;
mod task;
mod wait;
mod write_congested;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // Never reached: the verifier refuses a program that could get here.
    loop {}
}

/// The helpers used here are lent to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
