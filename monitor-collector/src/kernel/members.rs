//! The fields of the kernel's structs that programs read, by their names in BTF.

use monitor_common::Offsets;

/// A field of one of the kernel's structs that the programs read.
pub struct Member {
    /// `struct.field`.
    pub path: &'static str,
    /// Where its offset goes.
    pub slot: fn(&mut Offsets) -> &mut i32,
}

/// Names each path and says in the same place which slot is its own: no two lists, which
/// could come apart.
macro_rules! members {
    ($($(#[$meta:meta])* $name:ident = $path:literal => $slot:ident;)+) => {
        $($(#[$meta])* pub const $name: &str = $path;)+

        /// All of them.
        pub const MEMBERS: &[Member] = &[$(Member {
            path: $name,
            slot: |offsets| &mut offsets.$slot,
        },)+];
    };
}

members! {
    /// Whether a task is a kernel thread.
    TASK_FLAGS = "task_struct.flags" => task_flags;
    /// The first thread of a task's process.
    TASK_GROUP_LEADER = "task_struct.group_leader" => task_group_leader;
    /// A task's name.
    TASK_COMM = "task_struct.comm" => task_comm;
    /// Of a kernel thread, its `kthread`, since 5.17.
    TASK_KTHREAD = "task_struct.worker_private" => task_kthread;
    /// Of a kworker, its `worker`.
    KTHREAD_DATA = "kthread.data" => kthread_data;
    /// What it works for.
    WORKER_PWQ = "worker.current_pwq" => worker_pwq;
    /// The workqueue of that.
    PWQ_WQ = "pool_workqueue.wq" => pwq_wq;
    /// The workqueue's name.
    WQ_NAME = "workqueue_struct.name" => wq_name;
    /// A file's inode.
    FILE_INODE = "file.f_inode" => file_inode;
    /// The file whose pages they are.
    MAPPING_HOST = "address_space.host" => mapping_host;
    /// The file system of an inode.
    INODE_SB = "inode.i_sb" => inode_sb;
    /// The BDI that its pages belong to.
    SB_BDI = "super_block.s_bdi" => sb_bdi;
    /// The file system's device.
    SB_DEV = "super_block.s_dev" => sb_dev;
    /// Of an NFS mount, its `nfs_server`.
    SB_FS_INFO = "super_block.s_fs_info" => sb_fs_info;
    /// The mount's device.
    NFS_SERVER_DEV = "nfs_server.s_dev" => nfs_server_dev;
    /// The flag of a congested NFS mount, since 5.18.
    NFS_SERVER_CONGESTED = "nfs_server.write_congested" => nfs_write_congested;
    /// The name of a BDI, since 5.7.
    BDI_NAME = "backing_dev_info.dev_name" => bdi_name;
}

/// From a file to the BDI that its pages belong to, and that BDI's name.
pub const FILE_TO_BDI: &[&str] = &[FILE_INODE, INODE_SB, SB_BDI, SB_DEV, BDI_NAME];
/// What writers wait on while an NFS mount is congested, since 6.11. A struct of
/// the module nfs, but the kernel's own BTF has it too. No program reads it: that it is
/// there says that this kernel waits.
pub const NFS_CONGESTION_WAIT: &str = "nfs_server.write_congestion_wait";
/// From a file's pages to the flag of a congested NFS mount, since 5.18.
pub const NFS_WRITE_CONGESTED: &[&str] = &[
    MAPPING_HOST,
    INODE_SB,
    SB_DEV,
    SB_FS_INFO,
    NFS_SERVER_DEV,
    NFS_SERVER_CONGESTED,
];
