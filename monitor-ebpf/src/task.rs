//! Which task this is and of what kind.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel,
};
use monitor_common::{COMM_LEN, Class};

use crate::maps::{NFS_SERVERS, offsets};

/// `PF_KTHREAD`, include/linux/sched.h; the same bit in every kernel since
/// 2.6.30.
const PF_KTHREAD: u32 = 0x0020_0000;

/// The task that runs.
pub struct Task {
    pub tid: u32,
    pub tgid: u32,
    pub comm: [u8; COMM_LEN],
    pub class: Class,
}

impl Task {
    #[inline(always)]
    pub fn current() -> Self {
        let id = bpf_get_current_pid_tgid();
        let tgid = (id >> 32) as u32;
        let comm = bpf_get_current_comm().unwrap_or_default();
        Self {
            tid: current_tid(),
            tgid,
            class: class_of(tgid, &comm),
            comm,
        }
    }
}

/// Thread id in the initial pid namespace.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is the thread id"
)]
pub fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

#[inline(always)]
fn class_of(tgid: u32, comm: &[u8; COMM_LEN]) -> Class {
    if is_kernel_thread() {
        match comm {
            [b'n', b'f', b's', b'd', 0, ..] => Class::Nfsd,
            [b'k', b's', b'w', b'a', b'p', b'd', b'0'..=b'9', ..] => Class::Kswapd,
            [b'k', b'w', b'o', b'r', b'k', b'e', b'r', b'/', ..] => Class::Kworker,
            [b'l', b'o', b'o', b'p', b'0'..=b'9', ..] => Class::Loop,
            _ => Class::Kthread,
        }
    // SAFETY: the reference is not kept.
    } else if unsafe { NFS_SERVERS.get(tgid) }.is_some() {
        Class::NfsServer
    } else {
        Class::User
    }
}

/// By `task_struct.flags` where BTF tells its offset. Without, a name decides
/// alone and every task that is not named like a kernel thread is a `user`; the
/// daemon reports that as a degradation.
#[inline(always)]
fn is_kernel_thread() -> bool {
    let Some(offsets) = offsets() else {
        return false;
    };
    if offsets.task_flags < 0 {
        return true;
    }
    // SAFETY: reads through the fault-tolerant helper only.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        bpf_probe_read_kernel(task.add(offsets.task_flags as usize).cast::<u32>())
            .is_ok_and(|flags| flags & PF_KTHREAD != 0)
    }
}
