//! Which task this is and of what kind.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel,
    bpf_probe_read_kernel_buf, bpf_probe_read_kernel_str_bytes,
};
use monitor_common::{COMM_LEN, Class, Offsets};

use crate::{
    maps::{NFS_SERVERS, SERVERS, offsets},
    memory::{follow, read},
};

/// `PF_KTHREAD`, include/linux/sched.h; the same bit in every kernel since
/// 2.6.30.
const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_LOCAL_THROTTLE`, `PF_LESS_THROTTLE` up to 5.7: writes for another file
/// system, or for a client. Of kworkers, those of loop devices and of LOCALIO
/// have it while they write (`loop_process_work`, drivers/block/loop.c, since
/// 5.14; `nfs_local_call_write`, fs/nfs/localio.c).
const PF_LOCAL_THROTTLE: u32 = 0x0010_0000;

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

/// Whether the task that runs is exempt from local dirty throttling; `None` where
/// BTF does not tell where its flags are.
#[inline(always)]
pub fn is_exempt() -> Option<bool> {
    // SAFETY: the helper answers the task that runs, which stays while it does.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let (known, flags) = flags_of(task, offsets()?);
    known.then_some(flags & PF_LOCAL_THROTTLE != 0)
}

/// Whether a task's flags are known, and which they are.
#[inline(always)]
fn flags_of(task: *const u8, offsets: &Offsets) -> (bool, u32) {
    // Into zeros: of an `Option` the compiler tests bits before it looks whether
    // there are any, which the verifier refuses.
    let mut bytes = [0; 4];
    let known = offsets.task_flags >= 0
        // SAFETY: reads through the fault-tolerant helper only.
        && unsafe {
            let from = task.add(offsets.task_flags as usize);
            bpf_probe_read_kernel_buf(from, &mut bytes)
        }
        .is_ok();
    (known, u32::from_ne_bytes(bytes))
}

#[inline(always)]
fn class_of(tgid: u32, comm: &[u8; COMM_LEN]) -> Class {
    let Some(offsets) = offsets() else {
        return Class::User;
    };
    // SAFETY: the helper answers the task that runs, which stays while it does.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    let (known, flags) = flags_of(task, offsets);
    // Where BTF does not tell, the name decides alone, which the daemon reports
    // as a degradation.
    let kernel_thread = known.then_some(flags & PF_KTHREAD != 0);
    if kernel_thread != Some(false) {
        match comm {
            [b'n', b'f', b's', b'd', 0, ..] => return Class::Nfsd,
            [b'k', b's', b'w', b'a', b'p', b'd', b'0'..=b'9', ..] => return Class::Kswapd,
            [b'k', b'w', b'o', b'r', b'k', b'e', b'r', b'/', ..] => {
                return class_of_worker(task, offsets, flags & PF_LOCAL_THROTTLE != 0);
            }
            // A loop device's own thread, up to 5.13.
            [b'l', b'o', b'o', b'p', b'0'..=b'9', ..] => return Class::LoopDevice,
            _ if is_target(comm) => return Class::Target,
            _ => {}
        }
    }
    if kernel_thread == Some(true) {
        Class::Kthread
    } else if is_told(tgid) || is_nfs_server(task, offsets, comm) {
        Class::Server
    } else {
        Class::User
    }
}

/// By the name of the workqueue, for a worker is not named after it. Where BTF does not tell
/// the way there, no worker but a loop device's and LOCALIO's has the flag.
#[inline(always)]
fn class_of_worker(task: *const u8, offsets: &Offsets, local: bool) -> Class {
    match workqueue(task, offsets) {
        Some([b'l', b'o', b'o', b'p', b'0'..=b'9', ..]) => Class::LoopDevice,
        Some(name) if is_target(&name) => Class::Target,
        None if local => Class::LoopDevice,
        _ => Class::Kworker,
    }
}

/// Whether a workqueue or a kernel thread of this name works for a kernel target.
#[inline(always)]
fn is_target(name: &[u8]) -> bool {
    matches!(
        name,
        // LIO, drivers/target: `target_submission` (since 5.13), `target_completion`, before
        // 5.13 `tcm_loop` and `vhost_scsi`; `xcopy_wq`. A rescuer has the same name.
        [b't', b'a', b'r', b'g', b'e', b't', b'_', b's' | b'c', ..]
            | [b't', b'c', b'm', b'_', b'l', b'o', b'o', b'p', ..]
            | [b'v', b'h', b'o', b's', b't', b'_', b's', b'c', ..]
            | [b'x', b'c', b'o', b'p', b'y', b'_', b'w', b'q', ..]
            // LIO's iSCSI target has threads, `iscsi_trx` and `iscsi_ttx`; those of the initiator
            // have other names.
            | [b'i', b's', b'c', b's', b'i', b'_', b't', b'r' | b't', ..]
            // fs/smb/server: the workqueue `ksmbd-io`, a thread `ksmbd:PORT` a connection.
            | [b'k', b's', b'm', b'b', b'd', b'-' | b':', ..]
            // drivers/nvme/target: `nvmet-buffered-io-wq`, `nvmet-wq`, `nvmet_tcp_wq`.
            | [b'n', b'v', b'm', b'e', b't', b'-' | b'_', ..]
    )
}

/// The beginning of the name of the workqueue that a kworker works for.
#[inline(always)]
fn workqueue(task: *const u8, offsets: &Offsets) -> Option<[u8; 8]> {
    let kthread = if offsets.task_kthread >= 0 {
        offsets.task_kthread
    } else {
        offsets.task_old_kthread
    };
    let kthread = follow(task, kthread)?;
    let worker = follow(kthread, offsets.kthread_data)?;
    let pwq = follow(worker, offsets.worker_pwq)?;
    let wq = follow(pwq, offsets.pwq_wq)?;
    read(wq, offsets.wq_name)
}

/// Whether the daemon found that this process serves a client of this node.
#[inline(always)]
fn is_told(tgid: u32) -> bool {
    // SAFETY: the reference is not kept.
    unsafe { SERVERS.get(tgid) }.is_some()
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
