//! What a BDI is to people: where it is mounted and from what.

use compact_str::{CompactString, format_compact};
use monitor_model::{
    loops::Loop,
    observation::{LoopDevice, Observation},
};

use super::bounds::short;

/// Bytes of a path or device in a drawing.
const SHOWN: usize = 48;

/// `0:29 (/mnt, 10.9.0.2:/)`, `254:0 (/export, ext4 /dev/vda)`, or as much of
/// it as is known.
pub fn place(observation: &Observation, found: Option<&Loop>, bdi: &str) -> CompactString {
    let what = what(observation, found, bdi);
    let bdi = short(bdi, SHOWN);
    if what.is_empty() {
        bdi
    } else {
        format_compact!("{bdi} ({what})")
    }
}

/// The same without the BDI's own name; empty: nothing is known.
pub fn what(observation: &Observation, found: Option<&Loop>, bdi: &str) -> CompactString {
    if let Some(mount) = found
        .filter(|one| one.client_bdi == bdi)
        .and_then(|one| one.mounts.first())
    {
        return format_compact!("{}, {}", shown(&mount.mount_point), shown(&mount.source));
    }
    let topology = &observation.topology;
    if let Some(mount) = topology.mounts.iter().find(|mount| mount.bdi == bdi) {
        let point = mount.mount_points.first();
        let point = point.map_or_else(|| "mounted nowhere".into(), |point| shown(point));
        return format_compact!("{point}, {}", shown(&mount.source));
    }
    // A disk has a file system for each partition: the one that is written to.
    let written = found.filter(|one| one.server_bdi.as_deref() == Some(bdi));
    let device = written.map_or("", |one| &one.server_device);
    let mut systems = topology.file_systems.iter().filter(|one| one.bdi == bdi);
    let system = systems
        .clone()
        .find(|one| one.source == device)
        .or_else(|| systems.next());
    if let Some(system) = system {
        let (point, source) = (shown(&system.mount_point), shown(&system.source));
        return format_compact!("{point}, {} {source}", shown(&system.fstype));
    }
    let listed = observation.bdis.iter().find(|one| one.bdi == bdi);
    let (fstype, source) = match (written, listed) {
        (Some(one), _) if !one.server_fstype.is_empty() => (&*one.server_fstype, device),
        (_, Some(listed)) => (&*listed.fstype, &*listed.device),
        _ => return CompactString::default(),
    };
    let both = format_compact!("{} {}", shown(fstype), shown(source));
    both.trim().into()
}

/// A loop device by its BDI: `7:0 (/dev/loop0) is the file /mnt/disk.img on 0:29`.
pub fn loop_device(observation: &Observation, found: Option<&Loop>, device: &LoopDevice) -> String {
    let place = place(observation, found, &device.bdi);
    let on = if device.on.is_empty() {
        "an unknown BDI".into()
    } else {
        short(&device.on, SHOWN)
    };
    format!(
        "{place} is a loop device: the file {} on {on}",
        shown(&device.file)
    )
}

fn shown(text: &str) -> CompactString {
    short(text, SHOWN)
}
