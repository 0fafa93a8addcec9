//! Which NFS mounts are congested, by the client's own flag.
//!
//! `nfs_server.write_congested` (fs/nfs/write.c, from 5.18 on) is set when more
//! folios are under writeback than `nfs_congestion_kb` allows, and cleared below
//! three quarters of it. No function is called there, so the flag is read where
//! something of the mount is seen anyway: at `nfs_writepages`, whose inode leads
//! to the `nfs_server`, and at each WRITE and COMMIT, sent or answered. The last
//! reply below three quarters clears it after its event; mostly others follow,
//! and a COMMIT. What changes after the last event is not seen: the daemon takes
//! the time for over once the mount has nothing to write.

use aya_ebpf::{macros::kprobe, programs::ProbeContext};
use monitor_common::WriteCongested;

use crate::{
    maps::{WRITE_CONGESTED, offsets},
    memory::{follow, read},
    wait::now,
};

/// Pages of an NFS file are to be written: from now on its mount is known.
#[kprobe(function = "nfs_writepages")]
pub fn nfs_write_congested_kprobe(ctx: ProbeContext) -> u32 {
    let _ = ctx.arg(0).and_then(learn);
    0
}

#[inline(always)]
fn learn(mapping: *const u8) -> Option<()> {
    let offsets = offsets()?;
    let inode = follow(mapping, offsets.mapping_host)?;
    let sb = follow(inode, offsets.inode_sb)?;
    let dev: u32 = read(sb, offsets.sb_dev)?;
    let server: u64 = read(sb, offsets.sb_fs_info)?;
    // SAFETY: the reference is not kept.
    let known = unsafe { WRITE_CONGESTED.get(dev) }.is_some_and(|state| state.server == server);
    if !known {
        // A mount before it may have had the same number.
        let state = WriteCongested {
            server,
            ..WriteCongested::default()
        };
        let _ = WRITE_CONGESTED.insert(dev, state, 0);
    }
    look(dev);
    Some(())
}

/// Reads the flag of the mount with this device, if it is known.
#[inline(always)]
pub fn look(dev: u32) {
    let _ = see(dev);
}

#[inline(always)]
fn see(dev: u32) -> Option<()> {
    let state = WRITE_CONGESTED.get_ptr_mut(dev)?;
    // SAFETY: the kernel keeps the memory of an entry that is evicted while a
    // program runs. Two CPUs that see a change at the very same moment may both
    // add the time.
    let state = unsafe { &mut *state };
    let server = state.server as *const u8;
    let offsets = offsets()?;
    // The mount may be gone and its number used again, and nothing but direct
    // writes have come since.
    if read::<u32>(server, offsets.nfs_server_dev)? != dev {
        return None;
    }
    let congested = read::<u32>(server, offsets.nfs_write_congested)? != 0;
    let since_ns = state.since_ns;
    if congested && since_ns == 0 {
        state.since_ns = now();
    } else if !congested && since_ns != 0 {
        state.since_ns = 0;
        state.total_ns += now().saturating_sub(since_ns);
    }
    Some(())
}
