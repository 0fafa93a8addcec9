//! Which backing devices are congested, by the kernel's own flag.
//!
//! `set_bdi_congested` and `clear_bdi_congested` (mm/backing-dev.c, up to 5.17)
//! are called for every page above, or below, a threshold of the file system's
//! own: mostly nothing changes, and then this costs a name, its hash and a
//! look-up. Of the flag's two bits, one for synchronous and one for
//! asynchronous requests, the one that changed last counts; the NFS client uses
//! one of them only.

use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use monitor_common::{BDI_NAME_LEN, BdiId, CongestedBdi, Lost};

use crate::{
    maps::{BDI_NAMES, CONGESTED, NO_EXIST, lost, offsets},
    memory::read,
    wait::now,
};

/// `set_bdi_congested`, by `fentry`.
#[fentry(function = "set_bdi_congested")]
pub fn set_bdi_congested_fentry(ctx: FEntryContext) -> i32 {
    let _ = set(ctx.arg(0));
    0
}

/// `clear_bdi_congested`, by `fentry`.
#[fentry(function = "clear_bdi_congested")]
pub fn clear_bdi_congested_fentry(ctx: FEntryContext) -> i32 {
    let _ = clear(ctx.arg(0));
    0
}

/// `set_bdi_congested`, by `kprobe`.
#[kprobe(function = "set_bdi_congested")]
pub fn set_bdi_congested_kprobe(ctx: ProbeContext) -> u32 {
    let _ = ctx.arg(0).and_then(set);
    0
}

/// `clear_bdi_congested`, by `kprobe`.
#[kprobe(function = "clear_bdi_congested")]
pub fn clear_bdi_congested_kprobe(ctx: ProbeContext) -> u32 {
    let _ = ctx.arg(0).and_then(clear);
    0
}

#[inline(always)]
fn set(bdi: *const u8) -> Option<()> {
    let name = name(bdi)?;
    let id = BdiId::from_words(name).0;
    let Some(state) = CONGESTED.get_ptr_mut(id) else {
        add(id, &name, now());
        return Some(());
    };
    // SAFETY: the kernel keeps the memory of an element that is deleted while a
    // program runs.
    unsafe {
        if (*state).since_ns == 0 {
            (*state).since_ns = now();
        }
    }
    Some(())
}

#[inline(always)]
fn clear(bdi: *const u8) -> Option<()> {
    let name = name(bdi)?;
    let id = BdiId::from_words(name).0;
    let Some(state) = CONGESTED.get_ptr_mut(id) else {
        // It is known from now on that it is not congested.
        add(id, &name, 0);
        return Some(());
    };
    // SAFETY: as above. Two CPUs that clear at the very same moment may both add
    // the time.
    unsafe {
        let since_ns = (*state).since_ns;
        if since_ns != 0 {
            (*state).since_ns = 0;
            (*state).total_ns += now().saturating_sub(since_ns);
        }
    }
    Some(())
}

#[inline(always)]
fn add(id: u64, name: &[u64; BDI_NAME_LEN / 8], since_ns: u64) {
    let state = CongestedBdi {
        since_ns,
        total_ns: 0,
    };
    let named = BDI_NAMES.insert(id, name, 0).is_ok();
    // Another CPU may have been first.
    let _ = CONGESTED.insert(id, state, NO_EXIST);
    if !named || CONGESTED.get_ptr(id).is_none() {
        lost(Lost::MapFull);
    }
}

/// `backing_dev_info.dev_name`, since 5.7: of the BDI's memory, which begins
/// zeroed, so that the name is padded as in the tracepoints.
#[inline(always)]
fn name(bdi: *const u8) -> Option<[u64; BDI_NAME_LEN / 8]> {
    read(bdi, offsets()?.bdi_name).filter(|name: &[u64; BDI_NAME_LEN / 8]| name[0] != 0)
}
