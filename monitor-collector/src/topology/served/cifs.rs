//! SMB mounts, served by smbd, of which each connection has a process, or by ksmbd.

use std::{fs, net::SocketAddr, path::Path};

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
            });
        }
        devices
    }
}

/// The port of the kernel's own SMB server, if that runs: a socket on it without a process may be
/// the server's. `/sys/class/ksmbd-control/stats` (`stats_show`, fs/smb/server/server.c) is like
/// `2 running 445 120`.
pub fn ksmbd_port(sysfs: &Path) -> Option<u16> {
    let stats = fs::read_to_string(sysfs.join("class/ksmbd-control/stats")).ok()?;
    running_port(&stats)
}

pub(in crate::topology) fn running_port(stats: &str) -> Option<u16> {
    let mut fields = stats.split_whitespace().skip(1);
    let port = fields.by_ref().next().filter(|state| *state == "running");
    port.and_then(|_| fields.next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::running_port;

    #[test]
    fn only_a_running_server_has_a_port() {
        assert_eq!(running_port("2 running 1445 4295\n"), Some(1445));
        for no in [
            "2 startup 445 0\n",
            "",
            "running 445",
            "2 running",
            "2 running x",
        ] {
            assert_eq!(running_port(no), None, "{no}");
        }
    }
}
