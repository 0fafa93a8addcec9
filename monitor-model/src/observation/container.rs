//! The container of a process: facts from its cgroup.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// A container, as the cgroup of its processes names it. Unknown fields are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// The container's id, 64 hexadecimal digits.
    pub id: CompactString,
    /// The container runtime, as far as the cgroup's name shows it: `containerd`, `cri-o`,
    /// `docker`, `podman`.
    pub runtime: CompactString,
    /// `metadata.uid` of the Kubernetes pod; of a static pod the hash of its
    /// manifest, as the kubelet names its cgroup.
    pub pod_uid: CompactString,
    /// The host name in its own UTS namespace: for a pod its name, up to 63 characters. Empty with
    /// `hostNetwork`, where it is the node's.
    pub hostname: CompactString,
    /// The container's name in the pod's manifest. Empty for the container that only keeps a pod's
    /// namespaces.
    pub name: CompactString,
}

/// The container of a network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetNamespace {
    /// Its number, as in `net:[4026531840]`.
    pub netns: u64,
    /// The container of its first process: in a pod, mostly the one that only keeps its namespaces.
    pub container: Container,
}

/// The container of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessPlace {
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Its container; `None`: none is known.
    pub container: Option<Container>,
}

impl Container {
    /// A short name for people: `pod web-0`, `container nginx of pod web-0`, `container 3f4c…`.
    #[must_use]
    pub fn words(&self) -> String {
        let short = |text: &CompactString| text.chars().take(12).collect::<String>();
        let pod = match (self.pod_uid.as_str(), self.hostname.as_str()) {
            ("", "") => return format!("container {}", short(&self.id)),
            ("", name) => return format!("container {name}"),
            (uid, "") => format!("pod {uid}"),
            (_, name) => format!("pod {name}"),
        };
        match self.name.as_str() {
            "" => pod,
            name => format!("container {name} of {pod}"),
        }
    }

    /// The pod of a volume that the kubelet mounted, from its mount point:
    /// `/var/lib/kubelet/pods/UID/volumes/kubernetes.io~nfs/NAME`.
    #[must_use]
    pub fn of_volume(mount_point: &str) -> Option<Self> {
        let (_, rest) = mount_point.split_once("/pods/")?;
        let (uid, rest) = rest.split_once('/')?;
        let is_volume = rest.starts_with("volumes/") || rest.starts_with("volume-subpaths/");
        (is_volume && is_pod_uid(uid)).then(|| Self {
            pod_uid: uid.into(),
            ..Self::default()
        })
    }
}

/// Whether the text has the form of a pod's UID: a UUID, or a static pod's hash.
#[must_use]
pub fn is_pod_uid(text: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let uuid = || {
        let lengths = text.split('-').map(str::len);
        lengths.eq([8, 4, 4, 4, 12]) && text.split('-').all(hex)
    };
    (text.len() == 32 && hex(text)) || uuid()
}

#[cfg(test)]
mod tests {
    use super::{Container, is_pod_uid};

    const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";

    #[test]
    fn a_volume_s_mount_point_names_its_pod() {
        let of = |path: &str| Container::of_volume(path).map(|one| one.pod_uid.to_string());
        let kubelet = format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~nfs/data");
        assert_eq!(of(&kubelet).as_deref(), Some(UID));
        let moved = format!("/data/kubelet/pods/{UID}/volume-subpaths/data/web/0");
        assert_eq!(of(&moved).as_deref(), Some(UID));
        for no in [
            "/mnt",
            "/pods/x/volumes/y",
            &format!("/pods/{UID}/etc-hosts"),
        ] {
            assert_eq!(of(no), None, "{no}");
        }
    }

    #[test]
    fn a_pod_s_uid_is_a_uuid_or_a_hash_of_32_hexadecimal_digits() {
        let hash = "0123456789abcdef0123456789ABCDEF";
        assert!(is_pod_uid(UID) && is_pod_uid(hash));
        for no in [
            "",
            "0123",
            &hash[1..],
            "g123456789abcdef0123456789abcdef",
            "g1b2c3d0-0a1b-0a1b-0a1b-0a1b2c3d4e5f",
            "0a1b2c3d0-a1b-0a1b-0a1b-0a1b2c3d4e5f",
            "0a1b2c3d-0a1b-0a1b-0a1b2c3d4e5f",
        ] {
            assert!(!is_pod_uid(no), "{no}");
        }
    }

    #[test]
    fn a_container_is_called_by_its_pod_s_name_its_own_or_what_is_known() {
        let mut one = Container {
            id: "3f4c5d6e7f8091a2b3c4".into(),
            ..Container::default()
        };
        assert_eq!(one.words(), "container 3f4c5d6e7f80");
        one.hostname = "web-0".into();
        assert_eq!(one.words(), "container web-0");
        one.pod_uid = UID.into();
        assert_eq!(one.words(), "pod web-0");
        one.name = "nginx".into();
        assert_eq!(one.words(), "container nginx of pod web-0");
        one.hostname = "".into();
        one.name = "".into();
        assert_eq!(one.words(), format!("pod {UID}"));
    }
}
