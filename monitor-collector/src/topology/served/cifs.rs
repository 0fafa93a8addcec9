//! SMB mounts, served by smbd, of which each connection has a process, or by ksmbd.

use std::net::SocketAddr;

use monitor_model::observation::ClientKind;

use super::{Device, Kind, NodeFiles, Place};
use crate::topology::sockets::canonical;

/// The port of SMB. The kernel does not show that of a mount.
const PORT: u16 = 445;

/// SMB mounts.
pub struct Cifs;

impl Kind for Cifs {
    fn devices(&self, node: &mut NodeFiles<'_>) -> Vec<Device> {
        let mut devices = Vec::new();
        for mount in node.smb {
            let Some(server) = mount.server else {
                continue;
            };
            let Some(bdi) = &mount.bdi else {
                node.warnings.note(&format_args!(
                    "Which BDI the SMB mount {} ({}) has is unknown: the kernel shows it for a single mount only. It is found out when the mount has written more than the others, or less.",
                    mount.mount_point, mount.device
                ));
                continue;
            };
            devices.push(Device {
                bdi: bdi.clone(),
                kind: ClientKind::Cifs,
                name: mount.source.clone(),
                server: Place::Tcp(canonical(SocketAddr::new(server, PORT))),
                target: None,
            });
        }
        devices
    }
}
