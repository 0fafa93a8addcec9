//! What differs from kernel to kernel, resolved by the daemon at load time.

/// Offsets into `task_struct` and into tracepoint records, in bytes.
///
/// The daemon fills it in from BTF and from the tracepoints' `format` files
/// and hands it to the programs as a read-only global; `-1` is "not here", and
/// a program that meets it does without. Nothing in it has a default that
/// could pass for a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.flags`.
    pub task_flags: i32,
    /// `task_struct.group_leader`.
    pub task_group_leader: i32,
    /// `task_struct.comm`.
    pub task_comm: i32,
    /// `task_struct.pid`: the thread's id.
    pub task_pid: i32,
    /// `task_struct.tgid`: the process's.
    pub task_tgid: i32,
    /// `task_struct.worker_private`: of a kernel thread, its `kthread` (since
    /// 5.17).
    pub task_kthread: i32,
    /// `kthread.data`: of a kworker, its `worker`.
    pub kthread_data: i32,
    /// `worker.current_pwq`: what it works for.
    pub worker_pwq: i32,
    /// `pool_workqueue.wq`.
    pub pwq_wq: i32,
    /// `workqueue_struct.name`.
    pub wq_name: i32,
    /// `balance_dirty_pages`: `bdi`.
    pub bdp_bdi: i32,
    /// `balance_dirty_pages`: `limit`, pages.
    pub bdp_limit: i32,
    /// `balance_dirty_pages`: `dirty`, pages.
    pub bdp_dirty: i32,
    /// `balance_dirty_pages`: `bdi_setpoint` or `wb_setpoint`, pages.
    pub bdp_bdi_setpoint: i32,
    /// `balance_dirty_pages`: `bdi_dirty` or `wb_dirty`, pages.
    pub bdp_bdi_dirty: i32,
    /// `balance_dirty_pages`: `task_ratelimit`, KiB a second.
    pub bdp_task_ratelimit: i32,
    /// `balance_dirty_pages`: `paused`, milliseconds since the call began.
    pub bdp_paused: i32,
    /// `balance_dirty_pages`: `pause`, milliseconds to come.
    pub bdp_pause: i32,
    /// `writeback_congestion_wait`: `usec_delayed`.
    pub congestion_delayed: i32,
    /// `writeback_wait_iff_congested`: `usec_delayed`.
    pub iff_congested_delayed: i32,
    /// `mm_vmscan_throttled`: `usec_delayed`.
    pub throttled_delayed: i32,
    /// `mm_vmscan_throttled`: `reason`.
    pub throttled_reason: i32,
    /// `nfs_initiate_write`: `dev`.
    pub initiate_write_dev: i32,
    /// `nfs_initiate_write`: `count`.
    pub initiate_write_count: i32,
    /// `nfs_writeback_done`: `dev`.
    pub writeback_done_dev: i32,
    /// `nfs_writeback_done`: `res_count`.
    pub writeback_done_count: i32,
    /// `nfs_writeback_done`: `status` (5.10) or `error`.
    pub writeback_done_error: i32,
    /// `nfs_initiate_commit`: `dev`.
    pub initiate_commit_dev: i32,
    /// `nfs_commit_done`: `dev`.
    pub commit_done_dev: i32,
    /// `nfsd_write_start`: `len`.
    pub nfsd_write_start_len: i32,
    /// `nfsd_write_io_done`: `len`.
    pub nfsd_write_io_done_len: i32,
    /// `xprt_transmit`: `client_id`.
    pub transmit_client: i32,
    /// `xprt_transmit`: `xid`.
    pub transmit_xid: i32,
    /// `xprt_transmit`: `status`.
    pub transmit_status: i32,
    /// `svc_process`: `xid`.
    pub process_xid: i32,
    /// `svc_process`: `addr`, a `__data_loc`.
    pub process_addr: i32,
    /// `rpc_task_begin`: `client_id`.
    pub task_begin_client: i32,
    /// `file.f_inode`.
    pub file_inode: i32,
    /// `address_space.host`.
    pub mapping_host: i32,
    /// `inode.i_sb`.
    pub inode_sb: i32,
    /// `super_block.s_bdi`.
    pub sb_bdi: i32,
    /// `super_block.s_dev`.
    pub sb_dev: i32,
    /// `super_block.s_fs_info`: of an NFS mount, its `nfs_server`.
    pub sb_fs_info: i32,
    /// `nfs_server.s_dev`.
    pub nfs_server_dev: i32,
    /// `nfs_server.write_congested`.
    pub nfs_write_congested: i32,
    /// `backing_dev_info.dev_name`.
    pub bdi_name: i32,
    /// Not an offset: 500 ms in jiffies, what `svc_alloc_arg` sleeps up to
    /// 5.13; -1 where HZ is not known or not needed.
    pub half_second_jiffies: i32,
}

impl Offsets {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        task_flags: -1,
        task_group_leader: -1,
        task_comm: -1,
        task_pid: -1,
        task_tgid: -1,
        task_kthread: -1,
        kthread_data: -1,
        worker_pwq: -1,
        pwq_wq: -1,
        wq_name: -1,
        bdp_bdi: -1,
        bdp_limit: -1,
        bdp_dirty: -1,
        bdp_bdi_setpoint: -1,
        bdp_bdi_dirty: -1,
        bdp_task_ratelimit: -1,
        bdp_paused: -1,
        bdp_pause: -1,
        congestion_delayed: -1,
        iff_congested_delayed: -1,
        throttled_delayed: -1,
        throttled_reason: -1,
        initiate_write_dev: -1,
        initiate_write_count: -1,
        writeback_done_dev: -1,
        writeback_done_count: -1,
        writeback_done_error: -1,
        initiate_commit_dev: -1,
        commit_done_dev: -1,
        nfsd_write_start_len: -1,
        nfsd_write_io_done_len: -1,
        transmit_client: -1,
        transmit_xid: -1,
        transmit_status: -1,
        process_xid: -1,
        process_addr: -1,
        task_begin_client: -1,
        file_inode: -1,
        mapping_host: -1,
        inode_sb: -1,
        sb_bdi: -1,
        sb_dev: -1,
        sb_fs_info: -1,
        nfs_server_dev: -1,
        nfs_write_congested: -1,
        bdi_name: -1,
        half_second_jiffies: -1,
    };
}

impl Default for Offsets {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

// SAFETY: repr(C) and made of i32 only: no padding, and any bytes are a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Offsets {}
