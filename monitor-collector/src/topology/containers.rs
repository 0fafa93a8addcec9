//! Finds the container of a process or a network namespace.
//!
//! The sources are `/proc/PID/cgroup`, and `/proc/PID/mountinfo` for the container's name. The
//! pod's name is the host name in the UTS namespace of one of its processes, which a thread enters
//! for a moment. `environ` is not read: it takes a lock that a stuck process may hold. Files of the
//! container are not read: they may lie on NFS.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::fd::AsFd as _,
    path::Path,
    thread,
};

use compact_str::CompactString;
use monitor_model::observation::{
    Container, NetNamespace, ProcessPlace, Topology, pod_uid_of_volume,
};
use rustix::{
    system::uname,
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::namespaces::Namespaces;
use super::{cgroup, namespaces};
use crate::host::text;

/// Lines of `/proc/PID/cgroup`: there are at most 16 hierarchies.
const MAX_LINES: usize = 32;
/// Maximum number of mounts of a container.
const MAX_MOUNTS: usize = 1024;
/// Maximum number of network namespaces, processes and pods to report.
const MAX_PLACES: usize = 256;
/// Maximum bytes of a name: the kernel's limit of a host name. Kubernetes limits a container's to
/// 63.
pub(super) const MAX_NAME: usize = 64;

/// The results of one round.
#[derive(Debug, Default)]
pub struct Containers {
    /// Host names by UTS namespace; empty: the node's own, or unavailable.
    names: BTreeMap<u64, CompactString>,
}

impl Containers {
    /// The containers of these network namespaces. `residents`: a process of each.
    pub fn of_namespaces(
        &mut self,
        spaces: &Namespaces,
        residents: &BTreeMap<u64, u32>,
        nets: &BTreeSet<u64>,
    ) -> Vec<NetNamespace> {
        let found = nets.iter().filter_map(|&netns| {
            let container = self.of_process(spaces, *residents.get(&netns)?)?;
            Some(NetNamespace { netns, container })
        });
        found.take(MAX_PLACES).collect()
    }

    /// The containers of these processes. Processes that have ended are skipped.
    pub fn of_processes(
        &mut self,
        spaces: &Namespaces,
        tgids: &BTreeSet<u32>,
    ) -> Vec<ProcessPlace> {
        let place = |&tgid| ProcessPlace {
            tgid,
            container: self.of_process(spaces, tgid),
        };
        tgids.iter().take(MAX_PLACES).map(place).collect()
    }

    fn of_process(&mut self, spaces: &Namespaces, pid: u32) -> Option<Container> {
        let process = spaces.process(pid);
        let mut lines = Vec::new();
        let add = |line: &str| lines.push(line.to_owned());
        text::lines(&process.join("cgroup"), MAX_LINES, add).ok()?;
        let mut container = cgroup::container(lines.iter().map(String::as_str))?;
        container.hostname = self.hostname(spaces, &process);
        container.name = name_in_pod(&process, &container.pod_uid);
        Some(container)
    }

    fn hostname(&mut self, spaces: &Namespaces, process: &Path) -> CompactString {
        let number = |process: &Path| namespaces::number_of(process, "uts");
        // The kernel may deny access to process 1. Process 2 is kthreadd.
        let node = [1, 2].map(|pid| number(&spaces.process(pid)));
        let Some(own) = number(process).filter(|own| !node.contains(&Some(*own))) else {
            return CompactString::default();
        };
        let name = self.names.entry(own);
        let read = || {
            hostname_in(&process.join("ns/uts")).unwrap_or_else(|error| {
                tracing::debug!(process = %process.display(), %error, "a UTS namespace cannot be entered");
                CompactString::default()
            })
        };
        name.or_insert_with(read).clone()
    }
}

/// The pods that the kubelet mounted these volumes for. One without a device or a BDI is part of no
/// loop.
pub fn of_volumes(topology: &Topology) -> Vec<Container> {
    let mounts = topology.mounts.iter();
    let nfs = mounts.flat_map(|mount| &mount.mount_points);
    let file_systems = topology.file_systems.iter();
    let others = file_systems.filter(|fs| !fs.bdi.is_empty());
    let points = nfs.chain(others.map(|fs| &fs.mount_point));
    let uids: BTreeSet<&str> = points.filter_map(|at| pod_uid_of_volume(at)).collect();
    let pod = |uid: &str| Container {
        pod_uid: uid.into(),
        ..Container::default()
    };
    uids.into_iter().take(MAX_PLACES).map(pod).collect()
}

/// All containers of a topology.
pub fn all(topology: &mut Topology) -> Vec<&mut Container> {
    let nets = topology.net_namespaces.iter_mut();
    let processes = topology.processes.iter_mut();
    nets.map(|net| &mut net.container)
        .chain(processes.filter_map(|process| process.container.as_mut()))
        .chain(&mut topology.volume_pods)
        .collect()
}

/// The name of a container in its pod's manifest. The kubelet mounts a file for its termination
/// message into it, from a directory of that name.
fn name_in_pod(process: &Path, pod_uid: &str) -> CompactString {
    let mut name = CompactString::default();
    if !pod_uid.is_empty() {
        let find = |line: &str| {
            if name.is_empty() {
                name = name_of(line, pod_uid).unwrap_or_default().into();
            }
        };
        if let Err(error) = text::lines(&process.join("mountinfo"), MAX_MOUNTS, find) {
            tracing::debug!(process = %process.display(), %error, "a container's mounts cannot be read");
        }
    }
    name
}

/// Finds it in the root of a mount: `…/pods/UID/containers/NAME/…`.
pub(super) fn name_of<'a>(line: &'a str, pod_uid: &str) -> Option<&'a str> {
    let (_, rest) = line.split(' ').nth(3)?.split_once("/pods/")?;
    let rest = rest.strip_prefix(pod_uid)?.strip_prefix("/containers/")?;
    let (name, _) = rest.split_once('/')?;
    (name.len() <= MAX_NAME).then_some(name)
}

/// The host name in a UTS namespace. The thread that enters it cannot return, so it ends.
fn hostname_in(namespace: &Path) -> io::Result<CompactString> {
    let file = File::open(namespace)?;
    let inside = move || {
        move_into_link_name_space(
            file.as_fd(),
            Some(LinkNameSpaceType::HostNameAndNISDomainName),
        )?;
        let name = uname();
        let name = name.nodename().to_string_lossy();
        let end = name.floor_char_boundary(MAX_NAME);
        Ok(name.get(..end).unwrap_or_default().into())
    };
    let thread = thread::Builder::new().name("uts".into()).spawn(inside)?;
    thread.join().map_err(|_| io::Error::other("a panic"))?
}

#[cfg(test)]
mod tests {
    use super::name_of;

    const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";

    #[test]
    fn a_container_s_name_is_in_the_root_of_its_termination_message() {
        let line =
            |root: &str| format!("704 690 8:1 {root} /dev/termination-log rw - ext4 /dev/sda1 rw");
        for before in [
            "/var/lib/kubelet",
            "",
            "/docker/volumes/minikube/_data/lib/kubelet",
        ] {
            let root = format!("{before}/pods/{UID}/containers/nginx/6e05ba3d");
            assert_eq!(name_of(&line(&root), UID), Some("nginx"));
        }
        for none in [
            format!("/var/lib/kubelet/pods/{UID}/etc-hosts"),
            format!("/var/lib/kubelet/pods/{UID}/containers/nginx"),
            "/var/lib/kubelet/pods/another/containers/nginx/6e05ba3d".to_owned(),
            format!("/pods/{UID}/containers/{}/x", "n".repeat(65)),
            "/".to_owned(),
        ] {
            assert_eq!(name_of(&line(&none), UID), None, "{none}");
        }
        assert_eq!(name_of("704 690", UID), None);
    }
}
