//! The peers of unix sockets: `UNIX_DIAG_PEER` of `NETLINK_SOCK_DIAG` (`sk_diag_fill`,
//! `net/unix/diag.c`). `/proc/net/unix` does not show them. A socket is shown in its own network
//! namespace, whatever its peer's. Without privileges; to enter another namespace takes
//! `CAP_SYS_ADMIN`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::fd::AsFd as _,
    path::PathBuf,
    thread,
    time::Duration,
};

use rustix::{
    fs::{CWD, readlinkat_raw},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
        socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::namespaces::number;

/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(1);
/// Maximum length of a part of the answer: more than the kernel puts into one (`NLMSG_GOODSIZE`, at
/// most 8 KiB, or what the reader has room for up to 32 KiB).
const MAX_PART: usize = 32 << 10;
/// Maximum number of parts.
const MAX_PARTS: usize = 4096;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct unix_diag_req`, and `struct unix_diag_msg`.
const REQUEST: usize = HEADER + 24;
const MESSAGE: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_PEER: u16 = 2;
/// `1 << TCP_ESTABLISHED`.
const CONNECTED: u32 = 1 << 1;

/// The peers of these sockets, by inode. `file` leads to their network namespace. A thread of its
/// own enters that, and leaves it by ending.
///
/// # Errors
///
/// The namespace cannot be entered, or the kernel shows no peers.
pub fn read(net: u64, file: PathBuf, inodes: BTreeSet<u64>) -> io::Result<BTreeMap<u64, u64>> {
    let name = thread::Builder::new().name("peers".into());
    let thread = name.spawn(move || {
        if own() != Some(net) {
            let file = File::open(file)?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            if own() != Some(net) {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        dump(&inodes)
    })?;
    let gone = |_| io::Error::other("the thread ended");
    thread.join().map_err(gone)?
}

/// The calling thread's own namespace.
fn own() -> Option<u64> {
    let mut link = [0; 32];
    let length = readlinkat_raw(CWD, "/proc/thread-self/ns/net", &mut link).ok()?;
    number(link.get(..length)?)
}

fn dump(inodes: &BTreeSet<u64>) -> io::Result<BTreeMap<u64, u64>> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(family, kind, flags, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request(), SendFlags::empty(), &kernel)?;
    let mut peers = BTreeMap::new();
    let mut buffer = vec![0; MAX_PART];
    for _ in 0..MAX_PARTS {
        let (_, length) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let part = buffer.get(..length).unwrap_or_default();
        let each = |inode: u64, peer| {
            if inodes.contains(&inode) {
                peers.insert(inode, peer);
            }
        };
        if messages(part, each)? {
            return Ok(peers);
        }
    }
    Err(io::ErrorKind::FileTooLarge.into())
}

/// Asks for all connected sockets of the namespace.
fn request() -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    #[expect(clippy::cast_possible_truncation, reason = "40")]
    bytes[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes[HEADER] = 1;
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&CONNECTED.to_ne_bytes());
    bytes[HEADER + 12..HEADER + 16].copy_from_slice(&UDIAG_SHOW_PEER.to_ne_bytes());
    bytes
}

/// Calls `each` with the inodes of every socket and its peer in a part of the answer. Returns
/// whether it was the last part.
pub(super) fn messages(mut part: &[u8], mut each: impl FnMut(u64, u64)) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (u32_at(part, 0), u16_at(part, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some(body) = part.get(HEADER..length) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        match kind {
            NLMSG_ERROR | NLMSG_DONE => {
                let error = u32_at(body, 0).unwrap_or(0).cast_signed();
                if error < 0 {
                    return Err(io::Error::from_raw_os_error(error.saturating_neg()));
                }
                return Ok(true);
            }
            SOCK_DIAG_BY_FAMILY => {
                let inode = u32_at(body, 4);
                let peer = body.get(MESSAGE..).and_then(peer);
                if let (Some(inode), Some(peer)) = (inode, peer) {
                    each(inode.into(), peer.into());
                }
            }
            _ => {}
        }
        part = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// `UNIX_DIAG_PEER` among the attributes.
fn peer(mut attributes: &[u8]) -> Option<u32> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == UNIX_DIAG_PEER {
            return u32_at(value, 0);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet, io, os::linux::fs::MetadataExt as _, os::unix::net::UnixStream,
    };

    use proptest::prelude::*;

    use super::{
        NLMSG_DONE, NLMSG_ERROR, SOCK_DIAG_BY_FAMILY, UNIX_DIAG_PEER, messages, own, read,
    };

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + body.len()).unwrap();
        let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
        let mut bytes = [&head, body].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn socket(inode: u32, peer: u32) -> Vec<u8> {
        let mut body = [&[1, 1, 1, 0][..], &inode.to_ne_bytes(), &[0; 8]].concat();
        // Its shutdown state comes before its peer here.
        body.extend([&5u16.to_ne_bytes()[..], &6u16.to_ne_bytes(), &[0; 4]].concat());
        body.extend([&8u16.to_ne_bytes()[..], &UNIX_DIAG_PEER.to_ne_bytes()].concat());
        body.extend(peer.to_ne_bytes());
        message(SOCK_DIAG_BY_FAMILY, &body)
    }

    fn all(part: &[u8]) -> io::Result<(Vec<(u64, u64)>, bool)> {
        let mut found = Vec::new();
        let last = messages(part, |inode, peer| found.push((inode, peer)))?;
        Ok((found, last))
    }

    #[test]
    fn several_sockets_of_one_part_are_read_until_the_end() {
        let parts = [socket(11, 12), socket(12, 11)].concat();
        assert_eq!(all(&parts).unwrap(), (vec![(11, 12), (12, 11)], false));
        let last = [socket(13, 0), message(NLMSG_DONE, &[0; 4])].concat();
        assert_eq!(all(&last).unwrap(), (vec![(13, 0)], true));
    }

    #[test]
    fn an_error_is_the_kernels() {
        let error = all(&message(NLMSG_ERROR, &(-2i32).to_ne_bytes())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(all(&socket(11, 12)[..30]).is_err());
    }

    #[test]
    fn a_pair_of_this_process_is_each_others_peer() {
        let (one, other) = UnixStream::pair().unwrap();
        let inode = |socket: &UnixStream| {
            let fd = std::os::fd::AsFd::as_fd(socket)
                .try_clone_to_owned()
                .unwrap();
            std::fs::File::from(fd).metadata().unwrap().st_ino()
        };
        let (one, other) = (inode(&one), inode(&other));
        let peers = read(
            own().unwrap(),
            "/proc/self/ns/net".into(),
            BTreeSet::from([one, other]),
        );
        match peers {
            Ok(peers) => assert_eq!((peers[&one], peers[&other]), (other, one)),
            Err(error) => println!("SKIPPED: this kernel shows no peers: {error}"),
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(
            mut bytes in prop::collection::vec(any::<u8>(), 0..120),
            at in 0usize..80, whole in any::<bool>(),
        ) {
            if whole {
                let good = socket(1, 2);
                let end = (at + good.len()).min(bytes.len());
                bytes.splice(at.min(end)..end, good);
            }
            let _ = all(&bytes);
        }
    }
}
