//! The signals and the ordered ways to attach each: the one table to change
//! when a signal is added.

use super::btf::TASK_FLAGS;

/// Where a program is hung in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// `group`/`name`, through perf; fields by the `format` file.
    Tracepoint(&'static str, &'static str),
    /// By BTF, the tracepoint's own arguments.
    BtfTracepoint(&'static str),
    /// A function's entry, by BTF trampoline.
    Fentry(&'static str),
    /// A function's exit, by BTF trampoline.
    Fexit(&'static str),
    /// A function's entry, by breakpoint or ftrace.
    Kprobe(&'static str),
    /// A function's exit, by return probe.
    Kretprobe(&'static str),
}

impl Hook {
    /// The kind, as in `--probe.avoid`.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Tracepoint(..) => "tracepoint",
            Self::BtfTracepoint(_) => "btf-tracepoint",
            Self::Fentry(_) | Self::Fexit(_) => "fentry",
            Self::Kprobe(_) | Self::Kretprobe(_) => "kprobe",
        }
    }
}

/// A program and its hook.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Its name in monitor-ebpf.
    pub program: &'static str,
    /// Where it is hung in.
    pub hook: Hook,
}

/// A way to attach a signal: all its probes or nothing.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The strategy's name, in metrics and JSON.
    pub strategy: &'static str,
    /// What it takes.
    pub probes: &'static [Probe],
    /// A struct field, `struct.field`, whose offset BTF must tell.
    pub btf_offset: Option<&'static str>,
    /// What this way does not see that a better one would; empty: nothing.
    pub loses: &'static str,
}

/// A signal.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// The name, in metrics and JSON.
    pub name: &'static str,
    /// What it shows, for a newcomer.
    pub shows: &'static str,
    /// The module that has to be loaded first.
    pub module: Option<&'static str>,
    /// Best first.
    pub ways: &'static [Way],
    /// What is lost without it.
    pub loses: &'static str,
    /// Where a kernel has no such wait: which one it has instead. `None`: every
    /// kernel that is supported has it.
    pub replaced_by: Option<&'static str>,
    /// Without it there is nothing to monitor.
    pub needed: bool,
}

const fn tp(program: &'static str, group: &'static str, name: &'static str) -> Probe {
    Probe {
        program,
        hook: Hook::Tracepoint(group, name),
    }
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
                    btf_offset: None,
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
                    btf_offset: None,
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
                    btf_offset: None,
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
                    btf_offset: None,
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
                    btf_offset: None,
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
            ways: &[Way { strategy: "tracepoint", btf_offset: None, probes: &[$(tp($program, $module, $tracepoint)),+], loses: "" }],
            loses: $loses,
            replaced_by: $replaced,
            needed: false,
        }
    };
}

/// In a way, the probe of an exit stands before that of its entry, so that no
/// entry is kept whose exit is not seen.
const PAUSE: Probe = tp(
    "balance_dirty_pages_pause",
    "writeback",
    "balance_dirty_pages",
);
const CONGESTION_GONE: &str = "reclaim_throttle, since 5.16";

/// In which `svc_alloc_arg` sleeps before 5.14, for a time that depends on HZ.
pub const SCHEDULE_TIMEOUT: &str = "schedule_timeout";

/// Every signal.
pub const SIGNALS: &[Signal] = &[
    Signal {
        name: "task_class",
        shows: "what kind of task waits: nfsd, kswapd, a program...",
        module: None,
        ways: &[
            Way {
                strategy: "btf",
                btf_offset: Some(TASK_FLAGS),
                probes: &[],
                loses: "",
            },
            Way {
                strategy: "name",
                btf_offset: None,
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
                btf_offset: None,
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
                btf_offset: None,
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
                btf_offset: None,
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
        name: "throttle_direct_reclaim",
        shows: "tasks held back so that swapping over NFS can go on",
        module: None,
        ways: &[
            Way {
                strategy: "fentry",
                btf_offset: None,
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
                btf_offset: None,
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
                btf_offset: None,
                probes: &[tp("svc_alloc_arg_err", "sunrpc", "svc_alloc_arg_err")],
                loses: "",
            },
            // Before 5.14 there is no tracepoint, and the function is inlined.
            Way {
                strategy: "kprobe",
                btf_offset: None,
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
];

fn hooks() -> impl Iterator<Item = Hook> {
    SIGNALS
        .iter()
        .flat_map(|s| s.ways)
        .flat_map(|w| w.probes)
        .map(|p| p.hook)
}

/// Functions that some way probes.
pub fn functions() -> impl Iterator<Item = &'static str> {
    unique(hooks().filter_map(|hook| match hook {
        Hook::Fentry(name) | Hook::Fexit(name) | Hook::Kprobe(name) | Hook::Kretprobe(name) => {
            Some(name)
        }
        Hook::Tracepoint(..) | Hook::BtfTracepoint(_) => None,
    }))
}

/// Tracepoints that some way attaches by BTF.
pub fn btf_tracepoints() -> impl Iterator<Item = &'static str> {
    unique(hooks().filter_map(|hook| {
        if let Hook::BtfTracepoint(name) = hook {
            Some(name)
        } else {
            None
        }
    }))
}

/// Tracepoints, as (group, name), that some way attaches.
pub fn tracepoints() -> impl Iterator<Item = (&'static str, &'static str)> {
    unique(hooks().filter_map(|hook| {
        if let Hook::Tracepoint(group, name) = hook {
            Some((group, name))
        } else {
            None
        }
    }))
}

fn unique<T: Ord + Copy>(items: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    items.collect::<std::collections::BTreeSet<_>>().into_iter()
}
