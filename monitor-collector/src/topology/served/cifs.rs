//! SMB mounts, served by smbd, of which each connection has a process, or by ksmbd.

use std::{fs, net::SocketAddr, path::Path};

use monitor_model::observation::ClientKind;

use super::{Device, Kind, NodeFiles, Place, Target};
use crate::topology::sockets::canonical;

/// The port of SMB. The kernel does not show that of a mount.
const PORT: u16 = 445;

/// SMB mounts.
pub struct Cifs;

impl Kind for Cifs {
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let mut devices = Vec::new();
        let target = ksmbd_runs(node.sysfs).then(|| Target {
            name: "ksmbd".into(),
            // Its shares are known to a process of its own, and its files are in no process's table.
            files: None,
        });
        for mount in node.smb {
            let Some(server) = mount.server else {
                continue;
            };
            let Some(bdi) = &mount.bdi else {
                node.warnings.note(&format_args!(
                    "Which BDI the SMB mount {} ({}) has is unknown: it is known of a single mount, and of several once one has written more than the others.",
                    mount.mount_point, mount.device
                ));
                continue;
            };
            devices.push(Device {
                bdi: bdi.clone(),
                kind: ClientKind::Cifs,
                name: mount.source.clone(),
                server: Place::Tcp(canonical(SocketAddr::new(server, PORT))),
                target: target.clone(),
            });
        }
        devices
    }
}

/// Whether the kernel's own SMB server runs. `/sys/class/ksmbd-control/stats` (`stats_show`,
/// `fs/smb/server/server.c`) is like `2 running 445 120`.
fn ksmbd_runs(sysfs: &Path) -> bool {
    let stats = fs::read_to_string(sysfs.join("class/ksmbd-control/stats"));
    stats.is_ok_and(|stats| stats.split_whitespace().nth(1) == Some("running"))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use crate::topology::namespaces::Namespaces;
    use crate::topology::served::{Device, Kind as _, Memory, NodeFiles, Place};
    use crate::topology::smb::SmbMount;
    use crate::topology::tests::node::Node;
    use crate::topology::warnings::LookupWarnings;

    fn devices(node: &Node) -> (Vec<Device>, String) {
        let mount = |bdi: Option<&str>, server: Option<&str>| SmbMount {
            device: "0:45".into(),
            fstype: "cifs".into(),
            source: "//h/s".into(),
            mount_point: "/mnt".into(),
            server: server.map(|server| server.parse().unwrap()),
            bdi: bdi.map(Into::into),
        };
        let mut warnings = LookupWarnings::default();
        let devices = super::Cifs.devices(&mut NodeFiles {
            sysfs: &node.path("sys"),
            spaces: &Namespaces::default(),
            file_systems: &[],
            smb: &[
                mount(Some("cifs-1"), Some("::ffff:10.9.0.2")),
                mount(Some("cifs-2"), None),
                mount(None, Some("10.9.0.3")),
            ],
            memory: &mut Memory::default(),
            warnings: &mut warnings,
        });
        (devices, warnings.into_sentences().join(" "))
    }

    #[test]
    fn the_server_is_at_the_other_end_of_tcp_and_a_mount_without_a_bdi_is_named() {
        let (devices, said) = devices(&Node::new());
        let address: SocketAddr = "10.9.0.2:445".parse().unwrap();
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].server, Place::Tcp(address));
        assert_eq!(devices[0].target, None);
        assert!(said.contains("/mnt (0:45)"), "{said}");
    }

    #[test]
    fn the_kernels_server_counts_while_it_runs() {
        let node = Node::new();
        for (stats, name) in [
            ("2 running 445 9", Some("ksmbd")),
            ("2 startup 445 9", None),
            ("", None),
        ] {
            node.sysfs("class/ksmbd-control/stats", stats);
            let target = devices(&node).0.remove(0).target;
            assert_eq!(target.as_ref().map(|one| &*one.name), name, "{stats}");
        }
    }
}
