//! Fields of the kernel's structs, by offsets that the daemon resolved.

use aya_ebpf::helpers::bpf_probe_read_kernel;

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
