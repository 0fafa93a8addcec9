//! The commands of each action.

use monitor_model::{
    loops::Exempt,
    mitigation::Measure,
    observation::{ClientKind, ServerKind},
};

use super::PREVENT_RATIO;
use super::target::{HALVES, MEMORY_SHARE, Target};

/// The one measure without a command.
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
        seen: "A server on another node was not seen in one, unless that node is a client of this \
               one, too: two nodes that serve each other can stop each other."
            .to_owned(),
        ..Measure::default()
    }
}

/// A userspace server requests the exemption itself. For nfsd and other servers in the kernel, the
/// kernel decides.
pub(super) fn exempt(target: &Target) -> Option<Measure> {
    let process = target.last_server.as_ref();
    let asks = process.is_some() && matches!(target.exempt, Exempt::No | Exempt::Partly);
    let server = process.filter(|_| asks)?;
    let (how, seen) = match target.client_kind {
        ClientKind::Nfs if *server == target.server => (
            "give its container CAP_SYS_RESOURCE (nfs-ganesha asks for the exemption from version \
             6 on), or start it by throttle-monitor io-flusher -- COMMAND",
            "On 6.12, nfs-ganesha 6.5 behind a service address: frozen at once without the \
             capability, 50 MiB/s with it, under the same load.",
        ),
        kind => (
            "start it by throttle-monitor io-flusher -- COMMAND",
            match kind {
                ClientKind::Nbd => {
                    "No stall with it, under a load that stops the same server without: qemu-nbd on \
                     5.10, 6.12 and 7.2, nbd-server on 6.12."
                }
                ClientKind::Scsi => {
                    "No stall with it on 6.12, under a load that stops tgtd without."
                }
                ClientKind::Cifs => {
                    "No stall with it on 6.12, under a load that stops smbd without."
                }
                ClientKind::Nfs | ClientKind::Fuse => {
                    "No stall with it on 6.12, under a load that stops bindfs without."
                }
                ClientKind::Loop | ClientKind::Ublk => "Not measured with this kind of client.",
            },
        ),
    };
    Some(Measure {
        what: format!("Exempt {server} from local dirty throttling: {how}."),
        seen: seen.to_owned(),
        ..Measure::default()
    })
}

/// A server that writes past the page cache is not throttled.
pub(super) fn direct(target: &Target) -> Option<Measure> {
    let (what, seen) = match (target.client_kind, target.server_kind) {
        (ClientKind::Nbd, _) if target.server == "qemu-nbd" => (
            "Have qemu-nbd write past the page cache: --cache=none.",
            "No stall on 6.12.",
        ),
        (ClientKind::Scsi, ServerKind::Target) => (
            "Have LIO write past the page cache: fd_async_io=1 in the backstore's control, without \
             fd_buffered_io. Without both, it opens the file with O_DSYNC and may still wait.",
            "No stall on 6.12 with fd_async_io=1; stalls of up to 10 s with O_DSYNC.",
        ),
        (ClientKind::Scsi, _) if target.server == "tgtd" => (
            "Have tgtd write past the page cache: --bsoflags direct.",
            "No stall on 6.12.",
        ),
        _ => return None,
    };
    Some(Measure {
        what: what.to_owned(),
        seen: seen.to_owned(),
        ..Measure::default()
    })
}

/// The description, the commands, and the commands that undo them.
pub(super) type MeasureText = (String, Vec<String>, Vec<String>);

/// Stopped writers may resume under limits.
pub(super) fn stop_and_hold(target: &Target) -> MeasureText {
    let offered = target.offers_strict_limit();
    let strict = offered == Some(true);
    // If the kernel's support is unknown, the shell checks for the file.
    let file = class(target, "strict_limit");
    let guarded = |value: u8| {
        let line = format!("[ ! -e {file} ] || echo {value} > {file}");
        offered.is_none().then_some(line)
    };
    let mut commands = stop(target);
    commands.extend(guarded(1));
    commands.extend(hold(target, strict, 1));
    commands.extend(raise(target));
    commands.push("sleep 10".to_owned());
    commands.extend(go_on(target));
    let mut undo = lower();
    undo.extend(let_go(target, strict));
    undo.extend(guarded(0));
    let what = "Stop the writers, hold the client's BDI and raise the limit; let the writers continue when everything is written";
    (with_cap(what, target), commands, undo)
}

/// For such a connection nfsd sets `PF_LOCAL_THROTTLE` (`RQ_LOCAL`, `nfsd_vfs_write`
/// in `fs/nfsd/vfs.c`). Only that one client's address is changed: exports may
/// be by address.
pub(super) fn same_address(target: &Target) -> MeasureText {
    let address = target.server_address.map_or_else(
        || "$server_address".to_owned(),
        |address| address.to_string(),
    );
    let there = |command: &str| format!("nsenter -t $server_pid -n nft {command}");
    let rule = format!(
        "add rule ip nfs_local in ip saddr $client_address tcp dport 2049 snat to {address}"
    );
    let commands = [
        "add table ip nfs_local",
        "add chain ip nfs_local in '{ type nat hook input priority 100 ; }'",
        &rule,
    ];
    let what = "Before the mount, let the server see this client at the server's own address: nfsd \
                is then exempt from local dirty throttling. An existing connection keeps its address; exports by client address must allow the server's. $server_pid \
                is any process of the server's pod or container.";
    let undo = vec![there("delete table ip nfs_local")];
    (what.to_owned(), commands.map(there).to_vec(), undo)
}

pub(super) fn held_and_raised(target: &Target, strict: bool) -> MeasureText {
    let mut commands = hold(target, strict, 1);
    commands.extend(raise(target));
    let mut undo = lower();
    undo.extend(let_go(target, strict));
    let what = "Hold the client's BDI to a small part of the dirty limit, then raise the limit so \
                that the server can write";
    (with_cap(what, target), commands, undo)
}

pub(super) fn hold_to_bytes(target: &Target) -> MeasureText {
    let [limit, strict] = ["max_bytes", "strict_limit"].map(|file| class(target, file));
    let commands = vec![
        format!("echo 1 > {strict}"),
        format!("echo 4194304 > {limit}"),
    ];
    let undo = vec![format!("echo 0 > {limit}"), format!("echo 0 > {strict}")];
    let what =
        "Before the load, hold the client's BDI to 4 MiB; the setting disappears with the mount.";
    (what.to_owned(), commands, undo)
}

pub(super) fn with_cap(what: &str, target: &Target) -> String {
    if target.is_capped() {
        format!("{what}. More than half of the memory would be needed: half may not be enough.")
    } else {
        format!("{what}.")
    }
}

pub(super) fn class(target: &Target, file: &str) -> String {
    format!("/sys/class/bdi/{}/{file}", target.bdi())
}

/// A loop that a shell does poorly: ten times a second, and never beyond a share of the memory.
pub(super) fn ease(target: &Target) -> MeasureText {
    let what = "Let the dirty limit follow what is dirty, and give the server room: before Linux \
                6.2 by holding the client, since then by strict_limit of the BDI that the server \
                writes to. The program does it until Ctrl-C, and then restores everything: let it run until the load is gone.";
    let server = match (&target.strict_server, target.offers_strict_limit()) {
        (Some(bdi), _) => format!(" --server-bdi {bdi}"),
        (None, Some(_)) => String::new(),
        // This works on any kernel.
        (None, None) => {
            "  # Linux 6.2 and later: with --server-bdi, the BDI of the server's disk".to_owned()
        }
    };
    let commands = vec![format!(
        "throttle-monitor guard ease {}{server}",
        target.bdi()
    )];
    let undo = vec!["throttle-monitor guard undo  # if it was killed".to_owned()];
    (what.to_owned(), commands, undo)
}

/// The server waits for its own BDI's limit then, not for the node's. Its last dirty pages may be
/// above that limit, and stay until they are old enough to be written.
pub(super) fn free_server(target: &Target, soon: bool) -> MeasureText {
    let bdi = target.strict_server.as_deref().unwrap_or("$server_bdi");
    let file = format!("/sys/class/bdi/{bdi}/strict_limit");
    let mut commands = vec![format!("echo 1 > {file}")];
    let mut undo = vec![format!("echo 0 > {file}")];
    if !soon {
        let what = "Free the server from the node's dirty limit: it goes on when its last pages are \
                    old enough to be written, after up to 30 s.";
        return (what.to_owned(), commands, undo);
    }
    commands.push("sysctl -w vm.dirty_expire_centisecs=100".to_owned());
    undo.push("sysctl -w vm.dirty_expire_centisecs=3000  # or what it was".to_owned());
    let what =
        "Free the server from the node's dirty limit, and let its old pages be written soon.";
    (what.to_owned(), commands, undo)
}

/// Limits of the client's BDI.
pub(super) fn hold(target: &Target, strict: bool, ratio: u32) -> Vec<String> {
    let mut commands = Vec::new();
    if strict {
        commands.push(format!("echo 1 > {}", class(target, "strict_limit")));
    }
    commands.push(format!("echo {ratio} > {}", class(target, "max_ratio")));
    commands
}

/// Limits of the client's BDI, set before a load.
pub(super) fn held_before(target: &Target) -> MeasureText {
    let what = format!(
        "Before the load, hold the client's BDI to {PREVENT_RATIO} % of the dirty limit; both are needed, and they disappear with the mount."
    );
    (
        what,
        hold(target, true, PREVENT_RATIO),
        let_go(target, true),
    )
}

pub(super) fn let_go(target: &Target, strict: bool) -> Vec<String> {
    let ratio = target.max_ratio.unwrap_or(100);
    let mut commands = vec![format!("echo {ratio} > {}", class(target, "max_ratio"))];
    if strict {
        let value = u8::from(target.strict_limit.unwrap_or(false));
        commands.push(format!("echo {value} > {}", class(target, "strict_limit")));
    }
    commands
}

/// A higher dirty limit. The old value is printed first because `sysctl` does not keep it.
pub(super) fn raise(target: &Target) -> Vec<String> {
    let mut commands = vec!["sysctl vm.dirty_bytes vm.dirty_ratio  # write both down".to_owned()];
    if let Some(bytes) = target.dirty_bytes() {
        commands.push(format!("sysctl vm.dirty_bytes={bytes}"));
    } else {
        // The same formula and cap as `Target::dirty_bytes`. %.0f: some awks have 32 bits for %d.
        commands.push(
            "held=$(awk '/^nr_(dirty|writeback) /{n += $2} /^nr_dirty_threshold /{t = $2} END \
             {printf \"%.0f\", (n > t ? n : t)}' /proc/vmstat)"
                .to_owned(),
        );
        commands.push(format!(
            "most=$(awk '/^MemTotal:/{{printf \"%.0f\", $2 * 1024 / {MEMORY_SHARE}}}' \
             /proc/meminfo)  # never more than half of the memory"
        ));
        commands.push(format!(
            "limit=$((held * {HALVES} / 2 * $(getconf PAGESIZE))); sysctl vm.dirty_bytes=$((limit < most ? \
             limit : most))"
        ));
    }
    commands
}

pub(super) fn lower() -> Vec<String> {
    vec!["sysctl vm.dirty_ratio=20  # or what it was; this sets vm.dirty_bytes to 0".to_owned()]
}

/// The process ids, or the command that finds them.
fn pids(target: &Target) -> (Vec<String>, String) {
    if target.writers.is_empty() {
        // The command reads links of /proc without following them, so it never touches the mount.
        let mount = target.mount_point.as_deref().unwrap_or("/mnt");
        let commands = vec![
            format!("mount={mount}  # the client's; or where a loop device on it is mounted"),
            "writers=$(for p in /proc/[0-9]*; do readlink $p/fd/* | grep -q \"^$mount/\" && echo \
             ${p#/proc/}; done)  # who has files open there"
                .to_owned(),
        ];
        return (commands, "$writers".to_owned());
    }
    let pids: Vec<String> = target.writers.iter().map(u32::to_string).collect();
    (Vec::new(), pids.join(" "))
}

pub(super) fn stop(target: &Target) -> Vec<String> {
    let (mut commands, pids) = pids(target);
    commands.push(format!("kill -STOP {pids}"));
    commands
}

pub(super) fn go_on(target: &Target) -> Vec<String> {
    let (_, pids) = pids(target);
    vec![format!("kill -CONT {pids}")]
}

pub(super) fn kill(target: &Target) -> Vec<String> {
    let (mut commands, pids) = pids(target);
    commands.push(format!("kill -KILL {pids}"));
    commands
}
