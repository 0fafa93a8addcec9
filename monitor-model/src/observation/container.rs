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
    /// The pod's namespace.
    pub namespace: CompactString,
    /// The pod's name.
    pub pod: CompactString,
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
    /// A short name for people: `pod shop/web-0`, `container nginx of pod shop/web-0`,
    /// `container 3f4c…`.
    #[must_use]
    pub fn words(&self) -> String {
        if self.pod_uid.is_empty() {
            return format!("container {}", self.outside());
        }
        let pod = self.pod_name();
        let pod = pod.as_deref().unwrap_or(&self.pod_uid);
        match self.name.as_str() {
            "" => format!("pod {pod}"),
            name => format!("container {name} of pod {pod}"),
        }
    }

    /// The same for a column: `shop/web-0/nginx`.
    #[must_use]
    pub fn short(&self) -> String {
        if self.pod_uid.is_empty() {
            return self.outside();
        }
        let uid = || self.pod_uid.chars().take(8).collect();
        let pod = self.pod_name().unwrap_or_else(uid);
        match self.name.as_str() {
            "" => pod,
            name => format!("{pod}/{name}"),
        }
    }

    /// The pod's namespace and name, else its host name.
    fn pod_name(&self) -> Option<String> {
        match (self.pod.as_str(), self.hostname.as_str()) {
            ("", "") => None,
            ("", hostname) => Some(hostname.to_owned()),
            (pod, _) => Some(format!("{}/{pod}", self.namespace)),
        }
    }

    /// A container outside a pod: its host name, else the begin of its id.
    fn outside(&self) -> String {
        match self.hostname.as_str() {
            "" => self.id.chars().take(12).collect(),
            hostname => hostname.to_owned(),
        }
    }
}

/// The UID of the pod of a volume that the kubelet mounted, from its mount point:
/// `/var/lib/kubelet/pods/UID/volumes/kubernetes.io~nfs/NAME`.
#[must_use]
pub fn pod_uid_of_volume(mount_point: &str) -> Option<&str> {
    let (_, rest) = mount_point.split_once("/pods/")?;
    let (uid, rest) = rest.split_once('/')?;
    let is_volume = rest.starts_with("volumes/") || rest.starts_with("volume-subpaths/");
    (is_volume && is_pod_uid(uid)).then_some(uid)
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
    use super::{Container, is_pod_uid, pod_uid_of_volume as of};

    const UID: &str = "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f";

    #[test]
    fn a_volume_s_mount_point_names_its_pod() {
        let kubelet = format!("/var/lib/kubelet/pods/{UID}/volumes/kubernetes.io~nfs/data");
        assert_eq!(of(&kubelet), Some(UID));
        let moved = format!("/data/kubelet/pods/{UID}/volume-subpaths/data/web/0");
        assert_eq!(of(&moved), Some(UID));
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
        let both = |one: &Container| (one.words(), one.short());
        let said = |words: &str, short: &str| (words.to_owned(), short.to_owned());
        assert_eq!(both(&one), said("container 3f4c5d6e7f80", "3f4c5d6e7f80"));
        one.hostname = "web-0".into();
        assert_eq!(both(&one), said("container web-0", "web-0"));
        one.pod_uid = UID.into();
        assert_eq!(both(&one), said("pod web-0", "web-0"));
        one.name = "nginx".into();
        assert_eq!(
            both(&one),
            said("container nginx of pod web-0", "web-0/nginx")
        );
        // The host name may be another one, or cut.
        (one.namespace, one.pod) = ("shop".into(), "web-0-long".into());
        let named = said(
            "container nginx of pod shop/web-0-long",
            "shop/web-0-long/nginx",
        );
        assert_eq!(both(&one), named);
        one.name = "".into();
        assert_eq!(both(&one), said("pod shop/web-0-long", "shop/web-0-long"));
        (one.namespace, one.pod, one.hostname) = Default::default();
        assert_eq!(both(&one), said(&format!("pod {UID}"), "0a1b2c3d"));
    }
}
