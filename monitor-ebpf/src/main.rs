//! The programs that see waits, one file per signal. They count, and keep what
//! lasts; they decide nothing.
//!
//! docs/architecture.md says what each file sees and what each map holds.
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
