//! The table: every signal and its ordered ways.
//!
//! In a way, the probe of an exit stands before that of its entry, so that no
//! entry is kept whose exit is not seen.

use super::{Hook, Probe, SCHEDULE_TIMEOUT, Signal, Way};
use crate::kernel::btf::{BDI_NAME, FILE_TO_BDI, NFS_CONGESTION_WAIT, TASK_FLAGS};

const fn tp(program: &'static str, group: &'static str, name: &'static str) -> Probe {
    Probe {
        program,
        hook: Hook::Tracepoint(group, name),
    }
}

const fn probe(program: &'static str, hook: Hook) -> Probe {
    Probe { program, hook }
}

macro_rules! sleep_signal {
    ($name:literal, $shows:literal, $group:literal, $tracepoint:literal, $done:literal, $replaced:expr) => {
        Signal {
            name: $name,
            shows: $shows,
            module: None,
            ways: &[
                Way {
                    strategy: "tracepoint+fentry",
                    btf_offsets: &[],
                    probes: &[
                        tp($done, $group, $tracepoint),
                        Probe {
                            program: concat!($name, "_fexit"),
                            hook: Hook::Fexit($name),
                        },
                        Probe {
                            program: concat!($name, "_fentry"),
                            hook: Hook::Fentry($name),
                        },
                    ],
                    loses: "",
                },
                Way {
                    strategy: "tracepoint+kprobe",
                    btf_offsets: &[],
                    probes: &[
                        tp($done, $group, $tracepoint),
                        Probe {
                            program: concat!($name, "_kretprobe"),
                            hook: Hook::Kretprobe($name),
                        },
                        Probe {
                            program: concat!($name, "_kprobe"),
                            hook: Hook::Kprobe($name),
                        },
                    ],
                    loses: "",
                },
                Way {
                    strategy: "tracepoint",
                    btf_offsets: &[],
                    probes: &[tp($done, $group, $tracepoint)],
                    loses: "each sleep (mostly 100 ms) is seen only when it is over",
                },
            ],
            loses: concat!("sleeps in ", $name, " are not seen"),
            replaced_by: $replaced,
            needed: false,
        }
    };
}

macro_rules! pair_signal {
    ($name:literal, $shows:literal, $group:literal, $begin:literal, $end:literal, $replaced:expr) => {
        Signal {
            name: $name,
            shows: $shows,
            module: None,
            ways: &[
                Way {
                    strategy: "btf-tracepoint",
                    btf_offsets: &[],
                    probes: &[
                        Probe {
                            program: concat!($name, "_btf_end"),
                            hook: Hook::BtfTracepoint($end),
                        },
                        Probe {
                            program: concat!($name, "_btf_begin"),
                            hook: Hook::BtfTracepoint($begin),
                        },
                    ],
                    loses: "",
                },
                Way {
                    strategy: "tracepoint",
                    btf_offsets: &[],
                    probes: &[
                        tp(concat!($name, "_end"), $group, $end),
                        tp(concat!($name, "_begin"), $group, $begin),
                    ],
                    loses: "",
                },
            ],
            loses: concat!("tasks in ", $name, " are not seen"),
            replaced_by: $replaced,
            needed: false,
        }
    };
}

macro_rules! counting_signal {
    ($name:literal, $shows:literal, $module:literal, $loses:literal, $replaced:expr, [$(($program:literal, $tracepoint:literal)),+]) => {
        Signal {
            name: $name,
            shows: $shows,
            module: Some($module),
            ways: &[Way { strategy: "tracepoint", btf_offsets: &[], probes: &[$(tp($program, $module, $tracepoint)),+], loses: "" }],
            loses: $loses,
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
        shows: "what kind of task waits: nfsd, kswapd, a program...",
        module: None,
        ways: &[
            Way {
                strategy: "btf",
                btf_offsets: &[TASK_FLAGS],
                probes: &[],
                loses: "",
            },
            Way {
                strategy: "name",
                btf_offsets: &[],
                probes: &[],
                loses: "tasks are told apart by name alone: a program named nfsd counts as nfsd, most kernel threads \
                        as user",
            },
        ],
        loses: "",
        replaced_by: None,
        needed: false,
    },
    Signal {
        name: "balance_dirty_pages",
        shows: "tasks made to pause because too many pages are dirty",
        module: None,
        ways: &[
            Way {
                strategy: "tracepoint+fexit",
                btf_offsets: &[],
                probes: &[
                    Probe {
                        program: "balance_dirty_pages_fexit",
                        hook: Hook::Fexit("balance_dirty_pages"),
                    },
                    PAUSE,
                ],
                loses: "",
            },
            Way {
                strategy: "tracepoint+kretprobe",
                btf_offsets: &[],
                probes: &[
                    Probe {
                        program: "balance_dirty_pages_kretprobe",
                        hook: Hook::Kretprobe("balance_dirty_pages"),
                    },
                    PAUSE,
                ],
                loses: "",
            },
            Way {
                strategy: "tracepoint",
                btf_offsets: &[],
                probes: &[PAUSE],
                loses: "the moment a task is let go: a wait is taken to end when the last pause that the kernel \
                        announced does",
            },
        ],
        loses: "dirty throttling is not seen, and with it no livelock",
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
        shows: "which backing devices are congested, by the kernel's flag",
        module: None,
        ways: &[
            Way {
                strategy: "fentry",
                btf_offsets: &[BDI_NAME],
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
                loses: "",
            },
            Way {
                strategy: "kprobe",
                btf_offsets: &[BDI_NAME],
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
                loses: "",
            },
        ],
        loses: "whether a backing device is congested is derived once a tick: short times are not seen",
        replaced_by: Some(
            "a rule of each file system's own, since 5.18, which is applied once a tick",
        ),
        needed: false,
    },
    Signal {
        name: "throttle_direct_reclaim",
        shows: "tasks held back so that swapping over NFS can go on",
        module: None,
        ways: &[
            Way {
                strategy: "fentry",
                btf_offsets: &[],
                probes: &[
                    Probe {
                        program: "throttle_direct_reclaim_fexit",
                        hook: Hook::Fexit("throttle_direct_reclaim"),
                    },
                    Probe {
                        program: "throttle_direct_reclaim_fentry",
                        hook: Hook::Fentry("throttle_direct_reclaim"),
                    },
                ],
                loses: "",
            },
            Way {
                strategy: "kprobe",
                btf_offsets: &[],
                probes: &[
                    Probe {
                        program: "throttle_direct_reclaim_kretprobe",
                        hook: Hook::Kretprobe("throttle_direct_reclaim"),
                    },
                    Probe {
                        program: "throttle_direct_reclaim_kprobe",
                        hook: Hook::Kprobe("throttle_direct_reclaim"),
                    },
                ],
                loses: "a wait may be shown after it is over, when more tasks sleep at once than the kernel keeps \
                        return probes for",
            },
        ],
        loses: "the brake of swap over NFS is not seen",
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
    Signal {
        name: "svc_alloc_arg",
        shows: "nfsd threads that get no memory for their next request",
        module: Some("sunrpc"),
        ways: &[
            Way {
                strategy: "tracepoint",
                btf_offsets: &[],
                probes: &[tp("svc_alloc_arg_err", "sunrpc", "svc_alloc_arg_err")],
                loses: "",
            },
            // Before 5.14 there is no tracepoint, and the function is inlined.
            Way {
                strategy: "kprobe",
                btf_offsets: &[],
                probes: &[Probe {
                    program: "svc_alloc_arg_sleep",
                    hook: Hook::Kprobe(SCHEDULE_TIMEOUT),
                }],
                loses: "",
            },
        ],
        loses: "nfsd threads that get no memory for their next request are seen in direct_reclaim only",
        replaced_by: None,
        needed: false,
    },
    counting_signal!(
        "nfs_client_writes",
        "the NFS client's WRITE calls, sent and answered",
        "nfs",
        "the client's progress is not seen",
        None,
        [
            ("nfs_writeback_done", "nfs_writeback_done"),
            ("nfs_initiate_write", "nfs_initiate_write")
        ]
    ),
    counting_signal!(
        "nfs_client_commits",
        "the NFS client's COMMIT calls, sent and answered",
        "nfs",
        "the client's COMMIT calls are not seen",
        None,
        [
            ("nfs_commit_done", "nfs_commit_done"),
            ("nfs_initiate_commit", "nfs_initiate_commit")
        ]
    ),
    Signal {
        name: "nfs_congestion",
        shows: "writers that wait until an NFS mount is no longer congested",
        module: Some("nfs"),
        ways: &[Way {
            strategy: "kprobe",
            btf_offsets: &[NFS_CONGESTION_WAIT],
            probes: &[
                probe(
                    "nfs_pageio_init_kprobe",
                    Hook::ModuleKprobe("nfs_pageio_init"),
                ),
                probe(
                    "nfs_writepages_kretprobe",
                    Hook::ModuleKretprobe("nfs_writepages"),
                ),
                probe(
                    "nfs_writepages_kprobe",
                    Hook::ModuleKprobe("nfs_writepages"),
                ),
            ],
            loses: "",
        }],
        loses: "writers that wait for a congested NFS mount are not seen",
        replaced_by: Some("no such wait (up to 6.10), or no BTF that tells of it"),
        needed: false,
    },
    counting_signal!(
        "nfsd_writes",
        "nfsd's WRITE operations",
        "nfsd",
        "the server's progress is not seen",
        None,
        [
            ("nfsd_write_done", "nfsd_write_done"),
            ("nfsd_write_io_done", "nfsd_write_io_done"),
            ("nfsd_write_start", "nfsd_write_start")
        ]
    ),
    Signal {
        name: "rpc_xid",
        shows: "which NFS mounts are served by this very kernel: the loops",
        module: Some("sunrpc"),
        ways: &[Way {
            strategy: "tracepoint",
            btf_offsets: &[],
            probes: &[
                tp("svc_process", "sunrpc", "svc_process"),
                tp("xprt_transmit", "sunrpc", "xprt_transmit"),
            ],
            loses: "",
        }],
        loses: "loops are found by their sockets and addresses only, not behind NAT",
        replaced_by: None,
        needed: false,
    },
    Signal {
        name: "rpc_device",
        shows: "whose mount an RPC client's calls are",
        module: Some("sunrpc"),
        ways: &[Way {
            strategy: "tracepoint",
            btf_offsets: &[],
            probes: &[tp("rpc_task_begin", "sunrpc", "rpc_task_begin")],
            loses: "",
        }],
        loses: "a loop's mount is found by the server's address only, and LOCALIO is not seen",
        replaced_by: None,
        needed: false,
    },
    Signal {
        name: "server_backing",
        shows: "what nfsd writes to for a client",
        module: None,
        ways: &[
            Way {
                strategy: "fentry",
                btf_offsets: FILE_TO_BDI,
                probes: &[
                    Probe {
                        program: "vfs_iter_write_fentry",
                        hook: Hook::Fentry("vfs_iter_write"),
                    },
                    Probe {
                        program: "vfs_iocb_iter_write_fentry",
                        hook: Hook::Fentry("vfs_iocb_iter_write"),
                    },
                ],
                loses: "",
            },
            Way {
                strategy: "kprobe",
                btf_offsets: FILE_TO_BDI,
                probes: &[
                    Probe {
                        program: "vfs_iter_write_kprobe",
                        hook: Hook::Kprobe("vfs_iter_write"),
                    },
                    Probe {
                        program: "vfs_iocb_iter_write_kprobe",
                        hook: Hook::Kprobe("vfs_iocb_iter_write"),
                    },
                ],
                loses: "",
            },
        ],
        loses: "the server's BDI is taken from its exports, and where they are on several, from its pauses",
        replaced_by: None,
        needed: false,
    },
];
