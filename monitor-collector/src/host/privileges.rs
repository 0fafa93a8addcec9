//! Drops every capability that the daemon does not need, and the means to gain new ones.
//!
//! Capabilities belong to threads, so this runs before the first other one starts. The daemon keeps
//! the rest to its end, because it attaches to modules that are loaded later.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};

/// docs/install.md states the purpose of each, and so does `check` if one is missing. The systemd
/// unit grants exactly these.
const NEEDED: [Capability; 6] = [
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_SYS_ADMIN,
];

/// Ports below this are reserved for the administrator.
const FIRST_FREE_PORT: u16 = 1024;

/// Capabilities that only some configurations need.
#[must_use]
pub fn also(ports: impl IntoIterator<Item = u16>, writes: bool) -> Vec<Capability> {
    let mut also = Vec::new();
    if ports
        .into_iter()
        .any(|port| port != 0 && port < FIRST_FREE_PORT)
    {
        also.push(Capability::CAP_NET_BIND_SERVICE);
    }
    // The directory may belong to another user even if the daemon runs as root.
    if writes {
        also.push(Capability::CAP_DAC_OVERRIDE);
    }
    also
}

/// Drops all but these and those that are always needed; it gains none.
///
/// # Errors
///
/// The kernel refuses it, which it has no reason to.
pub fn keep(also: &[Capability]) -> Result<(), CapsError> {
    let mut wanted: CapsHashSet = NEEDED.iter().chain(also).copied().collect();
    // Without `CAP_SYS_RESOURCE` the limit of locked memory stays, and locking needs this.
    if !caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_RESOURCE)? {
        wanted.insert(Capability::CAP_IPC_LOCK);
    }
    // Removing a capability from the bounding set needs a capability. Without it, exec cannot gain
    // any either once this is set.
    let _ = rustix::thread::set_no_new_privs(true);
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)?.difference(&wanted) {
            caps::drop(None, CapSet::Bounding, *capability)?;
        }
    }
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        let has = caps::read(None, set)?;
        let kept: CapsHashSet = has.intersection(&wanted).copied().collect();
        if kept != has {
            caps::set(None, set, &kept)?;
        }
    }
    Ok(())
}

/// Drops all of them, for a process that needs none.
///
/// # Errors
///
/// The kernel refuses it, which it has no reason to.
pub fn give_up_all() -> Result<(), CapsError> {
    let _ = rustix::thread::set_no_new_privs(true);
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use caps::Capability;

    use super::{NEEDED, also};

    #[test]
    fn the_unit_gives_exactly_what_is_kept() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../deploy/systemd/throttle-monitor.service");
        let unit = fs::read_to_string(path).unwrap();
        let given = unit
            .lines()
            .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
            .unwrap();
        let mut given: Vec<_> = given.split(' ').map(str::to_owned).collect();
        let mut kept: Vec<_> = NEEDED.iter().map(ToString::to_string).collect();
        given.sort();
        kept.sort();
        assert_eq!(given, kept);
    }

    #[test]
    fn a_port_of_the_administrator_s_and_a_directory_to_write_to_need_one_more_each() {
        assert!(also([9746, 0, 1024], false).is_empty());
        assert_eq!(also([9746, 443], false), [Capability::CAP_NET_BIND_SERVICE]);
        assert_eq!(also([], true), [Capability::CAP_DAC_OVERRIDE]);
    }
}
