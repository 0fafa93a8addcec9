//! All runs, in guests: a server in its own network namespace, four endless buffered writers, 320
//! MB of memory, a disk of 30-100 MB/s, `vm.dirty_bytes` raised to 100 MB. `./dev vm KERNEL
//! mitigation-...` and `prevent-...` repeat them. The last runs are of other livelocks, in the guests
//! of `ganesha-livelock`, `loop-device`, `reclaim-usable`, and in those of docs/results/self-served.md
//! and self-served-files.md.

use super::Kernel::{V5_10, V6_1, V6_12, V7_2};
use super::When::{Before, During};
use super::{Came, Help, Kernel, Run, Stuck, When};
use crate::mitigation::action::Action;
use crate::mitigation::action::Action::{
    DirectWrites, DirtyBytes, Ease, FreeMemory, FreeServer, HoldClient, KillWriters, MaxBytes,
    MaxRatio, MaxRatioDirtyBytes, RealTime, SameAddress, ServerDirect, ServerMinRatio,
    StopDirtyBytes, StopFree, StopHeld, StopWriters, Strict, StrictDirtyBytes, StrictLimit,
    StrictMaxBytes, StrictServer, Sync, SyncMount,
};

const NEVER: f64 = f64::NAN;

/// Seconds until bytes moved, of the longest stop after that, and until all was written. Then MB/s
/// over the minute and at its end, and processes killed.
const fn out(
    kernel: Kernel,
    action: Action,
    moved: f64,
    stop: f64,
    drained: f64,
    [rate, last]: [f64; 2],
    oom: u32,
) -> Run {
    let came = Came::Out {
        moved,
        stop,
        drained,
        rate,
        last,
        oom,
    };
    Run {
        of: Stuck::Nfsd,
        when: During,
        kernel,
        action,
        came,
    }
}

/// [`out`] for another livelock than nfsd's across namespaces.
const fn of(of: Stuck, run: Run) -> Run {
    Run { of, ..run }
}

/// Seconds until the loop stalled, MB/s over the minute, processes killed.
const fn before(kernel: Kernel, action: Action, froze: f64, rate: f64, oom: u32) -> Run {
    Run {
        of: Stuck::Nfsd,
        when: Before,
        kernel,
        action,
        came: Came::Load { froze, rate, oom },
    }
}

/// An earlier run of which only a text remains.
const fn told(when: When, kernel: Kernel, action: Action, help: Help, words: &'static str) -> Run {
    Run {
        of: Stuck::Nfsd,
        when,
        kernel,
        action,
        came: Came::Told(help, words),
    }
}

#[rustfmt::skip]
pub(super) const RUNS: &[Run] = &[
    out(V5_10, DirtyBytes, 1.1, 58.4, NEVER, [0.1, 0.0], 0),
    out(V6_1, DirtyBytes, 0.6, 0.0, NEVER, [14.7, 9.7], 0),
    out(V6_12, DirtyBytes, 0.5, 57.3, NEVER, [0.6, 0.0], 0),
    out(V7_2, DirtyBytes, 0.6, 5.0, 57.5, [17.5, 20.6], 3),
    out(V6_12, MaxRatio, 53.5, 6.1, NEVER, [0.1, 0.1], 0),
    out(V5_10, MaxRatioDirtyBytes, 1.1, 34.1, NEVER, [7.1, 16.3], 0),
    out(V6_1, MaxRatioDirtyBytes, 1.3, 0.0, NEVER, [18.7, 16.6], 0),
    out(V6_12, MaxRatioDirtyBytes, 0.5, 58.7, NEVER, [0.1, 0.0], 0),
    out(V7_2, MaxRatioDirtyBytes, 0.5, 1.5, NEVER, [25.3, 27.5], 1),
    out(V6_12, StrictDirtyBytes, 0.5, 0.0, NEVER, [8.7, 8.9], 0),
    out(V7_2, StrictDirtyBytes, 0.8, 0.0, 16.1, [14.4, 12.3], 0),
    out(V5_10, StopDirtyBytes, 0.6, 58.2, 21.9, [0.5, 0.0], 0),
    out(V6_1, StopDirtyBytes, 0.7, 59.2, 22.5, [0.2, 0.0], 0),
    out(V6_12, StopDirtyBytes, 0.5, 57.6, 27.8, [0.6, 0.0], 0),
    out(V7_2, StopDirtyBytes, 0.6, 54.2, 6.2, [0.6, 0.0], 0),
    out(V6_12, Sync, NEVER, 0.0, NEVER, [0.0, 0.0], 0),
    out(V6_12, KillWriters, NEVER, 0.0, NEVER, [0.0, 0.0], 0),
    out(V5_10, StopHeld, 1.0, 56.9, NEVER, [0.4, 0.0], 0),
    out(V6_1, StopHeld, 1.5, 0.0, NEVER, [13.7, 10.6], 0),
    out(V6_12, StopHeld, 0.6, 0.0, 13.0, [8.0, 12.3], 0),
    out(V7_2, StopHeld, 0.5, 0.0, 17.2, [10.1, 9.3], 0),
    before(V5_10, MaxRatio, 3.1, 0.1, 0),
    before(V6_1, MaxRatio, 3.4, 0.3, 0),
    before(V6_12, MaxRatio, 1.9, 0.1, 0),
    before(V7_2, MaxRatio, 0.9, 0.1, 0),
    before(V5_10, RealTime, 2.4, 1.0, 0),
    before(V6_1, RealTime, 9.7, 1.9, 0),
    before(V6_12, RealTime, 0.9, 0.1, 0),
    before(V7_2, RealTime, 0.0, 0.0, 0),
    told(Before, V6_12, HoldClient, Help::Yes, "no stall within five minutes, as fast as over 127.0.0.1 in the same run"),
    told(Before, V7_2, HoldClient, Help::Yes, "no stall within five minutes, as fast as over 127.0.0.1 in the same run"),
    before(V6_12, Strict, NEVER, 13.1, 0),
    before(V6_12, StrictMaxBytes, NEVER, 36.5, 0),
    before(V7_2, StrictMaxBytes, NEVER, 32.9, 0),
    before(V5_10, MaxRatioDirtyBytes, 4.7, 2.7, 0),
    before(V6_1, MaxRatioDirtyBytes, 10.7, 0.9, 0),
    before(V5_10, ServerMinRatio, 4.9, 0.2, 0),
    before(V6_1, ServerMinRatio, 12.4, 0.8, 0),
    before(V7_2, ServerDirect, NEVER, 62.7, 0),
    before(V5_10, SameAddress, NEVER, 6.8, 0),
    before(V6_1, SameAddress, NEVER, 7.4, 0),
    before(V6_12, SameAddress, NEVER, 6.0, 0),
    before(V7_2, SameAddress, NEVER, 19.0, 0),
    before(V5_10, DirectWrites, NEVER, 45.6, 0),
    before(V5_10, SyncMount, NEVER, 25.3, 0),
    before(V6_12, SyncMount, NEVER, 19.5, 0),
    before(V7_2, SyncMount, NEVER, 22.3, 0),
    told(During, V5_10, Ease, Help::Yes, "resumed within 2 s and kept running for two minutes, in each of ten runs"),
    told(During, V6_1, Ease, Help::Yes, "resumed within 3 s and kept running for two minutes, in each of ten runs"),
    told(During, V6_12, Ease, Help::Yes, "resumed within 3 s and kept running for two minutes, in each of ten runs"),
    told(During, V7_2, Ease, Help::Yes, "resumed within 3 s and kept running for two minutes, in each of ten runs"),
    told(During, V5_10, MaxRatioDirtyBytes, Help::Yes, "resumed within 1 s and kept running"),
    told(During, V5_10, DirtyBytes, Help::Yes, "resumed"),
    told(During, V6_12, StrictDirtyBytes, Help::Yes, "resumed within 1 s and kept running"),
    told(During, V6_12, StopDirtyBytes, Help::Yes, "everything was written after 2 s"),
    told(During, V6_12, DirtyBytes, Help::No, "resumed for 1-2 s, then stalled again"),
    told(During, V6_12, MaxRatio, Help::No, "nothing"),
    told(During, V6_12, StrictLimit, Help::No, "nothing"),
    told(During, V6_12, MaxBytes, Help::No, "nothing"),
    told(During, V6_12, Sync, Help::No, "the action itself hangs"),
    told(During, V6_12, KillWriters, Help::No, "no byte for 20 s"),
    told(Before, V6_12, StrictLimit, Help::No, "stalled"),
    told(Before, V6_12, Strict, Help::Yes, "no stall"),
    told(Before, V6_12, StrictMaxBytes, Help::Yes, "no stall"),
    of(Stuck::LoopDevice, out(V5_10, DirtyBytes, 0.6, 30.9, NEVER, [2.2, 4.9], 0)),
    of(Stuck::LoopDevice, out(V6_1, DirtyBytes, 0.5, 58.1, NEVER, [0.7, 0.0], 0)),
    of(Stuck::LoopDevice, out(V6_12, DirtyBytes, 22.4, 21.8, NEVER, [0.2, 0.0], 0)),
    of(Stuck::LoopDevice, out(V7_2, DirtyBytes, 0.5, 58.7, NEVER, [0.1, 0.0], 0)),
    of(Stuck::LoopDevice, out(V5_10, MaxRatioDirtyBytes, 14.6, 44.9, NEVER, [0.2, 0.3], 0)),
    of(Stuck::LoopDevice, out(V6_1, MaxRatioDirtyBytes, 37.0, 22.4, NEVER, [0.0, 0.0], 0)),
    of(Stuck::LoopDevice, out(V6_12, StrictDirtyBytes, NEVER, 0.0, NEVER, [0.0, 0.0], 0)),
    of(Stuck::LoopDevice, out(V7_2, StrictDirtyBytes, 18.0, 42.1, NEVER, [0.0, 0.0], 0)),
    of(Stuck::LoopDevice, out(V5_10, StopDirtyBytes, 0.5, 51.4, 10.9, [1.3, 0.0], 0)),
    of(Stuck::LoopDevice, out(V6_1, StopDirtyBytes, 0.7, 54.4, 25.9, [1.2, 0.0], 0)),
    of(Stuck::LoopDevice, out(V6_12, StopDirtyBytes, 0.6, 50.8, 55.5, [1.3, 0.0], 0)),
    of(Stuck::LoopDevice, out(V7_2, StopDirtyBytes, 1.1, 43.1, 33.6, [1.3, 0.0], 0)),
    of(Stuck::Ganesha, out(V5_10, DirtyBytes, 0.8, 5.3, NEVER, [3.2, 3.2], 0)),
    of(Stuck::Ganesha, out(V6_12, DirtyBytes, 0.7, 53.7, NEVER, [0.3, 0.0], 5)),
    of(Stuck::Ganesha, out(V7_2, DirtyBytes, 1.8, 55.0, NEVER, [0.9, 1.2], 5)),
    of(Stuck::Ganesha, out(V6_12, StrictDirtyBytes, 0.5, 0.0, 1.0, [7.0, 8.4], 0)),
    of(Stuck::Ganesha, out(V7_2, StrictDirtyBytes, 0.8, 0.6, 2.3, [2.3, 1.9], 0)),
    of(Stuck::Ganesha, out(V5_10, StopDirtyBytes, 0.7, 57.2, 1.8, [0.7, 0.0], 0)),
    of(Stuck::Ganesha, out(V6_12, StopDirtyBytes, 0.6, 57.9, 1.6, [0.6, 0.0], 0)),
    of(Stuck::Ganesha, out(V7_2, StopDirtyBytes, 0.7, 58.2, 1.2, [0.4, 0.0], 0)),
    of(Stuck::Reclaim, out(V5_10, StopWriters, 29.9, 26.9, 37.2, [0.8, 0.0], 0)),
    of(Stuck::Reclaim, out(V5_10, FreeMemory, 24.2, 27.0, NEVER, [0.6, 0.3], 0)),
    of(Stuck::Reclaim, out(V5_10, KillWriters, 24.4, 30.6, 38.7, [1.2, 0.0], 0)),
    of(Stuck::Reclaim, out(V5_10, StopFree, 18.2, 33.2, 56.6, [1.3, 0.0], 0)),
    of(Stuck::Nbd, told(During, V6_12, StrictServer, Help::Partly, "qemu-nbd resumed after 22 s, then 18 MB/s; nbd-server after 28 s, then 17 MB/s")),
    of(Stuck::Nbd, told(During, V7_2, StrictServer, Help::Partly, "qemu-nbd resumed after 24 s, then 23 MB/s; nbd-server after 19 s, then 36 MB/s")),
    of(Stuck::Nbd, told(During, V6_1, StopDirtyBytes, Help::Yes, "everything was written after 12 s (qemu-nbd)")),
    of(Stuck::Nbd, out(V5_10, StopDirtyBytes, 0.5, 44.0, 5.6, [0.6, 0.0], 0)),
    of(Stuck::Nbd, told(During, V5_10, KillWriters, Help::No, "nbd-server: no progress for 45 s; qemu-nbd wrote everything after 21 s")),
    of(Stuck::Nbd, told(During, V6_1, KillWriters, Help::No, "no progress for 45 s")),
    of(Stuck::Nbd, told(During, V6_12, Strict, Help::No, "66 KB/s after 45 s")),
    of(Stuck::Iscsi, told(During, V6_12, StrictServer, Help::Yes, "resumed after 0.2 s, 5.8 MB/s over the last 20 of 45 s")),
    of(Stuck::Iscsi, told(During, V7_2, StrictServer, Help::Partly, "resumed after 13 s, then 9.5 MB/s")),
    of(Stuck::Iscsi, out(V5_10, StopDirtyBytes, 0.5, 39.0, 11.7, [0.8, 0.0], 0)),
    of(Stuck::Iscsi, out(V6_1, StopDirtyBytes, 0.5, 43.5, 5.6, [0.8, 0.0], 0)),
    of(Stuck::Iscsi, told(During, V5_10, KillWriters, Help::No, "no progress for 45 s")),
    of(Stuck::Iscsi, told(During, V6_1, KillWriters, Help::No, "66 KB/s after 45 s")),
    of(Stuck::Lio, told(During, V6_12, StrictServer, Help::Partly, "resumed after 15 s, then 27 MB/s")),
    of(Stuck::Lio, told(During, V7_2, StrictServer, Help::Partly, "resumed after 7.4 s, then 59 MB/s")),
    of(Stuck::Lio, told(During, V5_10, StopDirtyBytes, Help::Yes, "everything was written after 27 s")),
    of(Stuck::Lio, out(V6_1, StopDirtyBytes, 0.5, 44.3, 0.5, [0.5, 0.0], 0)),
    of(Stuck::Lio, told(During, V5_10, KillWriters, Help::No, "no progress for 45 s")),
    of(Stuck::Lio, told(During, V6_1, KillWriters, Help::No, "72 KB/s after 45 s")),
    of(Stuck::Samba, told(During, V6_12, FreeServer, Help::Yes, "resumed after 3.2 s, 32 MB/s over the last 20 of 30 s")),
    of(Stuck::Samba, told(During, V7_2, FreeServer, Help::Yes, "resumed after 3.8 s, 23 MB/s over the last 20 of 30 s")),
    of(Stuck::Samba, told(During, V6_12, StrictServer, Help::Partly, "resumed after 24 s, then 8.0 MB/s")),
    of(Stuck::Samba, told(During, V5_10, StopDirtyBytes, Help::Yes, "everything was written after 7 s")),
    of(Stuck::Samba, out(V6_1, StopDirtyBytes, 0.5, 29.3, 0.5, [1.0, 0.0], 0)),
    of(Stuck::Samba, told(During, V6_12, Strict, Help::No, "no progress for 30 s")),
    of(Stuck::Ksmbd, out(V6_12, StrictServer, 25.9, 0.0, NEVER, [3.4, 5.1], 0)),
    of(Stuck::Ksmbd, out(V6_12, StopDirtyBytes, 1.1, 27.6, 6.3, [1.3, 0.0], 0)),
    of(Stuck::Ksmbd, out(V6_12, KillWriters, NEVER, 0.0, NEVER, [0.0, 0.0], 0)),
    of(Stuck::Fuse, told(During, V6_12, FreeServer, Help::Yes, "resumed after 1.7 s, 2.4 MB/s over the last 20 of 30 s")),
    of(Stuck::Fuse, told(During, V6_12, StrictServer, Help::Partly, "resumed after 19 s, then 2.5 MB/s")),
    of(Stuck::Fuse, out(V5_10, StopDirtyBytes, 0.5, 26.4, 12.7, [1.6, 0.0], 0)),
    of(Stuck::Fuse, out(V6_1, StopDirtyBytes, 0.5, 19.3, NEVER, [1.4, 0.2], 0)),
    of(Stuck::Ganesha, told(During, V6_12, FreeServer, Help::Yes, "resumed after 2.7 s, 25 MB/s over the last 20 of 30 s")),
    of(Stuck::Ganesha, told(During, V6_12, Strict, Help::No, "0.3 MB/s after 30 s")),
];
