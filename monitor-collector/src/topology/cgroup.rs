//! The cgroup names of container runtimes.
//!
//! | runtime | path |
//! |---|---|
//! | kubelet, systemd driver | `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice/cri-containerd-ID.scope`, the dashes of UID as `_` |
//! | kubelet, cgroupfs driver | `/kubepods/burstable/podUID/ID` |
//! | containerd given a systemd name, with the cgroupfs driver | `…/kubepods-burstable-podUID.slice:cri-containerd:ID` |
//! | CRI-O, podman, docker | `crio-ID.scope`, `libpod-ID.scope`, `docker-ID.scope`, `/docker/ID` |
//!
//! A node that is itself a container adds its own name in front, so the last container in the
//! path counts.

use compact_str::CompactString;
use monitor_model::observation::{Container, is_pod_uid};

/// Hexadecimal digits of a container's id.
const ID: usize = 64;

/// The container of a process, from the lines of its `/proc/PID/cgroup`.
pub fn container<'a>(lines: impl IntoIterator<Item = &'a str>) -> Option<Container> {
    lines.into_iter().find_map(|line| {
        // `0::PATH`, or in version 1 `NUMBER:CONTROLLERS:PATH`.
        of_path(line.splitn(3, ':').nth(2)?)
    })
}

fn of_path(path: &str) -> Option<Container> {
    let names: Vec<&str> = path.split(['/', ':']).collect();
    let last = |found: &dyn Fn(&str) -> bool| names.iter().rposition(|name| found(name));
    let container = last(&|name| id(name).is_some());
    let pod = last(&|name| pod_uid(name).is_some());
    // A pod counts even if its container is unknown. A container in front of the pod is the node.
    let container = container.filter(|at| pod.is_none_or(|pod| *at > pod));
    let name = container
        .and_then(|at| names.get(at).copied())
        .unwrap_or("");
    let pod = pod.and_then(|at| pod_uid(names.get(at)?));
    if container.is_none() && pod.is_none() {
        return None;
    }
    let before = container.and_then(|at| names.get(at.checked_sub(1)?).copied());
    Some(Container {
        id: id(name).unwrap_or_default().into(),
        runtime: runtime(name, before.unwrap_or("")).into(),
        pod_uid: pod.unwrap_or_default(),
        ..Container::default()
    })
}

/// The id at the end of a container's name.
fn id(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit('-').next()?;
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (id.len() == ID && id.bytes().all(digit)).then_some(id)
}

/// The runtime with this form of names; `before` is the part of the path before the name.
fn runtime(name: &str, before: &str) -> &'static str {
    let known = [
        ("cri-containerd", "containerd"),
        ("crio", "cri-o"),
        ("docker", "docker"),
        ("libpod", "podman"),
    ];
    let begins = |word: &str| name.starts_with(word) || before == word;
    let found = known.into_iter().find(|(word, _)| begins(word));
    found.map_or("", |(_, runtime)| runtime)
}

/// The UID in a pod's name: `kubepods-burstable-podUID.slice`, `podUID`.
fn pod_uid(name: &str) -> Option<CompactString> {
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let (before, uid) = name.rsplit_once("pod")?;
    // In a slice's name a dash separates levels.
    let uid = uid.replace('_', "-");
    ((before.is_empty() || before.ends_with('-')) && is_pod_uid(&uid)).then(|| uid.into())
}

#[cfg(test)]
mod tests {
    use super::container;

    const ID: &str = "3f4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a";
    const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";

    /// The runtime, the pod, and whether an id was found.
    fn read(path: &str) -> Option<(String, String, bool)> {
        let path = path.replace("UID", UID).replace("ID", ID);
        let path = path.replace("U_D", &UID.replace('-', "_"));
        let found = container([format!("0::{path}").as_str()])?;
        assert!(found.id.is_empty() || found.id == ID, "{}", found.id);
        let id = !found.id.is_empty();
        Some((found.runtime.into(), found.pod_uid.into(), id))
    }

    #[test]
    fn the_names_of_all_runtimes_are_read() {
        for (path, runtime, in_pod) in [
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_D.slice/cri-containerd-ID.scope",
                "containerd",
                true,
            ),
            (
                "/kubepods.slice/kubepods-podU_D.slice/crio-ID.scope",
                "cri-o",
                true,
            ),
            (
                "/kubepods.slice/kubepods-podU_D.slice/crio-ID.scope/container",
                "cri-o",
                true,
            ),
            ("/kubepods/besteffort/podUID/ID", "", true),
            ("/kubepods/podUID/crio-ID", "cri-o", true),
            (
                "/kubepods.slice/kubepods-podU_D.slice/docker-ID.scope",
                "docker",
                true,
            ),
            // Of a process in another cgroup namespace, and of a sibling there.
            (
                "/../../../kubepods-burstable.slice/kubepods-burstable-podU_D.slice/crio-ID.scope",
                "cri-o",
                true,
            ),
            ("/../../podUID/ID", "", true),
            (
                "/../../kubepods-besteffort-podU_D.slice/cri-containerd-ID.scope",
                "containerd",
                true,
            ),
            // kind, with both drivers.
            (
                "/docker/ID/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podU_D.slice/cri-containerd-ID.scope",
                "containerd",
                true,
            ),
            ("/docker/ID/kubelet/kubepods/burstable/podUID/ID", "", true),
            (
                "/system.slice/containerd.service/kubepods-burstable-podU_D.slice:cri-containerd:ID",
                "containerd",
                true,
            ),
            (
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podU_D.slice/cri-containerd-ID.scope",
                "containerd",
                true,
            ),
            ("/docker/ID", "docker", false),
            ("/system.slice/docker-ID.scope", "docker", false),
            ("/machine.slice/libpod-ID.scope/container", "podman", false),
            ("/libpod_parent/libpod-ID", "podman", false),
        ] {
            let pod = if in_pod { UID } else { "" };
            let wanted = (runtime.to_owned(), pod.to_owned(), true);
            assert_eq!(read(path), Some(wanted), "{path}");
        }
    }

    #[test]
    fn a_static_pod_has_the_hash_of_its_manifest() {
        const HASH: &str = "33d556edd3ae8ef21980288cef77ae8b";
        for path in [
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{HASH}.slice/crio-{ID}.scope"
            ),
            format!("/kubepods/burstable/pod{HASH}/{ID}"),
        ] {
            let found = container([format!("0::{path}").as_str()]).expect("one");
            assert_eq!((&*found.pod_uid, &*found.id), (HASH, ID), "{path}");
        }
    }

    #[test]
    fn a_node_that_is_a_container_is_not_taken_for_its_pod_s() {
        let node = format!("/docker/{ID}");
        let inside = format!("{node}/kubepods/podUID");
        let (runtime, pod, id) = read(&inside).expect("a pod");
        assert_eq!((runtime.as_str(), pod.as_str(), id), ("", UID, false));
        let other = ID.replace('3', "4");
        let whole = format!("{node}/kubelet/kubepods/podUID/{other}");
        let found = container([format!("0::{}", whole.replace("UID", UID)).as_str()]);
        assert_eq!(found.expect("one").id, other);
    }

    #[test]
    fn services_sessions_and_the_root_are_no_containers() {
        for path in [
            "/",
            "/init.scope",
            "/system.slice/nfs-mountd.service",
            "/user.slice/user-0.slice/session-1.scope",
            "/kubepods.slice/kubepods-burstable.slice",
            "/tripod/podcast.slice",
            "",
        ] {
            assert_eq!(read(path), None, "{path}");
        }
    }

    #[test]
    fn of_version_1_the_first_hierarchy_that_names_one_is_taken() {
        let path = format!("/kubepods/pod{UID}/{ID}");
        let lines = [
            "12:rdma:/".to_owned(),
            format!("11:cpu,cpuacct:{path}"),
            "garbage".to_owned(),
            "0::/".to_owned(),
        ];
        let found = container(lines.iter().map(String::as_str)).expect("one");
        assert_eq!(found.pod_uid, UID);
        assert_eq!(found.id, ID);
    }
}
