//! Disks of the iSCSI initiator over TCP (`iscsi_tcp`), by `drivers/scsi/scsi_transport_iscsi.c`. The
//! address says where the server is; who has the other end of the connection is found like that of
//! every TCP connection. An initiator in hardware has no socket of this kernel.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
};

use compact_str::{CompactString, format_compact};
use monitor_model::observation::ClientKind;

use super::super::{Device, MAX_DEVICES, Place, Target};
use super::lio;
use super::{disk, line, names};
use crate::host::text::numbered;

/// The disks of all sessions.
pub fn devices(sysfs: &Path, config: &Path) -> Vec<Device> {
    let class = sysfs.join("class");
    let connections = numbered_by(&class.join("iscsi_connection"), "connection");
    let mut devices = Vec::new();
    for session in numbered(&class.join("iscsi_session"), "session", MAX_DEVICES) {
        let Some(number) = session.strip_prefix("session") else {
            continue;
        };
        // Several connections of one session (MC/S) are unknown to this initiator.
        let connection = connections.iter().find(|(of, _)| of == number);
        let address =
            connection.and_then(|(_, name)| address(&class.join("iscsi_connection").join(name)));
        let Some(address) = address else {
            continue;
        };
        let attributes = class.join("iscsi_session").join(&session);
        for scsi_device in scsi_devices(&attributes.join("device")) {
            let at = scsi_device.1;
            if devices.len() < MAX_DEVICES
                && is_tcp(&class, &scsi_device.0)
                && let Some((name, bdi)) = disk(&at)
            {
                devices.push(Device {
                    bdi,
                    kind: ClientKind::Scsi,
                    name: format_compact!("/dev/{name}"),
                    server: Place::Tcp(address),
                    target: target(&attributes, config, &scsi_device.0),
                });
            }
        }
    }
    devices
}

/// The entries `connectionSESSION:NUMBER`, each with its session.
fn numbered_by(dir: &Path, prefix: &str) -> Vec<(CompactString, CompactString)> {
    let session = |name: CompactString| {
        let (session, _) = name.strip_prefix(prefix)?.split_once(':')?;
        Some((session.into(), name))
    };
    names(dir).into_iter().filter_map(session).collect()
}

/// The address that the connection has: after a redirection it differs from the configured one.
fn address(connection: &Path) -> Option<SocketAddr> {
    let ip: IpAddr = line(&connection.join("address"))?.parse().ok()?;
    let port = line(&connection.join("port"))?.parse().ok()?;
    (port != 0).then(|| SocketAddr::new(ip.to_canonical(), port))
}

/// The SCSI devices of a session, by address.
fn scsi_devices(session: &Path) -> Vec<(CompactString, std::path::PathBuf)> {
    let mut all = Vec::new();
    for target in names(session) {
        if target.starts_with("target") {
            let dir = session.join(&target);
            for name in names(&dir) {
                if all.len() < MAX_DEVICES && name.split(':').count() == 4 {
                    let path = dir.join(&name);
                    all.push((name, path));
                }
            }
        }
    }
    all
}

/// Whether the host of a SCSI device is the initiator over TCP sockets.
fn is_tcp(class: &Path, scsi_device: &str) -> bool {
    let host = scsi_device.split(':').next().unwrap_or_default();
    let name = class
        .join("scsi_host")
        .join(format!("host{host}"))
        .join("proc_name");
    line(&name).is_some_and(|name| name == "iscsi_tcp")
}

/// The target of LIO with the session's name, if this node has one. That is no proof that it serves
/// the session: another node may have one of the same name.
fn target(session: &Path, config: &Path, scsi_device: &str) -> Option<Target> {
    let is_plain = |name: &CompactString| !name.contains('/') && !name.starts_with('.');
    let name = line(&session.join("targetname")).filter(is_plain)?;
    let group: u32 = line(&session.join("tpgt"))?.parse().ok()?;
    let group = config
        .join("iscsi")
        .join(name)
        .join(format!("tpgt_{group}"));
    let lun: u64 = scsi_device.rsplit(':').next()?.parse().ok()?;
    let initiator = line(&session.join("initiatorname")).filter(is_plain)?;
    let acl = group.join("acls").join(initiator);
    let of = |dir: &Path| {
        lio::luns(dir)
            .into_iter()
            .find(|(number, _)| *number == lun)
    };
    // An initiator with an entry of its own sees the LUNs under numbers of its own.
    let lun = if acl.exists() {
        let [_, name] = lio::link(&of(&acl)?.1)?;
        group.join("lun").join(name)
    } else {
        of(&group)?.1
    };
    lio::target(config, &lun)
}
