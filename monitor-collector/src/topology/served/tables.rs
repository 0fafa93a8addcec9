//! Connected sockets of a network namespace: `/proc/PID/net/{tcp,tcp6,unix}`.

use std::collections::BTreeSet;

use crate::topology::namespaces::Namespaces;
use crate::topology::round::TCP;
use crate::topology::sockets::{Socket, State};

/// Maximum number of lines of one table.
const MAX_LINES: usize = 131_072;
/// Maximum number of sockets to keep.
const MAX_KEPT: usize = 4096;

/// Connected sockets that are of interest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connected {
    /// TCP sockets.
    pub tcp: Vec<Socket>,
    /// Unix stream sockets, by inode.
    pub unix: BTreeSet<u64>,
}

/// The sockets that are wanted and were connected from here, not accepted: nobody listens on their
/// port, and they have no name. `None`: not all of them could be read.
pub fn outgoing(
    spaces: &Namespaces,
    pids: &[u32],
    wanted: impl Fn(u64) -> bool,
) -> Option<Connected> {
    let (mut found, ports) = connected(spaces, pids, &wanted, true)?;
    found
        .tcp
        .retain(|socket| !ports.contains(&socket.local.port()));
    Some(found)
}

/// The connected sockets that are wanted; `None`: not all of them could be read.
pub fn all(spaces: &Namespaces, pids: &[u32], wanted: impl Fn(u64) -> bool) -> Option<Connected> {
    connected(spaces, pids, &wanted, false).map(|(found, _)| found)
}

/// These sockets, and the ports on which somebody listens, of both versions of IP.
fn connected(
    spaces: &Namespaces,
    pids: &[u32],
    wanted: &impl Fn(u64) -> bool,
    nameless: bool,
) -> Option<(Connected, BTreeSet<u16>)> {
    let (mut found, mut ports) = (Connected::default(), BTreeSet::new());
    tcp(spaces, pids, |socket| {
        if socket.state == State::Listen {
            ports.insert(socket.local.port());
        } else if socket.inode != 0 && wanted(socket.inode) && found.tcp.len() <= MAX_KEPT {
            found.tcp.push(socket);
        }
    })?;
    let unix = spaces.lines(pids, "net/unix", MAX_LINES, |line| {
        if let Some(one) = unix(line)
            && wanted(one.inode)
            && !(nameless && one.named)
            && found.unix.len() <= MAX_KEPT
        {
            found.unix.insert(one.inode);
        }
    });
    let whole = matches!(unix, Ok(Some(true)));
    (whole && found.tcp.len() <= MAX_KEPT && found.unix.len() <= MAX_KEPT).then_some((found, ports))
}

/// Calls `each` with every TCP socket; `None`: not all could be read.
fn tcp(spaces: &Namespaces, pids: &[u32], mut each: impl FnMut(Socket)) -> Option<()> {
    for (table, required) in TCP.iter().zip([true, false]) {
        if table.is_empty(spaces, pids) {
            continue;
        }
        let read = spaces.lines(pids, table.file, MAX_LINES, |line| {
            Socket::parse(line).into_iter().for_each(&mut each);
        });
        match read {
            Ok(Some(true)) => {}
            // A kernel without IPv6.
            Ok(None) if !required => {}
            _ => return None,
        }
    }
    Some(())
}

/// A connected unix stream socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unix {
    /// Its inode.
    pub inode: u64,
    /// Whether it has a name, as one that was accepted has its listener's.
    pub named: bool,
}

/// Parses a line of `unix_seq_show` (`net/unix/af_unix.c`); `None`: the header, or another socket.
pub fn unix(line: &str) -> Option<Unix> {
    let mut fields = line.split_ascii_whitespace();
    let (kind, state) = (fields.nth(4)?, fields.next()?);
    let inode = fields.next()?.parse().ok().filter(|inode| *inode != 0)?;
    // `SOCK_STREAM` and `SS_CONNECTED`.
    (kind == "0001" && state == "03").then_some(Unix {
        inode,
        named: fields.next().is_some(),
    })
}
