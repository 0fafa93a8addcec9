//! `/proc/PID/net/tcp` and `tcp6`: `get_tcp4_sock`, `net/ipv4/tcp_ipv4.c`, and
//! `get_tcp6_sock`, `net/ipv6/tcp_ipv6.c`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The states that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// `TCP_ESTABLISHED`.
    Established,
    /// `TCP_LISTEN`.
    Listen,
}

/// A socket that is connected or listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its own address.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Its state.
    pub state: State,
    /// Inode of its file; zero: it is not accepted yet, or already closed.
    pub inode: u64,
}

impl Socket {
    /// `None`: the header, a socket in another state, or not a valid line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (local, remote) = (fields.nth(1)?, fields.next()?);
        let state = match fields.next()? {
            "01" => State::Established,
            "0A" => State::Listen,
            _ => return None,
        };
        Some(Self {
            local: address(local)?,
            remote: address(remote)?,
            state,
            inode: fields.nth(5)?.parse().ok()?,
        })
    }
}

/// Network bytes, printed as words in this machine's byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address: IpAddr = match address.len() {
        8 => Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?.to_ne_bytes()).into(),
        32 => {
            let mut bytes = [0; 16];
            for (at, word) in bytes.chunks_exact_mut(4).enumerate() {
                let digits = address.get(at * 8..at * 8 + 8)?;
                word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(canonical(SocketAddr::new(address, port)))
}

/// The canonical form of an address: IPv4 in IPv6 as IPv4. It has no scope, because not every
/// source prints one.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::{Socket, State};

    #[test]
    #[cfg(target_endian = "little")]
    fn a_connection_is_read_as_the_kernel_prints_it() {
        let line = "   1: 0200090A:0801 0100090A:0321 01 00000000:00000000 02:000A7A3B 00000000     0        0 19873 2 \
                    ffff8 20 4 30 10 -1";
        let socket = Socket::parse(line).unwrap();
        assert_eq!(socket.local, "10.9.0.2:2049".parse().unwrap());
        assert_eq!(socket.remote, "10.9.0.1:801".parse().unwrap());
        assert_eq!((socket.state, socket.inode), (State::Established, 19873));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn ipv4_in_ipv6_is_ipv4() {
        let line = "   0: 0000000000000000FFFF00000200090A:0801 0000000000000000FFFF00000100090A:0321 01 \
                    00000000:00000000 00:00000000 00000000     0        0 42 1 0 20 4 30 10 -1";
        let socket = Socket::parse(line).unwrap();
        assert_eq!(socket.local, "10.9.0.2:2049".parse().unwrap());
        assert_eq!(socket.remote, "10.9.0.1:801".parse().unwrap());
        let line = "   0: 000000FD000000000000000002000000:0801 00000000000000000000000000000000:0000 0A \
                    00000000:00000000 00:00000000 00000000     0        0 43 1 0 20 4 30 10 -1";
        let socket = Socket::parse(line).unwrap();
        assert_eq!(socket.local, "[fd00::2]:2049".parse().unwrap());
        assert_eq!((socket.state, socket.inode), (State::Listen, 43));
    }

    #[test]
    fn what_is_neither_connected_nor_listens_is_left_out() {
        let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(Socket::parse(header), None);
        let waits = "   1: 0200090A:0801 0100090A:0321 06 00000000:00000000 03:00000A3B 00000000     0        0 0 3 0";
        assert_eq!(Socket::parse(waits), None);
        assert_eq!(Socket::parse("1: 0200090A:0801 0100090A:0321 01"), None);
    }
}
