//! Which task this is and of what kind.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel,
    bpf_probe_read_kernel_str_bytes,
};
use monitor_common::{COMM_LEN, Class, Offsets};

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
            class: class_of(&comm),
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
fn class_of(comm: &[u8; COMM_LEN]) -> Class {
    let Some(offsets) = offsets() else {
        return Class::User;
    };
    // SAFETY: the helper answers the task that runs, which stays while it does.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let kernel_thread = is_kernel_thread(task, offsets);
    if kernel_thread != Some(false) {
        match comm {
            [b'n', b'f', b's', b'd', 0, ..] => return Class::Nfsd,
            [b'k', b's', b'w', b'a', b'p', b'd', b'0'..=b'9', ..] => return Class::Kswapd,
            [b'k', b'w', b'o', b'r', b'k', b'e', b'r', b'/', ..] => return Class::Kworker,
            [b'l', b'o', b'o', b'p', b'0'..=b'9', ..] => return Class::Loop,
            _ => {}
        }
    }
    if kernel_thread == Some(true) {
        Class::Kthread
    } else if is_nfs_server(task, offsets, comm) {
        Class::NfsServer
    } else {
        Class::User
    }
}

/// By `task_struct.flags`; `None` where BTF does not tell its offset. Then the
/// name decides alone, which the daemon reports as a degradation.
#[inline(always)]
fn is_kernel_thread(task: *const u8, offsets: &Offsets) -> Option<bool> {
    if offsets.task_flags < 0 {
        return None;
    }
    // SAFETY: reads through the fault-tolerant helper only.
    let flags =
        unsafe { bpf_probe_read_kernel(task.add(offsets.task_flags as usize).cast::<u32>()) };
    flags.ok().map(|flags| flags & PF_KTHREAD != 0)
}

/// By the name of the process, for a server names its threads as it likes; of
/// the thread where BTF does not tell the offsets.
#[inline(always)]
fn is_nfs_server(task: *const u8, offsets: &Offsets, comm: &[u8; COMM_LEN]) -> bool {
    let mut name = [0u8; COMM_LEN];
    if offsets.task_group_leader >= 0 && offsets.task_comm >= 0 {
        // SAFETY: reads through the fault-tolerant helpers only.
        unsafe {
            let leader = task
                .add(offsets.task_group_leader as usize)
                .cast::<*const u8>();
            let Ok(leader) = bpf_probe_read_kernel(leader) else {
                return false;
            };
            let from = leader.add(offsets.task_comm as usize);
            if bpf_probe_read_kernel_str_bytes(from, &mut name).is_err() {
                return false;
            }
        }
    } else {
        name = *comm;
    }
    // SAFETY: the reference is not kept.
    unsafe { NFS_SERVERS.get(name) }.is_some()
}
