//! What differs from kernel to kernel, resolved by the daemon at load time.

macro_rules! offsets {
    ($($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* $field:ident,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(C)]
        pub struct $name { $($(#[$fmeta])* pub $field: i32,)+ }

        impl $name {
            /// Nothing is known.
            pub const UNKNOWN: Self = Self { $($field: -1,)+ };
        }
    )+};
}

offsets! {
    /// Offsets into `task_struct` and into tracepoint records, in bytes.
    ///
    /// The daemon fills it in from BTF and from the tracepoints' `format` files
    /// and hands it to the programs as a read-only global; `-1` is "not here", and
    /// a program that meets it does without. Nothing in it has a default that
    /// could pass for a fact.
    pub struct Offsets {
        /// `task_struct.flags`.
        task_flags,
        /// `task_struct.group_leader`.
        task_group_leader,
        /// `task_struct.comm`.
        task_comm,
        /// `task_struct.worker_private`: of a kernel thread, its `kthread` (since
        /// 5.17).
        task_kthread,
        /// `kthread.data`: of a kworker, its `worker`.
        kthread_data,
        /// `worker.current_pwq`: what it works for.
        worker_pwq,
        /// `pool_workqueue.wq`.
        pwq_wq,
        /// `workqueue_struct.name`.
        wq_name,
        /// `balance_dirty_pages`: `bdi`.
        bdp_bdi,
        /// `balance_dirty_pages`: `limit`, pages.
        bdp_limit,
        /// `balance_dirty_pages`: `dirty`, pages.
        bdp_dirty,
        /// `balance_dirty_pages`: `bdi_setpoint` or `wb_setpoint`, pages.
        bdp_bdi_setpoint,
        /// `balance_dirty_pages`: `bdi_dirty` or `wb_dirty`, pages.
        bdp_bdi_dirty,
        /// `balance_dirty_pages`: `task_ratelimit`, KiB a second.
        bdp_task_ratelimit,
        /// `balance_dirty_pages`: `paused`, milliseconds since the call began.
        bdp_paused,
        /// `balance_dirty_pages`: `pause`, milliseconds to come.
        bdp_pause,
        /// `balance_dirty_pages`: `cgroup_ino`, whose part of the BDI it is.
        bdp_cgroup,
        /// `writeback_congestion_wait`: `usec_delayed`.
        congestion_delayed,
        /// `writeback_wait_iff_congested`: `usec_delayed`.
        iff_congested_delayed,
        /// `mm_vmscan_throttled`: `usec_delayed`.
        throttled_delayed,
        /// `mm_vmscan_throttled`: `reason`.
        throttled_reason,
        /// `nfs_initiate_write`: `dev`.
        initiate_write_dev,
        /// `nfs_initiate_write`: `count`.
        initiate_write_count,
        /// `nfs_writeback_done`: `dev`.
        writeback_done_dev,
        /// `nfs_writeback_done`: `res_count`.
        writeback_done_count,
        /// `nfs_writeback_done`: `status` (5.10) or `error`.
        writeback_done_error,
        /// `nfs_initiate_commit`: `dev`.
        initiate_commit_dev,
        /// `nfs_commit_done`: `dev`.
        commit_done_dev,
        /// `nfsd_write_start`: `len`.
        nfsd_write_start_len,
        /// `nfsd_write_io_done`: `len`.
        nfsd_write_io_done_len,
        /// `xprt_transmit`: `client_id`.
        transmit_client,
        /// `xprt_transmit`: `xid`.
        transmit_xid,
        /// `xprt_transmit`: `status`.
        transmit_status,
        /// `svc_process`: `xid`.
        process_xid,
        /// `svc_process`: `addr`, a `__data_loc`.
        process_addr,
        /// `rpc_task_begin`: `client_id`.
        task_begin_client,
        /// `file.f_inode`.
        file_inode,
        /// `address_space.host`.
        mapping_host,
        /// `inode.i_sb`.
        inode_sb,
        /// `super_block.s_bdi`.
        sb_bdi,
        /// `super_block.s_dev`.
        sb_dev,
        /// `super_block.s_fs_info`: of an NFS mount, its `nfs_server`.
        sb_fs_info,
        /// `nfs_server.s_dev`.
        nfs_server_dev,
        /// `nfs_server.write_congested`.
        nfs_write_congested,
        /// `backing_dev_info.dev_name`.
        bdi_name,
        /// Not an offset: 500 ms in jiffies, what `svc_alloc_arg` sleeps up to
        /// 5.13; -1 where HZ is not known or not needed.
        half_second_jiffies,
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
