//! Paths first: what a BDI is to a person.

use monitor_model::loops::Loop;

use crate::publish::node::{LoopNow, Node};

/// `/mnt (0:29)`, `/dev/vda (254:0)`; where no path is known, the number; `-`: none.
pub fn of_bdi(node: &Node, bdi: &str) -> String {
    if bdi.is_empty() {
        return "-".to_owned();
    }
    let of_loop = node.loops.iter().find_map(|one| {
        let found = one.found.as_ref()?;
        let mount = found.mounts.first().filter(|_| found.client_bdi == bdi);
        mount.map(|mount| mount.mount_point.as_str())
    });
    let device = || {
        let mut bdis = node.bdis.iter();
        let of_it = bdis.find(|one| one.bdi.bdi == bdi);
        of_it.map(|one| one.bdi.device.as_str())
    };
    match of_loop.or_else(device) {
        None | Some("") => bdi.to_owned(),
        Some(path) => format!("{path} ({bdi})"),
    }
}

/// Where a loop is mounted, else its client's number.
pub fn of_mount(one: &LoopNow) -> &str {
    let mount = one.found.as_ref().and_then(|found| found.mounts.first());
    mount.map_or(&*one.verdict.client_bdi, |mount| &*mount.mount_point)
}

/// What is mounted there: `10.9.0.2:/`, and whether that is all.
pub fn of_source(found: &Loop) -> String {
    match &*found.mounts {
        [] if !found.client_name.is_empty() => found.client_name.to_string(),
        [] => "an unknown mount".to_owned(),
        [mount] => mount.source.to_string(),
        [mount, more @ ..] => format!("{} and {} more", mount.source, more.len()),
    }
}
