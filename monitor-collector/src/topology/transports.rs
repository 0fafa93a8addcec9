//! The destinations of RPC clients: debugfs `sunrpc/rpc_clnt/ID/xprt*` (net/sunrpc/debugfs.c).

use std::{collections::BTreeSet, io, net::SocketAddr, os::fd::OwnedFd};

use monitor_model::observation::Transport;
use rustix::fs::{Dir, Mode, OFlags, openat};

use super::{sockets::canonical, warnings::LookupWarnings};
use crate::host::pseudofs;

/// Maximum number of RPC clients.
const MAX_CLIENTS: usize = 1024;
/// Maximum number of transports of one client (`nconnect`, and trunks).
const MAX_TRANSPORTS: usize = 64;
const CLIENTS: &str = "sunrpc/rpc_clnt";

/// All transports with an address, those of `wanted` clients first.
pub fn read(
    debugfs: &OwnedFd,
    wanted: &BTreeSet<u32>,
    warnings: &mut LookupWarnings,
) -> Vec<Transport> {
    let clients = match entries(debugfs, CLIENTS, MAX_CLIENTS * 4) {
        Ok(clients) => clients,
        // sunrpc is not loaded.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            warnings.note(&format_args!("debugfs {CLIENTS} cannot be read: {error}."));
            return Vec::new();
        }
    };
    let ids = clients
        .iter()
        .filter_map(|name| u32::from_str_radix(name, 16).ok());
    let (mut ids, others): (Vec<_>, Vec<_>) = ids.partition(|id| wanted.contains(id));
    ids.extend(others);
    if ids.len() > MAX_CLIENTS {
        warnings.note(&format_args!("Only {MAX_CLIENTS} RPC clients are read."));
    }
    let mut transports = Vec::new();
    for client in ids.into_iter().take(MAX_CLIENTS) {
        let dir = format!("{CLIENTS}/{client:x}");
        let names = entries(debugfs, &dir, MAX_TRANSPORTS).unwrap_or_default();
        let servers: BTreeSet<_> = names
            .iter()
            .filter(|name| name.starts_with("xprt"))
            .filter_map(|name| pseudofs::read_at(debugfs, format!("{dir}/{name}/info")).ok())
            .filter_map(|info| server(&info))
            .collect();
        transports.extend(
            servers
                .into_iter()
                .map(|server| Transport { client, server }),
        );
    }
    transports
}

fn entries(root: &OwnedFd, path: &str, max: usize) -> io::Result<Vec<String>> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = openat(root, path, flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)?.take(max) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// `addr` and `port` of `xprt_info_show`.
pub(super) fn server(info: &str) -> Option<SocketAddr> {
    let field = |name| {
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim())
    };
    let (address, port) = (field("addr")?, field("port")?);
    let address = address
        .split_once('%')
        .map_or(address, |(address, _)| address);
    Some(canonical(SocketAddr::new(
        address.parse().ok()?,
        port.parse().ok()?,
    )))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path};

    use super::{LookupWarnings, read, server};

    fn transport(root: &Path, client: &str, link: &str, number: &str, address: &str) {
        let xprt = root.join("sunrpc/rpc_xprt").join(number);
        fs::create_dir_all(&xprt).unwrap();
        let info = format!("netid: tcp\naddr:  {address}\nport:  2049\nstate: 0x11\n");
        fs::write(xprt.join("info"), info).unwrap();
        let dir = root.join("sunrpc/rpc_clnt").join(client);
        fs::create_dir_all(&dir).unwrap();
        symlink(format!("../../rpc_xprt/{number}"), dir.join(link)).unwrap();
    }

    #[test]
    fn a_trunked_client_has_every_address_once() {
        let debugfs = tempfile::tempdir().unwrap();
        let root = debugfs.path();
        transport(root, "1f", "xprt", "5", "10.9.0.2");
        transport(root, "1f", "xprt1", "6", "10.9.1.2");
        transport(root, "1f", "xprt2", "7", "10.9.0.2");
        transport(root, "2", "xprt", "8", "::ffff:10.9.0.3");
        let root = fs::File::open(root).unwrap().into();
        let mut warnings = LookupWarnings::default();
        let transports = read(&root, &BTreeSet::from([31]), &mut warnings);
        let text: Vec<_> = transports
            .iter()
            .map(|t| format!("{} {}", t.client, t.server))
            .collect();
        assert_eq!(
            text,
            ["31 10.9.0.2:2049", "31 10.9.1.2:2049", "2 10.9.0.3:2049"]
        );
        assert!(warnings.into_sentences().is_empty());
    }

    #[test]
    fn a_transport_without_an_address_is_none() {
        let local = "netid: local\naddr:  /var/run/rpcbind.sock\nport:  \nstate: 0x1\n";
        assert_eq!(server(local), None);
        assert_eq!(server("netid: tcp\naddr:  10.9.0"), None);
        let scoped = server("addr:  fe80::1%eth0\nport:  2049\n");
        assert_eq!(scoped, Some("[fe80::1]:2049".parse().unwrap()));
    }
}
