//! Fields of the kernel's structs and of tracepoints' records, by offsets that the daemon
//! resolved.

use aya_ebpf::{EbpfContext, helpers::bpf_probe_read_kernel, programs::TracePointContext};
use monitor_common::{BDI_NAME_LEN, BdiId, Lost};

use crate::maps::{BDI_NAMES, lost, offsets};

/// A pointer that is a field.
#[inline(always)]
pub fn follow(from: *const u8, offset: i32) -> Option<*const u8> {
    read::<*const u8>(from, offset).filter(|to| !to.is_null())
}

/// A field of kernel memory.
#[inline(always)]
pub fn read<T>(from: *const u8, offset: i32) -> Option<T> {
    if offset < 0 {
        return None;
    }
    // SAFETY: reads through the fault-tolerant helper only.
    unsafe { bpf_probe_read_kernel(from.add(offset as usize).cast::<T>()) }.ok()
}

/// A field of a tracepoint record; `None` where this kernel has no such field.
#[inline(always)]
pub fn field<T: Copy>(ctx: &TracePointContext, offset: i32) -> Option<T> {
    read(ctx.as_ptr().cast(), offset)
}

/// The BDI that an inode's pages belong to; its name is kept.
#[inline(always)]
pub fn inode_bdi(inode: *const u8) -> Option<u64> {
    let offsets = offsets()?;
    let sb = follow(inode, offsets.inode_sb)?;
    let bdi = follow(sb, offsets.sb_bdi)?;
    let name: [u64; BDI_NAME_LEN / 8] = read(bdi, offsets.bdi_name)?;
    let id = BdiId::from_words(name).0;
    // SAFETY: the reference is not kept.
    if id != BdiId::NONE.0
        && unsafe { BDI_NAMES.get(id) }.is_none()
        && BDI_NAMES.insert(id, name, 0).is_err()
    {
        lost(Lost::MapFull);
    }
    Some(id)
}
