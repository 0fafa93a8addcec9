//! How much a TCP socket has sent and received: `INET_DIAG_INFO` of `NETLINK_SOCK_DIAG`
//! (`inet_diag_dump_one_icsk`, `net/ipv4/inet_diag.c`).
//!
//! Each socket is asked for by its addresses, and none is dumped: to fill in the counters the kernel
//! takes the socket's lock, which a task that is stuck in reclaim may hold. So only sockets that
//! matter are asked for, and by a thread that nobody waits for without end. Without privileges;
//! to enter another network namespace takes `CAP_SYS_ADMIN`.
//!
//! The messages are parsed here: two fixed headers and one attribute. The crates for netlink bring
//! an asynchronous runtime or types for the whole protocol.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    mem::offset_of,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use linux_raw_sys::net::tcp_info;
use rustix::{
    fs::{CWD, fstat, readlinkat_raw},
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto,
        socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::namespaces::number;
use super::stream::{Counters, Look, Stream};

/// Maximum number of network namespaces to enter in one search: each costs a file descriptor.
const MAX_NETS: usize = 384;
/// The kernel answers at once, unless the socket is locked.
const PATIENCE: Duration = Duration::from_secs(1);
/// Maximum length of an answer: the kernel's is below 1 KiB.
const MAX_ANSWER: usize = 8192;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`, and `struct inet_diag_msg`.
const REQUEST: usize = HEADER + 56;
const MESSAGE: usize = 72;
/// `idiag_inode`, the last field of `struct inet_diag_msg`.
const INODE: usize = MESSAGE - 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const INET_DIAG_INFO: u16 = 2;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// Why the counters could not be read, as sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused(pub BTreeSet<String>);

/// The sockets through which the kernel is asked, one for each network namespace.
pub struct TcpInfo {
    sockets: BTreeMap<u64, OwnedFd>,
    sequence: u32,
    begun: Instant,
    /// What was refused.
    pub refused: Refused,
    /// The first error that was not the lack of the socket.
    is_checked: bool,
}

/// A network namespace and files that lead to it: `/proc/PID/ns/net`.
pub type Entry = (u64, Vec<PathBuf>);

impl TcpInfo {
    /// Opens a socket in each of these namespaces. The calling thread stays in the last one: it must
    /// end afterwards.
    pub fn enter(entries: Vec<Entry>) -> Self {
        let mut info = Self {
            sockets: BTreeMap::new(),
            sequence: 0,
            begun: Instant::now(),
            refused: Refused::default(),
            is_checked: false,
        };
        let mut own = own();
        let all = entries.len();
        for (net, files) in entries.into_iter().take(MAX_NETS) {
            let entered = if own == Some(net) {
                Ok(())
            } else {
                enter(net, &files)
            };
            let opened = entered.and_then(|()| {
                own = Some(net);
                open()
            });
            match opened {
                Ok(socket) => drop(info.sockets.insert(net, socket)),
                // Its last process has ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => info.refuse(format!(
                    "The TCP counters of network namespace {net} cannot be read ({error}; it takes CAP_SYS_ADMIN and AF_NETLINK): a server behind a translated address is not found there."
                )),
            }
        }
        if all > MAX_NETS {
            info.refuse(format!(
                "The TCP counters of only {MAX_NETS} network namespaces are read."
            ));
        }
        info
    }

    fn refuse(&mut self, sentence: String) {
        if self.refused.0.len() < 8 {
            self.refused.0.insert(sentence);
        }
    }

    fn one(&mut self, stream: &Stream) -> Option<Counters> {
        let socket = self.sockets.get(&stream.net)?;
        self.sequence = self.sequence.wrapping_add(1);
        let asked = request(stream.local, stream.remote, self.sequence)?;
        match exchange(socket, &asked, self.sequence) {
            Ok(Reply::Socket { inode, counters }) if inode == stream.inode => counters,
            Ok(_) => None,
            Err(error) => {
                if error.kind() == io::ErrorKind::NotFound {
                    self.check(stream.net);
                } else {
                    self.refuse(format!(
                        "The TCP counters of a connection in network namespace {} cannot be read: {error}.",
                        stream.net
                    ));
                }
                None
            }
        }
    }

    /// The kernel gives the same error for a socket that is gone and for lack of the module. A dump of
    /// no state tells them apart.
    fn check(&mut self, net: u64) {
        let Some(socket) = self.sockets.get(&net) else {
            return;
        };
        if std::mem::replace(&mut self.is_checked, true) {
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let answer = exchange(socket, &dump_of_nothing(self.sequence), self.sequence);
        if let Err(error) = answer {
            self.refuse(format!(
                "The kernel shows no TCP counters ({error}; without CONFIG_INET_TCP_DIAG or with its module missing: `modprobe tcp_diag`): a server behind a translated address is not found."
            ));
        }
    }
}

impl Look for TcpInfo {
    fn look(&mut self, streams: &[Stream]) -> Vec<Option<Counters>> {
        streams.iter().map(|stream| self.one(stream)).collect()
    }

    fn now(&mut self) -> Duration {
        self.begun.elapsed()
    }

    fn pause(&mut self, time: Duration) {
        thread::sleep(time);
    }
}

/// The calling thread's own namespace.
fn own() -> Option<u64> {
    let mut link = [0; 32];
    let length = readlinkat_raw(CWD, "/proc/thread-self/ns/net", &mut link).ok()?;
    number(link.get(..length)?)
}

/// The files are the kernel's own, of nsfs.
fn enter(net: u64, files: &[PathBuf]) -> io::Result<()> {
    let mut last = io::ErrorKind::NotFound.into();
    for path in files {
        match File::open(path) {
            Ok(file) if fstat(&file)?.st_ino == net => {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let protocol = Some(netlink::SOCK_DIAG);
    let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, protocol)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

fn exchange(socket: &OwnedFd, asked: &[u8], sequence: u32) -> io::Result<Reply> {
    let kernel = netlink::SocketAddrNetlink::new(0, 0);
    sendto(socket, asked, SendFlags::empty(), &kernel)?;
    let mut buffer = [0; MAX_ANSWER];
    // What belongs to an earlier question that came too late is skipped.
    for _ in 0..8 {
        let (_, length) = recv(socket, &mut buffer[..], RecvFlags::empty())?;
        if let Some(reply) = reply(buffer.get(..length).unwrap_or_default(), sequence) {
            return reply;
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// An answer of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// A socket. Older kernels may count less.
    Socket {
        inode: u64,
        counters: Option<Counters>,
    },
    /// The end of a dump.
    Done,
}

/// Asks for the socket with these addresses, whatever its cookie.
fn request(local: SocketAddr, remote: SocketAddr, sequence: u32) -> Option<[u8; REQUEST]> {
    let mut bytes = head(NLM_F_REQUEST, sequence, u32::MAX);
    let (mut source, mut destination) = ([0; 16], [0; 16]);
    let family = match (local.ip(), remote.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            source[..4].copy_from_slice(&from.octets());
            destination[..4].copy_from_slice(&to.octets());
            AddressFamily::INET
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            source = from.octets();
            destination = to.octets();
            AddressFamily::INET6
        }
        _ => return None,
    };
    bytes[HEADER] = u8::try_from(family.as_raw()).ok()?;
    // `struct inet_diag_sockid`: ports, addresses, interface, cookie.
    bytes[24..26].copy_from_slice(&local.port().to_be_bytes());
    bytes[26..28].copy_from_slice(&remote.port().to_be_bytes());
    bytes[28..44].copy_from_slice(&source);
    bytes[44..60].copy_from_slice(&destination);
    bytes[64..72].copy_from_slice(&u64::MAX.to_ne_bytes());
    Some(bytes)
}

/// A dump of the sockets in no state: the kernel walks over none.
fn dump_of_nothing(sequence: u32) -> [u8; REQUEST] {
    let mut bytes = head(NLM_F_REQUEST | NLM_F_DUMP, sequence, 0);
    bytes[HEADER] = 2;
    bytes
}

fn head(flags: u16, sequence: u32, states: u32) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    #[expect(clippy::cast_possible_truncation, reason = "72")]
    bytes[..4].copy_from_slice(&(REQUEST as u32).to_ne_bytes());
    bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
    bytes[HEADER + 1] = TCP;
    bytes[HEADER + 2] = 1 << (INET_DIAG_INFO - 1);
    bytes[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    bytes
}

/// The first message of a datagram; `None`: it answers another request.
pub(super) fn reply(bytes: &[u8], sequence: u32) -> Option<io::Result<Reply>> {
    if u32_at(bytes, 8)? != sequence {
        return None;
    }
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    let body = bytes.get(HEADER..length.min(bytes.len()))?;
    match u16_at(bytes, 4)? {
        kind @ (NLMSG_ERROR | NLMSG_DONE) => {
            let error = u32_at(body, 0).unwrap_or(0).cast_signed();
            if error < 0 {
                return Some(Err(io::Error::from_raw_os_error(error.saturating_neg())));
            }
            (kind == NLMSG_DONE).then_some(Ok(Reply::Done))
        }
        SOCK_DIAG_BY_FAMILY => Some(Ok(Reply::Socket {
            inode: u32_at(body, INODE)?.into(),
            counters: body.get(MESSAGE..).and_then(info).and_then(counters),
        })),
        _ => None,
    }
}

/// `INET_DIAG_INFO` among the attributes.
fn info(mut attributes: &[u8]) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == INET_DIAG_INFO {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// `None`: the kernel counts no sent bytes, before 4.19.
fn counters(info: &[u8]) -> Option<Counters> {
    let sent = u64_at(info, offset_of!(tcp_info, tcpi_bytes_sent))?;
    let again = u64_at(info, offset_of!(tcp_info, tcpi_bytes_retrans))?;
    Some(Counters {
        acked: u64_at(info, offset_of!(tcp_info, tcpi_bytes_acked))?,
        received: u64_at(info, offset_of!(tcp_info, tcpi_bytes_received))?,
        sent: sent.saturating_sub(again),
        sent_ms_ago: u32_at(info, offset_of!(tcp_info, tcpi_last_data_sent))?,
        received_ms_ago: u32_at(info, offset_of!(tcp_info, tcpi_last_data_recv))?,
    })
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        mem::offset_of,
        net::{TcpListener, TcpStream},
        os::{fd::AsRawFd as _, linux::fs::MetadataExt as _},
    };

    use linux_raw_sys::net::tcp_info;

    use super::{
        HEADER, INET_DIAG_INFO, INODE, MESSAGE, NLMSG_DONE, NLMSG_ERROR, Reply,
        SOCK_DIAG_BY_FAMILY, TcpInfo, own, reply,
    };
    use crate::topology::stream::{Counters, Look as _, Stream};

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        let length = u32::try_from(HEADER + body.len()).unwrap();
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes.extend(body);
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn socket(info: &[u8]) -> Vec<u8> {
        let mut body = vec![0; MESSAGE];
        body[INODE..].copy_from_slice(&4711u32.to_ne_bytes());
        body.extend(attribute(8, &[0]));
        body.extend(attribute(INET_DIAG_INFO, info));
        body
    }

    #[test]
    fn the_counters_of_a_socket_are_read_behind_other_attributes() {
        let mut info = vec![0; size_of::<tcp_info>()];
        for (at, value) in [
            (offset_of!(tcp_info, tcpi_bytes_acked), 103_838_093u64),
            (offset_of!(tcp_info, tcpi_bytes_received), 14_280),
            (offset_of!(tcp_info, tcpi_bytes_sent), 103_839_092),
            (offset_of!(tcp_info, tcpi_bytes_retrans), 1_000),
        ] {
            info[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        }
        let counters = Counters {
            acked: 103_838_093,
            received: 14_280,
            sent: 103_838_092,
            sent_ms_ago: 0,
            received_ms_ago: 0,
        };
        let bytes = message(SOCK_DIAG_BY_FAMILY, 7, &socket(&info));
        let expected = Reply::Socket {
            inode: 4711,
            counters: Some(counters),
        };
        assert_eq!(reply(&bytes, 7).unwrap().unwrap(), expected);
        assert!(reply(&bytes, 8).is_none(), "of another request");
        let old = message(SOCK_DIAG_BY_FAMILY, 7, &socket(&info[..192]));
        let expected = Reply::Socket {
            inode: 4711,
            counters: None,
        };
        assert_eq!(reply(&old, 7).unwrap().unwrap(), expected);
    }

    #[test]
    fn an_error_and_the_end_of_a_dump_are_told_apart() {
        let error = message(NLMSG_ERROR, 7, &(-2i32).to_ne_bytes());
        let error = reply(&error, 7).unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(2));
        let failed = message(NLMSG_DONE, 7, &(-2i32).to_ne_bytes());
        assert!(reply(&failed, 7).unwrap().is_err());
        let done = message(NLMSG_DONE, 7, &[0; 4]);
        assert_eq!(reply(&done, 7).unwrap().unwrap(), Reply::Done);
    }

    #[test]
    fn the_running_kernel_counts_both_ends_of_a_connection_alike() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        client.write_all(&[0; 12_345]).unwrap();
        let net = own().unwrap();
        let of = |socket: &TcpStream| Stream {
            net,
            local: socket.local_addr().unwrap(),
            remote: socket.peer_addr().unwrap(),
            inode: std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd()))
                .unwrap()
                .st_ino(),
        };
        let both = [of(&client), of(&server)];
        let mut info = TcpInfo::enter(vec![(net, Vec::new())]);
        let counted = info.look(&both);
        let [Some(client), Some(server)] = counted[..] else {
            // A sandbox without AF_NETLINK, or a kernel without tcp_diag: it says so.
            assert_ne!(info.refused.0.len(), 0, "{counted:?}");
            return;
        };
        assert_eq!(client.acked, 12_346, "with the SYN");
        assert_eq!((client.sent, server.received), (12_345, 12_345));
        assert_eq!((server.acked, client.received), (0, 0));
    }
}
