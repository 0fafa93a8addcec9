//! Hostile input: the kernel's texts about mounts, sockets, exports and containers.

#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a target says that it found something"
)]

use std::net::{IpAddr, Ipv4Addr};

use monitor_model::observation::is_pod_uid;

use super::addresses::Addresses;
use super::containers::{MAX_NAME, name_of};
use super::exports::is_below;
use super::fds::FdInfo;
use super::loop_devices::device;
use super::mounts::nfs_mount;
use super::nearest::holds;
use super::open_files::{Mount, is_candidate};
use super::smb::SmbMount;
use super::sockets::{Socket, canonical};
use super::tcp_info::{self, Reply};
use super::volumes::Volume;
use super::{cgroup, exports, namespaces, owners, pod_names, transports, unix_peers};
use crate::fuzz_input::{parts, text};
use crate::host::mountinfo::Line;
use crate::host::smb_stats::{SmbStats, share};
use crate::host::text::{each_line, is_device, unescape};

/// mountinfo: a rewritten line parses to the same mount, a device is safe as part of a path, and a
/// server has its canonical address.
pub fn mountinfo(data: &[u8]) {
    for line in text(data).lines() {
        if let Some(name) = name_of(line, "0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f") {
            assert!(
                name.len() <= MAX_NAME && !name.contains(['/', ' ']),
                "{name:?}"
            );
        }
        let Some(parsed) = Line::parse(line) else {
            continue;
        };
        assert!(is_device(parsed.device), "{}", parsed.device);
        assert_eq!(Line::parse(&written(&parsed)), Some(parsed));
        let mount = nfs_mount(&parsed);
        assert!(mount.source.len() <= 3 * parsed.source.len());
        assert_eq!(mount.server, mount.server.map(canonical));
        assert!(mount.server.is_none_or(|server| server.port() != 0));
    }
}

fn written(line: &Line<'_>) -> String {
    let Line {
        id, parent, device, ..
    } = line;
    let Line {
        root, mount_point, ..
    } = line;
    let Line {
        fstype,
        source,
        options,
        ..
    } = line;
    format!("{id} {parent} {device} {root} {mount_point} rw - {fstype} {source} {options}")
}

/// `/proc/fs/nfsfs/volumes`.
pub fn volumes(data: &[u8]) {
    for line in text(data).lines() {
        let Some(volume) = Volume::parse(line) else {
            continue;
        };
        assert!(is_device(volume.device), "{}", volume.device);
        assert_eq!(volume.server, volume.server.map(canonical));
        let mut again = format!("v{} no address {}", volume.version, volume.device);
        if let Some(server) = volume.server {
            let address = match server.ip() {
                IpAddr::V4(address) => format!("{:08x}", address.to_bits()),
                IpAddr::V6(address) => format!("{:032x}", address.to_bits()),
            };
            again = format!(
                "v{} {address} {:x} {}",
                volume.version,
                server.port(),
                volume.device
            );
        }
        assert_eq!(Volume::parse(&again), Some(volume));
    }
}

/// Socket tables.
pub fn sockets(data: &[u8]) {
    for line in text(data).lines() {
        if let Some(socket) = Socket::parse(line) {
            assert_eq!(socket.local, canonical(socket.local));
            assert_eq!(socket.remote, canonical(socket.remote));
            assert!(
                line.contains(&socket.inode.to_string())
                    || line.contains('+')
                    || line.contains('0')
            );
        }
    }
}

/// `fib_trie` and `if_inet6`: an address that the text lacks is not local.
pub fn addresses(data: &[u8]) {
    let text = text(data);
    let mut addresses = Addresses::default();
    for line in text.lines() {
        addresses.fib_trie(line);
        addresses.if_inet6(line);
    }
    let asked = [0, 1, 0x0a09_0002, 0x7f00_0001, u32::MAX].map(Ipv4Addr::from_bits);
    let any = asked
        .map(|address| addresses.contains(address.into()))
        .contains(&true);
    assert!(!any || text.contains("host LOCAL"));
    assert!(!addresses.contains(IpAddr::from([0u16; 8])) || text.contains(&"0".repeat(31)));
}

/// Exports of the kernel's server, and mount points that may contain them.
pub fn exports(data: &[u8]) {
    let text = text(data);
    let [exported, mount_points] = parts(&text);
    for path in exported.lines().filter_map(exports::path) {
        assert!(path.starts_with('/'), "{path:?}");
        assert!(is_below(&path, "/") && is_below(&path, &path));
        for mount_point in mount_points.lines() {
            assert!(
                !is_below(&path, mount_point)
                    || path.starts_with(mount_point.trim_end_matches('/'))
            );
        }
    }
}

/// The `info` file of an RPC transport.
pub fn transports(data: &[u8]) {
    let text = text(data);
    if let Some(server) = transports::server(&text) {
        assert_eq!(server, canonical(server));
        assert!(
            text.contains(&server.port().to_string()) || text.contains('+') || text.contains('0')
        );
    }
}

/// Answers of `NETLINK_SOCK_DIAG`: only the request's own is read, and a counter is in the message.
pub fn tcp_info(data: &[u8]) {
    let sequence = data.get(8..12).and_then(|bytes| bytes.try_into().ok());
    let sequence = sequence.map_or(0, u32::from_ne_bytes);
    let reply = tcp_info::reply(data, sequence);
    if let Some(Ok(Reply::Socket {
        counters: Some(counters),
        ..
    })) = &reply
    {
        let received = counters.received.to_ne_bytes();
        assert!(data.windows(8).any(|bytes| bytes == received));
    }
    assert!(tcp_info::reply(data, sequence.wrapping_add(1)).is_none());
}

/// `/proc/PID/cgroup`, and names of the kubelet's directories: ids, pod UIDs and names have the
/// right form.
pub fn cgroup(data: &[u8]) {
    let text = text(data);
    for line in text.lines() {
        if let Some((namespace, pod, uid)) = pod_names::parse(line) {
            assert_eq!(line, format!("{namespace}_{pod}_{uid}"));
            assert!(!namespace.contains('.') && !namespace.is_empty() && !pod.contains(".."));
            assert!(is_pod_uid(uid) && line.is_ascii());
        }
    }
    let Some(container) = cgroup::container(text.lines()) else {
        return;
    };
    let hex = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(
        container.id.is_empty() || hex(&container.id),
        "{}",
        container.id
    );
    assert!(container.pod_uid.is_empty() || is_pod_uid(&container.pod_uid));
    assert!(!container.id.is_empty() || !container.pod_uid.is_empty());
}

/// Links in `/proc/PID/ns` and `/proc/PID/fd`.
pub fn links(data: &[u8]) {
    if let Some(number) = namespaces::number(data) {
        assert!(text(data).contains(":["), "{number}");
    }
    if let Some(inode) = owners::inode(data) {
        assert!(data.starts_with(b"socket:["), "{inode}");
    }
}

/// A loop device's `backing_file` and `dev`, and mount points that may contain the file.
pub fn loop_devices(data: &[u8]) {
    let text = text(data);
    let [file, dev, mount_points] = parts(&text);
    let Some(device) = device(dev, file) else {
        return;
    };
    assert!(!device.file.is_empty() && device.on.is_empty());
    for mount_point in mount_points.lines().map(unescape) {
        if holds(&mount_point, &device.file) {
            assert!(device.file.starts_with(&*mount_point), "{mount_point:?}");
        }
    }
}

/// `/proc/PID/fdinfo`, the link of the same file, and mounts that it may lie on: what is taken for a
/// file is a path, and what is taken for a disk is a name without one.
pub fn open_files(data: &[u8]) {
    let text = text(data);
    let [info, link, mounts] = parts(&text);
    if let Some(info) = FdInfo::parse(info) {
        assert!(!info.writes() || info.flags & 3 != 0);
    }
    assert!(!is_candidate(link) || link.starts_with('/'));
    for line in mounts.lines().filter_map(Line::parse) {
        if let Some(disk) = Mount::of(&line).disk(link) {
            assert_eq!(line.fstype, "devtmpfs");
            assert!(!disk.is_empty() && !disk.contains('/') && !disk.starts_with('.'));
        }
    }
}

/// `/proc/fs/cifs/Stats`, and mounts: a mount's share is in the text.
pub fn smb(data: &[u8]) {
    let text = text(data);
    let [stats, mounts] = parts(&text);
    let stats = SmbStats::parse(stats);
    for mount in mounts
        .lines()
        .filter_map(Line::parse)
        .filter_map(|line| SmbMount::of(&line))
    {
        let share = share(&mount.source);
        assert!(
            share
                .as_ref()
                .is_none_or(|share| share.matches('/').count() == 3)
        );
        assert!(stats.written(&mount.source).is_none() || share.is_some());
        assert!(mount.file_system().is_none());
    }
}

/// The kernel's answers about unix sockets: each socket takes a message of its own.
pub fn unix_peers(data: &[u8]) {
    let mut seen = 0;
    let read = unix_peers::messages(data, |inode, peer| {
        assert!(u32::try_from(inode).is_ok() && u32::try_from(peer).is_ok());
        seen += 1;
    });
    assert!(seen <= data.len() / 32);
    // Without a whole header there is nothing to be wrong.
    assert!(read.is_ok() || data.len() >= 6);
}

/// Any file, read by lines: bounded, and each line occurs in the file.
pub fn lines(data: &[u8]) {
    let most = usize::from(data.first().copied().unwrap_or(0)) / 8;
    let mut seen = Vec::new();
    let whole = each_line(data, most, &mut |line| seen.push(line.to_owned()));
    let all: Vec<_> = data.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(seen.len(), most.min(all.len()));
    assert_eq!(whole.ok(), Some(all.len() <= most));
    for (line, bytes) in seen.iter().zip(all) {
        assert_eq!(*line, text(bytes.strip_suffix(b"\n").unwrap_or(bytes)));
        assert!(unescape(line).len() <= 3 * line.len());
    }
}
