//! The explanation of each signature: the only source of `explain` and the runbooks.

use monitor_model::verdict::Signature;

/// A signature and how to confirm it by hand.
#[derive(Debug)]
pub struct Explanation {
    /// The signature.
    pub signature: Signature,
    /// A line.
    pub title: &'static str,
    /// The explanation, a paragraph each.
    pub what: &'static [&'static str],
    /// The tasks and their functions, in the order of the cycle.
    pub path: &'static [Chain],
    /// The kernels on which it is expected.
    pub kernels: &'static str,
    /// How to confirm it by hand.
    pub confirm: [Confirm; 3],
    /// A similar condition that is not a livelock.
    pub unlike: &'static str,
}

/// One task's path through the kernel.
#[derive(Debug)]
pub struct Chain {
    /// The task.
    pub who: &'static str,
    /// Functions, outermost first.
    pub functions: &'static [&'static str],
    /// What it waits for in the last function.
    pub waits_for: &'static str,
}

/// A command and its expected output.
#[derive(Debug)]
pub struct Confirm {
    /// The output that confirms the signature.
    pub look: &'static str,
    /// One line of shell.
    pub command: &'static str,
}

/// How to find the client's BDI without touching the mount.
pub const FIND_BDI: &str = "awk '/ - nfs4? /{print $3, $5}' /proc/self/mountinfo";

/// The half of the cycle that is always the same.
const WRITERS: Chain = Chain {
    who: "writers",
    functions: &[
        "vfs_write",
        "nfs_file_write",
        "balance_dirty_pages_ratelimited",
        "balance_dirty_pages",
    ],
    waits_for: "the mount's pages to be written: by WRITE calls, to nfsd",
};

const STANDS_STILL: Confirm = Confirm {
    look: "The mount's WRITE line is the same twice: no operation, no byte.",
    command: "for i in 1 2; do grep -E '^device.* nfs|^[[:space:]]+WRITE:' /proc/self/mountstats; sleep 5; done",
};

/// All signatures, in the order of [`Signature::ALL`].
pub static EXPLANATIONS: [Explanation; 5] = [
    Explanation {
        signature: Signature::DirtyThrottle,
        title: "the server is throttled for dirty pages that only the server can clean",
        what: &[
            "This node serves NFS and mounts it itself. The mount's dirty pages fill the node's one dirty limit. The \
             server wants to write a WRITE call's data to its own disk, but a task that dirties a page while the limit is exceeded is paused first. The pages that would have to be written are the mount's, and only the server \
             can take them.",
            "Throughput drops to some KiB/s for a second or more, then stalls, and seldom recovers by itself. The disk is \
             idle, the server's own BDI nearly clean, memory may be free.",
        ],
        path: &[
            WRITERS,
            Chain {
                who: "nfsd, a few threads",
                functions: &[
                    "nfsd",
                    "svc_process",
                    "nfsd4_write (nfsd3_proc_write)",
                    "nfsd_vfs_write",
                    "ext4_buffered_write_iter",
                    "generic_perform_write",
                    "balance_dirty_pages_ratelimited",
                    "balance_dirty_pages",
                ],
                waits_for: "fewer dirty pages on the node, nearly all of which are the mount's",
            },
            Chain {
                who: "nfsd, the other threads",
                functions: &[
                    "nfsd_vfs_write",
                    "ext4_buffered_write_iter",
                    "rwsem_down_write_slowpath",
                ],
                waits_for: "the inode's lock, held by a thread of the first kind",
            },
        ],
        kernels: "All. A server that is exempt (PF_LOCAL_THROTTLE) is not throttled, up to a margin. nfsd is exempt where the \
                  client's address is one of the server's own network namespace (127.0.0.1, or a service address of \
                  the node's), not between two network namespaces of a host, and since 5.11 not where it exports an \
                  NFS mount. A userspace server is exempt if it asked (PR_SET_IO_FLUSHER, as nfs-ganesha does from \
                  version 6 on, with CAP_SYS_RESOURCE). The label exempt of throttle_loop_info has what was observed. Seen on 5.10, 6.1, 6.12 and 7.2, within 1 to 10 s after the load began.",
        confirm: [
            STANDS_STILL,
            Confirm {
                look: "The mount's BDI holds megabytes, the server's disk almost none. (A slow disk holds as much as the mount.)",
                command: "grep -H -E 'BdiWriteback|BdiReclaimable|BdiDirtyThresh' /sys/kernel/debug/bdi/*/stats",
            },
            Confirm {
                look: "A few threads in balance_dirty_pages below nfsd_vfs_write, the others on a lock.",
                command: "for d in $(grep -slx nfsd /proc/[0-9]*/comm); do echo \"== ${d%/comm}\"; cat \"${d%/comm}/stack\"; done",
            },
        ],
        unlike: "A slow disk under a loopback mount: no WRITE for 4-9 s in a row and nfsd paused in the same way, but the disk \
                 is 92-100 % busy and its own BDI as dirty as the mount. A dead server: every nfsd thread idle.",
    },
    Explanation {
        signature: Signature::ReclaimCongestion,
        title: "the server reclaims memory that is full of its own client's pages",
        what: &[
            "Memory is short. A server thread that needs a page for a WRITE call has to reclaim one itself, and what \
             reclaim finds are dirty pages of the loop's own mount, whose BDI is congested: it sleeps until they are \
             written. Only the server can write them.",
            "Throughput falls to 100-400 KiB/s or to nothing, with idle disks. Where the whole machine is short of \
             memory, user space freezes with it.",
        ],
        path: &[
            WRITERS,
            Chain {
                who: "nfsd, up to Linux 5.15",
                functions: &[
                    "nfsd_vfs_write",
                    "ext4_write_begin (pagecache_get_page)",
                    "__alloc_pages_slowpath",
                    "try_to_free_pages",
                    "shrink_node",
                    "wait_iff_congested (congestion_wait)",
                ],
                waits_for: "100 ms, or until no BDI is congested; then again",
            },
            Chain {
                who: "a userspace server, from Linux 5.16 on",
                functions: &[
                    "vfs_write",
                    "try_to_free_pages",
                    "shrink_node",
                    "reclaim_throttle",
                ],
                waits_for: "writeback or progress of reclaim",
            },
        ],
        kernels: "The sleep itself: up to 5.15 for nfsd, all for userspace servers (from 5.16 on reclaim_throttle lets \
                  kernel threads go). nfsd may still spend all of its time in direct reclaim on later ones. Seen on \
                  5.10 (frozen for 35 s; 145-370 KiB/s for 39 s), once on 6.1.",
        confirm: [
            STANDS_STILL,
            Confirm {
                look: "Server threads below try_to_free_pages: in wait_iff_congested, congestion_wait, reclaim_throttle or \
                       shrink_*.",
                command: "for d in $(grep -slxE 'nfsd|ganesha.nfsd|unfsd' /proc/[0-9]*/task/[0-9]*/comm); do echo \"== ${d%/comm}\"; cat \"${d%/comm}/stack\"; done",
            },
            Confirm {
                look: "BdiWriteback of the mount is about nfs_congestion_kb or above: it is congested.",
                command: "cat /proc/sys/fs/nfs/nfs_congestion_kb; grep -E 'BdiWriteback|BdiReclaimable' /sys/kernel/debug/bdi/$bdi/stats",
            },
        ],
        unlike: "A reclaim storm that makes progress: hundreds of the same sleeps, but WRITE continues at 20-30 MiB/s. A memory \
                 storm without NFS.",
    },
    Explanation {
        signature: Signature::CommitWait,
        title: "memory allocation waits for a COMMIT that the server itself must answer",
        what: &[
            "To free a page of the mount, the kernel may wait until it is written and committed. If the waiting task is a thread of the loop's own server, or kswapd or kcompactd on which the server's threads wait for \
             memory, the COMMIT is never answered.",
        ],
        path: &[
            Chain {
                who: "a server thread (or kswapd, kcompactd)",
                functions: &[
                    "__alloc_pages_slowpath",
                    "try_to_free_pages (compact_zone)",
                    "shrink_folio_list (migrate_pages)",
                    "filemap_release_folio",
                    "nfs_release_folio",
                    "nfs_wb_folio (nfs_wb_page)",
                    "nfs_commit_inode",
                ],
                waits_for: "the reply to a WRITE or COMMIT from the loop's own server",
            },
            Chain {
                who: "the other server threads",
                functions: &["nfsd_commit", "nfsd_vfs_write", "__alloc_pages_slowpath"],
                waits_for: "memory, or a lock of the first",
            },
        ],
        kernels: "Where nfs_release_folio waits (6.3 to 6.18; Debian's 6.12.57, no longer its 6.12.69): not 5.10 and 6.1, \
                  where it gives up on such a page, nor 6.12.69 and later and 7.2, which have cce0be6eb497 of December \
                  2025. Reproduced on 6.12.43: two nfsd threads over 127.0.0.1 in 256 MiB, 0 B/s 18 s after the load began.",
        confirm: [
            STANDS_STILL,
            Confirm {
                look: "nfs_wb_folio, nfs_wb_page or nfs_commit_inode below nfs_release_folio, in a server thread, kswapd or \
                       kcompactd.",
                command: "for d in $(grep -slxE 'nfsd|kswapd[0-9]+|kcompactd[0-9]+' /proc/[0-9]*/comm); do echo \"== ${d%/comm}\"; cat \"${d%/comm}/stack\"; done",
            },
            Confirm {
                look: "The mount's COMMIT line is the same twice, too, while its backlog is not empty.",
                command: "for i in 1 2; do grep -E '^device.* nfs|^[[:space:]]+COMMIT:' /proc/self/mountstats; sleep 5; done",
            },
        ],
        unlike: "A COMMIT that takes seconds because the server's disk flushes its cache: the disk is busy and every \
                 nfsd stack is in the file system, not in nfs_*.",
    },
    Explanation {
        signature: Signature::RequestStarvation,
        title: "nfsd has no pages to receive the calls that would free pages",
        what: &[
            "Before nfsd takes a call it fills its request with pages, up to a megabyte of them. If there are none, it sleeps and retries, without reading the call. Memory is full of the mount's pages, and the unread calls are the WRITEs that would clean them.",
        ],
        path: &[
            WRITERS,
            Chain {
                who: "nfsd",
                functions: &[
                    "nfsd",
                    "svc_recv",
                    "svc_alloc_arg",
                    "alloc_pages_bulk (alloc_page)",
                    "schedule_timeout",
                ],
                waits_for: "up to 500 ms (one tick from Linux 5.17 on), then it retries",
            },
        ],
        kernels: "Not reproduced on any kernel, so this is never more than suspected. Single-page allocations hardly fail before the OOM killer runs: 64 nfsd threads in 256 MiB that were full had none fail in 40 s \
                  (6.12.117, 14 OOM kills).",
        confirm: [
            STANDS_STILL,
            Confirm {
                look: "Events, some a second. (Linux 5.14 and later; before, the daemon's throttle_delay_seconds_count with \
                       cause=\"svc_alloc_arg\" grows.)",
                command: "cd /sys/kernel/tracing && echo 1 > events/sunrpc/svc_alloc_arg_err/enable; sleep 5; grep -c svc_alloc_arg_err trace; echo 0 > events/sunrpc/svc_alloc_arg_err/enable",
            },
            Confirm {
                look: "Almost no free pages, and BdiWriteback of the mount about nfs_congestion_kb or above.",
                command: "grep -E '^(nr_free_pages|nr_writeback|oom_kill) ' /proc/vmstat; cat /proc/sys/fs/nfs/nfs_congestion_kb; grep BdiWriteback /sys/kernel/debug/bdi/$bdi/stats",
            },
        ],
        unlike: "Memory starvation of the node as a whole: every task retries, and WRITE continues whenever memory is freed.",
    },
    Explanation {
        signature: Signature::LoopDevice,
        title: "a loop device's worker is part of the cycle, instead of nfsd or before it",
        what: &[
            "A block device such as /dev/loop0 keeps its data in a file on the NFS mount, or in a file that the server \
             exports. Its worker writes that file as a second writer: the dirty pages of the file system on the loop \
             device become dirty pages of the mount, and they of the server's disk. One limit counts all three, and \
             the last in the chain is paused for the pages of the first.",
        ],
        path: &[
            Chain {
                who: "writers to the file system on the loop device",
                functions: &[
                    "vfs_write",
                    "ext4_buffered_write_iter",
                    "balance_dirty_pages",
                ],
                waits_for: "the loop device's pages to be written, by its worker",
            },
            Chain {
                who: "the loop device's worker (a kworker; loop0 up to Linux 5.13)",
                functions: &[
                    "loop_workfn (kthread_worker_fn)",
                    "loop_process_work",
                    "lo_write_simple (lo_rw_aio)",
                    "nfs_file_write",
                    "balance_dirty_pages",
                ],
                waits_for: "the mount's pages to be written, by WRITE calls to nfsd",
            },
            Chain {
                who: "nfsd",
                functions: &[
                    "nfsd_vfs_write",
                    "ext4_buffered_write_iter",
                    "balance_dirty_pages",
                ],
                waits_for: "fewer dirty pages, which are those of the loop device and of the mount",
            },
        ],
        kernels: "All. Seen on 6.12: ext4 on a loop device whose file is on a mount across namespaces stalls \
                  after 4 s; over 127.0.0.1 it does not stall.",
        confirm: [
            STANDS_STILL,
            Confirm {
                look: "A loop device whose file is on the mount, or under an export of this node.",
                command: "grep -H . /sys/block/loop*/loop/backing_file",
            },
            Confirm {
                look: "The loop device's BDI (7:0 is /dev/loop0) and the mount's hold megabytes, the server's disk almost none.",
                command: "grep -H -E 'BdiWriteback|BdiReclaimable' /sys/kernel/debug/bdi/*/stats",
            },
        ],
        unlike: "A loop device on a local disk that is slow: the disk is busy and there is no NFS below it.",
    },
];
