//! The socket tables and the addresses of network namespaces, each read once in a round.
//!
//! A socket table costs the same however few sockets it shows: the kernel walks its hash of the
//! connections of all namespaces (`established_get_first`, `net/ipv4/tcp_ipv4.c`), and once more for
//! IPv6. So the counts of `sockstat` are read first, which are cheap.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use super::{
    addresses::Addresses, mounts::not_all, namespaces::Namespaces, sockets::Socket,
    warnings::LookupWarnings,
};

/// Maximum number of lines of one socket table.
const MAX_SOCKETS: usize = 131_072;
/// Maximum number of lines of a namespace's addresses, and of its counts.
const MAX_LINES: usize = 65_536;
/// Maximum number of sockets to keep for a round. Larger tables are read again.
const MAX_KEPT: usize = 16_384;
/// The socket tables of TCP.
pub const TCP: [Table; 2] = [
    Table {
        file: "net/tcp",
        counts: "net/sockstat",
        line: "TCP: inuse ",
    },
    Table {
        file: "net/tcp6",
        counts: "net/sockstat6",
        line: "TCP6: inuse ",
    },
];

/// A socket table, and the file and the line that count its sockets.
#[derive(Debug)]
pub struct Table {
    pub file: &'static str,
    counts: &'static str,
    line: &'static str,
}

/// The inputs of one round.
pub struct Round<'a> {
    /// The processes of each namespace.
    pub spaces: &'a Namespaces,
    /// Whether the kernel's server may run, so that a socket without a process may be its own.
    pub nfsd: bool,
    /// Network namespaces in which it has exports: without an export it serves no client.
    pub exporting: BTreeSet<u64>,
    /// What was read so far.
    pub tables: Tables,
    /// The facts that could not be read.
    pub warnings: &'a mut LookupWarnings,
}

/// What was read in this round, by network namespace.
#[derive(Debug, Default)]
pub struct Tables {
    sockets: BTreeMap<u64, Rc<[Socket]>>,
    kept: usize,
    addresses: BTreeMap<u64, Rc<Addresses>>,
}

/// The addresses of a network namespace.
pub fn addresses(round: &mut Round<'_>, net: u64) -> Rc<Addresses> {
    if let Some(known) = round.tables.addresses.get(&net) {
        return Rc::clone(known);
    }
    let mut addresses = Addresses::default();
    let pids = round.spaces.nets.get(&net).map_or(&[][..], Vec::as_slice);
    let v4 = round.spaces.lines(pids, "net/fib_trie", MAX_LINES, |line| {
        addresses.fib_trie(line);
    });
    not_all(
        v4,
        round.warnings,
        &format_args!("the routes of network namespace {net}"),
    );
    let v6 = round.spaces.lines(pids, "net/if_inet6", MAX_LINES, |line| {
        addresses.if_inet6(line);
    });
    not_all(
        v6,
        round.warnings,
        &format_args!("the addresses of network namespace {net}"),
    );
    let addresses = Rc::new(addresses);
    round.tables.addresses.insert(net, Rc::clone(&addresses));
    addresses
}

/// Calls `each` with every socket of a network namespace that is connected or listens, as it was
/// when this round first read them.
pub fn each_socket(round: &mut Round<'_>, net: u64, mut each: impl FnMut(Socket)) {
    if let Some(known) = round.tables.sockets.get(&net) {
        known.iter().copied().for_each(each);
        return;
    }
    let room = MAX_KEPT.saturating_sub(round.tables.kept);
    let mut sockets = Vec::new();
    each_socket_now(round, net, |socket| {
        // One more than there is room for, to know that they are too many.
        if sockets.len() <= room {
            sockets.push(socket);
        }
        each(socket);
    });
    if sockets.len() <= room {
        round.tables.kept += sockets.len();
        round.tables.sockets.insert(net, sockets.into());
    }
}

/// The same, as they are now.
pub fn each_socket_now(round: &mut Round<'_>, net: u64, mut each: impl FnMut(Socket)) {
    let pids = round.spaces.nets.get(&net).map_or(&[][..], Vec::as_slice);
    for table in TCP {
        if table.is_empty(round.spaces, pids) {
            continue;
        }
        let read = round.spaces.lines(pids, table.file, MAX_SOCKETS, |line| {
            if let Some(socket) = Socket::parse(line) {
                each(socket);
            }
        });
        not_all(
            read,
            round.warnings,
            &format_args!("the sockets of network namespace {net}"),
        );
    }
}

impl Table {
    /// Whether a namespace counts no such socket. Without counts it may have some.
    pub fn is_empty(&self, spaces: &Namespaces, pids: &[u32]) -> bool {
        let mut none = false;
        let read = spaces.lines(pids, self.counts, MAX_LINES, |line| {
            let counted = line.strip_prefix(self.line);
            none |= counted.is_some_and(|n| n.split_ascii_whitespace().next() == Some("0"));
        });
        none && read.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Round, Tables, addresses, each_socket, each_socket_now};
    use crate::topology::{
        namespaces::Namespaces,
        tests::node::{ESTABLISHED, Node},
        warnings::LookupWarnings,
    };

    fn with_round<T>(node: &Node, what: impl FnOnce(&mut Round<'_>) -> T) -> T {
        let mut warnings = LookupWarnings::default();
        let spaces = Namespaces::walk(&node.path("proc"), &mut warnings).unwrap();
        what(&mut Round {
            spaces: &spaces,
            nfsd: false,
            exporting: BTreeSet::new(),
            tables: Tables::default(),
            warnings: &mut warnings,
        })
    }

    fn inodes(round: &mut Round<'_>) -> Vec<u64> {
        let mut inodes = Vec::new();
        each_socket(round, 30, |socket| inodes.push(socket.inode));
        inodes
    }

    #[test]
    fn a_namespace_is_read_once_in_a_round_unless_the_present_counts() {
        let node = Node::new();
        node.socket(1, "10.0.0.1:1", "10.0.0.2:2", ESTABLISHED, 7);
        node.address(1, "10.0.0.1");
        with_round(&node, |round| {
            assert_eq!(inodes(round), [7]);
            let before = addresses(round, 30);
            node.socket(1, "10.0.0.1:3", "10.0.0.2:2", ESTABLISHED, 8);
            node.address(1, "10.0.0.9");
            assert_eq!(inodes(round), [7]);
            assert_eq!(addresses(round, 30), before);
            let mut now = Vec::new();
            each_socket_now(round, 30, |socket| now.push(socket.inode));
            assert_eq!(now, [7, 8]);
        });
        assert_eq!(with_round(&node, inodes), [7, 8]);
    }

    #[test]
    fn a_table_is_not_read_if_its_family_has_no_sockets() {
        let node = Node::new();
        node.socket(1, "10.0.0.1:1", "10.0.0.2:2", ESTABLISHED, 7);
        node.socket(1, "[fd00::1]:1", "[fd00::2]:2", ESTABLISHED, 8);
        assert_eq!(with_round(&node, inodes), [7, 8]);
        node.append(1, "net/sockstat", "sockets: used 3");
        node.append(
            1,
            "net/sockstat",
            "TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 0",
        );
        node.append(1, "net/sockstat6", "TCP6: inuse 0");
        node.append(1, "net/sockstat6", "UDP6: inuse 1");
        assert_eq!(with_round(&node, inodes), [7]);
    }
}
