//! Pauses noted as they are, for the daemon to look at.
//!
//! A task that pauses has slept before and will sleep again: caches and TLB are cold,
//! and each map that an event asks costs more than all of its instructions. So a pause
//! of an ordinary task is copied into this CPU's ring, which the daemon has mapped, and
//! that is all. Where that does not do, the program looks at the pause itself: for
//! kernel threads, of which it matters what they are and when exactly they go on; and
//! where the ring is full, because the daemon is stopped or starved.

use aya_ebpf::{
    EbpfContext,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_smp_processor_id,
        bpf_probe_read_kernel_buf, generated::bpf_get_current_comm,
    },
    programs::TracePointContext,
};

use monitor_common::COMM_LEN;

use crate::{
    maps::{PAUSE_HEADS, PAUSES},
    memory::read,
    task::PF_KTHREAD,
    wait::now,
};

/// `None`: not noted.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of an id; an index below a small power of two"
)]
pub fn note(ctx: &TracePointContext) -> Option<()> {
    // SAFETY: the helper takes nothing and always answers.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    // SAFETY: of this CPU, on which the kernel runs one such program at a time; the
    // daemon, which has it mapped, does not write `written`.
    let head = unsafe { &mut *PAUSE_HEADS.get_ptr_mut(cpu)? };
    let at = head.written;
    if at >= head.until {
        return None;
    }
    // SAFETY: the helper answers the task that runs, which stays while it does.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    if read::<u32>(task, head.task_flags)? & PF_KTHREAD != 0 {
        return None;
    }
    let place = cpu * head.slots + (at as u32 & (head.slots - 1));
    // SAFETY: the daemon has read what was here: `until` says so.
    let pause = unsafe { &mut *PAUSES.get_ptr_mut(place)? };
    let id = bpf_get_current_pid_tgid();
    pause.now_ns = now();
    pause.tid = id as u32;
    pause.tgid = (id >> 32) as u32;
    // SAFETY: both write where they are told, and no more than there is; the record is
    // read through the fault-tolerant helper. Into the entry at once: a copy on the
    // stack would have to be cleared by a call.
    unsafe {
        bpf_get_current_comm(pause.comm.as_mut_ptr().cast(), COMM_LEN as u32);
        bpf_probe_read_kernel_buf(ctx.as_ptr().cast::<u8>(), &mut pause.record).ok()?;
    }
    head.written = at + 1;
    Some(())
}
