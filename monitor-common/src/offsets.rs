//! What differs from kernel to kernel, resolved by the daemon at load time.

use crate::BDI_NAME_LEN;

/// A field of one of the kernel's structs that the programs read.
pub struct Member {
    /// `struct.field`, as BTF has it.
    pub path: &'static str,
    /// Where its offset goes.
    pub slot: fn(&mut Offsets) -> &mut i32,
}

/// A field of a tracepoint's record that the programs read.
pub struct RequiredField {
    /// `group/name` of the tracepoint.
    pub tracepoint: &'static str,
    /// Its names, newest kernels last.
    pub names: &'static [&'static str],
    /// The size that the program reads, bytes. A field of another size is not
    /// the one that is meant.
    pub size: usize,
    /// Where its offset goes.
    pub slot: fn(&mut Offsets) -> &mut i32,
    /// Without it the program can do nothing.
    pub needed: bool,
}

/// Each offset once: its slot, and where the daemon finds it.
macro_rules! offsets {
    (
        members { $($(#[$meta:meta])* $member:ident = $path:literal;)+ }
        fields { $($tracepoint:literal: $($field:ident = [$($name:literal),+], $size:expr, $needed:literal;)+)+ }
    ) => {
        /// Offsets into the kernel's structs and into tracepoint records, in bytes.
        ///
        /// The daemon fills it in from BTF and from the tracepoints' `format` files
        /// and hands it to the programs in a map; `-1` is "not here", and
        /// a program that meets it does without. Nothing in it has a default that
        /// could pass for a fact.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct Offsets {
            $($(#[$meta])* pub $member: i32,)+
            $($(#[doc = concat!("`", $tracepoint, "`", $(": `", $name, "`",)+)] pub $field: i32,)+)+
            /// Not an offset: 500 ms in jiffies, what `svc_alloc_arg` sleeps up to
            /// 5.13; -1 where HZ is not known or not needed.
            pub half_second_jiffies: i32,
        }

        impl Offsets {
            /// Nothing is known.
            pub const UNKNOWN: Self = Self {
                $($member: -1,)+
                $($($field: -1,)+)+
                half_second_jiffies: -1,
            };

            /// What BTF tells.
            pub const MEMBERS: &[Member] = &[$(Member {
                path: $path,
                slot: |offsets| &mut offsets.$member,
            },)+];

            /// What the tracepoints' `format` files tell.
            pub const FIELDS: &[RequiredField] = &[$($(RequiredField {
                tracepoint: $tracepoint,
                names: &[$($name),+],
                size: $size,
                slot: |offsets| &mut offsets.$field,
                needed: $needed,
            },)+)+];
        }
    };
}

offsets! {
    members {
        /// Whether a task is a kernel thread.
        task_flags = "task_struct.flags";
        /// The first thread of a task's process.
        task_group_leader = "task_struct.group_leader";
        /// A task's name.
        task_comm = "task_struct.comm";
        /// Of a kernel thread, its `kthread`, since 5.17.
        task_kthread = "task_struct.worker_private";
        /// The same before 5.17. Later, it is no kernel thread's.
        task_old_kthread = "task_struct.set_child_tid";
        /// Of a kworker, its `worker`.
        kthread_data = "kthread.data";
        /// What it works for.
        worker_pwq = "worker.current_pwq";
        /// The workqueue of that.
        pwq_wq = "pool_workqueue.wq";
        /// The workqueue's name.
        wq_name = "workqueue_struct.name";
        /// A file's inode.
        file_inode = "file.f_inode";
        /// The file whose pages they are.
        mapping_host = "address_space.host";
        /// The file system of an inode.
        inode_sb = "inode.i_sb";
        /// The BDI that its pages belong to.
        sb_bdi = "super_block.s_bdi";
        /// The file system's device.
        sb_dev = "super_block.s_dev";
        /// Of an NFS mount, its `nfs_server`.
        sb_fs_info = "super_block.s_fs_info";
        /// The mount's device.
        nfs_server_dev = "nfs_server.s_dev";
        /// The flag of a congested NFS mount, since 5.18.
        nfs_write_congested = "nfs_server.write_congested";
        /// The name of a BDI, since 5.7.
        bdi_name = "backing_dev_info.dev_name";
    }
    fields {
        "writeback/balance_dirty_pages":
            bdp_bdi = ["bdi"], BDI_NAME_LEN, true;
            bdp_pause = ["pause"], 8, true;
            bdp_paused = ["paused"], 8, true;
            bdp_limit = ["limit"], 8, false;
            bdp_dirty = ["dirty"], 8, false;
            // Renamed between 6.12 and 6.18, together with the order.
            bdp_bdi_setpoint = ["bdi_setpoint", "wb_setpoint"], 8, false;
            bdp_bdi_dirty = ["bdi_dirty", "wb_dirty"], 8, false;
            bdp_task_ratelimit = ["task_ratelimit"], 8, false;
            bdp_cgroup = ["cgroup_ino"], 8, false;
        "writeback/writeback_congestion_wait":
            congestion_delayed = ["usec_delayed"], 4, true;
        "writeback/writeback_wait_iff_congested":
            iff_congested_delayed = ["usec_delayed"], 4, true;
        "vmscan/mm_vmscan_throttled":
            throttled_delayed = ["usec_delayed"], 4, true;
            throttled_reason = ["reason"], 4, false;
        "nfs/nfs_initiate_write":
            initiate_write_dev = ["dev"], 4, true;
            initiate_write_count = ["count"], 4, true;
        "nfs/nfs_writeback_done":
            writeback_done_dev = ["dev"], 4, true;
            writeback_done_count = ["res_count"], 4, true;
            writeback_done_error = ["status", "error"], 4, false;
        "nfs/nfs_initiate_commit":
            initiate_commit_dev = ["dev"], 4, true;
        "nfs/nfs_commit_done":
            commit_done_dev = ["dev"], 4, true;
        "sunrpc/xprt_transmit":
            transmit_client = ["client_id"], 4, true;
            transmit_xid = ["xid"], 4, true;
            transmit_status = ["status"], 4, false;
        "sunrpc/svc_process":
            process_xid = ["xid"], 4, true;
            process_addr = ["addr"], 4, false;
        "sunrpc/rpc_task_begin":
            task_begin_client = ["client_id"], 4, true;
        "nfsd/nfsd_write_start":
            nfsd_write_start_len = ["len"], 4, false;
        "nfsd/nfsd_write_io_done":
            nfsd_write_io_done_len = ["len"], 4, true;
    }
}

impl Default for Offsets {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

// SAFETY: repr(C) and made of i32 only: no padding, and any bytes are a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Offsets {}
