//! `/proc/PID/net/nfsfs/volumes`: `nfs_volume_list_show`, fs/nfs/client.c. It belongs to a network
//! namespace and so shows that of a mount.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::sockets::canonical;
use crate::host::text::is_device;

/// One line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume<'a> {
    /// `4` for `v4`.
    pub version: &'a str,
    /// `major:minor`.
    pub device: &'a str,
    /// `None` for a transport without addresses (a local socket).
    pub server: Option<SocketAddr>,
}

impl<'a> Volume<'a> {
    /// `None`: the header, or not a valid line.
    pub fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let version = fields.next()?.strip_prefix('v')?;
        let (address, port) = (fields.next()?, fields.next()?);
        // A transport without addresses prints words instead.
        let device = [address, port]
            .into_iter()
            .chain(fields)
            .find(|f| is_device(f))?;
        let server = hex_address(address)
            .zip(u16::from_str_radix(port, 16).ok())
            .map(|(address, port)| canonical(SocketAddr::new(address, port)));
        Some(Self {
            version,
            device,
            server,
        })
    }
}

/// Parses `%08x` of an IPv4 address in host order, or `%pi6`: both read from left to right
/// (`xs_format_common_peer_addresses`, net/sunrpc/xprtsock.c).
fn hex_address(text: &str) -> Option<IpAddr> {
    match text.len() {
        8 => Some(Ipv4Addr::from(u32::from_str_radix(text, 16).ok()?).into()),
        32 => Some(Ipv6Addr::from(u128::from_str_radix(text, 16).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Volume;

    #[test]
    fn a_volume_has_device_server_and_port() {
        let line = "v4 c0a87a47  801 0:51         c10a1819257f4d4d:a0d6372e2f44b4e3 no ";
        let volume = Volume::parse(line).unwrap();
        assert_eq!((volume.version, volume.device), ("4", "0:51"));
        assert_eq!(volume.server, Some("192.168.122.71:2049".parse().unwrap()));
    }

    #[test]
    fn an_ipv6_server_is_read_and_a_mapped_one_is_ipv4() {
        let line = "v3 fd000000000000000000000000000002  801 0:52 0:0 no";
        let server = Volume::parse(line).unwrap().server;
        assert_eq!(server, Some("[fd00::2]:2049".parse().unwrap()));
        let line = "v3 00000000000000000000ffff0a000001 4e51 0:52 0:0 no";
        let server = Volume::parse(line).unwrap().server;
        assert_eq!(server, Some("10.0.0.1:20049".parse().unwrap()));
    }

    #[test]
    fn a_header_is_not_a_volume_and_a_volume_may_have_no_address() {
        let header = "NV SERVER   PORT DEV          FSID                              FSC";
        assert_eq!(Volume::parse(header), None);
        let volume = Volume::parse("v3 unknown address 0:52 0:0 no").unwrap();
        assert_eq!((volume.device, volume.server), ("0:52", None));
    }
}
