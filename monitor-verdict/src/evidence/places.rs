//! What a BDI is to people: where it is mounted and from what.

use std::fmt;

use compact_str::{CompactString, format_compact};
use monitor_model::{loops::Loop, observation::Observation};

use super::bounds::short;

/// Bytes of a path or device in a drawing.
const SHOWN: usize = 48;

/// A BDI as people know it: `/mnt (0:29)`, and with `{:#}` `/mnt (0:29, 10.9.0.2:/)`;
/// or as much of it as is known.
#[derive(Debug)]
pub struct Place {
    /// Where it is mounted; empty: nowhere, or unknown.
    pub path: CompactString,
    pub bdi: CompactString,
    /// What is mounted there; empty: unknown.
    pub what: CompactString,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, bdi, what } = self;
        match (path.is_empty(), what.is_empty() || !f.alternate()) {
            (true, true) => f.write_str(bdi),
            (true, false) => write!(f, "{bdi} ({what})"),
            (false, true) => write!(f, "{path} ({bdi})"),
            (false, false) => write!(f, "{path} ({bdi}, {what})"),
        }
    }
}

/// What is known of a BDI.
pub fn place(observation: &Observation, found: Option<&Loop>, bdi: &str) -> Place {
    let (path, what) = path_and_what(observation, found, bdi);
    let bdi = match bdi {
        "" => "an unknown BDI".into(),
        bdi => shown(bdi),
    };
    Place { path, bdi, what }
}

fn path_and_what(
    observation: &Observation,
    found: Option<&Loop>,
    bdi: &str,
) -> (CompactString, CompactString) {
    let client = found.filter(|one| one.client_bdi == bdi);
    if let Some(mount) = client.and_then(|one| one.mounts.first()) {
        return (shown(&mount.mount_point), shown(&mount.source));
    }
    let topology = &observation.topology;
    if let Some(mount) = topology.mounts.iter().find(|mount| mount.bdi == bdi) {
        let source = shown(&mount.source);
        return match mount.mount_points.first() {
            Some(point) => (shown(point), source),
            None => ("".into(), format_compact!("mounted nowhere, {source}")),
        };
    }
    // A disk has a file system for each partition: the one that is written to.
    let written = found.filter(|one| one.server_bdi.as_deref() == Some(bdi));
    let device = written.map_or("", |one| &one.server_device);
    let systems = || topology.file_systems.iter().filter(|one| one.bdi == bdi);
    let system = systems().find(|one| one.source == device);
    let system = system.or_else(|| systems().next());
    let listed = observation.bdis.iter().find(|one| one.bdi == bdi);
    let (path, fstype, source) = match (system, written, listed) {
        (Some(one), ..) => (&*one.mount_point, &*one.fstype, &*one.source),
        (_, Some(one), _) if !one.server_fstype.is_empty() => ("", &*one.server_fstype, device),
        (.., Some(one)) => ("", &*one.fstype, &*one.device),
        _ => return Default::default(),
    };
    let what = format_compact!("{} {}", shown(fstype), shown(source));
    (shown(path), what.trim().into())
}

/// As much of a path or device as is shown.
pub fn shown(text: &str) -> CompactString {
    short(text, SHOWN)
}
