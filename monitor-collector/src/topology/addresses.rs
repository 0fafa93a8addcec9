//! A network namespace's own addresses: `/proc/PID/net/fib_trie`
//! (`fib_trie_seq_show`, `net/ipv4/fib_trie.c`) and `if_inet6`
//! (`if6_seq_show`, net/ipv6/addrconf.c).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses that are local to the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    v4: Vec<(Ipv4Addr, u32)>,
    v6: Vec<Ipv6Addr>,
    /// The leaf whose routes are being read.
    leaf: Option<Ipv4Addr>,
}

impl Addresses {
    /// Adds a line of `fib_trie`: a leaf, or one of its routes.
    pub fn fib_trie(&mut self, line: &str) {
        let line = line.trim_ascii_start();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            self.leaf = leaf.trim_ascii_end().parse().ok();
        } else if let Some(route) = line.strip_prefix('/')
            && let Some((length, kind)) = route.split_once(' ')
            && kind.starts_with("host LOCAL")
            && let (Some(leaf), Ok(length @ 0..=32)) = (self.leaf, length.parse())
            // The tries of all routes and of local routes may be merged.
            && !self.v4.contains(&(leaf, length))
        {
            self.v4.push((leaf, length));
        }
    }

    /// Adds a line of `if_inet6`.
    pub fn if_inet6(&mut self, line: &str) {
        let digits = line.split_ascii_whitespace().next().unwrap_or_default();
        if digits.len() == 32
            && let Ok(bits) = u128::from_str_radix(digits, 16)
        {
            self.v6.push(bits.into());
        }
    }

    /// Whether the address is local; `None`: no address could be read.
    pub fn is_local(&self, address: IpAddr) -> Option<bool> {
        let known = !self.v4.is_empty() || !self.v6.is_empty();
        known.then(|| self.contains(address))
    }

    /// The addresses by which another host may reach the namespace: neither loopback nor link-local.
    pub fn reachable(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.iter().filter(|(_, length)| *length == 32);
        let v4 = v4.map(|(address, _)| *address);
        let v4 = v4.filter(|one| !one.is_loopback() && !one.is_link_local() && !one.is_multicast());
        let v6 = self.v6.iter().copied();
        let v6 = v6.filter(|one| !one.is_loopback() && !one.is_unicast_link_local());
        v4.map(IpAddr::V4).chain(v6.map(IpAddr::V6))
    }

    /// Whether the address is local.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.iter().any(|(net, length)| {
                let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
                net.to_bits() & mask == address.to_bits() & mask
            }),
            IpAddr::V6(address) => self.v6.contains(&address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Addresses;

    const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.9.0.0/24 2 0 2
        |-- 10.9.0.0
           /24 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.9.0.0/24 2 0 2
        |-- 10.9.0.2
           /32 host LOCAL
        |-- 10.9.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.0
           /8 host LOCAL
        |-- 127.0.0.1
           /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
";

    #[test]
    fn only_local_routes_are_addresses_of_the_namespace() {
        let mut addresses = Addresses::default();
        FIB_TRIE.lines().for_each(|line| addresses.fib_trie(line));
        addresses.if_inet6("fd000000000000000000000000000002 02 40 00 80     eth0");
        let contains = |text: &str| addresses.contains(text.parse().unwrap());
        for own in ["10.9.0.2", "127.0.0.1", "127.8.9.1", "fd00::2"] {
            assert!(contains(own), "{own}");
        }
        for other in ["10.9.0.1", "10.9.0.255", "10.9.0.0", "8.8.8.8", "fd00::3"] {
            assert!(!contains(other), "{other}");
        }
    }

    #[test]
    fn loopback_and_link_local_addresses_are_not_for_other_hosts() {
        let mut addresses = Addresses::default();
        FIB_TRIE.lines().for_each(|line| addresses.fib_trie(line));
        for line in [
            "00000000000000000000000000000001 01 80 10 80       lo",
            "fe800000000000000000000000000001 02 40 20 80     eth0",
            "fd000000000000000000000000000002 02 40 00 80     eth0",
        ] {
            addresses.if_inet6(line);
        }
        let all: Vec<_> = addresses.reachable().map(|one| one.to_string()).collect();
        assert_eq!(all, ["10.9.0.2", "fd00::2"]);
    }
}
