//! The plan: what a guest does, step by step.

use serde::{Deserialize, Serialize};

/// What a guest does, from first to last; then it switches itself off.
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
        /// The file. `CLIENT` in it stands for the BDI of the NFS mount at
        /// `/mnt`, `SERVER` for that of the file system at `/export`.
        path: String,
        /// What is written to it.
        value: String,
    },
    /// The same, where the kernel has such a file.
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
        /// Where; none for the root namespaces.
        pod: Option<String>,
        /// The number of nfsd threads.
        threads: u32,
        /// What it offers.
        exports: Vec<Export>,
        /// NFSv3, too, with all that it needs beside nfsd.
        v3: bool,
    },
    /// Start nfs-ganesha, a server in userspace, and export a directory as `/`.
    Ganesha {
        /// Where; none for the root namespaces.
        pod: Option<String>,
        /// The directory, on a local file system.
        path: String,
        /// Which one, and how.
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
    /// Mount an NFS export.
    Mount {
        /// Where; none for the root namespaces.
        pod: Option<String>,
        /// The server's address, as the client knows it.
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
    /// Wait until all writers that take their time have ended.
    Written,
    /// Report what the kernel counted of the bytes of NFS.
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
        /// The program that the OOM killer is to take first.
        victim: String,
    },
    /// Have the kernel trace an event from now on; [`Step::Traced`] reports it.
    Trace {
        /// For example `writeback/writeback_wait_iff_congested`.
        event: String,
        /// The name of the tasks meant.
        task: String,
    },
    /// Report what was traced: the kernel's own words, to hold the daemon's to.
    Traced,
    /// Let time pass, at most so long.
    Watch {
        /// The most to wait.
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
    /// Report every value of `/proc/sys/vm` and `/sys/class/bdi` that only somebody
    /// changes.
    Values,
    /// The same, where they are expected to be changed.
    Changed,
    /// Write a value to a file that must have a certain one.
    SetBack {
        /// As of [`Step::Set`].
        path: String,
        /// What it must be.
        is: String,
        /// What is written to it.
        value: String,
    },
    /// Say that all has been done that should help the node out of a livelock.
    HelpedOut,
    /// Send a signal to all processes of this name.
    Signal {
        /// As in `/proc/PID/comm`.
        name: String,
        /// For example 19 for `SIGSTOP`.
        number: i32,
    },
    /// Set the wall clock forth or back, by so many seconds.
    StepClock(i64),
    /// Make all threads of this name real-time, `SCHED_FIFO` with priority 1.
    RealTime(String),
    /// Begin what may never end, in a process of its own, and go on.
    Begin {
        /// Where; none for the root namespaces.
        pod: Option<String>,
        /// What: see the guest's `main`.
        words: Vec<String>,
    },
    /// Report `/api/v1/probes` of the running daemon.
    Probes,
    /// Report what the daemon serves under a path, now.
    Fetch {
        /// For example `/metrics`.
        path: String,
        /// Only lines that begin with one of these; all lines if there is none.
        lines: Vec<String>,
    },
    /// Report the daemon's newest evidence, whole.
    Evidence,
    /// Wait until something listens at this TCP address.
    Reach(String),
    /// Listen on this TCP port until someone has connected: where one guest's
    /// plan waits for the other's [`Step::Reach`].
    Hear(u16),
    /// Wait until nothing answers at this TCP address any more.
    Gone(String),
    /// End at once, as by a pulled plug: nothing is written back.
    Die,
    /// As a node of a high-availability pair does: mount the disk, export it as
    /// `/export` with the NFS server's state on it, then take up the address.
    TakeOver {
        /// Where; none for the root namespaces.
        pod: Option<String>,
        /// For example `/dev/vda`.
        device: String,
        /// Make the file system first.
        make: bool,
        /// The address that clients use, with the length of its prefix.
        address: String,
        /// The network interface that takes it up.
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
    /// Say to the host that something else begins.
    Phase(String),
    /// Mount the same export so many times, each with a BDI of its own, and write
    /// a file to each.
    ManyMounts {
        /// The server's address.
        server: String,
        /// How often.
        count: u32,
    },
    /// Try to unload modules and all that only they need; report what came of it.
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
    /// Start the daemon a second time, on this port; report how long it took
    /// until it was ready, and end it.
    SecondDaemon(u16),
    /// Tell the kernel's flag of congestion of the NFS mount there, twice a second
    /// from now on, and what the daemon says.
    WatchCongestion(String),
    /// Send the newest files of a directory to the host, which puts them where the
    /// logs are.
    Carry {
        /// The directory. What lies in directories below it stays.
        dir: String,
        /// How many files at most.
        newest: usize,
    },
    /// Look at the daemon's threads for three seconds, and report those that
    /// were blocked in NFS.
    Blocked,
}

/// Which nfs-ganesha, and what it asks the kernel for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ganesha {
    /// Version 4, which does not ask to be exempt from local throttling.
    Four,
    /// The same, started through `throttle-monitor io-flusher`.
    FourExempt,
    /// Version 6, which asks for it at its start.
    Six,
    /// The same without `CAP_SYS_RESOURCE`: the kernel refuses, and it goes on.
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
    /// Has a device number of its own, and no BDI that has a name.
    Tmpfs,
}

/// What keeps a machine busy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Load {
    /// Start endless writers, each of its own file.
    Endless {
        /// The directory written to.
        dir: String,
        /// How many processes.
        writers: u32,
        /// Each one's file is truncated and begun anew after this size.
        megabytes: u64,
        /// In which way they write.
        way: Way,
    },
    /// Start a writer that writes a megabyte at a time past the page cache, over the
    /// first eight of one file again and again.
    Direct {
        /// The pod that it lives in; none for the root namespaces.
        pod: Option<String>,
        /// The directory written to.
        dir: String,
        /// What it writes in a second at most.
        megabytes_per_second: u64,
    },
    /// Start processes that read one file each, from the start again and again.
    Read {
        /// Where the files are made, sparse.
        dir: String,
        /// How many processes.
        readers: u32,
        /// The size of each file.
        megabytes: u64,
        /// What each reads in a second at most.
        megabytes_per_second: u64,
    },
    /// Fill a tmpfs, ten megabytes a second, until a process is killed for want of
    /// memory.
    Fill,
    /// Start processes that take memory and hold it.
    Gobble {
        /// How many at a time.
        processes: u32,
        /// What each takes.
        megabytes: u64,
        /// Whether another one comes for each that is killed.
        again: bool,
    },
    /// Start a writer that takes its time: a quarter of a megabyte four times a
    /// second, with an fsync at once and then every second.
    AtLeisure {
        /// The pod that it lives in; none for the root namespaces.
        pod: Option<String>,
        /// The directory written to.
        dir: String,
        /// For how long; then it syncs and ends.
        seconds: u64,
    },
}

/// How the writers of a [`Load::Endless`] write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Way {
    /// 64 KiB at a time into the page cache, as fast as that takes them.
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
    /// No data at all: empty files are made, renamed, listed and removed.
    Metadata,
}

impl Way {
    /// Every one, by the name that the writer's process is told.
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

    /// The way of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| *known == name).map(|(way, _)| *way)
    }
}

/// A directory that an NFS server offers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Export {
    /// Its path on the server.
    pub path: String,
    /// As in exports(5), beside those that every export here has.
    pub options: String,
}

/// What ends a [`Step::Watch`] before its time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Until {
    /// Nothing.
    Over,
    /// So many seconds after the daemon confirmed a livelock or deadlock.
    Confirmed(u64),
    /// So many seconds after the daemon said that it is over.
    Recovered(u64),
    /// So many seconds after the first process was killed for want of memory.
    Killed(u64),
    /// So many seconds in which no bytes to speak of were acknowledged.
    Frozen(u64),
    /// A line of `/metrics` that begins so has a value above zero.
    Metric {
        /// The name of the metric, up to its label set.
        name: String,
        /// All of these must be in its label set, such as `class="nfsd"`.
        labels: Vec<String>,
    },
}
