//! The table: every signal and its ordered strategies.
//!
//! In a strategy, the probe of an exit stands before that of its entry, so that no
//! entry is kept whose exit is not seen.

use super::{About, Hook, Probe, Signal, Strategy, nfs, probe, tp};

macro_rules! sleep_signal {
    ($name:literal, $shows:literal, $group:literal, $tracepoint:literal, $done:literal, $replaced:expr) => {
        Signal {
            name: $name,
            about: About::Waits,
            shows: $shows,
            module: None,
            strategies: &[
                Strategy {
                    name: "tracepoint+fentry",
                    btf_offsets: &[],
                    probes: &[
                        tp($done, $group, $tracepoint),
                        probe(concat!($name, "_fexit"), Hook::Fexit($name)),
                        probe(concat!($name, "_fentry"), Hook::Fentry($name)),
                    ],
                    limitation: "",
                },
                Strategy {
                    name: "tracepoint+kprobe",
                    btf_offsets: &[],
                    probes: &[
                        tp($done, $group, $tracepoint),
                        probe(concat!($name, "_kretprobe"), Hook::Kretprobe($name)),
                        probe(concat!($name, "_kprobe"), Hook::Kprobe($name)),
                    ],
                    limitation: "",
                },
                Strategy {
                    name: "tracepoint",
                    btf_offsets: &[],
                    probes: &[tp($done, $group, $tracepoint)],
                    limitation: "each sleep (mostly 100 ms) is visible only when it is over",
                },
            ],
            limitation: concat!("sleeps in ", $name, " are not visible"),
            replaced_by: $replaced,
            needed: false,
        }
    };
}

macro_rules! pair_signal {
    ($name:literal, $shows:literal, $group:literal, $begin:literal, $end:literal, $replaced:expr) => {
        Signal {
            name: $name,
            about: About::Waits,
            shows: $shows,
            module: None,
            strategies: &[
                Strategy {
                    name: "btf-tracepoint",
                    btf_offsets: &[],
                    probes: &[
                        probe(concat!($name, "_btf_end"), Hook::BtfTracepoint($end)),
                        probe(concat!($name, "_btf_begin"), Hook::BtfTracepoint($begin)),
                    ],
                    limitation: "",
                },
                Strategy {
                    name: "tracepoint",
                    btf_offsets: &[],
                    probes: &[
                        tp(concat!($name, "_end"), $group, $end),
                        tp(concat!($name, "_begin"), $group, $begin),
                    ],
                    limitation: "",
                },
            ],
            limitation: concat!("tasks in ", $name, " are not visible"),
            replaced_by: $replaced,
            needed: false,
        }
    };
}

const PAUSE: Probe = tp(
    "balance_dirty_pages_pause",
    "writeback",
    "balance_dirty_pages",
);
const CONGESTION_GONE: &str = "reclaim_throttle, since 5.16";

/// Every signal.
pub const SIGNALS: &[Signal] = &[
    Signal {
        name: "task_class",
        about: About::Waits,
        shows: "the kind of task that waits: nfsd, kswapd, a program...",
        module: None,
        strategies: &[
            Strategy {
                name: "btf",
                btf_offsets: &[
                    "task_struct.flags",
                    "task_struct.worker_private",
                    "kthread.data",
                    "worker.current_pwq",
                    "pool_workqueue.wq",
                    "workqueue_struct.name",
                ],
                probes: &[],
                limitation: "",
            },
            // Before 5.17.
            Strategy {
                name: "btf-child-tid",
                btf_offsets: &[
                    "task_struct.flags",
                    "task_struct.set_child_tid",
                    "kthread.data",
                    "worker.current_pwq",
                    "pool_workqueue.wq",
                    "workqueue_struct.name",
                ],
                probes: &[],
                limitation: "",
            },
            Strategy {
                name: "btf-flags",
                btf_offsets: &["task_struct.flags"],
                probes: &[],
                limitation: "the workqueue of a kworker is not known: workers of a kernel target (LIO, ksmbd) count as \
                        kworker, those of NFS LOCALIO as loop_device",
            },
            Strategy {
                name: "name",
                btf_offsets: &[],
                probes: &[],
                limitation: "tasks are told apart by name alone: a program named nfsd counts as nfsd, most kernel threads \
                        as user",
            },
        ],
        limitation: "",
        replaced_by: None,
        needed: false,
    },
    Signal {
        name: "balance_dirty_pages",
        about: About::Waits,
        shows: "tasks made to pause because too many pages are dirty",
        module: None,
        strategies: &[
            Strategy {
                name: "tracepoint+fexit",
                btf_offsets: &[],
                probes: &[
                    probe(
                        "balance_dirty_pages_fexit",
                        Hook::Fexit("balance_dirty_pages"),
                    ),
                    PAUSE,
                ],
                limitation: "",
            },
            Strategy {
                name: "tracepoint+kretprobe",
                btf_offsets: &[],
                probes: &[
                    probe(
                        "balance_dirty_pages_kretprobe",
                        Hook::Kretprobe("balance_dirty_pages"),
                    ),
                    PAUSE,
                ],
                limitation: "",
            },
            Strategy {
                name: "tracepoint",
                btf_offsets: &[],
                probes: &[PAUSE],
                limitation: "the moment a task is let go: its wait is assumed to end when the last pause that the kernel announced does",
            },
        ],
        limitation: "dirty throttling is not visible, and no livelock is found",
        replaced_by: None,
        needed: true,
    },
    sleep_signal!(
        "congestion_wait",
        "sleeps for a congested backing device, in reclaim and compaction",
        "writeback",
        "writeback_congestion_wait",
        "congestion_wait_done",
        Some(CONGESTION_GONE)
    ),
    sleep_signal!(
        "wait_iff_congested",
        "sleeps of reclaim while a backing device is congested",
        "writeback",
        "writeback_wait_iff_congested",
        "wait_iff_congested_done",
        Some(CONGESTION_GONE)
    ),
    sleep_signal!(
        "reclaim_throttle",
        "sleeps of reclaim, with the kernel's reason",
        "vmscan",
        "mm_vmscan_throttled",
        "reclaim_throttle_done",
        Some("congestion_wait and wait_iff_congested, up to 5.15")
    ),
    Signal {
        name: "bdi_congestion",
        about: About::Waits,
        shows: "which backing devices are congested, by the kernel's flag",
        module: None,
        strategies: &[
            Strategy {
                name: "fentry",
                btf_offsets: &["backing_dev_info.dev_name"],
                probes: &[
                    probe(
                        "clear_bdi_congested_fentry",
                        Hook::Fentry("clear_bdi_congested"),
                    ),
                    probe(
                        "set_bdi_congested_fentry",
                        Hook::Fentry("set_bdi_congested"),
                    ),
                ],
                limitation: "",
            },
            Strategy {
                name: "kprobe",
                btf_offsets: &["backing_dev_info.dev_name"],
                probes: &[
                    probe(
                        "clear_bdi_congested_kprobe",
                        Hook::Kprobe("clear_bdi_congested"),
                    ),
                    probe(
                        "set_bdi_congested_kprobe",
                        Hook::Kprobe("set_bdi_congested"),
                    ),
                ],
                limitation: "",
            },
        ],
        limitation: "whether a backing device is congested is derived once a tick: short times are not seen",
        replaced_by: Some(
            "a rule of each file system's own, since 5.18, which is applied once a tick",
        ),
        needed: false,
    },
    Signal {
        name: "throttle_direct_reclaim",
        about: About::Waits,
        shows: "tasks held back so that swapping over NFS can go on",
        module: None,
        strategies: &[
            Strategy {
                name: "fentry",
                btf_offsets: &[],
                probes: &[
                    probe(
                        "throttle_direct_reclaim_fexit",
                        Hook::Fexit("throttle_direct_reclaim"),
                    ),
                    probe(
                        "throttle_direct_reclaim_fentry",
                        Hook::Fentry("throttle_direct_reclaim"),
                    ),
                ],
                limitation: "",
            },
            Strategy {
                name: "kprobe",
                btf_offsets: &[],
                probes: &[
                    probe(
                        "throttle_direct_reclaim_kretprobe",
                        Hook::Kretprobe("throttle_direct_reclaim"),
                    ),
                    probe(
                        "throttle_direct_reclaim_kprobe",
                        Hook::Kprobe("throttle_direct_reclaim"),
                    ),
                ],
                limitation: "a wait may be shown after it is over, when more tasks sleep at once than the kernel keeps \
                        return probes for",
            },
        ],
        limitation: "the brake of swap over NFS is not visible",
        replaced_by: None,
        needed: false,
    },
    pair_signal!(
        "direct_reclaim",
        "tasks that reclaim memory themselves: an allocation that has to wait",
        "vmscan",
        "mm_vmscan_direct_reclaim_begin",
        "mm_vmscan_direct_reclaim_end",
        None
    ),
    pair_signal!(
        "memcg_reclaim",
        "the same within the limit of a memory cgroup",
        "vmscan",
        "mm_vmscan_memcg_reclaim_begin",
        "mm_vmscan_memcg_reclaim_end",
        Some("nothing: it is built without memory cgroups")
    ),
    pair_signal!(
        "compaction",
        "tasks that move pages to make room for a large one",
        "compaction",
        "mm_compaction_begin",
        "mm_compaction_end",
        Some("nothing: it is built without compaction")
    ),
    nfs::SVC_ALLOC_ARG,
    nfs::NFS_CLIENT_WRITES,
    nfs::NFS_CLIENT_COMMITS,
    nfs::NFS_CONGESTION,
    nfs::NFS_COMMIT,
    nfs::NFS_WRITE_CONGESTION,
    nfs::NFSD_WRITES,
    nfs::RPC_XID,
    nfs::RPC_DEVICE,
    nfs::SERVER_BACKING,
];
