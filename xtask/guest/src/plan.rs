//! The plan: the steps of a guest.

use serde::{Deserialize, Serialize};

use crate::{block::BlockStep, files::FilesStep};

/// The steps of a guest, which switches itself off after the last one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Played in order. The first step that fails ends the plan.
    pub steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    /// Load modules with their dependencies.
    Modprobe(Vec<String>),
    /// Write a value to a file of /proc or /sys.
    Set {
        /// The file. `CLIENT` in it stands for the BDI of the mount at `/mnt`, `SERVER` for that of
        /// the file system at `/export`, `UPPER` and `HELD` for those of `/upper` and `/data`.
        path: String,
        /// What is written to it.
        value: String,
    },
    /// The same, if the kernel has such a file.
    SetIfThere {
        /// As of [`Step::Set`].
        path: String,
        /// As of [`Step::Set`].
        value: String,
    },
    /// Run programs, one after the other: lines of words, without a shell.
    Run(Vec<String>),
    /// Make a pod: network, mount and host-name namespaces, and a process that
    /// holds them. `ip` knows the network namespace by the pod's name.
    Pod(String),
    /// Make a file system and mount it.
    Disk {
        /// Which one.
        kind: Filesystem,
        /// For example `/dev/vda`; any word for a tmpfs.
        device: String,
        /// The mount point, created.
        at: String,
    },
    /// Fill memory with a file in a tmpfs.
    Hog {
        /// Its size.
        megabytes: u64,
    },
    /// Start the kernel's NFS server.
    Serve {
        /// The pod; none: the root namespaces.
        pod: Option<String>,
        /// The number of nfsd threads.
        threads: u32,
        /// Its exports.
        exports: Vec<Export>,
        /// NFSv3 as well, with the programs that it needs beside nfsd.
        v3: bool,
    },
    /// Start nfs-ganesha, a userspace server, and export a directory as `/`.
    Ganesha {
        /// The pod; none: the root namespaces.
        pod: Option<String>,
        /// The directory, on a local file system.
        path: String,
        /// The version and its exemption.
        kind: Ganesha,
    },
    /// Make a file, a loop device of it, and on that an ext4, mounted.
    LoopDevice {
        /// The file, made and sparse.
        file: String,
        /// Its size.
        megabytes: u64,
        /// The mount point, created.
        at: String,
    },
    /// Serve or attach a block device.
    Block(BlockStep),
    /// Report the stacks of the tasks in uninterruptible sleep.
    Stacks,
    /// Serve or mount a file system that another file system implements.
    Files(FilesStep),
    /// Mount an NFS export.
    Mount {
        /// The pod; none: the root namespaces.
        pod: Option<String>,
        /// The server's address from the client's view.
        server: String,
        /// The export.
        path: String,
        /// The mount point, created.
        at: String,
        /// `3`, `4.0`, `4.1` or `4.2`.
        version: String,
        /// More options of the mount, each after a comma.
        options: String,
    },
    /// Start the daemon with these arguments, and wait until it is ready.
    Daemon {
        /// Arguments after `throttle-monitor`.
        args: Vec<String>,
    },
    /// Start processes that keep the machine busy.
    Start(Load),
    /// Wait until all slow writers have ended.
    Written,
    /// Report the kernel's counts of NFS bytes.
    Count,
    /// Put kernel threads, or this process and all it starts, in a v1 cpuset.
    Cpuset {
        /// Memory nodes, as in `cpuset.mems`, with hard walls.
        mems: String,
        /// Names of the kernel threads to move; this process moves in any case.
        threads: Vec<String>,
    },
    /// Take this process, but not what it has started, out of the cpuset again.
    LeaveCpuset,
    /// Put this process and all it starts from now on in a cgroup (version 2) with
    /// a limit of memory.
    MemoryCgroup {
        /// Its name, below /sys/fs/cgroup.
        name: String,
        /// The limit.
        megabytes: u64,
    },
    /// Take this process, but not what it has started, out of that cgroup again.
    LeaveMemoryCgroup {
        /// The program that the OOM killer must kill first.
        victim: String,
    },
    /// Make the kernel trace an event from now on; [`Step::Traced`] reports it.
    Trace {
        /// For example `writeback/writeback_wait_iff_congested`.
        event: String,
        /// The name of the traced tasks.
        task: String,
    },
    /// Report the trace: the kernel's own count, to compare with the daemon's.
    Traced,
    /// Wait, at most this long.
    Watch {
        /// The longest wait.
        seconds: u64,
        /// What ends it earlier.
        until: Until,
    },
    /// Run the daemon's program once and report its output and exit code.
    Check {
        /// Arguments after `throttle-monitor`.
        args: Vec<String>,
        /// As this user, instead of root.
        uid: Option<u32>,
    },
    /// Report every value of `/proc/sys/vm` and `/sys/class/bdi` that the kernel does not change by
    /// itself.
    Values,
    /// The same, if a change is expected.
    Changed,
    /// Write a value to a file that must have an expected one.
    SetBack {
        /// As of [`Step::Set`].
        path: String,
        /// The expected value.
        is: String,
        /// What is written to it.
        value: String,
    },
    /// Report that all mitigations of the livelock are done.
    HelpedOut,
    /// Send a signal to all processes of this name.
    Signal {
        /// As in `/proc/PID/comm`.
        name: String,
        /// For example 19 for `SIGSTOP`.
        number: i32,
    },
    /// Step the wall clock by this many seconds, forward or back.
    StepClock(i64),
    /// Make all threads of this name real-time, `SCHED_FIFO` with priority 1.
    RealTime(String),
    /// Start a task that may never end in its own process, and continue.
    Begin {
        /// The pod; none: the root namespaces.
        pod: Option<String>,
        /// The task: see the guest's `main`.
        words: Vec<String>,
    },
    /// Report `/api/v1/probes` of the running daemon.
    Probes,
    /// Report the daemon's answer for a path, now.
    Fetch {
        /// For example `/metrics`.
        path: String,
        /// Only lines with one of these prefixes; empty: all lines.
        lines: Vec<String>,
    },
    /// Report the daemon's newest evidence, whole.
    Evidence,
    /// Wait until a server listens at this TCP address.
    Reach(String),
    /// Listen on this TCP port until a client connects: one guest's plan waits for the other's
    /// [`Step::Reach`].
    Hear(u16),
    /// Wait until no server answers at this TCP address any more.
    Gone(String),
    /// End at once, as without power: nothing is written back.
    Die,
    /// Take over like a node of a high-availability pair: mount the disk, export it as `/export`
    /// with the NFS server's state on it, then add the address.
    TakeOver {
        /// The pod; none: the root namespaces.
        pod: Option<String>,
        /// For example `/dev/vda`.
        device: String,
        /// Make the file system first.
        make: bool,
        /// The address that clients use, with the length of its prefix.
        address: String,
        /// The network interface of the address.
        interface: String,
    },
    /// Kill all writers, and wait until they are gone.
    StopWriters,
    /// Unmount.
    Umount(String),
    /// Stop the NFS server of the root namespace, and its programs.
    StopServer,
    /// End the daemon as systemd does, and report its exit code.
    StopDaemon,
    /// Kill the daemon.
    KillDaemon,
    /// Report a new phase to the host.
    Phase(String),
    /// Mount the same export many times, each with its own BDI, and write a file to each.
    ManyMounts {
        /// The server's address.
        server: String,
        /// The number of mounts.
        count: u32,
    },
    /// Try to unload modules and those that only they need; report the outcome.
    Unload {
        /// Names for `modprobe -r`.
        modules: Vec<String>,
        /// How long to try.
        seconds: u64,
    },
    /// Report how many BPF objects the kernel holds.
    BpfObjects,
    /// Report whether a `statfs` of this path returns within three seconds.
    Statfs(String),
    /// Start the daemon a second time on this port, report the time until it is ready, and end it.
    SecondDaemon(u16),
    /// From now on, report the kernel's flag of congestion of this NFS mount and the daemon's gauge
    /// twice a second.
    WatchCongestion(String),
    /// Send the newest files of a directory to the host, which puts them beside the logs.
    Carry {
        /// The directory, without its subdirectories.
        dir: String,
        /// Maximum number of files.
        newest: usize,
    },
    /// Watch the daemon's threads for three seconds, and report those that are blocked in NFS.
    Blocked,
}

/// The version of nfs-ganesha, and its exemption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ganesha {
    /// Version 4, which does not request the exemption from local throttling.
    Four,
    /// The same, started through `throttle-monitor io-flusher`.
    FourExempt,
    /// Version 6, which requests it at its start.
    Six,
    /// The same without `CAP_SYS_RESOURCE`: the kernel refuses, and it continues.
    SixRefused,
}

impl Ganesha {
    /// Whether it is Debian 13's.
    #[must_use]
    pub fn is_six(self) -> bool {
        matches!(self, Self::Six | Self::SixRefused)
    }
}

/// A file system of a [`Step::Disk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filesystem {
    /// The kernel names its BDI after the device.
    Ext4,
    /// As ext4.
    Xfs,
    /// Has a device number and a BDI of its own.
    Btrfs,
    /// Has its own device number, and no named BDI.
    Tmpfs,
}

/// A load.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Load {
    /// Start endless writers, each of its own file.
    Endless {
        /// The directory written to.
        dir: String,
        /// The number of processes.
        writers: u32,
        /// Each one's file is truncated and begun anew after this size.
        megabytes: u64,
        /// The way they write.
        way: Way,
    },
    /// Start a writer that writes a megabyte at a time past the page cache, repeatedly over the
    /// first eight of one file.
    Direct {
        /// Its pod; none: the root namespaces.
        pod: Option<String>,
        /// The directory written to.
        dir: String,
        /// The highest rate per second.
        megabytes_per_second: u64,
    },
    /// Start processes that repeatedly read one file each.
    Read {
        /// The directory of the files, which are sparse.
        dir: String,
        /// The number of processes.
        readers: u32,
        /// The size of each file.
        megabytes: u64,
        /// The highest rate of each per second.
        megabytes_per_second: u64,
    },
    /// Fill a tmpfs, ten megabytes a second, until a process is killed for lack of memory.
    Fill,
    /// Start processes that take memory and hold it.
    Gobble {
        /// The number of processes at a time.
        processes: u32,
        /// The memory of each.
        megabytes: u64,
        /// Whether each killed process is replaced.
        again: bool,
    },
    /// Start a slow writer: a quarter of a megabyte four times a second, with an fsync at once and
    /// then every second.
    AtLeisure {
        /// Its pod; none: the root namespaces.
        pod: Option<String>,
        /// The directory written to.
        dir: String,
        /// The duration; then it syncs and ends.
        seconds: u64,
    },
}

/// The way the writers of a [`Load::Endless`] write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// 64 KiB at a time into the page cache, at full speed.
    Buffered,
    /// The same, with an fsync after each 4 MiB.
    Fsync,
    /// A megabyte at a time past the page cache.
    Direct,
    /// Through a shared mapping of the file.
    Mapped,
    /// As buffered, but no more than a megabyte a second each.
    Moderate,
    /// Two files of 4 KiB a second each, over the same 64 names.
    Small,
    /// No data: empty files are created, renamed, listed and removed.
    Metadata,
}

impl Way {
    /// All ways, by the name for the writer's process.
    const ALL: [(Self, &'static str); 7] = [
        (Self::Buffered, "buffered"),
        (Self::Fsync, "fsync"),
        (Self::Direct, "direct"),
        (Self::Mapped, "mapped"),
        (Self::Moderate, "moderate"),
        (Self::Small, "small"),
        (Self::Metadata, "metadata"),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(way, _)| *way == self)
            .map_or("", |(_, name)| name)
    }

    /// The way with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| *known == name).map(|(way, _)| *way)
    }
}

/// A directory that an NFS server exports.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    /// Its path on the server.
    pub path: String,
    /// As in exports(5), in addition to the common options.
    pub options: String,
}

/// The early end of a [`Step::Watch`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Until {
    /// None.
    Over,
    /// This many seconds after the daemon confirmed a livelock or deadlock.
    Confirmed(u64),
    /// This many seconds after the daemon reported the recovery.
    Recovered(u64),
    /// This many seconds after the first process was killed for lack of memory.
    Killed(u64),
    /// This many seconds with almost no acknowledged bytes.
    Frozen(u64),
    /// A line of `/metrics` with this name and these labels has a value above zero.
    Metric {
        /// The name of the metric, up to its label set.
        name: String,
        /// All of these must be in its label set, such as `class="nfsd"`.
        labels: Vec<String>,
    },
}
