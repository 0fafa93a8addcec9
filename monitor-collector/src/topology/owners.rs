//! The owners of sockets: `/proc/PID/fd` of the processes of their network namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use compact_str::CompactString;
use monitor_model::observation::ServerProcess;
use rustix::fs::{Dir, Mode, OFlags, readlinkat_raw};

use super::namespaces::{Namespaces, is_gone, number_of};

/// Maximum number of file descriptors in one search.
const MAX_FDS: usize = 262_144;
/// `TASK_COMM_LEN` without its zero.
const COMM_LEN: usize = 15;
/// Maximum number of server processes to remember.
const MAX_SERVERS: usize = 64;
/// Enough for `socket:[18446744073709551615]`; other links may be cut.
const MAX_LINK: usize = 32;

/// The owner of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No process owns it.
    Kernel,
    /// A process with one of the names of NFS servers.
    Server(Process),
    /// Another process: a tunnel or proxy, whose own server may be on any host.
    Other(Process),
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name.
    pub name: CompactString,
    /// Its id.
    pub tgid: u32,
}

/// Finds owners and caches them while they are requested.
pub struct Owners {
    servers: Vec<CompactString>,
    /// `None`: unknown.
    known: BTreeMap<u64, Option<Owner>>,
    asked: BTreeSet<u64>,
    /// Processes with a server's name, found during searches.
    processes: BTreeMap<u32, CompactString>,
}

impl Owner {
    /// Whether its process is still the same: it has not ended, and executes the same program.
    pub fn holds(&self, spaces: &Namespaces) -> bool {
        match self {
            Self::Kernel => true,
            Self::Server(process) | Self::Other(process) => {
                comm(&spaces.process(process.tgid)).as_ref() == Some(&process.name)
            }
        }
    }
}

/// The name as the kernel keeps it.
fn cut(name: &str) -> CompactString {
    let end = name.floor_char_boundary(COMM_LEN);
    name.get(..end).unwrap_or(name).into()
}

impl Owners {
    /// An empty cache, with the names of NFS servers' processes.
    pub fn new(servers: &[String]) -> Self {
        Self {
            servers: servers.iter().map(|name| cut(name)).collect(),
            known: BTreeMap::new(),
            asked: BTreeSet::new(),
            processes: BTreeMap::new(),
        }
    }

    /// The server processes found during searches that still run.
    pub fn server_processes(&mut self, spaces: &Namespaces) -> Vec<ServerProcess> {
        let mut processes = std::mem::take(&mut self.processes);
        processes.retain(|pid, name| comm(&spaces.process(*pid)).as_ref() == Some(name));
        self.processes = processes;
        // In each namespace the lowest process id comes first.
        let netns = |tgid: &u32| {
            let mut nets = spaces.nets.iter();
            let found = nets.find(|(_, pids)| pids.binary_search(tgid).is_ok());
            found.map(|(&net, _)| net)
        };
        let told = self.processes.iter().map(|(tgid, name)| ServerProcess {
            tgid: *tgid,
            name: name.clone(),
            netns: netns(tgid),
        });
        told.collect()
    }

    /// Drops sockets that were not requested since the last call.
    pub fn forget_unasked(&mut self) {
        let asked = std::mem::take(&mut self.asked);
        self.known.retain(|inode, _| asked.contains(inode));
    }

    /// Drops unknown owners, so that they are searched again.
    pub fn forget_unknown(&mut self) {
        self.known.retain(|_, owner| owner.is_some());
    }

    /// Uses these names of NFS servers' processes.
    pub fn set_servers(&mut self, names: &[String]) {
        let names: Vec<CompactString> = names.iter().map(|name| cut(name)).collect();
        if names != self.servers {
            self.servers = names;
            // Whose process is a server's is decided by name.
            self.known.clear();
            self.processes.clear();
        }
    }

    /// The network namespaces in which a process with a server's name lives.
    pub fn nets_of_servers(&self, spaces: &Namespaces) -> BTreeSet<u64> {
        let serves = |pids: &[u32]| {
            let mut names = pids.iter().filter_map(|&pid| comm(&spaces.process(pid)));
            names.any(|name| self.servers.contains(&name))
        };
        let nets = spaces.nets.iter().filter(|(_, pids)| serves(pids));
        nets.map(|(&net, _)| net).collect()
    }

    /// The owners of these sockets of a network namespace. A socket that is missing in the answer
    /// has an unknown owner.
    pub fn find(
        &mut self,
        spaces: &Namespaces,
        net: u64,
        inodes: &BTreeSet<u64>,
    ) -> BTreeMap<u64, Owner> {
        // Zero: the socket is not accepted yet.
        let wanted: BTreeSet<_> = inodes.iter().copied().filter(|inode| *inode != 0).collect();
        self.asked.extend(&wanted);
        self.known.retain(|inode, owner| {
            !wanted.contains(inode) || owner.as_ref().is_none_or(|one| one.holds(spaces))
        });
        let mut left: BTreeSet<_> = wanted
            .iter()
            .copied()
            .filter(|inode| !self.known.contains_key(inode))
            .collect();
        if !left.is_empty() {
            let pids = spaces.nets.get(&net).map_or(&[][..], Vec::as_slice);
            let whole = self.search(spaces, pids, &mut left) && spaces.denied == 0;
            let nobody = whole.then_some(Owner::Kernel);
            self.known
                .extend(left.into_iter().map(|inode| (inode, nobody.clone())));
        }
        wanted
            .into_iter()
            .filter_map(|inode| Some((inode, self.known.get(&inode)?.clone()?)))
            .collect()
    }

    /// Removes the sockets of processes from `left`, named servers first. Returns whether all
    /// processes were read.
    fn search(&mut self, spaces: &Namespaces, pids: &[u32], left: &mut BTreeSet<u64>) -> bool {
        let mut others = Vec::with_capacity(pids.len());
        let mut servers = Vec::new();
        for &tgid in pids {
            let name = comm(&spaces.process(tgid)).unwrap_or_default();
            let process = Process { name, tgid };
            if self.servers.contains(&process.name) {
                if self.processes.len() < MAX_SERVERS {
                    self.processes.insert(tgid, process.name.clone());
                }
                servers.push((tgid, Owner::Server(process)));
            } else {
                others.push((tgid, Owner::Other(process)));
            }
        }
        let mut fds = MAX_FDS;
        let mut whole = true;
        for (tgid, owner) in servers.into_iter().chain(others) {
            if left.is_empty() {
                break;
            }
            let found = sockets(&spaces.process(tgid).join("fd"), &mut fds, |inode| {
                if left.remove(&inode) {
                    self.known.insert(inode, Some(owner.clone()));
                }
            });
            match found {
                Ok(()) => {}
                Err(error) if is_gone(&error) => {}
                Err(_) => whole = false,
            }
        }
        whole && fds > 0
    }
}

/// The inodes of a process's open sockets; `None`: not all could be read.
pub fn sockets_of(spaces: &Namespaces, tgid: u32) -> Option<BTreeSet<u64>> {
    let (mut inodes, mut fds) = (BTreeSet::new(), MAX_FDS);
    let read = sockets(&spaces.process(tgid).join("fd"), &mut fds, |inode| {
        inodes.insert(inode);
    });
    (read.is_ok() && fds > 0).then_some(inodes)
}

/// The process that a thread belongs to; `None`: it has ended.
pub fn process_of(spaces: &Namespaces, tid: u32) -> Option<ServerProcess> {
    let status = fs::read_to_string(spaces.process(tid).join("status")).ok()?;
    let leader = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    let leader = leader.trim().parse().ok()?;
    let process = spaces.process(leader);
    Some(ServerProcess {
        tgid: leader,
        name: comm(&process)?,
        netns: number_of(&process, "net"),
    })
}

fn comm(process: &Path) -> Option<CompactString> {
    let comm = fs::read_to_string(process.join("comm")).ok()?;
    Some(comm.trim_end_matches('\n').into())
}

/// Calls `each` with the inode of every open socket of a process. Links are read, not followed: no
/// file is touched.
fn sockets(fd_dir: &Path, fds: &mut usize, mut each: impl FnMut(u64)) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(fd_dir, flags, Mode::empty())?;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        if *fds == 0 {
            break;
        }
        *fds -= 1;
        let mut link = [0; MAX_LINK];
        if let Ok(length) = readlinkat_raw(&dir, entry.file_name(), &mut link)
            && let Some(inode) = link.get(..length).and_then(inode)
        {
            each(inode);
        }
    }
    Ok(())
}

pub(super) fn inode(link: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(link).ok()?.strip_prefix("socket:[")?;
    number.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::symlink, path::Path};

    use super::{Owner, Owners, Process, inode};
    use crate::topology::namespaces::Namespaces;
    use crate::topology::warnings::LookupWarnings;

    fn process(root: &Path, pid: u32, comm: &str, links: &[&str]) {
        let dir = root.join(pid.to_string());
        fs::create_dir_all(dir.join("ns")).unwrap();
        fs::create_dir_all(dir.join("fd")).unwrap();
        symlink("mnt:[20]", dir.join("ns/mnt")).unwrap();
        symlink("net:[30]", dir.join("ns/net")).unwrap();
        fs::write(dir.join("comm"), format!("{comm}\n")).unwrap();
        for (fd, link) in links.iter().enumerate() {
            symlink(link, dir.join("fd").join(fd.to_string())).unwrap();
        }
    }

    fn of(name: &str, tgid: u32) -> Process {
        let name = name.into();
        Process { name, tgid }
    }

    #[test]
    fn a_socket_is_a_servers_a_tunnels_or_the_kernels() {
        let procfs = tempfile::tempdir().unwrap();
        let root = procfs.path();
        process(root, 1, "init", &["/dev/null", "socket:[11]"]);
        process(root, 7, "ssh", &["socket:[12]", "pipe:[13]", "socket:[14]"]);
        // Both have it: the server inherited it from its parent.
        process(root, 9, "ganesha.nfsd", &["socket:[14]", "socket:[15]"]);
        let spaces = Namespaces::walk(root, &mut LookupWarnings::default()).unwrap();
        let mut owners = Owners::new(&["ganesha.nfsd".into()]);
        let asked = BTreeSet::from([0, 12, 13, 14, 15]);
        let found = owners.find(&spaces, 30, &asked);
        let ganesha = Owner::Server(of("ganesha.nfsd", 9));
        assert_eq!(found.get(&0), None);
        assert_eq!(found[&12], Owner::Other(of("ssh", 7)));
        assert_eq!(found[&13], Owner::Kernel);
        assert_eq!(found[&14], ganesha);
        assert_eq!(found[&15], ganesha);
    }

    #[test]
    fn a_known_owner_is_not_searched_again_while_it_is_requested() {
        let procfs = tempfile::tempdir().unwrap();
        let root = procfs.path();
        process(root, 7, "unfsd", &["socket:[12]"]);
        let spaces = Namespaces::walk(root, &mut LookupWarnings::default()).unwrap();
        let mut owners = Owners::new(&["unfsd".into()]);
        let asked = BTreeSet::from([12]);
        owners.find(&spaces, 30, &asked);
        owners.forget_unasked();
        fs::remove_dir_all(root.join("7/fd")).unwrap();
        let found = owners.find(&spaces, 30, &asked);
        assert_eq!(found[&12], Owner::Server(of("unfsd", 7)));
        owners.forget_unasked();
        owners.forget_unasked();
        let found = owners.find(&spaces, 30, &asked);
        assert_eq!(found[&12], Owner::Kernel);
    }

    #[test]
    fn a_process_that_executes_another_program_is_looked_at_again() {
        let procfs = tempfile::tempdir().unwrap();
        let root = procfs.path();
        process(root, 7, "sh", &["socket:[12]"]);
        let spaces = Namespaces::walk(root, &mut LookupWarnings::default()).unwrap();
        let mut owners = Owners::new(&["unfsd".into()]);
        let asked = BTreeSet::from([12]);
        let found = owners.find(&spaces, 30, &asked);
        assert_eq!(found[&12], Owner::Other(of("sh", 7)));
        // A start script inherited the socket and executes the server.
        fs::write(root.join("7/comm"), "unfsd\n").unwrap();
        let found = owners.find(&spaces, 30, &asked);
        assert_eq!(found[&12], Owner::Server(of("unfsd", 7)));
        let known = owners.server_processes(&spaces);
        assert_eq!(known.iter().map(|one| one.tgid).collect::<Vec<_>>(), [7]);
        // Its process id now belongs to another process, without sockets.
        fs::write(root.join("7/comm"), "cat\n").unwrap();
        fs::remove_dir_all(root.join("7/fd")).unwrap();
        fs::create_dir(root.join("7/fd")).unwrap();
        assert_eq!(owners.find(&spaces, 30, &asked)[&12], Owner::Kernel);
        assert!(owners.server_processes(&spaces).is_empty());
    }

    #[test]
    fn after_an_incomplete_search_an_unowned_socket_is_not_the_kernels() {
        let procfs = tempfile::tempdir().unwrap();
        let root = procfs.path();
        process(root, 7, "ssh", &["socket:[12]"]);
        let mut spaces = Namespaces::walk(root, &mut LookupWarnings::default()).unwrap();
        let mut owners = Owners::new(&[]);
        let asked = BTreeSet::from([12, 13]);
        spaces.denied = 1;
        let found = owners.find(&spaces, 30, &asked);
        assert_eq!(
            (found.get(&12), found.get(&13)),
            (Some(&Owner::Other(of("ssh", 7))), None)
        );
        spaces.denied = 0;
        assert_eq!(owners.find(&spaces, 30, &asked).get(&13), None);
        owners.forget_unknown();
        assert_eq!(owners.find(&spaces, 30, &asked)[&13], Owner::Kernel);
    }

    #[test]
    fn a_server_name_is_compared_as_the_kernel_cuts_it() {
        let procfs = tempfile::tempdir().unwrap();
        process(procfs.path(), 7, "a-very-long-nam", &["socket:[12]"]);
        let spaces = Namespaces::walk(procfs.path(), &mut LookupWarnings::default()).unwrap();
        let mut owners = Owners::new(&["a-very-long-name-indeed".into()]);
        let found = owners.find(&spaces, 30, &BTreeSet::from([12]));
        assert_eq!(found[&12], Owner::Server(of("a-very-long-nam", 7)));
    }

    #[test]
    fn only_links_to_sockets_are_sockets() {
        assert_eq!(inode(b"socket:[42]"), Some(42));
        for no in [&b"socket:["[..], b"pipe:[42]", b"/socket:[42]", b""] {
            assert_eq!(inode(no), None);
        }
    }
}
