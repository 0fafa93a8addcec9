//! The signals of NFS, client and server, and of the RPC under both. Their
//! modules may come and go.

use super::{About, Hook, Probe, SCHEDULE_TIMEOUT, Signal, Strategy, probe, tp};

/// From a file to the BDI that its pages belong to, and that BDI's name.
const FILE_TO_BDI: &[&str] = &[
    "file.f_inode",
    "inode.i_sb",
    "super_block.s_bdi",
    "super_block.s_dev",
    "backing_dev_info.dev_name",
];

macro_rules! counting_signal {
    ($name:literal, $about:ident, $shows:literal, $module:literal, $limitation:literal, $replaced:expr, [$(($program:literal, $tracepoint:literal)),+]) => {
        Signal {
            name: $name,
            about: About::$about,
            shows: $shows,
            module: Some($module),
            strategies: &[Strategy { name: "tracepoint", btf_offsets: &[], probes: &[$(tp($program, $module, $tracepoint)),+], limitation: "" }],
            limitation: $limitation,
            replaced_by: $replaced,
            needed: false,
        }
    };
}

pub(super) const SVC_ALLOC_ARG: Signal = Signal {
    name: "svc_alloc_arg",
    about: About::NfsServer,
    shows: "nfsd threads that get no memory for their next request",
    module: Some("sunrpc"),
    strategies: &[
        Strategy {
            name: "tracepoint",
            btf_offsets: &[],
            probes: &[tp("svc_alloc_arg_err", "sunrpc", "svc_alloc_arg_err")],
            limitation: "",
        },
        // Before 5.14 there is no tracepoint, and the function is inlined.
        Strategy {
            name: "kprobe",
            btf_offsets: &[],
            probes: &[probe("svc_alloc_arg_sleep", Hook::Kprobe(SCHEDULE_TIMEOUT))],
            limitation: "",
        },
    ],
    limitation: "nfsd threads that get no memory for their next request are visible in direct_reclaim only",
    replaced_by: None,
    needed: false,
};

pub(super) const NFS_CLIENT_WRITES: Signal = counting_signal!(
    "nfs_client_writes",
    NfsClient,
    "the NFS client's WRITE calls, sent and answered",
    "nfs",
    "the client's progress is not visible",
    None,
    [
        ("nfs_writeback_done", "nfs_writeback_done"),
        ("nfs_initiate_write", "nfs_initiate_write")
    ]
);

pub(super) const NFS_CLIENT_COMMITS: Signal = counting_signal!(
    "nfs_client_commits",
    NfsClient,
    "the NFS client's COMMIT calls, sent and answered",
    "nfs",
    "the client's COMMIT calls are not visible",
    None,
    [
        ("nfs_commit_done", "nfs_commit_done"),
        ("nfs_initiate_commit", "nfs_initiate_commit")
    ]
);

pub(super) const NFS_CONGESTION: Signal = Signal {
    name: "nfs_congestion",
    about: About::NfsClient,
    shows: "writers that wait until an NFS mount is no longer congested",
    module: Some("nfs"),
    strategies: &[Strategy {
        name: "kprobe",
        // What writers wait on, since 6.11. A struct of the module nfs, but the kernel's own
        // BTF has it too. No program reads it: that it is there says that this kernel waits.
        btf_offsets: &["nfs_server.write_congestion_wait"],
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
        limitation: "",
    }],
    limitation: "writers that wait for a congested NFS mount are not visible",
    replaced_by: Some("no such wait (up to 6.10), or no BTF that describes it"),
    needed: false,
};

const FSYNC: [Probe; 4] = [
    probe(
        "nfs_file_fsync_kretprobe",
        Hook::ModuleKretprobe("nfs_file_fsync"),
    ),
    probe(
        "nfs_file_fsync_kprobe",
        Hook::ModuleKprobe("nfs_file_fsync"),
    ),
    probe("nfs_wb_all_kretprobe", Hook::ModuleKretprobe("nfs_wb_all")),
    probe("nfs_wb_all_kprobe", Hook::ModuleKprobe("nfs_wb_all")),
];

macro_rules! commit_strategy {
    ($strategy:literal, $page:literal) => {
        Strategy {
            name: $strategy,
            btf_offsets: FILE_TO_BDI,
            probes: &[
                probe("nfs_wb_folio_kretprobe", Hook::ModuleKretprobe($page)),
                probe("nfs_wb_folio_kprobe", Hook::ModuleKprobe($page)),
                probe(
                    "nfs_commit_inode_kretprobe",
                    Hook::ModuleKretprobe("__nfs_commit_inode"),
                ),
                probe(
                    "nfs_commit_inode_kprobe",
                    Hook::ModuleKprobe("__nfs_commit_inode"),
                ),
                FSYNC[0],
                FSYNC[1],
                FSYNC[2],
                FSYNC[3],
            ],
            limitation: "",
        }
    };
}

pub(super) const NFS_COMMIT: Signal = Signal {
    name: "nfs_commit",
    about: About::NfsClient,
    shows: "tasks that wait until pages of an NFS file are written and committed",
    module: Some("nfs"),
    strategies: &[
        commit_strategy!("kprobe", "nfs_wb_folio"),
        // Up to 6.2; nothing is lost.
        commit_strategy!("kprobe-page", "nfs_wb_page"),
        Strategy {
            name: "kprobe-file",
            btf_offsets: &[],
            probes: &FSYNC,
            limitation: "tasks that wait for a page or for a COMMIT outside of close and fsync, as reclaim and writeback do; and where BTF does not describe it, for which mount",
        },
    ],
    limitation: "tasks that wait for an NFS server's COMMIT are not visible",
    replaced_by: None,
    needed: false,
};

pub(super) const NFS_WRITE_CONGESTION: Signal = Signal {
    name: "nfs_write_congested",
    about: About::NfsClient,
    shows: "which NFS mounts are congested, by the client's flag",
    module: Some("nfs"),
    strategies: &[Strategy {
        name: "kprobe",
        // From a file's pages to the flag, since 5.18.
        btf_offsets: &[
            "address_space.host",
            "inode.i_sb",
            "super_block.s_dev",
            "super_block.s_fs_info",
            "nfs_server.s_dev",
            "nfs_server.write_congested",
        ],
        probes: &[probe(
            "nfs_write_congested_kprobe",
            Hook::ModuleKprobe("nfs_writepages"),
        )],
        limitation: "",
    }],
    limitation: "whether an NFS mount is congested is derived from its BDI's writeback",
    replaced_by: Some("the BDI's flag (up to 5.17), or no BTF that tells of another"),
    needed: false,
};

pub(super) const NFSD_WRITES: Signal = counting_signal!(
    "nfsd_writes",
    NfsServer,
    "nfsd's WRITE operations",
    "nfsd",
    "the server's progress is not visible",
    None,
    [
        ("nfsd_write_done", "nfsd_write_done"),
        ("nfsd_write_io_done", "nfsd_write_io_done"),
        ("nfsd_write_start", "nfsd_write_start")
    ]
);

pub(super) const RPC_XID: Signal = Signal {
    name: "rpc_xid",
    about: About::Loops,
    shows: "which NFS mounts are served by this very kernel: the loops",
    module: Some("sunrpc"),
    strategies: &[Strategy {
        name: "tracepoint",
        btf_offsets: &[],
        probes: &[
            tp("svc_process", "sunrpc", "svc_process"),
            tp("xprt_transmit", "sunrpc", "xprt_transmit"),
        ],
        limitation: "",
    }],
    limitation: "loops are found by their sockets and addresses only, not behind NAT",
    replaced_by: None,
    needed: false,
};

pub(super) const RPC_DEVICE: Signal = Signal {
    name: "rpc_device",
    about: About::Loops,
    shows: "whose mount an RPC client's calls are",
    module: Some("sunrpc"),
    strategies: &[Strategy {
        name: "tracepoint",
        btf_offsets: &[],
        probes: &[tp("rpc_task_begin", "sunrpc", "rpc_task_begin")],
        limitation: "",
    }],
    limitation: "a loop's mount is found by the server's address only, and LOCALIO is not visible",
    replaced_by: None,
    needed: false,
};

pub(super) const SERVER_BACKING: Signal = Signal {
    name: "server_backing",
    about: About::NfsServer,
    shows: "what nfsd writes to for a client",
    module: None,
    strategies: &[
        Strategy {
            name: "fentry",
            btf_offsets: FILE_TO_BDI,
            probes: &[
                probe("vfs_iter_write_fentry", Hook::Fentry("vfs_iter_write")),
                probe(
                    "vfs_iocb_iter_write_fentry",
                    Hook::Fentry("vfs_iocb_iter_write"),
                ),
            ],
            limitation: "",
        },
        Strategy {
            name: "kprobe",
            btf_offsets: FILE_TO_BDI,
            probes: &[
                probe("vfs_iter_write_kprobe", Hook::Kprobe("vfs_iter_write")),
                probe(
                    "vfs_iocb_iter_write_kprobe",
                    Hook::Kprobe("vfs_iocb_iter_write"),
                ),
            ],
            limitation: "",
        },
    ],
    limitation: "the server's BDI is taken from its exports, and where they are on several, from its pauses",
    replaced_by: None,
    needed: false,
};
