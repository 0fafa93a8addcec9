//! Short explanations of conditions that look like a livelock but are not one.

use monitor_model::related::RelatedKind;

use super::texts::Confirm;

/// A related condition.
#[derive(Debug)]
pub struct Short {
    /// Which one.
    pub kind: RelatedKind,
    /// A line.
    pub title: &'static str,
    /// What it is, and why it is not a livelock.
    pub what: &'static str,
    /// How to confirm it by hand.
    pub confirm: Confirm,
    /// What to do.
    pub todo: &'static str,
}

/// All of them, in the order of [`RelatedKind::ALL`].
pub static RELATED: [Short; 8] = [
    Short {
        kind: RelatedKind::NfsServerNotResponding,
        title: "the client waits for an NFS server that does not answer",
        what: "The mount has pages to write and gets no replies, and no task on this node keeps it waiting: the server is elsewhere, or is here with every thread idle because the network is cut. In a livelock the server \
               is here and its threads are busy waiting.",
        confirm: Confirm {
            look: "The kernel says which server, if the mount is hard.",
            command: "dmesg | grep 'nfs: server .* not responding' | tail -3",
        },
        todo: "Check the server and the network path to it. The client resumes by itself when the server is back.",
    },
    Short {
        kind: RelatedKind::DirtyThrottling,
        title: "writers are held to the speed of a device that works",
        what: "Programs dirty pages faster than a device writes them, and the kernel pauses them. That is what the dirty \
               limit is for: the device writes all the time. In a livelock nothing is written.",
        confirm: Confirm {
            look: "Sectors written (the tenth column) grow from one look to the next.",
            command: "for i in 1 2; do cat /proc/diskstats; sleep 2; done",
        },
        todo: "This is no fault. Write less, spread the load, or get a faster device.",
    },
    Short {
        kind: RelatedKind::SlowDisk,
        title: "a slow disk is busy all the time and tasks wait for it",
        what: "The hardest one to tell from a livelock: under a loopback mount no WRITE may complete for 4-9 s in a row, with nfsd in \
               balance_dirty_pages. But the disk is 92-100 % busy, and its own BDI is as dirty as it should be. A disk is slow if it moves \
               few bytes for the time that it is busy and each request takes long, or if it fell far below what it \
               has shown.",
        confirm: Confirm {
            look: "%util is near 100, wkB/s is small, w_await is large (package sysstat).",
            command: "iostat -x 1 3",
        },
        todo: "Find who writes or reads so much, or what is wrong with the disk (its log, a RAID that rebuilds, a \
               limit of the cloud).",
    },
    Short {
        kind: RelatedKind::DiskSaturated,
        title: "a disk does what it can and tasks wait for it",
        what: "The disk is busy all the time and moves as much as it has ever shown, or at least 20 MiB/s. It is healthy: it is asked for more than it can do. In a livelock the disk is idle.",
        confirm: Confirm {
            look: "%util is near 100, and rkB/s and wkB/s are what the disk can do (package sysstat).",
            command: "iostat -x 1 3",
        },
        todo: "Find who writes or reads so much (iotop, pidstat -d), spread the load, or get a faster disk.",
    },
    Short {
        kind: RelatedKind::MemoryStarvation,
        title: "tasks spend their time in reclaim",
        what: "Memory is short everywhere: all tasks reclaim, sleeps in reclaim, or is killed. It is a livelock only if \
               the loop's server reclaims its own client's pages and nothing is written; see reclaim-congestion.",
        confirm: Confirm {
            look: "Shares above 10 in the line `full`.",
            command: "cat /proc/pressure/memory",
        },
        todo: "Stop what uses the memory, or add memory. The log names the processes that were killed.",
    },
    Short {
        kind: RelatedKind::HungFileSystem,
        title: "nfsd's threads hang in their own file system",
        what: "The server's threads sleep in the exported file system or its device, and nobody throttles them: a device \
               that does not answer, a frozen file system (fsfreeze), a bug. In a livelock they wait in a throttle \
               for their own client's pages.",
        confirm: Confirm {
            look: "Threads below nfsd_* in functions of the file system or block layer, none in balance_dirty_pages.",
            command: "for d in $(grep -slx nfsd /proc/[0-9]*/comm); do echo \"== ${d%/comm}\"; cat \"${d%/comm}/stack\"; done",
        },
        todo: "Look at dmesg for the device. No setting of memory or of dirty limits helps.",
    },
    Short {
        kind: RelatedKind::DirtyLimitHeld,
        title: "one device fills the dirty limit and holds all writers",
        what: "The dirty limit is the node's. Pages of a device that writes none of them back (a mount whose server is gone, a stuck disk, \
               the client of a loop in livelock) fill it, and the kernel pauses writers to all other devices, though these \
               are clean and their disks idle. The reason names the holder and who is held.",
        confirm: Confirm {
            look: "One device has most of the pages, and its BdiWritten does not grow from one look to the next.",
            command: "for i in 1 2; do grep -H -e BdiWriteback -e BdiReclaimable -e BdiWritten /sys/kernel/debug/bdi/*/stats; sleep 3; done",
        },
        todo: "Free the holder: bring its server or device back, or give its pages up (umount -f; what was not sent is \
               lost). From Linux 6.2 on, strict_limit of a held device frees its writers: echo 1 > /sys/class/bdi/MAJ:MIN/strict_limit. \
               A larger vm.dirty_bytes frees them until the holder fills that as well. docs/runbooks/dirty-limit-held.md has what was measured.",
    },
    Short {
        kind: RelatedKind::ServerNotResponding,
        title: "a device or mount other than NFS waits for a server that does not answer",
        what: "Requests of an SMB mount, an NBD or iSCSI disk, a FUSE mount or a ublk device are open, and none was answered \
               for 10 s. Its server is on another node, or is here and stopped, gone, or not waiting for anything. In a livelock \
               the server is here and its threads are throttled. The reason names the server.",
        confirm: Confirm {
            look: "Requests are in flight (the ninth number of the disk, or BdiWriteback of the mount), and nothing that is completed grows.",
            command: "for i in 1 2; do grep -H . /sys/block/*/stat; grep -H -e BdiWriteback -e BdiWritten /sys/kernel/debug/bdi/*/stats; sleep 3; done",
        },
        todo: "Check the server and the network path to it; continue (SIGCONT) or restart one of this node. The client resumes by itself \
               when the server is back, or gets I/O errors after a timeout of its own.",
    },
];
