//! The actions against a livelock, and their commands.

use std::net::IpAddr;

use monitor_model::{loops::Exempt, mitigation::Measure};

use super::command::{
    class, ease, free_server, go_on, held_and_raised, held_before, hold, hold_to_bytes, kill,
    let_go, lower, raise, same_address, stop, stop_and_hold, with_cap,
};
use super::target::Target;

/// An action against a livelock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `strict_limit=1`, `max_ratio=1`, then a higher `vm.dirty_bytes`.
    StrictDirtyBytes,
    /// `max_ratio=1` of the client's BDI, or `strict_limit=1` of the server's, and a
    /// `vm.dirty_bytes` that follows what is dirty.
    Ease,
    /// `strict_limit=1` of the BDI that the server writes to.
    StrictServer,
    /// The same, and `vm.dirty_expire_centisecs=100`.
    FreeServer,
    /// `max_ratio=1`, then a higher `vm.dirty_bytes`.
    MaxRatioDirtyBytes,
    /// Writers stopped, then a higher `vm.dirty_bytes`.
    StopDirtyBytes,
    /// Writers killed, then a higher `vm.dirty_bytes`.
    KillDirtyBytes,
    /// A higher `vm.dirty_bytes`.
    DirtyBytes,
    /// Writers stopped.
    StopWriters,
    /// Memory freed.
    FreeMemory,
    /// Writers stopped, and memory freed.
    StopFree,
    /// `max_ratio=1`.
    MaxRatio,
    /// `strict_limit=1`.
    StrictLimit,
    /// `strict_limit=1` and `max_ratio=1`.
    Strict,
    /// `max_bytes=4M`.
    MaxBytes,
    /// `sync`.
    Sync,
    /// Writers killed.
    KillWriters,
    /// `strict_limit=1` and `max_ratio=25` ([`PREVENT_RATIO`]).
    HoldClient,
    /// `strict_limit=1` and `max_bytes=4M`.
    StrictMaxBytes,
    /// Writers stopped, the client held, a higher `vm.dirty_bytes`, writers resumed.
    StopHeld,
    /// `umount -f`.
    UmountForce,
    /// nfsd's threads made real-time.
    RealTime,
    /// `min_ratio=50` of the server's BDI.
    ServerMinRatio,
    /// 64 nfsd threads.
    MoreThreads,
    /// No nfsd threads.
    StopServer,
    /// `vm.dirty_background_bytes=1M`, `vm.dirty_bytes=50M`.
    LowBackground,
    /// nfsd writes past the page cache.
    ServerDirect,
    /// The server sees the client at its own address.
    SameAddress,
    /// Programs write with `O_DIRECT`.
    DirectWrites,
    /// Mounted with `sync`.
    SyncMount,
}

/// The actions on a stalled loop. Among equals, those that stop no process come first.
pub(super) const WAYS_OUT: &[Action] = &[
    Action::Ease,
    Action::FreeServer,
    Action::StrictServer,
    Action::StrictDirtyBytes,
    Action::MaxRatioDirtyBytes,
    Action::DirtyBytes,
    Action::StopHeld,
    Action::StopDirtyBytes,
    Action::KillDirtyBytes,
    Action::UmountForce,
    Action::StopServer,
    Action::MaxRatio,
    Action::StrictLimit,
    Action::Strict,
    Action::MaxBytes,
    Action::ServerMinRatio,
    Action::MoreThreads,
    Action::RealTime,
    Action::KillWriters,
    Action::Sync,
];

/// The actions if memory is short: a higher dirty limit does not help then.
pub(super) const WAYS_OUT_OF_MEMORY: &[Action] = &[
    Action::StopWriters,
    Action::StopFree,
    Action::FreeMemory,
    Action::KillWriters,
];

/// The actions before the load.
pub(super) const PREVENTIONS: &[Action] = &[
    Action::HoldClient,
    Action::StrictMaxBytes,
    Action::SameAddress,
    Action::ServerDirect,
    Action::DirectWrites,
    Action::SyncMount,
    Action::MaxRatioDirtyBytes,
    Action::LowBackground,
    Action::StrictLimit,
    Action::MaxRatio,
    Action::ServerMinRatio,
    Action::RealTime,
];

/// Lists the processes that use the most memory.
const BIGGEST: &str = "ps -eo pid,rss,comm --sort=-rss | head";

impl Action {
    /// Whether this kernel supports the action.
    pub fn is_offered(self, target: &Target) -> bool {
        match self {
            // The exemption is nfsd's, and only IPv4 was measured.
            Self::SameAddress => {
                target.is_nfsd()
                    && target.exempt != Exempt::Yes
                    && !matches!(target.server_address, Some(IpAddr::V6(_)))
            }
            // Since 6.18 (fs/nfsd/debugfs.c).
            Self::ServerDirect => {
                target.is_nfsd() && target.release.is_none_or(|release| release >= (6, 18))
            }
            Self::RealTime | Self::MoreThreads | Self::StopServer => target.is_nfsd(),
            // Since 6.2 it frees the server, which is what the runs measured; before, it holds the
            // client.
            Self::StrictServer | Self::FreeServer => {
                target.strict_server.is_some() || target.offers_strict_limit() == Some(true)
            }
            Self::Ease => {
                target.strict_server.is_some() || target.offers_strict_limit() != Some(true)
            }
            _ => !self.wants_strict_limit() || target.offers_strict_limit() != Some(false),
        }
    }

    /// Whether all writers stop for good after it.
    pub const fn ends_writing(self) -> bool {
        matches!(
            self,
            Self::StopDirtyBytes
                | Self::KillDirtyBytes
                | Self::KillWriters
                | Self::StopWriters
                | Self::StopFree
        )
    }

    /// Whether it concerns the kernel's exemption of nfsd, which covers only dirty throttling.
    pub const fn is_for_dirty_throttle_only(self) -> bool {
        matches!(self, Self::SameAddress)
    }

    /// `max_bytes` appeared together with `strict_limit` in 6.2 (`mm/backing-dev.c`).
    const fn wants_strict_limit(self) -> bool {
        matches!(
            self,
            Self::StrictDirtyBytes
                | Self::StrictLimit
                | Self::Strict
                | Self::MaxBytes
                | Self::HoldClient
                | Self::StrictMaxBytes
        )
    }

    /// A short name, for the list of ineffective actions.
    pub fn words(self) -> &'static str {
        match self {
            Self::StrictDirtyBytes => {
                "strict_limit=1 and max_ratio=1 of the client's BDI, then a higher vm.dirty_bytes"
            }
            Self::Ease => "a vm.dirty_bytes that follows what is dirty (guard ease)",
            Self::StrictServer => "strict_limit=1 of the BDI that the server writes to",
            Self::FreeServer => {
                "strict_limit=1 of the BDI that the server writes to, and vm.dirty_expire_centisecs=100"
            }
            Self::MaxRatioDirtyBytes => {
                "max_ratio=1 of the client's BDI, then a higher vm.dirty_bytes"
            }
            Self::StopDirtyBytes => "SIGSTOP to the writers, then a higher vm.dirty_bytes",
            Self::KillDirtyBytes => "SIGKILL to the writers, then a higher vm.dirty_bytes",
            Self::DirtyBytes => "a higher vm.dirty_bytes alone",
            Self::StopWriters => "SIGSTOP to the writers",
            Self::FreeMemory => "free memory",
            Self::StopFree => "SIGSTOP to the writers, and free memory",
            Self::MaxRatio => "max_ratio=1 of the client's BDI alone",
            Self::StrictLimit => "strict_limit=1 of the client's BDI alone",
            Self::Strict => "strict_limit=1 and max_ratio=1 of the client's BDI",
            Self::MaxBytes => "max_bytes=4M of the client's BDI alone",
            Self::Sync => "sync",
            Self::KillWriters => "kill -9 of the writers",
            Self::HoldClient => "strict_limit=1 and max_ratio=25 of the client's BDI",
            Self::StrictMaxBytes => "strict_limit=1 and max_bytes=4M of the client's BDI",
            Self::StopHeld => {
                "SIGSTOP to the writers, limits of the client's BDI, a higher vm.dirty_bytes, SIGCONT"
            }
            Self::UmountForce => "umount -f of the mount",
            Self::RealTime => "chrt -f -p 1 of all nfsd threads",
            Self::ServerMinRatio => "min_ratio=50 of the server's BDI",
            Self::MoreThreads => "64 nfsd threads instead of 8",
            Self::StopServer => "0 nfsd threads",
            Self::LowBackground => "vm.dirty_background_bytes=1M and vm.dirty_bytes=50M",
            Self::ServerDirect => "nfsd past the page cache (debugfs nfsd/io_cache_write=2)",
            Self::SameAddress => "the client at the server's own address",
            Self::DirectWrites => "programs that write with O_DIRECT",
            Self::SyncMount => "mounted with the option sync",
        }
    }

    /// The commands for this target.
    pub fn measure(self, target: &Target, seen: String) -> Measure {
        let (what, commands, undo) = match self {
            Self::StrictDirtyBytes => held_and_raised(target, true),
            Self::Ease => ease(target),
            Self::StrictServer => free_server(target, false),
            Self::FreeServer => free_server(target, true),
            Self::MaxRatioDirtyBytes => held_and_raised(target, false),
            Self::StopDirtyBytes => {
                let (mut commands, mut undo) = (stop(target), lower());
                commands.extend(raise(target));
                undo.extend(go_on(target));
                let what = with_cap(
                    "Stop the writers, then give the server room in the dirty limit to write what is there",
                    target,
                );
                (what, commands, undo)
            }
            Self::KillDirtyBytes => {
                let mut commands = kill(target);
                commands.extend(raise(target));
                let what = "Kill the writers, then give the server room in the dirty limit";
                (with_cap(what, target), commands, lower())
            }
            Self::DirtyBytes => {
                let what = "Give the server room in the dirty limit";
                (with_cap(what, target), raise(target), lower())
            }
            Self::StopWriters => (
                "Stop the writers: the server then has the memory for the calls in flight."
                    .to_owned(),
                stop(target),
                go_on(target),
            ),
            Self::FreeMemory => (
                "Free memory: stop or move what uses most of it and is not needed now.".to_owned(),
                vec![BIGGEST.to_owned()],
                Vec::new(),
            ),
            Self::StopFree => {
                let what = "Stop the writers, and free memory: stop or move what uses most of it \
                            and is not needed now.";
                let mut commands = stop(target);
                commands.push(BIGGEST.to_owned());
                (what.to_owned(), commands, go_on(target))
            }
            Self::HoldClient => held_before(target),
            Self::Strict => (sentence(self), hold(target, true, 1), let_go(target, true)),
            Self::MaxRatio => (
                sentence(self),
                hold(target, false, 1),
                let_go(target, false),
            ),
            Self::StrictLimit => {
                let file = class(target, "strict_limit");
                let line = |value: u8| vec![format!("echo {value} > {file}")];
                (sentence(self), line(1), line(0))
            }
            Self::MaxBytes => {
                let file = class(target, "max_bytes");
                let undo = format!("echo 0 > {file}");
                (
                    sentence(self),
                    vec![format!("echo 4194304 > {file}")],
                    vec![undo],
                )
            }
            Self::StrictMaxBytes => hold_to_bytes(target),
            Self::StopHeld => stop_and_hold(target),
            Self::SameAddress => same_address(target),
            Self::ServerDirect => {
                let set = |value: u8| {
                    vec![format!(
                        "echo {value} > /sys/kernel/debug/nfsd/io_cache_write"
                    )]
                };
                let what = "Before the load, have nfsd write past the page cache.";
                (what.to_owned(), set(2), set(0))
            }
            Self::KillWriters => (sentence(self), kill(target), Vec::new()),
            Self::Sync
            | Self::UmountForce
            | Self::RealTime
            | Self::ServerMinRatio
            | Self::MoreThreads
            | Self::StopServer
            | Self::LowBackground
            | Self::DirectWrites
            | Self::SyncMount => (sentence(self), Vec::new(), Vec::new()),
        };
        let unsure = self.wants_strict_limit() && target.offers_strict_limit().is_none();
        let note = if unsure { " Linux 6.2 and later." } else { "" };
        Measure {
            what: format!("{what}{note}"),
            commands,
            undo,
            seen,
        }
    }
}

/// A sentence for actions without commands, or that did not help.
fn sentence(action: Action) -> String {
    let words = match action {
        Action::Sync => "Run sync.",
        Action::KillWriters => "Kill the writers.",
        Action::UmountForce => "Force the unmount of the client (umount -f).",
        Action::RealTime => "Make all nfsd threads real-time threads.",
        Action::MoreThreads => "Start 64 nfsd threads instead of 8.",
        Action::StopServer => "Stop all nfsd threads.",
        Action::DirectWrites => "Have the programs write with O_DIRECT.",
        Action::SyncMount => "Mount with the option sync.",
        _ => return format!("Set {}.", action.words()),
    };
    words.to_owned()
}
