//! What can be done, and what to type for it.

use super::Measure;
use super::place::{HALVES, Place};

/// Something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `strict_limit=1`, `max_ratio=1`, then a higher `vm.dirty_bytes`.
    StrictDirtyBytes,
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
    /// Memory made free.
    FreeMemory,
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
    /// `strict_limit=1` and `max_ratio=10`, before the load.
    HoldTenth,
}

impl Action {
    /// Whether this kernel can do it at all.
    pub fn is_offered(self, place: &Place) -> bool {
        !self.wants_strict_limit() || place.offers_strict_limit() != Some(false)
    }

    /// `max_bytes` came with it, in 6.2 (`mm/backing-dev.c`).
    const fn wants_strict_limit(self) -> bool {
        matches!(
            self,
            Self::StrictDirtyBytes
                | Self::StrictLimit
                | Self::Strict
                | Self::MaxBytes
                | Self::HoldTenth
        )
    }

    /// A few words, for what does not help.
    pub fn words(self) -> &'static str {
        match self {
            Self::StrictDirtyBytes => {
                "strict_limit=1 and max_ratio=1 of the client's BDI, then a higher vm.dirty_bytes"
            }
            Self::MaxRatioDirtyBytes => {
                "max_ratio=1 of the client's BDI, then a higher vm.dirty_bytes"
            }
            Self::StopDirtyBytes => "SIGSTOP to the writers, then a higher vm.dirty_bytes",
            Self::KillDirtyBytes => "SIGKILL to the writers, then a higher vm.dirty_bytes",
            Self::DirtyBytes => "a higher vm.dirty_bytes alone",
            Self::StopWriters => "SIGSTOP to the writers",
            Self::FreeMemory => "free memory",
            Self::MaxRatio => "max_ratio=1 of the client's BDI alone",
            Self::StrictLimit => "strict_limit=1 of the client's BDI alone",
            Self::Strict => "strict_limit=1 and max_ratio=1 of the client's BDI",
            Self::MaxBytes => "max_bytes=4M of the client's BDI alone",
            Self::Sync => "sync",
            Self::KillWriters => "kill -9 of the writers",
            Self::HoldTenth => "strict_limit=1 and max_ratio=10 of the client's BDI",
        }
    }

    /// What to type here.
    pub fn measure(self, place: &Place, seen: String) -> Measure {
        let (what, commands, undo) = match self {
            Self::StrictDirtyBytes => held_and_raised(place, true),
            Self::MaxRatioDirtyBytes => held_and_raised(place, false),
            Self::StopDirtyBytes => {
                let (mut commands, mut undo) = (stop(place), lower());
                commands.extend(raise(place));
                undo.extend(go_on(place));
                let what = with_cap(
                    "Stop the writers, then give the server room in the dirty limit to write what is there",
                    place,
                );
                (what, commands, undo)
            }
            Self::KillDirtyBytes => {
                let mut commands = kill(place);
                commands.extend(raise(place));
                let what = "Kill the writers, then give the server room in the dirty limit";
                (with_cap(what, place), commands, lower())
            }
            Self::DirtyBytes => {
                let what = "Give the server room in the dirty limit";
                (with_cap(what, place), raise(place), lower())
            }
            Self::StopWriters => (
                "Stop the writers: the server then has the memory for what is already under way."
                    .to_owned(),
                stop(place),
                go_on(place),
            ),
            Self::FreeMemory => (
                "Free memory: stop or move what uses most of it and is not needed now.".to_owned(),
                vec!["ps -eo pid,rss,comm --sort=-rss | head".to_owned()],
                Vec::new(),
            ),
            Self::HoldTenth => (
                "Before the load, hold the client's BDI to a tenth of the dirty limit; both are \
                 needed, and they are gone with the mount."
                    .to_owned(),
                hold(place, true, 10),
                let_go(place, true),
            ),
            Self::Strict => (sentence(self), hold(place, true, 1), let_go(place, true)),
            Self::MaxRatio => (sentence(self), hold(place, false, 1), let_go(place, false)),
            Self::StrictLimit => {
                let file = class(place, "strict_limit");
                let line = |value: u8| vec![format!("echo {value} > {file}")];
                (sentence(self), line(1), line(0))
            }
            Self::MaxBytes => {
                let file = class(place, "max_bytes");
                let undo = format!("echo 0 > {file}");
                (
                    sentence(self),
                    vec![format!("echo 4194304 > {file}")],
                    vec![undo],
                )
            }
            Self::Sync => (sentence(self), vec!["sync".to_owned()], Vec::new()),
            Self::KillWriters => (sentence(self), kill(place), Vec::new()),
        };
        let unsure = self.wants_strict_limit() && place.offers_strict_limit().is_none();
        let note = if unsure { " Linux 6.2 and later." } else { "" };
        Measure {
            what: format!("{what}{note}"),
            commands,
            undo,
            seen,
        }
    }
}

/// The one measure that needs no command.
pub(super) fn apart(server: &str) -> Measure {
    let server = if server.is_empty() {
        "the server"
    } else {
        server
    };
    Measure {
        what: format!(
            "Run {server} and the pods or programs that mount it on different nodes (in \
             Kubernetes: podAntiAffinity)."
        ),
        seen: "Without a loop there is no livelock: a server on another node was never seen in \
               one."
            .to_owned(),
        ..Measure::default()
    }
}

type Words = (String, Vec<String>, Vec<String>);

fn sentence(action: Action) -> String {
    format!("Set {}.", action.words())
}

fn held_and_raised(place: &Place, strict: bool) -> Words {
    let mut commands = hold(place, strict, 1);
    commands.extend(raise(place));
    let mut undo = lower();
    undo.extend(let_go(place, strict));
    let what = "Hold the client's BDI to a small part of the dirty limit, then raise the limit so \
                that the server can write";
    (with_cap(what, place), commands, undo)
}

fn with_cap(what: &str, place: &Place) -> String {
    if place.is_capped() {
        format!(
            "{what}. More would be wanted than half of the memory: that half may not be enough."
        )
    } else {
        format!("{what}.")
    }
}

fn class(place: &Place, file: &str) -> String {
    format!("/sys/class/bdi/{}/{file}", place.bdi())
}

/// Limits of the client's BDI.
fn hold(place: &Place, strict: bool, ratio: u8) -> Vec<String> {
    let mut commands = Vec::new();
    if strict {
        commands.push(format!("echo 1 > {}", class(place, "strict_limit")));
    }
    commands.push(format!("echo {ratio} > {}", class(place, "max_ratio")));
    commands
}

fn let_go(place: &Place, strict: bool) -> Vec<String> {
    let ratio = place.max_ratio.unwrap_or(100);
    let mut commands = vec![format!("echo {ratio} > {}", class(place, "max_ratio"))];
    if strict {
        let value = u8::from(place.strict_limit.unwrap_or(false));
        commands.push(format!("echo {value} > {}", class(place, "strict_limit")));
    }
    commands
}

/// A higher dirty limit, after what it was: `sysctl` forgets it.
fn raise(place: &Place) -> Vec<String> {
    let mut commands = vec!["sysctl vm.dirty_bytes vm.dirty_ratio  # write both down".to_owned()];
    if let Some(bytes) = place.dirty_bytes() {
        commands.push(format!("sysctl vm.dirty_bytes={bytes}"));
    } else {
        commands.push(
            "held=$(awk '/^nr_(dirty|writeback) /{n += $2} END {print n}' /proc/vmstat)".to_owned(),
        );
        commands.push(format!(
            "sysctl vm.dirty_bytes=$((held * {HALVES} / 2 * $(getconf PAGESIZE)))"
        ));
    }
    commands
}

fn lower() -> Vec<String> {
    vec!["sysctl vm.dirty_ratio=20  # or what it was; this sets vm.dirty_bytes to 0".to_owned()]
}

/// The processes, or how to find them.
fn pids(place: &Place) -> (Vec<String>, String) {
    if place.writers.is_empty() {
        let bdi = place.bdi();
        let find = format!(
            "curl -s 127.0.0.1:9746/api/v1/stalls  # writers: each tgid with \"class\":\"user\", \
             \"bdi\":\"{bdi}\""
        );
        return (vec![find], "$writers".to_owned());
    }
    let pids: Vec<String> = place.writers.iter().map(u32::to_string).collect();
    (Vec::new(), pids.join(" "))
}

fn stop(place: &Place) -> Vec<String> {
    let (mut commands, pids) = pids(place);
    commands.push(format!("kill -STOP {pids}"));
    commands
}

fn go_on(place: &Place) -> Vec<String> {
    let (_, pids) = pids(place);
    vec![format!("kill -CONT {pids}")]
}

fn kill(place: &Place) -> Vec<String> {
    let (mut commands, pids) = pids(place);
    commands.push(format!("kill -KILL {pids}"));
    commands
}
