//! A node as its procfs and sysfs show it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    os::unix::fs::symlink,
    path::PathBuf,
};

use tempfile::TempDir;

use crate::topology::{HostPaths, reader::Reader};

/// An established connection or a listener, as a test writes it.
pub const ESTABLISHED: &str = "01";
pub const LISTEN: &str = "0A";

pub struct Node(TempDir);

impl Node {
    /// A node with a disk 254:0 and the initial namespaces, with process 1 in them.
    pub fn new() -> Self {
        let node = Self(TempDir::new().unwrap());
        node.sysfs("class/bdi/254:0/x", "");
        node.sysfs("kernel/debug/bdi/x", "");
        node.process(1, "systemd", 20, 30);
        node.append(
            1,
            "mountinfo",
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw",
        );
        node
    }

    pub fn reader(&self, servers: &[&str]) -> Reader {
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        Reader::new(self.paths(), &servers)
    }

    pub fn paths(&self) -> HostPaths {
        HostPaths {
            procfs: self.path("proc"),
            sysfs: self.path("sys"),
            pod_logs: self.path("pods"),
        }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub fn process(&self, pid: u32, comm: &str, mnt: u64, net: u64) {
        let ns = self.path(&format!("proc/{pid}/ns"));
        fs::create_dir_all(&ns).unwrap();
        fs::create_dir_all(self.path(&format!("proc/{pid}/fd"))).unwrap();
        symlink(format!("mnt:[{mnt}]"), ns.join("mnt")).unwrap();
        symlink(format!("net:[{net}]"), ns.join("net")).unwrap();
        self.append(pid, "comm", comm);
        self.started(pid, comm, 1, 1000 + u64::from(pid));
    }

    /// A process's name, its parent, and when it started.
    pub fn started(&self, pid: u32, comm: &str, parent: u32, ticks: u64) {
        let numbers = "0 ".repeat(17);
        let text = format!("{pid} ({comm}) S {parent} {numbers}{ticks} 0 0\n");
        fs::write(self.path(&format!("proc/{pid}/stat")), text).unwrap();
    }

    /// A thread of the kernel.
    pub fn kernel_thread(&self, pid: u32, comm: &str, ticks: u64) {
        self.process(pid, comm, 20, 30);
        self.started(pid, comm, 2, ticks);
    }

    /// Adds a line to a file of a process.
    pub fn append(&self, pid: u32, file: &str, line: &str) {
        let path = self.path(&format!("proc/{pid}/{file}"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        writeln!(file, "{line}").unwrap();
    }

    pub fn sysfs(&self, path: &str, text: &str) {
        let path = self.path("sys").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn nfsd_loaded(&self) {
        self.sysfs("module/nfsd/refcnt", "1");
    }

    /// An NFS mount of process 1, whose client is in the network namespace of
    /// process `pid`.
    pub fn nfs_mount(&self, pid: u32, device: &str, server: &str) {
        let server: SocketAddr = server.parse().unwrap();
        let (address, port) = (server.ip(), server.port());
        let hex = match address {
            IpAddr::V4(address) => format!("{:08x}", address.to_bits()),
            IpAddr::V6(address) => format!("{:032x}", address.to_bits()),
        };
        self.append(
            1,
            "mountinfo",
            &format!("36 27 {device} / /mnt rw - nfs4 {address}:/ rw,vers=4.2,addr={address}"),
        );
        self.sysfs(&format!("class/bdi/{device}/x"), "");
        self.append(
            pid,
            "net/nfsfs/volumes",
            &format!("v4 {hex} {port:4x} {device:<12} 0:0 no"),
        );
    }

    /// An address of the network namespace of process `pid`.
    pub fn address(&self, pid: u32, address: &str) {
        match address.parse().unwrap() {
            IpAddr::V4(address) => {
                self.append(pid, "net/fib_trie", &format!("        |-- {address}"));
                self.append(pid, "net/fib_trie", "           /32 host LOCAL");
            }
            IpAddr::V6(address) => {
                let line = format!("{:032x} 02 40 00 80 eth0", address.to_bits());
                self.append(pid, "net/if_inet6", &line);
            }
        }
    }

    /// A socket of the network namespace of process `pid`.
    pub fn socket(&self, pid: u32, local: &str, remote: &str, state: &str, inode: u64) {
        let (local, v4) = hex(local);
        let (remote, _) = hex(remote);
        self.append(
            pid,
            if v4 { "net/tcp" } else { "net/tcp6" },
            &format!(
                "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 20 4"
            ),
        );
    }

    /// Gives a process an open file.
    pub fn file(&self, pid: u32, fd: u32, path: &str, flags: u32, mount: u32) {
        let fds = self.path(&format!("proc/{pid}/fd"));
        symlink(path, fds.join(fd.to_string())).unwrap();
        let info = format!("pos:\t0\nflags:\t0{flags:o}\nmnt_id:\t{mount}");
        self.append(pid, &format!("fdinfo/{fd}"), &info);
    }

    /// Gives a process a socket.
    pub fn fd(&self, pid: u32, inode: u64) {
        let fds = self.path(&format!("proc/{pid}/fd"));
        symlink(format!("socket:[{inode}]"), fds.join(inode.to_string())).unwrap();
    }
}

/// The kernel's format of an address: words in this machine's byte order.
fn hex(address: &str) -> (String, bool) {
    let address: SocketAddr = address.parse().unwrap();
    let words = |bytes: &[u8]| {
        bytes.chunks_exact(4).fold(String::new(), |text, word| {
            let word = u32::from_ne_bytes(word.try_into().unwrap());
            format!("{text}{word:08X}")
        })
    };
    let text = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    };
    (format!("{text}:{:04X}", address.port()), address.is_ipv4())
}

pub fn peers(all: &[&str]) -> BTreeSet<SocketAddr> {
    all.iter().map(|peer| peer.parse().unwrap()).collect()
}
